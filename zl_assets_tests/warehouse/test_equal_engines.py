"""The same vendor files through both engines: equal tables and views, column by column, with equal types."""

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from zl_assets.automation.runner import run_graph
from zl_assets.build import build_warehouse
from zl_assets.cli import app
from zl_assets.settings import Settings
from zl_assets.sources.simulated import simulate
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract, contracts
from zl_assets_tests.stores import new_project

pytestmark = pytest.mark.bigquery

HORIZON = "1m"
OF_THE_RUN = {"run_id", "created_at", "ingestion_ts", "ingest_timestamp"}
VIEWS = {f"training.vw_zl_{HORIZON}_flat": ["data_date"], f"predictions.vw_zl_{HORIZON}_latest": ["horizon"]}
EXACT = 1e-12


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("simulated") / "market"
    simulate(directory, start=date(2019, 1, 1), end=date(2022, 12, 31))
    return only_zl(directory, tmp_path_factory.mktemp("simulated_zl"))


@pytest.fixture(scope="module")
def real(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return only_zl(real_data, tmp_path_factory.mktemp("real_zl"))


def only_zl(source: Path, target: Path) -> Path:
    """Daily and hourly ZL files of a delivery, which is all that the matrix reads."""
    for path in source.glob("databento*/*.ZL.v.0.csv*"):
        (target / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, target / path.parent.name)
    return target


@pytest.fixture(
    scope="module", params=["simulated", pytest.param("real", marks=[pytest.mark.realdata, pytest.mark.slow])]
)
def both(
    request: pytest.FixtureRequest, bigquery_address: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Settings, Settings]:
    """Settings of two homes with the same run on each engine."""
    data = request.getfixturevalue(request.param)
    same: dict[str, Any] = {"data": data, "models": "no_change,lightgbm", "mlflow": False}
    embedded = Settings(home=tmp_path_factory.mktemp("duckdb"), **same)
    cloud: dict[str, Any] = {
        "warehouse": "bigquery",
        "bigquery_project": new_project(),
        "bigquery_api_endpoint": bigquery_address,
    }
    remote = Settings(home=tmp_path_factory.mktemp("bigquery"), **same, **cloud)
    for settings in (embedded, remote):
        run_graph(settings, [HORIZON], lambda _: None)
    return embedded, remote


def rows(warehouse: Warehouse, name: str, keys: list[str]) -> pl.DataFrame:
    return warehouse.read(f"SELECT * FROM {name} ORDER BY {', '.join(keys)}")


def test_every_table_and_view_is_equal(both: tuple[Settings, Settings]) -> None:
    embedded, remote = (build_warehouse(s) for s in both)
    assert [t.name for t in embedded.tables()] == [t.name for t in remote.tables()]
    filled = []
    for name, keys in {**{n: list(contract(n).keys) for n in contracts()}, **VIEWS}.items():
        left, right = rows(embedded, name, keys), rows(remote, name, keys)
        assert left.schema == right.schema, name
        kept = [c for c in left.columns if c not in OF_THE_RUN]
        assert_frame_equal(left.select(kept), right.select(kept), rel_tol=EXACT, abs_tol=EXACT)
        filled.append(left.height > 0)
    assert sum(filled) >= 9


def test_the_lists_of_tables_are_equal(both: tuple[Settings, Settings]) -> None:
    embedded, remote = (build_warehouse(s).tables() for s in both)
    assert embedded == remote


def test_the_published_forecast_is_one_row_that_googles_client_reads(both: tuple[Settings, Settings]) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    remote = both[1]
    client = bigquery.Client(
        project=remote.bigquery_project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": remote.bigquery_api_endpoint},
    )
    [row] = client.query_and_wait(f"SELECT * FROM predictions.vw_zl_{HORIZON}_latest")
    assert (row["horizon"], row["is_champion"]) == (HORIZON, True)


def test_a_second_run_adds_only_the_new_forecasts(both: tuple[Settings, Settings]) -> None:
    remote = both[1]
    warehouse = build_warehouse(remote)
    before = {t.name: t.rows for t in warehouse.tables()}
    run_graph(remote, [HORIZON], lambda _: None)
    assert {t.name: t.rows for t in warehouse.tables()} == before


def test_the_command_line_reads_and_exports_from_bigquery(
    both: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = both[1]
    monkeypatch.setenv("ZL_BIGQUERY_PROJECT", str(remote.bigquery_project))
    monkeypatch.setenv("ZL_BIGQUERY_API_ENDPOINT", str(remote.bigquery_api_endpoint))
    place = ["--warehouse", "bigquery", "--home", str(remote.home)]
    sql = f"SELECT COUNT(*) AS n FROM predictions.vw_zl_{HORIZON}_latest"
    asked = CliRunner().invoke(app, ["query", sql, *place, "--format", "csv"], catch_exceptions=False)
    assert asked.stdout == "n\n1\n"
    exported = CliRunner().invoke(app, ["export", "--horizon", HORIZON, *place], catch_exceptions=False)
    written = pl.read_parquet(exported.stdout.strip())
    assert written.height == build_warehouse(remote).row_count(f"training.zl_training_prod_allhistory_{HORIZON}")
    state = CliRunner().invoke(app, ["status", *place], catch_exceptions=False)
    assert f"predictions.vw_zl_{HORIZON}_latest" in state.stdout
