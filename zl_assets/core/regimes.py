"""Market regimes: two named sets, the lookup of a date, and the calendar of the research set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal

from zl_assets.errors import RegimeError

if TYPE_CHECKING:
    import polars as pl

RegimeSet = Literal["v0", "research"]

ASSIGNED_ON = date(2025, 11, 15)
"""Both sets were named and limited in hindsight; no row before this day could know its regime."""

CALENDAR_START = date(1990, 1, 1)


@dataclass(frozen=True)
class Regime:
    """One regime of a set.

    Attributes:
        name: unique within its set.
        start: first day, inclusive.
        end: last day, inclusive.
        weight: relative training weight of its rows.
        description: what set the period apart.
        rationale: why it carries its weight.
        is_overlay: no calendar day belongs to it.
    """

    name: str
    start: date
    end: date
    weight: int
    description: str
    rationale: str
    is_overlay: bool = False


_OLD = "Old market structure: kept for rare states, at the lowest weight"

V0: tuple[Regime, ...] = (
    Regime("pre_trade_war", date(2010, 1, 1), date(2018, 2, 28), 100, "Before the US-China tariffs", "Baseline weight"),
    Regime(
        "trade_war", date(2018, 3, 1), date(2019, 12, 31), 300, "US-China tariffs on soybeans", "Policy moved prices"
    ),
    Regime(
        "covid_crash", date(2020, 1, 1), date(2020, 5, 31), 200, "Demand collapse of early 2020", "Short crisis sample"
    ),
    Regime("covid_recovery", date(2020, 6, 1), date(2020, 12, 31), 200, "Rebound of 2020", "Short recovery sample"),
    Regime(
        "inflation", date(2021, 1, 1), date(2022, 12, 31), 300, "Vegetable oil and energy inflation", "Record levels"
    ),
    Regime(
        "trump_anticipation",
        date(2023, 1, 1),
        date(2025, 1, 19),
        400,
        "Disinflation, biofuel growth, election",
        "Near past",
    ),
    Regime(
        "trump_term",
        date(2025, 1, 20),
        date(2029, 12, 31),
        600,
        "Tariff and biofuel policy of the second term",
        "Present",
    ),
)

RESEARCH: tuple[Regime, ...] = (
    Regime("historical_pre2000", date(1990, 1, 1), date(1999, 12, 31), 50, "The 1990s", _OLD),
    Regime("precrisis_2000_2007", date(2000, 1, 1), date(2007, 12, 31), 100, "Start of the biofuel era", _OLD),
    Regime(
        "financial_crisis_2008_2009",
        date(2008, 1, 1),
        date(2009, 12, 31),
        500,
        "Boom, bust and credit crisis",
        "Crisis sample",
    ),
    Regime(
        "qe_supercycle_2010_2014",
        date(2010, 1, 1),
        date(2013, 12, 31),
        300,
        "Commodity supercycle under QE",
        "High price sample",
    ),
    Regime(
        "commodity_crash_2014_2016",
        date(2014, 1, 1),
        date(2016, 12, 31),
        400,
        "Fall of energy and crops",
        "Falling market sample",
    ),
    Regime(
        "tradewar_2017_2019",
        date(2017, 1, 1),
        date(2019, 12, 31),
        1500,
        "US-China trade war",
        "Closest precedent of tariffs",
    ),
    Regime("covid_2020_2021", date(2020, 1, 1), date(2020, 12, 31), 800, "Pandemic year", "Crisis sample"),
    Regime(
        "inflation_2021_2023",
        date(2021, 1, 1),
        date(2022, 12, 31),
        1200,
        "Inflation and war in Ukraine",
        "Record levels",
    ),
    Regime("trump_2023_2025", date(2023, 1, 1), date(2029, 12, 31), 5000, "Run-up to and second Trump term", "Present"),
    Regime(
        "structural_events",
        date(1990, 1, 1),
        date(2029, 12, 31),
        2000,
        "Single structural events",
        "Overlay",
        is_overlay=True,
    ),
    Regime("allhistory", date(1990, 1, 1), date(2029, 12, 31), 1000, "The whole history", "Overlay", is_overlay=True),
)

SETS: dict[RegimeSet, tuple[Regime, ...]] = {"v0": V0, "research": RESEARCH}


def regime_on(day: date, regime_set: RegimeSet = "v0") -> Regime:
    """The regime a day belongs to.

    Raises:
        RegimeError: no regime of the set holds the day.
    """
    for regime in SETS[regime_set]:
        if not regime.is_overlay and regime.start <= day <= regime.end:
            return regime
    raise _outside(day, regime_set)


def with_regime(frame: pl.DataFrame, day: str, regime_set: RegimeSet = "v0") -> pl.DataFrame:
    """The frame with `regime_name` and `regime_weight` of a date column; order and rows stay.

    Raises:
        RegimeError: a day lies outside every regime.
    """
    import polars as pl

    spans = pl.DataFrame(
        [(r.start, r.end, r.name, r.weight) for r in SETS[regime_set] if not r.is_overlay],
        schema={"regime_start": pl.Date, "regime_end": pl.Date, "regime_name": pl.String, "regime_weight": pl.Int64},
        orient="row",
    ).sort("regime_start")
    joined = (
        frame.with_row_index("_row")
        .sort(day)
        .join_asof(spans, left_on=day, right_on="regime_start", strategy="backward")
        .sort("_row")
        .drop("_row", "regime_start")
    )
    outside = joined.filter(pl.col("regime_name").is_null() | (pl.col(day) > pl.col("regime_end")))
    if outside.height:
        raise _outside(outside[day].min(), regime_set)  # pyright: ignore[reportArgumentType]
    return joined.drop("regime_end")


def regime_weights(now: datetime) -> pl.DataFrame:
    """Both sets as rows of training.regime_weights."""
    import polars as pl

    rows = [
        (name, r.name, r.start, r.end, r.weight, r.is_overlay, r.description, r.rationale, ASSIGNED_ON, now)
        for name, regimes in SETS.items()
        for r in regimes
    ]
    names = (
        "regime_set regime start_date end_date weight is_overlay description research_rationale assigned_on created_at"
    )
    return pl.DataFrame(rows, schema=names.split(), orient="row")


def regime_calendar(today: date, now: datetime) -> pl.DataFrame:
    """Every day from 1990-01-01 to today as rows of training.regime_calendar."""
    import polars as pl

    days = pl.DataFrame({"calendar_date": pl.date_range(CALENDAR_START, today, "1d", eager=True)})
    research = with_regime(days, "calendar_date", "research")
    v0 = with_regime(days.filter(pl.col("calendar_date") >= V0[0].start), "calendar_date", "v0")
    return (
        research.rename({"regime_name": "regime", "regime_weight": "weight"})
        .join(v0, on="calendar_date", how="left", maintain_order="left")
        .rename({"regime_name": "regime_v0", "regime_weight": "weight_v0"})
        .with_columns(created_at=pl.lit(now))
    )


def _outside(day: date, regime_set: str) -> RegimeError:
    return RegimeError(
        f"{day} lies in no regime of the {regime_set} set",
        where="zl_assets/core/regimes.py",
        action="use data from 2010-01-01 to 2029-12-31, or add a regime",
    )
