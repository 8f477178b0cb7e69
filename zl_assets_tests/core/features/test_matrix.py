"""The feature matrix, and what merging it changes."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from zl_assets.core.features import base
from zl_assets.core.features.matrix import build_matrix
from zl_assets.core.features.technical import with_technical
from zl_assets.core.regimes import regime_on
from zl_assets.core.sessions import build_sessions
from zl_assets.errors import RegimeError
from zl_assets.warehouse.base import MergeResult, Warehouse
from zl_assets.warehouse.contracts import contract
from zl_assets_tests.made_bars import accepted, calm_days
from zl_assets_tests.real_bars import MATRIX_SCHEMA, NOW, RealZl, real_zl

MATRIX = "features.daily_ml_matrix"
FLAT_FEATURES = tuple(f.name for f in base.FAMILY.features if "." not in f.name)


def sessions_of_bars(bars: pl.DataFrame) -> pl.DataFrame:
    return build_sessions(bars.clear(), bars.with_columns(built_from=pl.lit("1d"))).sessions


def made_sessions(first: date = date(2017, 12, 1), count: int = 90, **values: object) -> pl.DataFrame:
    return sessions_of_bars(accepted(calm_days(first, count, **values)))


def stamped(sessions: pl.DataFrame, now: datetime = NOW) -> pl.DataFrame:
    return build_matrix(sessions, MATRIX_SCHEMA, now)


def test_one_row_per_session_of_the_wanted_symbols_in_the_tables_own_shape() -> None:
    both = pl.concat([made_sessions(vendor_symbol="ZS.v.0"), made_sessions()])
    rows = stamped(both)
    assert rows.equals(contract(MATRIX).validated(rows))
    assert rows["symbol"].unique().to_list() == ["ZL"]
    assert (
        rows.select("data_date", "session_number").rows()
        == made_sessions().select("trade_date", "session_number").rows()
    )
    assert build_matrix(both, MATRIX_SCHEMA, NOW, ["ZL", "ZS"])["symbol"].to_list() == ["ZL"] * 90 + ["ZS"] * 90


def test_the_order_of_the_sessions_does_not_matter() -> None:
    sessions = made_sessions()
    assert stamped(sessions.sample(fraction=1, shuffle=True, seed=5)).equals(stamped(sessions))


def test_a_row_holds_the_sessions_bar_its_features_and_its_regime() -> None:
    sessions = made_sessions()
    rows = stamped(sessions)
    bars = rows["market_data"].struct.unnest()
    assert bars.equals(sessions.select(bars.columns))
    expected = with_technical(sessions)
    assert_frame_equal(rows.select(FLAT_FEATURES), expected.select(FLAT_FEATURES), rel_tol=1e-12)
    regimes = rows["regime"].struct.unnest()
    assert regimes["name"].to_list() == [regime_on(d).name for d in rows["data_date"]]
    assert regimes["weight"].to_list() == [regime_on(d).weight for d in rows["data_date"]]
    assert set(regimes["name"]) == {"pre_trade_war", "trade_war"}


def test_a_family_without_its_input_is_null_as_a_whole() -> None:
    rows = stamped(made_sessions())
    assert rows.select(pl.col("policy", "vix_band").null_count()).row(0) == (90, 90)
    assert rows["pivots"].null_count() == 0


def test_suspect_sessions_stay_and_are_flagged() -> None:
    days = calm_days(date(2017, 12, 1), 90)
    days[50]["volume"] = 10
    assert stamped(sessions_of_bars(accepted(days)))["is_suspect"].arg_true().to_list() == [50]


def test_a_session_outside_every_regime_is_an_error() -> None:
    with pytest.raises(RegimeError, match="2009-12-28"):
        stamped(made_sessions(date(2009, 12, 28), 6))


@pytest.fixture(scope="module")
def zl(real_data) -> RealZl:
    return real_zl(real_data)


def stamps(warehouse: Warehouse) -> dict[date, datetime]:
    return dict(warehouse.read(f"SELECT data_date, ingestion_ts FROM {MATRIX}").iter_rows())


@pytest.mark.realdata
@pytest.mark.slow_on_bigquery
def test_a_slice_of_2015_first_and_the_full_history_after_it(warehouse: Warehouse, zl: RealZl) -> None:
    in_2015 = zl.daily.filter(pl.col("ts_event").dt.year() == 2015).head(100)
    first = stamped(sessions_of_bars(in_2015))
    assert warehouse.merge(MATRIX, first) == MergeResult(100, 0, 0)

    # Every row of the slice gets another value: at its start no window was whole.
    full = stamped(zl.from_daily.sessions, NOW + timedelta(days=1))
    assert warehouse.merge(MATRIX, full) == MergeResult(3_834 - 100, 100, 0)
    stored = warehouse.read(f"SELECT * FROM {MATRIX} ORDER BY data_date")
    assert stored.equals(contract(MATRIX).validated(full))


@pytest.mark.realdata
@pytest.mark.slow_on_bigquery
def test_a_second_run_changes_nothing_and_a_changed_value_rewrites_no_earlier_row(
    warehouse: Warehouse, zl: RealZl
) -> None:
    sessions = zl.from_hourly.sessions
    warehouse.merge(MATRIX, stamped(sessions))
    before = stamps(warehouse)
    assert set(before.values()) == {NOW}

    later = NOW + timedelta(days=1)
    assert warehouse.merge(MATRIX, stamped(sessions, later)) == MergeResult(0, 0, 3_834)
    assert stamps(warehouse) == before

    corrected = pl.col("trade_date") == date(2020, 3, 18)
    changed = sessions.with_columns(high=pl.when(corrected).then(pl.col("high") + 0.01).otherwise("high"))
    result = warehouse.merge(MATRIX, stamped(changed, later))
    rewritten = {day for day, stamp in stamps(warehouse).items() if stamp == later}
    assert (result.inserted, result.updated) == (0, len(rewritten))
    # What was known before the corrected day is as it was; what looks back at it longest is a year.
    assert min(rewritten) == date(2020, 3, 18)
    assert max(rewritten) < date(2021, 12, 31)


@pytest.mark.realdata
@pytest.mark.slow_on_bigquery
def test_a_new_session_adds_one_row_and_leaves_the_others(warehouse: Warehouse, zl: RealZl) -> None:
    sessions = zl.from_daily.sessions
    warehouse.merge(MATRIX, stamped(sessions.head(3_833)))
    assert warehouse.merge(MATRIX, stamped(sessions, NOW + timedelta(days=1))) == MergeResult(1, 0, 3_833)


@pytest.mark.realdata
@pytest.mark.slow_on_bigquery
def test_the_first_complete_row_is_the_63rd_session(zl: RealZl) -> None:
    rows = stamped(zl.from_daily.sessions)
    assert rows.drop_nulls(list(FLAT_FEATURES)).height == 3_834 - 62
    assert rows[62:].select(pl.col(FLAT_FEATURES).null_count()).row(0) == (0,) * len(FLAT_FEATURES)
    assert rows["rsi_14"].drop_nulls().is_between(2, 100).all()
    assert 0.005 < rows["volatility_21d"].min() < rows["volatility_21d"].max() < 0.042
