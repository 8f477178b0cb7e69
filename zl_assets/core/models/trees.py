"""What all boosted trees share: their parameters, the rows they learn from, and how trees become quantiles.

Belongs here: everything that is the same for LightGBM and XGBoost. Growing, storing and reading trees is not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import ClassVar, Self

import numpy as np
import polars as pl

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.models.base import (
    CONTRIBUTION_SCHEMA,
    STATIONARY_FEATURES,
    Floats,
    contributions,
    floats,
    matrix,
    not_fitted,
    require_columns,
    require_rows,
)
from zl_assets.core.models.interval import LEAST_ERRORS, StudentInterval, weighted_quantiles
from zl_assets.core.models.parameters import read_json, unreadable, write_json
from zl_assets.errors import InputError

INTERVAL_FILE = "interval.json"
QUANTILES_FILE = "quantiles.json"
VOLATILITY = "ewma_volatility"


@dataclass(frozen=True)
class TreeConfig:
    """Parameters of the trees, modest because a few thousand overlapping rows hold few independent outcomes.

    Attributes:
        n_estimators: number of trees, fixed: stopping early on the rows to be judged would select on them.
        learning_rate: share of each tree that is kept.
        num_leaves: leaves of a tree.
        min_rows_in_leaf: rows of a leaf; at most a quarter of the training rows are asked for.
        lambda_l2: pulls leaf values towards 0, as that many rows without a move would.
        feature_fraction: share of the features each tree may use.
        seed: of the feature draws.
        num_threads: fixed, since sums in another order give other last bits.
    """

    n_estimators: int = 100
    learning_rate: float = 0.02
    num_leaves: int = 7
    min_rows_in_leaf: int = 100
    lambda_l2: float = 10.0
    feature_fraction: float = 0.7
    seed: int = 20100607
    num_threads: int = 1

    def for_horizon(self, sessions: int) -> TreeConfig:
        """The same with the two penalties that count rows scaled to count label windows of so many sessions.

        The rows of one window repeat much the same outcome: a leaf is asked for the rows of two windows.
        """
        return replace(
            self,
            min_rows_in_leaf=max(self.min_rows_in_leaf, 2 * sessions),
            lambda_l2=self.lambda_l2 * sessions,
        )

    def for_level(self, level: float, n_rows: int) -> TreeConfig:
        """The same for trees of one quantile, whose leaf values the libraries leave unpenalised.

        They answer a leaf of a quantile's tree with the quantile of its errors. So the share of a leaf of average size
        that `lambda_l2` keeps of a mean, n / (n + lambda), goes into the learning rate. A leaf is asked for as many
        rows, and the penalty counts as many, as the quantile needs to be known as well as a mean.
        """
        need = rows_needed(level)
        penalty = self.lambda_l2 * need
        kept = n_rows / (n_rows + self.num_leaves * penalty)
        return replace(
            self,
            learning_rate=self.learning_rate * kept,
            min_rows_in_leaf=round(self.min_rows_in_leaf * need),
            lambda_l2=penalty,
        )

    def rows_in_leaf(self, n_rows: int) -> int:
        """Fewest rows of a leaf where so many are learnt from."""
        return max(1, min(self.min_rows_in_leaf, n_rows // 4))


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows in the shape libraries take them.

    Attributes:
        columns: names of the features.
        features: shape (rows, columns), missing values as NaN.
        target: what the trees learn, shape (rows,).
        weights: shape (rows,), their mean is 1, since penalties do not scale with them.
        volatility: of one session, shape (rows,), NaN where unknown.
    """

    columns: tuple[str, ...]
    features: Floats
    target: Floats
    weights: Floats
    volatility: Floats

    @property
    def n_rows(self) -> int:
        """Rows to learn from."""
        return self.target.size


class TreeForecaster(ABC):
    """Boosted trees of either library; see `Forecaster`.

    Two fits on the same rows predict the same bits. Nulls in features stay missing values.

    Attributes:
        config: parameters of the next `fit`, before they are scaled to the horizon.
        features: columns offered to the next `fit`.
        horizon_sessions: sessions of a label window, which the penalties of the next `fit` count in; 1 leaves the
            parameters as they are.
        dropped_columns: features the last `fit` left out as constant or empty.
    """

    title: ClassVar[str]

    def __init__(
        self,
        config: TreeConfig | None = None,
        features: Sequence[str] = STATIONARY_FEATURES,
        *,
        horizon_sessions: int = 1,
    ) -> None:
        self.config = config or TreeConfig()
        self.features = tuple(features)
        self.horizon_sessions = horizon_sessions
        self.dropped_columns: tuple[str, ...] = ()
        self._columns: tuple[str, ...] = ()

    @property
    def columns_used(self) -> tuple[str, ...]:
        """Feature columns of the trees in their order, then the volatility; empty before `fit`."""
        return tuple(dict.fromkeys((*self._columns, VOLATILITY))) if self._columns else ()

    @property
    def lookback(self) -> int:
        """0: a forecast reads its own row."""
        return 0

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:
        """Learn from rows, their returns and their weights, each of shape (rows,), and return itself fitted.

        Raises:
            InputError: a column is missing by name, every feature is constant, lengths differ, a target is not finite,
                a weight is not positive, or too few rows have a volatility.
        """
        require_columns(frame, (*self.features, VOLATILITY), f"{self.title}, rows to learn from")
        require_rows(frame.height, target, weights)
        columns = tuple(c for c in self.features if _varies(frame[c]))
        if not columns:
            raise InputError(
                "every feature is constant in the training rows",
                where=", ".join(self.features),
                action="check the feature matrix for these dates",
            )
        volatility = floats(frame, VOLATILITY)
        self._learn(Sample(columns, matrix(frame, columns), target, weights / weights.mean(), volatility))
        self._columns = columns
        self.dropped_columns = tuple(c for c in self.features if c not in columns)
        return self

    def save(self, directory: Path) -> None:
        """Write the trees in their library's own format, and what makes quantiles of them; see `Forecaster`."""
        self._require_fitted()
        self._save_spread(directory)
        self._save_trees(directory)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read a model that `save` wrote; it predicts the same bits. A later `fit` would use the default parameters.

        Raises:
            InputError: a file is missing, cut short or not what `save` wrote.
        """
        loaded = cls()
        loaded.features = loaded._columns = loaded._load_trees(directory)
        loaded._load_spread(directory)
        return loaded

    @abstractmethod
    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        """Quantiles of the returns, shape (rows, 7), NaN for rows without a volatility; see `Forecaster`."""

    @abstractmethod
    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What moves the median of the last row: exact SHAP values of its trees; see `Forecaster`.

        They add up to the median less what the trees forecast on average (Lundberg and others 2020, TreeSHAP).
        """

    @property
    def _scaled(self) -> TreeConfig:
        return self.config.for_horizon(self.horizon_sessions)

    def _features(self, frame: pl.DataFrame, columns: Sequence[str]) -> Floats:
        """Features of rows to forecast, once the columns that are read are there."""
        self._require_fitted()
        require_columns(frame, columns, f"{self.title}, rows to forecast")
        return matrix(frame, self._columns)

    def _require_fitted(self) -> None:
        if not self._columns:
            raise not_fitted(self.title)

    def _explained(self, frame: pl.DataFrame) -> Floats:
        """By how much each feature moves what the trees say of the last row, shape (columns,)."""
        return self._shap(self._features(frame, self.columns_used)[-1:])[0]

    @abstractmethod
    def _learn(self, sample: Sample) -> None:
        """Learn from a sample whose target is the return."""

    @abstractmethod
    def _raw(self, features: Floats) -> Floats:
        """What the trees add up to, shape (rows,) or (rows, 7)."""

    @abstractmethod
    def _shap(self, features: Floats) -> Floats:
        """SHAP values of the point or of the median, shape (rows, columns)."""

    @abstractmethod
    def _save_trees(self, directory: Path) -> None:
        """Write the trees."""

    @abstractmethod
    def _load_trees(self, directory: Path) -> tuple[str, ...]:
        """Read the trees that `_save_trees` wrote, and return the names of their columns."""

    @abstractmethod
    def _save_spread(self, directory: Path) -> None:
        """Write what makes quantiles of what the trees say."""

    @abstractmethod
    def _load_spread(self, directory: Path) -> None:
        """Read what `_save_spread` wrote."""


class PointTrees(TreeForecaster):
    """Trees of the mean return, as a departure from no-change, inside a Student-t interval.

    The trees learn what sets rows apart from the mean of the training returns, and that mean is not carried forward: a
    few years' drift of a futures price says nothing about the next. So every penalty shrinks the forecast towards
    no-change, and trees that find nothing forecast exactly 0.
    """

    _sample: Sample | None = None
    _interval: StudentInterval | None = None

    @property
    def interval(self) -> StudentInterval:
        """Shape of the errors on the training rows that have a volatility.

        Found when first asked for: a walk forward of points alone has no use for it, and it costs more than the trees.

        Raises:
            InputError: the model is not fitted, or too few rows have a volatility; see `StudentInterval.fit`.
        """
        if self._interval is None:
            if self._sample is None:
                raise not_fitted(self.title)
            learnt, known = self._sample, self._sample.volatility > 0
            point = self._raw(learnt.features)
            self._interval = StudentInterval.fit(learnt.target[known], point[known], learnt.volatility[known])
        return self._interval

    def predict(self, frame: pl.DataFrame) -> Floats:
        """Forecast returns as fractions, shape (rows,).

        Raises:
            InputError: a feature column of the trees is missing by name, or the model is not fitted.
        """
        return self._raw(self._features(frame, self._columns))

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        """Quantiles of the returns, shape (rows, 7), NaN for rows without a volatility; see `Forecaster`."""
        point = self._raw(self._features(frame, self.columns_used))
        return self.interval.quantiles(point, floats(frame, VOLATILITY))

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What moves the median of the last row: exact SHAP values of its trees; see `Forecaster`."""
        if frame.is_empty() and self._columns:
            return pl.DataFrame(schema=CONTRIBUTION_SCHEMA)
        return contributions(self._columns, self._explained(frame))

    def _learn(self, sample: Sample) -> None:
        centre = np.average(sample.target, weights=sample.weights)
        self._grow(replace(sample, target=sample.target - centre))
        self._sample, self._interval = sample, None

    def _save_spread(self, directory: Path) -> None:
        write_json(directory / INTERVAL_FILE, asdict(self.interval))

    def _load_spread(self, directory: Path) -> None:
        path = directory / INTERVAL_FILE
        held = read_json(path, "scale", "degrees")
        try:
            self._interval = StudentInterval.of(held)
        except (TypeError, ValueError) as error:
            raise unreadable(path, error) from error

    @abstractmethod
    def _grow(self, sample: Sample) -> None:
        """Grow trees on a sample whose target has mean 0."""


class QuantileTrees(TreeForecaster):
    """Trees of each quantile of the return, in units of the volatility of one session.

    The target is standardised by what is known when the forecast is made, z = return / volatility. The trees of a level
    learn what sets rows apart from that quantile of all training rows, and a forecast adds their answer to the quantile
    of the rows and their mirror images, which has no drift: a few years' drift of a futures price says nothing about
    the next. So trees that find nothing forecast no-change, as wide as past returns were in units of the volatility.
    """

    _start: Floats = np.full(len(QUANTILE_LEVELS), np.nan)

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        """Quantiles of the returns, shape (rows, 7), NaN for rows without a volatility; see `Forecaster`."""
        departures = self._raw(self._features(frame, self.columns_used))
        return (self._start + departures) * floats(frame, VOLATILITY)[:, None]

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What moves the median of the last row: exact SHAP values of its trees; see `Forecaster`."""
        if frame.is_empty() and self._columns:
            return pl.DataFrame(schema=CONTRIBUTION_SCHEMA)
        return contributions(self._columns, self._explained(frame) * floats(frame.tail(1), VOLATILITY))

    def _learn(self, sample: Sample) -> None:
        known = sample.volatility > 0
        if known.sum() < LEAST_ERRORS:
            raise InputError(
                f"{int(known.sum())} rows have a volatility, {LEAST_ERRORS} are needed",
                where=f"{self.title}, rows to learn from",
                action="load a longer history",
            )
        z = sample.target[known] / sample.volatility[known]
        weights = sample.weights[known] / sample.weights[known].mean()
        rows = Sample(sample.columns, sample.features[known], z, weights, sample.volatility[known])
        self._grow(rows, weighted_quantiles(z, weights))
        self._start = weighted_quantiles(np.concatenate([z, -z]), np.concatenate([weights, weights]))

    def _save_spread(self, directory: Path) -> None:
        write_json(directory / QUANTILES_FILE, {"start": self._start.tolist()})

    def _load_spread(self, directory: Path) -> None:
        path = directory / QUANTILES_FILE
        held = read_json(path, "start")
        try:
            start = np.array(held["start"], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise unreadable(path, error) from error
        if start.shape != self._start.shape or not np.isfinite(start).all():
            raise unreadable(path, f"it needs {self._start.size} numbers")
        self._start = start

    @abstractmethod
    def _grow(self, sample: Sample, start: Floats) -> None:
        """Grow trees on standardised targets, as departures from the quantiles `start`, shape (7,)."""


def rows_needed(level: float) -> float:
    """Rows that tell a quantile of a normal distribution as well as one row tells its mean.

    The ratio of the asymptotic variances, p (1 - p) / f(q)^2 (Cramér 1946, section 28.5): 1.57 for the median, 4.47 for
    the 5 % quantile.
    """
    normal = NormalDist()
    return level * (1 - level) / normal.pdf(normal.inv_cdf(level)) ** 2


def _varies(column: pl.Series) -> bool:
    return column.cast(pl.Float64).fill_nan(None).drop_nulls().n_unique() > 1
