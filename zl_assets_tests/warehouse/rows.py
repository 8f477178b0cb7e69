"""Made rows of any table, from its contract alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import Column, contract

CALENDAR = "training.regime_calendar"
FIRST = date(2020, 1, 1)
MORNING = datetime(2025, 1, 2, 8, 0, 0, 123456, tzinfo=UTC)
EVENING = MORNING + timedelta(hours=10)


THREE_DAYS = (
    "SELECT calendar_date, 'r' AS regime, 1 AS weight, 'v' AS regime_v0, {weight_v0} AS weight_v0, "
    "TIMESTAMP '2025-01-02 08:00:00.123456+00:00' AS created_at "
    "FROM UNNEST(GENERATE_DATE_ARRAY(DATE '2020-01-02', DATE '2020-01-04')) AS calendar_date"
)
"""A SELECT of the days 1 to 3 after FIRST, created in the MORNING."""


def rows_of(table: str, count: int, *, created: datetime = MORNING) -> pl.DataFrame:
    """Distinct rows, one a day: nulls in every second nullable value, and numbers that only exact storage keeps."""
    promised = contract(table)
    rows = [{c.name: _value(c, n, created) for c in promised.columns} for n in range(count)]
    return pl.DataFrame(rows, schema=promised.polars_schema())


def calendar(weights: dict[int, int | None], created_at: datetime = MORNING) -> pl.DataFrame:
    """Rows of training.regime_calendar by days after FIRST; a missing weight leaves the nullable column null."""
    return pl.DataFrame(
        {
            "calendar_date": [FIRST + timedelta(days=n) for n in weights],
            "regime": "r",
            "weight": 1,
            "regime_v0": "v",
            "weight_v0": list(weights.values()),
            "created_at": created_at,
        },
        schema_overrides={"calendar_date": pl.Date, "weight_v0": pl.Int64},
    )


def stored(warehouse: Warehouse) -> dict[int, tuple[int | None, datetime]]:
    """Weight and creation of every row of training.regime_calendar, by days after FIRST."""
    rows = warehouse.read(f"SELECT calendar_date, weight_v0, created_at FROM {CALENDAR} ORDER BY calendar_date")
    return {(d - FIRST).days: (w, c) for d, w, c in rows.iter_rows()}


def _value(column: Column, n: int, created: datetime) -> Any:
    if column.nullable and (n + len(column.name)) % 2:
        return None
    if column.fields:
        return {f.name: _value(f, n, created) for f in column.fields}
    return {
        "STRING": f"{column.name} 'é' {n}",
        "DATE": FIRST + timedelta(days=n),
        "TIMESTAMP": created if column.name in {"created_at", "ingestion_ts", "ingest_timestamp"} else _moment(n),
        "INT64": 2**53 + n + 1,
        "FLOAT64": (n + 1) / 3,
        "BOOL": n % 2 == 0,
    }[column.type]


def _moment(n: int) -> datetime:
    return datetime(2020, 1, 1, 23, 59, 59, 999999, tzinfo=UTC) + timedelta(days=n)
