"""XGBoost's trees of the mean return and of its quantiles."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zl_assets.core.evaluation.metrics import MEDIAN, QUANTILE_LEVELS
from zl_assets.core.models.base import Floats
from zl_assets.core.models.parameters import read_json, unreadable, write_json
from zl_assets.core.models.trees import (
    PointTrees,
    QuantileTrees,
    Sample,
    TreeConfig,
    TreeForecaster,
    rows_needed,
)

if TYPE_CHECKING:
    import xgboost

MODEL_FILE = "model.ubj"
DIGEST_FILE = "model.json"
"""Holds the digest of MODEL_FILE."""


class _XGBoostTrees(TreeForecaster):
    """One booster, of one output or of several."""

    _booster: xgboost.Booster

    def _save_trees(self, directory: Path) -> None:
        content = bytes(self._booster.save_raw("ubj"))
        (directory / MODEL_FILE).write_bytes(content)
        write_json(directory / DIGEST_FILE, {"sha256": hashlib.sha256(content).hexdigest()})

    def _load_trees(self, directory: Path) -> tuple[str, ...]:
        self._booster = _read_booster(directory)
        return tuple(self._booster.feature_names or ())


class XGBoostForecaster(_XGBoostTrees, PointTrees):
    """XGBoost regression of the return, as a departure from no-change; see `PointTrees`."""

    title = "XGBoost"

    def _grow(self, sample: Sample) -> None:
        self._booster = _grow_booster(sample, np.zeros(1), self._scaled, {"objective": "reg:squarederror"})

    def _raw(self, features: Floats) -> Floats:
        return _sums(self._booster, features, 1)[:, 0]

    def _shap(self, features: Floats) -> Floats:
        return _contributions(self._booster, features, 1)[:, 0]


class XGBoostQuantileForecaster(_XGBoostTrees, QuantileTrees):
    """XGBoost quantile regression of the standardised return, all levels in one model; see `QuantileTrees`.

    The levels share their parameters, so all are penalised as the one that is hardest to learn.
    """

    title = "XGBoost quantiles"

    def _grow(self, sample: Sample, start: Floats) -> None:
        hardest = max(QUANTILE_LEVELS, key=rows_needed)
        config = self._scaled.for_level(hardest, sample.n_rows)
        objective = {"objective": "reg:quantileerror", "quantile_alpha": list(QUANTILE_LEVELS)}
        self._booster = _grow_booster(sample, start, config, objective)

    def _raw(self, features: Floats) -> Floats:
        return _sums(self._booster, features, len(QUANTILE_LEVELS))

    def _shap(self, features: Floats) -> Floats:
        return _contributions(self._booster, features, len(QUANTILE_LEVELS))[:, MEDIAN]


def _grow_booster(sample: Sample, start: Floats, config: TreeConfig, objective: dict[str, Any]) -> xgboost.Booster:
    """Trees of what sets the targets of a sample apart from `start`, shape (outputs,)."""
    import xgboost as xgb

    data = xgb.DMatrix(
        sample.features,
        label=sample.target,
        weight=sample.weights,
        base_margin=np.tile(start, (sample.n_rows, 1)),
        feature_names=list(sample.columns),
        nthread=config.num_threads,
    )
    parameters = {
        **objective,
        "base_score": 0.0,
        "learning_rate": config.learning_rate,
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "max_depth": 0,
        "max_leaves": config.num_leaves,
        # Second derivatives are 1 in both objectives, so that this counts rows by their weight.
        "min_child_weight": config.rows_in_leaf(sample.n_rows),
        "reg_lambda": config.lambda_l2,
        "colsample_bytree": config.feature_fraction,
        "seed": config.seed,
        "nthread": config.num_threads,
        "verbosity": 1,
    }
    return xgb.train(parameters, data, num_boost_round=config.n_estimators)


def _sums(booster: xgboost.Booster, features: Floats, outputs: int) -> Floats:
    """What the trees add up to, without what they started from, shape (rows, outputs)."""
    if not features.size:
        return np.empty((0, outputs))
    summed = booster.predict(_rows(booster, features, outputs))
    return np.asarray(summed, dtype=np.float64).reshape(-1, outputs)


def _contributions(booster: xgboost.Booster, features: Floats, outputs: int) -> Floats:
    """Exact SHAP values, shape (rows, outputs, columns): XGBoost puts what it forecasts on average last."""
    values = booster.predict(_rows(booster, features, outputs), pred_contribs=True)
    return np.asarray(values, dtype=np.float64).reshape(len(features), outputs, -1)[:, :, :-1]


def _rows(booster: xgboost.Booster, features: Floats, outputs: int) -> xgboost.DMatrix:
    import xgboost as xgb

    start = np.zeros((len(features), outputs))
    return xgb.DMatrix(features, base_margin=start, feature_names=booster.feature_names, nthread=1)


def _read_booster(directory: Path) -> xgboost.Booster:
    """Read a booster that was written with its digest.

    XGBoost can crash the process on a damaged file, so it sees none whose digest differs.

    Raises:
        InputError: a file is missing or damaged.
    """
    import xgboost as xgb

    path = directory / MODEL_FILE
    expected = read_json(directory / DIGEST_FILE, "sha256")["sha256"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise unreadable(path, f"it differs from what {DIGEST_FILE} says")
    try:
        return xgb.Booster(params={"nthread": 1}, model_file=bytearray(content))
    except xgb.core.XGBoostError as error:
        raise unreadable(path, f"XGBoost refuses it: {error}") from error
