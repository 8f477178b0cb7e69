"""A proxy before the local server that speaks BigQuery's API."""

from collections.abc import Iterator

import pytest

from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets_tests.stores import in_new_project
from zl_assets_tests.warehouse.fault_proxy import Proxy, between


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
