"""`zl restore`: puts a snapshot of the archive back into its original place.

Only datasets of ours are written. Rows that are there stay, unless they are to be given up, and everything that can
stand against it is looked at before the first row is written.
"""

from __future__ import annotations

from datetime import date

from zl_assets.errors import InputError
from zl_assets.warehouse.archive import (
    ARCHIVE,
    OWN_COLUMNS,
    Archived,
    checked_name,
    compared,
    is_snapshot,
    original_of,
    snapshot_name,
    without_own_columns,
)
from zl_assets.warehouse.base import Stored, Warehouse, quoted
from zl_assets.warehouse.comparison import holds_simulated, refuse_mixture, simulated_condition
from zl_assets.warehouse.contracts import OUR_DATASETS, Contract, contracts


def restore(warehouse: Warehouse, name: str, *, day: date | None = None, replace: bool = False) -> Archived:
    """Put a snapshot back into its original place, in one transaction, and compare the two.

    Columns of the archive are left out. A table with a contract gets rows that keep it: a nullable column that the
    snapshot does not have yet is null. Another table is made as the snapshot is.

    Args:
        warehouse: where the snapshot is.
        name: of the snapshot, or of its original.
        day: of the snapshot, with the name of an original; its newest snapshot where it is None.
        replace: whether rows that are in the place are given up.

    Raises:
        InputError: there is no such snapshot, its place holds rows or is not ours, its rows do not fit the contract,
            or it would mix a simulated and a real market.
        WarehouseError: the table does not hold afterwards what the snapshot holds.
    """
    snapshot = _snapshot(warehouse, checked_name(name), day)
    target = str(original_of(snapshot.name))
    _refuse_dataset(target)
    promised = contracts().get(target)
    # A table that was dropped is made as its contract says, partitions included.
    warehouse.ensure()
    place = _place(warehouse, target, replace=replace)
    select = _select_for(promised, snapshot) if promised else without_own_columns(snapshot)
    simulated = holds_simulated(warehouse, snapshot.name, snapshot.columns)
    if simulated_condition(snapshot.columns) is not None and warehouse.row_count(snapshot.name):
        elsewhere = "restore it in another --home or project"
        refuse_mixture(warehouse, snapshot.name, simulated=simulated, besides=target, action=elsewhere)
    if promised is None:
        warehouse.create_table(target, select, replace=place is not None)
        arrived = f"SELECT * FROM {quoted(target)}"
    else:
        _refuse_rows(warehouse, promised, select, snapshot)
        warehouse.rewrite(target, select)
        arrived = f"SELECT {', '.join(c.name for c in promised.columns)} FROM {target}"
    same = compared(warehouse, select, arrived, target)
    return Archived(target, snapshot.name, same.rows, same.checksum, simulated)


def _snapshot(warehouse: Warehouse, name: str, day: date | None) -> Stored:
    """The snapshot that a user means, by its own name or its original's."""
    wanted = name
    if original_of(name) is None:
        wanted = snapshot_name(name, day) if day else max(_snapshots_of(warehouse, name), default="")
    elif day is not None and not name.startswith(f"{ARCHIVE}.legacy_{day:%Y%m%d}__"):
        raise InputError("the name says another day than --date", where=name, action="give one of the two")
    found = warehouse.describe(wanted or name)
    if found is not None and is_snapshot(found):
        return found
    there = _snapshots_of(warehouse, original_of(name) or name)
    raise InputError(
        "there is no such snapshot",
        where=wanted or name,
        action=f"there are {', '.join(there)}"
        if there
        else f"archive it first: zl archive {original_of(name) or name}",
    )


def _snapshots_of(warehouse: Warehouse, table: str) -> list[str]:
    """Names of the snapshots of a table, oldest first."""
    return sorted(name for name in warehouse.listed() if original_of(name) == table)


def _refuse_dataset(target: str) -> None:
    if target.split(".")[0] not in OUR_DATASETS:
        raise InputError(
            "the original is in a dataset of others, which is never written",
            where=target,
            action="read the snapshot where it is, e.g. with zl query",
        )


def _place(warehouse: Warehouse, target: str, *, replace: bool) -> Stored | None:
    """What is in the place that is restored into: nothing, or a table whose rows may go."""
    found = warehouse.describe(target)
    if found is not None and found.definition is not None:
        raise InputError("there is a view where the table was", where=target, action="drop the view, and restore again")
    rows = warehouse.row_count(target) if found else 0
    if rows and not replace:
        raise InputError(
            f"the table holds {rows:,} rows",
            where=target,
            action=f"keep them with `zl archive {target}` first, then repeat with --replace",
        )
    return found


def _select_for(promised: Contract, snapshot: Stored) -> str:
    """The SELECT of a snapshot's rows in the columns of a contract."""
    types = {c.name: c.full_type for c in promised.columns}
    kept = {n: t for n, t in snapshot.columns.items() if n not in OWN_COLUMNS}
    wrong = [f"{n} is not in sql/tables" for n in kept if n not in types]
    wrong += [f"{n} is {t}, sql/tables says {types[n]}" for n, t in kept.items() if types.get(n, t) != t]
    wrong += [
        f"{c.name} is missing and not nullable" for c in promised.columns if c.name not in kept and not c.nullable
    ]
    if wrong:
        raise InputError(
            f"the columns do not fit the contract: {'; '.join(wrong)}",
            where=snapshot.name,
            action=f"read the snapshot where it is, e.g. with zl query; {promised.name} was not changed",
        )
    values = [n if n in kept else f"CAST(NULL AS {t}) AS {n}" for n, t in types.items()]
    return f"SELECT {', '.join(values)} FROM {quoted(snapshot.name)}"


def _refuse_rows(warehouse: Warehouse, promised: Contract, select: str, snapshot: Stored) -> None:
    """Refuse rows with nulls where the contract has none, or with a key twice, before anything is written."""
    required = [c.name for c in promised.columns if not c.nullable]
    nulls = ", ".join(f"COUNTIF({name} IS NULL) AS {name}" for name in required)
    rows = warehouse.read(f"SELECT COUNT(*) AS row_count, {nulls} FROM ({select}) AS r").row(0, named=True)
    keys = f"SELECT DISTINCT {', '.join(promised.keys)} FROM ({select}) AS r"
    distinct = int(warehouse.read(f"SELECT COUNT(*) AS n FROM ({keys}) AS k").item())
    wrong = [f"{rows[name]:,} rows without {name}" for name in required if rows[name]]
    if distinct != rows["row_count"]:
        wrong.append(f"{rows['row_count'] - distinct:,} rows repeat a key")
    if wrong:
        raise InputError(
            f"the rows do not fit the contract: {'; '.join(wrong)}",
            where=snapshot.name,
            action=f"mend the snapshot or read it where it is; {promised.name} was not changed",
        )
