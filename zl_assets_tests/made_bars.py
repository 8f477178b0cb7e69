"""Made-up vendor bars for small cases, in the columns that `core.bars` works on."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from zl_assets.core.bars import BAR_SCHEMA, DAILY, HOURLY, SortedBars, sort_out
from zl_assets.core.exchange_calendar import sessions_of

NOW = datetime(2025, 9, 1, tzinfo=UTC)


def day(year: int, month: int, dom: int) -> datetime:
    """UTC midnight."""
    return datetime(year, month, dom, tzinfo=UTC)


def bar(ts_event: datetime, price: float = 40.0, **values: Any) -> dict[str, Any]:
    """One daily bar around a price; any column of BAR_SCHEMA can be set."""
    row: dict[str, Any] = {
        "ts_event": ts_event,
        "rtype": DAILY,
        "publisher_id": 1,
        "instrument_id": 1,
        "open": price,
        "high": price + 0.5,
        "low": price - 0.5,
        "close": price,
        "volume": 40_000,
        "vendor_symbol": "ZL.v.0",
        "source_file": "made.csv",
        "provenance_uuid": "made",
        "row_number": 1,
        "original": None,
    }
    unknown = set(values) - set(row)
    assert not unknown, unknown
    return row | values


def hour(ts_event: datetime, price: float = 40.0, **values: Any) -> dict[str, Any]:
    """One hourly bar around a price."""
    return bar(ts_event, price, **({"rtype": HOURLY, "volume": 2_000} | values))


def vendor(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as a reader delivers them, numbered."""
    frame = pl.DataFrame(rows, schema=BAR_SCHEMA, orient="row")
    return frame.with_columns(row_number=pl.int_range(1, frame.height + 1, dtype=pl.Int64))


def accepted(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows after the rules, none of which may reject one."""
    return delivered(rows).bars


def delivered(rows: list[dict[str, Any]]) -> SortedBars:
    """Rows after the rules, none of which may reject one."""
    sorted_out = sort_out(vendor(rows), NOW)
    assert sorted_out.rejected.is_empty(), sorted_out.rejected
    return sorted_out


def grain_sessions(first: date, count: int) -> list[date]:
    """The first sessions of the grain markets on or after a day."""
    days = sessions_of("grains")
    return [d for d in days if d >= first][:count]


def midnight(trade_date: date) -> datetime:
    """UTC midnight of a date."""
    return datetime(trade_date.year, trade_date.month, trade_date.day, tzinfo=UTC)


def calm_days(first: date, count: int, price: float = 40.0, **values: Any) -> list[dict[str, Any]]:
    """One daily bar a session, all alike but for a cent up and down."""
    return [bar(midnight(d), price + 0.01 * (i % 2), **values) for i, d in enumerate(grain_sessions(first, count))]


def one_day_later(moment: datetime) -> datetime:
    """The same time on the next day."""
    return moment + timedelta(days=1)
