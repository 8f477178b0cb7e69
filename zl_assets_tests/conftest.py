"""Fixtures every test may use."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import hypothesis
import pytest

from zl_assets.sources.simulated import simulate
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets_tests.command import Ended, zl, zl_process
from zl_assets_tests.once import made_once
from zl_assets_tests.stores import ENGINES, Place, in_new_project
from zl_assets_tests.vendor_files import Row, as_delivered, read_rows, write
from zl_assets_tests.warehouse import emulator
from zl_assets_tests.warehouse.fault_proxy import Proxy, between

PROJECT = Path(__file__).resolve().parents[1]
LONGEST = (
    "ui/test_ui.py",
    "test_run.py",
    "warehouse/test_engines.py",
    "warehouse/test_bigquery_faults.py",
    "test_cli.py",
    "core/models/neural/test_neural_forecaster.py",
    "test_bad_deliveries.py",
    "warehouse/test_archive.py",
    "warehouse/test_equal_engines.py",
)
"""Files that take a minute or more, begun first: a long one begun last would leave the other cores without work."""


# On a busy machine a first example that imports something takes longer than any deadline.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what is so on BigQuery alone, and begin with the files that take longest."""
    rank = {PROJECT / "zl_assets_tests" / name: n for n, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
    for item in items:
        if item.get_closest_marker("slow_on_bigquery") and item.get_closest_marker("bigquery"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Directory of the licensed vendor files, read in place; skips where it is missing."""
    directory = Path(os.environ.get("ZL_TEST_DATA", PROJECT.parent / "shared" / "data"))
    if not (directory / "databento").is_dir():
        pytest.skip(f"licensed vendor files not found in {directory}: set ZL_TEST_DATA to run this test")
    return directory


@pytest.fixture(scope="session")
def bigquery_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a local server that speaks BigQuery's API, started once a process and stopped at its end."""
    with emulator.running(tmp_path_factory.mktemp("bigquery")) as address:
        yield address


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """duckdb, and then bigquery: a test that asks for this, or for what rests on it, runs on both."""
    return request.param


@pytest.fixture(scope="module")
def new_place(
    engine: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Place]:
    """Makes homes on an engine, without a table."""

    def make() -> Place:
        home = tmp_path_factory.mktemp(engine) / "home"
        return Place.new(engine, home, lambda: request.getfixturevalue("bigquery_address"))

    return make


@pytest.fixture
def place(new_place: Callable[[], Place]) -> Place:
    """A home with every table, empty."""
    return new_place().with_tables()


@pytest.fixture
def warehouse(place: Place) -> Warehouse:
    """A warehouse with every table, empty."""
    return place.warehouse


@pytest.fixture
def vendor_place(new_place: Callable[[], Place], vendor_home: Path) -> Place:
    """A copy of the home with invented vendor bars, its tables on either engine."""
    return new_place().with_copy_of(vendor_home)


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


@pytest.fixture(scope="session")
def simulated_market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short simulated market in the vendors' layout; read only."""

    def make(directory: Path) -> None:
        simulate(directory / "simulated", start=date(2018, 1, 1), end=date(2022, 12, 31))

    return made_once(tmp_path_factory, "market", make) / "simulated"


@pytest.fixture(scope="session")
def zl_rows(simulated_market: Path) -> list[Row]:
    """Daily ZL bars of that market as rows of a vendor CSV, with the vendor's publisher id: invented, not simulated."""
    [path] = (simulated_market / "databento").glob("*.ZL.v.0.csv")
    return as_delivered(read_rows(path))


@pytest.fixture(scope="session")
def new_rows(zl_rows: list[Row]) -> list[Row]:
    """The bars of 2022, which the home has not seen."""
    return [r for r in zl_rows if r["ts_event"] >= "2022"]


@pytest.fixture(scope="session")
def simulated_zl(simulated_market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with ZL's daily bars of the simulated market alone; read only."""
    directory = tmp_path_factory.mktemp("simulated_zl")
    for path in (simulated_market / "databento").glob("*.ZL.v.0.csv"):
        shutil.copy(path, directory)
    return directory


@pytest.fixture(scope="session")
def simulated_run(simulated_zl: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended]:
    """A home with a whole run on simulated bars, LightGBM beside no-change, and what `zl run --json` printed."""

    def make(directory: Path) -> None:
        arguments = ("--data", simulated_zl, "--models", "no_change,lightgbm", "--json")
        ended = zl_process("run", "--home", directory / "home", *arguments, seconds=900)
        assert ended.code == 0, ended.err
        (directory / "out").write_text(ended.out)
        (directory / "err").write_text(ended.err)

    made = made_once(tmp_path_factory, "simulated", make)
    return made / "home", Ended(0, (made / "out").read_text(), (made / "err").read_text())


@pytest.fixture(scope="session")
def simulated_home(simulated_run: tuple[Path, Ended], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of that run; read only, copy it to change it."""
    return copied_to_this_process(simulated_run[0], tmp_path_factory)


@pytest.fixture(scope="session")
def vendor_home(zl_rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one horizon run on invented vendor bars up to the end of 2021; read only, copy it to change it."""

    def make(directory: Path) -> None:
        data = write(directory / "data", [r for r in zl_rows if r["ts_event"] < "2022"])
        ended = zl("run", "--home", directory / "vendor", "--data", data, "--horizon", "1w")
        assert ended.code == 0, ended.err

    return copied_to_this_process(made_once(tmp_path_factory, "vendor", make) / "vendor", tmp_path_factory)


def copied_to_this_process(home: Path, factory: pytest.TempPathFactory) -> Path:
    """A copy of a home, since opening its databases for reading alone makes files beside them, and removes them."""
    return shutil.copytree(home, factory.mktemp("homes") / home.name)


@pytest.fixture
def home(vendor_home: Path, tmp_path: Path) -> Path:
    """A copy of that home, to run in."""
    return shutil.copytree(vendor_home, tmp_path / "home")
