"""Intervals that hold what they promise: quantiles rescaled by how wide they turned out to be.

Belongs here: the calibration of forecasts by their own past. How coverage is measured is in `scores`.

A forecast's outcome is known h sessions later, so an interval may be moved by it from then on and not before. Each of
the three intervals (50, 80, 90 %) is widened about the median by one factor. It is made of two parts:

- conformal: how many times the half-width an outcome lay away from the median is that interval's score; the factor is
  the quantile of past scores at the interval's level (split conformal prediction on a growing window, Vovk et al. 2005;
  Barber et al. 2023 for weights and drift). Scores overlap, so n of them count as n / h, and the factor is shrunk
  towards 1, and that of a volatility state towards that of all states, as if PRIOR windows had agreed with it.
- adaptive: after each outcome the logarithm of the factor rises by STEP / h times (miss - level of missing): repeated
  misses widen the interval, whatever their cause (adaptive conformal inference, Gibbs and Candès 2021, with the delay).

The median stays where it is: errors of overlapping labels agree with each other for h sessions, and a median that
follows them chases noise.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from zl_assets.core.evaluation.metrics import MEDIAN, QUANTILE_COLUMNS, QUANTILE_LEVELS
from zl_assets.core.models.base import Floats, floats, matrix, require_columns
from zl_assets.errors import InputError

PRIOR = 50.0
"""Windows that do not overlap whose weight the model's own interval has."""

STEP = 0.02
"""Of the logarithm of a factor, per window that does not overlap."""

CALM, WILD = 1 / 3, 2 / 3
"""Bounds of the volatility states: ranks of the 21-session volatility within its trailing year."""

_PAIRS = tuple((k, len(QUANTILE_LEVELS) - 1 - k) for k in range(MEDIAN))
_MISSED = np.array([2 * QUANTILE_LEVELS[low] for low, _ in _PAIRS])
_STATES = 3
_COLUMNS = ("session_number", "vol_percentile", "actual_return", *QUANTILE_COLUMNS)


def calibrated(forecasts: pl.DataFrame, horizon_sessions: int) -> pl.DataFrame:
    """The same forecasts with calibrated quantiles; those of a row depend on outcomes known at its session alone.

    Args:
        forecasts: rows with session_number, vol_percentile (null counts as the middle state), actual_return (null where
            nobody knows it yet) and ascending quantiles, in order of their sessions.
        horizon_sessions: h, sessions from a forecast to its outcome.

    Raises:
        InputError: a column is missing, sessions are out of order, or an interval has no width.
    """
    require_columns(forecasts, _COLUMNS, "forecasts to calibrate")
    sessions = forecasts["session_number"].cast(pl.Int64).to_numpy()
    quantiles = matrix(forecasts, QUANTILE_COLUMNS)
    low, high = (quantiles[:, [p[side] for p in _PAIRS]] for side in (0, 1))
    below, above = quantiles[:, [MEDIAN]] - low, high - quantiles[:, [MEDIAN]]
    if (np.diff(sessions) <= 0).any() or not ((below > 0) & (above > 0)).all():
        raise InputError(
            "forecasts come in order of their sessions, and each interval has a width on both sides of its median",
            where=f"{forecasts.height} forecasts",
            action="sort them, and look at the model's quantiles",
        )
    away = floats(forecasts, "actual_return")[:, None] - quantiles[:, [MEDIAN]]
    scores = np.maximum(-away / below, away / above)
    factors = _factors(sessions, _states(forecasts), scores, horizon_sessions)
    wider = quantiles.copy()
    for n, (left, right) in enumerate(_PAIRS):
        wider[:, left] = quantiles[:, MEDIAN] - factors[:, n] * below[:, n]
        wider[:, right] = quantiles[:, MEDIAN] + factors[:, n] * above[:, n]
    # The factors of the three intervals move apart, so that a wide one may end inside a narrow one.
    ordered = np.sort(wider, axis=1)
    return forecasts.with_columns(pl.Series(name, ordered[:, n]) for n, name in enumerate(QUANTILE_COLUMNS))


def _states(forecasts: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    rank = forecasts["vol_percentile"].cast(pl.Float64).fill_nan(None).fill_null(0.5)
    return ((rank >= CALM).cast(pl.Int64) + (rank >= WILD).cast(pl.Int64)).to_numpy()


@dataclass
class _Known:
    """Scores of outcomes that are known, ascending, of all states and of each."""

    everywhere: list[float] = field(default_factory=list[float])
    by_state: list[list[float]] = field(default_factory=lambda: [[] for _ in range(_STATES)])

    def add(self, score: float, state: int) -> None:
        insort(self.everywhere, score)
        insort(self.by_state[state], score)

    def factor(self, state: int, level: float, horizon_sessions: int) -> float:
        """Logarithm of the conformal factor."""
        common = _shrunk(self.everywhere, level, horizon_sessions, 0.0)
        return _shrunk(self.by_state[state], level, horizon_sessions, common)


def _shrunk(ascending: list[float], level: float, horizon_sessions: int, prior: float) -> float:
    if not ascending:
        return prior
    windows = len(ascending) / horizon_sessions
    weight = windows / (windows + PRIOR)
    # The smallest score that `level` of them and of the next one do not exceed.
    rank = min(int(np.ceil(level * (len(ascending) + 1))), len(ascending)) - 1
    return weight * float(np.log(max(ascending[rank], 1e-6))) + (1 - weight) * prior


def _factors(
    sessions: np.ndarray[tuple[int], np.dtype[np.int64]],
    states: np.ndarray[tuple[int], np.dtype[np.int64]],
    scores: Floats,
    horizon_sessions: int,
) -> Floats:
    """Factor of each interval at each row, shape (rows, 3)."""
    known = [_Known() for _ in _PAIRS]
    adapted = np.zeros(len(_PAIRS))
    issued = np.empty(scores.shape)
    learnt = 0
    for row, session in enumerate(sessions):
        while learnt < row and sessions[learnt] + horizon_sessions <= session:
            if np.isfinite(scores[learnt]).all():
                missed = scores[learnt] > issued[learnt]
                adapted += STEP / horizon_sessions * (missed - _MISSED)
                for pair, score in zip(known, scores[learnt], strict=True):
                    pair.add(float(score), int(states[learnt]))
            learnt += 1
        conformal = [k.factor(int(states[row]), 1 - m, horizon_sessions) for k, m in zip(known, _MISSED, strict=True)]
        issued[row] = np.exp(np.array(conformal) + adapted)
    return issued
