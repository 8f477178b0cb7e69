"""Weekly progress and condition of the soybean crop by state, from the USDA's QuickStats.

No client library of it is kept up. https://quickstats.nass.usda.gov/api: one answer holds 50,000 records at most, so
each statistic is asked for by itself. Where nothing fits the API answers 400, so no statistic is asked for by year.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from zl_assets.sources.http import Connection, Endpoint
from zl_assets.sources.series_source import SeriesDelivery
from zl_assets.sources.vendor_json import Field, drift, member, records, rows

FIRST_YEAR = 2005

STATISTICS = {
    "PCT PLANTED": ("PROGRESS", "soybeans_planted"),
    "PCT HARVESTED": ("PROGRESS", "soybeans_harvested"),
    "PCT VERY POOR": ("CONDITION", "soybeans_condition_very_poor"),
    "PCT POOR": ("CONDITION", "soybeans_condition_poor"),
    "PCT FAIR": ("CONDITION", "soybeans_condition_fair"),
    "PCT GOOD": ("CONDITION", "soybeans_condition_good"),
    "PCT EXCELLENT": ("CONDITION", "soybeans_condition_excellent"),
}
"""Category and our name of a statistic by the API's unit."""

_FIELDS = {
    "state_name": Field("text"),
    "unit_desc": Field("text"),
    "week_ending": Field("day"),
    "Value": Field("number", missing=("(D)", "(NA)", "(S)", "(X)", "(Z)", "")),
}


@dataclass(frozen=True)
class UsdaNass:
    """QuickStats as a source of raw series."""

    endpoint: Endpoint
    name: str = "usda_nass"
    tables: tuple[str, ...] = ("usda_crop_progress",)

    def state(self) -> str:
        """Whether the key is set."""
        return self.endpoint.state()

    def fetch(self, newest: Mapping[str, date], report: Callable[[str], None]) -> SeriesDelivery:
        """Every week of every statistic since FIRST_YEAR: seven answers.

        Returns:
            usda_crop_progress, in percent. When a week was published is not in it. Withheld values have no row.
        """
        del newest
        notes: dict[str, int] = {}
        with self.endpoint.open(report) as connection:
            frames = [
                frame
                for unit in STATISTICS
                for level in ("STATE", "NATIONAL")
                for frame in [_statistic(connection, unit, level, notes)]
            ]
        table = pl.concat(frames)
        report(f"crop progress: {len(table)} values")
        progress = rows("usda_crop_progress", table, source=self.name, where=self.endpoint.vendor)
        return SeriesDelivery({"usda_crop_progress": progress}, notes=notes)


def _statistic(connection: Connection, unit: str, level: str, notes: dict[str, int]) -> pl.DataFrame:
    category, statistic = STATISTICS[unit]
    answer = connection.json(
        "/api/api_GET/",
        {
            "format": "JSON",
            "source_desc": "SURVEY",
            "commodity_desc": "SOYBEANS",
            "statisticcat_desc": category,
            "unit_desc": unit,
            "freq_desc": "WEEKLY",
            "agg_level_desc": level,
            "year__GE": str(FIRST_YEAR),
        },
    )
    table = records(member(answer.value, list, "data", where=answer.where), _FIELDS, answer.where)
    other = table.filter(pl.col("unit_desc") != unit)
    if len(other):
        raise drift(f"`unit_desc` is {other['unit_desc'][0]!r:.40} instead of {unit!r}", answer.where)
    beyond = table.filter(~pl.col("Value").is_between(0, 100))
    if len(beyond):
        raise drift(f"`Value` is {beyond['Value'][0]:g} percent", answer.where)
    withheld = table["Value"].null_count()
    if withheld:
        notes[f"{statistic}: withheld by the vendor"] = notes.get(f"{statistic}: withheld by the vendor", 0) + withheld
    return table.drop_nulls("Value").select(
        pl.col("state_name").alias("state"),
        pl.lit(statistic).alias("statistic"),
        pl.col("week_ending").alias("observed_date"),
        pl.col("Value").alias("value_pct"),
        pl.lit(answer.provenance).alias("provenance_uuid"),
    )
