"""Biofuel: mandates as tonnes of oil, soybean oil turned into fuel, and the price of biodiesel over its oil.

A mandate is worth what it burns (DOMAIN section 7, rule 6): gallons of biomass-based diesel become tonnes of oil. It is
known from the day the agency published it, which lies up to two years from the start of the compliance year, on either
side: a year's volume can be unknown throughout that year, and the next year's can be known ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from zl_assets.core.features import trailing as over
from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.readings import (
    POUNDS_PER_TONNE,
    USD_PER_TONNE,
    RawSeries,
    at_decisions,
    by_source,
    closes,
    finished,
    over_history,
)
from zl_assets.core.point_in_time import as_of

MAX_AGE = timedelta(days=7)
MONTHLY_AGE = timedelta(days=150)
"""Monthly feedstock figures come about two months late: from the first of a month to the next but one release."""
MANDATE_AGE = timedelta(days=2 * 366)

POUNDS_PER_GALLON = 7.37
"""Pounds of soybean oil in a gallon of biodiesel (DOMAIN section 5, BOHO)."""
MT_PER_BILLION_GALLONS = POUNDS_PER_GALLON / POUNDS_PER_TONNE * 1000
"""Million tonnes of oil in a billion gallons of biomass-based diesel."""
RINS_PER_GALLON = 1.5
"""Credits of a gallon of biodiesel (40 CFR 80.1415): the other mandates are counted in credits."""

FEATURES: tuple[Feature, ...] = (
    Feature("rfs_oil_mt", "Mt", "Oil that this year's biodiesel mandate takes, where public", "biofuel", "composite"),
    Feature("rfs_oil_change_yoy_mt", "Mt", "This year's oil demand less last year's", "biofuel", "change"),
    Feature(
        "rfs_oil_change_next_mt", "Mt", "Next year's oil demand less this year's, where public", "biofuel", "change"
    ),
    Feature("rfs_total_change_yoy_pct", "%", "Total mandate against last year's", "biofuel", "change"),
    Feature(
        "rfs_biodiesel_share_of_advanced", "1", "Biodiesel's credits over the advanced mandate", "biofuel", "ratio"
    ),
    Feature("rfs_biodiesel_share_of_total", "1", "Biodiesel's credits over the total mandate", "biofuel", "ratio"),
    Feature("rfs_pending", "1", "1 where last year's mandate is public and this year's is not", "biofuel", "flag"),
    Feature(
        "soyoil_fuel_use_yoy_pct", "%", "Soybean oil used for fuel, 3 months against a year before", "biofuel", "change"
    ),
    Feature("soyoil_fuel_use_3m_pct", "%", "The same 3 months against the 3 before them", "biofuel", "change"),
    Feature("biodiesel_spread_z_63", "1", "Biodiesel less ZL, USD/t, against its last 63 sessions", "biofuel", "z"),
    Feature("biodiesel_spread_z_252", "1", "Biodiesel less ZL, USD/t, against 252 sessions", "biofuel", "z"),
    Feature("biodiesel_spread_change_21", "USD/t", "Change of biodiesel less ZL in 21 sessions", "biofuel", "change"),
)
_BIODIESEL = (RawSeries("biofuel", {"item": "biodiesel_BDOV_settle"}, MAX_AGE),)
_FUEL_USE = (RawSeries("biofuel", {"item": "soybean_oil_for_biofuel"}, MONTHLY_AGE),)


def build(inputs: Inputs) -> pl.DataFrame:
    """The family's columns; see `FEATURES`."""
    tonne = pl.col("zl") * USD_PER_TONNE
    spread = pl.col("spread")
    shared = {"spread": pl.col("biodiesel") - tonne}
    of_spread = {
        "biodiesel_spread_z_63": over.z_score(spread, 63),
        "biodiesel_spread_z_252": over.z_score(spread, 252),
        "biodiesel_spread_change_21": over.change(spread, 21),
    }
    use = {
        "soyoil_fuel_use_yoy_pct": 100 * (_three_months(0) / _three_months(12) - 1),
        "soyoil_fuel_use_3m_pct": 100 * (_three_months(0) / _three_months(3) - 1),
    }
    frames = [
        _mandates(inputs),
        over_history(inputs, _FUEL_USE, timedelta(days=500), use),
        at_decisions(inputs, {"biodiesel": _BIODIESEL}, of_spread, [closes(inputs, "ZL", "zl")], shared),
    ]
    return finished(inputs, [feature.name for feature in FEATURES], frames)


def _three_months(back: int) -> pl.Expr:
    """Sum of three months that end so many months before the newest one; null where one is missing."""
    newest, month = pl.col("observed_date").last().dt.month_start(), pl.col("observed_date").dt.month_start()
    at = [pl.col("value").filter(month == newest.dt.offset_by(f"-{back + k}mo")).last() for k in range(3)]
    return at[0] + at[1] + at[2]


def _mandates(inputs: Inputs) -> pl.DataFrame:
    """Columns of the mandates from what was public of last year's, this year's and next year's."""
    item = {"advanced": "rfs_mandate_advanced", "biodiesel": "rfs_mandate_biodiesel", "total": "rfs_mandate_total"}
    read = [series for short, name in item.items() for series in _years(inputs, name, short)]
    years = pl.DataFrame(read)
    oil = {back: MT_PER_BILLION_GALLONS * pl.col(f"biodiesel:{back}") for back in (-1, 0, 1)}
    biodiesel = RINS_PER_GALLON * pl.col("biodiesel:0")
    missing, before = pl.col("biodiesel:0").is_null(), pl.col("biodiesel:-1").is_not_null()
    return years.select(
        rfs_oil_mt=oil[0],
        rfs_oil_change_yoy_mt=oil[0] - oil[-1],
        rfs_oil_change_next_mt=oil[1] - oil[0],
        rfs_total_change_yoy_pct=100 * (pl.col("total:0") / pl.col("total:-1") - 1),
        rfs_biodiesel_share_of_advanced=biodiesel / pl.col("advanced:0"),
        rfs_biodiesel_share_of_total=biodiesel / pl.col("total:0"),
        rfs_pending=pl.when(before | ~missing).then((missing & before).cast(pl.Float64)),
    )


def _years(inputs: Inputs, item: str, short: str) -> list[pl.Series]:
    """Billion gallons of the compliance years around a decision's, as public at the decision.

    Named `<short>:-1` for the year before, `<short>:0` and `<short>:1`.
    """
    series = RawSeries("biofuel", {"item": item}, MANDATE_AGE)
    year = pl.col("observed_date").dt.year().alias("year")
    dates = inputs.decisions.select("data_date", year=pl.col("data_date").dt.year())
    asked = pl.col("year").is_between(dates["year"][0] - 1, dates["year"][-1] + 1)
    found: dict[int, list[pl.Series]] = {ahead: [] for ahead in (-1, 0, 1)}
    for rows in by_source(inputs, series):
        gallons = rows.filter(pl.col("unit").str.contains("(?i)billion.?gal")).with_columns(year).filter(asked)
        seen = as_of(gallons, inputs.decisions, ["value"], max_age=MANDATE_AGE, by=["year"])
        for ahead, values in found.items():
            wanted = dates.with_columns(pl.col("year") + ahead)
            values.append(wanted.join(seen, on=["data_date", "year"], how="left", maintain_order="left")["value"])
    return [_first(values, dates.height).alias(f"{short}:{ahead}") for ahead, values in found.items()]


def _first(found: Sequence[pl.Series], height: int) -> pl.Series:
    nothing = pl.Series([None] * height, dtype=pl.Float64)
    return pl.select(pl.coalesce(*found, nothing)).to_series()


FAMILY = Family(
    name="biofuel",
    version="v2.5",
    description="Mandates in tonnes of oil as published, fuel use of soybean oil, biodiesel over its feedstock",
    inputs=("biofuel",),
    look_back=300,
    features=FEATURES,
    build=build,
    rules=(6,),
    stands={"rfs": MANDATE_AGE, "soyoil_fuel_use": MONTHLY_AGE},
)
