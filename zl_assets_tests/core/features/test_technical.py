"""Technical features against TA-Lib and pandas."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.features.technical import with_technical
from zl_assets_tests.real_bars import real_zl

TECHNICAL = ["return_1d", "return_5d", "return_21d", "ma_5", "ma_21", "ma_63", "volatility_21d", "rsi_14"]
ALL = [*TECHNICAL, "vol_percentile", "k_vol"]


def features(closes: np.ndarray, symbol: str = "ZL") -> pl.DataFrame:
    frame = pl.DataFrame({"symbol": [symbol] * len(closes), "close": closes})
    return with_technical(frame.with_columns(trade_date=pl.int_range(pl.len())))


def oracle(closes: np.ndarray) -> pd.DataFrame:
    close = pd.Series(closes)
    returns = close.pct_change()
    volatility = returns.rolling(21).std()
    return pd.DataFrame(
        {
            **{f"return_{n}d": close.pct_change(n) for n in (1, 5, 21)},
            **{f"ma_{n}": close.rolling(n).mean() for n in (5, 21, 63)},
            "volatility_21d": volatility,
            "rsi_14": talib.RSI(closes, 14),
            "vol_percentile": volatility.rolling(252).rank(method="max", pct=True),
            "k_vol": (volatility / volatility.rolling(252).median()).clip(0.5, 2.5),
        }
    )


def assert_agrees(ours: pl.DataFrame, expected: pd.DataFrame, columns: list[str]) -> None:
    for column in columns:
        got = ours[column].fill_null(np.nan).to_numpy()
        np.testing.assert_allclose(got, expected[column].to_numpy(), rtol=1e-9, atol=1e-9, err_msg=column)


@pytest.mark.realdata
@pytest.mark.parametrize("column", ALL)
def test_on_zl_every_feature_is_that_of_another_library(real_data, column: str) -> None:
    closes = real_zl(real_data).from_hourly.sessions["close"].to_numpy()
    assert_agrees(features(closes), oracle(closes), [column])


moves = st.lists(st.floats(-0.2, 0.2).map(lambda x: x if abs(x) > 1e-4 else 1e-4), min_size=80, max_size=140)


@given(moves=moves, start=st.floats(0.5, 5000))
@settings(max_examples=40)
def test_on_any_series_every_feature_is_that_of_another_library(moves: list[float], start: float) -> None:
    closes = start * np.cumprod(1 + np.array(moves))
    ours = features(closes)
    assert_agrees(
        ours, oracle(closes / closes[0]), ["return_1d", "return_5d", "return_21d", "volatility_21d", "rsi_14"]
    )
    levels = oracle(closes)[["ma_5", "ma_21", "ma_63"]].div(closes, axis=0)
    relative = ours.select(pl.col("ma_5", "ma_21", "ma_63") / pl.col("close"))
    assert_agrees(relative, levels, ["ma_5", "ma_21", "ma_63"])


@pytest.mark.parametrize("seed", range(3))
def test_the_state_of_volatility_on_a_random_walk(seed: int) -> None:
    closes = 40 * np.cumprod(1 + np.random.default_rng(seed).normal(0, 0.015, 600))
    assert_agrees(features(closes), oracle(closes), ["vol_percentile", "k_vol"])


@given(moves=moves)
@settings(max_examples=30)
def test_features_stay_in_their_range(moves: list[float]) -> None:
    ours = features(40 * np.cumprod(1 + np.array(moves)))
    assert ours["rsi_14"].drop_nulls().is_between(-1e-9, 100 + 1e-9).all()
    assert ours["volatility_21d"].drop_nulls().is_between(0, 0.5).all()


@given(moves=moves, later=st.integers(1, 20))
@settings(max_examples=30)
def test_a_value_never_depends_on_later_sessions(moves: list[float], later: int) -> None:
    closes = 40 * np.cumprod(1 + np.array(moves))
    assert features(closes[:-later]).equals(features(closes).head(len(closes) - later))


def test_each_feature_starts_where_its_window_is_whole() -> None:
    ours = features(40 * np.cumprod(1 + np.random.default_rng(1).normal(0, 0.015, 400)))
    first = {c: ours[c].is_not_null().arg_max() for c in ALL}
    assert first == {
        "return_1d": 1,
        "return_5d": 5,
        "return_21d": 21,
        "ma_5": 4,
        "ma_21": 20,
        "ma_63": 62,
        "volatility_21d": 21,
        "rsi_14": 14,
        "vol_percentile": 272,
        "k_vol": 272,
    }
    assert {c: ours[c].null_count() for c in ALL} == first
    complete = ours.with_row_index("session", offset=1).drop_nulls(TECHNICAL)
    assert complete["session"][0] == 63


def test_a_history_shorter_than_a_window_has_no_value() -> None:
    ours = features(np.linspace(40, 41, 10))
    assert ours["ma_63"].null_count() == 10
    assert ours["rsi_14"].null_count() == 10


def test_two_symbols_in_one_frame_are_each_alone() -> None:
    rng = np.random.default_rng(3)
    frames = [
        pl.DataFrame({"symbol": s, "close": p * np.cumprod(1 + rng.normal(0, 0.02, 300))})
        for s, p in (("ZL", 40), ("ZS", 900))
    ]
    stacked = pl.concat(f.with_columns(trade_date=pl.int_range(pl.len())) for f in frames)
    together = with_technical(stacked)
    for frame in frames:
        alone = features(frame["close"].to_numpy(), frame["symbol"][0])
        assert together.filter(pl.col("symbol") == frame["symbol"][0]).select(ALL).equals(alone.select(ALL))


def test_a_price_that_never_moves_has_no_strength_either_way() -> None:
    ours = features(np.full(40, 40.0))
    assert ours["rsi_14"].null_count() == 40
    assert ours["return_1d"].drop_nulls().to_list() == [0.0] * 39


@pytest.mark.parametrize(("step", "strength"), [(0.1, 100.0), (-0.1, 0.0)])
def test_a_price_that_only_rises_or_only_falls_has_an_extreme_strength(step: float, strength: float) -> None:
    assert features(40 + step * np.arange(40))["rsi_14"].drop_nulls().to_list() == [strength] * 26
