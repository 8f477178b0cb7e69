"""The vendor's service as a local server, and a download from it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from zl_assets_tests.sources.databento_server import FakeDatabento, running
from zl_assets_tests.sources.download import Run
from zl_assets_tests.sources.vendor_server import FakeVendor
from zl_assets_tests.sources.vendor_server import running as vendor_running


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDatabento]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running() as fake:
        yield fake


@pytest.fixture
def run(server: FakeDatabento, tmp_path: Path) -> Run:
    return Run(server, tmp_path / "home" / "vendor" / "databento")


@pytest.fixture
def vendor() -> Iterator[FakeVendor]:
    with vendor_running() as fake:
        yield fake
