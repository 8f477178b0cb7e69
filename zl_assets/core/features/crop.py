"""The soybean crop of the United States: planting, condition and harvest against the same week of past years."""

from __future__ import annotations

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

_STATISTICS: dict[str, tuple[str, str]] = {
    "soybeans_planted": ("crop_planting_delay", "Soybeans planted in past years less this year's, same week"),
    "soybeans_harvested": ("crop_harvest_delay", "Soybeans harvested in past years less this year's, same week"),
    "soybeans_good_excellent": ("crop_condition_gap", "Soybeans good and excellent in past years less this year's"),
}
"""Statistic of usda_crop_progress -> column and what it says; positive is worse for the crop."""

FEATURES: tuple[Feature, ...] = (
    *[Feature(name, "% points", what, "crop", "season") for name, what in _STATISTICS.values()],
    Feature("crop_condition_change_4w", "% points", "Soybeans good and excellent, change in 4 weeks", "crop", "change"),
)


def build(inputs: Inputs) -> pl.DataFrame:
    """The family's columns; see `FEATURES`."""
    frames = [_against_past(inputs, statistic, name) for statistic, (name, _) in _STATISTICS.items()]
    value = pl.col("value")
    before = value.filter(pl.col("days_back").is_between(25, 31)).last()
    condition = {"crop_condition_change_4w": value.last() - before}
    frames.append(over_history(inputs, _national("soybeans_good_excellent"), timedelta(days=60), condition))
    return finished(inputs, [feature.name for feature in FEATURES], frames)


def _national(statistic: str) -> tuple[RawSeries, ...]:
    where = {"state": "US TOTAL", "statistic": statistic}
    return (RawSeries("usda_crop_progress", where, WEEKLY_AGE, {"value": "value_pct"}),)


def _against_past(inputs: Inputs, statistic: str, name: str) -> pl.DataFrame:
    """Mean of the same week of past years less the newest value."""
    value, back = pl.col("value"), pl.col("days_back")
    years = [
        value.filter(back.is_between(_YEAR * year - 3, _YEAR * year + 3)).last() for year in range(1, PAST_YEARS + 1)
    ]
    count = over.added(year.is_not_null().cast(pl.Float64) for year in years)
    mean = pl.when(count >= FEWEST_YEARS).then(over.added(years) / count)
    span = timedelta(days=_YEAR * PAST_YEARS + 4)
    return over_history(inputs, _national(statistic), span, {name: mean - value.last()})


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
