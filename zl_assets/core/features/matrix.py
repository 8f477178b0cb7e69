"""The feature matrix: one row per session and symbol, assembled from sessions, technical features and regimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl

from zl_assets.core.features.technical import with_technical
from zl_assets.core.instruments import MATRIX_SYMBOLS
from zl_assets.core.regimes import with_regime

FLAT_FEATURES: tuple[str, ...] = (
    "return_1d",
    "return_5d",
    "return_21d",
    "ma_5",
    "ma_21",
    "ma_63",
    "volatility_21d",
    "rsi_14",
)
_NOT_BUILT = ("pivots", "policy", "golden_zone")


def build_matrix(
    sessions: pl.DataFrame,
    schema: Mapping[str, pl.DataType],
    now: datetime,
    symbols: Sequence[str] = MATRIX_SYMBOLS,
) -> pl.DataFrame:
    """Rows of features.daily_ml_matrix.

    Args:
        sessions: rows of market_data.futures_sessions_1d.
        schema: the table's Polars schema, which gives the STRUCTs that have no values yet their type.
        now: ingestion timestamp (UTC).
        symbols: instruments that get rows.

    Returns:
        One row per session of the symbols, sorted by symbol and date. Suspect sessions are kept and flagged.

    Raises:
        RegimeError: a session lies outside every regime.
    """
    wanted = sessions.filter(pl.col("symbol").is_in(list(symbols))).sort("symbol", "trade_date")
    built = with_regime(with_technical(wanted), "trade_date")
    return built.select(
        pl.col("trade_date").alias("data_date"),
        "symbol",
        "session_number",
        "is_suspect",
        pl.struct("open", "high", "low", "close", "volume", "vwap", "realized_vol_1h").alias("market_data"),
        *[pl.lit(None, dtype=schema[name]).alias(name) for name in _NOT_BUILT],
        pl.struct(
            pl.col("regime_name").alias("name"), pl.col("regime_weight").alias("weight"), "vol_percentile", "k_vol"
        ).alias("regime"),
        *FLAT_FEATURES,
        "source",
        pl.lit(now).alias("ingestion_ts"),
    )
