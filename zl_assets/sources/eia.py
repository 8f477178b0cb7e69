"""Biofuel feedstocks and spot prices of diesel from the EIA's API, version 2.

No client library of it is kept up well enough to lean on. https://www.eia.gov/opendata/documentation.php: routes
petroleum/pnp/feedbiofuel (monthly, withheld cells are null) and petroleum/pri/spt (daily). A page holds 5,000 rows;
numbers arrive as text, or as numbers in older releases of the API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from zl_assets.sources.http import Connection, Endpoint
from zl_assets.sources.series_source import SeriesDelivery
from zl_assets.sources.vendor_json import Field, drift, member, records, rows

PAGE = 5000

UNITS = {"MMLB": "million lb", "$/GAL": "USD/gal"}
"""Our name of the vendor's unit. Another one stops the source: a price per barrel is not one per gallon."""


@dataclass(frozen=True)
class _Route:
    """One route: what to ask for, and the item of our table by the vendor's code."""

    path: str
    frequency: str
    facet: str
    items: Mapping[str, str]
    first: str


ROUTES = (
    _Route(
        "petroleum/pnp/feedbiofuel",
        "monthly",
        "product",
        {
            "EPOOBDSO": "soybean_oil_for_biofuel",
            "EPOOBDSOD": "soybean_oil_for_biodiesel_plants",
            "EPOOBDSOR": "soybean_oil_for_renewable_diesel_plants",
            "EPOOBDCNO": "corn_oil_for_biofuel",
            "EPOOBDCO": "canola_oil_for_biofuel",
            "EPOOBDFSTL": "tallow_for_biofuel",
            "EPOOBDFSYG": "yellow_grease_for_biofuel",
        },
        "2009-01",
    ),
    _Route(
        "petroleum/pri/spt",
        "daily",
        "series",
        {
            "EER_EPD2DXL0_PF4_Y35NY_DPG": "ulsd_spot_new_york_harbor",
            "EER_EPD2DXL0_PF4_RGC_DPG": "ulsd_spot_us_gulf_coast",
        },
        "2006-06-14",
    ),
)


@dataclass(frozen=True)
class Eia:
    """The EIA as a source of raw series."""

    endpoint: Endpoint
    page: int = PAGE
    name: str = "eia"
    tables: tuple[str, ...] = ("biofuel",)

    def state(self) -> str:
        """Whether the key is set."""
        return self.endpoint.state()

    def fetch(self, newest: Mapping[str, date], report: Callable[[str], None]) -> SeriesDelivery:
        """Every value of every item: the EIA revises years at once, and a monthly item ends before a daily one.

        Returns:
            biofuel, feedstocks in million lb of the month stamped on its first day, diesel in USD/gal. When a value was
            published is not in it. Cells that the EIA withholds have no row.
        """
        del newest
        notes: dict[str, int] = {}
        with self.endpoint.open(report) as connection:
            frames = [_route(connection, route, self.page, notes, report) for route in ROUTES]
        biofuel = rows("biofuel", pl.concat(frames), source=self.name, where=self.endpoint.vendor)
        return SeriesDelivery({"biofuel": biofuel}, notes=notes)


def _route(
    connection: Connection, route: _Route, page: int, notes: dict[str, int], report: Callable[[str], None]
) -> pl.DataFrame:
    found: list[pl.DataFrame] = []
    where, total = "", 1
    while sum(len(f) for f in found) < total:
        part, total, where = _page(connection, route, page, offset=sum(len(f) for f in found))
        if part.is_empty():
            raise drift(f"{sum(len(f) for f in found)} of {total} rows were delivered", where)
        found.append(part)
    table = pl.concat(found)
    unit = next((u for u in table["units"].unique() if u not in UNITS), None)
    if unit is not None:
        raise drift(f"`units` holds {unit!r:.40}", where)
    withheld = table["value"].null_count()
    if withheld:
        notes[f"{route.path}: withheld by the vendor"] = withheld
    report(f"{route.path}: {len(table) - withheld} values")
    return table.drop_nulls("value").select(
        pl.col(route.facet).replace_strict(route.items, return_dtype=pl.String).alias("item"),
        pl.col("period").alias("observed_date"),
        "value",
        pl.col("units").replace_strict(UNITS, return_dtype=pl.String).alias("unit"),
        "provenance_uuid",
    )


def _page(connection: Connection, route: _Route, page: int, offset: int) -> tuple[pl.DataFrame, int, str]:
    """Rows of one page, the number of rows of all pages, and what was asked."""
    answer = connection.json(
        f"/v2/{route.path}/data/",
        {
            "frequency": route.frequency,
            "data[0]": "value",
            f"facets[{route.facet}][]": list(route.items),
            **({"facets[duoarea][]": "NUS"} if route.facet == "product" else {}),
            "start": route.first,
            "sort[0][column]": "period",
            "sort[0][direction]": "asc",
            "sort[1][column]": route.facet,
            "sort[1][direction]": "asc",
            "offset": str(offset),
            "length": str(page),
        },
    )
    response = member(answer.value, dict, "response", where=answer.where)
    total = records([response], {"total": Field("number")}, answer.where)["total"][0]
    fields = {
        "period": Field("day"),
        route.facet: Field("text"),
        "value": Field("number", lacking="some"),
        "units": Field("text"),
    }
    part = records(member(response, list, "data", where=answer.where), fields, answer.where)
    strangers = set(part[route.facet]) - set(route.items)
    if strangers:
        raise drift(f"`{route.facet}` holds {sorted(strangers)[0]!r:.40}, which was not asked for", answer.where)
    return part.with_columns(pl.lit(answer.provenance).alias("provenance_uuid")), int(total), answer.where
