"""Other markets as they were known: returns, pairs and ages against pandas and plain searches."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest

from zl_assets.core.features import correlations, cross_asset
from zl_assets.core.features.bar_windows import roll_adjusted
from zl_assets.core.features.markets import SESSION_MAX_AGE, as_known, label, moves, pairs
from zl_assets.core.instruments import INSTRUMENTS
from zl_assets_tests.core.features.made_markets import inputs_of, made_sessions

SYMBOLS = ("ZL", *dict.fromkeys((*cross_asset.RETURN_SYMBOLS, *correlations.SYMBOLS)))


@pytest.fixture(scope="module")
def sessions() -> pl.DataFrame:
    return made_sessions(SYMBOLS, date(2011, 1, 3), date(2013, 12, 31))


@pytest.fixture(scope="module")
def built(sessions: pl.DataFrame) -> pl.DataFrame:
    inputs = inputs_of(sessions)
    return pl.concat(
        [cross_asset.build(inputs), correlations.build(inputs).drop("symbol", "data_date")], how="horizontal"
    )


def newest(known: list[tuple[object, object, float]], decision: dict) -> float | None:
    """The value of the last row that was public and young enough: (trade date, available at, value), ascending."""
    seen = [(day, value) for day, at, value in known if at <= decision["decision_time"]]
    if not seen or decision["data_date"] - seen[-1][0] > SESSION_MAX_AGE:
        return None
    return None if np.isnan(seen[-1][1]) else seen[-1][1]


def assert_known(sessions: pl.DataFrame, column: pl.Series, series: pd.DataFrame) -> None:
    """A column holds, at each decision, the newest value of a series with columns trade_date, available_at, value."""
    rows = list(series[["trade_date", "available_at", "value"]].itertuples(index=False, name=None))
    rows = [(day.date() if hasattr(day, "date") else day, at.to_pydatetime(), float(value)) for day, at, value in rows]
    decisions = inputs_of(sessions).decisions.to_dicts()
    for i in range(0, len(decisions), 7):
        expected = newest(rows, decisions[i])
        assert column[i] == (None if expected is None else pytest.approx(expected, abs=1e-9)), decisions[i]["data_date"]


def common(sessions: pl.DataFrame, symbol: str) -> pd.DataFrame:
    """Sound sessions of ZL and another symbol side by side."""
    sound = roll_adjusted(sessions).to_pandas()
    mine, other = (sound[sound.symbol == s].set_index("trade_date")[["c", "available_at"]] for s in ("ZL", symbol))
    both = other.join(mine, how="inner", lsuffix="_other", rsuffix="_mine").sort_index().reset_index()
    both["available_at"] = both[["available_at_other", "available_at_mine"]].max(axis=1)
    return both.assign(other=both.c_other.pct_change(), mine=both.c_mine.pct_change())


@pytest.mark.parametrize("symbol", ["ZS", "CL", "GC", "6L"])
def test_returns_are_those_of_the_newest_session_that_was_public(
    sessions: pl.DataFrame, built: pl.DataFrame, symbol: str
) -> None:
    sound = roll_adjusted(sessions.filter(pl.col("symbol") == symbol)).to_pandas()
    for n in (1, 63):
        assert_known(sessions, built[f"{label(symbol)}_return_{n}d"], sound.assign(value=sound.c.pct_change(n)))


@pytest.mark.parametrize("symbol", ["ZS", "HO", "6L"])
def test_correlations_and_betas_run_over_common_sessions(
    sessions: pl.DataFrame, built: pl.DataFrame, symbol: str
) -> None:
    both = common(sessions, symbol)
    for n in (30, 252):
        assert_known(
            sessions, built[f"corr_{n}_{label(symbol)}"], both.assign(value=both.mine.rolling(n).corr(both.other))
        )
    for n in (60, 252):
        slope = both.mine.rolling(n).cov(both.other) / both.other.rolling(n).var()
        assert_known(sessions, built[f"beta_{n}_{label(symbol)}"], both.assign(value=slope))


@pytest.mark.parametrize("lag", [1, 5])
def test_lead_correlations_pair_a_return_with_earlier_ones(
    sessions: pl.DataFrame, built: pl.DataFrame, lag: int
) -> None:
    both = common(sessions, "CL")
    assert_known(
        sessions, built[f"lead_{lag}_cl"], both.assign(value=both.mine.rolling(252).corr(both.other.shift(lag)))
    )


def test_a_price_ratio_is_held_against_its_year(sessions: pl.DataFrame, built: pl.DataFrame) -> None:
    both = common(sessions, "ZC")
    log = np.log(both.c_other / both.c_mine)
    z = (log - log.rolling(252).mean()) / log.rolling(252).std()
    assert_known(sessions, built["zc_ratio_z_252"], both.assign(value=z))


def test_a_market_that_moves_with_it_is_correlated_on_the_same_session(sessions: pl.DataFrame) -> None:
    """Were pairs made of what each decision sees, a market known a day late would look unrelated."""
    copy = sessions.filter(pl.col("symbol") == "ZL").with_columns(
        symbol=pl.lit("HO"), available_at=pl.col("available_at").dt.offset_by("3h")
    )
    frame = pl.concat([copy, sessions.filter(pl.col("symbol") == "ZL")])
    known = correlations.build(inputs_of(frame))
    assert known["corr_90_ho"].drop_nulls().to_list() == pytest.approx([1.0] * known["corr_90_ho"].drop_nulls().len())
    assert known["corr_90_ho"].drop_nulls().len() > 500


def test_a_pair_with_itself_has_no_row(sessions: pl.DataFrame) -> None:
    assert set(pairs(sessions, "ZL", ["ZL", "ZS"])["symbol"]) == {"ZS"}


def test_a_market_that_stopped_trading_goes_missing(sessions: pl.DataFrame) -> None:
    last = date(2012, 6, 29)
    ended = sessions.filter((pl.col("symbol") != "GC") | (pl.col("trade_date") <= last))
    inputs = inputs_of(ended)
    seen = as_known(moves(ended, ["GC"], [1]), inputs.decisions, {"GC": {"gc": "return_1d"}}, "ZL")
    after = seen.filter(pl.col("data_date") > last + SESSION_MAX_AGE)
    assert after["gc"].null_count() == after.height > 300
    assert seen.filter(pl.col("data_date").is_between(last, last + timedelta(days=3)))["gc"].null_count() == 0


def test_a_market_that_is_not_there_is_null(sessions: pl.DataFrame) -> None:
    inputs = inputs_of(sessions.filter(pl.col("symbol") == "ZL"))
    built = cross_asset.build(inputs)
    assert built.height == inputs.decisions.height
    assert built.select(pl.exclude("symbol", "data_date").null_count()).row(0) == (built.height,) * 62


def test_labels_are_column_names_and_tell_the_symbols_apart() -> None:
    labels = [label(s) for s in INSTRUMENTS]
    assert len(set(labels)) == len(labels)
    assert all(name.isidentifier() and name.islower() for name in labels)
