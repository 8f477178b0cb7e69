"""The indicator table against TA-Lib and pandas."""

from __future__ import annotations

from datetime import date
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.features.bar_windows import roll_adjusted, slope
from zl_assets.core.features.indicators import (
    HOURLY_INDICATORS,
    INDICATORS,
    with_indicators,
)
from zl_assets_tests.benchmarks.pandas_indicators import pandas_indicators
from zl_assets_tests.benchmarks.talib_indicators import SETTLING, talib_indicators
from zl_assets_tests.core.features.made_markets import made_sessions
from zl_assets_tests.real_bars import real_zl

NAMES = [i.name for i in INDICATORS]
FORGOTTEN = 300


@cache
def sessions() -> pl.DataFrame:
    return made_sessions(["CL", "ZC", "ZL"], date(2010, 6, 7), date(2014, 12, 31))


@cache
def built() -> pl.DataFrame:
    return with_indicators(sessions())


def bars(frame: pl.DataFrame, symbol: str = "ZL") -> pd.DataFrame:
    return roll_adjusted(frame.filter(pl.col("symbol") == symbol)).to_pandas()


def agree(ours: pl.Series, theirs: pd.Series, start: int = 0) -> None:
    got, expected = ours.cast(pl.Float64).fill_null(np.nan).to_numpy()[start:], theirs.to_numpy(dtype=float)[start:]
    assert (np.isnan(got) == np.isnan(expected)).all(), ours.name
    values = expected[~np.isnan(expected)]
    near = 1e-8 * max(values.std(), 1e-3) if values.size else 0
    np.testing.assert_allclose(got, expected, rtol=1e-7, atol=near, err_msg=ours.name)


@pytest.mark.parametrize("symbol", ["CL", "ZC", "ZL"])
def test_every_indicator_is_that_of_pandas(symbol: str) -> None:
    ours, theirs = built().filter(pl.col("symbol") == symbol), pandas_indicators(bars(sessions(), symbol))
    assert sorted(theirs.columns) == sorted(NAMES)
    for name in NAMES:
        agree(ours[name], theirs[name])


@pytest.mark.parametrize("name", talib_indicators(bars(sessions())).columns)
def test_what_talib_has_is_the_same(name: str) -> None:
    theirs = talib_indicators(bars(sessions()))[name]
    ours = built().filter(pl.col("symbol") == "ZL")[name]
    agree(ours, theirs, FORGOTTEN if name in SETTLING or name == "stochastic_k_14" else 0)


@pytest.mark.realdata
def test_on_zl_every_indicator_is_that_of_pandas_and_talib(real_data) -> None:
    frame = real_zl(real_data).from_hourly.sessions
    ours, given_bars = with_indicators(frame), bars(frame)
    assert ours.height == frame.filter(~pl.col("is_suspect")).height
    for name, theirs in pandas_indicators(given_bars).items():
        agree(ours[str(name)], theirs)
    # TA-Lib takes equal typical prices apart by their rounding, and the real market trades in ticks.
    for name, theirs in talib_indicators(given_bars).drop(columns="mfi_14").items():
        agree(ours[str(name)], theirs, FORGOTTEN)


def test_symbols_do_not_touch_each_other() -> None:
    for symbol in ("CL", "ZC", "ZL"):
        alone = with_indicators(sessions().filter(pl.col("symbol") == symbol))
        assert alone.equals(built().filter(pl.col("symbol") == symbol))


def test_wanted_indicators_alone_are_the_same() -> None:
    wanted = ["rsi_14", "return_5d", "cci_20", "streak"]
    some = with_indicators(sessions(), wanted)
    assert some.equals(
        built().select("symbol", "trade_date", "session_number", "available_at", *[n for n in NAMES if n in wanted])
    )


def test_hourly_indicators_are_those_without_value_where_there_are_no_hours() -> None:
    corn = built().filter(pl.col("symbol") == "ZC")
    assert [n for n in NAMES if corn[n].null_count() == corn.height] == sorted(HOURLY_INDICATORS, key=NAMES.index)


def test_there_is_no_roll_gap_in_any_window() -> None:
    """The same market without rolls: its raw prices are the adjusted ones."""
    factor = pl.col("close_roll_adjusted") / pl.col("close")
    never = sessions().with_columns(pl.col("open", "high", "low", "close", "vwap") * factor)
    ours, theirs = with_indicators(never), built()
    for name in NAMES:
        assert np.allclose(ours[name].drop_nulls(), theirs[name].drop_nulls(), rtol=1e-9, atol=1e-9), name


def test_bounded_indicators_stay_in_their_bounds() -> None:
    for indicator in INDICATORS:
        low, to, high = indicator.unit.partition(" to ")
        if to:
            assert built()[indicator.name].drop_nulls().is_between(float(low) - 1e-9, float(high) + 1e-9).all() or (
                indicator.name == "bollinger_position_20"
            ), indicator


def test_a_price_at_or_below_zero_leaves_its_session_out() -> None:
    crude = sessions().filter(pl.col("symbol") == "CL")
    day = crude["trade_date"][700]
    negative = crude.with_columns(
        pl.when(pl.col("trade_date") == day).then(-37.63).otherwise(c).alias(c)
        for c in ("low", "close", "close_roll_adjusted")
    )
    assert with_indicators(negative).equals(with_indicators(crude.filter(pl.col("trade_date") != day)))


def test_a_price_that_never_moves_has_no_oscillator() -> None:
    still = (
        sessions()
        .filter(pl.col("symbol") == "ZL")
        .with_columns(pl.lit(40.0).alias(c) for c in ("open", "high", "low", "close", "vwap", "close_roll_adjusted"))
    )
    flat = with_indicators(still.with_columns(is_suspect=False))
    for name in ("rsi_14", "stochastic_k_14", "williams_r_14", "cci_20", "price_z_63", "close_position_1d", "skew_63"):
        assert flat[name].null_count() == flat.height, name
    assert flat["return_21d"].drop_nulls().to_list() == [0.0] * (flat.height - 21)


@given(values=st.lists(st.floats(-100, 100), min_size=5, max_size=30))
@settings(max_examples=50)
def test_a_slope_is_that_of_the_least_squares_line(values: list[float]) -> None:
    ours = pl.DataFrame({"x": values}).select(slope(pl.col("x"), 5))["x"].to_list()
    assert ours[:4] == [None] * 4
    for end in range(5, len(values) + 1):
        assert ours[end - 1] == pytest.approx(np.polyfit(range(5), values[end - 5 : end], 1)[0], abs=1e-9)
