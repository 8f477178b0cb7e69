"""Made out-of-fold forecasts, so that what comes after training is tested without any."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import stats

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS, QUANTILE_LEVELS
from zl_assets.core.models.base import CONTRIBUTION_SCHEMA
from zl_assets.core.models.training import OOF_SCHEMA

FIRST_SESSION = 6000
FOLD_ROWS = 100
NO_DRIVERS = pl.DataFrame(schema=CONTRIBUTION_SCHEMA)
WEEK = 5


def market(n: int, h: int = WEEK, seed: int = 1) -> pl.DataFrame:
    """n sessions of a random walk and what came h sessions later; null for the last h."""
    closes = 40 * np.cumprod(1 + np.random.default_rng(seed).normal(0, 0.015, n))
    ahead = np.append(closes[h:], np.full(h, np.nan))
    days = np.busday_offset("2018-01-01", np.arange(n + h), roll="forward").astype(object).tolist()
    return pl.DataFrame(
        {
            "data_date": days[:n],
            "session_number": np.arange(FIRST_SESSION, FIRST_SESSION + n),
            "target_date": [*days[h:n], *[None] * h],
            "close": closes,
            "vol_percentile": np.tile([0.1, 0.5, 0.9], n)[:n],
            "regime_name": "calm",
            "fold": np.arange(n) // FOLD_ROWS,
            "actual_return": ahead / closes - 1,
        },
        schema_overrides={"target_date": pl.Date},
    ).with_columns(pl.col("actual_return").fill_nan(None))


def forecast(rows: pl.DataFrame, median: float | np.ndarray = 0.0, width: float = 0.03) -> pl.DataFrame:
    """Normal forecasts around medians: rows of OOF_SCHEMA."""
    at = np.broadcast_to(np.asarray(median, dtype=np.float64), (rows.height,))
    quantiles = at[:, None] + width * stats.norm.ppf(QUANTILE_LEVELS)
    told = {name: quantiles[:, n] for n, name in enumerate(QUANTILE_COLUMNS)}
    return rows.with_columns(crossed=pl.lit(value=False), **told).select(
        pl.col(name).cast(dtype) for name, dtype in OOF_SCHEMA.items()
    )


def split(rows: pl.DataFrame, h: int = WEEK) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Out-of-fold rows, whose outcome is known, and the newest one."""
    return rows.head(-h), rows.tail(1).with_columns(fold=pl.lit(None, pl.Int64), actual_return=pl.lit(None, pl.Float64))


def probabilities(rows: pl.DataFrame, first: float | np.ndarray = 0.5) -> pl.DataFrame:
    """Two states, the first as probable as told."""
    at = np.broadcast_to(np.asarray(first, dtype=np.float64), (rows.height,))
    return rows.select("session_number", storm=pl.Series(at.copy()), calm=pl.Series(1 - at))
