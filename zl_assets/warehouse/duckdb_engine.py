"""The embedded warehouse: one DuckDB file, one writer at a time.

A connection is opened for one action and closed at once: while it is open, no other process can use the file.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zl_assets.errors import NotAWarehouse, QueryRefused, StorageFull, WarehouseError, WarehouseLocked
from zl_assets.warehouse.base import MergeResult, TableInfo, Value, contract, merge_sql
from zl_assets.warehouse.contracts import OUR_DATASETS, contracts
from zl_assets.warehouse.dialect import to_duckdb

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    import pyarrow as pa

_POLL_SECONDS = 0.2
_STREAMED_VALUES = 2_000_000
"""Values in a streamed frame, rows by columns: 16 MB of numbers, however wide the table."""
_STREAMING_MB, _STREAMING_MB_PER_COLUMN = 256, 1
"""What DuckDB may hold of a streamed answer, to sort it for instance; the rest goes to a file beside the database.

It grows with the columns, since a few blocks of each are held at once, and not with the rows.
"""


@dataclass(frozen=True)
class DuckDBWarehouse:
    """The tables of the project in one DuckDB file.

    Attributes:
        path: the database file; created by `ensure`.
        lock_timeout: seconds to wait for another process before giving up.
    """

    path: Path
    lock_timeout: float = 30.0

    def ensure(self) -> None:
        """Create the file, the datasets and the tables that are missing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection(create=True) as connection:
            existing = {f"{s}.{t}" for s, t in connection.execute(_LIST_TABLES).fetchall()}
            for dataset in OUR_DATASETS:
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {dataset}")
            for name, promised in contracts().items():
                if name not in existing:
                    connection.execute(to_duckdb(promised.ddl))

    def merge(self, table: str, frame: pl.DataFrame) -> MergeResult:
        """Insert new rows and rewrite those whose values differ, in one transaction.

        Raises:
            ContractBroken: the frame does not fit the table.
        """
        promised = contract(table)
        rows = promised.validated(frame)
        statement = to_duckdb(merge_sql(promised, "staging"))
        with self._transaction() as connection:
            before = _count(connection, table)
            connection.register("staging", rows.to_arrow())
            changed = int(connection.execute(statement).fetchall()[0][0])
            inserted = _count(connection, table) - before
        return MergeResult(inserted, changed - inserted, rows.height - changed)

    def replace(self, table: str, select: str) -> int:
        """Replace a table's rows by those of a SELECT, in one transaction; returns the rows."""
        columns = ", ".join(c.name for c in contract(table).columns)
        with self._transaction() as connection:
            connection.execute(f"CREATE TEMP TABLE replacement AS SELECT {columns} FROM ({to_duckdb(select)})")
            connection.execute(f"DELETE FROM {table}")
            connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM replacement")
            return _count(connection, table)

    def create_view(self, statement: str) -> None:
        """Run one CREATE OR REPLACE VIEW statement."""
        with self._transaction() as connection:
            connection.execute(to_duckdb(statement))

    def delete(self, table: str, where: str, params: dict[str, Value]) -> int:
        """Delete the rows a condition selects, in one transaction; returns how many."""
        with self._transaction() as connection:
            deleted = connection.execute(to_duckdb(f"DELETE FROM {table} WHERE {where}"), params).fetchall()
        return int(deleted[0][0])

    def read(self, sql: str, params: dict[str, Value] | None = None) -> pl.DataFrame:
        """Rows of one SELECT in BigQuery's dialect, read-only, without access to files."""
        with self._answer(sql, params) as answer:
            return answer.pl()

    def stream(self, sql: str, params: dict[str, Value] | None = None) -> Generator[pl.DataFrame, None, None]:
        """Rows of one SELECT in frames of bounded size; until the last one, or its closing, nobody can write."""
        import polars as pl

        with self._answer(sql, params, bounded=True) as answer:
            reader = answer.to_arrow_reader(max(1, _STREAMED_VALUES // len(answer.description)))
            yield pl.DataFrame(reader.schema.empty_table())
            while (batch := _next_batch(reader)) is not None:
                yield pl.DataFrame(batch)

    @contextmanager
    def _answer(
        self, sql: str, params: dict[str, Value] | None, *, bounded: bool = False
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        import duckdb

        with self._connection(read_only=True) as connection:
            connection.execute("SET enable_external_access = false")
            connection.execute("SET python_enable_replacements = false")
            try:
                if bounded:
                    _bound_memory(connection, to_duckdb(sql), params)
                yield connection.execute(to_duckdb(sql), params or None)
            except (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException) as error:
                raise QueryRefused(
                    str(error).splitlines()[0], where=sql, action="zl status lists the tables"
                ) from error
            except (
                duckdb.PermissionException,
                duckdb.ProgrammingError,
                duckdb.DataError,
                duckdb.NotSupportedError,
            ) as error:
                raise QueryRefused(str(error).splitlines()[0], where=sql, action="query stored tables only") from error

    def row_count(self, table: str) -> int:
        """Rows of a table or view."""
        return int(self.read(f"SELECT COUNT(*) AS n FROM {table}").item())

    def tables(self) -> list[TableInfo]:
        """Every stored table and view of the project's datasets."""
        if not self.path.exists():
            return []
        with self._connection(read_only=True) as connection:
            listed = connection.execute(_LIST_TABLES).fetchall()
            names = [f"{s}.{t}" for s, t in listed if s in OUR_DATASETS]
            dated = dict(connection.execute(_FIRST_TIME_COLUMN).fetchall())
            return [_info(connection, name, dated.get(name)) for name in names]

    def datasets(self) -> list[str]:
        """Names of all datasets of the file, those of others among them."""
        if not self.path.exists():
            return []
        with self._connection(read_only=True) as connection:
            return [name for (name,) in connection.execute(_LIST_DATASETS).fetchall()]

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._connection() as connection:
            connection.begin()
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def _connection(self, *, read_only: bool = False, create: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        import duckdb

        if not create and not self.path.exists():
            raise WarehouseError("there is no warehouse yet", where=str(self.path), action="run `zl run` first")
        try:
            connection = self._opened(read_only=read_only)
            try:
                connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
                yield connection
            finally:
                connection.close()
        except duckdb.Error as error:
            raise self._translated(error) from error

    def _opened(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        import duckdb

        deadline = time.monotonic() + self.lock_timeout
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=read_only)
            except duckdb.IOException as error:
                if "Could not set lock" not in str(error):
                    raise
                if time.monotonic() > deadline:
                    raise self._locked(str(error)) from error
                time.sleep(_POLL_SECONDS)

    def _locked(self, message: str) -> WarehouseLocked:
        found = re.search(r"held in (.+?\(PID \d+\))", message)
        holder = found[1] if found else "unnamed"
        return WarehouseLocked(
            f"another process, {holder}, has held the warehouse for {self.lock_timeout:g} s",
            where=str(self.path),
            action="wait for it to end or stop it, then run again; nothing was changed",
        )

    def _translated(self, error: duckdb.Error) -> Exception:
        import duckdb

        message = str(error)
        if isinstance(error, duckdb.OutOfMemoryException):
            return StorageFull(
                f"neither memory nor disk has room for this: {message.splitlines()[0]}",
                where=str(self.path),
                action="free space and run again; what was stored before is intact",
            )
        if "not a valid DuckDB database" in message or "does not match" in message:
            return NotAWarehouse(
                "the file is not a DuckDB database this version can read",
                where=str(self.path),
                action="move it away or choose another --home; it was not changed",
            )
        if re.search(r"no space left|disk (is )?full|file too large|disk quota", message, re.IGNORECASE):
            return StorageFull(
                "no space left to write the warehouse",
                where=str(self.path),
                action="free space and run again; what was stored before is intact",
            )
        if "Permission denied" in message or "read-only" in message.lower():
            return WarehouseError(
                "the warehouse cannot be written", where=str(self.path), action="check the permissions of --home"
            )
        return error


_LIST_TABLES = """
SELECT table_schema, table_name FROM information_schema.tables
WHERE table_schema NOT IN ('main', 'information_schema', 'pg_catalog') ORDER BY 1, 2
"""

_LIST_DATASETS = """
SELECT schema_name FROM information_schema.schemata
WHERE catalog_name = current_database() AND schema_name NOT IN ('main', 'information_schema', 'pg_catalog') ORDER BY 1
"""

_FIRST_TIME_COLUMN = """
SELECT table_schema || '.' || table_name, arg_min(column_name, ordinal_position)
FROM information_schema.columns WHERE data_type = 'DATE' GROUP BY 1
"""


def _bound_memory(connection: duckdb.DuckDBPyConnection, sql: str, params: dict[str, Value] | None) -> None:
    columns = len(connection.execute(f"DESCRIBE {sql}", params or None).fetchall())
    # Each thread has buffers of its own, which would use up the memory on a machine of many cores.
    limit = _STREAMING_MB + columns * _STREAMING_MB_PER_COLUMN
    connection.execute(f"SET memory_limit = '{limit}MB'; SET threads = 1")


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row: Any = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
    return int(row[0])


def _next_batch(reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
    """The next rows of an answer; Arrow's reader makes an OSError of every error of DuckDB's, which is undone here."""
    import duckdb

    try:
        return reader.read_next_batch()
    except StopIteration:
        return None
    except OSError as error:
        kinds = {"Out of Memory Error": duckdb.OutOfMemoryException, "IO Error": duckdb.IOException}
        raise kinds.get(str(error).split(":")[0], duckdb.DataError)(str(error)) from error


def _info(connection: duckdb.DuckDBPyConnection, name: str, time_column: str | None) -> TableInfo:
    newest = f"CAST(MAX({time_column}) AS VARCHAR)" if time_column else "NULL"
    row: Any = connection.execute(f"SELECT COUNT(*), {newest} FROM {name}").fetchone()
    return TableInfo(name, int(row[0]), row[1])
