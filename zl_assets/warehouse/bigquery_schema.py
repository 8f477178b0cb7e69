"""Tables in BigQuery as `sql/tables` wants them, and how a stored one differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zl_assets.warehouse.contracts import Column, Contract

if TYPE_CHECKING:
    from google.cloud import bigquery

_SQL_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}
"""The API's older names of types."""

_WIDER = {("INT64", "FLOAT64")}
"""Changes of type that BigQuery makes in place, among the types of the contracts."""


@dataclass(frozen=True)
class Difference:
    """One way in which a stored table is not what its statement says.

    Attributes:
        column: dotted path, or what it is about where it is no column.
        what: the difference, with both sides.
        statement: the statement that mends it.
        safe: whether mending it loses nothing, so that nobody is asked first.
        by_api: whether the API mends it by itself, given the contract's schema; such differences cost one request.
    """

    column: str
    what: str
    statement: str
    safe: bool = False
    by_api: bool = False


def fields(columns: tuple[Column, ...], *, nullable: bool = False) -> list[bigquery.SchemaField]:
    """The API's schema of columns, with their documentation.

    Args:
        columns: of a contract.
        nullable: make every column nullable, as in Parquet files and so in staging tables.
    """
    from google.cloud import bigquery

    return [
        bigquery.SchemaField(
            c.name,
            "RECORD" if c.fields else c.type,
            mode="NULLABLE" if c.nullable or nullable else "REQUIRED",
            description=c.description,
            fields=fields(c.fields, nullable=nullable),
        )
        for c in columns
    ]


def type_of(field: bigquery.SchemaField) -> str:
    """Type of a stored column as `Column.full_type` writes it; ARRAY where it is repeated."""
    name = _SQL_NAMES.get(field.field_type, field.field_type)
    nested = ", ".join(f"{f.name} {type_of(f)}" for f in field.fields)
    full = f"STRUCT<{nested}>" if name == "STRUCT" else name
    return f"ARRAY<{full}>" if field.mode == "REPEATED" else full


def table_of(contract: Contract, project: str) -> bigquery.Table:
    """The table of a contract: columns, documentation, partitions, clusters and the key that nobody enforces."""
    from google.cloud import bigquery
    from google.cloud.bigquery.table import PrimaryKey, TableConstraints

    table = bigquery.Table(f"{project}.{contract.name}", schema=fields(contract.columns))
    table.description = contract.description
    if contract.partition_column:
        table.time_partitioning = bigquery.TimePartitioning(
            type_=contract.partition_unit, field=contract.partition_column
        )
    if contract.cluster_columns:
        table.clustering_fields = list(contract.cluster_columns)
    if contract.keys:
        key = PrimaryKey(columns=list(contract.keys))
        table.table_constraints = TableConstraints(primary_key=key, foreign_keys=None)
    return table


def differences(contract: Contract, stored: Mapping[str, Any]) -> list[Difference]:
    """Where a stored table, as the API describes it, is not what its contract says, column by column."""
    columns = stored.get("schema", {}).get("fields", [])
    return [
        *_column_differences(contract.name, contract.columns, columns, ""),
        *_layout_differences(contract, stored),
    ]


def _column_differences(
    table: str, wanted: tuple[Column, ...], stored: list[dict[str, Any]], prefix: str
) -> Iterator[Difference]:
    # BigQuery takes names that differ in case for one column.
    found = {f["name"].lower(): f for f in stored}
    for column in wanted:
        if (here := found.get(column.name.lower())) is None:
            yield _missing(table, column, prefix)
        elif here["name"] != column.name:
            yield _other_case(table, column, here["name"], prefix)
        else:
            yield from _one_column(table, column, here, prefix)
    for name in sorted(found.keys() - {c.name.lower() for c in wanted}):
        path = prefix + found[name]["name"]
        yield Difference(
            path,
            f"{path} is stored and not in sql/tables",
            _rebuild(table) if prefix else f"ALTER TABLE {table} DROP COLUMN `{path}`;",
        )


def _other_case(table: str, column: Column, stored: str, prefix: str) -> Difference:
    path = prefix + stored
    rename = f"ALTER TABLE {table} RENAME COLUMN `{stored}` TO `{column.name}`;"
    return Difference(path, f"{path} is stored, sql/tables says {column.name}", _rebuild(table) if prefix else rename)


def _missing(table: str, column: Column, prefix: str) -> Difference:
    path = prefix + column.name
    if column.nullable:
        statement = f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {_definition(column)};"
        return Difference(path, f"{path} is missing, nullable", statement, safe=True, by_api=bool(prefix))
    return Difference(path, f"{path} {_type(column)} NOT NULL is missing", _rebuild(table))


def _one_column(table: str, column: Column, stored: dict[str, Any], prefix: str) -> Iterator[Difference]:
    path = prefix + column.name
    kind = _SQL_NAMES.get(stored["type"], stored["type"])
    mode = stored.get("mode") or "NULLABLE"
    if kind != column.type or mode == "REPEATED":
        has = f"ARRAY<{kind}>" if mode == "REPEATED" else kind
        widen = f"ALTER TABLE {table} ALTER COLUMN {path} SET DATA TYPE {column.type};"
        mend = widen if (kind, column.type) in _WIDER and not prefix else _rebuild(table)
        yield Difference(path, f"{path} is {has}, sql/tables says {column.type}", mend)
        return
    if mode == "REQUIRED" and column.nullable:
        relax = f"ALTER TABLE {table} ALTER COLUMN {path} DROP NOT NULL;"
        yield Difference(path, f"{path} is NOT NULL, sql/tables says nullable", relax, safe=True, by_api=True)
    if mode == "NULLABLE" and not column.nullable:
        yield Difference(path, f"{path} is nullable, sql/tables says NOT NULL", _rebuild(table))
    if column.fields:
        yield from _column_differences(table, column.fields, stored.get("fields", []), f"{path}.")


def _layout_differences(contract: Contract, stored: Mapping[str, Any]) -> Iterator[Difference]:
    partitions = stored.get("timePartitioning") or {}
    found = (partitions.get("field"), partitions.get("type", ""))
    if found != (contract.partition_column, contract.partition_unit):
        yield Difference(
            "partitions",
            f"partitioned by {_layout(*found)}, sql/tables says "
            f"{_layout(contract.partition_column, contract.partition_unit)}",
            _rebuild(contract.name),
        )
    clusters = tuple((stored.get("clustering") or {}).get("fields", []))
    if clusters != contract.cluster_columns:
        told = ", ".join(clusters) or "nothing", ", ".join(contract.cluster_columns) or "nothing"
        yield Difference("clusters", f"clustered by {told[0]}, sql/tables says {told[1]}", _rebuild(contract.name))


def _layout(column: str | None, unit: str) -> str:
    return f"{unit} of {column}" if column else "nothing"


def _rebuild(table: str) -> str:
    """What no statement changes in place: set the table aside, and let the next run build it anew."""
    return f"ALTER TABLE {table} RENAME TO {table.split('.')[1]}_before;"


def _type(column: Column) -> str:
    return f"STRUCT<{', '.join(_definition(f) for f in column.fields)}>" if column.fields else column.type


def _definition(column: Column) -> str:
    text = column.description.replace("\\", "\\\\").replace('"', '\\"')
    options = f' OPTIONS (description = "{text}")' if text else ""
    return f"{column.name} {_type(column)}{'' if column.nullable else ' NOT NULL'}{options}"
