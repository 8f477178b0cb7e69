"""LightGBM's trees of the quantiles of the return: one small ensemble a level."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zl_assets.core.evaluation.metrics import MEDIAN, QUANTILE_LEVELS
from zl_assets.core.models.base import Floats
from zl_assets.core.models.lightgbm_model import (
    booster_contributions,
    booster_sums,
    grow_booster,
    read_booster,
    write_booster,
)
from zl_assets.core.models.parameters import unreadable
from zl_assets.core.models.trees import QuantileTrees, Sample

if TYPE_CHECKING:
    import lightgbm

QUANTILE_FILES: tuple[str, ...] = tuple(f"quantile_{round(100 * level):02d}.txt" for level in QUANTILE_LEVELS)
"""The trees of each level, as LightGBM text."""


class LightGBMQuantileForecaster(QuantileTrees):
    """LightGBM quantile regression of the standardised return, a model a level; see `QuantileTrees`.

    Each level has its own penalties: the further out, the fewer rows say anything about it.
    """

    title = "LightGBM quantiles"

    _boosters: tuple[lightgbm.Booster, ...]

    def _grow(self, sample: Sample, start: Floats) -> None:
        config = self._scaled
        self._boosters = tuple(
            grow_booster(
                sample,
                float(origin),
                config.for_level(level, sample.n_rows),
                {"objective": "quantile", "alpha": level},
            )
            for level, origin in zip(QUANTILE_LEVELS, start, strict=True)
        )

    def _raw(self, features: Floats) -> Floats:
        return np.column_stack([booster_sums(b, features) for b in self._boosters])

    def _shap(self, features: Floats) -> Floats:
        return booster_contributions(self._boosters[MEDIAN], features)

    def _save_trees(self, directory: Path) -> None:
        for name, booster in zip(QUANTILE_FILES, self._boosters, strict=True):
            write_booster(booster, directory / name)

    def _load_trees(self, directory: Path) -> tuple[str, ...]:
        self._boosters = tuple(read_booster(directory / name) for name in QUANTILE_FILES)
        columns = {tuple(b.feature_name()) for b in self._boosters}
        if len(columns) != 1:
            raise unreadable(directory, "its levels read different columns")
        return columns.pop()
