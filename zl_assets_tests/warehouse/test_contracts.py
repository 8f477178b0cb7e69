"""The contracts: what every statement under sql/tables promises, and frames that break it."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
import sqlglot

from zl_assets.core.horizons import HORIZONS
from zl_assets.errors import ContractBroken
from zl_assets.warehouse.contracts import (
    FOREIGN_DATASETS,
    OUR_DATASETS,
    Column,
    contract,
    contracts,
    full_contracts,
    sql_root,
    view_sql,
)
from zl_assets.warehouse.dialect import joins, to_duckdb
from zl_assets_tests.warehouse.rows import rows_of

CALENDAR, MATRIX = "training.regime_calendar", "features.daily_ml_matrix"
NAMES = sorted(contracts())


def every_column(columns: tuple[Column, ...]) -> list[Column]:
    return [c for column in columns for c in (column, *every_column(column.fields))]


def calendar_frame(**replaced: list) -> pl.DataFrame:
    values = {
        "calendar_date": [date(2020, 1, 1), date(2020, 1, 2)],
        "regime": ["a", "b"],
        "weight": [1, 2],
        "regime_v0": [None, "c"],
        "weight_v0": [None, 3],
        "created_at": [datetime(2025, 1, 1, tzinfo=UTC)] * 2,
    }
    return pl.DataFrame(values | replaced, strict=False)


def test_every_file_gives_a_table_and_per_horizon_files_one_a_horizon() -> None:
    files = list((sql_root() / "tables").glob("*/*.sql"))
    per_horizon = [f for f in files if "{horizon}" in f.read_text(encoding="utf-8")]
    both = {**contracts(), **full_contracts()}
    assert len(both) == len(files) + (len(HORIZONS) - 1) * len(per_horizon)
    assert contracts().keys().isdisjoint(full_contracts())
    assert {f"training.zl_training_prod_allhistory_{h}" for h in HORIZONS} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
class TestEveryTable:
    def test_table_and_columns_are_documented(self, name: str) -> None:
        promised = contract(name)
        assert promised.description
        assert [c.name for c in every_column(promised.columns) if not c.description] == []

    def test_keys_exist_and_are_never_null(self, name: str) -> None:
        columns = {c.name: c for c in contract(name).columns}
        assert contract(name).keys
        assert all(not columns[k].nullable for k in contract(name).keys)

    def test_the_partition_is_a_month_of_a_stored_moment(self, name: str) -> None:
        promised = contract(name)
        if promised.partition_column is not None:
            types = {c.name: c.type for c in promised.columns}
            assert types[promised.partition_column] in {"DATE", "TIMESTAMP"}
            assert f"TRUNC({promised.partition_column}, MONTH)" in promised.ddl

    def test_it_lies_in_a_dataset_of_ours_and_creating_it_twice_is_safe(self, name: str) -> None:
        assert name.split(".")[0] in OUR_DATASETS
        assert name.split(".")[0] not in FOREIGN_DATASETS
        assert contract(name).ddl.lstrip().startswith(f"CREATE TABLE IF NOT EXISTS {name} ")

    def test_no_placeholder_is_left(self, name: str) -> None:
        assert "{" not in contract(name).ddl

    def test_it_is_valid_in_both_dialects(self, name: str) -> None:
        assert isinstance(sqlglot.parse_one(contract(name).ddl, dialect="bigquery"), sqlglot.exp.Create)
        local = sqlglot.parse_one(to_duckdb(contract(name).ddl), dialect="duckdb")
        columns = [c.name for c in local.this.expressions if isinstance(c, sqlglot.exp.ColumnDef)]
        assert columns == [c.name for c in contract(name).columns]
        not_null = {c.name for c in local.find_all(sqlglot.exp.ColumnDef) if "NOT NULL" in c.sql("duckdb")}
        assert not_null == {c.name for c in contract(name).columns if not c.nullable}

    def test_rows_are_compared_by_their_values_and_not_by_how_they_got_here(self, name: str) -> None:
        compared = contract(name).compared
        assert not set(compared) & {*contract(name).keys, "ingestion_ts", "ingest_timestamp", "created_at"}
        assert compared

    def test_an_empty_frame_of_its_schema_fits(self, name: str) -> None:
        empty = pl.DataFrame(schema=contract(name).polars_schema())
        assert contract(name).validated(empty).schema == contract(name).polars_schema()


def test_structs_have_the_published_fields() -> None:
    schema = contract("features.daily_ml_matrix").polars_schema()
    fields = {n: [f.name for f in t.fields] for n, t in schema.items() if isinstance(t, pl.Struct)}
    assert fields["market_data"] == ["open", "high", "low", "close", "volume", "vwap", "realized_vol_1h"]
    assert fields["regime"] == ["name", "weight", "vol_percentile", "k_vol"]
    assert fields["pivots"] == [
        *("P", "R1", "R2", "S1", "S2", "distance_to_P", "distance_to_nearest_pivot", "weekly_pivot_distance"),
        "price_above_P",
    ]
    assert len(fields["policy"]) == 16
    assert len(fields["golden_zone"]) == 7
    types = {f.name: f.dtype for f in schema["market_data"].fields}  # the vendor's volume is a count
    assert types["volume"] == pl.Int64
    assert types["close"] == pl.Float64
    assert {f.name: f.dtype for f in schema["pivots"].fields}["price_above_P"] == pl.Boolean
    assert schema["ingestion_ts"] == pl.Datetime("us", "UTC")
    assert schema["data_date"] == pl.Date


def test_fields_of_a_struct_are_compared_one_by_one() -> None:
    compared = contract("features.daily_ml_matrix").compared
    assert {"market_data.close", "regime.k_vol", "policy.trump_score", "rsi_14"} <= set(compared)
    assert "market_data" not in compared


def test_a_frame_that_fits_comes_back_in_the_contracts_order_and_types() -> None:
    frame = calendar_frame(weight=["1", "2"]).select(pl.all().exclude("regime"), "regime")
    fitted = contract(CALENDAR).validated(frame)
    assert fitted.schema == contract(CALENDAR).polars_schema()
    assert fitted["weight"].to_list() == [1, 2]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (calendar_frame().drop("regime"), r"missing columns \['regime'\]"),
        (calendar_frame(extra=[1, 2]), r"unknown columns \['extra'\]"),
        (calendar_frame(regime=["a", None]), "1 rows without regime"),
        (calendar_frame(calendar_date=[None, None]), "2 rows without calendar_date"),
        (calendar_frame(calendar_date=[date(2020, 1, 1)] * 2), "two rows for one key.*2020, 1, 1"),
        (calendar_frame(weight=["heavy", "2"]), "does not fit its type.*heavy"),
    ],
    ids=["missing", "unknown", "null", "null_key", "duplicate_key", "wrong_type"],
)
def test_a_frame_that_breaks_the_contract_is_refused_and_says_where(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(ContractBroken, match=message) as raised:
        contract(CALENDAR).validated(frame)
    assert raised.value.where == CALENDAR


DAY = date(2020, 1, 1)
MOMENT = datetime(2020, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("weight", [1.0, 1.5], r"weight would be stored as 1 instead of 1\.5"),
        ("weight_v0", [None, 2.000001], "weight_v0 would be stored as 2 instead of"),
        ("calendar_date", [MOMENT, MOMENT + timedelta(days=1)], "calendar_date would be stored as .*2020, 1, 1"),
        ("created_at", pl.Series([1_577_836_800_000_000_001] * 2).cast(pl.Datetime("ns", "UTC")), "created_at"),
    ],
    ids=["fraction", "fraction_beside_null", "moment_as_day", "nanoseconds"],
)
def test_a_value_that_its_type_would_change_is_refused(column: str, values: list, message: str) -> None:
    with pytest.raises(ContractBroken, match=message):
        contract(CALENDAR).validated(calendar_frame(**{column: values}))


def test_a_field_that_its_type_would_change_is_refused() -> None:
    rows = rows_of(MATRIX, 3)
    market = pl.col("market_data").struct
    assert contract(MATRIX).validated(rows.with_columns(market.with_fields(volume=pl.lit(7.0)))).height == 3
    with pytest.raises(ContractBroken, match=r"market_data\.volume would be stored as 7 instead of 7\.25"):
        contract(MATRIX).validated(rows.with_columns(market.with_fields(volume=pl.lit(7.25))))


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("weight", [1.0, 2.0]),
        ("weight", pl.Series([1, 2], dtype=pl.UInt8)),
        ("weight_v0", [None, None]),
        ("weight_v0", ["3", None]),
        ("calendar_date", [datetime(2020, 1, 1), datetime(2020, 1, 2)]),  # noqa: DTZ001
        ("created_at", pl.Series([MOMENT] * 2).cast(pl.Datetime("ms", "UTC"))),
        ("created_at", pl.Series([MOMENT] * 2).dt.convert_time_zone("America/Chicago")),
    ],
    ids=["whole_floats", "small_integers", "nulls", "text", "midnights", "milliseconds", "elsewhere"],
)
def test_a_value_that_its_type_keeps_is_cast(column: str, values: list) -> None:
    fitted = contract(CALENDAR).validated(calendar_frame(**{column: values}))
    assert fitted.schema == contract(CALENDAR).polars_schema()


def test_integers_beyond_the_precision_of_a_float_are_refused() -> None:
    rows = rows_of(MATRIX, 1)
    assert contract(MATRIX).validated(rows.with_columns(rsi_14=pl.lit(2**53))).height == 1
    with pytest.raises(ContractBroken, match="rsi_14 would be stored as"):
        contract(MATRIX).validated(rows.with_columns(rsi_14=pl.lit(2**53 + 1)))


def test_a_table_without_a_contract_is_refused() -> None:
    with pytest.raises(ContractBroken, match="no contract"):
        contract("training.invented")


@pytest.mark.parametrize("horizon", HORIZONS)
def test_a_training_view_is_one_statement_of_its_horizon_without_a_join(horizon: str) -> None:
    statement = view_sql("training.vw_flat", horizon)
    parsed = sqlglot.parse(statement, dialect="bigquery")
    assert len(parsed) == 1
    assert "{" not in statement
    assert f"training.vw_zl_{horizon}_flat" in statement
    assert joins(statement) == []


@pytest.mark.parametrize("horizon", HORIZONS)
def test_a_frozen_table_has_the_columns_of_its_view(horizon: str) -> None:
    select = sqlglot.parse_one(view_sql("training.vw_flat", horizon), dialect="bigquery").expression
    inner = select.find(sqlglot.exp.CTE).this
    assert [*inner.named_selects, "split"] == [
        c.name for c in contract(f"training.zl_training_prod_allhistory_{horizon}").columns
    ]
