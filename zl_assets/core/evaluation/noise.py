"""Columns that say nothing: what a feature family has to beat.

Belongs here: making them. A model harms itself with any column; how much depends on how many there are, on how slowly
they move (a slow column can tell the years apart, a fast one cannot) and on where they are missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

_SLOWEST = 0.9995
"""Largest lag-one autocorrelation imitated: a memory of about eight years."""


def noise_like(frame: pl.DataFrame, columns: Sequence[str], *, seed: int | Sequence[int]) -> pl.DataFrame:
    """As many columns of pure noise, each as slow as its model and missing in the same rows.

    Each is a first-order autoregression of Gaussian shocks with the lag-one autocorrelation of its model (between 0
    and 0.9995), independent of everything else. What the model is worth to a forecast does not enter.

    Args:
        frame: rows in order of the sessions.
        columns: numeric or Boolean columns to imitate.
        seed: the same one gives the same bits.

    Returns:
        One Float64 column for each, named as the model, mean 0 and variance 1 where present.
    """
    shocks = np.random.default_rng(seed).standard_normal((len(columns), frame.height))
    imitated = (_autoregression(frame[name], row).alias(name) for name, row in zip(columns, shocks, strict=True))
    return pl.DataFrame(list(imitated))


def persistence(column: pl.Series) -> float:
    """Lag-one autocorrelation over rows that follow each other and both have a value; 0 where there is none."""
    values = column.cast(pl.Float64).fill_nan(None)
    pairs = pl.DataFrame({"now": values, "before": values.shift(1)}).drop_nulls().to_numpy()
    if len(pairs) < 3 or (pairs.std(axis=0) == 0).any():
        return 0.0
    return float(np.corrcoef(pairs, rowvar=False)[0, 1])


def _autoregression(model: pl.Series, shocks: NDArray[np.float64]) -> pl.Series:
    """x[t] = a x[t-1] + sqrt(1 - a^2) e[t], as an exponential mean of its shocks scaled to variance 1."""
    a = min(max(persistence(model), 0.0), _SLOWEST)
    scale = np.sqrt(1 - a**2) / (1 - a)
    first = np.concatenate([shocks[:1] / scale, shocks[1:]])
    values = scale * pl.Series(first).ewm_mean(alpha=1 - a, adjust=False)
    present = model.cast(pl.Float64).fill_nan(None).is_not_null()
    return values.to_frame("x").select(pl.when(present).then("x")).to_series()
