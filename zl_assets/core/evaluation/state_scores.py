"""How well the market states of the future were told, beside the frequencies of the past on the same sessions.

Belongs here: figures about probabilities of states and the states that came. How a classifier learns is in
`models.regime_classifier`, which sessions it is judged on in `models.regime_training`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zl_assets.core.evaluation.significance import compare_losses, stricter_p
from zl_assets.core.models.base import Floats, matrix
from zl_assets.errors import InputError

CLIMATOLOGY = "climatology_"
"""What the column of a state's frequency in the past begins with; the state itself names that of its probability."""

ACTUAL = "actual_state"
"""Column of the state that came; null where nobody knows yet."""


@dataclass(frozen=True)
class StateCounts:
    """One state among the sessions that were judged.

    Attributes:
        came: sessions it came after.
        told: sessions it was the most probable one of; several that are alike share the session.
        mean_probability: what it was given on average.
    """

    came: int
    told: float
    mean_probability: float


@dataclass(frozen=True)
class StateScores:
    """Errors of probabilities and of climatology on the same sessions; lower is better but for the accuracies.

    Attributes:
        n: sessions judged.
        n_independent: label windows among them that do not overlap, n // h.
        n_alike: sessions whose states were all given the same probability, since too little was known to tell.
        log_loss: mean of minus the logarithm of what was given to the state that came.
        climatology_log_loss: the same of the frequencies of the past.
        brier: mean squared distance from certainty of what came, summed over the states (Brier 1950): 0 to 2.
        climatology_brier: the same of the frequencies of the past.
        accuracy: share of the sessions whose most probable state came; of states that are alike, each has its share.
        most_frequent_accuracy: the same of always naming the state that was most frequent in the past.
        p_value: of a log loss this far below climatology's if there were no skill, one-sided, the larger of two tests;
            None on fewer than 10 independent windows, or where both always say the same.
        p_value_worse: of a log loss this far above climatology's if both were alike, in the same way.
        states: counts by state.
    """

    n: int
    n_independent: int
    n_alike: int
    log_loss: float
    climatology_log_loss: float
    brier: float
    climatology_brier: float
    accuracy: float
    most_frequent_accuracy: float
    p_value: float | None
    p_value_worse: float | None
    states: Mapping[str, StateCounts]

    @property
    def log_loss_skill(self) -> float:
        """1 - log_loss / climatology_log_loss: positive is better than the frequencies of the past."""
        return 1 - self.log_loss / self.climatology_log_loss


def score_states(rows: pl.DataFrame, states: Sequence[str], horizon_sessions: int) -> StateScores | None:
    """Score probabilities of states beside climatology, where the state that came is known.

    Args:
        rows: one a session in order: ACTUAL, a column a state, and the same with CLIMATOLOGY before it.
        states: their names.
        horizon_sessions: h.

    Returns:
        None where the state that came is known of no session.

    Raises:
        InputError: a probability of what came is not above 0.
    """
    judged = rows.drop_nulls(ACTUAL)
    if judged.is_empty():
        return None
    came = judged[ACTUAL].cast(pl.Enum(states)).to_physical().to_numpy().astype(np.intp)
    told, past = matrix(judged, states), matrix(judged, [CLIMATOLOGY + state for state in states])
    losses, past_losses = _log_losses(told, came), _log_losses(past, came)
    likeliest = _likeliest(told)
    counts = np.bincount(came, minlength=len(states))
    return StateScores(
        n=judged.height,
        n_independent=judged.height // horizon_sessions,
        n_alike=int((np.ptp(told, axis=1) == 0).sum()),
        log_loss=float(losses.mean()),
        climatology_log_loss=float(past_losses.mean()),
        brier=_brier(told, came),
        climatology_brier=_brier(past, came),
        accuracy=_hit(likeliest, came),
        most_frequent_accuracy=_hit(_likeliest(past), came),
        p_value=_p_value(losses - past_losses, horizon_sessions),
        p_value_worse=_p_value(past_losses - losses, horizon_sessions),
        states={
            state: StateCounts(int(counts[n]), float(likeliest[:, n].sum()), float(told[:, n].mean()))
            for n, state in enumerate(states)
        },
    )


def _log_losses(told: Floats, came: NDArray[np.intp]) -> Floats:
    given = told[np.arange(came.size), came]
    if not (given > 0).all():
        raise InputError(
            "what came was given no probability",
            where=f"{int((~(given > 0)).sum())} of {came.size} sessions",
            action="give every state a probability above 0",
        )
    return -np.log(given)


def _brier(told: Floats, came: NDArray[np.intp]) -> float:
    return float(np.square(told - np.eye(told.shape[1])[came]).sum(axis=1).mean())


def _likeliest(told: Floats) -> Floats:
    """1 at the most probable state of each row; where several are alike, they share it."""
    largest = told == told.max(axis=1, keepdims=True)
    return largest / largest.sum(axis=1, keepdims=True)


def _hit(likeliest: Floats, came: NDArray[np.intp]) -> float:
    return float(likeliest[np.arange(came.size), came].mean())


def _p_value(differences: Floats, horizon_sessions: int) -> float | None:
    return stricter_p(compare_losses(differences, horizon_sessions), differences, horizon_sessions)
