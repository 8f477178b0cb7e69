"""A file that an earlier release made: what is missing is added, anything else is refused."""

from pathlib import Path

import duckdb
import polars as pl
import pytest

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS
from zl_assets.errors import TableDiffers
from zl_assets.warehouse.contracts import contract
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets_tests.stores import empty_warehouse
from zl_assets_tests.warehouse.rows import calendar, rows_of

MATRIX, CALENDAR = "features.daily_ml_matrix", "training.regime_calendar"
FORECASTS = "predictions.zl_forecasts"
FIGURES = ("predicted_return", "predicted_price", *QUANTILE_COLUMNS)


@pytest.fixture
def store(tmp_path: Path) -> DuckDBWarehouse:
    return empty_warehouse(tmp_path / "warehouse.duckdb")


def change(store: DuckDBWarehouse, *statements: str) -> None:
    with duckdb.connect(str(store.path)) as connection:
        for statement in statements:
            connection.execute(statement)


def types(store: DuckDBWarehouse, table: str) -> dict[str, str]:
    found = store.describe(table)
    assert found is not None
    return found.columns


def test_missing_columns_are_added_and_rows_stay(store: DuckDBWarehouse) -> None:
    store.merge(MATRIX, rows_of(MATRIX, 3))
    before = store.read(f"SELECT * FROM {MATRIX} ORDER BY data_date")
    change(store, f"ALTER TABLE {MATRIX} DROP COLUMN rsi_14", f"ALTER TABLE {MATRIX} DROP COLUMN pivots")
    store.ensure()
    after = store.read(f"SELECT * FROM {MATRIX} ORDER BY data_date").select(before.columns)
    assert after.schema == before.schema
    assert after.drop("rsi_14", "pivots").equals(before.drop("rsi_14", "pivots"))
    assert after["rsi_14"].null_count() == after["pivots"].null_count() == 3
    store.merge(MATRIX, rows_of(MATRIX, 3))
    assert store.read(f"SELECT * FROM {MATRIX} ORDER BY data_date").select(before.columns).equals(before)


def test_a_column_of_another_release_stays_as_it_is(store: DuckDBWarehouse) -> None:
    change(store, f"ALTER TABLE {CALENDAR} ADD COLUMN older DOUBLE")
    store.ensure()
    store.merge(CALENDAR, calendar({0: 1}))
    assert store.read(f"SELECT older, weight_v0 FROM {CALENDAR}").rows() == [(None, 1)]


def test_a_column_that_may_be_null_now_is_relaxed_and_rows_stay(store: DuckDBWarehouse) -> None:
    store.merge(FORECASTS, sound := rows_of(FORECASTS, 3).with_columns(pl.col(FIGURES).fill_null(1.5)))
    change(store, *(f"ALTER TABLE {FORECASTS} ALTER COLUMN {c} SET NOT NULL" for c in FIGURES))
    refused = sound.with_columns(pl.lit(None, pl.Float64).alias(c) for c in FIGURES)
    with pytest.raises(duckdb.ConstraintException, match="NOT NULL"):
        store.merge(FORECASTS, refused)
    store.ensure()
    assert store.read(f"SELECT * FROM {FORECASTS} ORDER BY as_of_date").equals(sound)
    assert store.merge(FORECASTS, refused).updated == 3
    with duckdb.connect(str(store.path)) as connection, pytest.raises(duckdb.ConstraintException):
        connection.execute(f"UPDATE {FORECASTS} SET current_price = NULL")


def test_what_is_relaxed_and_refused_at_once_is_refused_first(store: DuckDBWarehouse) -> None:
    change(
        store,
        f"ALTER TABLE {CALENDAR} ALTER COLUMN weight_v0 SET NOT NULL",
        f"ALTER TABLE {CALENDAR} ALTER COLUMN weight TYPE DOUBLE",
    )
    with pytest.raises(TableDiffers, match="weight is FLOAT64"):
        store.ensure()
    with pytest.raises(duckdb.ConstraintException, match="weight_v0"):
        change(store, f"INSERT INTO {CALENDAR} VALUES ('2020-01-01', 'r', 1, 'v', NULL, now())")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER COLUMN weight TYPE DOUBLE", "weight is FLOAT64, sql/tables says INT64"),
        ("DROP COLUMN regime", "regime STRING NOT NULL is missing"),
    ],
)
def test_any_other_difference_is_refused_with_what_to_do(store: DuckDBWarehouse, statement: str, said: str) -> None:
    change(store, f"ALTER TABLE {CALENDAR} {statement}")
    with pytest.raises(TableDiffers, match=f"{said}.*{CALENDAR}.*another version.*--home"):
        store.ensure()


def test_a_field_of_another_type_is_refused(store: DuckDBWarehouse) -> None:
    change(
        store,
        f"ALTER TABLE {MATRIX} DROP COLUMN pivots",
        f"ALTER TABLE {MATRIX} ADD COLUMN pivots STRUCT(P VARCHAR)",
    )
    with pytest.raises(TableDiffers, match="pivots is STRUCT<P STRING>, sql/tables says STRUCT<P FLOAT64"):
        store.ensure()


def test_a_new_file_is_what_the_contracts_say(store: DuckDBWarehouse) -> None:
    before = types(store, MATRIX)
    store.ensure()
    assert (
        types(store, MATRIX)
        == before
        == contract(MATRIX).types | {c.name: c.full_type for c in contract(MATRIX).columns if c.fields}
    )
    assert store.read(f"SELECT * FROM {MATRIX}").schema == pl.Schema(contract(MATRIX).polars_schema())
