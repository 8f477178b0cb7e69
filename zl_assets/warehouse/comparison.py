"""What rows are compared by: their count and a checksum, and which world, real or simulated, they are of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zl_assets.errors import InputError
from zl_assets.warehouse.base import Warehouse, quoted
from zl_assets.warehouse.contracts import contracts

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
    return "STARTS_WITH(source, 'simulated')" if types.get("source") == "STRING" else None


def tables_of_the_other_world(warehouse: Warehouse, *, simulated: bool, besides: str = "") -> list[str]:
    """Tables of the project that hold a row of a real market where ours is simulated, or the other way round.

    Args:
        warehouse: holds the tables of every contract.
        simulated: whether our rows are of a simulated market.
        besides: a table that is not looked at.
    """
    conditions = {name: simulated_condition(promised.types) for name, promised in contracts().items()}
    counted = " UNION ALL ".join(
        f"SELECT '{name}' AS name, COUNTIF({'NOT ' if simulated else ''}({condition})) AS n FROM {name}"
        for name, condition in conditions.items()
        if condition is not None and name != besides
    )
    return warehouse.read(f"SELECT name FROM ({counted}) AS counted WHERE n > 0 ORDER BY name")["name"].to_list()


def refuse_mixture(warehouse: Warehouse, ours: str, *, simulated: bool, besides: str = "", action: str) -> None:
    """Refuse to put simulated rows beside real ones, and real rows beside simulated ones.

    Args:
        warehouse: where the rows would go.
        ours: what they are, as the message says it, e.g. the snapshot.
        simulated: whether they are of a simulated market.
        besides: the table whose rows they replace.
        action: what to do instead.

    Raises:
        InputError: a table holds rows of the other world; nothing was written.
    """
    mixed = tables_of_the_other_world(warehouse, simulated=simulated, besides=besides)
    if mixed:
        here, there = ("a SIMULATED", "a real") if simulated else ("a real", "a SIMULATED")
        raise InputError(
            f"{ours} is of {here} market, and {there} one is stored", where=", ".join(mixed), action=action
        )


def holds_simulated(warehouse: Warehouse, table: str, types: Mapping[str, str]) -> bool:
    """Whether there are rows of a simulated market in a table whose columns have these BigQuery types."""
    condition = simulated_condition(types)
    if condition is None:
        return False
    return bool(warehouse.read(f"SELECT COUNT(*) AS n FROM {quoted(table)} WHERE {condition}").item())
