"""The wide matrix: its columns, its checks, and the training table that is frozen from it."""

from datetime import date, time

import polars as pl
import pytest

from zl_assets.assets.full_surface import FULL_MATRIX, FULL_VIEW, full_view_name
from zl_assets.assets.training import table_name
from zl_assets.checks.full_surface import FULL_COLUMNS, evaluate_finite, evaluate_wide_enough
from zl_assets.checks.training import evaluate_frozen, evaluate_split
from zl_assets.core.features.audit import duplicated_columns, feature_columns
from zl_assets.core.features.full_surface import SURFACE_SYMBOLS
from zl_assets.core.features.matrix import build_matrix
from zl_assets.core.features.wide_matrix import build_wide_matrix
from zl_assets.warehouse.contracts import contract, full_contracts, view_sql
from zl_assets_tests.core.features.made_markets import made_sessions
from zl_assets_tests.real_bars import MATRIX_SCHEMA, NOW
from zl_assets_tests.stores import Place

AT = time(13, 30)
KEYS = {"data_date": [date(2010, 6, 7), date(2025, 8, 29)], "session_number": [0, 3834], "close": [1.0, 2.0]}


@pytest.fixture(scope="module")
def wide() -> pl.DataFrame:
    """Rows of a made market of all symbols, 2022 to 2023."""
    made = made_sessions(SURFACE_SYMBOLS, date(2021, 6, 1), date(2023, 8, 1))
    sessions = made.with_columns(source=pl.lit("databento"))
    matrix = build_matrix(sessions, MATRIX_SCHEMA, NOW, ["ZL"], at=AT)
    return build_wide_matrix(matrix, sessions, contract(FULL_MATRIX).polars_schema(), NOW, AT)


def test_the_rows_fit_the_contract_and_hold_both_surfaces(wide: pl.DataFrame) -> None:
    assert wide.equals(contract(FULL_MATRIX).validated(wide))
    assert wide.width > FULL_COLUMNS
    assert wide["data_date"].is_unique().all()
    late = wide.tail(50)
    for name in ("return_5d", "pivots_distance_to_P", "cl__rsi_14", "corr_90__zl__fx_6c", "fx_6l__return_10d"):
        assert late[name].null_count() == 0, name


def test_a_market_without_a_session_is_null_in_its_columns() -> None:
    made = made_sessions(["ZL", "CL"], date(2022, 1, 3), date(2023, 8, 1))
    sessions = made.with_columns(source=pl.lit("databento"))
    matrix = build_matrix(sessions, MATRIX_SCHEMA, NOW, ["ZL"], at=AT)
    rows = build_wide_matrix(matrix, sessions, contract(FULL_MATRIX).polars_schema(), NOW, AT)
    assert rows["gc__rsi_14"].null_count() == rows.height
    assert rows["cl__rsi_14"].tail(50).null_count() == 0


def test_too_few_usable_columns_fail_on_the_full_history_alone() -> None:
    rows = pl.DataFrame({**KEYS, "sample_weight": [1, 1], "varies": [1.0, 2.0], "constant": [1.0, 1.0]})
    verdict = evaluate_wide_enough(rows)
    assert (verdict.passed, verdict.numbers["usable_columns"]) == (False, 1)
    enough = rows.with_columns(pl.Series(f"f{n}", [0.0, float(n + 1)]) for n in range(FULL_COLUMNS))
    assert evaluate_wide_enough(enough).passed
    short = rows.with_columns(data_date=pl.Series([date(2024, 1, 2), date(2024, 1, 3)]))
    assert evaluate_wide_enough(short).passed


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_value_that_is_no_number_is_told_by_its_column(value: float) -> None:
    assert evaluate_finite(pl.DataFrame({"a": [1.0, None]})).passed
    verdict = evaluate_finite(pl.DataFrame({"a": [1.0, value]}))
    assert not verdict.passed
    assert verdict.offenders is not None
    assert verdict.offenders["column"].to_list() == ["a"]


def test_the_frozen_table_is_the_view_with_its_split(tmp_path, wide: pl.DataFrame) -> None:
    warehouse = Place(tmp_path / "home", {}).with_tables().warehouse
    warehouse.ensure(full_contracts()[table] for table in (FULL_MATRIX, table_name("1w", "full")))
    warehouse.merge(FULL_MATRIX, wide)
    warehouse.create_view(view_sql(FULL_VIEW, "1w"))
    name = table_name("1w", "full")
    assert warehouse.replace(name, f"SELECT * FROM {full_view_name('1w')}") == wide.height
    frozen, view = (warehouse.read(f"SELECT * FROM {n}") for n in (name, full_view_name("1w")))
    assert evaluate_frozen(frozen, view).passed
    assert evaluate_split(frozen).passed
    assert set(frozen["split"]) == {"train", "purged", "test"}


def test_the_wide_matrix_says_nothing_twice(wide: pl.DataFrame) -> None:
    columns = [c for c in feature_columns(wide) if c not in KEYS and c != "is_suspect"]
    twins = duplicated_columns(wide, columns)["feature"]
    # In a short history the high of a year may be that of its last quarter.
    assert [name for name in twins if "drawdown" not in name] == []
    assert "return_5d_adjusted" in columns
    assert "zl__return_5d" not in columns
