"""Nixtla's mlforecast as a peer: trees on the price's own past, one session at a time.

Belongs here: from rows to windows of closes and back to quantiles. Lags, rolling statistics and the walk from one
session to the next are mlforecast's.
"""

# mlforecast carries few types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import polars as pl

from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Floats, floats, not_fitted, require_columns, require_rows
from zl_assets.core.models.interval import LEAST_ERRORS, StudentInterval, held_out
from zl_assets.core.models.lightgbm_model import booster_sums, grow_booster, read_booster, write_booster
from zl_assets.core.models.parameters import read_parameters, unreadable, write_parameters
from zl_assets.core.models.statistical import PARAMETERS_FILE, SPARE, sound_closes, sound_windows
from zl_assets.core.models.trees import Sample, TreeConfig
from zl_assets.errors import MissingDependency, NotEnoughHistory

if TYPE_CHECKING:
    import lightgbm

MODEL_FILE = "model.txt"

LAGS = (1, 2, 3, 5, 10, 21)
"""Sessions back whose log returns the trees read, beside means and deviations of the last 5 and 21."""

WINDOW = 64
"""Sound closes a forecast is made from: what the lags and rolling windows need, and some to spare."""


class MLForecastTrees:
    """LightGBM on lags of the log return, applied to its own forecasts until the horizon is reached.

    With m the log price that is reached h sessions after the row's close P, the forecast of the return is
    exp(m - log P) - 1, in a Student-t interval. Trees fit the rows they grew on better than those to come, so the
    interval is that of other trees, grown on the earlier part of the closes, on the rows after them.

    Suspect sessions and rows without a close are passed over, as in `statistical`.

    Attributes:
        horizon_sessions: sessions from a forecast to its outcome.
    """

    name: ClassVar[str] = "mlforecast"
    columns_used: ClassVar[tuple[str, ...]] = ("close", "is_suspect", "ewma_volatility")
    lookback: ClassVar[int] = WINDOW + SPARE - 1

    def __init__(self, horizon_sessions: int) -> None:
        self.horizon_sessions = horizon_sessions
        self._booster: lightgbm.Booster | None = None
        self._interval: StudentInterval | None = None

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:
        """Learn from the closes; see `Forecaster`.

        Weights are checked and not used: the model is of the price from one session to the next.

        Raises:
            MissingDependency: mlforecast is not installed.
            NotEnoughHistory: too few sound closes to keep some of them from the trees.
            InputError: as `Forecaster`.
        """
        require_columns(frame, self.columns_used, f"{self.name}, rows to learn from")
        require_rows(frame.height, target, weights)
        rows, closes = sound_closes(frame)
        earlier = closes.size - held_out(closes.size)
        if earlier < 2 * WINDOW:
            raise NotEnoughHistory(
                f"{closes.size} sound closes, at least {2 * WINDOW + LEAST_ERRORS} are needed",
                where=self.name,
                action="load a longer history",
            )
        self._booster = _grown(closes[:earlier])
        first = int(rows[earlier]) - self.lookback
        point = self._point(frame[first:])[rows[earlier:] - first]
        told = np.isfinite(point)
        later = rows[earlier:][told]
        self._interval = StudentInterval.fit(target[later], point[told], floats(frame[later], "ewma_volatility"))
        self._booster = _grown(closes)
        return self

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        """Quantiles of the returns, shape (rows, 7); see `Forecaster`.

        Raises:
            MissingDependency: mlforecast is not installed.
            InputError: as `Forecaster`.
        """
        if self._interval is None:
            raise not_fitted(self.name)
        require_columns(frame, self.columns_used, f"{self.name}, rows to forecast")
        return self._interval.quantiles(self._point(frame), floats(frame, "ewma_volatility"))

    def save(self, directory: Path) -> None:
        """Write model.txt, LightGBM's text, and parameters.json; see `Forecaster`."""
        if self._booster is None or self._interval is None:
            raise not_fitted(self.name)
        held = {"horizon_sessions": self.horizon_sessions, "interval": asdict(self._interval)}
        write_booster(self._booster, directory / MODEL_FILE)
        write_parameters(directory / PARAMETERS_FILE, self.name, held)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote; see `Forecaster`."""
        path = directory / PARAMETERS_FILE
        held = read_parameters(path, cls.name)
        try:
            loaded = cls(int(held["horizon_sessions"]))
            loaded._interval = StudentInterval.of(held["interval"])
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable(path, error) from error
        loaded._booster = read_booster(directory / MODEL_FILE)
        return loaded

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:  # noqa: ARG002
        """No feature of the frame moves the forecast, only the price's own past: no rows; see `Forecaster`."""
        return pl.DataFrame(schema=CONTRIBUTION_SCHEMA)

    def _point(self, frame: pl.DataFrame) -> Floats:
        """Expected returns, shape (rows,); NaN where a row has no sound close, or too few of them before it."""
        if self._booster is None:
            raise not_fitted(self.name)
        point = np.full(frame.height, np.nan)
        rows, closes = sound_closes(frame)
        if closes.size < WINDOW:
            return point
        last, within = sound_windows(rows, WINDOW, self.lookback)
        windows = np.lib.stride_tricks.sliding_window_view(closes, WINDOW)[within]
        if windows.size:
            reached = _walked(self._booster, windows, self.horizon_sessions)
            point[last[within]] = np.expm1(reached - windows[:, -1])
        return point


class _Trees:
    """LightGBM's trees under the name of the method that mlforecast asks."""

    def __init__(self, booster: lightgbm.Booster) -> None:
        self.booster = booster

    def predict(self, features: Floats) -> Floats:
        """What the trees add up to, shape (rows,)."""
        return booster_sums(self.booster, features)


def _grown(closes: Floats) -> lightgbm.Booster:
    """Trees of the next session's log return, grown on the log closes of a history."""
    walk = _walk()
    features, target = walk.preprocess(_series(closes[None, :]), return_X_y=True, as_numpy=True, static_features=[])
    known = np.asarray(target, dtype=np.float64)
    alike = np.ones_like(known)
    columns = tuple(walk.ts.features_order_)
    sample = Sample(columns, np.asarray(features, dtype=np.float64), known, weights=alike, volatility=alike)
    return grow_booster(sample, 0.0, TreeConfig(), {"objective": "regression"})


def _walked(booster: lightgbm.Booster, windows: Floats, sessions: int) -> Floats:
    """Log prices some sessions after windows of log closes of shape (windows, WINDOW), shape (windows,)."""
    walk = _walk()
    walk.preprocess(_series(windows), as_numpy=True, static_features=[])
    walk.models_ = {"trees": _Trees(booster)}
    walked: pl.DataFrame = walk.predict(sessions)
    return walked["trees"].to_numpy().reshape(len(windows), sessions)[:, -1]


def _walk() -> Any:
    """An mlforecast that knows its features and has no trees yet.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        from mlforecast import MLForecast
        from mlforecast.lag_transforms import RollingMean, RollingStd
        from mlforecast.target_transforms import Differences
    except ImportError as error:
        raise MissingDependency(
            f"this model needs mlforecast: {error}",
            action="uv sync --extra mlforecast, or pip install 'zl-assets[mlforecast]'",
        ) from error
    rolling: list[Any] = [kind(window_size=sessions) for kind in (RollingMean, RollingStd) for sessions in (5, 21)]
    return MLForecast(
        models={}, freq=1, lags=list(LAGS), lag_transforms={1: rolling}, target_transforms=[Differences([1])]
    )


def _series(closes: Floats) -> pl.DataFrame:
    """Rows as mlforecast reads them: a series a row of `closes`, its sessions counted from 0."""
    series, sessions = closes.shape
    return pl.DataFrame(
        {
            "unique_id": np.repeat(np.arange(series), sessions),
            "ds": np.tile(np.arange(sessions), series),
            "y": closes.ravel(),
        }
    )
