"""Daily weather of stations, from GHCN-Daily through the NCEI's access data service, which asks for no key.

No client library of it is kept up. https://www.ncei.noaa.gov/access/services/data/v1, dataset daily-summaries: with
`units=metric` temperatures are degrees Celsius and precipitation is mm; without it they would be tenths. Numbers arrive
as padded text, and an element without a value is left out of its record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from zl_assets.errors import ServiceError
from zl_assets.sources.http import Connection, Endpoint
from zl_assets.sources.series_source import SeriesDelivery
from zl_assets.sources.vendor_json import Field, drift, records, rows

FIRST_DAY = date(2005, 1, 1)
REVISED = timedelta(days=60)
"""How far back stored days are asked for again: quality control takes weeks."""

STATIONS = {
    "USW00014933": "US_Midwest",
    "USW00094846": "US_Midwest",
    "ARM00087576": "Argentina",
    "AR000087344": "Argentina",
    "AR000087374": "Argentina",
}
"""Region by station: Des Moines, O'Hare; Ezeiza, Córdoba, Paraná."""

COLUMNS = {"TMIN": "tmin_c", "TMAX": "tmax_c", "TAVG": "tavg_c", "PRCP": "precip_mm"}
_ABSOLUTE_C = (-90.0, 60.0)
"""Colder or warmer than any station was: the answer is then not in degrees Celsius."""


@dataclass(frozen=True)
class Noaa:
    """GHCN-Daily as a source of raw series."""

    endpoint: Endpoint
    stations: tuple[str, ...] = tuple(STATIONS)
    name: str = "noaa"
    tables: tuple[str, ...] = ("weather_daily",)

    def state(self) -> str:
        """Whether the user asked for it; it needs no key."""
        return self.endpoint.state()

    def fetch(self, newest: Mapping[str, date], report: Callable[[str], None]) -> SeriesDelivery:
        """Days since shortly before the newest stored one; every day where nothing is stored.

        Returns:
            weather_daily of GHCND stations, in degrees Celsius and mm. When a day was published is not in it. A station
            that delivers nothing is counted in `notes`.
        """
        stored = newest.get("weather_daily")
        start = FIRST_DAY if stored is None else max(FIRST_DAY, stored - REVISED)
        today = self.endpoint.clock.now().date()
        notes: dict[str, int] = {}
        frames: list[pl.DataFrame] = []
        with self.endpoint.open(report) as connection:
            for station in self.stations:
                days = _station(connection, station, start, today)
                frames.append(days)
                report(f"{station}: {len(days)} days")
                if days.is_empty():
                    notes[f"{station}: no day"] = 1
        if all(frame.is_empty() for frame in frames) and stored is None:
            what = f"{self.endpoint.vendor} has no day of any station"
            raise ServiceError(what, where=", ".join(self.stations), action="report this: the stations may have moved")
        weather = rows("weather_daily", pl.concat(frames), source=self.name, where=self.endpoint.vendor)
        return SeriesDelivery({"weather_daily": weather}, notes=notes)


def _station(connection: Connection, station: str, start: date, end: date) -> pl.DataFrame:
    answer = connection.json(
        "/access/services/data/v1",
        {
            "dataset": "daily-summaries",
            "stations": station,
            "dataTypes": ",".join(COLUMNS),
            "startDate": str(start),
            "endDate": str(end),
            "units": "metric",
            "format": "json",
        },
    )
    fields = {
        "STATION": Field("text"),
        "DATE": Field("day"),
        **{name: Field("number", lacking="all", missing=("",)) for name in COLUMNS},
    }
    table = records(answer.value, fields, answer.where)
    if len(table) and all(table[name].null_count() == len(table) for name in COLUMNS):
        raise drift(f"no record has any of {', '.join(COLUMNS)}", answer.where)
    if (table["STATION"] != station).any():
        raise drift(f"`STATION` is not {station}", answer.where)
    for name in ("TMIN", "TMAX", "TAVG"):
        absurd = table.filter(~pl.col(name).is_between(*_ABSOLUTE_C))
        if len(absurd):
            raise drift(f"`{name}` is {absurd[name][0]:g}, which is not degrees Celsius", answer.where)
    measured = table.filter(pl.any_horizontal(pl.col(*COLUMNS).is_not_null()))
    return measured.select(
        pl.lit(f"GHCND:{station}").alias("station_id"),
        pl.col("DATE").alias("observed_date"),
        pl.lit(STATIONS[station]).alias("region"),
        *(pl.col(name).alias(ours) for name, ours in COLUMNS.items()),
        pl.lit(answer.provenance).alias("provenance_uuid"),
    )
