"""Every request to BigQuery: estimated first, limited, labelled, repeated where it may succeed, and counted."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, TypeVar

from zl_assets.errors import CostLimitExceeded, MissingDependency, MissingSetting, QueryRefused, ZlError
from zl_assets.warehouse.base import Value
from zl_assets.warehouse.bigquery_errors import passes_by_itself, refused_load, refused_query, translated

if TYPE_CHECKING:
    import pyarrow as pa
    from google.api_core.retry import Retry
    from google.cloud import bigquery
    from google.cloud.bigquery.table import RowIterator
    from google.cloud.bigquery_storage import BigQueryReadClient

Result = TypeVar("Result")

REQUEST_SECONDS = 120.0
JOB_SECONDS = 1800.0
"""Longest wait for one request, and for one job."""

ONCE: dict[str, Any] = {"retry": None, "timeout": REQUEST_SECONDS}
"""Arguments of a request that the client is not to repeat, because `Jobs.call` does."""

_NOT_ANEW: dict[str, Any] = {"job_retry": None}
"""Argument of a job that the client is not to start anew: its own bound on that is 20 minutes and not ours to set."""


@dataclass
class Usage:
    """Bytes that finished queries processed."""

    bytes_processed: int = 0
    queries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, count: int) -> None:
        """Count one finished query."""
        with self._lock:
            self.bytes_processed += count
            self.queries += 1


@dataclass(frozen=True)
class Jobs:
    """Requests to one project.

    Attributes:
        project: Google Cloud project; None is refused at the first request.
        location: where the datasets are.
        api_endpoint: address of the API; http:// is a local server and gets no credentials.
        max_bytes: a query estimated above is refused.
        retry_seconds: how long a request is repeated.
        labels: labels of the next job, e.g. the asset and the run it is for.
        counted: told the bytes of each finished query.
        usage: what the finished queries came to.
    """

    project: str | None
    location: str = "us-central1"
    api_endpoint: str | None = None
    max_bytes: int = 2**30
    retry_seconds: float = 60.0
    labels: Callable[[], Mapping[str, str]] = dict
    counted: Callable[[int], None] = lambda _: None
    usage: Usage = field(default_factory=Usage)

    @property
    def is_local(self) -> bool:
        """Whether the API is a local server."""
        return (self.api_endpoint or "").startswith("http://")

    @cached_property
    def client(self) -> bigquery.Client:
        """Google's client; what else comes from Google's packages is imported after it, whose error names the remedy.

        Raises:
            MissingDependency: Google's packages are not installed.
            MissingSetting: there is no project.
            MissingCredential: Google's libraries find no credentials.
        """
        try:
            from google.api_core.client_options import ClientOptions
            from google.auth.credentials import AnonymousCredentials
            from google.cloud import bigquery
        except ImportError as error:
            raise MissingDependency(
                f"BigQuery needs Google's packages: {error}", action="uv sync, or pip install 'zl-assets[bigquery]'"
            ) from error
        if not self.project:
            raise MissingSetting("BigQuery needs a project", action="set ZL_BIGQUERY_PROJECT to its id")
        options = ClientOptions(api_endpoint=self.api_endpoint) if self.api_endpoint else None
        with self.errors(f"project {self.project}"):
            return bigquery.Client(
                project=self.project,
                location=self.location,
                client_options=options,
                credentials=AnonymousCredentials() if self.is_local else None,
            )

    @cached_property
    def storage(self) -> BigQueryReadClient | None:
        """Google's client of the Storage API, over which many rows arrive sooner; None for a local server."""
        if self.is_local:
            return None
        with self.errors(f"project {self.project}"):
            from google.cloud.bigquery_storage import BigQueryReadClient

            return BigQueryReadClient(credentials=self.client._credentials)

    @cached_property
    def retry(self) -> Retry:
        """Repeats one request, with growing pauses, for `retry_seconds`."""
        from google.api_core.retry import Retry

        return Retry(predicate=passes_by_itself, initial=0.2, maximum=8.0, multiplier=2.0, timeout=self.retry_seconds)

    def query(self, sql: str, params: Mapping[str, Value] | None = None, *, where: str = "") -> Finished:
        """Run one statement, after a dry run has estimated it.

        Args:
            sql: the statement.
            params: values of its ``@name`` parameters.
            where: what it is about, for messages and labels.

        Raises:
            CostLimitExceeded: the estimate is above the limit; nothing was run.
            ZlError: BigQuery does not run it.
        """
        with self.errors(where or sql):
            self._estimated(sql, params, where)
        return self._run(sql, params, where)

    def read(self, sql: str, params: Mapping[str, Value] | None = None) -> Finished:
        """Like `query`, for a SELECT that somebody wrote.

        Raises:
            QueryRefused: it is another kind of statement, or BigQuery cannot run it as it is written.
        """
        try:
            with self.errors(sql):
                kind = self._estimated(sql, params, "").statement_type
            if kind not in {"SELECT", None}:
                raise QueryRefused(f"refused: {kind} is not a SELECT", where=sql, action="zl query reads only")
            return self._run(sql, params, "")
        except ZlError as error:
            cause = error.__cause__
            refused = refused_query(cause, sql) if cause is not None else None
            if refused is None:
                raise
            raise refused from cause

    def load(self, file: IO[bytes], table: str, schema: list[bigquery.SchemaField], *, where: str = "") -> None:
        """Replace a table's rows by those of a Parquet file.

        Args:
            file: the Parquet file.
            table: where its rows go, a staging table.
            schema: of that table.
            where: the table they are meant for, for messages and labels.

        Raises:
            ContractBroken: the job ended with errors; each is told.
            ZlError: BigQuery does not do it.
        """
        with self.errors(where or table):
            self.retry(lambda: self._load(file, table, schema, where or table))()

    def fetch(self, finished: Finished) -> pa.Table:
        """All rows of a query: over the Storage API, or REST where there is none or the account may not use it."""
        from google.api_core.exceptions import Forbidden

        if self.storage is not None:
            try:
                return finished.rows.to_arrow(bqstorage_client=self.storage)
            except Forbidden:
                finished = self._from_the_start(finished)
        return finished.rows.to_arrow(create_bqstorage_client=False)

    def pages(self, finished: Finished) -> Iterator[pa.RecordBatch]:
        """The rows of a query in its order, a page at a time, by the same way as `fetch`.

        The server bounds a page; over the Storage API one stream is read, and one page of it waits to be taken.
        """
        from google.api_core.exceptions import Forbidden

        if self.storage is not None:
            streamed = finished.rows.to_arrow_iterable(bqstorage_client=self.storage, max_stream_count=1)
            try:
                first = next(streamed, None)
            except Forbidden:
                finished = self._from_the_start(finished)
            else:
                yield from () if first is None else chain([first], streamed)
                return
        yield from finished.rows.to_arrow_iterable()

    def _from_the_start(self, finished: Finished) -> Finished:
        """The same finished query with its rows unread."""
        return Finished(finished.job, finished.job.result(retry=self.retry, **_NOT_ANEW))

    def call(self, action: Callable[[], Result], where: str) -> Result:
        """Run one idempotent request, repeated where it may succeed."""
        with self.errors(where):
            return self.retry(action)()

    @contextmanager
    def errors(self, where: str) -> Iterator[None]:
        """Turn the errors of Google's client into the project's."""
        try:
            yield
        except ZlError:
            raise
        except Exception as error:
            known = translated(error, where=where, project=self.project or "", location=self.location)
            if known is None:
                raise
            raise known from error

    def _estimated(self, sql: str, params: Mapping[str, Value] | None, where: str) -> bigquery.QueryJob:
        """A dry run, refused above the limit."""
        job = self._submitted(sql, params, where, dry_run=True)
        estimate = job.total_bytes_processed or 0
        if estimate > self.max_bytes:
            raise CostLimitExceeded(
                f"BigQuery estimates {estimate:,} bytes, and the limit is {self.max_bytes:,}",
                where=where or sql,
                action="narrow the query, or raise ZL_BIGQUERY_MAX_BYTES",
            )
        return job

    def _run(self, sql: str, params: Mapping[str, Value] | None, where: str) -> Finished:
        with self.errors(where or sql):
            finished = self.retry(lambda: self._finished(sql, params, where))()
        self.usage.add(finished.job.total_bytes_processed or 0)
        self.counted(finished.job.total_bytes_processed or 0)
        return finished

    def _finished(self, sql: str, params: Mapping[str, Value] | None, where: str) -> Finished:
        job = self._submitted(sql, params, where)
        rows = job.result(retry=self.retry, timeout=JOB_SECONDS, **_NOT_ANEW)
        return Finished(job, rows)

    def _submitted(
        self, sql: str, params: Mapping[str, Value] | None, where: str, *, dry_run: bool = False
    ) -> bigquery.QueryJob:
        client = self.client
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(
            query_parameters=[_parameter(name, value) for name, value in (params or {}).items()],
            labels=self._labels(where),
        )
        if dry_run:
            config.dry_run = True
            config.use_query_cache = False
        else:
            config.maximum_bytes_billed = self.max_bytes
        return client.query(sql, config, retry=self.retry, timeout=REQUEST_SECONDS, **_NOT_ANEW)

    def _load(self, file: IO[bytes], table: str, schema: list[bigquery.SchemaField], where: str) -> None:
        from google.api_core.exceptions import GoogleAPICallError
        from google.cloud import bigquery

        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            schema=schema,
            write_disposition=bigquery.WriteDisposition.WRITE_TRUNCATE,
            labels=self._labels(where),
        )
        job = self.client.load_table_from_file(
            file, f"{self.project}.{table}", rewind=True, num_retries=0, job_config=config, timeout=REQUEST_SECONDS
        )
        try:
            job.result(retry=self.retry, timeout=JOB_SECONDS)
        except GoogleAPICallError as error:
            refused = None if passes_by_itself(error) else refused_load(error, where, job.errors)
            if refused is None:
                raise
            raise refused from error

    def _labels(self, where: str) -> dict[str, str]:
        """The labels of the next job; the asset is the table it is about where nobody says otherwise."""
        table = {"asset": where} if re.fullmatch(r"\w+\.\w+", where) else {}
        return {name: label(value) for name, value in {**table, **self.labels()}.items()}


@dataclass(frozen=True)
class Finished:
    """A finished query and its rows."""

    job: bigquery.QueryJob
    rows: RowIterator

    @property
    def affected(self) -> int:
        """Rows that a DML statement changed."""
        return int(self.job.num_dml_affected_rows or 0)


def label(value: str) -> str:
    """A text in the characters that BigQuery allows in a label: ``features.daily_ml_matrix`` with two underscores."""
    return re.sub(r"[^a-z0-9_-]", "_", value.lower().replace(".", "__"))[:63]


def _parameter(name: str, value: Value) -> bigquery.ScalarQueryParameter:
    """A bound value; bool before int and datetime before date, whose subclasses they are."""
    from datetime import date, datetime

    from google.cloud import bigquery

    kinds = ((bool, "BOOL"), (int, "INT64"), (float, "FLOAT64"), (datetime, "TIMESTAMP"), (date, "DATE"))
    kind = next((sql for python, sql in kinds if isinstance(value, python)), "STRING")
    return bigquery.ScalarQueryParameter(name, kind, value)
