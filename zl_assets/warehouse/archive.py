"""Snapshots of tables in the archive dataset; `restore` is the way back.

A snapshot is ``archive.legacy_{yyyymmdd}__{dataset}__{table}``: every column of its original, and three of its own. It
is made by one statement, so a process that is killed leaves the whole snapshot or none. A snapshot that exists stays,
unless it is to be made anew. Any dataset can be archived from, since that only reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version

from zl_assets.errors import InputError, WarehouseError
from zl_assets.warehouse.base import Stored, Warehouse, literal, quoted
from zl_assets.warehouse.comparison import Fingerprint, fingerprint, holds_simulated

ARCHIVE = "archive"
OWN_COLUMNS = {"archived_date": "DATE", "original_location": "STRING", "migration_version": "STRING"}
"""What a snapshot has beside the columns of its original: the day in UTC, its name, and the release that archived."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\.[A-Za-z_][A-Za-z0-9_]*")
_SNAPSHOT = re.compile(rf"{ARCHIVE}\.legacy_(?P<day>\d{{8}})__(?P<dataset>\w+?)__(?P<table>\w+)")


@dataclass(frozen=True)
class Archived:
    """A table and its snapshot, compared.

    Attributes:
        table: the original.
        snapshot: its name in the archive.
        rows: how many each of them holds.
        checksum: of the original's columns, the same on both sides.
        simulated: whether there are rows of a simulated market among them.
    """

    table: str
    snapshot: str
    rows: int
    checksum: str
    simulated: bool


def snapshot_name(table: str, day: date) -> str:
    """Name of the snapshot of ``dataset.table`` that is made on a day."""
    dataset, name = table.split(".")
    return f"{ARCHIVE}.legacy_{day:%Y%m%d}__{dataset}__{name}"


def original_of(snapshot: str) -> str | None:
    """The table that a snapshot is of, from its name; None for any other name."""
    found = _SNAPSHOT.fullmatch(snapshot)
    return f"{found['dataset']}.{found['table']}" if found else None


def checked_name(name: str) -> str:
    """A name that a user typed, if it is ``dataset.table`` of letters, digits and underscores.

    Raises:
        InputError: it is anything else, SQL included.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            "not a name of a table", where=name, action="write dataset.table, in letters, digits and underscores"
        )
    return name


def is_snapshot(stored: Stored) -> bool:
    """Whether it is a table with the columns of a snapshot."""
    return stored.definition is None and all(stored.columns.get(n) == t for n, t in OWN_COLUMNS.items())


def archive(
    warehouse: Warehouse, tables: Sequence[str], day: date, report: Callable[[str], None], *, replace: bool = False
) -> list[Archived]:
    """Make a snapshot of each table, and compare it with its original.

    Every name is looked at before the first snapshot is made.

    Args:
        warehouse: where the tables are.
        tables: names, ``dataset.table``; one named twice is archived once.
        day: the day in UTC.
        report: told in one line what has ended.
        replace: whether a snapshot of the same day is made anew.

    Raises:
        InputError: a name is no table's, or there is a snapshot of that day.
        WarehouseError: a snapshot does not hold what its original holds.
    """
    originals = [_original(warehouse, name) for name in dict.fromkeys(tables)]
    for original in originals:
        _refuse_to_overwrite(warehouse, original, snapshot_name(original.name, day), replace=replace)
    warehouse.ensure_dataset(ARCHIVE)
    done: list[Archived] = []
    for original in originals:
        done.append(_archive(warehouse, original, day, replace=replace))
        said = ", SIMULATED" if done[-1].simulated else ""
        report(f"  {done[-1].snapshot:<70} {done[-1].rows:>9,} rows{said}")
    return done


def _original(warehouse: Warehouse, name: str) -> Stored:
    found = warehouse.describe(checked_name(name))
    if found is None:
        raise InputError("there is no such table to archive", where=name, action="zl status lists the tables")
    if found.definition is not None:
        raise InputError(
            "a view holds no rows of its own to archive", where=name, action="archive the tables that it reads"
        )
    taken = sorted(c for c in found.columns if c.lower() in OWN_COLUMNS)
    if taken:
        raise InputError(
            f"the table has columns of the archive already: {', '.join(taken)}",
            where=name,
            action="a snapshot is not archived again; rename the columns of any other table",
        )
    if original_of(snapshot_name(name, date.max)) != name:
        raise InputError(
            "the name of a snapshot could not be read back",
            where=name,
            action="rename the dataset or the table: "
            "a dataset with two underscores in a row, or one at its end, cannot be told from its table",
        )
    return found


def _refuse_to_overwrite(warehouse: Warehouse, original: Stored, snapshot: str, *, replace: bool) -> None:
    found = warehouse.describe(snapshot)
    if found is not None and not is_snapshot(found):
        raise InputError("the snapshot's name is taken by something else", where=snapshot, action="move it away")
    if found is not None and not replace:
        raise InputError(
            f"{original.name} has been archived on that day already",
            where=snapshot,
            action="keep it, or make it anew with --replace",
        )


def _archive(warehouse: Warehouse, original: Stored, day: date, *, replace: bool) -> Archived:
    snapshot = snapshot_name(original.name, day)
    rows = f"SELECT * FROM {quoted(original.name)}"
    own = (
        f"{literal(day)} AS archived_date, '{original.name}' AS original_location, "
        f"'zl-assets {version('zl-assets')}' AS migration_version"
    )
    warehouse.create_table(snapshot, f"SELECT o.*, {own} FROM {quoted(original.name)} AS o", replace=replace)
    stored = Stored(snapshot, {**original.columns, **OWN_COLUMNS})
    same = compared(warehouse, rows, without_own_columns(stored), snapshot)
    simulated = holds_simulated(warehouse, stored.name, stored.columns)
    return Archived(original.name, snapshot, same.rows, same.checksum, simulated)


def compared(warehouse: Warehouse, expected: str, arrived: str, where: str) -> Fingerprint:
    """The fingerprint of two SELECTs.

    Raises:
        WarehouseError: they have not the same rows.
    """
    wanted, found = fingerprint(warehouse, expected), fingerprint(warehouse, arrived)
    if wanted != found:
        raise WarehouseError(
            f"the copy holds {found.rows:,} rows with checksum {found.checksum}, "
            f"its original {wanted.rows:,} with {wanted.checksum}",
            where=where,
            action="see whether something else was writing, and repeat with --replace",
        )
    return found


def without_own_columns(snapshot: Stored) -> str:
    """The SELECT of a snapshot's rows in the columns of its original."""
    return f"SELECT * EXCEPT ({', '.join(OWN_COLUMNS)}) FROM {quoted(snapshot.name)}"
