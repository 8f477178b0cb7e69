"""What every store can do.

SQL is BigQuery's dialect on every engine; values are bound, names come from the contracts.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Protocol

from zl_assets.warehouse.contracts import Contract, contract

if TYPE_CHECKING:
    import polars as pl

Value = str | int | float | bool | date | datetime


@dataclass(frozen=True)
class MergeResult:
    """Rows a merge inserted, rewrote because a value had changed, and left alone."""

    inserted: int
    updated: int
    unchanged: int

    def __add__(self, other: MergeResult) -> MergeResult:
        return MergeResult(
            self.inserted + other.inserted, self.updated + other.updated, self.unchanged + other.unchanged
        )


NOTHING_MERGED = MergeResult(0, 0, 0)


@dataclass(frozen=True)
class TableInfo:
    """One stored table or view: its rows and the newest day of its first date, else time, column (None without one).

    A view that fails, e.g. because its table is gone, has None for both.
    """

    name: str
    rows: int | None
    newest: str | None


@dataclass(frozen=True)
class Stored:
    """What a store knows of one table or view without looking at its rows.

    Attributes:
        name: ``dataset.table``.
        columns: BigQuery's type by name, in order, e.g. ``STRUCT<P FLOAT64, R1 FLOAT64>``.
        definition: the SELECT of a view as `dialect.canonical` writes it; None for a table.
    """

    name: str
    columns: dict[str, str]
    definition: str | None = None


class Warehouse(Protocol):
    """A store of the tables under `sql/tables`."""

    def ensure(self, tables: Iterable[Contract] | None = None) -> None:
        """Create the datasets and tables that are missing; what exists stays.

        Args:
            tables: contracts to look after; all but those of the full surface where not given.
        """
        ...

    def merge(self, table: str, frame: pl.DataFrame) -> MergeResult:
        """Insert new rows and rewrite those whose values differ, in one transaction; rows not in the frame stay."""
        ...

    def replace(self, table: str, select: str) -> int:
        """Replace a table's rows by those of a SELECT, in one transaction; returns the rows."""
        ...

    def rewrite(self, table: str, select: str) -> int:
        """Like `replace`, but no row stays for being equal: bookkeeping columns come from the SELECT too."""
        ...

    def create_table(self, name: str, select: str, *, replace: bool = False) -> None:
        """Make a table of a SELECT's rows, whole or not at all; one that exists stays, unless it is to be replaced."""
        ...

    def ensure_dataset(self, name: str) -> None:
        """Create a dataset where it is missing."""
        ...

    def create_view(self, statement: str) -> None:
        """Run one CREATE OR REPLACE VIEW statement."""
        ...

    def drop_view(self, name: str) -> None:
        """Drop a view where it exists; a table of that name is left alone."""
        ...

    def describe(self, name: str) -> Stored | None:
        """A stored table or view of any dataset; None where there is none."""
        ...

    def read(self, sql: str, params: dict[str, Value] | None = None) -> pl.DataFrame:
        """Rows of one SELECT; parameters are written ``@name``."""
        ...

    def read_all(self, queries: Mapping[str, str]) -> dict[str, pl.DataFrame]:
        """Rows of several SELECTs, by name; on the embedded engine all from one state of the tables."""
        ...

    def stream(self, sql: str, params: dict[str, Value] | None = None) -> Generator[pl.DataFrame, None, None]:
        """Rows of one SELECT in frames of bounded size; at least one frame, which tells the types where no row is.

        Close it where it is left before its end: it may hold the store until then.
        """
        ...

    def row_count(self, table: str) -> int:
        """Rows of a table or view."""
        ...

    def delete(self, table: str, where: str, params: dict[str, Value]) -> int:
        """Delete the rows a condition selects, in one transaction; returns how many."""
        ...

    def listed(self) -> list[str]:
        """Names of every stored table and view of the project's datasets, ascending; nothing is read."""
        ...

    def tables(self) -> list[TableInfo]:
        """Every stored table and view of the project's datasets."""
        ...

    def datasets(self) -> list[str]:
        """Names of all datasets of the store, those of others among them."""
        ...


@dataclass(frozen=True)
class Window:
    """First and last value of a table's partition column, both included: a statement with it stays between them."""

    column: str
    first: date | datetime
    last: date | datetime

    def condition(self, alias: str) -> str:
        """The window as a condition on literals, which is what lets an engine skip partitions."""
        return f"{alias}.{self.column} BETWEEN {literal(self.first)} AND {literal(self.last)}"


def quoted(name: str) -> str:
    """``dataset.table`` in backticks, for names that are in no contract and may be words of the language."""
    return ".".join(f"`{part}`" for part in name.split("."))


def create_table_sql(name: str, select: str, *, replace: bool) -> str:
    """The CREATE TABLE of a SELECT's rows, which does nothing or replaces where the table exists."""
    how = "CREATE OR REPLACE TABLE" if replace else "CREATE TABLE IF NOT EXISTS"
    return f"{how} {quoted(name)} AS {select}"


def literal(value: date | datetime) -> str:
    """A DATE, or a TIMESTAMP in UTC, as a literal of BigQuery's dialect."""
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00:00'"
    return f"DATE '{value:%Y-%m-%d}'"


def merge_sql(contract: Contract, staging: str, window: Window | None = None) -> str:
    """The MERGE of a staged frame into its table, BigQuery's dialect.

    A matched row is rewritten only where a value differs, so a repeated run changes nothing, timestamps included.
    With a window, staged rows outside it are left out, and stored rows outside it are not looked at. The window is on
    the partition column, which has to be a key: a row never moves to another partition.
    """
    names = [c.name for c in contract.columns]
    source = f"(SELECT * FROM {staging} AS r WHERE {window.condition('r')})" if window else staging
    assignments = ", ".join(f"{n} = s.{n}" for n in names if n not in contract.keys)
    return (
        f"MERGE INTO {contract.name} AS t USING {source} AS s ON {_matched(contract, window)} "
        f"WHEN MATCHED AND ({_differs(contract)}) THEN UPDATE SET {assignments} "
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(names)}) VALUES ({', '.join(f's.{n}' for n in names)})"
    )


def difference_sql(contract: Contract, staging: str, window: Window | None = None) -> str:
    """How many staged rows are new (`inserted`), how many new or different (`changed`), and between which partitions.

    `first` and `last` bound the partition column of those rows; they are null in a table without partitions.
    """
    column = contract.partition_column
    bounds = f"MIN(s.{column}) AS first, MAX(s.{column}) AS last" if column else "NULL AS first, NULL AS last"
    stored = f"(SELECT * FROM {contract.name} AS r WHERE {window.condition('r')})" if window else contract.name
    return (
        f"SELECT COUNT(*) - COUNT(t.{contract.keys[0]}) AS inserted, COUNT(*) AS changed, {bounds} "
        f"FROM {staging} AS s LEFT JOIN {stored} AS t ON {_matched(contract, None)} "
        f"WHERE t.{contract.keys[0]} IS NULL OR {_differs(contract)}"
    )


def sync_difference_sql(contract: Contract, select: str) -> str:
    """How many rows a SELECT has (`rows_selected`), and how many rows a table differs in from it (`changed`).

    `first` and `last` bound the partition column of those rows; they are null in a table without partitions.
    """
    column, key = contract.partition_column, contract.keys[0]
    both = f"COALESCE(s.{column}, t.{column})"
    changed = f"(t.{key} IS NULL OR s.{key} IS NULL OR {_differs(contract)})"
    bounds = (
        f"MIN(IF({changed}, {both}, NULL)) AS first, MAX(IF({changed}, {both}, NULL)) AS last"
        if column
        else "NULL AS first, NULL AS last"
    )
    return (
        f"SELECT COUNT(s.{key}) AS rows_selected, COUNT(IF({changed}, 1, NULL)) AS changed, {bounds} "
        f"FROM ({select}) AS s FULL JOIN {contract.name} AS t ON {_matched(contract, None)}"
    )


def sync_sql(contract: Contract, select: str, window: Window | None) -> str:
    """The MERGE that makes a table's rows within a window those of a SELECT, BigQuery's dialect."""
    names = [c.name for c in contract.columns]
    source = f"SELECT {', '.join(names)} FROM ({select}) AS r" + (f" WHERE {window.condition('r')}" if window else "")
    gone = "WHEN NOT MATCHED BY SOURCE" + (f" AND {window.condition('t')}" if window else "")
    return f"{merge_sql(contract, f'({source})', window)} {gone} THEN DELETE"


def rewrite_sql(contract: Contract, select: str) -> str:
    """The MERGE that exchanges all rows of a table for those of a SELECT: no row matches another."""
    names = ", ".join(c.name for c in contract.columns)
    values = ", ".join(f"s.{c.name}" for c in contract.columns)
    return (
        f"MERGE INTO {contract.name} AS t USING (SELECT {names} FROM ({select}) AS r) AS s ON FALSE "
        f"WHEN NOT MATCHED THEN INSERT ({names}) VALUES ({values}) WHEN NOT MATCHED BY SOURCE THEN DELETE"
    )


def _matched(contract: Contract, window: Window | None) -> str:
    keys = [f"t.{k} = s.{k}" for k in contract.keys]
    return " AND ".join([*keys, window.condition("t")] if window else keys)


def _differs(contract: Contract) -> str:
    return " OR ".join(f"t.{path} IS DISTINCT FROM s.{path}" for path in contract.compared)


__all__ = [
    "MergeResult",
    "Stored",
    "TableInfo",
    "Value",
    "Warehouse",
    "Window",
    "contract",
    "difference_sql",
    "literal",
    "merge_sql",
]
