"""Shim views: a renamed table under its name of before, for a grace period that the warehouse records.

The day of creation is day 0, days are calendar days in UTC, and day 30 is the last one. A shim is recorded before its
view is made and until after it is dropped, so there is never a view of ours without a record. A table or a view of
somebody else that has the name is never touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from zl_assets.core.horizons import HORIZONS
from zl_assets.errors import InputError, QueryRefused
from zl_assets.warehouse.base import Stored, Warehouse
from zl_assets.warehouse.contracts import contract
from zl_assets.warehouse.dialect import canonical

if TYPE_CHECKING:
    import polars as pl

SHIMS = "archive.shims"
GRACE_DAYS = 30
WARNING_DAYS = 7
"""The last day of grace, counted from creation; and how many days before it warnings begin: on day 23."""

RENAMED = {f"models_v4.production_training_data_{h}": f"training.zl_training_prod_allhistory_{h}" for h in HORIZONS}
"""Tables by the name that they had before."""

State = Literal["in grace", "ends soon", "over"]
View = Literal["present", "missing", "not ours"]


@dataclass(frozen=True)
class Shim:
    """One recorded shim view.

    Attributes:
        legacy_name: of the view.
        target: the table that it shows.
        created_on: day 0.
        expires_on: the last day of grace.
        days_left: until that day; below 0 when it is over.
        state: what the check makes of it.
        view: whether the view is there.
    """

    legacy_name: str
    target: str
    created_on: date
    expires_on: date
    days_left: int
    state: State
    view: View


def state_of(days_left: int) -> State:
    """What a number of days until the last one means: day 23 has 7 left, day 30 none, day 31 is over."""
    if days_left < 0:
        return "over"
    return "ends soon" if days_left <= WARNING_DAYS else "in grace"


def recorded_shims(warehouse: Warehouse) -> pl.DataFrame:
    """Rows of `archive.shims` by name; none where the table has not been made yet."""
    import polars as pl

    try:
        return warehouse.read(f"SELECT * FROM {SHIMS} ORDER BY legacy_name")
    except QueryRefused:
        # A warehouse that an earlier release made gets the table with its next run.
        return pl.DataFrame(schema=contract(SHIMS).polars_schema())


def list_shims(warehouse: Warehouse, names: Sequence[str], today: date) -> list[Shim]:
    """The recorded shims, or some of them, by name.

    Raises:
        InputError: a name is not recorded.
    """
    return [
        _shim(row["legacy_name"], row["target"], row["created_on"], row["expires_on"], today, _view(warehouse, row))
        for row in _recorded(warehouse, names)
    ]


def create_shims(warehouse: Warehouse, names: Sequence[str], now: datetime) -> list[Shim]:
    """Make shim views, all of them where no name is given; a shim that is recorded keeps its grace period.

    Every name is looked at before the first view is made. A view of ours is made anew, so that it shows the columns
    which its target has now.

    Args:
        warehouse: where the targets are.
        names: legacy names.
        now: the moment, in UTC.

    Raises:
        InputError: a name is no legacy name, its target does not exist, or something else has the name.
    """
    import polars as pl

    chosen = _renamed(names)
    for name in chosen:
        if warehouse.describe(RENAMED[name]) is None:
            raise InputError("the renamed table does not exist", where=RENAMED[name], action="run `zl run` first")
    recorded = {r["legacy_name"]: r for r in recorded_shims(warehouse).iter_rows(named=True)}
    for name in chosen:
        _refuse_strangers(warehouse.describe(name), recorded.get(name))
    warehouse.ensure()
    shims = [_granted(name, recorded.get(name), now) for name in chosen]
    columns = {n: [getattr(s, n) for s in shims] for n in ("legacy_name", "target", "created_on", "expires_on")}
    warehouse.merge(SHIMS, pl.DataFrame({**columns, "created_at": [now] * len(shims)}))
    for dataset in dict.fromkeys(name.split(".")[0] for name in chosen):
        warehouse.ensure_dataset(dataset)
    for shim in shims:
        warehouse.create_view(f"CREATE OR REPLACE VIEW {shim.legacy_name} AS {_select(shim.target)}")
    return shims


def drop_shims(warehouse: Warehouse, names: Sequence[str], today: date) -> list[Shim]:
    """Drop shim views and their records, all of them where no name is given; what is not ours keeps its view.

    Returns:
        What was dropped, as it was before.

    Raises:
        InputError: a name is not recorded.
    """
    shims = list_shims(warehouse, names, today)
    for shim in shims:
        if shim.view == "present":
            warehouse.drop_view(shim.legacy_name)
        warehouse.delete(SHIMS, "legacy_name = @name", {"name": shim.legacy_name})
    return shims


def _recorded(warehouse: Warehouse, names: Sequence[str]) -> list[dict[str, Any]]:
    rows = {r["legacy_name"]: r for r in recorded_shims(warehouse).iter_rows(named=True)}
    for name in names:
        if name not in rows:
            there = ", ".join(rows) or "there is none"
            raise InputError("no shim of that name is recorded", where=name, action=f"recorded: {there}")
    return [rows[name] for name in dict.fromkeys(names)] if names else list(rows.values())


def _renamed(names: Sequence[str]) -> list[str]:
    """Legacy names, each one checked; all of them where none is given."""
    for name in names:
        if name not in RENAMED:
            raise InputError("not a legacy name", where=name, action=f"the legacy names are {', '.join(RENAMED)}")
    return list(dict.fromkeys(names)) or list(RENAMED)


def _granted(name: str, recorded: dict[str, Any] | None, now: datetime) -> Shim:
    """A shim as it is to be recorded: with the grace that it has already, or a new one."""
    created = recorded["created_on"] if recorded else now.date()
    expires = recorded["expires_on"] if recorded else created + timedelta(days=GRACE_DAYS)
    return _shim(name, RENAMED[name], created, expires, now.date(), "present")


def _shim(name: str, target: str, created: date, expires: date, today: date, view: View) -> Shim:
    days = (expires - today).days
    return Shim(name, target, created, expires, days, state_of(days), view)


def _select(target: str) -> str:
    return f"SELECT * FROM {target}"


def _view(warehouse: Warehouse, row: dict[str, Any]) -> View:
    found = warehouse.describe(row["legacy_name"])
    if found is None:
        return "missing"
    return "present" if _is_ours(found, row) else "not ours"


def _is_ours(found: Stored, recorded: dict[str, Any]) -> bool:
    """Whether it is a view of the recorded target and of nothing else, which is all that a shim is."""
    return found.definition == canonical(_select(recorded["target"]))


def _refuse_strangers(found: Stored | None, recorded: dict[str, Any] | None) -> None:
    """Refuse what is not a recorded shim; the record comes first, so a view without one is somebody else's."""
    if found is None or (recorded is not None and _is_ours(found, recorded)):
        return
    kind, advice = (
        ("a table", f"keep it with `zl archive {found.name}`, ") if found.definition is None else ("a view", "")
    )
    raise InputError(
        f"the legacy name is taken by {kind} of somebody else, which is not overwritten",
        where=found.name,
        action=f"{advice}move it away, and create the shim again",
    )
