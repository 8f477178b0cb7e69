"""Pivots against a plain search through the sessions."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from zl_assets.core.features.family import build_family
from zl_assets.core.features.pivots import FAMILY, with_pivots
from zl_assets_tests.core.features.made_markets import inputs_of, made_sessions
from zl_assets_tests.real_bars import real_zl

Bar = dict[str, object]


def searched(bars: list[Bar], today: Bar) -> dict[str, object]:
    """The fields of one session, found by looking through the sound bars before it."""
    day, close = today["trade_date"], float(today["close"])
    before = max((b for b in bars if b["trade_date"] < day), key=lambda b: b["trade_date"])
    h, l, c = (float(before[k]) for k in ("high", "low", "close"))  # noqa: E741
    p = (h + l + c) / 3
    levels = {"P": p, "R1": 2 * p - l, "R2": p + (h - l), "S1": 2 * p - h, "S2": p - (h - l)}
    monday = day - timedelta(days=day.weekday() + 7)
    week = [b for b in bars if monday <= b["trade_date"] <= monday + timedelta(days=4)]
    weekly = None
    if week:
        top, bottom = max(float(b["high"]) for b in week), min(float(b["low"]) for b in week)
        weekly = close - (top + bottom + float(max(week, key=lambda b: b["trade_date"])["close"])) / 3
    return levels | {
        "distance_to_P": close - p,
        "distance_to_nearest_pivot": min(abs(close - level) for level in levels.values()),
        "weekly_pivot_distance": weekly,
        "price_above_P": close - p > 1e-9,
    }


def compare(sessions: pl.DataFrame, first: int = 10) -> None:
    built = build_family(FAMILY, inputs_of(sessions))
    sound = sessions.filter(~pl.col("is_suspect")).to_dicts()
    ours = {row["data_date"]: row["pivots"] for row in built.iter_rows(named=True)}
    for today in sound[first:]:
        got, expected = ours[today["trade_date"]], searched(sound, today)
        assert got == {
            k: v if v is None or isinstance(v, bool) else pytest.approx(v, abs=1e-9) for k, v in expected.items()
        }


def test_pivots_are_those_of_a_search_on_a_made_market() -> None:
    compare(made_sessions(["ZL"], date(2011, 1, 3), date(2012, 6, 29)))


@pytest.mark.realdata
def test_pivots_are_those_of_a_search_on_zl(real_data) -> None:
    compare(real_zl(real_data).from_hourly.sessions.tail(700))


def week_of(rows: list[tuple[date, float]]) -> pl.DataFrame:
    frame = pl.DataFrame(
        {"trade_date": [d for d, _ in rows], "close": [c for _, c in rows]},
        schema={"trade_date": pl.Date, "close": pl.Float64},
    )
    return frame.with_columns(symbol=pl.lit("ZL"), high=pl.col("close") + 1, low=pl.col("close") - 1, is_suspect=False)


def weekly(frame: pl.DataFrame) -> list[float | None]:
    return with_pivots(frame)["pivots"].struct.field("weekly_pivot_distance").to_list()


def test_a_holiday_week_counts_with_the_sessions_it_had() -> None:
    # The week of Thanksgiving 2024 has no Thursday, the one before is whole.
    rows = [(date(2024, 11, d), 40.0 + d) for d in (25, 26, 27, 29)] + [(date(2024, 12, 2), 60.0)]
    # High 70 on the 29th, low 64 on the 25th, last close 69.
    assert weekly(week_of(rows)) == [None] * 4 + [pytest.approx(60 - (70 + 64 + 69) / 3)]


def test_a_monday_holiday_does_not_move_the_week() -> None:
    rows = [(date(2024, 5, 24), 40.0), (date(2024, 5, 28), 41.0), (date(2024, 5, 31), 42.0), (date(2024, 6, 3), 43.0)]
    assert weekly(week_of(rows)) == [
        None,
        pytest.approx(1.0),
        pytest.approx(2.0),
        pytest.approx(43 - (43 + 40 + 42) / 3),
    ]


def test_a_week_without_a_session_gives_no_level() -> None:
    rows = [(date(2024, 5, 24), 40.0), (date(2024, 6, 3), 43.0)]
    assert weekly(week_of(rows)) == [None, None]


def test_a_week_that_is_not_over_is_not_the_week_before() -> None:
    friday = weekly(week_of([(date(2024, 5, d), float(d)) for d in (20, 21, 22, 23, 24)]))
    assert friday == [None] * 5
