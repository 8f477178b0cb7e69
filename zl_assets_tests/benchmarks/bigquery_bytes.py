"""Bytes that BigQuery would process for a first `zl run` and for a repeated one, from the statements that are sent.

python -m zl_assets_tests.benchmarks.bigquery_bytes DATA_DIR

The local server that the tests talk to counts no bytes, so they are computed by BigQuery's published rules: a
statement processes the columns it names, of whole partitions, at the logical size of their values, and an on-demand
bill counts at least 10 MB for each table of a statement. The figures are upper bounds: a view counts with all its
columns, and the tables of the first run count as full as they are at its end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import sqlglot
from sqlglot import exp

from zl_assets.assets.predictions import LATEST, latest_name
from zl_assets.assets.training import FLAT, view_name
from zl_assets.automation.runner import run_graph
from zl_assets.build import build_warehouse
from zl_assets.core.horizons import HORIZONS
from zl_assets.settings import Settings
from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets.warehouse.bigquery_jobs import Jobs
from zl_assets.warehouse.contracts import contracts, view_sql
from zl_assets_tests.stores import new_project
from zl_assets_tests.warehouse import emulator

LEAST_BILLED = 10 * 2**20
"""Bytes an on-demand bill counts for each table of a statement, at least."""


@dataclass(frozen=True)
class Sizes:
    """Logical bytes of a table: one row a month of its partition column (null without one), one column a column."""

    by_month: pl.DataFrame

    def of(self, columns: set[str] | None, window: tuple[date, date] | None) -> int:
        """Bytes of some columns, or of all, in the whole months that a window meets, or in all."""
        rows = self.by_month
        if window:
            first, last = (d.replace(day=1) for d in window)
            rows = rows.filter(pl.col("_month").is_between(first, last))
        wanted = [c for c in rows.columns if c != "_month" and (columns is None or c in columns)]
        return int(rows.select(pl.sum_horizontal(pl.col(wanted).sum())).item() or 0) if wanted else 0


def logical_bytes(name: str, dtype: pl.DataType) -> pl.Expr:
    """Bytes of each value: 2 and its UTF-8 for a text, 1 for a boolean, 8 for numbers and times, 0 for null."""
    column = pl.col(name)
    return _bytes(column, dtype).alias(name)


def _bytes(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Struct):
        return pl.sum_horizontal(
            _bytes(value.struct.field(f.name), f.dtype)
            for f in dtype.fields  # pyright: ignore[reportArgumentType]
        )
    width = value.str.len_bytes().cast(pl.Int64) + 2 if dtype == pl.String else pl.lit(1 if dtype == pl.Boolean else 8)
    return pl.when(value.is_null()).then(0).otherwise(width)


def measured(rows: pl.DataFrame, partition: str | None) -> Sizes:
    """Sizes of a table's rows."""
    month = pl.col(partition).dt.date().dt.truncate("1mo") if partition else pl.lit(None, dtype=pl.Date)
    sizes = rows.select(month.alias("_month"), *[logical_bytes(n, t) for n, t in rows.schema.items()])
    return Sizes(sizes.group_by("_month").sum())


@contextmanager
def recorded() -> Iterator[tuple[list[str], dict[str, Sizes]]]:
    """The statements that run within, and the sizes of the staging tables that they name."""
    statements: list[str] = []
    staging: dict[str, Sizes] = {}
    run, staged = Jobs._run, BigQueryWarehouse._staged

    def and_record(jobs: Jobs, sql: str, params: Any, where: str) -> Any:
        statements.append(sql)
        return run(jobs, sql, params, where)

    @contextmanager
    def and_measure(store: BigQueryWarehouse, promised: Any, rows: pl.DataFrame) -> Iterator[str]:
        with staged(store, promised, rows) as name:
            staging[name] = measured(rows, None)
            yield name

    with mock.patch.object(Jobs, "_run", and_record), mock.patch.object(BigQueryWarehouse, "_staged", and_measure):
        yield statements, staging


def processed(sql: str, sizes: Mapping[str, Sizes]) -> dict[str, int]:
    """Bytes of each table that a statement processes."""
    tree = sqlglot.parse_one(sql, read="bigquery")
    named = {i.name for i in tree.find_all(exp.Identifier)}
    starred = any(not isinstance(s.parent, exp.Count) for s in tree.find_all(exp.Star))
    written = tree.this.sql("bigquery").split(" AS ")[0] if isinstance(tree, exp.Merge) else None
    found: dict[str, int] = {}
    for table in tree.find_all(exp.Table):
        name = f"{table.db}.{table.name}"
        if name in _VIEWS:
            found |= processed(_VIEWS[name], sizes)
        elif name in sizes:
            promised = contracts().get(name)
            columns = None if starred or name == written else named
            found[name] = sizes[name].of(columns, _window(tree, promised.partition_column if promised else None))
    return found


_VIEWS = {
    name(h): sqlglot.parse_one(view_sql(view, h), read="bigquery").expression.sql("bigquery")
    for view, name in ((FLAT, view_name), (LATEST, latest_name))
    for h in HORIZONS
}


def _window(tree: exp.Expression, column: str | None) -> tuple[date, date] | None:
    """First and last day that a statement's literals leave of a partition column."""
    for between in tree.find_all(exp.Between):
        low, high = (between.args[side].find(exp.Literal) for side in ("low", "high"))
        if column and between.this.name == column and low and high:
            return date.fromisoformat(low.name[:10]), date.fromisoformat(high.name[:10])
    return None


def bill(statements: list[str], sizes: Mapping[str, Sizes]) -> dict[str, int]:
    """What statements come to: how many, bytes processed, and bytes on an on-demand bill."""
    tables = [list(processed(sql, sizes).values()) for sql in statements]
    return {
        "statements": len(statements),
        "bytes_processed": sum(map(sum, tables)),
        "bytes_billed": sum(max(b, LEAST_BILLED) for found in tables for b in found),
    }


def main() -> None:
    """Run twice against the local server, and count."""
    parser = argparse.ArgumentParser(description="Bytes that BigQuery would process for a first and a repeated zl run")
    parser.add_argument("directory", type=Path, metavar="DATA_DIR", help="directory of vendor files")
    parser.add_argument("--horizon", action="append", choices=list(HORIZONS), help="horizon to run; default all")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, emulator.running(Path(place)) as address:
        settings = Settings(
            home=Path(place) / "home",
            data=asked.directory.resolve(),
            warehouse="bigquery",
            bigquery_project=new_project(),
            bigquery_api_endpoint=address,
        )
        runs: dict[str, tuple[list[str], dict[str, Sizes]]] = {}
        for name in ("first run", "repeated run"):
            with recorded() as record:
                run_graph(settings, asked.horizon or list(HORIZONS), lambda _: None)
            runs[name] = record
        store = build_warehouse(settings)
        sizes = {n: measured(store.read(f"SELECT * FROM {n}"), c.partition_column) for n, c in contracts().items()}
    stored = sum(s.of(None, None) for s in sizes.values())
    counted = {name: bill(statements, sizes | staging) for name, (statements, staging) in runs.items()}
    print(json.dumps({"bytes_stored": stored, **counted}, indent=1))


if __name__ == "__main__":
    main()
