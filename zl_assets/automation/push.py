"""`zl push`: copies one warehouse into another, a year of a table at a time, and compares what arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from zl_assets.assets.predictions import LATEST
from zl_assets.assets.training import FLAT
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.instruments import MATRIX_SYMBOLS
from zl_assets.errors import InputError, WarehouseError
from zl_assets.warehouse.base import Value, Warehouse
from zl_assets.warehouse.comparison import checksum, holds_simulated, refuse_mixture
from zl_assets.warehouse.contracts import Contract, contracts, view_sql
from zl_assets.warehouse.shims import SHIMS

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Pushed:
    """What became of one table.

    Attributes:
        table: its name.
        rows: how many it holds, on both sides.
        written: rows that were not there yet, or different.
        checksum: of all rows, the same on both sides.
    """

    table: str
    rows: int
    written: int
    checksum: str


def push(
    source: Warehouse, target: Warehouse, report: Callable[[str], None], *, allow_simulated: bool = False
) -> list[Pushed]:
    """Copy every table with a row, and make the project's views; shim views and their record stay where they are.

    What has arrived is compared and not sent again, so an interrupted push is resumed by repeating it.

    Args:
        source: is only read.
        target: its other rows stay, and make the comparison fail.
        report: told in one line what has ended.
        allow_simulated: whether rows of a simulated market may be copied.

    Raises:
        InputError: the source holds no table, or simulated rows that are not allowed, or the target holds rows of the
            other world, real or simulated.
        WarehouseError: a table of the target is not that of the source.
    """
    filled = [contracts()[t.name] for t in source.tables() if t.name in contracts() and t.name != SHIMS and t.rows]
    if not filled:
        raise InputError("there is nothing to push", action="run `zl run` first")
    simulated = next((p.name for p in filled if holds_simulated(source, p.name, p.types)), None)
    if simulated and not allow_simulated:
        raise InputError(
            "the warehouse holds a SIMULATED market",
            where=simulated,
            action="push with --allow-simulated into a project that holds nothing real",
        )
    target.ensure()
    refuse_mixture(target, "the warehouse", simulated=bool(simulated), action="push into another project")
    pushed: list[Pushed] = []
    for promised in filled:
        pushed.append(_push_table(source, target, promised))
        report(f"  {promised.name:<45} {pushed[-1].rows:>9,} rows, {pushed[-1].written:>9,} written")
    for horizon in HORIZONS:
        target.create_view(view_sql(LATEST, horizon))
        for symbol in MATRIX_SYMBOLS:
            target.create_view(view_sql(FLAT, horizon, symbol=symbol))
    return pushed


def _push_table(source: Warehouse, target: Warehouse, promised: Contract) -> Pushed:
    rows = total = written = 0
    for condition, params in _years(source, promised):
        sent = _read(source, promised, condition, params)
        total_sent = checksum(sent)
        if total_sent != checksum(_read(target, promised, condition, params)):
            result = target.merge(promised.name, sent)
            written += result.inserted + result.updated
            _compare(sent, _read(target, promised, condition, params), promised)
        rows, total = rows + sent.height, (total + total_sent) % 2**64
    if target.row_count(promised.name) != rows:
        raise _different(promised, f"{target.row_count(promised.name):,} rows instead of {rows:,}")
    return Pushed(promised.name, rows, written, f"{total:016x}")


def _years(source: Warehouse, promised: Contract) -> Iterator[tuple[str, dict[str, Value]]]:
    """Conditions that cut a table into years of its partition column, which bounds what is in memory at once."""
    column = promised.partition_column
    if column is None:
        yield "TRUE", {}
        return
    first, last = source.read(f"SELECT MIN({column}) AS first, MAX({column}) AS last FROM {promised.name}").row(0)
    for year in range(first.year, last.year + 1):
        start, end = date(year, 1, 1), date(year + 1, 1, 1)
        if isinstance(first, datetime):
            start, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
        yield f"{column} >= @start AND {column} < @end", {"start": start, "end": end}


def _read(warehouse: Warehouse, promised: Contract, condition: str, params: dict[str, Value]) -> pl.DataFrame:
    columns = ", ".join(c.name for c in promised.columns)
    return warehouse.read(f"SELECT {columns} FROM {promised.name} WHERE {condition}", params)


def _compare(sent: pl.DataFrame, arrived: pl.DataFrame, promised: Contract) -> None:
    # A merge keeps the bookkeeping of a row that is otherwise equal, so it is left out where the rest agrees.
    kept = [*promised.keys, *{path.split(".")[0] for path in promised.compared}]
    if checksum(sent.select(kept)) != checksum(arrived.select(kept)):
        raise _different(promised, f"{arrived.height:,} rows that are not the {sent.height:,} that were sent")


def _different(promised: Contract, what: str) -> WarehouseError:
    return WarehouseError(
        f"after the push the table holds {what}",
        where=promised.name,
        action="look at the rows that only the target holds, delete or archive them, and push again",
    )
