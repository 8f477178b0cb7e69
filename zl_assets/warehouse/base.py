"""What every store can do.

SQL is BigQuery's dialect on every engine; values are bound, names come from the contracts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
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


@dataclass(frozen=True)
class TableInfo:
    """One stored table or view: its rows and the newest value of its date column (None when it has none, or no row)."""

    name: str
    rows: int
    newest: str | None


class Warehouse(Protocol):
    """A store of the tables under `sql/tables`."""

    def ensure(self) -> None:
        """Create the datasets and tables that are missing; what exists stays."""
        ...

    def merge(self, table: str, frame: pl.DataFrame) -> MergeResult:
        """Insert new rows and rewrite those whose values differ, in one transaction; rows not in the frame stay."""
        ...

    def replace(self, table: str, select: str) -> int:
        """Replace a table's rows by those of a SELECT, in one transaction; returns the rows."""
        ...

    def create_view(self, statement: str) -> None:
        """Run one CREATE OR REPLACE VIEW statement."""
        ...

    def read(self, sql: str, params: dict[str, Value] | None = None) -> pl.DataFrame:
        """Rows of one SELECT; parameters are written ``@name``."""
        ...

    def delete(self, table: str, where: str, params: dict[str, Value]) -> int:
        """Delete the rows a condition selects, in one transaction; returns how many."""
        ...

    def tables(self) -> list[TableInfo]:
        """Every stored table and view of the project's datasets."""
        ...


def merge_sql(contract: Contract, staging: str) -> str:
    """The MERGE of a staged frame into its table, BigQuery's dialect.

    A matched row is rewritten only where a value differs, so a repeated run changes nothing, timestamps included.
    """
    names = [c.name for c in contract.columns]
    on = " AND ".join(f"t.{k} = s.{k}" for k in contract.keys)
    differs = " OR ".join(f"t.{path} IS DISTINCT FROM s.{path}" for path in contract.compared)
    assignments = ", ".join(f"{n} = s.{n}" for n in names if n not in contract.keys)
    return (
        f"MERGE INTO {contract.name} AS t USING {staging} AS s ON {on} "
        f"WHEN MATCHED AND ({differs}) THEN UPDATE SET {assignments} "
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(names)}) VALUES ({', '.join(f's.{n}' for n in names)})"
    )


__all__ = ["MergeResult", "TableInfo", "Value", "Warehouse", "contract", "merge_sql"]
