"""Floor pivots of the session and of the week before, in prices as they were traded.

Levels are those of the raw bars of the previous sound session, so on a roll they are still in the old contract month.
The week before is the calendar week from Monday to Friday that ended last, with the sound sessions it had; a week
without one gives no level. On a suspect session every field is null.

Formulas: the classic floor trader's pivots, P = (H + L + C) / 3, R1 = 2P - L, S1 = 2P - H, R2 = P + (H - L),
S2 = P - (H - L).
"""

from __future__ import annotations

import polars as pl

from zl_assets.core.features.family import Family, Feature, Inputs

LOOK_BACK = 20
"""Sessions that always hold the whole week before, and the one before that."""

_LEVELS = ("P", "R1", "R2", "S1", "S2")


def with_pivots(sessions: pl.DataFrame) -> pl.DataFrame:
    """Add the pivots.

    Args:
        sessions: symbol, trade_date, high, low, close, is_suspect of one instrument, ascending.

    Returns:
        symbol, trade_date and the struct `pivots`, one row per sound session.
    """
    sound = sessions.filter(~pl.col("is_suspect")).with_columns(week=pl.col("trade_date").dt.truncate("1w"))
    weekly = sound.group_by("week", maintain_order=True).agg(
        weekly_P=_middle(pl.col("high").max(), pl.col("low").min(), pl.col("close").last())
    )
    weekly = weekly.with_columns(pl.col("week").dt.offset_by("7d"))
    high, low, close = (pl.col(name).shift(1) for name in ("high", "low", "close"))
    first = sound.join(weekly, on="week", how="left", maintain_order="left").with_columns(
        P=_middle(high, low, close), span=high - low, before_high=high, before_low=low
    )
    levels = first.with_columns(
        R1=2 * pl.col("P") - pl.col("before_low"),
        S1=2 * pl.col("P") - pl.col("before_high"),
        R2=pl.col("P") + pl.col("span"),
        S2=pl.col("P") - pl.col("span"),
    )
    price = pl.col("close")
    return levels.select(
        "symbol",
        "trade_date",
        pl.struct(
            *_LEVELS,
            distance_to_P=price - pl.col("P"),
            distance_to_nearest_pivot=pl.min_horizontal((price - pl.col(level)).abs() for level in _LEVELS),
            weekly_pivot_distance=price - pl.col("weekly_P"),
            # A close on the pivot is not above it, whatever a third rounds to.
            price_above_P=price - pl.col("P") > 1e-9 * price,
        ).alias("pivots"),
    )


def _middle(high: pl.Expr, low: pl.Expr, close: pl.Expr) -> pl.Expr:
    return (high + low + close) / 3


def build(inputs: Inputs) -> pl.DataFrame:
    """The columns of FAMILY, one row per sound session."""
    return with_pivots(inputs.own_sessions()).rename({"trade_date": "data_date"})


_PRICE = "unit of the price"

FAMILY = Family(
    name="pivots",
    version="v1",
    description="Floor pivots of the session before and of the week before",
    inputs=(),
    look_back=LOOK_BACK,
    features=(
        Feature("pivots.P", _PRICE, "Pivot (H+L+C)/3 of the previous session", "price", "level"),
        Feature("pivots.R1", _PRICE, "First resistance 2P-L", "price", "level"),
        Feature("pivots.R2", _PRICE, "Second resistance P+(H-L)", "price", "level"),
        Feature("pivots.S1", _PRICE, "First support 2P-H", "price", "level"),
        Feature("pivots.S2", _PRICE, "Second support P-(H-L)", "price", "level"),
        Feature("pivots.distance_to_P", _PRICE, "Close minus P", "price", "change"),
        Feature(
            "pivots.distance_to_nearest_pivot", _PRICE, "Smallest distance of the close to a level", "price", "change"
        ),
        Feature(
            "pivots.weekly_pivot_distance",
            _PRICE,
            "Close minus the pivot of the completed week before",
            "price",
            "change",
        ),
        Feature("pivots.price_above_P", "true or false", "Close above P", "price", "flag"),
    ),
    build=build,
    universal=True,
)
