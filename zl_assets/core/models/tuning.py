"""Which parameters the trees of one horizon are grown with, chosen inside the rows every fold learns from.

Belongs here: the search. A caller hands over the first fold's training rows, which all later folds learn from too, and
grows the trees of every fold with the parameters found, so that no fold is tuned on what it is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.evaluation.splits import MIN_TRAIN_SESSIONS
from zl_assets.core.models.base import Floats, Forecaster, require_columns
from zl_assets.core.models.trees import TreeConfig

if TYPE_CHECKING:
    import optuna

TRIALS = 12
"""Parameters tried where there is enough history: the defaults, then eleven draws."""

TAIL_SHARE = 0.2
"""Share of the rows, the latest, that the trials are judged on."""

LEAST_INDEPENDENT = 10
"""Fewest label windows of the tail that do not overlap; with fewer, no trial can be told from the defaults."""

_SEED = 20100607


@dataclass(frozen=True)
class Tuning:
    """What a search found.

    Attributes:
        trials: parameters tried, the defaults among them; 0 where nothing was tried.
        chosen: parameters to grow trees with.
        losses: mean CRPS on the tail of each trial, as a fraction of the price, the defaults first.
    """

    trials: int
    chosen: TreeConfig
    losses: tuple[float, ...]


def tune(
    build: Callable[[TreeConfig], Forecaster],
    frame: pl.DataFrame,
    target: Floats,
    weights: Floats,
    *,
    horizon_sessions: int,
    trials: int = TRIALS,
    default: TreeConfig | None = None,
) -> Tuning:
    """Try parameters on the latest fifth of the rows, learning from those whose outcome was known when it began.

    The defaults are trial 0, and the best of the others is chosen only if its mean loss is lower by more than one
    standard error of the difference, as though only every h-th row of the tail told anything new. Else, and where the
    tail holds too few label windows to tell, the defaults stay. Two searches on the same rows find the same.

    Args:
        build: an unfitted model of the horizon with the parameters given.
        frame: rows to learn from, in order, with their session_number and the columns of the model.
        target: their returns, shape (rows,).
        weights: their weights, shape (rows,).
        horizon_sessions: sessions of a label window.
        trials: how many parameters to try; with fewer than 2, the defaults stay untried.
        default: the parameters to beat; those of TreeConfig if None.

    Raises:
        InputError: as `fit` of the model.
    """
    start = default or TreeConfig()
    require_columns(frame, ("session_number",), "tuning")
    learn, tail = inner_split(frame["session_number"].to_numpy(), horizon_sessions)
    if trials < 2 or learn.size < MIN_TRAIN_SESSIONS or tail.size < LEAST_INDEPENDENT * horizon_sessions:
        return Tuning(0, start, ())

    def losses_of(config: TreeConfig) -> Floats:
        model = build(config).fit(frame[learn], target[learn], weights[learn])
        return _crps(target[tail], model.predict_quantiles(frame[tail]))

    configs, losses = _search(losses_of, start, trials)
    known = np.isfinite(losses).all(axis=0)
    best = int(losses[:, known].mean(axis=1).argmin())
    better = _clearly_lower(losses[best, known], losses[0, known], horizon_sessions)
    means = tuple(float(m) for m in losses[:, known].mean(axis=1))
    return Tuning(trials, configs[best] if better else start, means)


def inner_split(sessions: NDArray[np.int64], horizon_sessions: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of the rows to learn from and of the tail, whose first session knows every outcome learnt from.

    Args:
        sessions: shape (rows,), ascending session numbers.
        horizon_sessions: sessions of a label window, counted by session numbers.
    """
    first = sessions.size - round(TAIL_SHARE * sessions.size)
    tail = np.arange(first, sessions.size)
    if not tail.size:
        return tail, tail
    return np.flatnonzero(sessions + horizon_sessions <= sessions[first]), tail


def _search(
    losses_of: Callable[[TreeConfig], Floats], default: TreeConfig, trials: int
) -> tuple[list[TreeConfig], Floats]:
    """Parameters tried and their losses of each row of the tail, shape (trials, rows)."""
    import optuna

    with _quiet():
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=_SEED, n_startup_trials=trials // 2))
        study.enqueue_trial({"learning_rate": 1.0, "num_leaves": 1.0, "min_rows_in_leaf": 1.0, "lambda_l2": 1.0})
        configs: list[TreeConfig] = []
        losses: list[Floats] = []
        for _ in range(trials):
            trial = study.ask()
            configs.append(_suggested(trial, default))
            losses.append(losses_of(configs[-1]))
            study.tell(trial, float(np.nanmean(losses[-1])))
    return configs, np.array(losses)


def _suggested(trial: optuna.Trial, default: TreeConfig) -> TreeConfig:
    """The defaults times what the trial says.

    The number of trees stays: at rates this low, only its product with the rate matters.
    """
    return replace(
        default,
        learning_rate=default.learning_rate * trial.suggest_float("learning_rate", 1 / 4, 4, log=True),
        num_leaves=max(2, round(default.num_leaves * trial.suggest_float("num_leaves", 1 / 4, 2, log=True))),
        min_rows_in_leaf=round(default.min_rows_in_leaf * trial.suggest_float("min_rows_in_leaf", 1 / 4, 4, log=True)),
        lambda_l2=default.lambda_l2 * trial.suggest_float("lambda_l2", 1 / 10, 10, log=True),
    )


def _clearly_lower(losses: Floats, of_defaults: Floats, horizon_sessions: int) -> bool:
    """Whether the mean is lower by more than one standard error, with one independent row a label window."""
    difference = losses - of_defaults
    error = difference.std(ddof=1) / np.sqrt(difference.size / horizon_sessions)
    return bool(difference.mean() < -error)


def _crps(actual: Floats, quantiles: Floats) -> Floats:
    """CRPS of each row from its quantiles, shape (rows,): twice the pinball losses, each by the levels it stands for.

    The CRPS is twice the integral of the pinball loss over all levels (Gneiting and Ranjan 2011, equation 13).
    """
    levels = np.array(QUANTILE_LEVELS)
    edges = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [1.0]])
    error = actual[:, None] - np.sort(quantiles, axis=1)
    return 2 * np.maximum(levels * error, (levels - 1) * error) @ np.diff(edges)


@contextmanager
def _quiet() -> Generator[None]:
    """Optuna reports every study and trial on standard error; here the result says what happened."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
