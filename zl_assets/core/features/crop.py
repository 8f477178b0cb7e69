"""The soybean crop of the United States: planting, condition and harvest against the same week of past years."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import polars as pl

from zl_assets.core.features import trailing as over
from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.readings import RawSeries, finished, over_history

WEEKLY_AGE = timedelta(days=14)
"""A week ends on Sunday and is published the day after; in winter there is no report."""

PAST_YEARS = 5
FEWEST_YEARS = 3
_YEAR = 364
_SPAN = timedelta(days=_YEAR * PAST_YEARS + 4)

_DELAYS: dict[str, tuple[str, str]] = {
    "soybeans_planted": ("crop_planting_delay", "Soybeans planted in past years less this year's, same week"),
    "soybeans_harvested": ("crop_harvest_delay", "Soybeans harvested in past years less this year's, same week"),
}
"""Statistic of usda_crop_progress -> column and what it says; positive is late."""
_GOOD = ("soybeans_condition_good", "soybeans_condition_excellent")

FEATURES: tuple[Feature, ...] = (
    *[Feature(name, "% points", what, "crop", "season") for name, what in _DELAYS.values()],
    Feature("crop_condition_gap", "% points", "Soybeans good or excellent, past years less this", "crop", "season"),
    Feature("crop_condition_change_4w", "% points", "Soybeans good or excellent, change in 4 weeks", "crop", "change"),
)


def build(inputs: Inputs) -> pl.DataFrame:
    """The family's columns; see `FEATURES`."""
    frames = [
        over_history(inputs, _national({"statistic": statistic}), _SPAN, {name: _gap(_reported)})
        for statistic, (name, _) in _DELAYS.items()
    ]
    table = inputs.series["usda_crop_progress"]
    rated = replace(inputs, series={"usda_crop_progress": table.filter(pl.col("statistic").is_in(_GOOD))})
    condition = {
        "crop_condition_gap": _gap(_good_or_excellent),
        "crop_condition_change_4w": _good_or_excellent(0, 0) - _good_or_excellent(25, 31),
    }
    frames.append(over_history(rated, _national({}), _SPAN, condition, key=("statistic",)))
    return finished(inputs, [feature.name for feature in FEATURES], frames)


def _reported(first: int, last: int) -> pl.Expr:
    """The percentage reported so many days before the newest report."""
    return pl.col("value").filter(pl.col("days_back").is_between(first, last)).last()


def _good_or_excellent(first: int, last: int) -> pl.Expr:
    """The sum of both percentages; null where one is missing."""
    reported = pl.col("value").filter(pl.col("days_back").is_between(first, last))
    return pl.when(reported.count() == len(_GOOD)).then(reported.sum())


def _gap(percentage: Callable[[int, int], pl.Expr]) -> pl.Expr:
    """Mean of the same week of past years less the newest value."""
    years = [percentage(_YEAR * year - 3, _YEAR * year + 3) for year in range(1, PAST_YEARS + 1)]
    count = over.added(year.is_not_null().cast(pl.Float64) for year in years)
    mean = pl.when(count >= FEWEST_YEARS).then(over.added(years) / count)
    return mean - percentage(0, 0)


def _national(where: dict[str, str]) -> tuple[RawSeries, ...]:
    nation = {"state": "US TOTAL", **where}
    return (RawSeries("usda_crop_progress", nation, WEEKLY_AGE, {"value": "value_pct"}),)


FAMILY = Family(
    name="crop",
    version="v3",
    description="Soybean planting, condition and harvest in the United States against past years",
    inputs=("usda_crop_progress",),
    look_back=0,
    features=FEATURES,
    build=build,
    rules=(8,),
)
