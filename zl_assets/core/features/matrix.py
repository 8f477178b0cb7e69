"""The feature matrix: one row per session and instrument, assembled from sessions, families and regimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time

import polars as pl

from zl_assets.core.exchange_calendar import DECISION_TIME
from zl_assets.core.features.changes import first_session
from zl_assets.core.features.family import Family, Inputs, build_family, needed_since
from zl_assets.core.features.registry import FAMILIES
from zl_assets.core.instruments import MATRIX_SYMBOLS
from zl_assets.core.point_in_time import decision_times
from zl_assets.core.regimes import with_regime

_BAR = ("open", "high", "low", "close", "volume", "vwap", "realized_vol_1h")


def build_matrix(
    sessions: pl.DataFrame,
    schema: Mapping[str, pl.DataType],
    now: datetime,
    symbols: Sequence[str] = MATRIX_SYMBOLS,
    *,
    series: Mapping[str, pl.DataFrame] | None = None,
    at: time = DECISION_TIME,
    since: date | None = None,
) -> pl.DataFrame:
    """Rows of features.daily_ml_matrix.

    Args:
        sessions: rows of market_data.futures_sessions_1d, every followed symbol.
        schema: the table's Polars schema. A column that no available family computes is null in its type.
        now: ingestion timestamp (UTC).
        symbols: instruments that get rows.
        series: rows of raw_intelligence tables by name without the dataset.
        at: Chicago time of the decision.
        since: day (UTC) since which inputs have changed, so that only rows that can see it are wanted; all rows where
            it is None.

    Returns:
        One row per session of the instruments, by instrument and date. Suspect sessions are kept and flagged.

    Raises:
        RegimeError: a session lies outside every regime.
    """
    rows: list[pl.DataFrame] = []
    for inputs in inputs_of(sessions, series or {}, at, symbols):
        first = first_session(inputs.decisions, since) if since else None
        if since is None or first is not None:
            rows.append(instrument_rows(inputs, schema, now, since=first))
    return pl.concat(rows) if rows else pl.DataFrame(schema=dict(schema))


def inputs_of(
    sessions: pl.DataFrame, series: Mapping[str, pl.DataFrame], at: time, symbols: Sequence[str]
) -> list[Inputs]:
    """What families read, for each instrument that has a session.

    Args:
        sessions: rows of market_data.futures_sessions_1d, every followed symbol.
        series: rows of raw_intelligence tables by name without the dataset; those without rows are left out.
        at: Chicago time of the decision.
        symbols: instruments that get rows.
    """
    ordered = sessions.sort("symbol", "trade_date")
    filled = {table: rows for table, rows in series.items() if not rows.is_empty()}
    own = [ordered.filter(pl.col("symbol") == symbol) for symbol in symbols]
    return [Inputs(decision_times(rows, at), ordered, filled) for rows in own if not rows.is_empty()]


def instrument_rows(
    inputs: Inputs,
    schema: Mapping[str, pl.DataType],
    now: datetime,
    families: Sequence[Family] = FAMILIES,
    since: int | None = None,
) -> pl.DataFrame:
    """Rows of features.daily_ml_matrix for one instrument.

    Args:
        inputs: see `inputs_of`.
        schema: the table's Polars schema. A column that no available family computes is null in its type.
        now: ingestion timestamp (UTC).
        families: what to compute; one without a column in the table is left out.
        since: first session number wanted; all sessions where it is None.

    Returns:
        One row per session, ascending. Suspect sessions are kept and flagged.

    Raises:
        RegimeError: a session lies outside every regime.
    """
    own = inputs.own_sessions()
    if since is not None:
        own = own.filter(pl.col("session_number") >= since)
    keys = own.select("symbol", pl.col("trade_date").alias("data_date"))
    frame = with_regime(own, "trade_date").select(
        pl.col("trade_date").alias("data_date"),
        "symbol",
        "session_number",
        "is_suspect",
        "source",
        pl.struct(_BAR).alias("market_data"),
        pl.col("regime_name").alias("name"),
        pl.col("regime_weight").alias("weight"),
    )
    wanted = [f for f in families if f.available(inputs) and not schema.keys().isdisjoint(f.columns())]

    read = needed_since(wanted, inputs, since) if since is not None and wanted else inputs

    def of_family(family: Family) -> pl.DataFrame:
        return build_family(family, read, since)

    # Families are many small queries and know nothing of each other: threads keep every core busy.
    with ThreadPoolExecutor() as threads:
        for family, built in zip(wanted, threads.map(of_family, wanted), strict=True):
            assert built.select("symbol", "data_date").equals(keys), family.name
            frame = pl.concat([frame, built.drop("symbol", "data_date")], how="horizontal")
    frame = frame.with_columns(
        pl.struct("name", "weight", "vol_percentile", "k_vol").alias("regime"), pl.lit(now).alias("ingestion_ts")
    )
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in schema.items()
    )
