"""How features become the channels of a net: standardised, with gaps marked.

Belongs here: numbers learnt from the features alone. Targets and nets do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl

from zl_assets.core.models.base import Floats, matrix
from zl_assets.core.models.neural.windows import Panel
from zl_assets.errors import InputError

FURTHEST = 5.0
"""Standard deviations beyond which a value counts as this far out: a net extrapolates without bound."""


@dataclass(frozen=True)
class Scaling:
    """Means and standard deviations of training rows.

    A missing value becomes 0, the training mean. A feature that is missing somewhere in the training rows has a second
    channel, 1 where it is missing and 0 elsewhere, so that the net can tell a gap from an average day. A feature
    without gaps in the training rows has none: nothing could be learnt from it.

    Attributes:
        features: that vary in the training rows, one channel each.
        means: of each feature.
        deviations: standard deviation of each feature.
        gappy: features with a second channel; these follow the first ones.
    """

    features: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    gappy: tuple[str, ...]

    @classmethod
    def fit(cls, frame: pl.DataFrame, features: Sequence[str]) -> Self:
        """Learn from training rows; features that are constant or empty in them are left out.

        Raises:
            InputError: every feature is constant.
        """
        values = matrix(frame, features)
        kept = [i for i in range(len(features)) if _varies(values[:, i])]
        if not kept:
            raise InputError(
                "every feature is constant in the training rows",
                where=", ".join(features),
                action="check the feature matrix for these dates",
            )
        return cls(
            tuple(features[i] for i in kept),
            tuple(float(np.nanmean(values[:, i])) for i in kept),
            tuple(float(np.nanstd(values[:, i])) for i in kept),
            tuple(features[i] for i in kept if np.isnan(values[:, i]).any()),
        )

    @property
    def n_channels(self) -> int:
        """Channels of a panel."""
        return len(self.features) + len(self.gappy)

    def channels(self, feature: str) -> list[int]:
        """Positions of the one or two channels of a feature."""
        second = [len(self.features) + self.gappy.index(feature)] if feature in self.gappy else []
        return [self.features.index(feature), *second]

    def panel(self, frame: pl.DataFrame) -> Panel:
        """Channels of every row, shape (rows, n_channels), finite."""
        values = matrix(frame, self.features)
        scaled = (values - np.array(self.means)) / np.array(self.deviations)
        missing = np.isnan(scaled)
        scaled = np.where(missing, 0.0, np.clip(scaled, -FURTHEST, FURTHEST))
        marks = missing[:, [self.features.index(name) for name in self.gappy]]
        return np.concatenate([scaled, marks], axis=1).astype(np.float32)


def _varies(values: Floats) -> bool:
    known = values[~np.isnan(values)]
    return known.size > 1 and float(known.min()) < float(known.max()) and float(known.std()) > 0
