"""Tables as the statements say: created whole, compared column by column, mended where that is safe, else refused."""

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS
from zl_assets.errors import TableDiffers
from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets.warehouse.bigquery_schema import differences, table_of
from zl_assets.warehouse.contracts import contract, contracts
from zl_assets_tests.stores import in_new_project
from zl_assets_tests.warehouse.fault_proxy import Proxy, touches
from zl_assets_tests.warehouse.rows import rows_of

MATRIX = "features.daily_ml_matrix"
CALENDAR = "training.regime_calendar"
FORECASTS = "predictions.zl_forecasts"


def stored(table: str) -> dict[str, Any]:
    """A table that is as its contract says, in the API's words."""
    return deepcopy(table_of(contract(table), "p").to_api_repr())


def column(table: dict[str, Any], path: str) -> dict[str, Any]:
    fields = table["schema"]["fields"]
    *structs, name = path.split(".")
    for struct in structs:
        fields = next(f for f in fields if f["name"] == struct)["fields"]
    return next(f for f in fields if f["name"] == name)


def without(table: dict[str, Any], path: str) -> None:
    found = column(table, path)
    struct = path.rpartition(".")[0]
    (column(table, struct)["fields"] if struct else table["schema"]["fields"]).remove(found)


def differences_of_missing(table: str, name: str) -> str:
    """The statement that adds a column which the stored table lacks."""
    lacking = stored(table)
    without(lacking, name)
    [found] = differences(contract(table), lacking)
    return found.statement


@pytest.mark.parametrize("table", contracts())
def test_a_table_made_from_its_contract_does_not_differ_from_it(table: str) -> None:
    assert differences(contract(table), stored(table)) == []


def test_the_older_names_of_types_are_no_difference() -> None:
    table = stored(MATRIX)
    older = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN"}
    for field in table["schema"]["fields"]:
        field["type"] = older.get(field["type"], field["type"])
    assert differences(contract(MATRIX), table) == []


CHANGES: list[tuple[Callable[[dict[str, Any]], Any], str, str]] = [
    (
        lambda t: without(t, "rsi_14"),
        "rsi_14 is missing, nullable",
        f"ALTER TABLE {MATRIX} ADD COLUMN IF NOT EXISTS rsi_14 FLOAT64 OPTIONS",
    ),
    (lambda t: without(t, "regime.k_vol"), "regime.k_vol is missing, nullable", f"ALTER TABLE {MATRIX} ADD COLUMN"),
    (lambda t: without(t, "source"), "source STRING NOT NULL is missing", "RENAME TO daily_ml_matrix_before"),
    (
        lambda t: t["schema"]["fields"].append({"name": "Group", "type": "STRING"}),
        "Group is stored and not in sql/tables",
        f"ALTER TABLE {MATRIX} DROP COLUMN `Group`;",
    ),
    (
        lambda t: column(t, "rsi_14").update(name="RSI_14"),
        "RSI_14 is stored, sql/tables says rsi_14",
        f"ALTER TABLE {MATRIX} RENAME COLUMN `RSI_14` TO `rsi_14`;",
    ),
    (
        lambda t: column(t, "regime.k_vol").update(name="K_Vol"),
        "regime.K_Vol is stored, sql/tables says k_vol",
        "RENAME TO daily_ml_matrix_before",
    ),
    (
        lambda t: column(t, "rsi_14").update(type="INTEGER"),
        "rsi_14 is INT64, sql/tables says FLOAT64",
        f"ALTER TABLE {MATRIX} ALTER COLUMN rsi_14 SET DATA TYPE FLOAT64;",
    ),
    (
        lambda t: column(t, "rsi_14").update(type="STRING"),
        "rsi_14 is STRING, sql/tables says FLOAT64",
        f"ALTER TABLE {MATRIX} RENAME TO daily_ml_matrix_before;",
    ),
    (lambda t: column(t, "rsi_14").update(mode="REPEATED"), "rsi_14 is ARRAY<FLOAT64>", "RENAME TO"),
    (
        lambda t: column(t, "rsi_14").update(mode="REQUIRED"),
        "rsi_14 is NOT NULL, sql/tables says nullable",
        f"ALTER TABLE {MATRIX} ALTER COLUMN rsi_14 DROP NOT NULL;",
    ),
    (
        lambda t: column(t, "regime.k_vol").update(mode="REQUIRED"),
        "regime.k_vol is NOT NULL, sql/tables says nullable",
        "",
    ),
    (
        lambda t: column(t, "symbol").update(mode="NULLABLE"),
        "symbol is nullable, sql/tables says NOT NULL",
        "RENAME TO",
    ),
    (lambda t: column(t, "market_data.volume").update(type="FLOAT64"), "market_data.volume is FLOAT64", "RENAME TO"),
    (lambda t: t.pop("timePartitioning"), "partitioned by nothing, sql/tables says MONTH of data_date", "RENAME TO"),
    (
        lambda t: t["timePartitioning"].update(type="DAY"),
        "partitioned by DAY of data_date, sql/tables says MONTH of data_date",
        "RENAME TO",
    ),
    (lambda t: t.pop("clustering"), "clustered by nothing, sql/tables says symbol", "RENAME TO"),
]


@pytest.mark.parametrize(("change", "what", "statement"), CHANGES)
def test_each_difference_is_told_with_the_statement_that_mends_it(
    change: Callable[[dict[str, Any]], Any], what: str, statement: str
) -> None:
    table = stored(MATRIX)
    change(table)
    [found] = differences(contract(MATRIX), table)
    assert what in found.what
    assert statement in found.statement
    assert found.safe == ("missing, nullable" in what or "says nullable" in what)
    assert found.by_api == (found.safe and ("." in found.column or "says nullable" in what))


@pytest.mark.bigquery
class TestAgainstTheServer:
    def test_tables_are_created_with_columns_documentation_partitions_and_clusters(
        self, proxied: BigQueryWarehouse
    ) -> None:
        client = proxied.jobs.client
        for name, promised in contracts().items():
            table = client.get_table(f"{proxied.jobs.project}.{name}")
            assert table.description == promised.description
            assert [(f.name, f.description) for f in table.schema] == [
                (c.name, c.description) for c in promised.columns
            ]
            assert tuple(table.clustering_fields or ()) == promised.cluster_columns
            partitions = table.time_partitioning
            assert (partitions.field if partitions else None) == promised.partition_column
            assert (partitions.type_ if partitions else "") == promised.partition_unit

    @pytest.mark.parametrize("table", contracts())
    def test_the_statements_run_but_for_the_key(self, bigquery_address: str, table: str) -> None:
        # BigQuery takes a key that nobody enforces, and the local server does not.
        statement, keys = re.subn(r",\n  PRIMARY KEY \(.*\) NOT ENFORCED", "", contract(table).ddl)
        assert keys == 1
        store = in_new_project(bigquery_address)
        store.jobs.client.create_dataset(table.split(".")[0])
        store.jobs.query(statement, where=table)
        assert store.read(f"SELECT * FROM {table}").schema == contract(table).polars_schema()

    def test_a_missing_nullable_column_is_added_and_filled_by_the_next_merge(self, proxied: BigQueryWarehouse) -> None:
        rows = rows_of(MATRIX, 3)
        proxied.merge(MATRIX, rows)
        self.recreate(proxied, MATRIX, lambda t: without(t, "rsi_14"))
        proxied.ensure()
        assert proxied.merge(MATRIX, rows).inserted == 3
        assert proxied.read(f"SELECT rsi_14 FROM {MATRIX} ORDER BY data_date").equals(rows.select("rsi_14"))

    def test_a_missing_field_of_a_struct_is_added_by_the_api(self, proxied: BigQueryWarehouse, proxy: Proxy) -> None:
        self.recreate(proxied, MATRIX, lambda t: without(t, "regime.k_vol"))
        proxy.requests.clear()
        proxied.ensure()
        [sent] = [r for r in proxy.requests if touches("PATCH", "tables/daily_ml_matrix")(r)]
        assert column(sent.body, "regime.k_vol")["type"] == "FLOAT64"
        assert proxy.statements() == []

    def test_what_may_be_null_now_is_relaxed_by_one_request(self, proxied: BigQueryWarehouse, proxy: Proxy) -> None:
        def older(table: dict[str, Any]) -> None:
            for name in ("predicted_return", *QUANTILE_COLUMNS):
                column(table, name)["mode"] = "REQUIRED"
            without(table, "confidence")

        self.recreate(proxied, FORECASTS, older)
        proxy.requests.clear()
        proxied.ensure()
        [sent] = [r for r in proxy.requests if touches("PATCH", "tables/zl_forecasts")(r)]
        assert {column(sent.body, name)["mode"] for name in ("predicted_return", *QUANTILE_COLUMNS)} == {"NULLABLE"}
        assert column(sent.body, "current_price")["mode"] == "REQUIRED"
        assert proxy.statements() == [differences_of_missing(FORECASTS, "confidence")]
        assert [r.method for r in proxy.requests if touches("DELETE", "tables/zl_forecasts")(r)] == []

    def test_any_other_difference_refuses_and_changes_nothing(self, proxied: BigQueryWarehouse, proxy: Proxy) -> None:
        def change(table: dict[str, Any]) -> None:
            table["schema"]["fields"].append({"name": "extra", "type": "STRING"})
            column(table, "weight")["type"] = "STRING"
            without(table, "weight_v0")

        self.recreate(proxied, CALENDAR, change)
        proxy.requests.clear()
        with pytest.raises(TableDiffers) as raised:
            proxied.ensure()
        told = str(raised.value)
        assert "weight is STRING, sql/tables says INT64; training.regime_calendar: extra is stored" in told
        assert re.search(r"RENAME TO regime_calendar_before; ALTER TABLE \S+ DROP COLUMN `extra`;", told)
        assert raised.value.exit_code == 2
        assert [r.method for r in proxy.requests if r.method != "GET"] == []

    def recreate(self, store: BigQueryWarehouse, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
        """Put a changed table in the place of one."""
        from google.cloud import bigquery

        table = stored(name)
        change(table)
        table["tableReference"]["projectId"] = store.jobs.project
        store.jobs.client.delete_table(f"{store.jobs.project}.{name}")
        store.jobs.client.create_table(bigquery.Table.from_api_repr(table))
