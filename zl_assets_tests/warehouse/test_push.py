"""`zl push`: equal on both sides, resumed where it was interrupted, and nothing sent twice."""

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from zl_assets.automation.push import push
from zl_assets.cli import app
from zl_assets.errors import AccessDenied, InputError, WarehouseError
from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets.warehouse.contracts import contract
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets_tests.warehouse.fault_proxy import Proxy, error, touches
from zl_assets_tests.warehouse.rows import calendar, rows_of

pytestmark = pytest.mark.bigquery

TABLES = {
    "market_data.databento_futures_ohlcv_1h": 800,
    "raw_intelligence.quarantine": 20,
    "training.regime_calendar": 800,
}
UPLOAD = touches("POST", "^/upload")


def quiet(_: str) -> None:
    return


@pytest.fixture
def source(tmp_path: Path) -> DuckDBWarehouse:
    store = DuckDBWarehouse(tmp_path / "warehouse.duckdb")
    store.ensure()
    for table, count in TABLES.items():
        store.merge(table, rows_of(table, count))
    return store


def test_an_interrupted_push_is_resumed_and_ends_equal(
    source: DuckDBWarehouse, proxied: BigQueryWarehouse, proxy: Proxy
) -> None:
    allowed = 4
    seen = iter(range(1_000))
    stop = proxy.fail(lambda r: UPLOAD(r) and next(seen) >= allowed, error(403, "accessDenied"), times=None)
    with pytest.raises(AccessDenied):
        push(source, proxied, quiet)
    stop.times = 0
    proxy.requests.clear()
    resumed = push(source, proxied, quiet)
    # Three years of hours, three of days and the table without partitions; the first four had arrived.
    assert len([r for r in proxy.requests if UPLOAD(r)]) == 7 - allowed
    assert {p.table: p.rows for p in resumed} == TABLES
    for table in TABLES:
        left, right = (
            w.read(f"SELECT * FROM {table} ORDER BY {', '.join(contract(table).keys)}") for w in (source, proxied)
        )
        assert_frame_equal(left, right, check_exact=True)
    proxy.requests.clear()
    again = push(source, proxied, quiet)
    assert [r for r in proxy.requests if UPLOAD(r)] == []
    assert [(p.table, p.rows, p.checksum, p.written) for p in again] == [
        (p.table, p.rows, p.checksum, 0) for p in resumed
    ]


def test_rows_that_only_the_target_holds_are_told(source: DuckDBWarehouse, proxied: BigQueryWarehouse) -> None:
    proxied.merge("training.regime_calendar", calendar({-1_000: 1}))
    with pytest.raises(WarehouseError, match="801 rows instead of 800") as raised:
        push(source, proxied, quiet)
    assert raised.value.where == "training.regime_calendar"


def test_a_simulated_market_is_refused_unless_allowed(
    source: DuckDBWarehouse, proxied: BigQueryWarehouse, proxy: Proxy
) -> None:
    source.merge("training.regime_weights", rows_of("training.regime_weights", 2))
    source.merge("market_data.futures_sessions_1d", simulated_sessions())
    with pytest.raises(InputError, match="SIMULATED"):
        push(source, proxied, quiet)
    assert [r for r in proxy.requests if UPLOAD(r)] == []
    assert len(push(source, proxied, quiet, allow_simulated=True)) == len(TABLES) + 2


def simulated_sessions() -> pl.DataFrame:
    return rows_of("market_data.futures_sessions_1d", 3).with_columns(source=pl.lit("simulated"))


@pytest.mark.parametrize("simulated", [True, False], ids=["onto a real one", "onto a simulated one"])
def test_a_market_is_not_pushed_onto_one_of_the_other_world(
    source: DuckDBWarehouse, proxied: BigQueryWarehouse, *, simulated: bool
) -> None:
    hours = "market_data.databento_futures_ohlcv_1h"
    here, there = ("simulated", "databento") if simulated else ("databento", "simulated")
    source.merge(hours, rows_of(hours, 800).with_columns(source=pl.lit(here)))
    proxied.ensure()
    proxied.merge(hours, rows_of(hours, 3).with_columns(source=pl.lit(there)))
    before = proxied.read(f"SELECT * FROM {hours} ORDER BY ts_event")
    with pytest.raises(InputError, match=f"market.*is stored.*{hours}"):
        push(source, proxied, quiet, allow_simulated=True)
    assert proxied.read(f"SELECT * FROM {hours} ORDER BY ts_event").equals(before)
    assert {t.name for t in proxied.tables() if t.rows} == {hours}


def test_the_command_prints_a_checksum_for_each_table(
    source: DuckDBWarehouse, proxied: BigQueryWarehouse, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZL_BIGQUERY_PROJECT", str(proxied.jobs.project))
    monkeypatch.setenv("ZL_BIGQUERY_API_ENDPOINT", proxy.address)
    ended = CliRunner().invoke(app, ["push", "--home", str(source.path.parent), "--json"], catch_exceptions=False)
    assert '"table": "raw_intelligence.quarantine", "rows": 20, "written": 20, "checksum": "' in ended.stdout


def test_an_empty_home_has_nothing_to_push(tmp_path: Path, proxied: BigQueryWarehouse) -> None:
    with pytest.raises(InputError, match="nothing to push"):
        push(DuckDBWarehouse(tmp_path / "none.duckdb"), proxied, quiet)
