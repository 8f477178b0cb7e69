"""The views against an oracle in pandas and NumPy, on the real history and where sessions are missing."""

from collections.abc import Callable
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.features.matrix import build_matrix
from zl_assets.core.forecasts import FORECAST_SCHEMA
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.regimes import V0
from zl_assets.core.sessions import build_sessions
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import view_sql
from zl_assets_tests.made_bars import accepted, calm_days, grain_sessions
from zl_assets_tests.real_bars import MATRIX_SCHEMA, NOW, real_zl
from zl_assets_tests.stores import Place, examples

MATRIX = "features.daily_ml_matrix"
EXACT = 1e-12
TEST_START = date(2023, 1, 1)


def with_views(place: Place) -> Warehouse:
    warehouse = place.with_tables().warehouse
    for horizon in HORIZONS:
        warehouse.create_view(view_sql("training.vw_flat", horizon))
        warehouse.create_view(view_sql("predictions.vw_zl_latest", horizon))
    return warehouse


@pytest.fixture(scope="module")
def warehouse(new_place: Callable[[], Place]) -> Warehouse:
    """One with every view, emptied by the tests themselves."""
    return with_views(new_place())


def view(warehouse: Warehouse, horizon: str) -> pl.DataFrame:
    return warehouse.read(f"SELECT * FROM training.vw_zl_{horizon}_flat ORDER BY data_date")


def windows(values: np.ndarray, size: int) -> np.ndarray:
    """Each row's window of the last values, NaN where it is not whole."""
    padded = np.concatenate([np.full(size - 1, np.nan), values])
    return np.lib.stride_tricks.sliding_window_view(padded, size)


def oracle(sessions: pd.DataFrame, ahead: int) -> pd.DataFrame:
    """The view's columns, each from its definition, over sessions that are missing a few numbers."""
    out = sessions[["trade_date", "session_number", "is_suspect", "close"]].copy()
    close = out["close"].to_numpy()
    for n in (1, 5, 21):
        out[f"return_{n}d"] = close / np.concatenate([np.full(n, np.nan), close[:-n]]) - 1
    for n in (5, 21, 63):
        out[f"ma_{n}"] = windows(close, n).mean(axis=1)
    volatility = windows(out["return_1d"].to_numpy(), 21).std(axis=1, ddof=1)
    out["volatility_21d"] = volatility
    out["rsi_14"] = talib.RSI(close, 14)
    year = windows(volatility, 252)
    whole = ~np.isnan(year).any(axis=1)
    out["vol_percentile"] = np.where(whole, (year <= volatility[:, None]).sum(axis=1) / 252, np.nan)
    median = np.array([np.median(w) for w in year])
    out["k_vol"] = np.clip(volatility / median, 0.5, 2.5)
    regime = [next(r for r in V0 if r.start <= d <= r.end) for d in out["trade_date"]]
    out["regime_name"], out["sample_weight"] = [r.name for r in regime], [r.weight for r in regime]

    # By session number in a dictionary: the neighbour of a missing session cannot be found by accident.
    row_of = {s: i for i, s in enumerate(out["session_number"])}
    later = [row_of.get(s + ahead) for s in out["session_number"]]
    out["target"] = [np.nan if j is None else close[j] / close[i] - 1 for i, j in enumerate(later)]
    out["target_date"] = [None if j is None else out["trade_date"][j] for j in later]
    suspect = out["is_suspect"].to_numpy()
    out["is_usable"] = [not suspect[i] and not (j is not None and suspect[j]) for i, j in enumerate(later)]
    split = []
    for day, outcome, usable, complete in zip(
        out["trade_date"], out["target_date"], out["is_usable"], out["ma_63"].notna(), strict=True
    ):
        if not usable or not complete:
            split.append("purged")
        elif day >= TEST_START:
            split.append("test")
        else:
            split.append("train" if outcome is not None and outcome < TEST_START else "purged")
    out["split"] = split
    return out


NUMBERS = ["close", "return_1d", "return_5d", "return_21d", "ma_5", "ma_21", "ma_63", "volatility_21d"]
NUMBERS += ["vol_percentile", "k_vol"]
EXACTLY = ["session_number", "is_suspect", "regime_name", "sample_weight", "target_date", "is_usable", "split"]


@pytest.fixture(scope="module")
def sessions(real_data) -> pl.DataFrame:
    return real_zl(real_data).from_hourly.sessions


@pytest.fixture(scope="module")
def real_warehouse(sessions: pl.DataFrame, new_place: Callable[[], Place]) -> Warehouse:
    store = with_views(new_place())
    store.merge(MATRIX, build_matrix(sessions, MATRIX_SCHEMA, NOW))
    return store


@pytest.mark.realdata
@pytest.mark.slow_on_bigquery
class TestRealHistory:
    @pytest.mark.parametrize("horizon", HORIZONS)
    def test_every_column_is_that_of_the_oracle(
        self, real_warehouse: Warehouse, sessions: pl.DataFrame, horizon: str
    ) -> None:
        got = view(real_warehouse, horizon)
        columns = ["trade_date", "session_number", "is_suspect", "close"]
        expected = oracle(pd.DataFrame(sessions.select(columns).to_dict(as_series=False)), HORIZONS[horizon].sessions)
        assert got["data_date"].to_list() == expected["trade_date"].to_list()
        for column in EXACTLY:
            assert got[column].to_list() == expected[column].to_list(), column
        for column in [*NUMBERS, f"target_{horizon}"]:
            wanted = expected["target" if column.startswith("target") else column].to_numpy(dtype=float)
            values = got[column].fill_null(np.nan).to_numpy()
            np.testing.assert_allclose(values, wanted, rtol=EXACT, atol=EXACT, err_msg=column)
        # TA-Lib and the matrix smooth in another order of operations: 100 points to 1e-12 relative.
        np.testing.assert_allclose(got["rsi_14"].fill_null(np.nan), expected["rsi_14"], rtol=EXACT * 10, atol=0)

    def test_the_horizons_have_enough_targets(self, real_warehouse: Warehouse) -> None:
        labelled = {h: view(real_warehouse, h)[f"target_{h}"].count() for h in HORIZONS}
        # One is lost for each session ahead of the last one, and one for each of the vendor's three outages.
        assert labelled == {h: 3_834 - s.sessions - 3 for h, s in HORIZONS.items()}


def made(missing: set[int], suspect: set[int], count: int, first: date = date(2014, 6, 2)) -> pl.DataFrame:
    """Calm daily sessions without some of them, and some of them thin."""
    days = calm_days(first, count)
    for n, row in enumerate(days):
        price = 40.0 + n
        row |= {"open": price, "high": price + 0.5, "low": price - 0.5, "close": price}
        if n in suspect:
            row |= {"volume": 3}
    bars = accepted([d for n, d in enumerate(days) if n not in missing])
    return build_sessions(bars.clear(), bars.with_columns(built_from=pl.lit("1d"))).sessions


def stored(warehouse: Warehouse, sessions: pl.DataFrame) -> pl.DataFrame:
    warehouse.delete(MATRIX, "TRUE", {})
    warehouse.merge(MATRIX, build_matrix(sessions, MATRIX_SCHEMA, NOW, symbols=("ZL", "ZS")))
    return sessions


def test_a_target_is_missing_exactly_where_the_session_of_its_outcome_is(warehouse: Warehouse, engine: str) -> None:
    @settings(max_examples=examples(engine, 10))
    @given(missing=st.sets(st.integers(0, 39), max_size=12))
    def check(missing: set[int]) -> None:
        assert_targets_of_known_outcomes(warehouse, missing)

    check()


def assert_targets_of_known_outcomes(warehouse: Warehouse, missing: set[int]) -> None:
    stored(warehouse, made(missing, set(), 40))
    days = grain_sessions(date(2014, 6, 2), 40)
    there = [n for n in range(40) if n not in missing]
    got = view(warehouse, "1w")
    assert got["data_date"].to_list() == [days[n] for n in there]
    known = {n: n + 5 for n in there if n + 5 in there}
    assert got["target_date"].to_list() == [days[known[n]] if n in known else None for n in there]
    expected = [(45.0 + n) / (40.0 + n) - 1 if n in known else None for n in there]
    assert got["target_1w"].to_list() == [None if e is None else pytest.approx(e, abs=EXACT) for e in expected]


def test_over_the_outage_of_june_2014_no_neighbour_stands_in(warehouse: Warehouse) -> None:
    days = grain_sessions(date(2014, 6, 2), 40)
    outage = days.index(date(2014, 6, 11))
    stored(warehouse, made({outage}, set(), 40))
    got = view(warehouse, "1w")
    five_before = pl.col("data_date") == days[outage - 5]
    assert got.filter(five_before).select("target_1w", "target_date").row(0) == (None, None)
    assert got.filter(five_before)["is_usable"].item()
    assert got.head(30)["target_1w"].null_count() == 1


def test_a_suspect_session_is_neither_learned_from_nor_an_outcome(warehouse: Warehouse) -> None:
    stored(warehouse, made(set(), {80}, 120))
    got = view(warehouse, "1w")
    assert got["is_usable"].not_().arg_true().to_list() == [75, 80]
    assert got[[75, 80]]["split"].to_list() == ["purged", "purged"]
    assert set(got[[74, 76, 79, 81]]["split"]) == {"train"}


def test_rows_before_the_63rd_session_are_purged(warehouse: Warehouse) -> None:
    stored(warehouse, made(set(), set(), 120))
    split = view(warehouse, "1w")["split"].to_list()
    assert split == ["purged"] * 62 + ["train"] * (120 - 62 - 5) + ["purged"] * 5


def test_no_train_rows_outcome_lies_in_the_test_period(warehouse: Warehouse) -> None:
    sessions = stored(warehouse, made(set(), set(), 150, date(2022, 7, 1)))
    first_test = sessions["trade_date"].search_sorted(TEST_START)
    for horizon, h in (("1w", 5), ("1m", 21)):
        split = view(warehouse, horizon)["split"].to_list()
        expected = ["purged"] * 62 + ["train"] * (first_test - h - 62) + ["purged"] * h + ["test"] * (150 - first_test)
        assert split == expected


def test_other_symbols_are_not_rows_of_the_view(warehouse: Warehouse) -> None:
    sessions = made(set(), set(), 30)
    stored(warehouse, pl.concat([sessions, sessions.with_columns(symbol=pl.lit("ZS"), close=pl.col("close") * 20)]))
    got = view(warehouse, "1w")
    assert got.height == 30
    assert got["symbol"].unique().to_list() == ["ZL"]
    assert got["target_1w"][0] == pytest.approx(45 / 40 - 1, abs=EXACT)


def forecast(as_of: date, horizon: str, *, model: str, champion: bool, version: str = "a", at: int = 0) -> dict:
    values = {n: 1.0 for n, t in FORECAST_SCHEMA.items() if t == pl.Float64()}
    return values | {
        "as_of_date": as_of,
        "data_as_of": as_of,
        "horizon": horizon,
        "target_date": as_of + timedelta(days=7),
        "model": model,
        "model_version": version,
        "run_id": "run",
        "surface": "prod",
        "state": "ok",
        "n_independent": 1,
        "is_champion": champion,
        "champion_reason": "why",
        "is_simulated": False,
        "created_at": NOW + timedelta(hours=at),
    }


def test_the_latest_view_is_the_newest_champion_of_its_horizon_alone(warehouse: Warehouse) -> None:
    warehouse.delete("predictions.zl_forecasts", "TRUE", {})
    older, newer = date(2025, 8, 28), date(2025, 8, 29)
    rows = [
        forecast(older, "1w", model="lightgbm", champion=True, at=9),
        forecast(newer, "1w", model="lightgbm", champion=False),
        forecast(newer, "1w", model="no_change", champion=True, version="v0"),
        forecast(newer, "1w", model="lightgbm", champion=True, version="b", at=1),
        forecast(newer + timedelta(days=3), "1m", model="no_change", champion=True),
    ]
    warehouse.merge("predictions.zl_forecasts", pl.DataFrame(rows, schema=FORECAST_SCHEMA))
    latest = warehouse.read("SELECT * FROM predictions.vw_zl_1w_latest")
    assert latest.select("as_of_date", "model", "model_version").rows() == [(newer, "lightgbm", "b")]
    assert warehouse.read("SELECT * FROM predictions.vw_zl_12m_latest").is_empty()
    assert isinstance(latest["created_at"].item(), datetime)
