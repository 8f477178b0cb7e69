"""How a table of the embedded warehouse differs from its contract, and what brings it up to date."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from zl_assets.errors import TableDiffers
from zl_assets.warehouse.contracts import Column, Contract
from zl_assets.warehouse.dialect import to_duckdb


def amendments(promised: Contract, stored: Mapping[str, str], required: Collection[str]) -> list[str]:
    """The statements that add the nullable columns which a stored table lacks, and let those be null that may be now.

    A column that is stored and not in the contract stays as it is.

    Args:
        promised: the contract.
        stored: BigQuery's type of each stored column.
        required: stored columns that are NOT NULL.

    Raises:
        TableDiffers: a column has another type, or one that every row needs is missing.
    """
    missing = [c for c in promised.columns if c.name not in stored]
    wrong = [f"{c.name} {c.full_type} NOT NULL is missing" for c in missing if not c.nullable]
    wrong += [
        f"{c.name} is {stored[c.name]}, sql/tables says {c.full_type}"
        for c in promised.columns
        if stored.get(c.name, c.full_type) != c.full_type
    ]
    if wrong:
        raise TableDiffers(
            "; ".join(wrong),
            where=promised.name,
            action="this file was made by another version of zl_assets: run that version, or start a new --home",
        )
    relaxed = [c for c in promised.columns if c.nullable and c.name in required]
    return [
        *(f"ALTER TABLE {promised.name} ADD COLUMN {c.name} {_duckdb_type(c)}" for c in missing),
        *(f"ALTER TABLE {promised.name} ALTER COLUMN {c.name} DROP NOT NULL" for c in relaxed),
    ]


def _duckdb_type(column: Column) -> str:
    cast = to_duckdb(f"SELECT CAST(NULL AS {column.full_type}) AS c")
    return cast.removeprefix("SELECT CAST(NULL AS ").removesuffix(") AS c")
