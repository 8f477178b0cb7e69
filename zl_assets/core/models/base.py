"""What every forecaster offers, which columns it may learn from, and the rows it learns from.

Belongs here: the contract between models and their callers. No model is fitted here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zl_assets.core.evaluation.metrics import kish_effective_size
from zl_assets.errors import InputError

Floats = NDArray[np.float64]

STATIONARY_FEATURES: tuple[str, ...] = (
    "return_1d",
    "return_5d",
    "return_21d",
    "volatility_21d",
    "rsi_14",
    "vol_percentile",
    "k_vol",
)
"""Columns a model learns from: returns, ratios and ranks, whose range is the same in every year.

Price levels (close, ma_5, ma_21, ma_63) are out: they drift, so that a tree split on them only tells the years apart.
The regime is out too: its names were given after the fact.
"""

FRAME_COLUMNS: tuple[str, ...] = (
    "data_date",
    "session_number",
    "close",
    *STATIONARY_FEATURES,
    "ewma_volatility",
    "sample_weight",
    "target_date",
    "target",
    "split",
    "is_suspect",
    "usable",
)
"""Columns of a training frame that training reads; further columns are ignored."""

CONTRIBUTION_SCHEMA: dict[str, pl.DataType] = {"feature": pl.String(), "contribution": pl.Float64()}
"""By how much a feature moves a forecast's median, as a fraction of the price: positive pushes it up."""


@runtime_checkable
class Forecaster(Protocol):
    """A model of the return over one horizon.

    A frame holds one row a session in order. A forecast reads its own row and at most `lookback` rows before it,
    whatever the frame holds beside them, so that forecasting many sessions at once and one by one give the same.
    """

    @property
    def columns_used(self) -> tuple[str, ...]:
        """Columns the fitted model reads to forecast, in its order."""
        ...

    @property
    def lookback(self) -> int:
        """How many rows before its own a forecast reads; 0 for a model of single rows."""
        ...

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:
        """Learn from rows, their returns and their weights, each of shape (rows,), and return itself fitted.

        The same rows give the same model. Multiplying every weight by one number changes nothing.

        Raises:
            InputError: a column is missing by name, there are too few rows, or a target or weight is not usable.
        """
        ...

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        """Quantiles of the returns at QUANTILE_LEVELS as fractions, shape (rows, 7).

        They may cross: whoever asks sorts them. Rows with fewer than `lookback` rows before them are NaN.

        Raises:
            InputError: a column in `columns_used` is missing by name, or the model is not fitted.
        """
        ...

    def save(self, directory: Path) -> None:
        """Write the fitted model in its native, safe format into an existing directory.

        Raises:
            InputError: the model is not fitted.
            OSError: a file cannot be written.
        """
        ...

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read a model that `save` wrote; it predicts the same.

        Raises:
            InputError: a file is missing or damaged.
        """
        ...

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What moves the median of the last row's forecast: rows of CONTRIBUTION_SCHEMA, the largest move first.

        Empty for a model that reads no features.

        Raises:
            InputError: as `predict_quantiles`.
        """
        ...


def require_columns(frame: pl.DataFrame, columns: Sequence[str], reader: str) -> None:
    """Refuse a frame that lacks a column.

    Raises:
        InputError: with every missing column by name.
    """
    missing = [c for c in columns if c not in frame.columns]
    if missing:
        raise InputError(
            f"missing columns: {', '.join(missing)}",
            where=reader,
            action="rebuild the training view and train again on it",
        )


def require_rows(n_rows: int, target: Floats, weights: Floats) -> None:
    """Refuse what nothing can be learnt from.

    Raises:
        InputError: no row, lengths that differ, a target that is not finite, or a weight that is not positive.
    """
    if n_rows == 0 or target.shape != (n_rows,) or weights.shape != (n_rows,) or not np.isfinite(target).all():
        raise InputError(
            "fitting needs as many finite targets and weights as rows, at least one",
            where=f"{n_rows} rows, {int(np.isfinite(target).sum())} finite targets, {weights.size} weights",
            action="fit on labelled rows only",
        )
    kish_effective_size(weights)


def not_fitted(model: str) -> InputError:
    """The error of a model that is asked before it has learnt."""
    return InputError("the model is not fitted", where=model, action="call fit or load first")


def matrix(frame: pl.DataFrame, columns: Sequence[str]) -> Floats:
    """Columns as numbers, shape (rows, columns), C order, nulls as NaN."""
    floats = frame.select(pl.col(list(columns)).cast(pl.Float64).fill_null(float("nan")))
    return np.ascontiguousarray(floats.to_numpy(), dtype=np.float64)


def floats(frame: pl.DataFrame, column: str) -> Floats:
    """One column as numbers, shape (rows,), nulls as NaN."""
    return matrix(frame, [column])[:, 0]


def contributions(features: Sequence[str], moved: Floats) -> pl.DataFrame:
    """Rows of CONTRIBUTION_SCHEMA, the largest move first, features of equal moves by name."""
    rows = pl.DataFrame({"feature": list(features), "contribution": moved}, schema=CONTRIBUTION_SCHEMA)
    return rows.sort(pl.col("contribution").abs(), "feature", descending=[True, False])


def rows_read(readable: pl.DataFrame, wanted: pl.DataFrame, lookback: int) -> tuple[pl.DataFrame, NDArray[np.intp]]:
    """What forecasts of some rows read, no row that comes later among it, and where in it these rows are.

    Args:
        readable: rows in order; those wanted are among them.
        wanted: rows to forecast, in order, at least one.
        lookback: of the model.

    Returns:
        Consecutive readable rows, and positions among them, shape (wanted,).

    Raises:
        InputError: a wanted row is not readable: the position found would be that of a later session.
    """
    sessions = wanted["session_number"]
    if lost := sessions.filter(~sessions.is_in(readable["session_number"].implode())).to_list():
        raise InputError(
            f"{len(lost)} of {wanted.height} sessions cannot be read",
            where=f"session {lost[0]} has no price, or a suspect one",
            action="ask for sessions whose price is not suspect",
        )
    places = np.searchsorted(readable["session_number"].to_numpy(), sessions.to_numpy())
    first = max(int(places[0]) - lookback, 0)
    return readable[first : int(places[-1]) + 1], places - first


def labelled_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows a model may learn from or be judged on, sorted by date: not suspect at either end, outcome known.

    Rows that are 'purged' only because of the split boundary are among them: the walk-forward has its own purge.
    `usable` already excludes suspect rows; both are tested, so that a mistake in one column cannot let a bad price in.

    Raises:
        InputError: the frame lacks a column.
    """
    require_columns(frame, FRAME_COLUMNS, "training frame")
    known = pl.col("target").is_not_null() & pl.col("target").is_not_nan()
    return frame.filter(known & pl.col("usable") & ~pl.col("is_suspect")).sort("data_date")
