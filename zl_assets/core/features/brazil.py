"""Brazil's soybean harvest, as estimated at the decision, against the harvests before it."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.readings import RawSeries, finished, over_history

MAX_AGE = timedelta(days=500)
"""A harvest year is replaced by the next one; estimates of it begin before the day it is dated by."""

_VALUES = {name: name for name in ("area_kha", "production_kt", "yield_t_per_ha")}
_HARVEST = (RawSeries("brazil_soy_crop", {}, MAX_AGE, _VALUES),)

FEATURES: tuple[Feature, ...] = (
    Feature("brazil_soy_production_yoy_pct", "%", "Brazil's soybean harvest against the year before", "crop", "change"),
    Feature("brazil_soy_area_yoy_pct", "%", "Brazil's soybean area against the year before", "crop", "change"),
    Feature("brazil_soy_yield_vs_5y_pct", "%", "Brazil's soybean yield against the mean of 5 years", "crop", "ratio"),
)


def build(inputs: Inputs) -> pl.DataFrame:
    """The family's columns; see `FEATURES`."""
    columns = {
        "brazil_soy_production_yoy_pct": 100 * (_harvest("production_kt", 0) / _harvest("production_kt", 1) - 1),
        "brazil_soy_area_yoy_pct": 100 * (_harvest("area_kha", 0) / _harvest("area_kha", 1) - 1),
        "brazil_soy_yield_vs_5y_pct": 100 * (_harvest("yield_t_per_ha", 0) / _mean_yield() - 1),
    }
    frame = over_history(inputs, _HARVEST, timedelta(days=6 * 366), columns, key=("harvest_year",))
    return finished(inputs, list(columns), [frame])


def _harvest(value: str, before: int) -> pl.Expr:
    """A value of the harvest so many years before the newest one."""
    year = pl.col("harvest_year")
    return pl.col(value).filter(year == year.max() - before).last()


def _mean_yield() -> pl.Expr:
    """Mean yield of the five harvests before the newest one; null where one is missing."""
    years = [_harvest("yield_t_per_ha", before) for before in range(1, 6)]
    return sum(years[1:], years[0]) * (1 / 5)


FAMILY = Family(
    name="brazil",
    version="v3",
    description="Brazil's soybean production, area and yield against earlier harvests",
    inputs=("brazil_soy_crop",),
    look_back=0,
    features=FEATURES,
    build=build,
    stands={"brazil": MAX_AGE},
)
