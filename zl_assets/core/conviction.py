"""How far to trust a forecast: conviction, which rises in a crisis, and confidence, which never looks at one.

Belongs here: the two scores, 0 to 100, of every forecast of a history. The probability of a rise is in `direction`,
whether the scores do in a crisis what is claimed of them in `evaluation.crisis_claim`.

Conviction says how much there is to act on, confidence how well the forecast is known. Crisis intensity is part of the
first alone: a wild market is a reason to watch, never a reason to be sure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass

import numpy as np
import polars as pl

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.features.trailing import annual_volatility
from zl_assets.core.models.base import Floats
from zl_assets.core.training_frame import sound_return
from zl_assets.errors import InputError

CRISIS_SHARE, SIGNAL_SHARE, REGIME_SHARE = 0.4, 0.3, 0.3
"""Weights of conviction's three parts (DOMAIN section 5)."""

CALM_VIX, CRISIS_VIX = 15.0, 25.0
"""Index points at which a calm market ends and a crisis begins, where intensity is 0 and CRISIS_INTENSITY."""

CRISIS_INTENSITY = 50.0
"""Above this there is a crisis: the VIX above 25."""

VIX_PER_VOLATILITY = 75.0
"""Index points that stand for an annual volatility of ZL of 1: the crisis label begins at a VIX of 30 or at a
volatility of 0.4 (DOMAIN section 3), so the two count as the same."""

VOLATILITY_SESSIONS = 30

LEAST_HISTORY = 252
"""Earlier forecasts that a percentile needs: a year."""

TRUST_SCHEMA: dict[str, pl.DataType] = {
    "session_number": pl.Int64(),
    "crisis_intensity": pl.Float64(),
    "crisis_source": pl.String(),
    "signal_strength": pl.Float64(),
    "regime_certainty": pl.Float64(),
    "conviction": pl.Float64(),
    "interval_width": pl.Float64(),
    "width_percentile": pl.Float64(),
    "model_spread": pl.Float64(),
    "spread_percentile": pl.Float64(),
    "confidence": pl.Float64(),
}
"""Scores and percentiles from 0 to 100, widths and spreads as returns; null where something they need is missing."""

_LOW, _MEDIAN, _HIGH = (QUANTILE_LEVELS.index(level) for level in (0.10, 0.50, 0.90))


@dataclass(frozen=True, eq=False)
class Outlook:
    """Forecasts of one horizon and the market they were made in, one row a forecast; NaN where unknown.

    Attributes:
        session_number: strictly ascending, shape (rows,).
        quantiles: of the published returns at QUANTILE_LEVELS, shape (rows, 7); crossing ones are put in order.
        medians: of every model that forecast, shape (rows, models).
        regime_probabilities: known at the forecast, shape (rows, regimes), each row adding up to 1.
        vix: newest close known at the forecast, in index points, shape (rows,).
        annual_volatility: of ZL, as `volatility_of_30_sessions`, shape (rows,); stands in where `vix` is NaN.

    Raises:
        InputError: lengths that differ, not seven quantiles, fewer than two regimes, sessions that do not ascend, or
            probabilities that do not add up to 1.
    """

    session_number: np.ndarray[tuple[int], np.dtype[np.int64]]
    quantiles: Floats
    medians: Floats
    regime_probabilities: Floats
    vix: Floats
    annual_volatility: Floats

    def __post_init__(self) -> None:
        n = self.session_number.size
        shapes = (
            self.quantiles.shape == (n, len(QUANTILE_LEVELS)),
            self.medians.ndim == 2 and len(self.medians) == n,
            self.regime_probabilities.ndim == 2 and len(self.regime_probabilities) == n,
            self.vix.shape == self.annual_volatility.shape == (n,),
        )
        if not all(shapes):
            raise _unusable("a row needs seven quantiles, its models' medians, regimes, a VIX and a volatility", n)
        if not (np.diff(self.session_number) > 0).all():
            raise _unusable("the sessions are not strictly ascending", n)
        probabilities = self.regime_probabilities
        total = probabilities.sum(axis=1)
        if probabilities.shape[1] < 2 or not (np.isnan(total) | (np.abs(total - 1) < 1e-6)).all():
            raise _unusable("the probabilities of two regimes or more add up to 1", n)
        if (probabilities < 0).any() or (self.vix <= 0).any() or (self.annual_volatility < 0).any():
            raise _unusable("a probability or a volatility is negative, or a VIX not positive", n)


def _unusable(what: str, rows: int) -> InputError:
    return InputError(what, where=f"outlook of {rows} rows", action="pass one row a forecast, in order of the sessions")


def trust_history(outlook: Outlook) -> pl.DataFrame:
    """Both scores of every forecast and what they are made of: rows of TRUST_SCHEMA.

    A row reads itself and earlier rows only, so the newest forecast is scored by appending it to the history.
    """
    intensity, source = crisis_intensity(outlook.vix, outlook.annual_volatility)
    signal = signal_strength(outlook.quantiles)
    certainty = regime_certainty(outlook.regime_probabilities)
    width, spread = interval_width(outlook.quantiles), model_spread(outlook.medians)
    of_width, of_spread = past_percentile(width), past_percentile(spread)
    columns = {
        "session_number": outlook.session_number,
        "crisis_intensity": intensity,
        "crisis_source": source,
        "signal_strength": signal,
        "regime_certainty": certainty,
        "conviction": conviction(intensity, signal, certainty),
        "interval_width": width,
        "width_percentile": of_width,
        "model_spread": spread,
        "spread_percentile": of_spread,
        "confidence": confidence(of_width, of_spread),
    }
    scores = pl.DataFrame({name: pl.Series(columns[name], dtype=dtype) for name, dtype in TRUST_SCHEMA.items()})
    return scores.with_columns(pl.selectors.float().fill_nan(None))


def conviction(intensity: Floats, signal: Floats, certainty: Floats) -> Floats:
    """0.4 crisis intensity + 0.3 signal strength + 0.3 regime certainty, all 0 to 100; NaN where one is."""
    return CRISIS_SHARE * intensity + SIGNAL_SHARE * signal + REGIME_SHARE * certainty


def confidence(width_percentile: Floats, spread_percentile: Floats) -> Floats:
    """100 less the mean of both percentiles, 0 to 100: it falls as the interval widens and as the models part.

    Where the spread has no percentile, as with one model, the width alone counts; where the width has none, NaN.
    """
    spread = np.where(np.isnan(spread_percentile), width_percentile, spread_percentile)
    return 100 - (width_percentile + spread) / 2


def crisis_intensity(vix: Floats, annual_volatility: Floats) -> tuple[Floats, list[str | None]]:
    """How deep in a crisis the market is, 0 to 100, and what it was read from.

    0 up to a VIX of 15, 50 at 25, 100 from 35 on, on a straight line. Without a VIX the annual volatility of ZL stands
    in, times VIX_PER_VOLATILITY; the source of such a row is 'volatility', and None where neither is known.

    Args:
        vix: in index points, shape (rows,).
        annual_volatility: as a fraction, shape (rows,).
    """
    points = np.where(np.isnan(vix), VIX_PER_VOLATILITY * annual_volatility, vix)
    slope = CRISIS_INTENSITY / (CRISIS_VIX - CALM_VIX)
    source = np.where(~np.isnan(vix), "vix", np.where(~np.isnan(annual_volatility), "volatility", ""))
    return np.clip(slope * (points - CALM_VIX), 0.0, 100.0), [name or None for name in source.tolist()]


def signal_strength(quantiles: Floats) -> Floats:
    """Size of the median relative to half the 80 % interval, 0 to 100; 0 where no-change is published.

    100 from where the interval no longer holds a return of 0, if it is symmetric.

    Args:
        quantiles: shape (rows, 7).
    """
    size, half = np.abs(np.sort(quantiles, axis=1)[:, _MEDIAN]), interval_width(quantiles) / 2
    ratio = np.divide(size, half, out=np.where(size > 0, 1.0, 0.0), where=half > 0)
    return np.where(np.isnan(half), np.nan, 100 * np.minimum(ratio, 1.0))


def regime_certainty(probabilities: Floats) -> Floats:
    """Largest probability, rescaled so that 0 means all regimes are alike and 100 that one is certain.

    Args:
        probabilities: shape (rows, regimes), at least two regimes.
    """
    alike = 1 / probabilities.shape[1]
    return np.clip(100 * (probabilities.max(axis=1) - alike) / (1 - alike), 0.0, 100.0)


def interval_width(quantiles: Floats) -> Floats:
    """Width of the 80 % interval, as a return, shape (rows,); NaN where any quantile is."""
    ordered = np.sort(quantiles, axis=1)
    return np.where(np.isnan(quantiles).any(axis=1), np.nan, ordered[:, _HIGH] - ordered[:, _LOW])


def model_spread(medians: Floats) -> Floats:
    """Sample standard deviation of the models' medians, shape (rows,); NaN where fewer than two forecast.

    Args:
        medians: shape (rows, models).
    """
    known = ~np.isnan(medians)
    count = known.sum(axis=1)
    mean = np.where(known, medians, 0.0).sum(axis=1) / np.maximum(count, 1)
    squares = np.where(known, np.square(medians - mean[:, None]), 0.0).sum(axis=1)
    return np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)


def past_percentile(values: Floats) -> Floats:
    """Share of the earlier values that lie below, in percent, those that are equal counted half.

    NaN where the value is, or before LEAST_HISTORY earlier values are there. An order of rows is an order in time.
    """
    ranks = np.full(values.size, np.nan)
    earlier: list[float] = []
    for row, value in enumerate(values.tolist()):
        if np.isnan(value):
            continue
        if len(earlier) >= LEAST_HISTORY:
            ranks[row] = 50 * (bisect_left(earlier, value) + bisect_right(earlier, value)) / len(earlier)
        insort(earlier, value)
    return ranks


def volatility_of_30_sessions() -> pl.Expr:
    """Annual volatility of ZL over 30 sessions, a fraction, from the columns return_1d and is_suspect.

    The sample deviation of daily log returns times the root of 252. A return that is not sound counts for nothing; with
    fewer than 24 others, null.
    """
    return annual_volatility((sound_return() + 1).log(), VOLATILITY_SESSIONS)
