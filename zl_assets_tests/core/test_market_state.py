"""The market around each forecast: as it was known at its decision."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest

from zl_assets.core.forecasts import MarketState
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.market_state import market_state
from zl_assets.core.models.regime_classifier import STATES
from zl_assets.core.models.regime_training import train_classifier
from zl_assets.warehouse.contracts import contract
from zl_assets_tests.core.features.made_markets import made_sessions
from zl_assets_tests.core.features.made_series import table
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

H = HORIZONS["1w"]
AT = time(13, 20)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(700, 5), H.sessions)


@pytest.fixture(scope="module")
def sessions(frame: pl.DataFrame) -> pl.DataFrame:
    """Sessions of ZL with the days and the numbers of the frame."""
    first, last = frame["data_date"][0], frame["data_date"][-1]
    made = made_sessions(["ZL"], first, last)
    numbers = frame.select(trade_date="data_date", number="session_number")
    rows = made.join(numbers, on="trade_date").with_columns(session_number=pl.col("number")).drop("number")
    return rows.select(c.name for c in contract("market_data.futures_sessions_1d").columns if c.name in rows.columns)


def vix(frame: pl.DataFrame) -> pl.DataFrame:
    """A VIX that counts the days, each public at 21:15 UTC of its day."""
    rows = [
        {
            "series_id": "VIX",
            "source": "cboe",
            "observed_date": day,
            "close": 10.0 + n / 100,
            "available_at": datetime(day.year, day.month, day.day, 21, 15, tzinfo=UTC),
        }
        for n, day in enumerate(frame["data_date"])
    ]
    return table("volatility_daily", rows)


def chances_of(frame: pl.DataFrame) -> pl.DataFrame:
    return train_classifier(frame, H).probabilities


def around(frame: pl.DataFrame, sessions: pl.DataFrame, rows: pl.DataFrame) -> MarketState:
    return market_state(chances_of(frame), frame, sessions, {"volatility_daily": rows}, AT)


def test_every_forecast_has_a_state_a_vix_and_a_volatility(frame: pl.DataFrame, sessions: pl.DataFrame) -> None:
    found = around(frame, sessions, vix(frame))
    assert found.states == STATES
    chances = chances_of(frame)
    assert found.rows.select(chances.columns).equals(chances)
    assert found.rows.columns == [*chances.columns, "vix", "annual_volatility"]


def test_the_vix_is_that_of_the_day_before(frame: pl.DataFrame, sessions: pl.DataFrame) -> None:
    """It closes after the decision, so that a session's own is not known yet."""
    found = around(frame, sessions, vix(frame)).rows.drop_nulls("vix")
    assert found.height > 300
    row_of = {number: n for n, number in enumerate(frame["session_number"])}
    for number, seen in found.select("session_number", "vix").iter_rows():
        assert seen == pytest.approx(10.0 + (row_of[number] - 1) / 100)


def test_a_vix_that_comes_later_changes_nothing(frame: pl.DataFrame, sessions: pl.DataFrame) -> None:
    rows = vix(frame)
    middle = frame["data_date"][-100]
    revised = rows.with_columns(
        close=pl.when(pl.col("observed_date") >= middle).then(80.0).otherwise("close"),
    )
    number = frame["session_number"][-100]
    until = pl.col("session_number") <= number
    before, after = around(frame, sessions, rows).rows, around(frame, sessions, revised).rows
    assert after.filter(until).equals(before.filter(until))
    assert not after.equals(before)


def test_without_a_vix_it_is_null(frame: pl.DataFrame, sessions: pl.DataFrame) -> None:
    found = around(frame, sessions, vix(frame).clear())
    assert found.rows["vix"].null_count() == found.rows.height


def test_volatility_by_hand(frame: pl.DataFrame, sessions: pl.DataFrame) -> None:
    last = around(frame, sessions, vix(frame)).rows.row(-1, named=True)
    moves = np.log1p(frame["return_1d"].tail(30).to_numpy())
    assert last["annual_volatility"] == pytest.approx(moves.std(ddof=1) * 252**0.5)


def test_the_day_before_a_holiday_counts_until_it_is_old(frame: pl.DataFrame, sessions: pl.DataFrame) -> None:
    day = frame["data_date"][-60]
    old = vix(frame).filter(pl.col("observed_date") < day)
    rows = around(frame, sessions, old).rows.join(frame.select("session_number", "data_date"), on="session_number")
    assert rows.filter(pl.col("data_date") == day)["vix"].item() is not None
    assert rows.filter(pl.col("data_date") > day + timedelta(days=10))["vix"].null_count() > 40
