"""How a table of the embedded warehouse differs from its contract, and what brings it up to date."""

from __future__ import annotations

from collections.abc import Mapping

from zl_assets.errors import TableDiffers
from zl_assets.warehouse.contracts import Column, Contract
from zl_assets.warehouse.dialect import to_duckdb


def additions(promised: Contract, stored: Mapping[str, str]) -> list[str]:
    """The statements that add the columns which the contract has and the stored table lacks.

    A column that is stored and not in the contract stays as it is.

    Args:
        promised: the contract.
        stored: BigQuery's type of each stored column.

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
    return [f"ALTER TABLE {promised.name} ADD COLUMN {c.name} {_duckdb_type(c)}" for c in missing]


def _duckdb_type(column: Column) -> str:
    cast = to_duckdb(f"SELECT CAST(NULL AS {column.full_type}) AS c")
    return cast.removeprefix("SELECT CAST(NULL AS ").removesuffix(") AS c")
