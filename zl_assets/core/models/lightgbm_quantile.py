"""LightGBM's trees of the quantiles of the return: one small ensemble a level."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.models.base import STATIONARY_FEATURES, Floats, not_fitted
from zl_assets.core.models.lightgbm_model import booster_contributions, booster_sums, grow_booster, read_booster
from zl_assets.core.models.trees import MEDIAN, QUANTILES_FILE, QuantileTrees, Sample, TreeConfig, damaged

if TYPE_CHECKING:
    import lightgbm

QUANTILE_FILES: tuple[str, ...] = tuple(f"quantile_{round(100 * level):02d}.txt" for level in QUANTILE_LEVELS)
"""The trees of each level, as LightGBM text."""


class LightGBMQuantileForecaster(QuantileTrees):
    """LightGBM quantile regression of the standardised return, a model a level; see `QuantileTrees`.

    Each level has its own penalties: the further out, the fewer rows say anything about it.
    """

    title = "LightGBM quantiles"

    def __init__(
        self,
        config: TreeConfig | None = None,
        features: Sequence[str] = STATIONARY_FEATURES,
        *,
        horizon_sessions: int = 1,
    ) -> None:
        super().__init__(config, features, horizon_sessions=horizon_sessions)
        self._boosters: tuple[lightgbm.Booster, ...] = ()

    def save(self, directory: Path) -> None:
        """Write quantiles.json and the files of QUANTILE_FILES, LightGBM's text; see `Forecaster`."""
        if not self._boosters:
            raise not_fitted(self.title)
        self._save_start(directory)
        for name, booster in zip(QUANTILE_FILES, self._boosters, strict=True):
            (directory / name).write_text(booster.model_to_string(), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read a model that `save` wrote; it predicts the same bits. A later `fit` would use the default parameters.

        Raises:
            InputError: a file is missing, cut short or not what `save` wrote.
        """
        boosters = tuple(read_booster(directory / name) for name in QUANTILE_FILES)
        columns = {tuple(b.feature_name()) for b in boosters}
        if len(columns) != 1:
            raise damaged(directory / QUANTILES_FILE, "its levels read different columns")
        loaded = cls(features=columns.pop())
        loaded._load_start(directory)
        loaded._boosters = boosters
        loaded._columns = loaded.features
        return loaded

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
