"""Crush and spreads: what a bushel yields, what oil is worth against beans, fuel and crude.

Units bite: ZL is in US cents per lb, ZS in US cents per bushel, ZM in USD per short ton, HO and RB in USD per gallon,
CL in USD per barrel. A bushel of 60 lb yields 11 lb of oil and 44 lb (0.022 short tons) of meal.

A spread holds closes of one session that all legs had, of the traded months as they were (raw: the legs roll on
different days), and becomes public with its last leg. With hourly bars the board crush of a decision is that of the
session itself; one with an energy leg, which closes at 16:00 Chicago time, is that of the session before.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from zl_assets.core.features.bar_windows import ratio
from zl_assets.core.features.family import Domain, Family, Feature, Inputs, Treatment
from zl_assets.core.features.indicators import LOOK_BACK
from zl_assets.core.features.markets import as_known, simultaneous

YEAR = 252
EMA_SESSIONS = 25
CHANGE_SESSIONS = 5

LB_PER_TONNE_CENTS = 22.0462
"""US cents per lb to USD per tonne."""
BUSHELS_PER_TONNE = 36.7437
"""Soybeans of 60 lb a bushel."""
BARRELS_PER_TONNE = 7.33
"""Crude oil of average density, as energy statistics convert it."""
GALLONS_PER_BARREL = 42
OIL_LB_PER_GALLON = 7.37
"""Soybean oil in a gallon of biodiesel, by the definition of the BOHO spread."""


def board_crush(zl: pl.Expr, zs: pl.Expr, zm: pl.Expr) -> pl.Expr:
    """Board crush, USD per bushel: products minus beans."""
    return 0.022 * zm + 0.11 * zl - zs / 100


def oil_share(zl: pl.Expr, zm: pl.Expr) -> pl.Expr:
    """Share of oil in the value of both products, 0 to 1."""
    return ratio(0.11 * zl, 0.11 * zl + 0.022 * zm)


def boho(zl: pl.Expr, ho: pl.Expr) -> pl.Expr:
    """Bean oil minus heating oil, USD per gallon."""
    return OIL_LB_PER_GALLON * zl / 100 - ho


def crack_321(cl: pl.Expr, rb: pl.Expr, ho: pl.Expr) -> pl.Expr:
    """3-2-1 crack spread, USD per barrel: two of gasoline and one of distillate from three of crude."""
    return (2 * GALLONS_PER_BARREL * rb + GALLONS_PER_BARREL * ho - 3 * cl) / 3


def zl_usd_per_tonne(zl: pl.Expr) -> pl.Expr:
    """Soybean oil in USD per tonne."""
    return zl * LB_PER_TONNE_CENTS


@dataclass(frozen=True)
class Spread:
    """A series made of closes of one session: its unit, what it is, its legs, and its value from their columns."""

    name: str
    unit: str
    description: str
    domain: Domain
    legs: tuple[str, ...]
    value: pl.Expr


_ZL, _ZS, _ZM, _CL, _HO, _RB = (pl.col(s) for s in ("ZL", "ZS", "ZM", "CL", "HO", "RB"))

SPREADS = (
    Spread(
        "board_crush", "USD per bushel", "Board crush margin", "crush", ("ZL", "ZS", "ZM"), board_crush(_ZL, _ZS, _ZM)
    ),
    Spread(
        "oil_share", "0 to 1", "Share of oil in the value of oil and meal", "crush", ("ZL", "ZM"), oil_share(_ZL, _ZM)
    ),
    Spread("boho", "USD per gallon", "Bean oil minus heating oil", "biofuel", ("ZL", "HO"), boho(_ZL, _HO)),
    Spread("crack_321", "USD per barrel", "3-2-1 crack spread", "energy", ("CL", "RB", "HO"), crack_321(_CL, _RB, _HO)),
    Spread(
        "zl_to_zs",
        "1",
        "Soybean oil over soybeans, both in USD per tonne",
        "crush",
        ("ZL", "ZS"),
        ratio(zl_usd_per_tonne(_ZL), BUSHELS_PER_TONNE * _ZS / 100),
    ),
    Spread(
        "zl_to_cl",
        "1",
        "Soybean oil over crude oil, both in USD per tonne",
        "biofuel",
        ("ZL", "CL"),
        ratio(zl_usd_per_tonne(_ZL), BARRELS_PER_TONNE * _CL),
    ),
)

CRUSH_ALERT = "board_crush_negative"


def build(inputs: Inputs) -> pl.DataFrame:
    """The columns of FAMILY, one row per decision."""
    frame = pl.concat(_series(inputs.sessions, spread) for spread in SPREADS)
    windows = {
        "ema_25": pl.col("value").ewm_mean(span=EMA_SESSIONS, adjust=False, min_samples=EMA_SESSIONS),
        "z_252": ratio(pl.col("value") - pl.col("value").rolling_mean(YEAR), pl.col("value").rolling_std(YEAR)),
        "percentile_252": pl.col("value").rolling_rank(YEAR, method="max") / YEAR,
        "change_5d": pl.col("value") - pl.col("value").shift(CHANGE_SESSIONS),
    }
    rolled = frame.with_columns(**{name: value.over("symbol") for name, value in windows.items()})
    wanted = {s.name: {f"{s.name}_{name}": name for name in windows} for s in SPREADS}
    known = as_known(rolled, inputs.decisions, wanted, own="")
    alert = (pl.col("board_crush_ema_25") < 0).cast(pl.Float64).alias(CRUSH_ALERT)
    return known.with_columns(alert).select("symbol", "data_date", *[f.name for f in FAMILY.features])


def _series(sessions: pl.DataFrame, spread: Spread) -> pl.DataFrame:
    rows = simultaneous(sessions, spread.legs)
    return rows.select(
        pl.lit(spread.name).alias("symbol"), "trade_date", "available_at", spread.value.alias("value")
    ).drop_nulls("value")


def _features() -> tuple[Feature, ...]:
    treatments: tuple[tuple[str, str | None, str, Treatment], ...] = (
        ("ema_25", None, "exponential mean of 25 sessions", "ema"),
        ("z_252", "1", "against 252 sessions, in standard deviations", "z"),
        ("percentile_252", "0 to 1", "rank within 252 sessions", "percentile"),
        ("change_5d", None, "change over 5 sessions", "change"),
    )
    columns = [
        Feature(f"{s.name}_{suffix}", unit or s.unit, f"{s.description}: {what}", s.domain, treatment)
        for s in SPREADS
        for suffix, unit, what, treatment in treatments
    ]
    alert = Feature(CRUSH_ALERT, "0 or 1", "The smoothed board crush is below zero", "crush", "flag")
    return (*columns, alert)


FAMILY = Family(
    name="crush",
    version="v1.5",
    description="Board crush, oil share, BOHO, crack and oil against beans and crude",
    inputs=(),
    look_back=LOOK_BACK,
    features=_features(),
    build=build,
    rules=(10,),
)
