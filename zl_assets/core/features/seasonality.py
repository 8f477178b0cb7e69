"""Seasonality: what past years did around this date, and where the year stands.

Statistics are of the ten years before, one value a year, and null with fewer than five; the current year is only ever
compared with them. A past year's value is found at its last sound session on or before the same date, at most a week
back. Returns are logarithmic and without roll gaps. What followed a date in a past year had happened long before the
session: the longest look ahead from a year ago ends three months after it.

Crop phases are the usual dates of USDA NASS (Field Crops: Usual Planting and Harvesting Dates) for the Midwest and of
CONAB's calendar for Brazil's Centre-West and South, as fixed days of the year: they say what is at stake, not how far
the fields are. A calendar is published ahead, so days to come may be counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from math import pi
from operator import add

import polars as pl

from zl_assets.core.exchange_calendar import session_frame
from zl_assets.core.features.bar_windows import ratio, roll_adjusted
from zl_assets.core.features.family import Family, Feature, Inputs

PAST_YEARS = 10
MIN_YEARS = 5
LOOK_BACK = PAST_YEARS * 253 + 120
NEXT_SESSIONS = (5, 21, 63)
LAST_SESSIONS = (5, 21, 63)
TOLERANCE = "7d"

ZL_MONTHS = (1, 3, 5, 7, 8, 9, 10, 12)
"""Delivery months F H K N Q U V Z of soybean oil. The last trade is on the session before the 15th."""

PHASES: dict[str, tuple[tuple[int, int], tuple[int, int], str]] = {
    "us_planting": ((4, 15), (6, 15), "Soybeans are planted in the Midwest"),
    "us_growing": ((6, 16), (9, 10), "Midwest soybeans flower and fill pods"),
    "us_harvest": ((9, 11), (11, 15), "Soybeans are harvested in the Midwest"),
    "brazil_planting": ((9, 15), (12, 15), "Soybeans are planted in Brazil"),
    "brazil_harvest": ((1, 15), (5, 15), "Soybeans are harvested in Brazil"),
}
"""First and last day (month, day) of a phase of the crop, and what it is."""


def build(inputs: Inputs) -> pl.DataFrame:
    """The columns of FAMILY, one row per decision; on a suspect session the calendar's alone."""
    own = roll_adjusted(inputs.own_sessions()).with_row_index("row")
    statistics = [_around_the_date(own), _of_the_period(own, "month"), _of_the_period(own, "week")]
    prices = pl.concat([own.select(data_date="trade_date"), *statistics], how="horizontal")
    calendar = _calendar(inputs.decisions)
    return calendar.join(prices, on="data_date", how="left", maintain_order="left").select(
        "symbol", "data_date", *[f.name for f in FAMILY.features]
    )


def _around_the_date(own: pl.DataFrame) -> pl.DataFrame:
    """Statistics of what came before and after the same date in past years."""
    price = pl.col("c")
    values = own.select(
        **{f"next_{n}": (price.shift(-n) / price).log() for n in NEXT_SESSIONS},
        **{f"last_{n}": (price / price.shift(n)).log() for n in LAST_SESSIONS},
        volatility=(price / price.shift(1)).log().rolling_std(21),
    )
    dates = own.select("row", date="trade_date")
    columns: list[pl.DataFrame] = [values.select(pl.all().name.prefix("now_"))]
    for years in range(1, PAST_YEARS + 1):
        then = own.select(date=pl.col("trade_date").dt.offset_by(f"-{years}y"))
        row = then.join_asof(dates, on="date", tolerance=TOLERANCE, check_sortedness=False)["row"]
        columns.append(values.select(pl.all().gather(row).name.suffix(f"_{years}")))
    wide = _with_statistics(pl.concat(columns, how="horizontal"), values.columns)
    z = {
        f"season_last_{n}d_z": ratio(pl.col(f"now_last_{n}") - pl.col(f"last_{n}_mean"), pl.col(f"last_{n}_spread"))
        for n in LAST_SESSIONS
    }
    return wide.select(
        **{f"season_next_{n}d_mean": f"next_{n}_mean" for n in NEXT_SESSIONS},
        **{f"season_next_{n}d_hit_rate": f"next_{n}_hit_rate" for n in NEXT_SESSIONS},
        **z,
        season_volatility_ratio=ratio(pl.col("now_volatility"), pl.col("volatility_mean")),
        season_years="next_5_count",
    )


def _of_the_period(own: pl.DataFrame, period: str) -> pl.DataFrame:
    """Statistics of the same month, or ISO week, of past years, each as a whole."""
    date = pl.col("trade_date")
    keys = {
        "month": (date.dt.year().cast(pl.Int32) * 100 + date.dt.month()),
        "week": (date.dt.iso_year().cast(pl.Int32) * 100 + date.dt.week()),
    }
    dated = own.select("c", key=keys[period])
    # A period's return runs from the last close of the one before, so the window's first period has none.
    whole = dated.group_by("key", maintain_order=True).agg(pl.col("c").last())
    returns = whole.select("key", value=(pl.col("c") / pl.col("c").shift(1)).log())
    columns = [
        dated.select(key=pl.col("key") - 100 * years)
        .join(returns, on="key", how="left", maintain_order="left")
        .select(pl.col("value").alias(f"value_{years}"))
        for years in range(1, PAST_YEARS + 1)
    ]
    wide = _with_statistics(pl.concat(columns, how="horizontal"), ["value"])
    return wide.select(
        pl.col("value_mean").alias(f"{period}_mean_return"),
        pl.col("value_hit_rate").alias(f"{period}_hit_rate"),
        pl.col("value_count").alias(f"{period}_years"),
    )


def _with_statistics(frame: pl.DataFrame, values: Sequence[str]) -> pl.DataFrame:
    """Add count, mean, hit rate and spread of each value over past years, all but the count null for too few years."""
    years = {value: [f"{value}_{year}" for year in range(1, PAST_YEARS + 1)] for value in values}
    every = pl.col([column for columns in years.values() for column in columns])
    counts = _totals(frame, years, "count", [every.is_not_null().cast(pl.Float64)])
    means = _totals(frame, years, "mean", [every])
    hits = _totals(frame, years, "hit_rate", [(every > 0).cast(pl.Float64)])
    averaged = pl.concat([frame, counts, means, hits], how="horizontal").with_columns(
        _enough(value, name) for value in values for name in ("mean", "hit_rate")
    )
    squares = [(pl.col(columns) - pl.col(f"{value}_mean")).pow(2) for value, columns in years.items()]
    spread = pl.concat([averaged, _totals(averaged, years, "spread", squares)], how="horizontal")
    # Without a mean every square is missing, and a sum of nothing is zero: the spread is then no divisor.
    return spread.with_columns((pl.col(f"{v}_spread") / (pl.col(f"{v}_count") - 1)).sqrt() for v in values)


def _enough(value: str, name: str) -> pl.Expr:
    count = pl.col(f"{value}_count")
    return pl.when(count >= MIN_YEARS).then(pl.col(f"{value}_{name}") / count)


def _totals(
    frame: pl.DataFrame, years: Mapping[str, Sequence[str]], name: str, parts: Sequence[pl.Expr]
) -> pl.DataFrame:
    """Sum of each value's columns, as `parts` makes them of the frame's under the same names, where they have a value.

    The columns are added in their order: sum_horizontal adds in whatever order its threads end.
    """
    filled = frame.select(part.fill_null(0.0) for part in parts)
    return filled.select(reduce(add, map(pl.col, columns)).alias(f"{value}_{name}") for value, columns in years.items())


def _calendar(decisions: pl.DataFrame) -> pl.DataFrame:
    """Where the year stands: flags, days and angles."""
    date = pl.col("data_date")
    day = date.dt.month().cast(pl.Int32) * 100 + date.dt.day()
    angle = 2 * pi * (date.dt.ordinal_day() - 1) / 365.25
    known = decisions.select("symbol", "data_date", "session_number").with_columns(
        **{
            name: day.is_between(first[0] * 100 + first[1], last[0] * 100 + last[1]).cast(pl.Float64)
            for name, (first, last, _) in PHASES.items()
        },
        year_sin=angle.sin(),
        year_cos=angle.cos(),
        day_of_week=date.dt.weekday().cast(pl.Float64),
        month_of_year=date.dt.month().cast(pl.Float64),
    )
    last = last_trade_days()
    found = known.join_asof(
        last, left_on="data_date", right_on="last_trade", strategy="forward", check_sortedness=False
    )
    oil = pl.col("symbol") == "ZL"
    return found.with_columns(
        days_to_last_trade=pl.when(oil).then((pl.col("last_trade") - date).dt.total_days().cast(pl.Float64)),
        sessions_to_last_trade=pl.when(oil).then((pl.col("last_session") - pl.col("session_number")).cast(pl.Float64)),
    ).drop("session_number", "last_trade", "last_session")


def last_trade_days() -> pl.DataFrame:
    """Last trading days of soybean oil contracts: last_trade (Date, ascending) and last_session, its number."""
    date = pl.col("trade_date")
    before = session_frame("grains").filter(date.dt.month().is_in(list(ZL_MONTHS)) & (date.dt.day() < 15))
    months = before.group_by(date.dt.truncate("1mo").alias("delivery"), maintain_order=True).last()
    return months.select(last_trade="trade_date", last_session="session_number")


def _features() -> Iterable[Feature]:
    for n in NEXT_SESSIONS:
        what = f"what followed this date over {n} sessions in past years"
        yield Feature(f"season_next_{n}d_mean", "1", f"Mean log return of {what}", "calendar", "season")
        yield Feature(f"season_next_{n}d_hit_rate", "0 to 1", f"Share of rises in {what}", "calendar", "season")
    for n in LAST_SESSIONS:
        what = f"Log return over {n} sessions against the same date of past years"
        yield Feature(f"season_last_{n}d_z", "1", what, "calendar", "season")
    what = "21-session volatility over its mean at this date of past years"
    yield Feature("season_volatility_ratio", "1", what, "calendar", "season")
    yield Feature("season_years", "years", "Past years that have a session at this date", "calendar", "count")
    for period in ("month", "week"):
        what = f"this {period} of the year in past years"
        yield Feature(f"{period}_mean_return", "1", f"Mean log return of {what}", "calendar", "season")
        yield Feature(f"{period}_hit_rate", "0 to 1", f"Share of rises of {what}", "calendar", "season")
        yield Feature(f"{period}_years", "years", f"Past years that have {what.split(' in ')[0]}", "calendar", "count")
    for name, (_, _, description) in PHASES.items():
        yield Feature(name, "0 or 1", description, "calendar", "flag")
    yield Feature("year_sin", "1", "Sine of the day of the year", "calendar", "season")
    yield Feature("year_cos", "1", "Cosine of the day of the year", "calendar", "season")
    yield Feature("day_of_week", "1", "1 Monday to 5 Friday", "calendar", "count")
    yield Feature("month_of_year", "1", "Month of the year, 1 to 12", "calendar", "count")
    yield Feature("days_to_last_trade", "days", "Days to the next last trade of a contract month", "calendar", "count")
    yield Feature("sessions_to_last_trade", "sessions", "Sessions to that day", "calendar", "count")


FAMILY = Family(
    name="seasonality",
    version="v1.5",
    description="What past years did around this date, phases of the crop, and the calendar",
    inputs=(),
    look_back=LOOK_BACK,
    features=tuple(_features()),
    build=build,
)
