"""The golden zone against a zigzag walked close by close."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.features.golden_zone import WINDOW_SESSIONS, confirmed_swings, with_golden_zone
from zl_assets_tests.core.features.made_markets import made_sessions
from zl_assets_tests.real_bars import real_zl


def walked(closes: list[float]) -> tuple[float | None, float | None, bool | None]:
    """Last confirmed swing high and low of a window, and whether the high is the later one."""
    swings: list[tuple[str, float, int]] = []
    top = bottom = 0
    looking = "both"
    for i, close in enumerate(closes):
        if looking != "up" and close > closes[top]:
            top = i
        if looking != "down" and close < closes[bottom]:
            bottom = i
        if looking != "up" and close <= closes[top] * (1 - 0.06):
            swings.append(("high", closes[top], top))
            looking, bottom = "up", i
        elif looking != "down" and close >= closes[bottom] * (1 + 0.06):
            swings.append(("low", closes[bottom], bottom))
            looking, top = "down", i
    found = [s for s in swings if s[2] > 0]
    high = next((v for kind, v, _ in reversed(found) if kind == "high"), None)
    low = next((v for kind, v, _ in reversed(found) if kind == "low"), None)
    return high, low, swings[-1][0] == "high" if swings else None


def expected(sessions: list[dict], at: int) -> dict:
    """The fields of a session, by their definition."""
    today = sessions[at]
    volumes = [float(s["volume"]) for s in sessions]

    def decay(end: int) -> float:
        return float(np.polyfit(range(5), volumes[end - 4 : end + 1], 1)[0])

    out = dict.fromkeys(("state", "swing_high", "swing_low", "fib_50", "fib_618", "qualified_trigger"))
    out["vol_decay_slope"] = decay(at)
    high, low, up = walked([s["close"] for s in sessions[at - WINDOW_SESSIONS + 1 : at + 1]])
    if high is None or low is None:
        return out
    half, deep = ((high - f * (high - low)) if up else (low + f * (high - low)) for f in (0.5, 0.618))
    close, before = today["close"], sessions[at - 1]["close"]
    beyond = close < deep if up else close > deep
    inside = min(half, deep) <= close <= max(half, deep)
    busy = volumes[at] >= 1.5 * np.mean(volumes[at - 19 : at + 1])
    trigger = bool(before <= half < close and busy and decay(at - 1) < 0)
    return out | {
        "state": 2 if beyond else 1 if inside else 0,
        "swing_high": high,
        "swing_low": low,
        "fib_50": half,
        "fib_618": deep,
        "qualified_trigger": trigger,
    }


def compare(frame: pl.DataFrame) -> list[dict]:
    sound = frame.filter(~pl.col("is_suspect")).to_dicts()
    ours = with_golden_zone(frame)["golden_zone"].to_list()
    for at in range(WINDOW_SESSIONS, len(sound)):
        wanted = expected(sound, at)
        assert {k: ours[at][k] for k in wanted} == {
            k: v if v is None or isinstance(v, bool) else pytest.approx(v, rel=1e-9, abs=1e-6)
            for k, v in wanted.items()
        }, sound[at]["trade_date"]
    return ours


def test_fields_are_those_of_a_walk_on_a_made_market() -> None:
    ours = compare(made_sessions(["ZL"], date(2011, 1, 3), date(2014, 6, 30)))
    assert {0, 1, 2} <= {row["state"] for row in ours}


@pytest.mark.realdata
def test_fields_are_those_of_a_walk_on_zl(real_data) -> None:
    ours = compare(real_zl(real_data).from_hourly.sessions.tail(900))
    assert {0, 1, 2} <= {row["state"] for row in ours}


@given(st.lists(st.floats(-0.08, 0.08), min_size=2, max_size=60))
@settings(max_examples=200)
def test_all_windows_at_once_are_each_window_walked(moves: list[float]) -> None:
    closes = 40 * np.exp(np.cumsum(moves))
    width = max(2, len(closes) // 2)
    windows = np.lib.stride_tricks.sliding_window_view(closes, width)
    swings = confirmed_swings(windows)
    for i, window in enumerate(windows):
        high, low, up = walked(list(window))
        assert (None if np.isnan(swings.high[i]) else swings.high[i]) == high
        assert (None if np.isnan(swings.low[i]) else swings.low[i]) == low
        if up is not None:
            assert swings.up[i] == up


def market(closes: list[float], volumes: list[int] | None = None) -> pl.DataFrame:
    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(len(closes))]
    return pl.DataFrame({"trade_date": days, "close": closes, "volume": volumes or [1000] * len(closes)}).with_columns(
        symbol=pl.lit("ZL"), is_suspect=False
    )


def legs(*corners: float) -> list[float]:
    """Straight lines from corner to corner, 40 sessions each."""
    parts = [np.linspace(a, b, 41)[1:] for a, b in pairwise(corners)]
    return [float(corners[0]), *np.concatenate(parts).tolist()]


def fields(frame: pl.DataFrame) -> list[dict]:
    return with_golden_zone(frame)["golden_zone"].to_list()


def test_a_swing_exists_only_from_the_day_its_reversal_is_confirmed() -> None:
    closes = legs(50, 40, 60, 50, 55)
    rows = fields(market(closes))
    turned = next(i for i in range(121, len(closes)) if closes[i] >= 50 * 1.06)
    assert turned - 1 > WINDOW_SESSIONS
    # The low of 50 was made at session 120; until it is confirmed, the last one is 40.
    assert rows[turned - 1]["swing_low"] == pytest.approx(40)
    assert rows[turned]["swing_low"] == pytest.approx(50)


def test_the_edge_of_the_window_is_no_swing() -> None:
    falling = np.linspace(80, 40, WINDOW_SESSIONS).tolist()
    row = fields(market(falling))[-1]
    assert (row["swing_high"], row["swing_low"], row["state"], row["qualified_trigger"]) == (None, None, None, None)


def test_a_history_shorter_than_the_window_has_no_levels() -> None:
    rows = fields(market(legs(50, 40, 60, 50)))
    assert len(rows) < WINDOW_SESSIONS
    assert {row["state"] for row in rows} == {None}


def test_a_trigger_needs_the_close_the_volume_and_the_decay() -> None:
    closes = [*legs(50, 40, 60), *np.linspace(60, 48.5, 45)[1:].tolist(), 51.0]
    half = 50.0
    volumes = [1000] * (len(closes) - 6) + [1500, 1300, 1100, 900, 700, 3000]
    last = fields(market(closes, volumes))[-1]
    assert last["fib_50"] == pytest.approx(half)
    assert last["qualified_trigger"] is True
    quiet = [*volumes[:-1], 1000]
    growing = [1000] * (len(closes) - 6) + [700, 900, 1100, 1300, 1500, 3000]
    below = [*closes[:-1], 49.9]
    for changed in (market(closes, quiet), market(closes, growing), market(below, volumes)):
        assert fields(changed)[-1]["qualified_trigger"] is False
