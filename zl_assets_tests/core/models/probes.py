"""A forecaster that keeps what it was given, and the entry of the shelf that makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS
from zl_assets.core.horizons import Horizon
from zl_assets.core.models.base import Floats, Forecaster, contributions, floats
from zl_assets.core.models.shelf import ModelSpec

NORMAL = np.array([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645])


class Probe:
    """Forecasts the mean daily return of its row and the `lookback` rows before; keeps what it was given and shown."""

    columns_used = ("return_1d", "ewma_volatility")

    def __init__(self, lookback: int = 0) -> None:
        self.lookback = lookback
        self.learnt: list[tuple[pl.DataFrame, Floats, Floats]] = []
        self.shown: list[pl.DataFrame] = []

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:
        self.learnt.append((frame, target, weights))
        return self

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        self.shown.append(frame)
        point = floats(frame.select(pl.col("return_1d").rolling_mean(self.lookback + 1)), "return_1d")
        return point[:, None] + floats(frame, "ewma_volatility")[:, None] * NORMAL

    def save(self, directory: Path) -> None:
        raise NotImplementedError(directory)

    @classmethod
    def load(cls, directory: Path) -> Self:
        raise NotImplementedError(directory)

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:
        return contributions(["return_1d"], floats(frame, "return_1d")[-1:])


@dataclass(frozen=True)
class ProbeSpec(ModelSpec):
    """A shelf entry that makes what a test hands over."""

    maker_of: Callable[[], Any] = Probe

    def make(self, horizon: Horizon, **given: Any) -> Forecaster:  # noqa: ARG002
        return self.maker_of(**given)


def probe(maker_of: Callable[[], Any] = Probe) -> ProbeSpec:
    return ProbeSpec("probe", "benchmarks", "A probe", "none", "None", maker_of=maker_of)


def quantiles(rows: pl.DataFrame) -> np.ndarray:
    """Quantiles of forecasts, shape (rows, 7)."""
    return rows.select(QUANTILE_COLUMNS).to_numpy()
