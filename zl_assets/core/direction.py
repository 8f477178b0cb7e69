"""How probable a rise is: read from a forecast's quantiles, then held against what came of earlier forecasts.

Belongs here: one number a forecast, between 0 and 1. How far to trust the forecast is in `conviction`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zl_assets.core.evaluation.metrics import MEDIAN, QUANTILE_LEVELS
from zl_assets.core.models.base import Floats
from zl_assets.errors import InputError

REFIT_SESSIONS = 21
"""The calibration is fitted anew when this many sessions have passed, counted from session number 0: once a month."""

PRIOR_DEVIATION = 1.0
"""Of the slope around 0, which says nothing of a direction: a forecast is believed as far as outcomes speak for it."""

_LARGEST_ODDS = 6.0
_STEEPEST = 4.0
_LEVELS = np.array(QUANTILE_LEVELS)


def direction_probability(quantiles: Floats) -> Floats:
    """Probability that the return is above 0, shape (rows,); NaN where a quantile is not finite.

    Between the quantiles the distribution is linear. Beyond the outer two it has exponential tails whose density at the
    outer quantile is that of the step inside it: they hold all the probability left and never reach 0 or 1. Where
    several levels share a quantile of exactly 0, the one nearest to one half counts, so a median of 0 gives one half
    and the mirror image of a forecast gives the opposite probability.

    Args:
        quantiles: returns at QUANTILE_LEVELS, shape (rows, 7); crossing ones are put in order.
    """
    known = np.isfinite(quantiles.sum(axis=1))
    q = np.sort(np.where(known[:, None], quantiles, 0.0), axis=1)
    below, not_above = (q < 0).sum(axis=1), (q <= 0).sum(axis=1)
    # Where no quantile is 0, this picks any level and is not used.
    shared = _LEVELS[np.clip(MEDIAN, below, not_above - 1)]
    level = np.where(not_above > below, shared, _level_between(q, below))
    return np.where(known, 1 - level, np.nan)


def _level_between(q: Floats, below: NDArray[np.intp]) -> Floats:
    """Level of a return of 0 where no quantile is 0 and `below` of them are negative."""
    rows = np.arange(len(q))
    right = below.clip(1, q.shape[1] - 1)
    low, high = q[rows, right - 1], q[rows, right]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inside = _LEVELS[right - 1] + (_LEVELS[right] - _LEVELS[right - 1]) * (0 - low) / (high - low)
        left_tail = _LEVELS[0] * np.exp(-q[:, 0] / (q[:, 1] - q[:, 0]))
        right_tail = 1 - (1 - _LEVELS[-1]) * np.exp(q[:, -1] / (q[:, -1] - q[:, -2]))
    return np.where(below == 0, left_tail, np.where(below == q.shape[1], right_tail, inside))


def calibrated_direction(
    probabilities: Floats, actual_returns: Floats, session_numbers: NDArray[np.int64], horizon_sessions: int
) -> Floats:
    """Probabilities of a rise, drawn towards one half as far as the outcomes known by then do not bear them out.

    Platt scaling (1999) without an intercept: the log odds are multiplied by one slope, so one half stays one half and
    the order of forecasts stays. The slope is the most probable one under a normal prior around 0, with each outcome
    counted as 1 / h, since h neighbours share theirs; a negative one is taken as 0. Without outcomes that is one half.

    A row reads the forecasts whose outcome is known at the last refit, that is s + h <= r for r the latest multiple of
    REFIT_SESSIONS up to its session.

    Args:
        probabilities: as `direction_probability`, shape (rows,); NaN stays NaN.
        actual_returns: what came of the forecasts, shape (rows,); NaN where not known.
        session_numbers: of the forecasts, strictly ascending, shape (rows,).
        horizon_sessions: h.

    Raises:
        InputError: lengths that differ, sessions that do not ascend, or a probability outside 0 to 1.
    """
    sessions = np.asarray(session_numbers, dtype=np.int64)
    alike = probabilities.shape == actual_returns.shape == sessions.shape
    outside = (probabilities < 0) | (probabilities > 1)
    if not alike or outside.any() or not (np.diff(sessions) > 0).all() or horizon_sessions < 1:
        raise InputError(
            "calibration needs a probability and a session for every outcome, in order of the sessions",
            where=f"{probabilities.size} probabilities, {int(outside.sum())} of them outside 0 to 1, "
            f"{actual_returns.size} outcomes, {sessions.size} sessions",
            action="pass the out-of-fold forecasts of one horizon",
        )
    odds = _log_odds(probabilities)
    refits = sessions // REFIT_SESSIONS * REFIT_SESSIONS
    usable = ~np.isnan(odds) & ~np.isnan(actual_returns)
    slopes = np.zeros(sessions.size)
    for refit in np.unique(refits):
        seen = usable & (sessions + horizon_sessions <= refit)
        slopes[refits == refit] = _slope(odds[seen], actual_returns[seen], horizon_sessions)
    return 1 / (1 + np.exp(-slopes * odds))


def _log_odds(probabilities: Floats) -> Floats:
    """Log odds, limited so that no single forecast can claim to be sure."""
    with np.errstate(divide="ignore"):
        odds = np.log(probabilities) - np.log1p(-probabilities)
    return np.clip(odds, -_LARGEST_ODDS, _LARGEST_ODDS)


def _slope(odds: Floats, returns: Floats, horizon_sessions: int) -> float:
    """Zero of the posterior's derivative, which falls everywhere, by bisection; 0 where it lies below."""
    rises = (np.sign(returns) + 1) / 2

    def derivative(slope: float) -> float:
        surprise = rises - 1 / (1 + np.exp(-slope * odds))
        return float((surprise * odds).sum()) / horizon_sessions - slope / PRIOR_DEVIATION**2

    low, high = 0.0, _STEEPEST
    if derivative(low) <= 0:
        return low
    if derivative(high) >= 0:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if derivative(middle) > 0 else (low, middle)
    return (low + high) / 2
