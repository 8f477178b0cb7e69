"""Seasonality against a plain search through the years."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from math import log
from statistics import mean, stdev

import polars as pl
import pytest

from zl_assets.core.exchange_calendar import sessions_of
from zl_assets.core.features.bar_windows import roll_adjusted
from zl_assets.core.features.family import build_family
from zl_assets.core.features.seasonality import FAMILY, PHASES, last_trade_days
from zl_assets_tests.core.features.made_markets import inputs_of, made_sessions
from zl_assets_tests.real_bars import real_zl

Closes = dict[date, float]


@cache
def sessions() -> pl.DataFrame:
    return made_sessions(["ZL"], date(2006, 6, 1), date(2020, 12, 31))


@cache
def built() -> pl.DataFrame:
    return build_family(FAMILY, inputs_of(sessions()))


def closes_of(frame: pl.DataFrame) -> Closes:
    return dict(roll_adjusted(frame).select("trade_date", "c").iter_rows())


def years_before(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)


def move(closes: list[float], start: int, end: int) -> float | None:
    return log(closes[end] / closes[start]) if 0 <= start < end < len(closes) else None


def same_dates(days: list[date], day: date) -> list[int]:
    """Index of the last session on or before the same date of each of ten past years, a week back at most."""
    found = []
    for years in range(1, 11):
        then = years_before(day, years)
        at = max((i for i, d in enumerate(days) if d <= then), default=None)
        if at is not None and then - days[at] <= timedelta(days=7):
            found.append(at)
    return found


def around(closes: Closes, day: date) -> dict[str, float | None]:
    days, prices = list(closes), list(closes.values())
    now, then = days.index(day), same_dates(days, day)
    out: dict[str, float | None] = {"season_years": float(sum(move(prices, i, i + 5) is not None for i in then))}
    for n in (5, 21, 63):
        after = [m for i in then if (m := move(prices, i, i + n)) is not None]
        enough = len(after) >= 5
        out[f"season_next_{n}d_mean"] = mean(after) if enough else None
        out[f"season_next_{n}d_hit_rate"] = mean(m > 0 for m in after) if enough else None
        before, last = [m for i in then if (m := move(prices, i - n, i)) is not None], move(prices, now - n, now)
        out[f"season_last_{n}d_z"] = (last - mean(before)) / stdev(before) if len(before) >= 5 and last else None
    spreads = [stdev(move(prices, j - 1, j) or 0.0 for j in range(i - 20, i + 1)) for i in then if i >= 21]
    today = stdev(move(prices, j - 1, j) or 0.0 for j in range(now - 20, now + 1))
    out["season_volatility_ratio"] = today / mean(spreads) if len(spreads) >= 5 else None
    return out


def periods(closes: Closes, day: date, name: str) -> dict[str, float | None]:
    def key(d: date) -> tuple[int, int]:
        return (d.year, d.month) if name == "month" else d.isocalendar()[:2]

    year, period = key(day)
    found: list[float] = []
    for past in range(year - 10, year):
        inside = [d for d in closes if key(d) == (past, period)]
        before = [d for d in closes if inside and d < inside[0]]
        if inside and before:
            found.append(log(closes[inside[-1]] / closes[before[-1]]))
    enough = len(found) >= 5
    return {
        f"{name}_years": float(len(found)),
        f"{name}_mean_return": mean(found) if enough else None,
        f"{name}_hit_rate": mean(f > 0 for f in found) if enough else None,
    }


def compare(frame: pl.DataFrame, rows: pl.DataFrame, step: int) -> None:
    closes = closes_of(frame)
    checked = rows.filter(pl.col("data_date").is_in(list(closes)))[30::step]
    assert checked.height >= 20
    for row in checked.iter_rows(named=True):
        day = row["data_date"]
        expected = around(closes, day) | periods(closes, day, "month") | periods(closes, day, "week")
        assert {k: row[k] for k in expected} == {
            k: v if v is None else pytest.approx(v, abs=1e-9) for k, v in expected.items()
        }, day


def test_statistics_are_those_of_a_search_on_a_made_market() -> None:
    compare(sessions(), built(), 97)


@pytest.mark.realdata
def test_statistics_are_those_of_a_search_on_zl(real_data) -> None:
    frame = real_zl(real_data).from_hourly.sessions
    compare(frame, build_family(FAMILY, inputs_of(frame)), 131)


def test_this_year_changes_no_statistic_of_past_years() -> None:
    """Whatever the current year does, its season is known from the years before."""
    first = date(2020, 1, 2)
    other = (
        pl.when(pl.col("trade_date") >= first).then(pl.col("close_roll_adjusted") * 2).otherwise("close_roll_adjusted")
    )
    changed = build_family(FAMILY, inputs_of(sessions().with_columns(close_roll_adjusted=other)))
    past = [f.name for f in FAMILY.features if "_z" not in f.name and "ratio" not in f.name]
    # Later on, what followed the date of last year reaches into this one.
    this_year = pl.col("data_date").is_between(first, date(2020, 9, 15))
    assert changed.filter(this_year).select(past).equals(built().filter(this_year).select(past))
    moved = ["season_last_21d_z", "season_volatility_ratio"]
    assert not changed.filter(this_year).select(moved).equals(built().filter(this_year).select(moved))


def test_a_leap_day_looks_at_the_28th() -> None:
    leap = built().filter(pl.col("data_date") == date(2016, 2, 29))
    assert leap["season_years"].item() >= 8
    assert leap["season_next_21d_mean"].item() == pytest.approx(
        around(closes_of(sessions()), date(2016, 2, 29))["season_next_21d_mean"], abs=1e-12
    )


def test_few_years_are_no_statistic() -> None:
    early = built().filter(pl.col("data_date") < date(2010, 6, 1))
    seasonal = [f.name for f in FAMILY.features if f.name.endswith(("_mean", "_hit_rate", "_z", "mean_return"))]
    assert len(seasonal) == 13
    assert early.select(pl.col(seasonal).null_count()).row(0) == (early.height,) * 13
    assert early["season_years"].max() < 5


def test_phases_are_days_of_the_year() -> None:
    for name, (first, last, _) in PHASES.items():
        on = built().filter(pl.col(name) == 1)["data_date"]
        assert {(d.month, d.day) for d in on} <= {
            (d.month, d.day)
            for i in range(366)
            if first <= ((d := date(2020, 1, 1) + timedelta(days=i)).month, d.day) <= last
        }
        assert built()[name].null_count() == 0
        off = built().filter(pl.col(name) == 0)["data_date"]
        assert all(not first <= (d.month, d.day) <= last for d in off)


@pytest.mark.parametrize(
    ("delivery", "day"),
    # The 14th; a 14th on a Sunday, so the Friday before; a 15th on a Monday.
    [((2024, 3), date(2024, 3, 14)), ((2024, 7), date(2024, 7, 12)), ((2025, 9), date(2025, 9, 12))],
)
def test_the_last_trade_is_on_the_business_day_before_the_15th(delivery: tuple[int, int], day: date) -> None:
    year, month = delivery
    inside = last_trade_days().filter(
        (pl.col("last_trade").dt.year() == year) & (pl.col("last_trade").dt.month() == month)
    )
    assert inside["last_trade"].to_list() == [day]


def test_days_to_the_last_trade_are_counted_to_the_next_one() -> None:
    grains = sessions_of("grains")
    ends = last_trade_days()["last_trade"].to_list()
    assert {d.month for d in ends} == {1, 3, 5, 7, 8, 9, 10, 12}
    for row in built()[::50].iter_rows(named=True):
        end = min(d for d in ends if d >= row["data_date"])
        assert row["days_to_last_trade"] == (end - row["data_date"]).days
        assert row["sessions_to_last_trade"] == sum(row["data_date"] < d <= end for d in grains)


def test_the_calendar_is_known_on_a_suspect_session_too() -> None:
    suspect = sessions().filter("is_suspect")["trade_date"].implode()
    rows = built().filter(pl.col("data_date").is_in(suspect))
    assert rows.height > 10
    assert rows["days_to_last_trade"].null_count() == 0
    assert rows["season_next_5d_mean"].null_count() == rows.height


def test_another_instruments_last_trade_is_not_made_up() -> None:
    index = build_family(FAMILY, inputs_of(made_sessions(["ES"], date(2018, 1, 2), date(2019, 6, 28)), "ES"))
    assert index["days_to_last_trade"].null_count() == index.height
