"""Which rows of a computed table a run has to compute: those that can see what changed since the table's last build.

What the last build saw is kept as metadata of the asset's last materialisation. It counts only while code, settings and
table are the ones it speaks of, whichever warehouse the table is in; otherwise every row is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import dagster as dg
from pydantic import BaseModel, StringConstraints, ValidationError

from zl_assets.assets.common import merged, utc_now
from zl_assets.warehouse.base import MergeResult, Warehouse
from zl_assets.warehouse.contracts import BOOKKEEPING, contract

if TYPE_CHECKING:
    import polars as pl

LAST_BUILD = "last_build"
"""Name of the metadata."""

_HELD = "held"

Month = Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


class Held(BaseModel, frozen=True):
    """What tells whether a table holds what was last written to it.

    A merge stamps each row it inserts or rewrites with its own moment, so another writer shows in the newest moment, or
    in how many rows have it.

    Attributes:
        rows: rows of the table.
        newest: newest `ingestion_ts`; None where there is no row.
        newest_rows: rows of that moment.
    """

    rows: int
    newest: datetime | None
    newest_rows: int

    def after(self, result: MergeResult, now: datetime) -> Held:
        """What the table holds if nobody wrote to it between the look at it and this merge."""
        changed = result.inserted + result.updated
        if not changed:
            return self
        return Held(rows=self.rows + result.inserted, newest=now, newest_rows=changed)


class Build(BaseModel, frozen=True):
    """What a table was last built from, and what it held then.

    Attributes:
        fingerprint: of everything but rows that a value depends on.
        digests: of the inputs by month, see `core.features.changes`.
        held: what the table held after it.
    """

    fingerprint: str
    digests: dict[Month, str]
    held: Held


@dataclass(frozen=True)
class Plan:
    """What a run has to compute.

    Attributes:
        told: for a person, since when rows are computed, and why if it is all of them.
        nothing: whether no row can have changed.
        since: day (UTC) since which inputs have changed; None where every row is to be computed, or none.
    """

    told: str
    nothing: bool = False
    since: date | None = None


@dataclass(frozen=True)
class Begun:
    """A run that has read its inputs.

    Attributes:
        moment: `ingestion_ts` of its rows.
        inputs: frames by name.
        before: what the table would be built from now, and what it holds.
        plan: what to compute.
    """

    moment: datetime
    inputs: dict[str, pl.DataFrame]
    before: Build
    plan: Plan

    def metadata(self, result: MergeResult) -> dict[str, Any]:
        """What was computed, and what the next run needs to know, once the rows are merged."""
        done = self.before.model_copy(update={"held": self.before.held.after(result, self.moment)})
        return {
            **merged(result, done.held.rows),
            "rebuilt_from": self.plan.told,
            "rows_rebuilt": result.inserted + result.updated + result.unchanged,
            LAST_BUILD: dg.MetadataValue.json(done.model_dump(mode="json")),
        }


def begin(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    table: str,
    queries: Mapping[str, str],
    settings: Mapping[str, str],
) -> Begun:
    """Read what a table is built from, and find out what to compute.

    Args:
        context: of the table's asset.
        warehouse: the store.
        table: ``dataset.table``, with `ingestion_ts`.
        queries: SELECT of each input by name, see `core.features.changes.digests` for their columns.
        settings: by name, those that values depend on.
    """
    from zl_assets.core.features.changes import digests

    # The moment comes before the look at the tables: what others write after that look is not hidden behind it.
    moment = utc_now()
    inputs = warehouse.read_all({_HELD: _held_sql(table), **queries})
    rows, newest, newest_rows = inputs.pop(_HELD).row(0)
    before = Build(
        fingerprint=_fingerprint(table, settings, inputs),
        digests=digests(inputs, BOOKKEEPING),
        held=Held(rows=rows, newest=newest, newest_rows=newest_rows),
    )
    return Begun(moment, inputs, before, _plan(_last_build(context), before))


def _held_sql(table: str) -> str:
    """The SELECT of the one row that `Held` is made of."""
    newest = f"SELECT MAX(ingestion_ts) AS moment FROM {table}"
    return (
        "SELECT COUNT(*) AS row_count, MAX(t.ingestion_ts) AS newest, "
        f"COUNT(IF(t.ingestion_ts = n.moment, 1, NULL)) AS newest_rows FROM {table} AS t CROSS JOIN ({newest}) AS n"
    )


def _last_build(context: dg.AssetExecutionContext) -> Build | None:
    """What the asset's last materialisation says of itself; None where there is none, or it cannot be read."""
    event = context.instance.get_latest_materialization_event(context.asset_key)
    told = event.asset_materialization.metadata.get(LAST_BUILD) if event and event.asset_materialization else None
    try:
        return Build.model_validate(told.value) if told else None
    except ValidationError:
        return None


def _plan(last: Build | None, now: Build) -> Plan:
    from zl_assets.core.features.changes import first_changed

    if last is None:
        return Plan("all: no build is recorded here")
    if last.fingerprint != now.fingerprint:
        return Plan("all: code, settings or columns are others, or a table or market came or went")
    if last.held != now.held:
        return Plan("all: the table is not as the last build left it")
    changed = first_changed(last.digests, now.digests)
    return Plan(str(changed), since=changed) if changed else Plan("nothing changed", nothing=True)


def _fingerprint(table: str, settings: Mapping[str, str], inputs: Mapping[str, pl.DataFrame]) -> str:
    """A digest of everything but rows that a value depends on.

    Which tables and markets have rows at all belongs to it: a family whose table is filled for the first time turns
    from null to a count of 0 in rows that see none of the new ones.
    """
    import numpy as np
    import polars as pl

    with_rows = {name: rows for name, rows in inputs.items() if not rows.is_empty()}
    markets = {
        name: sorted(rows["symbol"].unique()) for name, rows in with_rows.items() if "trade_date" in rows.columns
    }
    schema = [(name, str(dtype)) for name, dtype in contract(table).polars_schema().items()]
    read = [(name, str(rows.schema)) for name, rows in sorted(with_rows.items())]
    parts = (pl.__version__, np.__version__, _code(), schema, sorted(settings.items()), read, sorted(markets.items()))
    return sha256(repr(parts).encode()).hexdigest()


@cache
def _code() -> str:
    """A digest of the text of everything that computes."""
    import zl_assets.core

    root = Path(zl_assets.core.__path__[0])
    files = sorted(root.rglob("*.py"))
    return sha256(repr([(str(f.relative_to(root)), f.read_bytes()) for f in files]).encode()).hexdigest()
