"""Economic series of FRED with every vintage ALFRED has of them, and the two treasury yields among them.

Not through fredapi: it stops at 2,000 vintages a series, hands out frames of pandas, and knows no cache and no retries.

https://fred.stlouisfed.org/docs/api/fred/: `series/vintagedates` and `series/observations`. A real-time period may hold
2,000 vintages at most, so longer histories come in windows; a value that goes on from one window into the next is told
by its not having changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Literal

import polars as pl

from zl_assets.sources.http import Connection, Endpoint
from zl_assets.sources.series_source import SeriesDelivery
from zl_assets.sources.vendor_json import Field, drift, member, records, rows

FIRST_DAY = date(2005, 1, 1)
"""First observation asked for: five years before the first bar, for the longest trailing windows."""
VINTAGES = 1999
"""Vintages a window may hold."""
PAGE = 100_000
PAGE_OF_VINTAGES = 10_000
TIMEZONE = "America/Chicago"
"""Where FRED's days end."""

Frequency = Literal["D", "W", "M", "Q"]

OBSERVED: dict[str, Frequency] = {
    **dict.fromkeys(("DFF", "DFEDTARU", "DGS2", "DGS10", "T10Y2Y", "T10YIE", "VIXCLS"), "D"),
    **dict.fromkeys(("DEXBZUS", "DEXCHUS", "DEXMAUS", "DCOILWTICO", "DHOILNYH"), "D"),
}
"""Rates and prices of markets: what the first archived vintage holds was published long before it was archived."""

ESTIMATED: dict[str, Frequency] = {
    "DTWEXBGS": "D",
    "NFCI": "W",
    **dict.fromkeys(("CPIAUCSL", "UNRATE", "PPOILUSDM", "PSOILUSDM", "PSOYBUSDM", "PSMEAUSDM"), "M"),
    "GDPC1": "Q",
}
"""Estimates that get revised: what the first archived vintage holds is what was known then, and not before."""

FIRST_RELEASES = frozenset({"NFCI"})
"""Estimated anew every week from its first week on: a row for every vintage of every week would be most of a million,
so these keep what was published first of each week."""

SERIES = OBSERVED | ESTIMATED
TENORS = {"DGS2": "2Y", "DGS10": "10Y"}

_VALUES = {
    "realtime_start": Field("day"),
    "date": Field("day"),
    "value": Field("number", missing=(".",)),
}


@dataclass(frozen=True)
class Fred:
    """FRED as a source of raw series."""

    endpoint: Endpoint
    series: tuple[str, ...] = tuple(SERIES)
    name: str = "fred"
    tables: tuple[str, ...] = ("fred_economic", "treasury_daily")

    def state(self) -> str:
        """Whether the key is set."""
        return self.endpoint.state()

    def fetch(self, newest: Mapping[str, date], report: Callable[[str], None]) -> SeriesDelivery:
        """Every vintage of every series, but for FIRST_RELEASES: what is stored does not tell which series is how far.

        Returns:
            fred_economic, and treasury_daily with the constant-maturity yields in percent as `close`. `vintage` is the
            first day of the value's real-time period and `available_at` the end of that day in St. Louis, the first
            moment at which it surely was public; both are null for a market rate that the first archived vintage holds,
            which says nothing of when it was published.
        """
        del newest
        notes: dict[str, int] = {}
        with self.endpoint.open(report) as connection:
            frames = [_vintages(connection, series_id, notes, report) for series_id in self.series]
        where = self.endpoint.vendor
        economic = rows("fred_economic", pl.concat(frames), source=self.name, where=where)
        yields = economic.filter(pl.col("series_id").is_in(list(TENORS))).with_columns(
            tenor=pl.col("series_id").replace_strict(TENORS, default=None, return_dtype=pl.String), close="value"
        )
        treasury = rows("treasury_daily", yields, source=self.name, where=where)
        return SeriesDelivery({"fred_economic": economic, "treasury_daily": treasury}, notes=notes)


def _vintages(
    connection: Connection, series_id: str, notes: dict[str, int], report: Callable[[str], None]
) -> pl.DataFrame:
    """One row a value that one or more vintages held, without the days that have none."""
    days = _vintage_days(connection, series_id)
    starts = days[::VINTAGES]
    last_days = [str(after - timedelta(days=1)) for _, after in pairwise(starts)] + ["9999-12-31"]
    windows = [
        _observations(connection, series_id, str(start), last) for start, last in zip(starts, last_days, strict=True)
    ]
    held = pl.concat(windows).sort("date", "realtime_start", maintain_order=True)
    missing = held.filter(pl.col("value").is_null())["date"].n_unique()
    if missing:
        notes[f"{series_id}: no value on the day"] = missing
    values = held.drop_nulls("value")
    # A window's first row repeats the last one of the window before where nothing happened at the border.
    changed = pl.col("value").ne_missing(pl.col("value").shift(1).over("date"))
    values = values.filter(changed)
    if series_id in FIRST_RELEASES:
        values = values.unique("date", keep="first", maintain_order=True)
    archived_at_once = (pl.col("realtime_start") == days[0]) & pl.lit(series_id in OBSERVED)
    vintage = pl.when(~archived_at_once).then("realtime_start")
    report(f"{series_id}: {len(values)} values of {len(days)} vintages")
    return values.select(
        pl.lit(series_id).alias("series_id"),
        pl.col("date").alias("observed_date"),
        "value",
        pl.lit(SERIES.get(series_id, "D")).alias("frequency"),
        vintage.alias("vintage"),
        _end_of_day(vintage).alias("available_at"),
        "provenance_uuid",
    )


def _end_of_day(day: pl.Expr) -> pl.Expr:
    midnight = (day + pl.duration(days=1)).cast(pl.Datetime("us"))
    return midnight.dt.replace_time_zone(TIMEZONE).dt.convert_time_zone("UTC")


def _vintage_days(connection: Connection, series_id: str) -> list[date]:
    days: list[date] = []
    while True:
        answer = connection.json(
            "/fred/series/vintagedates",
            {
                "series_id": series_id,
                "file_type": "json",
                "realtime_start": "1776-07-04",
                "realtime_end": "9999-12-31",
                "limit": str(PAGE_OF_VINTAGES),
                "offset": str(len(days)),
            },
        )
        count = member(answer.value, int, "count", where=answer.where)
        listed = member(answer.value, list, "vintage_dates", where=answer.where)
        page = records([{"vintage_dates": day} for day in listed], {"vintage_dates": Field("day")}, answer.where)
        days += page["vintage_dates"].to_list()
        if len(days) >= count:
            break
        if page.is_empty():
            raise drift(f"{len(days)} of {count} vintage dates were delivered", answer.where)
    if not days:
        raise drift(f"{series_id} has no vintage", answer.where)
    return sorted(days)


def _observations(connection: Connection, series_id: str, start: str, end: str) -> pl.DataFrame:
    """Rows of one real-time period: realtime_start, date, value, provenance_uuid."""
    pages: list[pl.DataFrame] = []
    delivered = 0
    while True:
        answer = connection.json(
            "/fred/series/observations",
            {
                "series_id": series_id,
                "file_type": "json",
                "realtime_start": start,
                "realtime_end": end,
                "observation_start": str(FIRST_DAY),
                "output_type": "4" if series_id in FIRST_RELEASES else "1",
                "limit": str(PAGE),
                "offset": str(delivered),
            },
        )
        count = member(answer.value, int, "count", where=answer.where)
        listed = member(answer.value, list, "observations", where=answer.where)
        page = records(listed, _VALUES, answer.where)
        pages.append(page.with_columns(pl.lit(answer.provenance).alias("provenance_uuid")))
        delivered += len(page)
        if delivered >= count:
            return pl.concat(pages)
        if page.is_empty():
            raise drift(f"{delivered} of {count} observations were delivered", answer.where)
