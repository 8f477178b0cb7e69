"""The embedded warehouse: one DuckDB file, one writer at a time.

A connection is opened for one action and closed at once: while it is open, no other process can use the file.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zl_assets.errors import NotAWarehouse, QueryRefused, StorageFull, WarehouseError, WarehouseLocked
from zl_assets.warehouse.base import (
    NOTHING_MERGED,
    MergeResult,
    Stored,
    TableInfo,
    Value,
    contract,
    create_table_sql,
    merge_sql,
    quoted,
)
from zl_assets.warehouse.contracts import OUR_DATASETS, Contract, contracts
from zl_assets.warehouse.dialect import canonical, to_duckdb, type_of_duckdb
from zl_assets.warehouse.duckdb_schema import amendments

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    import pyarrow as pa

_POLL_SECONDS = 0.2
_MAGIC = slice(8, 12)
"""Where a DuckDB file says that it is one."""
_DAMAGED = (
    r"not a valid DuckDB|does not match|enough bytes|[Cc]orrupt|[Cc]hecksum|deserialize|trying to read a database"
)
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

    def ensure(self, tables: Iterable[Contract] | None = None) -> None:
        """Create the file, the datasets and the tables that are missing; mend a table where that loses nothing.

        A missing nullable column is added, and a column that is NOT NULL and may be null by its contract is made so.

        Args:
            tables: contracts to look after; all but those of the full surface where not given.

        Raises:
            TableDiffers: a table is not what its contract says in another way.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection(create=True) as connection:
            existing: dict[str, dict[str, str]] = {}
            required: dict[str, set[str]] = defaultdict(set)
            for dataset, table, column, kind, nullable in connection.execute(_ALL_COLUMNS).fetchall():
                existing.setdefault(f"{dataset}.{table}", {})[column] = type_of_duckdb(kind)
                if not nullable:
                    required[f"{dataset}.{table}"].add(column)
            for dataset in OUR_DATASETS:
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {dataset}")
            for promised in contracts().values() if tables is None else tables:
                if promised.name not in existing:
                    connection.execute(to_duckdb(promised.ddl))
                    continue
                for statement in amendments(promised, existing[promised.name], required[promised.name]):
                    connection.execute(statement)

    def merge(self, table: str, frame: pl.DataFrame) -> MergeResult:
        """Insert new rows and rewrite those whose values differ, in one transaction.

        Raises:
            ContractBroken: the frame does not fit the table.
        """
        promised = contract(table)
        rows = promised.validated(frame)
        if rows.is_empty():
            return NOTHING_MERGED
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

    def rewrite(self, table: str, select: str) -> int:
        """Replace a table's rows by those of a SELECT; here `replace` keeps no row either."""
        return self.replace(table, select)

    def create_table(self, name: str, select: str, *, replace: bool = False) -> None:
        """Make a table of a SELECT's rows, in one transaction; one that exists stays, unless it is to be replaced."""
        self._run(create_table_sql(name, select, replace=replace))

    def ensure_dataset(self, name: str) -> None:
        """Create a dataset where it is missing."""
        self._run(f"CREATE SCHEMA IF NOT EXISTS {name}")

    def create_view(self, statement: str) -> None:
        """Run one CREATE OR REPLACE VIEW statement."""
        self._run(statement)

    def drop_view(self, name: str) -> None:
        """Drop a view where it exists."""
        self._run(f"DROP VIEW IF EXISTS {quoted(name)}")

    def describe(self, name: str) -> Stored | None:
        """A stored table or view of any dataset; None where there is none."""
        with self._connection(read_only=True) as connection:
            columns = connection.execute(_COLUMNS, name.split(".")).fetchall()
            view = connection.execute(_VIEW, name.split(".")).fetchone()
        if not columns:
            return None
        types = {column: type_of_duckdb(kind) for column, kind in columns}
        return Stored(name, types, canonical(view[0], dialect="duckdb") if view else None)

    def delete(self, table: str, where: str, params: dict[str, Value]) -> int:
        """Delete the rows a condition selects, in one transaction; returns how many."""
        with self._transaction() as connection:
            deleted = connection.execute(to_duckdb(f"DELETE FROM {table} WHERE {where}"), params).fetchall()
        return int(deleted[0][0])

    def read(self, sql: str, params: dict[str, Value] | None = None) -> pl.DataFrame:
        """Rows of one SELECT in BigQuery's dialect, read-only, without access to files."""
        with self._answer(sql, params) as answer:
            return answer.pl()

    def read_all(self, queries: Mapping[str, str]) -> dict[str, pl.DataFrame]:
        """Rows of several SELECTs, by name, all from one state of the tables."""
        found: dict[str, pl.DataFrame] = {}
        with self._reader() as connection:
            connection.begin()
            for name, sql in queries.items():
                with _refusals(sql):
                    found[name] = connection.execute(to_duckdb(sql)).pl()
        return found

    def stream(self, sql: str, params: dict[str, Value] | None = None) -> Generator[pl.DataFrame, None, None]:
        """Rows of one SELECT in frames of bounded size; until the last one, or its closing, nobody can write."""
        import polars as pl

        with self._answer(sql, params, bounded=True) as answer:
            reader = answer.to_arrow_reader(max(1, _STREAMED_VALUES // len(answer.description)))
            yield pl.DataFrame(reader.schema.empty_table())
            while (batch := _next_batch(reader)) is not None:
                yield pl.DataFrame(batch)

    def _run(self, statement: str) -> None:
        with self._transaction() as connection:
            connection.execute(to_duckdb(statement))

    @contextmanager
    def _answer(
        self, sql: str, params: dict[str, Value] | None, *, bounded: bool = False
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._reader() as connection, _refusals(sql):
            if bounded:
                _bound_memory(connection, to_duckdb(sql), params)
            yield connection.execute(to_duckdb(sql), params or None)

    @contextmanager
    def _reader(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._connection(read_only=True) as connection:
            connection.execute("SET enable_external_access = false")
            connection.execute("SET python_enable_replacements = false")
            yield connection

    def row_count(self, table: str) -> int:
        """Rows of a table or view."""
        return int(self.read(f"SELECT COUNT(*) AS n FROM {quoted(table)}").item())

    def listed(self) -> list[str]:
        """Names of every stored table and view of the project's datasets, ascending; nothing is read."""
        if not self.path.exists():
            return []
        with self._connection(read_only=True) as connection:
            return _names(connection)

    def tables(self) -> list[TableInfo]:
        """Every stored table and view of the project's datasets."""
        if not self.path.exists():
            return []
        with self._connection(read_only=True) as connection:
            names = _names(connection)
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

        self._refuse_another_format()
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

    def _refuse_another_format(self) -> None:
        """Look at the file before DuckDB does, which would fetch an extension to read some other format."""
        if not self.path.exists():
            return
        with suppress(PermissionError), self._opened_bytes() as file:
            start = file.read(_MAGIC.stop)
            if start and start[_MAGIC] != b"DUCK":
                raise self._not_a_warehouse()

    def _opened_bytes(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except IsADirectoryError as error:
            raise self._not_a_warehouse() from error

    def _not_a_warehouse(self) -> NotAWarehouse:
        return NotAWarehouse(
            "the file is not a DuckDB database this version can read, or it is damaged",
            where=str(self.path),
            action="move it away or choose another --home; it was not changed",
        )

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
        if re.search(_DAMAGED, message):
            return self._not_a_warehouse()
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
        if isinstance(error, duckdb.IOException | duckdb.FatalException | duckdb.InternalException):
            return WarehouseError(
                f"DuckDB cannot go on: {message.splitlines()[0]}",
                where=str(self.path),
                action="check the disk and the file; it was not changed",
            )
        return error


@contextmanager
def _refusals(sql: str) -> Iterator[None]:
    """What is wrong with a SELECT as an error that says what to do."""
    import duckdb

    try:
        yield
    except (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException) as error:
        raise QueryRefused(str(error).splitlines()[0], where=sql, action="zl status lists the tables") from error
    except (
        duckdb.PermissionException,
        duckdb.ProgrammingError,
        duckdb.DataError,
        duckdb.NotSupportedError,
    ) as error:
        raise QueryRefused(str(error).splitlines()[0], where=sql, action="query stored tables only") from error


_LIST_TABLES = """
SELECT table_schema, table_name FROM information_schema.tables
WHERE table_schema NOT IN ('main', 'information_schema', 'pg_catalog') ORDER BY 1, 2
"""

_ALL_COLUMNS = """
SELECT schema_name, table_name, column_name, data_type, is_nullable FROM duckdb_columns()
WHERE database_name = current_database() AND NOT internal ORDER BY 1, 2, column_index
"""

_COLUMNS = """
SELECT column_name, data_type FROM information_schema.columns
WHERE table_catalog = current_database() AND table_schema = ? AND table_name = ? ORDER BY ordinal_position
"""

_VIEW = "SELECT sql FROM duckdb_views() WHERE NOT internal AND schema_name = ? AND view_name = ?"

_LIST_DATASETS = """
SELECT schema_name FROM information_schema.schemata
WHERE catalog_name = current_database() AND schema_name NOT IN ('main', 'information_schema', 'pg_catalog') ORDER BY 1
"""

_FIRST_TIME_COLUMN = """
SELECT table_schema || '.' || table_name, arg_min(column_name, (data_type != 'DATE', ordinal_position))
FROM information_schema.columns WHERE data_type IN ('DATE', 'TIMESTAMP WITH TIME ZONE') GROUP BY 1
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
    import duckdb

    newest = f'CAST(CAST(MAX("{time_column}") AS DATE) AS VARCHAR)' if time_column else "NULL"
    dataset, table = name.split(".", maxsplit=1)
    try:
        row: Any = connection.execute(f'SELECT COUNT(*), {newest} FROM "{dataset}"."{table}"').fetchone()
    except (duckdb.CatalogException, duckdb.BinderException):
        return TableInfo(name, None, None)
    return TableInfo(name, int(row[0]), row[1])


def _names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    listed = connection.execute(_LIST_TABLES).fetchall()
    return sorted(f"{s}.{t}" for s, t in listed if s in OUR_DATASETS)
