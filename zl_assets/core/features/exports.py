"""Export sales of soybeans and soybean oil: China's buying and the world's, against the same weeks of past years.

Only tonnes count, and only against their season (DOMAIN section 7, rule 12): sales peak at harvest every year. What
officials say of purchases is not here, and reserve actions are in no stored table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import polars as pl

from zl_assets.core.features import trailing as over
from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.readings import RawSeries, finished, over_history

MAX_AGE = timedelta(days=19)
"""A week ends on a Thursday and is published on the next one, a Friday after a holiday."""

PAST_YEARS = 5
FEWEST_YEARS = 3
_SPAN = timedelta(days=PAST_YEARS * 365 + 120)
_SOLD: dict[str, tuple[str, str, str]] = {
    "china_soybean": ("soybeans", "CHINA", "soybeans to China"),
    "world_soybean": ("soybeans", "ALL", "soybeans"),
    "world_soyoil": ("soybean_oil", "ALL", "soybean oil"),
}
"""Prefix -> commodity, destination, what it is."""
_YEAR = 364
"""Days between weeks of the same season: whole weeks."""


def _features() -> Iterator[Feature]:
    def season(name: str, unit: str, description: str) -> Feature:
        return Feature(name, unit, description, "china", "season")

    for name, (_, _, what) in _SOLD.items():
        yield season(f"{name}_sales_4w_z", "1", f"Net sales of {what} in 4 weeks against past years")
        yield season(f"{name}_shipped_4w_z", "1", f"Shipments of {what} in 4 weeks against past years")
        yield season(f"{name}_unshipped_z", "1", f"Sold and unshipped {what} against past years")
    yield season("china_share_of_soybeans", "%", "China's part of unshipped soybeans less that of past years")


FEATURES = tuple(_features())


def build(inputs: Inputs) -> pl.DataFrame:
    """The family's columns; see `FEATURES`."""
    known = replace(inputs, series={"sales": _destinations(inputs.series["usda_export_sales"])})
    frames: list[pl.DataFrame] = []
    for name, (commodity, country, _) in _SOLD.items():
        columns = {
            f"{name}_sales_4w_z": _score(_weeks("net_sales_t", country, 4)),
            f"{name}_shipped_4w_z": _score(_weeks("exports_t", country, 4)),
            f"{name}_unshipped_z": _score(_weeks("outstanding_t", country, 1)),
        }
        frames.append(_history(known, commodity, columns))
    china, world = (_weeks("outstanding_t", country, 1) for country in ("CHINA", "ALL"))
    shares = [100 * one / all_of_it for one, all_of_it in zip(china, world, strict=True)]
    frames.append(_history(known, "soybeans", {"china_share_of_soybeans": shares[0] - _past(shares)[0]}))
    return finished(inputs, [feature.name for feature in FEATURES], frames)


def _destinations(table: pl.DataFrame) -> pl.DataFrame:
    """The rows of China and of the total, under one spelling each."""
    country = pl.col("country").str.to_uppercase()
    is_china = country.str.starts_with("CHINA") & ~country.str.contains("TAIWAN")
    named = pl.when(is_china).then(pl.lit("CHINA")).when(country == "ALL").then(pl.lit("ALL"))
    return table.with_columns(country=named).filter(pl.col("country").is_not_null())


def _history(inputs: Inputs, commodity: str, columns: dict[str, pl.Expr]) -> pl.DataFrame:
    values = {name: name for name in ("net_sales_t", "exports_t", "outstanding_t")}
    series = RawSeries("sales", {"commodity": commodity}, MAX_AGE, values)
    return over_history(inputs, (series,), _SPAN, columns, key=("country", "marketing_year"))


def _weeks(value: str, country: str, weeks: int) -> list[pl.Expr]:
    """Tonnes of some weeks up to the newest, and up to the same week of past years; marketing years are added up."""
    sums: list[pl.Expr] = []
    for year in range(PAST_YEARS + 1):
        # A week that is off by a day, as after a holiday, still falls into its own window.
        first = _YEAR * year - 3
        wanted = (pl.col("country") == country) & pl.col("days_back").is_between(first, first + 7 * weeks - 1)
        is_whole = pl.col("observed_date").filter(wanted).n_unique() == weeks
        sums.append(pl.when(is_whole).then(pl.col(value).filter(wanted).sum()))
    return sums


def _past(values: list[pl.Expr]) -> tuple[pl.Expr, pl.Expr]:
    """Mean and sample deviation of the past years; null where fewer than three are there."""
    years = values[1:]
    count = over.added(year.is_not_null().cast(pl.Float64) for year in years)
    mean = pl.when(count >= FEWEST_YEARS).then(over.added(years) / count)
    squares = over.added((year - mean) ** 2 for year in years)
    return mean, (squares / (count - 1)).sqrt()


def _score(values: list[pl.Expr]) -> pl.Expr:
    mean, deviation = _past(values)
    return (values[0] - mean) / deviation


FAMILY = Family(
    name="exports",
    version="v3",
    description="US export sales of soybeans and soybean oil against their season, China apart",
    inputs=("usda_export_sales",),
    look_back=0,
    features=FEATURES,
    build=build,
    rules=(12,),
    stands={"": MAX_AGE},
)
