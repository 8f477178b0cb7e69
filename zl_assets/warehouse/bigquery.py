"""The warehouse in BigQuery: the same tables, views and SQL as the embedded one.

A write goes from Parquet into a staging table, and from there into its table by one MERGE, so that it happens whole or
not at all and may be repeated after any failure. A staging table is dropped at the end, and expires by itself where
the process was killed before.
"""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from zl_assets.errors import QueryRefused, TableDiffers, WarehouseError, ZlError
from zl_assets.warehouse.base import (
    MergeResult,
    Stored,
    TableInfo,
    Value,
    Window,
    contract,
    create_table_sql,
    difference_sql,
    merge_sql,
    quoted,
    rewrite_sql,
    sync_difference_sql,
    sync_sql,
)
from zl_assets.warehouse.bigquery_jobs import ONCE, REQUEST_SECONDS, Finished, Jobs
from zl_assets.warehouse.bigquery_schema import Difference, differences, fields, table_of, type_of
from zl_assets.warehouse.contracts import OUR_DATASETS, Contract, contracts
from zl_assets.warehouse.dialect import canonical

if TYPE_CHECKING:
    import polars as pl
    from google.cloud import bigquery

STAGING_PREFIX = "zl_staging__"
STAGING_HOURS = 6
"""A staging table that nobody dropped expires after this time."""


@dataclass(frozen=True)
class BigQueryWarehouse:
    """The tables of the project in one Google Cloud project.

    Attributes:
        jobs: how requests are made.
    """

    jobs: Jobs

    def ensure(self, tables: Iterable[Contract] | None = None) -> None:
        """Create the datasets and tables that are missing; compare those that exist with `sql/tables`.

        A missing nullable column is added, and a column that is NOT NULL and may be null by its contract is made so.

        Args:
            tables: contracts to look after; all but those of the full surface where not given.

        Raises:
            TableDiffers: a table differs in another way; every difference is told with the statement that mends it.
            WarehouseError: a dataset is in another location.
        """
        for dataset in OUR_DATASETS:
            self.ensure_dataset(dataset)
        wanted = contracts().values() if tables is None else tables
        found = [(promised, self._ensure_table(promised)) for promised in wanted]
        refused = [(promised.name, d) for promised, different in found for d in different if not d.safe]
        if refused:
            raise TableDiffers(
                "; ".join(f"{table}: {d.what}" for table, d in refused),
                where=f"project {self.jobs.project}",
                action="run, after a look at the data: " + " ".join(dict.fromkeys(d.statement for _, d in refused)),
            )
        for promised, different in found:
            self._mend(promised, different)

    def ensure_dataset(self, name: str) -> None:
        """Create a dataset where it is missing.

        Raises:
            WarehouseError: it is in another location.
        """
        client, wanted = self.jobs.client, self.jobs.location
        from google.api_core.exceptions import Conflict, NotFound
        from google.cloud import bigquery

        def stored() -> bigquery.Dataset:
            reference = f"{self.jobs.project}.{name}"
            try:
                return client.get_dataset(reference, **ONCE)
            except NotFound:
                dataset = bigquery.Dataset(reference)
                dataset.location = wanted
            try:
                return client.create_dataset(dataset, **ONCE)
            except Conflict:
                return client.get_dataset(reference, **ONCE)

        location = self.jobs.call(stored, name).location
        if location and location.lower() != wanted.lower():
            raise WarehouseError(
                f"dataset {name} is in location {location}, not in {wanted}",
                where=f"project {self.jobs.project}",
                action=f"set ZL_BIGQUERY_LOCATION={location}",
            )

    def merge(self, table: str, frame: pl.DataFrame) -> MergeResult:
        """Insert new rows and rewrite those whose values differ, in one MERGE.

        The MERGE is bound to the partitions between the first and the last row that changes.

        Raises:
            ContractBroken: the frame does not fit the table.
        """
        promised = contract(table)
        rows = promised.validated(frame)
        if rows.is_empty():
            return MergeResult(0, 0, 0)
        with self._staged(promised, rows) as staging:
            found = self._rows(self.jobs.query(difference_sql(promised, staging, _extent(promised, rows)), where=table))
            inserted, changed, first, last = found.row(0)
            if changed:
                window = Window(promised.partition_column, first, last) if promised.partition_column else None
                done = self.jobs.query(merge_sql(promised, staging, window), where=table)
                inserted, changed = _told(done, inserted), done.affected
        return MergeResult(inserted, changed - inserted, rows.height - changed)

    def replace(self, table: str, select: str) -> int:
        """Make a table's rows those of a SELECT, in one MERGE bound to the partitions that change; returns the rows."""
        promised = contract(table)
        found = self._rows(self.jobs.query(sync_difference_sql(promised, select), where=table))
        rows, changed, first, last = found.row(0)
        if changed:
            window = Window(promised.partition_column, first, last) if promised.partition_column else None
            self.jobs.query(sync_sql(promised, select, window), where=table)
        return rows

    def rewrite(self, table: str, select: str) -> int:
        """Exchange all rows of a table for those of a SELECT, in one MERGE; returns the rows."""
        self.jobs.query(rewrite_sql(contract(table), select), where=table)
        return self.row_count(table)

    def create_table(self, name: str, select: str, *, replace: bool = False) -> None:
        """Make a table of a SELECT's rows, in one statement that may be repeated after any failure."""
        self.jobs.query(create_table_sql(name, select, replace=replace), where=name)

    def create_view(self, statement: str) -> None:
        """Run one CREATE OR REPLACE VIEW statement."""
        name = re.search(r"\bVIEW\s+([\w.]+)", statement)
        self.jobs.query(statement, where=name[1] if name else "")

    def drop_view(self, name: str) -> None:
        """Drop a view where it exists; BigQuery refuses to drop a table so."""
        self.jobs.query(f"DROP VIEW IF EXISTS {quoted(name)}", where=name)

    def describe(self, name: str) -> Stored | None:
        """A stored table or view of any dataset; None where there is none, or no such dataset."""
        client = self.jobs.client
        from google.api_core.exceptions import NotFound

        def stored() -> bigquery.Table | None:
            try:
                return client.get_table(f"{self.jobs.project}.{name}", **ONCE)
            except NotFound:
                return None

        found = self.jobs.call(stored, name)
        if found is None:
            return None
        is_view = "VIEW" in str(found.table_type)
        return Stored(name, {f.name: type_of(f) for f in found.schema}, self._definition(name) if is_view else None)

    def _definition(self, view: str) -> str:
        """The SELECT of a view; empty for a materialised one, which is not among the views."""
        dataset, name = view.split(".")
        sql = f"SELECT view_definition AS sql FROM `{dataset}`.INFORMATION_SCHEMA.VIEWS WHERE table_name = @name"
        found = self.read(sql, {"name": name})["sql"].to_list()
        return canonical(found[0], project=str(self.jobs.project)) if found else ""

    def delete(self, table: str, where: str, params: dict[str, Value]) -> int:
        """Delete the rows a condition selects, in one statement; returns how many."""
        return self.jobs.query(f"DELETE FROM {table} WHERE {where}", params, where=table).affected

    def read(self, sql: str, params: dict[str, Value] | None = None) -> pl.DataFrame:
        """Rows of one SELECT; parameters are written ``@name``."""
        return self._rows(self.jobs.read(sql, params))

    def read_all(self, queries: Mapping[str, str]) -> dict[str, pl.DataFrame]:
        """Rows of several SELECTs, by name, one after the other."""
        return {name: self.read(sql) for name, sql in queries.items()}

    def stream(self, sql: str, params: dict[str, Value] | None = None) -> Generator[pl.DataFrame, None, None]:
        """Rows of one SELECT in frames of bounded size, one for each page of the answer."""
        import polars as pl

        finished, empty = self.jobs.read(sql, params), True
        with self.jobs.errors(sql):
            for page in self.jobs.pages(finished):
                empty = False
                yield pl.DataFrame(page)
        if empty:
            yield self.read(f"SELECT * FROM ({sql}) AS nothing LIMIT 0", params)

    def row_count(self, table: str) -> int:
        """Rows of a table or view."""
        return int(self.read(f"SELECT COUNT(*) AS n FROM {quoted(table)}").item())

    def listed(self) -> list[str]:
        """Names of every stored table and view of the project's datasets, ascending; nothing is read."""
        return sorted(f"{r.dataset_id}.{r.table_id}" for d in OUR_DATASETS for r in self._references(d))

    def tables(self) -> list[TableInfo]:
        """Every stored table and view of the project's datasets; rows and newest dates come from a few queries."""
        found = [stored for dataset in OUR_DATASETS for stored in self._stored(dataset)]
        starts = range(0, len(found), _TABLES_A_QUERY)
        return sorted((i for s in starts for i in self._infos(found[s : s + _TABLES_A_QUERY])), key=lambda i: i.name)

    def _infos(self, some: Sequence[bigquery.Table]) -> list[TableInfo]:
        """Rows and newest dates; where one of several cannot be read, each is asked for by itself."""
        try:
            rows = self.read(" UNION ALL ".join(_info_sql(stored) for stored in some))
        except QueryRefused:
            if len(some) == 1:
                return [TableInfo(f"{some[0].dataset_id}.{some[0].table_id}", None, None)]
            return [info for one in some for info in self._infos([one])]
        return [TableInfo(*row) for row in rows.iter_rows()]

    def datasets(self) -> list[str]:
        """Names of all datasets of the project, those of others among them."""
        client = self.jobs.client
        found = self.jobs.call(lambda: list(client.list_datasets(**ONCE)), f"project {self.jobs.project}")
        return sorted(item.dataset_id for item in found)

    def _ensure_table(self, promised: Contract) -> list[Difference]:
        client = self.jobs.client
        from google.api_core.exceptions import Conflict, NotFound

        def stored() -> bigquery.Table:
            table = table_of(promised, str(self.jobs.project))
            try:
                return client.get_table(table.reference, **ONCE)
            except NotFound:
                pass
            try:
                return client.create_table(table, **ONCE)
            except Conflict:
                return client.get_table(table.reference, **ONCE)

        return differences(promised, self.jobs.call(stored, promised.name).to_api_repr())

    def _mend(self, promised: Contract, different: list[Difference]) -> None:
        """Add missing columns by their statements; what is inside a STRUCT, and what may be null now, by the API."""
        for difference in different:
            if not difference.by_api:
                self.jobs.query(difference.statement, where=promised.name)
        if not any(d.by_api for d in different):
            return
        table = table_of(promised, str(self.jobs.project))
        self.jobs.call(
            lambda: self.jobs.client.update_table(table, ["schema"], **ONCE),
            promised.name,
        )

    @contextmanager
    def _staged(self, promised: Contract, rows: pl.DataFrame) -> Iterator[str]:
        """A staging table that holds the rows, beside their table; dropped at the end."""
        client = self.jobs.client
        from google.cloud import bigquery

        dataset, name = promised.name.split(".")
        staging = f"{dataset}.{STAGING_PREFIX}{name}__{uuid.uuid4().hex}"
        schema = fields(promised.columns, nullable=True)
        table = bigquery.Table(f"{self.jobs.project}.{staging}", schema=schema)
        table.expires = datetime.now(UTC) + timedelta(hours=STAGING_HOURS)
        file = io.BytesIO()
        rows.write_parquet(file)
        try:
            self.jobs.call(
                lambda: client.create_table(table, exists_ok=True, **ONCE),
                promised.name,
            )
            self.jobs.load(file, staging, schema, where=promised.name)
            yield staging
        finally:
            self._drop(table)

    def _drop(self, table: bigquery.Table) -> None:
        """Drop a staging table. Where that fails it expires, and what is being told by another error is not hidden."""
        client = self.jobs.client
        try:
            self.jobs.call(
                lambda: client.delete_table(table, not_found_ok=True, **ONCE),
                table.table_id,
            )
        except ZlError:
            return

    def _references(self, dataset: str) -> list[bigquery.TableReference]:
        """The tables and views of a dataset; none where the dataset does not exist."""
        client = self.jobs.client
        from google.api_core.exceptions import NotFound

        def found() -> list[bigquery.TableReference]:
            try:
                items = list(client.list_tables(f"{self.jobs.project}.{dataset}", timeout=REQUEST_SECONDS))
            except NotFound:
                return []
            return [i.reference for i in items if not i.table_id.startswith(STAGING_PREFIX)]

        return self.jobs.call(found, dataset)

    def _stored(self, dataset: str) -> list[bigquery.Table]:
        """The tables and views of a dataset with their schemas."""
        client = self.jobs.client
        return [self.jobs.call(lambda n=n: client.get_table(n, **ONCE), dataset) for n in self._references(dataset)]

    def _rows(self, finished: Finished) -> pl.DataFrame:
        """All rows in the types of the embedded warehouse; over the Storage API, or REST where that is not allowed."""
        import polars as pl

        with self.jobs.errors("rows of a query"):
            return pl.DataFrame(self.jobs.fetch(finished))


def _extent(promised: Contract, rows: pl.DataFrame) -> Window | None:
    """First and last partition value of a frame."""
    column = promised.partition_column
    if column is None:
        return None
    first, last = rows[column].min(), rows[column].max()
    assert isinstance(first, date)
    assert isinstance(last, date)
    return Window(column, first, last)


def _told(done: Finished, counted: int) -> int:
    """Rows a MERGE inserted, as BigQuery tells, else as counted before."""
    stats: Any = done.job.dml_stats
    return int(stats.inserted_row_count) if stats is not None else counted


_TABLES_A_QUERY = 20
"""A statement is billed for 10 MB of each of its tables at least, and a view has a few: far below the limit."""


def _info_sql(stored: bigquery.Table) -> str:
    name = f"{stored.dataset_id}.{stored.table_id}"
    times = [f.name for kind in ("DATE", "TIMESTAMP") for f in stored.schema if f.field_type == kind]
    newest = f"CAST(DATE(MAX(`{times[0]}`)) AS STRING)" if times else "CAST(NULL AS STRING)"
    return f"SELECT '{name}' AS name, COUNT(*) AS row_count, {newest} AS newest FROM {quoted(name)}"
