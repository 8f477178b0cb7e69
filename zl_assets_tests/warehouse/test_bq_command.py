"""A table that was written through Google's client, read by Google's `bq` command line.

Skipped where `bq` is not installed; it comes with the Google Cloud CLI (`google-cloud-cli`), from Google's packages.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets.warehouse.contracts import contract
from zl_assets_tests.stores import in_new_project
from zl_assets_tests.warehouse.fault_proxy import Answer, Proxy, touches
from zl_assets_tests.warehouse.rows import CALENDAR, calendar

pytestmark = [
    pytest.mark.bigquery,
    pytest.mark.skipif(shutil.which("bq") is None, reason="`bq` is not installed: it comes with the Google Cloud CLI"),
]


@pytest.fixture(scope="module")
def filled(bigquery_address: str) -> BigQueryWarehouse:
    store = in_new_project(bigquery_address)
    store.ensure()
    store.merge(CALENDAR, calendar({0: 1, 1: 2, 40: None}))
    return store


@pytest.fixture
def bq(filled: BigQueryWarehouse, proxy: Proxy, tmp_path: Path) -> Any:
    # The command asks for a description of the API, which the local server does not have, and it brings one along.
    described = Path(str(shutil.which("bq"))).resolve().parents[1] / "platform/bq/discovery_next/bigquery.json"
    proxy.fail(touches("GET", "discovery"), Answer(200, described.read_bytes()), times=None)

    def answer(*arguments: str) -> Any:
        """What the command prints, as JSON; its configuration is empty, and its token is not looked at."""
        place = ["--api", proxy.address, "--project_id", str(filled.jobs.project)]
        variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path / "gcloud")}
        done = subprocess.run(
            ["bq", *place, "--oauth_access_token=none", "--format=json", *arguments],
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    return answer


def test_it_reads_the_rows(bq: Any) -> None:
    sql = f"SELECT calendar_date, regime, weight_v0 FROM {CALENDAR} ORDER BY calendar_date"
    assert [tuple(row.values()) for row in bq("query", "--nouse_legacy_sql", sql)] == [
        ("2020-01-01", "r", "1"),
        ("2020-01-02", "r", "2"),
        ("2020-02-10", "r", None),
    ]


def test_it_shows_the_table_as_its_statement_says(bq: Any) -> None:
    shown, promised = bq("show", CALENDAR), contract(CALENDAR)
    fields = [(f["name"], f["type"], f["mode"] == "NULLABLE", f["description"]) for f in shown["schema"]["fields"]]
    assert fields == [(c.name, c.type, c.nullable, c.description) for c in promised.columns]
    assert shown["timePartitioning"] == {"type": promised.partition_unit, "field": promised.partition_column}
    assert shown["description"] == promised.description
