"""LightGBM's trees of the mean return, and how LightGBM's trees of any kind are grown and read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from zl_assets.core.models.base import Floats
from zl_assets.core.models.parameters import unreadable
from zl_assets.core.models.trees import PointTrees, Sample, TreeConfig

if TYPE_CHECKING:
    import lightgbm

MODEL_FILE = "model.txt"
"""The trees, as LightGBM text."""
_LAST_SECTION = "end of trees"


class LightGBMForecaster(PointTrees):
    """LightGBM regression of the return, as a departure from no-change; see `PointTrees`."""

    title = "LightGBM"

    _booster: lightgbm.Booster

    def feature_importance(self) -> pl.DataFrame:
        """Columns feature, gain (summed loss reduction), gain_share (of the total, 0 where nothing was split), splits.

        Raises:
            InputError: the model is not fitted.
        """
        self._require_fitted()
        gain = self._booster.feature_importance("gain").astype(np.float64)
        total = float(gain.sum())
        share = gain / total if total > 0 else np.zeros_like(gain)
        return pl.DataFrame(
            {
                "feature": list(self._columns),
                "gain": gain,
                "gain_share": share,
                "splits": self._booster.feature_importance("split").astype(np.int64),
            }
        ).sort("gain", "feature", descending=[True, False])

    def _grow(self, sample: Sample) -> None:
        self._booster = grow_booster(sample, 0.0, self._scaled, {"objective": "regression"})

    def _raw(self, features: Floats) -> Floats:
        return booster_sums(self._booster, features)

    def _shap(self, features: Floats) -> Floats:
        return booster_contributions(self._booster, features)

    def _save_trees(self, directory: Path) -> None:
        write_booster(self._booster, directory / MODEL_FILE)

    def _load_trees(self, directory: Path) -> tuple[str, ...]:
        self._booster = read_booster(directory / MODEL_FILE)
        return tuple(self._booster.feature_name())


def grow_booster(sample: Sample, start: float, config: TreeConfig, objective: dict[str, Any]) -> lightgbm.Booster:
    """Trees of what sets the targets of a sample apart from one number."""
    import lightgbm as lgb

    data = lgb.Dataset(
        sample.features,
        label=sample.target,
        weight=sample.weights,
        # Without it, LightGBM answers a first tree that finds no split with the mean of the targets.
        init_score=np.full(sample.n_rows, start),
        feature_name=list(sample.columns),
        params={"verbosity": -1},
    )
    parameters = {
        **objective,
        "boost_from_average": False,
        "learning_rate": config.learning_rate,
        "num_leaves": config.num_leaves,
        "min_data_in_leaf": config.rows_in_leaf(sample.n_rows),
        "lambda_l2": config.lambda_l2,
        "feature_fraction": config.feature_fraction,
        "seed": config.seed,
        "num_threads": config.num_threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    # The callbacks in the signature of `train` are not annotated upstream.
    return lgb.train(parameters, data, num_boost_round=config.n_estimators)  # pyright: ignore[reportUnknownMemberType]


def booster_sums(booster: lightgbm.Booster, features: Floats) -> Floats:
    """What the trees add up to, shape (rows,)."""
    if not features.size:
        return np.empty(0)
    return np.asarray(booster.predict(features, num_threads=1), dtype=np.float64)


def booster_contributions(booster: lightgbm.Booster, features: Floats) -> Floats:
    """Exact SHAP values, shape (rows, columns): LightGBM puts what it forecasts on average last."""
    values = booster.predict(features, pred_contrib=True, num_threads=1)
    return np.asarray(values, dtype=np.float64)[:, :-1]


def write_booster(booster: lightgbm.Booster, path: Path) -> None:
    """Write LightGBM's text."""
    path.write_text(booster.model_to_string(), encoding="utf-8")


def read_booster(path: Path) -> lightgbm.Booster:
    """Read LightGBM's text.

    Raises:
        InputError: the file is missing, cut short or not LightGBM text.
    """
    import lightgbm as lgb

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    if _LAST_SECTION not in text:
        raise unreadable(path, "it is cut short or not LightGBM text")
    try:
        return lgb.Booster(model_str=text)
    except lgb.basic.LightGBMError as error:
        raise unreadable(path, f"LightGBM refuses it: {error}") from error
