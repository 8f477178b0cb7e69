"""Simulated positioning, weather, biofuel volumes, policy events, crops, export sales: series that are not prices.

The pack's habits are kept: managed money is empty, the positioning report lacks the first weeks of most years, the
Midwest composite is labelled one day late. Positioning leans against past ZL returns, biodiesel moves with soy and
energy; the rest is independent of the market. The pack has no export sales and no place in Argentina that reports soon
enough to count: what the vendors' clients would bring stands in for them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import numpy as np

from zl_assets.sources.simulated.market import generator
from zl_assets.sources.simulated.setting import MARK, Setting, memory

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Days = NDArray[np.datetime64]

# region, station, source, yearly mean degC, amplitude degC (negative in the south), daily range degC, share of wet days
_STATIONS: tuple[tuple[str, str, str, float, float, float, float], ...] = (
    ("US_Midwest", "GHCND:USW00014933", "NOAA_GHCND", 10.5, 14.0, 10.5, 0.30),
    ("US_Midwest", "GHCND:USW00094846", "NOAA_GHCND", 10.2, 13.5, 9.5, 0.33),
    ("Argentina", "GHCND:AR000875850", "NOAA_GHCND", 17.8, -7.0, 9.0, 0.25),
    ("Argentina", "ERA5:villa_maria_cordoba", "open_meteo", 16.8, -7.5, 12.5, 0.22),
    ("Argentina", "ERA5:rosario_santa_fe", "open_meteo", 17.6, -7.0, 10.5, 0.25),
    ("Brazil", "INMET_A901", "INMET", 26.5, -2.0, 10.0, 0.35),
    ("Brazil", "INMET_A908", "INMET", 25.5, -2.0, 11.5, 0.35),
    ("Brazil", "INMET_A702", "INMET", 24.5, -3.0, 10.0, 0.33),
    ("Brazil", "INMET_A807", "INMET", 17.5, -4.0, 10.0, 0.36),
    ("Brazil", "INMET_A833", "INMET", 20.0, -5.0, 10.5, 0.33),
)
_COMPOSITE = ("US_Midwest", "COOP_COMPOSITE", "NOAA_GHCND_COOP")
_STATES = {
    "IOWA": 0.0,
    "ILLINOIS": -3.0,
    "INDIANA": 2.0,
    "MINNESOTA": 5.0,
    "NEBRASKA": 1.0,
    "MISSOURI": 3.0,
    "OHIO": 6.0,
    "US TOTAL": 2.0,
}
# commodity, first month of its marketing year, part of the unshipped shipped in a week, net sales of a week in t
_SOLD: tuple[tuple[str, int, float, dict[str, float]], ...] = (
    ("soybeans", 9, 0.08, {"CHINA": 560e3, "MEXICO": 90e3, "JAPAN": 45e3, "EGYPT": 60e3, "INDONESIA": 40e3}),
    ("soybean_meal", 10, 0.11, {"CHINA": 2e3, "MEXICO": 40e3, "PHILIPPINES": 45e3, "COLOMBIA": 30e3}),
    ("soybean_oil", 10, 0.10, {"CHINA": 4e3, "MEXICO": 5e3, "COLOMBIA": 2e3, "KOREA, SOUTH": 3e3}),
)
_BEST_SELLING_DAY = 290
"""Day of the year about which most is sold: the harvest."""
_TONNES = ("net_sales_t", "exports_t", "outstanding_t")
_FEDERAL_REGISTER = "federal_register_api"
_INGESTED = datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_MANDATES = {"rfs_mandate_total": 13.0, "rfs_mandate_advanced": 1.0, "rfs_mandate_biodiesel": 1.0}
_MANDATE_UNIT = "billion gallons (biodiesel: physical gal; total/advanced: RINs)"


def _yearly(s: Setting, month: int, day: int) -> Days:
    """One date a year inside the range, datetime64[D]."""
    dates = [date(year, month, day) for year in range(s.start.year, s.end.year + 1)]
    return np.array([d for d in dates if s.start <= d <= s.end], dtype="datetime64[D]")


def cot(s: Setting) -> pl.DataFrame:
    """Columns of cot.parquet: Tuesday positions of the commercials in ZL, contracts; published the Friday after."""
    import polars as pl

    days = s.days()
    tuesdays = days[(days.astype(np.int64) + 3) % 7 == 1]
    trend = np.log(s.close("ZL", tuesdays) / s.close("ZL", tuesdays - np.timedelta64(91, "D")))
    interest = 380e3 + memory(6e3 * s.noise("open interest", tuesdays.size), 0.97)
    net = -45e3 * np.tanh(4.0 * trend) - 30e3 + memory(7e3 * s.noise("commercial net", tuesdays.size), 0.9)
    long = np.floor(np.maximum(0.42 * interest + 0.5 * net, 1e3))
    short = np.floor(np.maximum(0.42 * interest - 0.5 * net, 1e3))
    nothing = [pl.lit(None, pl.Float64).alias(f"managed_money_{side}") for side in ("long", "short", "net")]
    table = pl.DataFrame(
        {
            "report_date": tuesdays,
            "commercial_long": long,
            "commercial_short": short,
            "commercial_net": long - short,
            "open_interest": np.floor(interest),
        }
    ).select(
        "report_date",
        pl.lit("Soybean_Oil").alias("commodity"),
        pl.lit("ZL").alias("contract_code"),
        *nothing,
        "commercial_long",
        "commercial_short",
        "commercial_net",
        "open_interest",
        pl.lit(f"{MARK}CFTC_API").alias("source_name"),
        pl.lit(_INGESTED).alias("warehouse_ingest_utc"),
    )
    reported = pl.col("report_date")
    return table.filter((reported.dt.month() > 2) | ~reported.dt.year().is_between(2013, 2024))


def _station(s: Setting, name: str, mean: float, amplitude: float, spread: float, wet: float) -> dict[str, Floats]:
    """Daily tmin, tmax, tavg in degC and precipitation in mm of one place, shape (days,) each."""
    days = s.days()
    day_of_year = (days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    season = mean - amplitude * np.cos(2 * np.pi * (day_of_year - 15) / 365.25)
    average = season + memory(2.0 * s.noise(f"temperature {name}", days.size), 0.75)
    half = spread / 2 * np.exp(0.25 * s.noise(f"range {name}", days.size))
    draws = generator(s.seed, f"rain {name}").random((days.size, 2))
    rain = np.where(draws[:, 0] < wet, -9.0 * np.log(1.0 - draws[:, 1]), 0.0)
    return {"tmin_c": average - half, "tmax_c": average + half, "tavg_c": average, "precip_mm": rain}


def weather(s: Setting) -> pl.DataFrame:
    """Columns of weather.parquet: a seasonal cycle with persistent anomalies a station, and the Midwest composite."""
    import polars as pl

    measured = ("tmin_c", "tmax_c", "tavg_c", "precip_mm")
    places = {row[1]: _station(s, row[1], *row[3:]) for row in _STATIONS}
    midwest = [places[row[1]] for row in _STATIONS if row[0] == "US_Midwest"]
    late = {
        k: np.concatenate([v[:1], v[:-1]])
        for k in ("tavg_c", "precip_mm")
        for v in [(midwest[0][k] + midwest[1][k]) / 2]
    }
    tables = [(row[:3], {k: v for k, v in places[row[1]].items() if k != "tavg_c"}) for row in _STATIONS]
    tables.append((_COMPOSITE, late))
    return pl.concat(
        pl.DataFrame({"date": s.days(), **values}).select(
            "date",
            pl.lit(region).alias("region"),
            pl.lit(station).alias("station_id"),
            pl.lit(MARK + source).alias("source"),
            *((pl.col(k).round(1) if k in values else pl.lit(None, pl.Float64).alias(k)) for k in measured),
            pl.lit("").alias("adjustments"),
        )
        for (region, station, source), values in tables
    )


def biofuel(s: Setting) -> pl.DataFrame:
    """Columns of biofuel.parquet: yearly mandates stamped on 1 January, and a daily biodiesel price in USD/t."""
    import polars as pl

    years = _yearly(s, 1, 1)
    rows = []
    for item, first in _MANDATES.items():
        growth = 1.0 + np.clip(0.04 + 0.03 * s.noise(item, years.size), -0.05, 0.15)
        rows.append((item, years, first * np.cumprod(growth), _MANDATE_UNIT, "EPA_RFS_SCRAPED"))
    weekdays = s.weekdays()
    price = s.walk("biodiesel", 950.0, 0.011, {"energy": 0.3, "soy": 0.3})[np.is_busday(s.days())]
    rows.append(("biodiesel_BDOV_settle", weekdays, price, "USD/t (assumed)", "Bulk_Historical_CSV"))
    return pl.concat(
        pl.DataFrame({"date": dates, "value": np.round(values, 2)}).select(
            "date",
            pl.lit(item).alias("item"),
            "value",
            pl.lit(unit).alias("unit"),
            pl.lit(MARK + source).alias("source"),
        )
        for item, dates, values, unit, source in rows
    )


def policy(s: Setting) -> pl.DataFrame:
    """Columns of policy.parquet: orders on about one weekday in twelve, the scores drawn at random."""
    import polars as pl

    days = s.weekdays()
    draws = generator(s.seed, "policy events").random((days.size, 4))
    draws, days = draws[draws[:, 0] < 0.08], days[draws[:, 0] < 0.08]
    relevant = draws[:, 1] < 0.3
    number = pl.int_range(1, pl.len() + 1).cast(pl.String)
    return pl.DataFrame(
        {
            "ts": days,
            "agricultural_impact": np.where(relevant, np.round(draws[:, 2], 1), 0.0),
            "soybean_relevance": np.where(relevant, np.round(draws[:, 3], 1), 0.0),
            "priority": np.where(relevant, 1, 4),
        }
    ).select(
        pl.col("ts").cast(pl.Datetime("us", "UTC")),
        pl.format("SIM-{}", number.str.zfill(5)).alias("event_id"),
        pl.lit(MARK + _FEDERAL_REGISTER).alias("source"),
        pl.lit("executive_order").alias("category"),
        pl.format("Simulated order {}", number).alias("title"),
        "agricultural_impact",
        "soybean_relevance",
        pl.col("priority").cast(pl.Int64),
        pl.lit("simulated publication date (00:00 UTC, day resolution)").alias("ts_basis"),
    )


def conab_brazil_soy(s: Setting) -> pl.DataFrame:
    """Columns of conab_brazil_soy.parquet: area (1000 ha), production (1000 t), yield (t/ha) of a harvest."""
    import polars as pl

    dates = _yearly(s, 7, 1)
    area = 24e3 * np.cumprod(1.035 + 0.015 * s.noise("soy area", dates.size))
    per_ha = np.clip(3.1 + 0.25 * s.noise("soy yield", dates.size), 2.0, 4.0)
    table = pl.DataFrame({"date": dates, "area_kha": area, "production_kt": area * per_ha, "yield_t_per_ha": per_ha})
    return table.with_columns(
        pl.col("area_kha", "production_kt").round(1),
        pl.col("yield_t_per_ha").round(4),
        pl.col("date").dt.year().cast(pl.Int32).alias("harvest_year"),
    )


def usda_nass_progress(s: Setting) -> pl.DataFrame:
    """Columns of usda_nass_progress.parquet: planting progress in percent by state, Sundays from April to mid-July."""
    import polars as pl

    days = s.days()
    sundays = days[(days.astype(np.int64) + 3) % 7 == 6]
    day_of_year = (sundays - sundays.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    in_season = (day_of_year >= 92) & (day_of_year <= 198)
    year = sundays.astype("datetime64[Y]").astype(np.int64) + 1970 - s.start.year
    delays = 6.0 * s.noise("planting delay", s.end.year - s.start.year + 1)
    progress = [
        pl.DataFrame(
            {
                "date": sundays,
                "pct_complete": 100.0 / (1.0 + np.exp(-(day_of_year - 135.0 - late - delays[year]) / 8.0)),
            }
        ).select(
            "date",
            pl.lit(state).alias("state"),
            pl.col("pct_complete").round(0),
            pl.lit("harvest_percentage").alias("warehouse_label"),
        )
        for state, late in _STATES.items()
    ]
    return pl.concat(frame.filter(pl.Series(in_season)) for frame in progress)


def _sold(s: Setting, name: str, weeks: Days, level: float, share: float) -> dict[str, Floats]:
    """Net sales, shipments and what is sold and unshipped of one destination in tonnes, shape (weeks,) each.

    What is unshipped grows by the sales and falls by the shipments. Buyers cancel at most what is left to ship.
    """
    day_of_year = (weeks - weeks.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    season = np.exp(0.7 * np.cos(2 * np.pi * (day_of_year - _BEST_SELLING_DAY) / 365.25))
    appetite = np.exp(memory(0.12 * s.noise(f"export demand {name}", weeks.size), 0.95))
    sold = level * season * (appetite + 0.45 * s.noise(f"export sales {name}", weeks.size))
    shipped = share * np.exp(0.25 * s.noise(f"export shipments {name}", weeks.size))
    values, unshipped = np.empty((weeks.size, len(_TONNES))), np.rint(level / share)
    for week in range(weeks.size):
        net = max(np.rint(sold[week]), -unshipped)
        left = unshipped + net
        exported = np.rint(left * min(shipped[week], 1.0))
        unshipped = left - exported
        values[week] = net, exported, unshipped
    return {name: values[:, column] for column, name in enumerate(_TONNES)}


def usda_export_sales(s: Setting) -> pl.DataFrame:
    """Columns of usda_export_sales.parquet: weeks to Thursday by commodity and destination, and their sum as ALL."""
    import polars as pl

    days = s.days()
    weeks = days[(days.astype(np.int64) + 3) % 7 == 3]
    day = pl.col("date")
    destinations = pl.concat(
        pl.DataFrame({"date": weeks, **_sold(s, f"{commodity} {country}", weeks, level, share)}).select(
            "date",
            pl.lit(commodity).alias("commodity"),
            pl.lit(country).alias("country"),
            (day.dt.year().cast(pl.Int64) - (day.dt.month() < first_month).cast(pl.Int64)).alias("marketing_year"),
            *_TONNES,
        )
        for commodity, first_month, share, countries in _SOLD
        for country, level in countries.items()
    )
    week = ("date", "commodity", "marketing_year")
    total = destinations.group_by(week, maintain_order=True).agg(pl.lit("ALL").alias("country"), pl.col(_TONNES).sum())
    both = pl.concat([destinations, total.select(destinations.columns)])
    return both.with_columns(pl.lit(f"{MARK}usda_fas").alias("source")).sort("date", "commodity", "country")


FUNDAMENTAL_SERIES: dict[str, Callable[[Setting], pl.DataFrame]] = {
    "cot": cot,
    "weather": weather,
    "biofuel": biofuel,
    "policy": policy,
    "conab_brazil_soy": conab_brazil_soy,
    "usda_nass_progress": usda_nass_progress,
    "usda_export_sales": usda_export_sales,
}
"""File stem in series/ -> its table."""
