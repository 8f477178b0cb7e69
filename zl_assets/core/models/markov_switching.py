"""A market that switches between a calm and a wild state: a Markov-switching volatility model of daily returns.

The log return of a session is normal with mean zero and the variance of the state the session is in; the states form a
Markov chain (Hamilton 1989, Econometrica 57). Belongs here: its fit, its filter and its forecast distribution.
"""

# SciPy and statsmodels carry no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Floats, floats, not_fitted, require_columns, require_rows
from zl_assets.core.models.parameters import read_parameters, unreadable, write_parameters
from zl_assets.core.models.regime_classifier import sound_moves
from zl_assets.errors import InputError, NotEnoughHistory

LOOKBACK = 252
"""Sessions the filter runs over. Before them it starts from how often each state holds in the long run, which a year
later is forgotten."""

LEAST_MOVES = 252
"""Fewest daily returns two variances and two probabilities are estimated from."""

STARTS: tuple[tuple[float, float, float, float], ...] = (
    (0.98, 0.05, 0.6, 2.5),
    (0.95, 0.10, 0.7, 4.0),
    (0.99, 0.02, 0.8, 1.6),
    (0.90, 0.30, 0.4, 2.0),
)
"""Where the search may start, tried in turn: probability of staying calm, of calming down, and the two variances in
units of the variance of all returns."""

MODEL_FILE = "markov_switching.json"

_REACH = 2.0
"""How many of the wildest deviations the table reaches: no mixture of normals has its 95 % quantile beyond 1.65."""

_STEPS = 2001

_LEAST_CHANCE = 1e-8


class MarkovSwitching:
    """The return over h sessions from a calm and a wild state, weighted by how likely each of them holds now.

    Given the state now, the number of wild sessions among the next h has an exact distribution, and given that number
    the log return is normal: the forecast is a mixture of 2 (h + 1) normals. Its quantiles are read off a table of its
    distribution function of 2,001 steps, where linear interpolation is off by less than 1e-5 of the wildest deviation.
    The median is no change.

    The parameters come from the training returns alone, and the states from the returns up to the session of the
    forecast: the probabilities are filtered, never smoothed.

    Attributes:
        horizon_sessions: h.
        variances: of a session's log return in the calm and in the wild state, shape (2,).
        transition: probability of going from the state of a row to that of a column in one session, shape (2, 2).
    """

    name: ClassVar[str] = "markov_switching"
    columns_used: ClassVar[tuple[str, ...]] = ("session_number", "is_suspect", "return_1d")
    lookback: ClassVar[int] = LOOKBACK

    def __init__(self, horizon_sessions: int) -> None:
        self.horizon_sessions = horizon_sessions
        self.variances: Floats = np.empty(0)
        self.transition: Floats = np.empty((0, 0))

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:
        """Estimate two variances and a transition matrix by maximum likelihood; see `Forecaster`.

        Targets and weights are checked and not used: the model learns from every daily return alike.

        Raises:
            NotEnoughHistory: fewer than LEAST_MOVES known daily returns.
            InputError: as `Forecaster`, and where the search converges from none of STARTS.
        """
        require_columns(frame, self.columns_used, f"{self.name}, rows to learn from")
        require_rows(frame.height, target, weights)
        moves = _log_moves(frame)
        self.variances, self.transition = _estimate(moves[np.isfinite(moves)])
        return self

    def state_probabilities(self, frame: pl.DataFrame, sessions_ahead: int = 0) -> Floats:
        """Probabilities of the calm and the wild state some sessions after each row, shape (rows, 2).

        Those of the row itself are filtered: they rest on it and the `lookback` rows before it. Rows with fewer before
        them are NaN.

        Raises:
            InputError: a column in `columns_used` is missing by name, or the model is not fitted.
        """
        if not self.variances.size:
            raise not_fitted(self.name)
        require_columns(frame, self.columns_used, f"{self.name}, rows to forecast")
        now = np.full((frame.height, 2), np.nan)
        if frame.height > LOOKBACK:
            # The first row's return is not known: the row before it is not there to be judged.
            windows = np.lib.stride_tricks.sliding_window_view(_log_moves(frame)[1:], LOOKBACK)
            now[LOOKBACK:] = filtered_probabilities(windows, self.variances, self.transition)
        ahead = np.linalg.matrix_power(self.transition, sessions_ahead)
        return now[:, :1] * ahead[0] + now[:, 1:] * ahead[1]

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        """Quantiles of the returns, shape (rows, 7); see `Forecaster`."""
        now = self.state_probabilities(frame)
        sizes, below = self._distribution()
        upper = [level for level in QUANTILE_LEVELS if level > 0.5]
        log_return = np.full((frame.height, len(upper)), np.nan)
        for row in np.flatnonzero(np.isfinite(now[:, 0])):
            log_return[row] = np.interp(upper, now[row, 0] * below[0] + now[row, 1] * below[1], sizes)
        middle = np.where(np.isfinite(now[:, :1]), 0.0, np.nan)
        # The distribution of the log return is symmetric about zero.
        return np.expm1(np.hstack([-log_return[:, ::-1], middle, log_return]))

    def save(self, directory: Path) -> None:
        """Write markov_switching.json; see `Forecaster`."""
        if not self.variances.size:
            raise not_fitted(self.name)
        held = {
            "horizon_sessions": self.horizon_sessions,
            "variances": self.variances.tolist(),
            "transition": self.transition.tolist(),
        }
        write_parameters(directory / MODEL_FILE, self.name, held)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read markov_switching.json; see `Forecaster`."""
        path = directory / MODEL_FILE
        held = read_parameters(path, cls.name)
        try:
            loaded = cls(int(held["horizon_sessions"]))
            loaded.variances = np.array(held["variances"], dtype=np.float64)
            loaded.transition = np.array(held["transition"], dtype=np.float64)
            if not _two_states(loaded.variances, loaded.transition):
                raise ValueError("two variances and a transition matrix are needed")
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable(path, error) from error
        return loaded

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:  # noqa: ARG002
        """No feature moves the median: no rows; see `Forecaster`."""
        return pl.DataFrame(schema=CONTRIBUTION_SCHEMA)

    def _distribution(self) -> tuple[Floats, Floats]:
        """Sizes of a log return, shape (steps,), and for either state now the chance of less, shape (2, steps)."""
        from scipy.special import ndtr

        h = self.horizon_sessions
        wild = np.arange(h + 1)
        deviation = np.sqrt((h - wild) * self.variances[0] + wild * self.variances[1])
        sizes = np.linspace(0.0, _REACH * deviation.max(), _STEPS)
        below = wild_sessions(self.transition, h) @ ndtr(sizes[None, :] / deviation[:, None])
        return sizes, below


def filtered_probabilities(moves: Floats, variances: Floats, transition: Floats) -> Floats:
    """Probabilities of the states at the last of a sequence of returns (Hamilton 1994, equations 22.4.5 and 22.4.6).

    Before the first return the chain is in its ergodic distribution. A missing return moves the chain on and says
    nothing about its state.

    Args:
        moves: log returns, NaN where missing, shape (sequences, steps).
        variances: of the states, shape (2,).
        transition: probability of going from the state of a row to that of a column, shape (2, 2).

    Returns:
        Shape (sequences, 2); a row depends on its own sequence alone, to the last bit.
    """
    leaving = np.array([transition[1, 0], transition[0, 1]])
    state = np.tile(leaving / leaving.sum(), (moves.shape[0], 1))
    log_height = -0.5 * np.log(variances)
    for step in range(moves.shape[1]):
        state = state[:, :1] * transition[0] + state[:, 1:] * transition[1]
        move = np.nan_to_num(moves[:, step, None])
        fits = log_height - 0.5 * np.square(move) / variances
        seen = state * np.exp(fits - fits.max(axis=1, keepdims=True))
        known = np.isfinite(moves[:, step, None])
        state = np.where(known, seen / seen.sum(axis=1, keepdims=True), state)
    return state


def wild_sessions(transition: Floats, sessions: int) -> Floats:
    """How many of the next sessions are wild, given the state now.

    Args:
        transition: probability of going from the state of a row to that of a column, shape (2, 2).
        sessions: how many come.

    Returns:
        Probabilities of 0 to `sessions` wild ones, shape (2, sessions + 1), a row a state now.
    """
    # held[now, last, n]: the chance that the chain is in state `last` after n wild sessions.
    held = np.zeros((2, 2, sessions + 1))
    held[0, 0, 0] = held[1, 1, 0] = 1.0
    for _ in range(sessions):
        entering = np.einsum("sin,ij->sjn", held, transition)
        held[:, 0] = entering[:, 0]
        held[:, 1, 1:] = entering[:, 1, :-1]
        held[:, 1, 0] = 0.0
    return held.sum(axis=1)


def _estimate(moves: Floats) -> tuple[Floats, Floats]:
    """Variances and transition matrix of log returns, the calm state first.

    Raises:
        NotEnoughHistory: fewer than LEAST_MOVES returns.
        InputError: the price never moved, or the search converges from none of STARTS.
    """
    from statsmodels.tools.sm_exceptions import ConvergenceWarning
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    if moves.size < LEAST_MOVES:
        raise NotEnoughHistory(
            f"{moves.size} known daily returns, {LEAST_MOVES} are needed",
            where=MarkovSwitching.name,
            action="load a longer history",
        )
    variance = float(np.square(moves).mean())
    if variance == 0:
        raise InputError("the price never moved", where=MarkovSwitching.name, action="check the prices of these dates")
    # In units of their deviation the returns are the same search at every price and market.
    model = MarkovRegression(moves / variance**0.5, k_regimes=2, trend="n", switching_variance=True)
    for start in STARTS:
        with warnings.catch_warnings():
            # Not converging is read off the result, and the next start is tried.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found: Any = model.fit(np.array(start), disp=False, cov_type="none", maxiter=200)
        stay, calm_down, *variances = (float(p) for p in found.params)
        scaled, transition = np.array(variances), np.array([[stay, 1 - stay], [calm_down, 1 - calm_down]])
        if found.mle_retvals["converged"] and _two_states(scaled, transition):
            order = np.argsort(scaled)
            return scaled[order] * variance, transition[np.ix_(order, order)]
    raise InputError(
        f"no two states are found in {moves.size} returns: the search converged from none of {len(STARTS)} starts",
        where=MarkovSwitching.name,
        action="load a longer history, or leave this model out",
    )


def _two_states(variances: Floats, transition: Floats) -> bool:
    """Whether these describe two states that the market both enters and leaves."""
    if variances.shape != (2,) or transition.shape != (2, 2):
        return False
    moving = bool((transition > _LEAST_CHANCE).all()) and np.allclose(transition.sum(axis=1), 1.0)
    return moving and bool((variances > 0).all()) and bool(np.isfinite(variances).all())


def _log_moves(frame: pl.DataFrame) -> Floats:
    return floats(frame.select(move=(sound_moves() + 1).log()), "move")
