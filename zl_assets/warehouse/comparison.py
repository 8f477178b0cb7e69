"""What rows are compared by: their count and a checksum, and which world, real or simulated, they are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zl_assets.warehouse.base import Warehouse, quoted

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Fingerprint:
    """Rows and the sum of their hashes modulo 2^64: equal for equal rows in any order, within one process."""

    rows: int
    total: int

    @property
    def checksum(self) -> str:
        """The sum in 16 hexadecimal digits."""
        return f"{self.total:016x}"


def fingerprint(warehouse: Warehouse, select: str) -> Fingerprint:
    """The rows of a SELECT, read in frames of bounded size."""
    rows = total = 0
    for frame in warehouse.stream(select):
        rows, total = rows + frame.height, (total + checksum(frame)) % 2**64
    return Fingerprint(rows, total)


def checksum(rows: pl.DataFrame) -> int:
    """Sum of the rows' hashes modulo 2^64; the sums of two frames add up to that of both."""
    return sum(rows.hash_rows(seed=0).to_list()) % 2**64


def simulated_condition(types: Mapping[str, str]) -> str | None:
    """The condition that is true for rows of a simulated market; None for a table that no market is in.

    Args:
        types: BigQuery's type by column.
    """
    if types.get("is_simulated") == "BOOL":
        return "is_simulated"
    return "source LIKE 'simulated%'" if types.get("source") == "STRING" else None


def holds_simulated(warehouse: Warehouse, table: str, types: Mapping[str, str]) -> bool:
    """Whether there are rows of a simulated market in a table whose columns have these BigQuery types."""
    condition = simulated_condition(types)
    if condition is None:
        return False
    return bool(warehouse.read(f"SELECT COUNT(*) AS n FROM {quoted(table)} WHERE {condition}").item())
