"""One warehouse fixture for both engines, and the server behind the second."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets.warehouse.bigquery_jobs import Jobs
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets_tests.warehouse import emulator
from zl_assets_tests.warehouse.fault_proxy import Proxy, between

BOTH_ENGINES = ("duckdb", pytest.param("bigquery", marks=pytest.mark.bigquery))


def in_new_project(address: str, retry_seconds: float = 5.0) -> BigQueryWarehouse:
    """A warehouse in a project that nobody else uses."""
    return BigQueryWarehouse(Jobs(f"zl-{uuid.uuid4().hex[:12]}", api_endpoint=address, retry_seconds=retry_seconds))


@pytest.fixture(scope="session")
def bigquery_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the local server, started once a session and stopped at its end."""
    with emulator.running(tmp_path_factory.mktemp("bigquery")) as address:
        yield address


@pytest.fixture
def new_warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Warehouse]:
    """Makes an empty warehouse of an engine."""

    def make(engine: str) -> Warehouse:
        if engine == "duckdb":
            return DuckDBWarehouse(tmp_path / "zl.duckdb", lock_timeout=0.5)
        return in_new_project(request.getfixturevalue("bigquery_address"))

    return make


@pytest.fixture(params=BOTH_ENGINES)
def warehouse(request: pytest.FixtureRequest, new_warehouse: Callable[[str], Warehouse]) -> Warehouse:
    """A warehouse with every table, empty; each test runs on both engines."""
    store = new_warehouse(request.param)
    store.ensure()
    return store


@pytest.fixture
def proxy(bigquery_address: str) -> Iterator[Proxy]:
    """A proxy before the local server that can fail requests."""
    with between(bigquery_address) as state:
        yield state


@pytest.fixture
def proxied(proxy: Proxy) -> BigQueryWarehouse:
    """A warehouse behind the proxy, with every table, that does not try for long."""
    store = in_new_project(proxy.address, retry_seconds=3.0)
    store.ensure()
    proxy.requests.clear()
    return store
