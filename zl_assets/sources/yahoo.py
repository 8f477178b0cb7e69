"""VIX, currencies and the palm oil swap from Yahoo's chart API. Unofficial: no documentation, no promise, no licence.

Not through yfinance: it brings a browser's TLS, a cache and retries of its own, and the day label is what matters here.
A bar's timestamp is an instant; its day is the day of that instant in the exchange's zone (`exchangeTimezoneName`).
Read as UTC, the crosses of London, stamped at its midnight, would change their day with summer time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from zl_assets.sources.http import Connection, Endpoint
from zl_assets.sources.series_source import SeriesDelivery
from zl_assets.sources.vendor_json import Field, column, drift, member, rows

FIRST_DAY = date(2005, 1, 1)

PAIRS = {
    "BRL=X": "USDBRL",
    "ARS=X": "USDARS",
    "CNY=X": "USDCNY",
    "MYR=X": "USDMYR",
    "CAD=X": "USDCAD",
    "JPY=X": "USDJPY",
    "EURUSD=X": "EURUSD",
    "GBPUSD=X": "GBPUSD",
    "DX-Y.NYB": "DXY",
}
"""Pair by the vendor's symbol."""
VIX = "^VIX"
PALM = "CPO=F"
SYMBOLS = (VIX, PALM, *PAIRS)
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Yahoo:
    """Yahoo's charts as a source of raw series."""

    endpoint: Endpoint
    symbols: tuple[str, ...] = SYMBOLS
    name: str = "yahoo"
    tables: tuple[str, ...] = ("volatility_daily", "fx_daily", "palm_oil_daily")

    def state(self) -> str:
        """Whether the user asked for it; it needs no key."""
        return self.endpoint.state()

    def fetch(self, newest: Mapping[str, date], report: Callable[[str], None]) -> SeriesDelivery:
        """Every finished day of every symbol: one answer each, and the vendor changes old ones without saying so.

        Returns:
            volatility_daily (VIX, index points), fx_daily (quote currency per unit of base, last rate of the day) and
            palm_oil_daily (CPO=F, USD per tonne). When a value was published is not in it. Days without a close have no
            row, nor has the exchange's current day.
        """
        del newest
        frames: dict[str, pl.DataFrame] = {}
        notes: dict[str, int] = {}
        with self.endpoint.open(report) as connection:
            for symbol in self.symbols:
                bars, empty = _bars(connection, symbol, self.endpoint.clock.now())
                report(f"{symbol}: {len(bars)} days")
                frames[symbol] = bars
                if empty:
                    notes[f"{symbol}: day without a close"] = empty
        fx = [_rates(frames[s], pair) for s, pair in PAIRS.items() if s in frames]
        tables = {
            "volatility_daily": [_named(frames[s], "series_id", "VIX") for s in (VIX,) if s in frames],
            "fx_daily": fx,
            "palm_oil_daily": [_named(frames[s], "symbol", PALM) for s in (PALM,) if s in frames],
        }
        where = self.endpoint.vendor
        return SeriesDelivery(
            {n: rows(n, pl.concat(parts), source=self.name, where=where) for n, parts in tables.items() if parts},
            notes=notes,
        )


def _named(bars: pl.DataFrame, key: str, name: str) -> pl.DataFrame:
    return bars.with_columns(pl.lit(name).alias(key))


def _rates(bars: pl.DataFrame, pair: str) -> pl.DataFrame:
    return bars.select(pl.lit(pair).alias("pair"), "observed_date", pl.col("close").alias("rate"), "provenance_uuid")


def _bars(connection: Connection, symbol: str, now: datetime) -> tuple[pl.DataFrame, int]:
    """Finished days with a close, and the number of days without one."""
    end = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
    first = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
    answer = connection.json(
        f"/v8/finance/chart/{quote(symbol)}",
        {
            "period1": str(int(first.timestamp())),
            "period2": str(int(end.timestamp())),
            "interval": "1d",
            "events": "history",
        },
    )
    result = _result(answer.value, symbol, answer.where)
    zone = _zone(member(result, str, "meta", "exchangeTimezoneName", where=answer.where), answer.where)
    stamps = member(result, list, "timestamp", where=answer.where)
    quotes = member(result, list, "indicators", "quote", where=answer.where)
    first_quote = member(quotes[0] if quotes else None, dict, where=answer.where)
    lists = {name: member(first_quote, list, name, where=answer.where) for name in (*_PRICES, "volume")}
    short = next((name for name, values in lists.items() if len(values) != len(stamps)), None)
    if short:
        raise drift(f"`{short}` has {len(lists[short])} values for {len(stamps)} days", answer.where)
    table = pl.DataFrame(
        [
            column(stamps, "timestamp", Field("number"), answer.where),
            *(column(values, name, Field("number", lacking="all"), answer.where) for name, values in lists.items()),
        ]
    )
    instant = pl.from_epoch(pl.col("timestamp").cast(pl.Int64), time_unit="s").dt.replace_time_zone("UTC")
    days = table.with_columns(
        instant.dt.convert_time_zone(zone.key).dt.date().alias("observed_date"),
        pl.col("volume").cast(pl.Int64),
        pl.lit(answer.provenance).alias("provenance_uuid"),
    ).filter(pl.col("observed_date") < now.astimezone(zone).date())
    closed = days.drop_nulls("close")
    return closed.drop("timestamp"), len(days) - len(closed)


def _result(value: Any, symbol: str, where: str) -> dict[str, Any]:
    results = member(value, list, "chart", "result", where=where)
    if len(results) != 1:
        raise drift(f"`chart.result` holds {len(results)} charts", where)
    result = member(results[0], dict, where=where)
    expected = {"symbol": symbol, "dataGranularity": "1d"} | ({"currency": "USD"} if symbol == PALM else {})
    for name, wanted in expected.items():
        given = member(result, str, "meta", name, where=where)
        if given != wanted:
            # A long range of some symbols comes back in weeks or months, under the dates of their first days.
            raise drift(f"`{name}` is {given!r:.40} instead of {wanted!r}", where)
    return result


def _zone(name: str, where: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise drift(f"`exchangeTimezoneName` is {name!r:.40}, which is no time zone", where) from None
