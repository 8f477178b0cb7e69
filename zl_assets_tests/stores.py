"""Warehouses for tests on either engine, and homes whose tables are in them."""

import shutil
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import duckdb
import pytest

from zl_assets.build import build_warehouse
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets.warehouse.bigquery_jobs import Jobs
from zl_assets.warehouse.contracts import contracts
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets_tests.command import Ended, Rows, counted, zl

ENGINES = ("duckdb", pytest.param("bigquery", marks=pytest.mark.bigquery))
"""Parameters of a fixture that gives each test both engines."""


def examples(engine: str, count: int) -> int:
    """How many examples of a property to try: fewer on the local server, where each one costs seconds."""
    return count if engine == "duckdb" else max(2, count // 4)


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        store = DuckDBWarehouse(Path(directory) / "empty.duckdb")
        store.ensure()
        return store.path.read_bytes()


def empty_warehouse(path: Path, lock_timeout: float = 30.0) -> DuckDBWarehouse:
    """An embedded warehouse with every table and no row, a copy of one that was created once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_empty())
    return DuckDBWarehouse(path, lock_timeout)


def new_project() -> str:
    """Name of a project that nobody else uses."""
    return f"zl-{uuid.uuid4().hex[:12]}"


def in_new_project(address: str, retry_seconds: float = 5.0) -> BigQueryWarehouse:
    """A warehouse in a project of its own, without a table."""
    return BigQueryWarehouse(Jobs(new_project(), api_endpoint=address, retry_seconds=retry_seconds))


@dataclass(frozen=True)
class Place:
    """A home, and the engine that stores its tables.

    Attributes:
        home: the directory.
        cloud: settings of BigQuery by name; empty where the tables are in the home itself.
    """

    home: Path
    cloud: dict[str, str]

    @classmethod
    def new(cls, engine: str, home: Path, address: Callable[[], str]) -> "Place":
        """An empty one; the address of the server that speaks BigQuery's API is asked for where it is needed."""
        cloud = {} if engine == "duckdb" else {"bigquery_project": new_project(), "bigquery_api_endpoint": address()}
        return cls(home, cloud)

    @property
    def engine(self) -> str:
        return "bigquery" if self.cloud else "duckdb"

    @cached_property
    def settings(self) -> Settings:
        chosen: dict[str, Any] = {"home": self.home, "warehouse": self.engine, **self.cloud}
        return Settings(warehouse_lock_seconds=0.5, bigquery_retry_seconds=5.0, **chosen)

    @cached_property
    def warehouse(self) -> Warehouse:
        return build_warehouse(self.settings)

    def with_tables(self) -> "Place":
        """The same with every table, empty."""
        if self.engine == "duckdb":
            empty_warehouse(self.settings.warehouse_file)
        else:
            self.warehouse.ensure()
        return self

    def with_copy_of(self, home: Path) -> "Place":
        """The same with everything that another home with an embedded warehouse holds."""
        shutil.copytree(home, self.home, dirs_exist_ok=True)
        if self.engine == "duckdb":
            return self
        source = DuckDBWarehouse(self.settings.warehouse_file)
        self.warehouse.ensure()
        for table in (t for t in source.tables() if t.name in contracts() and t.rows):
            self.warehouse.merge(table.name, source.read(f"SELECT * FROM {table.name}"))
        self.settings.warehouse_file.unlink()
        return self

    def make_dataset(self, name: str) -> None:
        """A dataset that is not the project's, with a table `kept` of one row."""
        for statement in (f"CREATE SCHEMA {name}", f"CREATE TABLE {name}.kept AS SELECT 1 AS n"):
            if isinstance(self.warehouse, BigQueryWarehouse):
                self.warehouse.jobs.query(statement)
            else:
                with duckdb.connect(str(self.settings.warehouse_file)) as connection:
                    connection.execute(statement)

    def zl(self, *arguments: object, **variables: str) -> Ended:
        """The `zl` command on this home and engine."""
        chosen = {"home": str(self.home), "warehouse": self.engine, **self.cloud}
        return zl(*arguments, **{f"ZL_{name.upper()}": value for name, value in chosen.items()}, **variables)

    def stored(self) -> Rows:
        """Every row of every table, as text, with how often it is there."""
        names = (t.name for t in self.warehouse.tables() if t.name in contracts())
        return {name: counted(self.rows(f"SELECT * FROM {name}")) for name in names}

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a SELECT in BigQuery's dialect."""
        return self.warehouse.read(sql).to_dicts()
