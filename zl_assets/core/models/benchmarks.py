"""What every model has to beat: that the price stays, that it drifts on, that it does as at this time of other years.

All three carry the same interval, which is as wide as the market is volatile.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl

from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Floats, floats, not_fitted, require_columns, require_rows
from zl_assets.core.models.interval import StudentInterval
from zl_assets.core.models.parameters import read_parameters, unreadable, write_parameters

PARAMETERS_FILE = "parameters.json"
_COLUMNS = ("data_date", "ewma_volatility")


class Benchmark(ABC):
    """A point forecast that needs at most one number a week of the year, inside a Student-t interval."""

    name: ClassVar[str]
    columns_used: ClassVar[tuple[str, ...]] = _COLUMNS
    lookback: ClassVar[int] = 0
    levels: ClassVar[int] = 1
    """How many numbers the point forecast is made of."""

    def __init__(self) -> None:
        self._interval: StudentInterval | None = None
        self._level: Floats = np.zeros(1)

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:
        """Learn the level and the shape of the errors; see `Forecaster`.

        Weights are checked and not used: the benchmarks know no regimes.
        """
        require_columns(frame, self.columns_used, f"{self.name}, rows to learn from")
        require_rows(frame.height, target, weights)
        self._level = self._learn(frame, target)
        self._interval = StudentInterval.fit(target, self._point(frame), floats(frame, "ewma_volatility"))
        return self

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        """Quantiles of the returns, shape (rows, 7); see `Forecaster`."""
        if self._interval is None:
            raise not_fitted(self.name)
        require_columns(frame, self.columns_used, f"{self.name}, rows to forecast")
        return self._interval.quantiles(self._point(frame), floats(frame, "ewma_volatility"))

    def save(self, directory: Path) -> None:
        """Write parameters.json; see `Forecaster`."""
        if self._interval is None:
            raise not_fitted(self.name)
        held = {"interval": asdict(self._interval), "level": self._level.tolist()}
        write_parameters(directory / PARAMETERS_FILE, self.name, held)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read parameters.json; see `Forecaster`."""
        path = directory / PARAMETERS_FILE
        held = read_parameters(path, cls.name)
        loaded = cls()
        try:
            loaded._interval = StudentInterval.of(held["interval"])
            loaded._level = np.array(held["level"], dtype=np.float64)
            if loaded._level.shape != (cls.levels,) or not np.isfinite(loaded._level).all():
                raise ValueError(f"it needs {cls.levels} finite levels")
        except (ValueError, KeyError, TypeError) as error:
            raise unreadable(path, error) from error
        return loaded

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:  # noqa: ARG002
        """No feature moves a benchmark: no rows; see `Forecaster`."""
        return pl.DataFrame(schema=CONTRIBUTION_SCHEMA)

    @abstractmethod
    def _learn(self, frame: pl.DataFrame, target: Floats) -> Floats:
        """The numbers the point forecast is made of, shape (levels,)."""

    def _point(self, frame: pl.DataFrame) -> Floats:
        return np.full(frame.height, self._level[0])


class NoChange(Benchmark):
    """The price stays as it is."""

    name = "no_change"

    def _learn(self, frame: pl.DataFrame, target: Floats) -> Floats:  # noqa: ARG002
        return np.zeros(1)


class Drift(Benchmark):
    """The price goes on as it went on average over the training rows."""

    name = "drift"

    def _learn(self, frame: pl.DataFrame, target: Floats) -> Floats:  # noqa: ARG002
        return np.array([target.mean()])


class SeasonalNaive(Benchmark):
    """The price does what it did on average from the same week of past years on; from a week never seen, it stays."""

    name = "seasonal_naive"
    levels = 54

    def _learn(self, frame: pl.DataFrame, target: Floats) -> Floats:
        week = _week(frame)
        count = np.bincount(week, minlength=self.levels)
        return np.bincount(week, weights=target, minlength=self.levels) / np.maximum(count, 1)

    def _point(self, frame: pl.DataFrame) -> Floats:
        return self._level[_week(frame)]


def _week(frame: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """ISO week of each row, 1 to 53."""
    return frame["data_date"].dt.week().cast(pl.Int64).to_numpy()
