"""The wide matrix: the production features of the instrument that is forecast, and the full surface beside them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time

import polars as pl

from zl_assets.core.features.changes import first_session
from zl_assets.core.features.full_surface import build_full, traded_symbols
from zl_assets.core.features.matrix import inputs_of
from zl_assets.core.instruments import FORECAST_SYMBOL

_FROM_STRUCTS = {
    "close": pl.col("market_data").struct.field("close"),
    "vol_percentile": pl.col("regime").struct.field("vol_percentile"),
    "k_vol": pl.col("regime").struct.field("k_vol"),
    "regime_name": pl.col("regime").struct.field("name"),
    "sample_weight": pl.col("regime").struct.field("weight"),
}


def build_wide_matrix(
    matrix: pl.DataFrame,
    sessions: pl.DataFrame,
    schema: Mapping[str, pl.DataType],
    now: datetime,
    at: time,
    since: date | None = None,
) -> pl.DataFrame:
    """Rows of features.daily_ml_matrix_full.

    Args:
        matrix: rows of features.daily_ml_matrix of the instrument that is forecast.
        sessions: rows of market_data.futures_sessions_1d, every followed symbol.
        schema: the table's Polars schema. A column of a market that has no session is null.
        now: ingestion timestamp (UTC).
        at: Chicago time of the decision.
        since: day (UTC) since which inputs have changed, so that only rows that can see it are wanted; all rows where
            it is None.

    Returns:
        One row per session, ascending.
    """
    [inputs] = inputs_of(sessions, {}, at, [FORECAST_SYMBOL])
    first = first_session(inputs.decisions, since) if since else None
    if since and first is None:
        return pl.DataFrame(schema=dict(schema))
    wanted = matrix if first is None else matrix.filter(pl.col("session_number") >= first)
    flat = wanted.sort("data_date").with_columns(**_FROM_STRUCTS, ingestion_ts=pl.lit(now))
    nested = {name: dtype for name, dtype in flat.schema.items() if isinstance(dtype, pl.Struct)}
    fields = [
        pl.col(struct).struct.field(field).alias(f"{struct}_{field}")
        for struct, dtype in nested.items()
        for field in dtype.to_schema()
        if f"{struct}_{field}" in schema
    ]
    built = build_full(inputs, traded_symbols(inputs.sessions), first)
    frame = (
        flat.with_columns(fields)
        .drop(nested.keys())
        .join(built.drop("symbol"), on="data_date", how="left", maintain_order="left", validate="1:1")
    )
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    )
