"""The full surface: its rule, its names, and what it amounts to on the real sessions."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from zl_assets.core.bars import daily_bars, sort_out
from zl_assets.core.features.family import Inputs, build_family
from zl_assets.core.features.full_surface import (
    STATES,
    TABLE,
    available_symbols,
    build_full,
    full_columns,
    full_family,
    usable_columns,
)
from zl_assets.core.features.indicators import with_indicators
from zl_assets.core.features.markets import label
from zl_assets.core.sessions import build_sessions
from zl_assets.sources.files import read_directory
from zl_assets_tests.core.features.made_markets import inputs_of, made_inputs
from zl_assets_tests.real_bars import NOW

SYMBOLS = ("ZL", "ZS", "CL", "6L")


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return made_inputs([*SYMBOLS, "MES"], date(2009, 11, 1), date(2012, 10, 31))


@pytest.fixture(scope="module")
def built(inputs: Inputs) -> pl.DataFrame:
    return build_full(inputs, SYMBOLS)


def test_names_follow_the_rule(built: pl.DataFrame) -> None:
    declared = {f.name: f for f in full_columns(SYMBOLS)}
    assert [*declared] == built.columns[2:]
    for name in (
        "cl__rsi_14",
        "zl__return_5d",
        "fx_6l__volatility_21d",
        "corr_90__zl__cl",
        "beta_252__zl__fx_6l",
        "zl__return_5d__x__vol_high",
        "cl__return_5d__x__vol_low",
        "zl__rsi_14__x__zs__rsi_14",
    ):
        assert name in declared
    assert declared["zl__rsi_14"].domain == "price"
    assert declared["cl__rsi_14"].domain == "energy"
    assert declared["corr_90__zl__fx_6l"].treatment == "correlation"


def test_the_number_of_columns_is_that_of_the_rule() -> None:
    markets, others = len(SYMBOLS), len(SYMBOLS) - 1
    assert len(full_columns(SYMBOLS)) == markets * len(TABLE) + others * 8 + others * 5 + (12 + others) * 3


def test_the_own_indicators_are_those_of_the_session(inputs: Inputs, built: pl.DataFrame) -> None:
    own = with_indicators(inputs.sessions.filter(pl.col("symbol") == "ZL"))
    joined = built.join(own, left_on="data_date", right_on="trade_date", how="left")
    for indicator in TABLE:
        ours, theirs = joined[f"zl__{indicator.name}"], joined[indicator.name]
        assert ours.is_null().equals(theirs.is_null()), indicator.name
        assert np.allclose(ours.drop_nulls(), theirs.drop_nulls(), rtol=1e-5, atol=1e-4), indicator.name


def test_a_market_is_shown_with_the_session_that_was_public(inputs: Inputs, built: pl.DataFrame) -> None:
    crude = inputs.sessions.filter((pl.col("symbol") == "CL") & ~pl.col("is_suspect")).to_dicts()
    decisions = inputs.decisions.to_dicts()
    for i in range(10, len(decisions), 23):
        seen = [s for s in crude if s["available_at"] <= decisions[i]["decision_time"]]
        change = seen[-1]["close_roll_adjusted"] / seen[-2]["close_roll_adjusted"] - 1
        assert built["cl__return_1d"][i] == pytest.approx(change, abs=1e-12)
        # Crude oil closes after the decision: the newest session is one of the days before.
        assert seen[-1]["trade_date"] < decisions[i]["data_date"]


def test_states_of_volatility_share_out_each_row(built: pl.DataFrame) -> None:
    rank = built["zl__volatility_percentile_252"]
    value = built["zl__return_5d"]
    parts = {state: built[f"zl__return_5d__x__{state}"] for state in STATES}
    whole = rank.is_not_null()
    total = sum((part.filter(whole) for part in parts.values()), start=value.filter(whole) * 0)
    assert total.equals(value.filter(whole))
    assert all(part.filter(~whole).null_count() == (~whole).sum() for part in parts.values())
    high = rank.filter(whole) > 2 / 3
    assert (parts["vol_high"].filter(whole).filter(~high) == 0).all()
    assert parts["vol_high"].filter(whole).filter(high).equals(value.filter(whole).filter(high))
    assert all(0 < (part.filter(whole) != 0).sum() < whole.sum() for part in parts.values())


def test_an_interaction_is_a_product(built: pl.DataFrame) -> None:
    product = built["zl__return_5d"] * built["cl__return_5d"]
    assert built["zl__return_5d__x__cl__return_5d"].equals(product)


def test_a_market_with_too_little_of_the_window_is_left_out(inputs: Inputs) -> None:
    start = date(2011, 8, 1)
    late = replace(
        inputs, sessions=inputs.sessions.filter((pl.col("symbol") != "ZS") | (pl.col("trade_date") >= start))
    )
    assert available_symbols(inputs) == ("ZL", "ZS", "CL", "MES", "6L")
    assert available_symbols(late) == ("ZL", "CL", "MES", "6L")
    assert build_full(late, since=5700).columns[2:] == [f.name for f in full_columns(("ZL", "CL", "MES", "6L"))]


def test_a_declared_market_without_a_session_is_null(inputs: Inputs, built: pl.DataFrame) -> None:
    without = replace(inputs, sessions=inputs.sessions.filter(pl.col("symbol") != "ZS"))
    frame = build_full(without, SYMBOLS)
    assert frame.columns == built.columns
    of_it = [c for c in frame.columns if "zs" in c]
    assert frame.select(pl.col(of_it).null_count()).row(0) == (frame.height,) * len(of_it)
    others = [c for c in frame.columns if c not in of_it]
    assert frame.select(others).equals(built.select(others))


def test_usable_columns_are_neither_constant_nor_mostly_null() -> None:
    frame = pl.DataFrame(
        {
            "name": ["a", "b", "c", "d"],
            "good": [1.0, None, 2.0, None],
            "constant": [1.0, 1.0, 1.0, None],
            "sparse": [1.0, None, None, None],
            "empty": pl.Series([None] * 4, dtype=pl.Float64),
            "whole": [1, 2, 3, 4],
        }
    )
    assert usable_columns(frame) == ["good", "whole"]
    assert usable_columns(frame.select("name")) == []
    assert usable_columns(frame.head(0)) == []


@pytest.fixture(scope="module")
def real(real_data) -> Inputs:
    """Every market from its daily bars, and soybean oil's decisions at the hour of its daily bars."""
    bars = daily_bars(sort_out(read_directory(real_data / "databento").bars, NOW).bars)
    return inputs_of(build_sessions(bars.clear(), bars).sessions)


@pytest.mark.realdata
def test_on_the_real_sessions_there_are_at_least_1948_usable_columns(real: Inputs) -> None:
    symbols = available_symbols(real)
    assert len(symbols) == 26
    assert not {"CPO", "MES"} & set(symbols)
    frame = build_full(real, symbols)
    assert frame.height == real.decisions.height
    assert len(usable_columns(frame)) >= 1948


@pytest.mark.realdata
def test_on_the_real_sessions_the_last_ones_alone_and_a_past_day_are_the_same(real: Inputs) -> None:
    family = full_family(available_symbols(real))
    frame = build_family(family, real)
    last = int(real.decisions["session_number"][-1])
    assert build_family(family, real, last).equals(frame.tail(1))
    row = 2_711
    at = real.decisions["decision_time"][row]
    known = Inputs(real.decisions.head(row + 1), real.sessions.filter(pl.col("available_at") <= at))
    assert build_family(family, known).equals(frame.head(row + 1))


def test_no_label_is_part_of_another() -> None:
    labels = [label(s) for s in SYMBOLS]
    assert not [(a, b) for a in labels for b in labels if a != b and a.startswith(b)]
