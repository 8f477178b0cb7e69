"""Daily weather of grid points, from the ERA5 reanalysis through Open-Meteo's archive API, which asks for no key.

Not through openmeteo-requests: it decodes another format with a cache and retries of its own, for the same numbers.
https://open-meteo.com/en/docs/historical-weather-api: free for non-commercial use, 600 calls a minute, where a request
counts as several calls the longer it is. The last days are preliminary and change when ERA5 is final, months later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import polars as pl

from zl_assets.sources.http import Connection, Endpoint
from zl_assets.sources.series_source import SeriesDelivery
from zl_assets.sources.vendor_json import Field, column, drift, member, rows

FIRST_DAY = date(2005, 1, 1)
REVISED = timedelta(days=120)
"""How far back stored days are asked for again: ERA5 is final after about three months."""
DELAY = timedelta(days=6)
"""ERA5 ends five days ago; a day that is not there is null."""
DAYS_A_CALL = 14


@dataclass(frozen=True)
class _Point:
    """A grid point: where it is, its region, and the zone whose days its values are of."""

    name: str
    latitude: float
    longitude: float
    region: str
    timezone: str


POINTS = (
    _Point("sorriso_mato_grosso", -12.55, -55.71, "Brazil", "America/Cuiaba"),
    _Point("cascavel_parana", -24.96, -53.46, "Brazil", "America/Sao_Paulo"),
    _Point("villa_maria_cordoba", -32.41, -63.24, "Argentina", "America/Argentina/Cordoba"),
    _Point("rosario_santa_fe", -32.95, -60.67, "Argentina", "America/Argentina/Cordoba"),
    _Point("ames_iowa", 42.03, -93.63, "US_Midwest", "America/Chicago"),
    _Point("decatur_illinois", 39.84, -88.95, "US_Midwest", "America/Chicago"),
)

COLUMNS = {
    "temperature_2m_min": ("tmin_c", "°C"),
    "temperature_2m_max": ("tmax_c", "°C"),
    "temperature_2m_mean": ("tavg_c", "°C"),
    "precipitation_sum": ("precip_mm", "mm"),
}
"""Our column and the unit by the API's variable."""


@dataclass(frozen=True)
class OpenMeteo:
    """ERA5 at grid points as a source of raw series."""

    endpoint: Endpoint
    points: tuple[_Point, ...] = POINTS
    name: str = "open_meteo"
    tables: tuple[str, ...] = ("weather_daily",)

    def state(self) -> str:
        """Whether the user asked for it; it needs no key."""
        return self.endpoint.state()

    def fetch(self, newest: Mapping[str, date], report: Callable[[str], None]) -> SeriesDelivery:
        """Days since some months before the newest stored one; every day where nothing is stored.

        Returns:
            weather_daily of stations `ERA5:` and the point's name, in degrees Celsius and mm, local days. When a day
            was published is not in it. Days the reanalysis has not reached have no row.
        """
        stored = newest.get("weather_daily")
        start = FIRST_DAY if stored is None else max(FIRST_DAY, stored - REVISED)
        end = self.endpoint.clock.now().date() - DELAY
        if start > end:
            return SeriesDelivery({})
        with self.endpoint.open(report) as connection:
            frames = [_point(connection, point, start, end, report) for point in self.points]
        return SeriesDelivery(
            {"weather_daily": rows("weather_daily", pl.concat(frames), source=self.name, where=self.endpoint.vendor)}
        )


def _point(
    connection: Connection, point: _Point, start: date, end: date, report: Callable[[str], None]
) -> pl.DataFrame:
    answer = connection.json(
        "/v1/archive",
        {
            "latitude": str(point.latitude),
            "longitude": str(point.longitude),
            "start_date": str(start),
            "end_date": str(end),
            "daily": ",".join(COLUMNS),
            "models": "era5",
            "timezone": point.timezone,
            "temperature_unit": "celsius",
            "precipitation_unit": "mm",
        },
        cost=max(1.0, (end - start).days / DAYS_A_CALL),
    )
    daily = member(answer.value, dict, "daily", where=answer.where)
    for name, (_, unit) in COLUMNS.items():
        given = member(answer.value, str, "daily_units", name, where=answer.where)
        if given != unit:
            raise drift(f"`{name}` is in {given!r:.20} instead of {unit}", answer.where)
    lists = {name: member(daily, list, name, where=answer.where) for name in ("time", *COLUMNS)}
    short = next((name for name, values in lists.items() if len(values) != len(lists["time"])), None)
    if short:
        raise drift(f"`{short}` has {len(lists[short])} values for {len(lists['time'])} days", answer.where)
    table = pl.DataFrame(
        [
            column(lists["time"], "time", Field("day"), answer.where),
            *(column(lists[n], n, Field("number", lacking="all"), answer.where) for n in COLUMNS),
        ]
    )
    reached = table.filter(pl.any_horizontal(pl.col(*COLUMNS).is_not_null()))
    report(f"{point.name}: {len(reached)} days")
    return reached.select(
        pl.lit(f"ERA5:{point.name}").alias("station_id"),
        pl.col("time").alias("observed_date"),
        pl.lit(point.region).alias("region"),
        *(pl.col(name).alias(ours) for name, (ours, _) in COLUMNS.items()),
        pl.lit(answer.provenance).alias("provenance_uuid"),
    )
