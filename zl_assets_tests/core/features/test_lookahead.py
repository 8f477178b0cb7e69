"""Planted leaks of several kinds are caught by name; honest features are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.features.family import Family, Feature, Inputs, build_family
from zl_assets.core.features.lookahead import lookahead_columns, random_moments, without_future
from zl_assets.core.point_in_time import as_of, decision_times
from zl_assets.errors import InputError

START = date(2021, 1, 4)
SESSIONS = 260


def made(seed: int = 1) -> Inputs:
    """A made market of one session a day, and a weekly report about Tuesdays, public three days later."""
    rng = np.random.default_rng(seed)
    days = [START + timedelta(days=n) for n in range(SESSIONS)]
    closes = 40 * np.exp(np.cumsum(rng.normal(0, 0.012, SESSIONS)))
    sessions = pl.DataFrame(
        {
            "symbol": "ZL",
            "trade_date": days,
            "session_number": range(7_000, 7_000 + SESSIONS),
            "close": closes,
            "available_at": [datetime.combine(d, time(19, 20), UTC) for d in days],
        }
    )
    tuesdays = [d for d in days if d.weekday() == 1]
    report = pl.DataFrame(
        {
            "observed_date": tuesdays,
            "available_at": [
                datetime(d.year, d.month, d.day, 20, 30, tzinfo=UTC) + timedelta(days=3) for d in tuesdays
            ],
            "net": rng.normal(0, 1, len(tuesdays)),
        }
    )
    return Inputs(decision_times(sessions, time(13, 30)), sessions, {"positioning": report})


def keyed(given: Inputs, **columns: pl.Expr) -> pl.DataFrame:
    own = given.own_sessions()
    return own.select("symbol", pl.col("trade_date").alias("data_date"), **columns)


def seen(given: Inputs, max_age: int = 20) -> pl.DataFrame:
    report = given.series["positioning"]
    return as_of(report, given.decisions, ["net"], max_age=timedelta(days=max_age)).select("symbol", "data_date", "net")


def by_observed_date(given: Inputs) -> pl.DataFrame:
    """The mistake: a report counts from the day it is about."""
    report = given.series["positioning"].sort("observed_date")
    days = given.decisions.select("symbol", "data_date").sort("data_date")
    joined = days.join_asof(report, left_on="data_date", right_on="observed_date")
    return joined.select("symbol", "data_date", leak=pl.col("net"))


CLOSE = pl.col("close")
MOVE = CLOSE.pct_change()
AHEAD = CLOSE.shift(-5) / CLOSE - 1
LEAKS: dict[str, Callable[[Inputs], pl.DataFrame]] = {
    "shift": lambda i: keyed(i, leak=CLOSE.shift(-1)),
    "centred_mean": lambda i: keyed(i, leak=CLOSE.rolling_mean(11, center=True)),
    "full_sample_z": lambda i: keyed(i, leak=(CLOSE - CLOSE.mean()) / CLOSE.std()),
    "full_sample_range": lambda i: keyed(i, leak=(CLOSE - CLOSE.min()) / (CLOSE.max() - CLOSE.min())),
    "target_plus_noise": lambda i: keyed(i, leak=AHEAD + 0.01 * (1e6 * CLOSE).sin()),
    "filled_backward": lambda i: keyed(i, leak=pl.when(pl.col("session_number") % 9 == 0).then(CLOSE).backward_fill()),
    "rank_of_all": lambda i: keyed(i, leak=CLOSE.rank()),
    "by_observed_date": by_observed_date,
}


def honest(given: Inputs) -> pl.DataFrame:
    return keyed(
        given,
        move=MOVE,
        mean=CLOSE.rolling_mean(11),
        z=(CLOSE - CLOSE.rolling_mean(63)) / CLOSE.rolling_std(63),
        highest=CLOSE.cum_max(),
        up=MOVE > 0,
        bar=pl.struct(half=CLOSE / 2, month=pl.col("trade_date").dt.strftime("%B")),
    ).join(seen(given), on=["symbol", "data_date"], maintain_order="left")


@pytest.mark.parametrize("kind", LEAKS)
def test_a_leak_is_caught_by_name_and_its_honest_neighbours_are_not(kind: str) -> None:
    def build(given: Inputs) -> pl.DataFrame:
        return honest(given).join(LEAKS[kind](given), on=["symbol", "data_date"], maintain_order="left")

    inputs = made()
    found = lookahead_columns(build, inputs, random_moments(inputs, 8, seed=5))
    assert set(found["feature"]) == {"leak"}
    assert "available" in found["axis"].to_list()


def test_a_leak_is_shown_with_its_first_day_and_both_values() -> None:
    inputs = made()
    moment = START + timedelta(days=100)
    found = lookahead_columns(LEAKS["shift"], inputs, [moment])
    following = str(inputs.sessions["close"][101])
    assert found.select("moment", "data_date", "with_future", "without_future").unique().rows() == [
        (moment, moment, following, None)
    ]


def test_a_leak_inside_a_struct_is_named_by_its_path() -> None:
    def build(given: Inputs) -> pl.DataFrame:
        return keyed(given, bar=pl.struct(now=CLOSE, next=CLOSE.shift(-1), text=CLOSE.shift(-1).cast(pl.String)))

    found = lookahead_columns(build, made(), [START + timedelta(days=50)])
    assert set(found["feature"]) == {"bar.next", "bar.text"}


def test_a_report_read_on_the_day_it_is_about_shows_before_it_is_public_alone() -> None:
    tuesday = START + timedelta(days=1 + 7 * 20)
    caught = lookahead_columns(by_observed_date, made(), [tuesday])
    assert (caught["axis"].to_list(), caught["data_date"].to_list()) == (["available"], [tuesday])
    # The report of Tuesday is public on Friday after settlement: at Saturday's decision all is as it was.
    assert lookahead_columns(by_observed_date, made(), [tuesday + timedelta(days=4)]).is_empty()


def test_a_row_that_claims_to_be_public_before_its_day_shows_by_its_day_unless_its_release_is_ahead() -> None:
    inputs = made()
    early = inputs.series["positioning"].with_columns(pl.col("available_at") - timedelta(days=10))
    wrong = Inputs(inputs.decisions, inputs.sessions, {"positioning": early})
    moments = random_moments(wrong, 6, seed=1)
    assert lookahead_columns(seen, wrong, moments)["axis"].to_list() == ["observed"]

    def mandate(item: str) -> Inputs:
        return replace(inputs, series={"biofuel": early.with_columns(item=pl.lit(item))})

    def laid_down(given: Inputs) -> pl.DataFrame:
        return seen(replace(given, series={"positioning": given.series["biofuel"]}))

    assert lookahead_columns(laid_down, mandate("rfs_mandate_total"), moments).is_empty()
    assert set(lookahead_columns(laid_down, mandate("soyoil_fuel_use"), moments)["axis"]) == {"observed"}


def test_a_row_that_vanishes_without_the_future_is_a_difference() -> None:
    found = lookahead_columns(lambda i: keyed(i, a=CLOSE).slice(0, i.decisions.height - 1), made(), [START])
    assert set(found["feature"]) == {"a"}


def test_a_family_in_blocks_is_built_again_in_blocks() -> None:
    features = tuple(Feature(n, "1", "made", "price", "return") for n in ("move", "mean", "z", "up", "bar", "net"))

    def build(given: Inputs) -> pl.DataFrame:
        return honest(given).drop("highest")

    family = Family("made", "v0", "Made for the test", ("positioning",), 70, features, build)
    inputs = made()
    assert lookahead_columns(lambda i: build_family(family, i), inputs, random_moments(inputs, 4, seed=2)).is_empty()


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(-3, 3))
@settings(max_examples=20)
def test_a_shift_is_a_leak_exactly_where_it_is_negative(seed: int, window: int, shift: int) -> None:
    inputs = made(seed)

    def build(given: Inputs) -> pl.DataFrame:
        return keyed(given, a=CLOSE.rolling_mean(window).shift(shift))

    moment = START + timedelta(days=60 + seed % 150)
    assert lookahead_columns(build, inputs, [moment]).is_empty() == (shift >= 0)


def test_the_past_of_a_moment_holds_nothing_later() -> None:
    inputs, moment = made(), START + timedelta(days=120)
    for axis, column in (("observed", "observed_date"), ("available", "available_at")):
        past = without_future(inputs, moment, axis)
        limit = moment if axis == "observed" else past.decisions["decision_time"][-1]
        assert past.decisions["data_date"].to_list() == inputs.decisions["data_date"].head(121).to_list()
        assert past.sessions["trade_date"].max() == moment
        assert past.series["positioning"][column].max() <= limit
    with pytest.raises(InputError, match="no decision on this day"):
        without_future(inputs, START - timedelta(days=1), "observed")


def test_moments_are_distinct_days_of_decisions_and_repeatable() -> None:
    inputs = made()
    moments = random_moments(inputs, 30, seed=3)
    assert moments == random_moments(inputs, 30, seed=3) == sorted(set(moments))
    assert set(moments) <= set(inputs.decisions["data_date"])
    assert len(random_moments(inputs, 10_000, seed=3)) == SESSIONS
