"""Weekly export sales of soybeans, soybean oil and soybean meal from the USDA's Foreign Agricultural Service.

No client library of it is kept up. https://api.fas.usda.gov (ESR data): one answer a commodity and marketing year,
which the API names by the year in which it ends. It says what was published last, but not when each week was first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from zl_assets.sources.http import Connection, Endpoint
from zl_assets.sources.series_source import SeriesDelivery
from zl_assets.sources.vendor_json import Field, drift, records, rows

FIRST_YEAR = 2006
"""First marketing year asked for, by its end."""
REVISED = timedelta(days=400)
"""How far back stored weeks are asked for again: the running marketing year and the one before it."""
TONNES = 1
"""The API's unit of metric tons."""
CARRY_OVER = timedelta(days=7)
"""A week may straddle the turn of the marketing year."""


@dataclass(frozen=True)
class _Commodity:
    """A commodity: the API's code and a word its name must hold, our name, and when its marketing year begins."""

    code: int
    words: tuple[str, ...]
    name: str
    first_month: int


COMMODITIES = (
    _Commodity(801, ("soybean",), "soybeans", 9),
    _Commodity(901, ("soybean", "meal"), "soybean_meal", 10),
    _Commodity(902, ("soybean", "oil"), "soybean_oil", 10),
)

_SALES = {
    "commodityCode": Field("number"),
    "countryCode": Field("number"),
    "weekEndingDate": Field("day"),
    "unitId": Field("number"),
    "currentMYNetSales": Field("number"),
    "weeklyExports": Field("number"),
    "outstandingSales": Field("number"),
}


@dataclass(frozen=True)
class UsdaFas:
    """The USDA's export sales as a source of raw series."""

    endpoint: Endpoint
    name: str = "usda_fas"
    tables: tuple[str, ...] = ("usda_export_sales",)

    def state(self) -> str:
        """Whether the key is set."""
        return self.endpoint.state()

    def fetch(self, newest: Mapping[str, date], report: Callable[[str], None]) -> SeriesDelivery:
        """The running marketing year and the one before it; every year where nothing is stored.

        Returns:
            usda_export_sales, in tonnes, of the marketing year that the sale is for. The rows of country ALL are sums
            over the destinations. Sales for the next marketing year are left out.
        """
        stored = newest.get("usda_export_sales")
        today = self.endpoint.clock.now().date()
        with self.endpoint.open(report) as connection:
            countries = _countries(connection)
            _require_commodities(connection)
            frames = [
                _year(connection, commodity, year, countries)
                for commodity in COMMODITIES
                for year in _years(stored, today, commodity)
            ]
        weekly = pl.concat(frames)
        report(f"export sales: {len(weekly)} rows")
        total = weekly.group_by("commodity", "observed_date", "marketing_year", "provenance_uuid").agg(
            pl.lit("ALL").alias("country"), pl.col("net_sales_t", "exports_t", "outstanding_t").sum()
        )
        table = pl.concat([weekly, total.select(weekly.columns)])
        sales = rows("usda_export_sales", table, source=self.name, where=self.endpoint.vendor)
        return SeriesDelivery({"usda_export_sales": sales})


def _years(stored: date | None, today: date, commodity: _Commodity) -> range:
    """Marketing years to ask for, by their ends."""
    first = FIRST_YEAR if stored is None else max(FIRST_YEAR, _ends_in(stored - REVISED, commodity))
    return range(first, _ends_in(today, commodity) + 1)


def _ends_in(day: date, commodity: _Commodity) -> int:
    return day.year + (day.month >= commodity.first_month)


def _countries(connection: Connection) -> dict[int, str]:
    """Name of a destination by its code."""
    answer = connection.json("/api/esr/countries")
    fields = {"countryCode": Field("number"), "countryName": Field("text")}
    table = records(answer.value, fields, answer.where).with_columns(
        pl.col("countryCode").cast(pl.Int64), pl.col("countryName").str.strip_chars()
    )
    return dict(zip(table["countryCode"], table["countryName"], strict=True))


def _require_commodities(connection: Connection) -> None:
    """The codes still mean what they mean here: a code that changed hands would sell corn as soybeans."""
    answer = connection.json("/api/esr/commodities")
    fields = {"commodityCode": Field("number"), "commodityName": Field("text")}
    table = records(answer.value, fields, answer.where)
    names = dict(zip(table["commodityCode"].cast(pl.Int64), table["commodityName"].str.to_lowercase(), strict=True))
    for commodity in COMMODITIES:
        if not all(word in names.get(commodity.code, "") for word in commodity.words):
            named = names.get(commodity.code, "nothing")
            raise drift(f"`commodityCode` {commodity.code} is {named!r:.40} instead of {commodity.name}", answer.where)


def _year(connection: Connection, commodity: _Commodity, year: int, countries: Mapping[int, str]) -> pl.DataFrame:
    answer = connection.json(f"/api/esr/exports/commodityCode/{commodity.code}/allCountries/marketYear/{year}")
    table = records(answer.value, _SALES, answer.where).with_columns(pl.col("countryCode", "unitId").cast(pl.Int64))
    first = date(year - 1, commodity.first_month, 1) - CARRY_OVER
    last = date(year, commodity.first_month, 1) + CARRY_OVER
    outside = table.filter(~pl.col("weekEndingDate").is_between(first, last))
    if len(outside):
        raise drift(f"`weekEndingDate` {outside['weekEndingDate'][0]} lies outside the marketing year", answer.where)
    for name, wanted in (("commodityCode", commodity.code), ("unitId", TONNES)):
        if (table[name] != wanted).any():
            raise drift(f"`{name}` is {table.filter(pl.col(name) != wanted)[name][0]:g}, not {wanted}", answer.where)
    unnamed = set(table["countryCode"]) - set(countries)
    if unnamed:
        raise drift(f"`countryCode` {min(unnamed)} has no name", answer.where)
    return table.select(
        pl.lit(commodity.name).alias("commodity"),
        pl.col("countryCode").replace_strict(countries, return_dtype=pl.String).alias("country"),
        pl.col("weekEndingDate").alias("observed_date"),
        pl.lit(year - 1, pl.Int64).alias("marketing_year"),
        pl.col("currentMYNetSales").alias("net_sales_t"),
        pl.col("weeklyExports").alias("exports_t"),
        pl.col("outstandingSales").alias("outstanding_t"),
        pl.lit(answer.provenance).alias("provenance_uuid"),
    )
