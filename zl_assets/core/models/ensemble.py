"""The blend of all models: weights learnt from forecasts made out of fold, shrunk to equal ones, by market state.

A quantile of the blend is the weighted mean of the members' quantiles of that level (Vincentisation: Lichtendahl et al.
2013, which keeps the blend as sharp as its members). Weights minimise the pinball loss of the blend; they are learnt
per state of the market, each row counting by the probability of the state when it was forecast, and mixed by the
probabilities of the row that is forecast. Few outcomes are independent, so the weights of a state are shrunk towards
those of all states, and those towards equal weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from zl_assets.core.evaluation.metrics import MEDIAN, QUANTILE_COLUMNS, QUANTILE_LEVELS
from zl_assets.core.evaluation.scores import LEVEL_WEIGHTS
from zl_assets.core.models.base import Floats, contributions, matrix, not_fitted, require_columns
from zl_assets.core.models.parameters import read_json, unreadable, write_json
from zl_assets.core.models.shelf import ENSEMBLE
from zl_assets.errors import InputError

PRIOR = 20.0
"""Windows that do not overlap whose weight the prior has."""

_STEPS = 200
_RATE = 0.5
_ROWS = 500
"""Rows that weights are learnt from at most, evenly spaced: neighbours repeat each other's outcome."""

WEIGHTS_FILE = "weights.json"


def member_columns(model: str) -> tuple[str, ...]:
    """Columns of a member's quantiles in the frame that the ensemble reads."""
    return tuple(f"{model}.{name}" for name in QUANTILE_COLUMNS)


def state_column(state: str) -> str:
    """Column of the probability of a market state in the frame that the ensemble reads."""
    return f"probability.{state}"


def members_frame(forecasts: Mapping[str, pl.DataFrame], probabilities: pl.DataFrame) -> pl.DataFrame:
    """What the ensemble reads: one row a session with each member's quantiles and the probabilities of the states.

    Args:
        forecasts: rows of OOF_SCHEMA by member, of the same sessions.
        probabilities: session_number, and a column a state.

    Returns:
        The columns of a forecast's session, fold, target, sample_weight of 1, quantiles and probabilities.

    Raises:
        InputError: members were forecast on other sessions, or a session has no probability.
    """
    first, rows = next(iter(forecasts.items()))
    about = [c for c in rows.columns if c not in (*QUANTILE_COLUMNS, "crossed", "actual_return")]
    wide = rows.select(*about, target="actual_return", sample_weight=pl.lit(1.0))
    for name, own in forecasts.items():
        if not own["session_number"].equals(rows["session_number"]):
            raise InputError(
                f"{name} and {first} were not forecast on the same sessions",
                where=f"{own.height} and {rows.height} rows",
                action="train all of them on the same training table",
            )
        wide = wide.hstack(
            own.select(QUANTILE_COLUMNS).rename(dict(zip(QUANTILE_COLUMNS, member_columns(name), strict=True)))
        )
    states = [c for c in probabilities.columns if c != "session_number"]
    told = probabilities.rename({state: state_column(state) for state in states})
    joined = wide.join(told, on="session_number", how="left", maintain_order="left")
    if joined.select(state_column(s) for s in states).null_count().sum_horizontal().item():
        raise InputError("a session has no probability of its market state", where=f"{joined.height} sessions")
    return joined


@dataclass(frozen=True)
class Blend:
    """Weights of the members.

    Attributes:
        members: names.
        states: names of market states.
        weights: shape (states, members); those of a state sum to 1.
        windows: label windows that do not overlap among the rows learnt from.
    """

    members: tuple[str, ...]
    states: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]
    windows: float


class Ensemble:
    """Blend of members' quantiles; reads frames that `members_frame` makes.

    Attributes:
        members: names.
        states: names of the market states.
        horizon_sessions: h.
    """

    lookback = 0

    def __init__(self, members: Sequence[str], states: Sequence[str], horizon_sessions: int) -> None:
        self.members = tuple(members)
        self.states = tuple(states)
        self.horizon_sessions = horizon_sessions
        self._blend: Blend | None = None

    @property
    def columns_used(self) -> tuple[str, ...]:
        """Quantiles of the members and probabilities of the states."""
        return (*(c for m in self.members for c in member_columns(m)), *map(state_column, self.states))

    @property
    def blend(self) -> Blend:
        """The weights.

        Raises:
            InputError: the model is not fitted.
        """
        if self._blend is None:
            raise not_fitted(ENSEMBLE)
        return self._blend

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:  # noqa: ARG002
        """Learn weights from members' forecasts and what came; equal ones from no rows at all. See `Forecaster`.

        Every outcome counts alike: `weights` is not read.
        """
        require_columns(frame, self.columns_used, "ensemble, rows to learn from")
        windows = frame.height / self.horizon_sessions
        equal = np.full(len(self.members), 1 / len(self.members))
        if frame.is_empty():
            common, own = equal, np.tile(equal, (len(self.states), 1))
        else:
            kept = np.arange(0, frame.height, max(1, -(-frame.height // _ROWS)))
            quantiles, actual = self._quantiles(frame)[kept], target[kept]
            common = _shrunk(_best(quantiles, actual, np.ones(kept.size), equal), equal, windows)
            chances = matrix(frame, [state_column(s) for s in self.states])
            own = np.array(
                [
                    _shrunk(_best(quantiles, actual, chances[kept, n], common), common, windows * chances[:, n].mean())
                    for n in range(len(self.states))
                ]
            )
        self._blend = Blend(self.members, self.states, tuple(map(tuple, own.tolist())), windows)
        return self

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        """Quantiles of the returns, shape (rows, 7); see `Forecaster`."""
        require_columns(frame, self.columns_used, "ensemble, rows to forecast")
        return np.einsum("rm,rmq->rq", self.weights(frame), self._quantiles(frame))

    def weights(self, frame: pl.DataFrame) -> Floats:
        """Weight of each member at each row, by the probabilities of its states, shape (rows, members)."""
        return matrix(frame, [state_column(s) for s in self.states]) @ np.array(self.blend.weights)

    def save(self, directory: Path) -> None:
        """Write weights.json; see `Forecaster`."""
        write_json(directory / WEIGHTS_FILE, {**asdict(self.blend), "horizon_sessions": self.horizon_sessions})

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read weights.json; see `Forecaster`."""
        path = directory / WEIGHTS_FILE
        held = read_json(path)
        try:
            loaded = cls(held["members"], held["states"], held["horizon_sessions"])
            weights = tuple(tuple(float(w) for w in row) for row in held["weights"])
            fits = [len(row) == len(loaded.members) and abs(sum(row) - 1) < 1e-6 for row in weights]
            if len(fits) != len(loaded.states) or not all(fits):
                raise ValueError("its weights do not fit its members")
            loaded._blend = Blend(loaded.members, loaded.states, weights, float(held["windows"]))
        except (ValueError, KeyError, TypeError) as error:
            raise unreadable(path, error) from error
        return loaded

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Share of each member in the median of the last row: its weight times its own median; see `Forecaster`."""
        last = frame.tail(1)
        medians = self._quantiles(last)[0, :, MEDIAN]
        return contributions(self.members, self.weights(last)[0] * medians)

    def _quantiles(self, frame: pl.DataFrame) -> Floats:
        """Shape (rows, members, 7)."""
        flat = matrix(frame, [c for m in self.members for c in member_columns(m)])
        return flat.reshape(frame.height, len(self.members), len(QUANTILE_LEVELS))


def _shrunk(learnt: Floats, prior: Floats, windows: float) -> Floats:
    share = windows / (windows + PRIOR)
    return share * learnt + (1 - share) * prior


def _best(quantiles: Floats, actual: Floats, counts: Floats, start: Floats) -> Floats:
    """Weights on the simplex of low pinball loss, by exponentiated gradient steps (Kivinen and Warmuth 1997).

    Args:
        quantiles: shape (rows, members, 7).
        actual: shape (rows,).
        counts: how much each row counts, shape (rows,).
        start: weights to start from, shape (members,).
    """
    if counts.sum() <= 0:
        return start
    levels, share = np.array(QUANTILE_LEVELS), LEVEL_WEIGHTS
    rows = counts[:, None] / counts.sum() * share[None, :]
    scale = float((np.abs(actual) * counts).sum() / counts.sum()) or 1.0
    logits, total = np.log(start), np.zeros_like(start)
    for step in range(1, _STEPS + 1):
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        total += weights
        above = actual[:, None] > np.einsum("m,rmq->rq", weights, quantiles)
        slope = np.where(above, -levels, 1 - levels) * rows
        logits = logits - _RATE / np.sqrt(step) * np.einsum("rq,rmq->m", slope, quantiles) / scale
    return total / _STEPS
