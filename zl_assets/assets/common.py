"""What every asset shares: owners, pools, the clock, and metadata derived from the contracts."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from zl_assets.partitions import HORIZON_PARTITIONS
from zl_assets.warehouse.contracts import Column, Contract, contracts

if TYPE_CHECKING:
    from zl_assets.warehouse.base import MergeResult

OWNERS = ["team:zl"]
CODE_VERSION = "1"
WAREHOUSE_POOL = "warehouse"
"""Steps that write the embedded warehouse take turns."""


def utc_now() -> datetime:
    """The moment a row is made."""
    return datetime.now(UTC)


def node(
    table: str, *, group: str, kind: str, description: str | None = None, per_horizon: bool = False
) -> dict[str, Any]:
    """What every asset says about itself, as arguments of the decorator.

    Args:
        table: ``dataset.table``, which becomes the key; description and columns come from its contract, if it has one.
        group: the stage.
        kind: what makes it, shown as an icon.
        description: for assets without a contract of that name.
        per_horizon: whether it has a partition per horizon.
    """
    promised = contracts().get(table)
    said = {
        "key": table.split("."),
        "group_name": group,
        "owners": OWNERS,
        "kinds": {kind},
        "code_version": CODE_VERSION,
        "description": promised.description if promised else description,
    }
    columns = {"metadata": {"dagster/column_schema": column_schema(promised)}} if promised else {}
    return {**said, **columns, **({"partitions_def": HORIZON_PARTITIONS} if per_horizon else {})}


def column_schema(promised: Contract) -> dg.TableSchema:
    """The contract's columns as Dagster shows them; fields of a STRUCT under their dotted path."""
    return dg.TableSchema(columns=[c for column in promised.columns for c in _table_columns(column, "")])


def _table_columns(column: Column, prefix: str) -> list[dg.TableColumn]:
    constraints = dg.TableColumnConstraints(nullable=column.nullable)
    own = dg.TableColumn(prefix + column.name, column.type, column.description, constraints)
    return [own, *[c for f in column.fields for c in _table_columns(f, f"{prefix}{column.name}.")]]


def merged(result: MergeResult, rows: int) -> dict[str, Any]:
    """Metadata of a merge."""
    return {
        "dagster/row_count": rows,
        "rows_inserted": result.inserted,
        "rows_updated": result.updated,
        "rows_unchanged": result.unchanged,
    }


def picture(png: bytes) -> dg.MetadataValue:
    """A PNG shown in the metadata of an asset."""
    return dg.MetadataValue.md(f"![figure](data:image/png;base64,{base64.b64encode(png).decode()})")


def counts(values: Mapping[str, int]) -> dg.MetadataValue:
    """Counts by name, shown as a table."""
    lines = [f"| {name} | {count:,} |" for name, count in values.items()]
    return dg.MetadataValue.md("\n".join(["| what | count |", "|---|---|", *lines]) if lines else "none")
