"""Weather of the soybean regions: composites of a week and more, measured against the same season of past years.

A day's anomaly is noise (DOMAIN section 7, rule 8), so nothing here is shorter than seven days. Each station is
measured against its own past: stations come and go, and a mean of their levels would jump with them. A region's value
is the mean over the stations that have one.

What was known: a window ends at the newest day of its station that was public at the decision, and holds the days that
were public when that one was. A station day counts with its first published value; one published later than
`PUBLISHED_WITHIN` after its day is left out for good, so that no window fills up in hindsight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import reduce
from math import ceil
from operator import add

import polars as pl

from zl_assets.core.features import trailing as over
from zl_assets.core.features.family import Family, Feature, Inputs, Treatment
from zl_assets.core.features.readings import finished
from zl_assets.core.point_in_time import as_of

MAX_AGE = timedelta(days=10)
PUBLISHED_WITHIN = 10
"""Days after its own in which a station day has to be published; reanalysis takes five, stations one to three."""

PAST_YEARS = 10
FEWEST_WINDOWS = 8
"""Windows of past years that a mean and a spread are taken from: three a year, so three years at the least."""

_ASIDE = 14
"""Days to both sides of the same date of a past year at which a further window is taken."""

REGIONS: dict[str, str] = {"midwest": "US_Midwest", "brazil": "Brazil", "argentina": "Argentina"}
EXTREME = 2.0
HEAT_C = 35.0
COOL_C, WARM_C = 10.0, 30.0
"""Growing degrees count between these temperatures: the method the US weather service uses for maize and soybeans."""

_WINDOWS: dict[str, tuple[str, int]] = {
    "temperature_7d": ("temperature", 7),
    "precipitation_30d": ("precipitation", 30),
    "precipitation_60d": ("precipitation", 60),
    "precipitation_90d": ("precipitation", 90),
    "growing_degrees_30d": ("growing_degrees", 30),
    "heat_days_14d": ("heat", 14),
}
"""Name -> what is averaged and over how many days."""
_PRESENT = 0.7
_MEASURES = tuple(dict.fromkeys(measure for measure, _ in _WINDOWS.values()))
_SCORED = tuple(name for name in _WINDOWS if name != "heat_days_14d")


def _features() -> Iterator[Feature]:
    for region, label in REGIONS.items():

        def of(name: str, unit: str, description: str, treatment: Treatment, r: str = region) -> Feature:
            return Feature(f"weather_{r}_{name}", unit, description, "weather", treatment)

        place = label.replace("_", " ")
        season = "against the same season of past years"
        yield of("stations", "1", f"Stations of {place} with a fresh value", "count")
        yield of(
            "temperature_7d_anomaly_c", "degC", f"Mean temperature of 7 days in {place}, less the season's", "composite"
        )
        yield of("temperature_7d_z", "1", f"Mean temperature of 7 days in {place} {season}", "composite")
        yield of("temperature_7d_extreme", "1", "1 at two sigma above the season, -1 at two below", "flag")
        for days in (30, 60, 90):
            yield of(f"precipitation_{days}d_z", "1", f"Precipitation of {days} days in {place} {season}", "composite")
        yield of("precipitation_90d_extreme", "1", "-1 in a drought of two sigma, 1 at as much too wet", "flag")
        yield of("growing_degrees_30d_z", "1", f"Growing degrees of 30 days in {place} {season}", "composite")
        yield of("heat_days_14d", "days", f"Days of the last 14 with 35 degC and more in {place}", "composite")


FEATURES = tuple(_features())


def build(inputs: Inputs) -> pl.DataFrame:
    """The family's columns; see `FEATURES`."""
    windows = _station_windows(_station_days(inputs))
    names = [*_WINDOWS, *[f"{name}_z" for name in _SCORED], "temperature_7d_anomaly"]
    seen = as_of(windows, inputs.decisions, names, max_age=MAX_AGE, by=["station", "region"])
    by_region = seen.group_by("data_date", "region").agg(
        pl.col("age_days").is_not_null().sum().alias("stations"), *[pl.col(name).mean() for name in names]
    )
    frames = [_of_region(inputs, by_region, region) for region in REGIONS]
    return finished(inputs, [feature.name for feature in FEATURES], frames)


def _of_region(inputs: Inputs, by_region: pl.DataFrame, region: str) -> pl.DataFrame:
    """The columns of one region, one row per decision."""
    rows = inputs.decisions.select("data_date").join(
        by_region.filter(pl.col("region") == REGIONS[region]), on="data_date", how="left", maintain_order="left"
    )
    columns = {
        "stations": pl.col("stations").fill_null(0),
        "temperature_7d_anomaly_c": pl.col("temperature_7d_anomaly"),
        **{f"{name}_z": pl.col(f"{name}_z") for name in _SCORED},
        "temperature_7d_extreme": _extreme("temperature_7d_z"),
        "precipitation_90d_extreme": _extreme("precipitation_90d_z"),
        "heat_days_14d": 14 * pl.col("heat_days_14d"),
    }
    return rows.select(expression.alias(f"weather_{region}_{name}") for name, expression in columns.items())


def _extreme(name: str) -> pl.Expr:
    score = pl.col(name)
    return (score >= EXTREME).cast(pl.Float64) - (score <= -EXTREME).cast(pl.Float64)


def _station_days(inputs: Inputs) -> pl.DataFrame:
    """Every calendar day of every station with what was first published about it, from far enough back.

    A station that comes from two vendors counts as two: their values are not mixed.
    """
    first = inputs.decisions["data_date"][0] - timedelta(days=366 * (PAST_YEARS + 1))
    in_time = pl.col("available_at") <= pl.col("observed_date").cast(pl.Datetime("us", "UTC")) + timedelta(
        days=PUBLISHED_WITHIN
    )
    table = inputs.series["weather_daily"].with_columns(station=pl.format("{} {}", "station_id", "source"))
    rows = table.filter(
        pl.col("observed_date") >= first,
        pl.col("observed_date") <= inputs.decisions["data_date"][-1],
        in_time,
    )
    measured = (
        rows.sort("available_at")
        .unique(["station", "observed_date"], keep="first")
        .select("station", "observed_date", "available_at", **_measures())
    )
    days = pl.date_range(first, inputs.decisions["data_date"][-1], eager=True).alias("observed_date").to_frame()
    stations = rows.select("station", "region").unique("station", keep="any").sort("station")
    return stations.join(days, how="cross").join(
        measured, on=["station", "observed_date"], how="left", maintain_order="left"
    )


def _measures() -> dict[str, pl.Expr]:
    """What is averaged, one value a station day."""
    low, high = pl.col("tmin_c"), pl.col("tmax_c")
    mean = pl.coalesce("tavg_c", (low + high) / 2)
    between = (low.clip(COOL_C, WARM_C) + high.clip(COOL_C, WARM_C)) / 2
    return {
        "temperature": mean,
        "precipitation": pl.col("precip_mm"),
        "growing_degrees": pl.coalesce(between, mean.clip(COOL_C, WARM_C)) - COOL_C,
        "heat": (high >= HEAT_C).cast(pl.Float64),
    }


def _station_windows(days: pl.DataFrame) -> pl.DataFrame:
    """Means of every window that ends at a published day, and their scores against past years; see the module."""
    known = [pl.col("available_at").shift(k) <= pl.col("available_at") for k in range(PUBLISHED_WITHIN)]
    recent = {
        f"{measure}:{k}": pl.when(is_known).then(pl.col(measure).shift(k))
        for measure in _MEASURES
        for k, is_known in enumerate(known)
    }
    sums: dict[str, pl.Expr] = {}
    for measure, length in _WINDOWS.values():
        sums |= _sums_known(measure, _near(length))
    means = {name: _mean_known(measure, length) for name, (measure, length) in _WINDOWS.items()}
    settled = {f"{name}:settled": _settled(*_WINDOWS[name]) for name in _SCORED}
    windows = _by_station(days, [recent, sums, means | settled, *_season(_SCORED)])
    anomaly = pl.when(_is_known("temperature_7d")).then(pl.col("temperature_7d") - pl.col("temperature_7d:mean"))
    return windows.with_columns(**{f"{name}_z": _score(name) for name in _SCORED}, temperature_7d_anomaly=anomaly)


def _by_station(days: pl.DataFrame, stages: Sequence[Mapping[str, pl.Expr]]) -> pl.DataFrame:
    """The published days, with columns that are computed stage by stage from every calendar day of their station."""
    stations = days.partition_by("station", maintain_order=True) or [days]
    for stage in stages:
        stations = [station.with_columns(**stage) for station in stations]
    return pl.concat(stations).filter(pl.col("available_at").is_not_null())


def _settled(measure: str, length: int) -> pl.Expr:
    """Mean of a window of a past year, all of whose days have long been public."""
    return pl.col(measure).rolling_mean(length, min_samples=_enough(length))


def day_anomalies(inputs: Inputs) -> pl.DataFrame:
    """Each station day's temperature less the mean of the same date, and 14 days to both sides, of past years.

    No feature: a single day's anomaly is what rule 8 forbids, and this is what columns are compared with.

    Args:
        inputs: with rows of weather_daily.

    Returns:
        station, region, observed_date, available_at, anomaly (degrees Celsius), one row per published station day.
    """
    days = _station_days(inputs).with_columns(pl.col("temperature").alias("day:settled"))
    anomaly = pl.col("temperature") - pl.col("day:mean")
    return _by_station(days, _season(["day"])).select(
        "station", "region", "observed_date", "available_at", anomaly.alias("anomaly")
    )


def _enough(length: int) -> int:
    return ceil(_PRESENT * length)


def _near(length: int) -> int:
    """Days of a window that may not have been public when its last day was; all days before them were."""
    return min(length, PUBLISHED_WITHIN)


def _sums_known(measure: str, near: int) -> dict[str, pl.Expr]:
    """Sum and number of the values of the last days that were public when the very last one was."""
    recent = [pl.col(f"{measure}:{k}") for k in range(near)]
    count = over.added(value.is_not_null().cast(pl.Float64) for value in recent)
    return {f"{measure}:total_{near}": over.added(recent), f"{measure}:count_{near}": count}


def _mean_known(measure: str, length: int) -> pl.Expr:
    """Mean over a window's days that were public when its last day was, from `_sums_known` of the near ones.

    Days further back than `PUBLISHED_WITHIN` were public by then, since later ones are left out.
    """
    values = pl.col(measure)
    near = _near(length)
    total, count = pl.col(f"{measure}:total_{near}"), pl.col(f"{measure}:count_{near}")
    if length > near:
        far = length - near
        total += values.rolling_sum(far, min_samples=1).shift(near).fill_null(0.0)
        count += values.is_not_null().cast(pl.Float64).rolling_sum(far, min_samples=1).shift(near).fill_null(0.0)
    return pl.when(count >= _enough(length)).then(total / count)


def _season(names: Sequence[str]) -> list[dict[str, pl.Expr]]:
    """Stages that add number, mean and sample deviation of the windows of past years around the same date.

    Args:
        names: of the windows; `<name>:settled` holds every calendar day's of one station.

    Returns:
        What gives `<name>:count`, `<name>:mean`, `<name>:deviation`. Each step stands in columns of its own: nested,
        every shift would be computed again for every year.
    """
    moments: dict[str, pl.Expr] = {}
    for name in names:
        settled = pl.col(f"{name}:settled")
        value = settled.fill_null(0.0)
        moments |= {f"{name}:count": settled.is_not_null().cast(pl.Float64)}
        moments |= {f"{name}:total": value, f"{name}:squares": value**2}
    around = {m: (pl.col(m).shift(-_ASIDE) + pl.col(m) + pl.col(m).shift(_ASIDE)).fill_null(0.0) for m in moments}
    years = [round(365.25 * year) for year in range(1, PAST_YEARS + 1)]
    past = {m: reduce(add, (pl.col(m).shift(back, fill_value=0.0) for back in years)) for m in moments}
    statistics: dict[str, pl.Expr] = {}
    for name in names:
        count, total, squares = (pl.col(f"{name}:{what}") for what in ("count", "total", "squares"))
        statistics[f"{name}:mean"] = total / count
        statistics[f"{name}:deviation"] = ((squares - total**2 / count) / (count - 1)).sqrt()
    return [moments, around, past, statistics]


def _is_known(name: str) -> pl.Expr:
    return pl.col(f"{name}:count") >= FEWEST_WINDOWS


def _score(name: str) -> pl.Expr:
    deviation = pl.col(f"{name}:deviation")
    distance = (pl.col(name) - pl.col(f"{name}:mean")) / deviation
    return pl.when(_is_known(name) & (deviation > 1e-6)).then(distance)


FAMILY = Family(
    name="weather",
    version="v2.5",
    description="Temperature, drought, growing degrees and heat of the soybean regions against their season",
    inputs=("weather_daily",),
    look_back=0,
    features=FEATURES,
    build=build,
    rules=(8,),
)
