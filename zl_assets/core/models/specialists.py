"""Trees that have seen one kind of market alone: crises, trade war, inflation.

Belongs here: which rows a specialist learns from, and what it says where there are too few of them. The names and dates
of regimes were given in hindsight: they choose training rows and are never a feature.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zl_assets.core.evaluation.metrics import kish_effective_size
from zl_assets.core.evaluation.splits import MIN_TRAIN_SESSIONS
from zl_assets.core.models.base import (
    CONTRIBUTION_SCHEMA,
    STATIONARY_FEATURES,
    Floats,
    not_fitted,
    require_columns,
    require_rows,
)
from zl_assets.core.models.benchmarks import NoChange
from zl_assets.core.models.lightgbm_model import LightGBMForecaster
from zl_assets.core.models.parameters import read_parameters, unreadable, write_parameters
from zl_assets.core.models.regime_classifier import STATE_COLUMNS, regime_state
from zl_assets.core.models.trees import TreeConfig
from zl_assets.core.regimes import SETS

LEAST_WINDOWS = 10.0
"""Fewest independent label windows a specialist learns from; no test of a forecast works on fewer either."""

FITTED = "fitted"

MODEL_FILE = "specialist.json"


class Specialist(ABC):
    """LightGBM's mean return, learnt from the rows of one kind of market, inside the interval of no-change.

    Rows outside the regime are left out altogether: any weight for them would be a second, hidden choice of model. The
    interval is that of no-change over all rows, in units of the volatility, as a regime holds too few windows to tell
    tails by; it is moved with the point, in proportion to the price.

    Where the rows of the regime are fewer than MIN_TRAIN_SESSIONS or hold fewer than LEAST_WINDOWS independent windows,
    there is nothing to learn from: the forecast is no-change, and `state` says why.

    Attributes:
        horizon_sessions: h, sessions of a label window.
        config: parameters of the trees before their penalties are scaled to count windows.
        features: columns offered to the next `fit`.
        effective_sample_size: independent label windows among the rows of the regime: Kish's effective size of their
            weights, over h because the windows of neighbouring rows overlap; NaN before `fit`.
        state: FITTED, or why the forecast is no-change; empty before `fit`.
    """

    name: ClassVar[str]
    lookback: ClassVar[int] = 0
    fit_columns: ClassVar[tuple[str, ...]]
    """Columns that tell which rows belong to the regime; a forecast does not read them."""

    def __init__(
        self,
        horizon_sessions: int,
        config: TreeConfig | None = None,
        features: Sequence[str] = STATIONARY_FEATURES,
    ) -> None:
        self.horizon_sessions = horizon_sessions
        self.config = config or TreeConfig()
        self.features = tuple(features)
        self.effective_sample_size = float("nan")
        self.state = ""
        self._no_change = NoChange()
        self._tree: LightGBMForecaster | None = None

    @property
    def columns_used(self) -> tuple[str, ...]:
        """Columns the fitted model reads to forecast, the features of its trees first."""
        features = self._tree.columns_used if self._tree else ()
        return tuple(dict.fromkeys((*features, *self._no_change.columns_used)))

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:
        """Learn from the rows of the regime, and the width of the interval from all; see `Forecaster`."""
        needed = (*self.features, *self._no_change.columns_used, *self.fit_columns)
        require_columns(frame, needed, f"{self.name}, rows to learn from")
        require_rows(frame.height, target, weights)
        inside = self._inside(frame)
        windows = kish_effective_size(weights[inside]) / self.horizon_sessions if inside.any() else 0.0
        self._no_change.fit(frame, target, weights)
        self.effective_sample_size = windows
        self.state = _state(int(inside.sum()), windows)
        self._tree = None
        if self.state == FITTED:
            tree = LightGBMForecaster(self.config, self.features, horizon_sessions=self.horizon_sessions)
            self._tree = tree.fit(frame.filter(inside), target[inside], weights[inside])
        return self

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        """Quantiles of the returns, shape (rows, 7), of rows in and outside the regime alike; see `Forecaster`."""
        self._require_fitted()
        require_columns(frame, self.columns_used, f"{self.name}, rows to forecast")
        around = self._no_change.predict_quantiles(frame)
        if self._tree is None:
            return around
        return (1 + self._tree.predict(frame))[:, None] * (1 + around) - 1

    def save(self, directory: Path) -> None:
        """Write specialist.json, the interval's parameters.json and, where there are trees, their text."""
        self._require_fitted()
        held = {
            "horizon_sessions": self.horizon_sessions,
            "effective_sample_size": self.effective_sample_size,
            "state": self.state,
        }
        write_parameters(directory / MODEL_FILE, self.name, held)
        self._no_change.save(directory)
        if self._tree:
            self._tree.save(directory)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read a model that `save` wrote. A later `fit` would use the default parameters; see `Forecaster`."""
        path = directory / MODEL_FILE
        held = read_parameters(path, cls.name)
        try:
            loaded = cls(int(held["horizon_sessions"]))
            loaded.effective_sample_size = float(held["effective_sample_size"])
            loaded.state = str(held["state"])
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable(path, error) from error
        loaded._no_change = NoChange.load(directory)
        loaded._tree = LightGBMForecaster.load(directory) if loaded.state == FITTED else None
        return loaded

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What moves the trees' forecast of the last row; no rows where there are no trees; see `Forecaster`."""
        self._require_fitted()
        require_columns(frame, self.columns_used, f"{self.name}, rows to forecast")
        return self._tree.explain(frame) if self._tree else pl.DataFrame(schema=CONTRIBUTION_SCHEMA)

    @abstractmethod
    def _inside(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        """Whether each row belongs to the regime, shape (rows,)."""

    def _require_fitted(self) -> None:
        if not self.state:
            raise not_fitted(self.name)


class SpecialistCrisis(Specialist):
    """Learns from sessions whose own past makes them a crisis, see `regime_state`: no date is given in hindsight."""

    name = "specialist_crisis"
    fit_columns = STATE_COLUMNS

    def _inside(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        return (regime_state(frame) == "crisis").fill_null(False).to_numpy()


class _Dated(Specialist):
    """Learns from the days that either regime set gives to some regimes."""

    fit_columns = ("data_date",)
    regimes: ClassVar[tuple[str, ...]]

    def _inside(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        days = pl.col("data_date")
        spans = [r for regime_set in SETS.values() for r in regime_set if r.name in self.regimes]
        return frame.select(pl.any_horizontal(days.is_between(r.start, r.end) for r in spans)).to_series().to_numpy()


class SpecialistTradeWar(_Dated):
    """Learns from the years of the US-China trade war."""

    name = "specialist_trade_war"
    regimes = ("trade_war", "tradewar_2017_2019")


class SpecialistInflation(_Dated):
    """Learns from the years of vegetable oil and energy inflation."""

    name = "specialist_inflation"
    regimes = ("inflation", "inflation_2021_2023")


def _state(rows: int, windows: float) -> str:
    if rows >= MIN_TRAIN_SESSIONS and windows >= LEAST_WINDOWS:
        return FITTED
    return (
        f"not enough rows: {rows} of the regime hold {windows:.1f} independent windows, "
        f"{MIN_TRAIN_SESSIONS} rows and {LEAST_WINDOWS:.0f} windows are needed"
    )
