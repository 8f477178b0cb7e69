"""Blocks: a row has the same bits however much history stands before it, and whatever comes after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest

from zl_assets.core.features.family import BLOCK_SESSIONS, Family, Feature, Inputs, build_family, needed_since
from zl_assets.core.point_in_time import as_of, decision_times

SESSIONS = 3 * BLOCK_SESSIONS + 100
FIRST = 5_000
WINDOW = 63


def inputs(count: int = SESSIONS, holes: tuple[int, ...] = ()) -> Inputs:
    """A made market of two symbols, sessions numbered from FIRST, one a day."""
    generator = np.random.default_rng(3)
    closes = {s: 100 * np.exp(np.cumsum(generator.normal(0, 0.01, SESSIONS))) for s in ("ES", "ZL")}
    rows = [
        {
            "symbol": symbol,
            "trade_date": date(2005, 1, 1) + timedelta(days=n),
            "session_number": FIRST + n,
            "close": float(close[n]),
            "available_at": datetime(2005, 1, 1, 18, tzinfo=UTC) + timedelta(days=n, hours=12 if symbol == "ES" else 0),
        }
        for symbol, close in closes.items()
        for n in range(count)
        if symbol == "ES" or n not in holes
    ]
    sessions = pl.DataFrame(rows)
    return Inputs(decision_times(sessions.filter(pl.col("symbol") == "ZL"), time(13, 30)), sessions)


def rolling(given: Inputs) -> pl.DataFrame:
    own = given.own_sessions().sort("trade_date")
    other = given.sessions.filter(pl.col("symbol") == "ES")
    seen = as_of(
        other.rename({"trade_date": "observed_date", "close": "es"}), given.decisions, ["es"], max_age=timedelta(days=5)
    )
    return own.select(
        "symbol",
        pl.col("trade_date").alias("data_date"),
        pl.col("close").rolling_std(WINDOW).alias("spread"),
        (pl.col("close") / pl.col("close").shift(5) - 1).alias("change"),
    ).join(
        seen.select("data_date", pl.col("es").rolling_mean(WINDOW).alias("mean")), on="data_date", maintain_order="left"
    )


def family(look_back: int = WINDOW + 10) -> Family:
    features = tuple(Feature(n, "1", "made", "price", "return") for n in ("spread", "change", "mean"))
    return Family("made", "v0", "Made for the test", (), look_back, features, rolling)


def test_blocks_hold_what_one_window_holds_up_to_rounding() -> None:
    given = inputs(holes=(700, 701, 1500))
    whole, blocks = rolling(given), build_family(family(), given)
    assert blocks.select("symbol", "data_date").equals(given.decisions.select("symbol", "data_date"))
    for name in ("spread", "change", "mean"):
        assert blocks[name].is_null().equals(whole[name].is_null()), name
        assert np.nanmax(np.abs((blocks[name] - whole[name]).to_numpy())) < 1e-10


def test_a_look_back_that_is_too_short_shows_as_a_hole() -> None:
    given = inputs()
    whole, blocks = rolling(given), build_family(family(look_back=20), given)
    assert blocks["spread"].null_count() > whole["spread"].null_count()


@pytest.mark.parametrize("count", [1, 70, BLOCK_SESSIONS - FIRST % BLOCK_SESSIONS, 900, SESSIONS - 1])
def test_a_row_has_the_same_bits_when_nothing_comes_after_it(count: int) -> None:
    assert build_family(family(), inputs(count)).equals(build_family(family(), inputs()).head(count))


@pytest.mark.parametrize("since", [FIRST - 50, FIRST, FIRST + 900, FIRST + SESSIONS - 1])
def test_the_last_sessions_alone_have_the_bits_of_a_full_build(since: int) -> None:
    full = build_family(family(), inputs())
    alone = build_family(family(), inputs(), since)
    assert alone.height == SESSIONS - max(0, since - FIRST)
    assert alone.equals(full.tail(alone.height))


def test_earlier_history_changes_no_bit() -> None:
    given = inputs()
    later = given.between(FIRST + 2 * BLOCK_SESSIONS - FIRST % BLOCK_SESSIONS - WINDOW - 10, FIRST + SESSIONS)
    full = build_family(family(), given)
    alone = build_family(family(), later)
    settled = alone.height - (WINDOW + 10)
    assert alone.tail(settled).equals(full.tail(settled))
    # Were the rolling windows summed from the first session, the last bits would tell where it was.
    assert not rolling(given).tail(settled).equals(rolling(later).tail(settled))


def test_the_bits_are_those_of_inputs_cut_to_what_is_needed() -> None:
    full, since = build_family(family(), inputs()), FIRST + SESSIONS - 30
    needed = needed_since([family(), family(look_back=5)], inputs(), since)
    assert needed.decisions["session_number"][0] == since // BLOCK_SESSIONS * BLOCK_SESSIONS - (WINDOW + 10)
    assert needed.sessions.height < inputs().sessions.height / 2
    assert build_family(family(), needed, since).equals(full.tail(30))


def read_counted(seen: list[int]) -> Callable[[Inputs], list[pl.DataFrame]]:
    """Reads every decision's number, and notes of how many decisions."""

    def read(given: Inputs) -> list[pl.DataFrame]:
        seen.append(given.decisions.height)
        return [given.decisions.select("session_number")]

    return read


def test_what_was_known_is_read_once_and_each_window_gets_its_rows() -> None:
    given, seen = inputs(holes=(700, 701)), list[int]()
    read = read_counted(seen)
    for first, last in ((FIRST, FIRST + 800), (FIRST + 690, FIRST + 720), (FIRST + 2000, FIRST + SESSIONS)):
        window = given.between(first, last).between(first + 5, last)
        [frame] = window.read_once("number", read)
        assert frame["session_number"].equals(window.decisions["session_number"])
    assert seen == [given.decisions.height]
    given.read_once("another", read)
    assert len(seen) == 2


def test_a_window_with_other_series_reads_for_itself() -> None:
    given, seen = inputs(), list[int]()
    read = read_counted(seen)
    window = given.between(FIRST, FIRST + 9)
    window.read_once("number", read)
    other = replace(window, series={"made": pl.DataFrame({"value": [1.0]})})
    other.read_once("number", read)
    assert seen == [SESSIONS, 10]
