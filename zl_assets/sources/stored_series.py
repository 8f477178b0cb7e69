"""The raw series in the warehouse: reading them back, and adding a delivery without overwriting or mixing anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl

from zl_assets.core.raw_series import SHAPES, quarantine_rows, revisions, sort_out
from zl_assets.errors import InputError
from zl_assets.sources.series_source import SeriesDelivery
from zl_assets.sources.simulated.setting import MARK
from zl_assets.warehouse.base import NOTHING_MERGED, MergeResult, Warehouse
from zl_assets.warehouse.contracts import contract

_QUARANTINE = "raw_intelligence.quarantine"


@dataclass
class TableOutcome:
    """What became of what was delivered for one table.

    Attributes:
        rows: rows in the table as it was read, those added since included: series, date, moment and values.
        merged: what the merge did.
        rejected: rows that broke a rule, by reason.
        left_alone: rows that are neither stored nor rejected, by why.
        sources: those that delivered.
    """

    rows: pl.DataFrame
    merged: MergeResult = NOTHING_MERGED
    rejected: dict[str, int] = field(default_factory=dict[str, int])
    left_alone: dict[str, int] = field(default_factory=dict[str, int])
    sources: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class StoredSeries:
    """The tables of raw series in a warehouse.

    Attributes:
        warehouse: the store.
        tables: what is in each table, by name without the dataset.
    """

    warehouse: Warehouse
    tables: dict[str, TableOutcome]

    @classmethod
    def read(cls, warehouse: Warehouse, tables: Iterable[str]) -> StoredSeries:
        """The series and values of some tables, all read once."""
        columns = {
            t: ", ".join((*SHAPES[t].series, "observed_date", "available_at", *SHAPES[t].values)) for t in tables
        }
        found = warehouse.read_all({t: f"SELECT {names} FROM raw_intelligence.{t}" for t, names in columns.items()})
        schemas = {t: contract(f"raw_intelligence.{t}").polars_schema() for t in columns}
        typed = {t: rows.select(pl.col(c).cast(schemas[t][c]) for c in rows.columns) for t, rows in found.items()}
        return cls(warehouse, {t: TableOutcome(rows) for t, rows in typed.items()})

    def newest(self, source: str) -> dict[str, date]:
        """Latest stored day of a source's own rows by table; a table without one is absent."""
        own = {t: o.rows.filter(pl.col("source") == source)["observed_date"].max() for t, o in self.tables.items()}
        return {table: day for table, day in own.items() if isinstance(day, date)}

    def store(self, delivery: SeriesDelivery, source: str, now: datetime, *, real: bool) -> MergeResult:
        """Add what is new; returns what went to quarantine.

        Args:
            delivery: what a source delivered; tables that were not read are left out.
            source: its name.
            now: ingest timestamp (UTC).
            real: whether the stored bars are a vendor's.

        Raises:
            InputError: the rows are of the other world.
        """
        rejected = [delivery.rejected[t].with_columns(_now(now)) for t in delivery.rejected if t in self.tables]
        for table, rows in delivery.rows.items():
            if table in self.tables and not rows.is_empty():
                _refuse_other_world(rows, source, real=real)
                rejected.append(self._store_table(table, rows, source, now))
        schema = contract(_QUARANTINE).polars_schema()
        together = [frame.select(pl.col(n).cast(k) for n, k in schema.items()) for frame in rejected]
        return (
            self.warehouse.merge(_QUARANTINE, pl.concat(together).unique("quarantine_id"))
            if together
            else NOTHING_MERGED
        )

    def _store_table(self, table: str, rows: pl.DataFrame, source: str, now: datetime) -> pl.DataFrame:
        """Merge the new rows of a table; returns the rejected ones as rows of the quarantine."""
        stored = self.tables[table]
        done = sort_out(table, rows, now, stored.rows)
        new = revisions(table, done.rows, stored.rows, now)
        stored.merged += self.warehouse.merge(f"raw_intelligence.{table}", new)
        stored.rows = pl.concat([stored.rows, new.select(stored.rows.columns)])
        stored.sources.append(source)
        _add(stored.rejected, dict(done.rejected.group_by("reason").len().sort("reason").iter_rows()))
        _add(stored.left_alone, done.left_alone)
        return quarantine_rows(table, done.rejected, source, now)


def _now(now: datetime) -> pl.Expr:
    return pl.lit(now).cast(pl.Datetime("us", "UTC")).alias("ingest_timestamp")


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def _refuse_other_world(rows: pl.DataFrame, source: str, *, real: bool) -> None:
    """Raise InputError where simulated series meet real bars, or real series simulated bars."""
    simulated = rows["source"].str.starts_with(MARK)
    if simulated.any() if real else not simulated.all():
        ours, others = ("real", "simulated") if real else ("no real", "real")
        raise InputError(
            f"this home holds {ours} bars, and {others} series must not be mixed in",
            where=source,
            action="give --data a directory that holds bars and series of one market, or choose another --home",
        )
