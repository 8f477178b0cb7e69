"""What the client asks BigQuery for: estimates, limits, labels, and the partitions a statement is bound to.

The local server estimates nothing, prunes nothing and bills nothing, so this is shown by the requests and the SQL.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
import sqlglot
from sqlglot import exp

from zl_assets.automation.query_usage import BYTES_METADATA, BYTES_TAG, StepUsage
from zl_assets.warehouse.base import Window, literal, merge_sql, sync_sql
from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets.warehouse.bigquery_jobs import label
from zl_assets.warehouse.contracts import contract, contracts
from zl_assets_tests.warehouse.fault_proxy import Proxy, starts_query, touches
from zl_assets_tests.warehouse.rows import EVENING, FIRST, MORNING, calendar, rows_of

CALENDAR, HOURS = "training.regime_calendar", "market_data.databento_futures_ohlcv_1h"


@pytest.mark.bigquery
class TestEveryJob:
    @pytest.fixture(autouse=True)
    def actions(self, proxied: BigQueryWarehouse) -> None:
        """One of each action."""
        proxied.merge(CALENDAR, calendar({0: 1, 1: 2}))
        proxied.create_view(f"CREATE OR REPLACE VIEW training.v AS SELECT * FROM {CALENDAR} WHERE weight_v0 = 1")
        proxied.replace(CALENDAR, "SELECT * FROM training.v")
        proxied.delete(CALENDAR, "weight_v0 = @w", {"w": 1})
        listed = len(proxied.tables())
        # Rows of all tables are asked for twenty tables at a time.
        self.listings = -(-listed // 20)

    def test_is_estimated_first_and_limited(self, proxy: Proxy) -> None:
        started = [r for r in proxy.requests if r.sql]
        estimates = [r.sql for r in started if r.job.get("dryRun")]
        runs = [r for r in started if not r.job.get("dryRun")]
        assert estimates == [r.sql for r in runs]
        assert len(runs) == 6 + self.listings
        assert {r.job["query"]["maximumBytesBilled"] for r in runs} == {str(2**30)}

    def test_is_labelled_with_what_it_is_about(self, proxy: Proxy) -> None:
        labels = [r.job["labels"] for r in proxy.requests if starts_query("^(MERGE|DELETE|CREATE)")(r)]
        table, view = {"asset": "training__regime_calendar"}, {"asset": "training__v"}
        assert labels == [table, view, table, table]
        [load] = [r.job for r in proxy.requests if touches("POST", "^/upload")(r)]
        assert load["labels"] == table

    def test_staging_tables_expire_within_a_day_and_are_dropped(self, proxy: Proxy) -> None:
        [created] = [r for r in proxy.requests if touches("POST", "datasets/training/tables")(r)]
        name = created.body["tableReference"]["tableId"]
        expires = datetime.fromtimestamp(int(created.body["expirationTime"]) / 1000).astimezone()
        assert timedelta(0) < expires - datetime.now().astimezone() < timedelta(days=1)
        assert {f["mode"] for f in created.body["schema"]["fields"]} == {"NULLABLE"}
        assert [r for r in proxy.requests if touches("DELETE", f"tables/{name}")(r)]

    def test_the_bytes_of_finished_queries_are_summed(self, proxied: BigQueryWarehouse, proxy: Proxy) -> None:
        proxy.rewrite = lambda _, answer: answer.replace(b'"totalBytesProcessed":"0"', b'"totalBytesProcessed":"1000"')
        before = proxied.jobs.usage.queries
        proxied.read("SELECT 1 AS one")
        proxied.read("SELECT 2 AS two")
        assert (proxied.jobs.usage.bytes_processed, proxied.jobs.usage.queries - before) == (2_000, 2)


@pytest.mark.bigquery
class TestReading:
    def test_an_answer_of_many_pages_is_read_whole(self, proxied: BigQueryWarehouse) -> None:
        big = "SELECT n, REPEAT('x', 200) AS text FROM UNNEST(GENERATE_ARRAY(1, 30000)) AS n ORDER BY n"
        assert proxied.read(big)["n"].to_list() == list(range(1, 30_001))
        assert sum(frame.height for frame in proxied.stream(big)) == 30_000

    def test_without_permission_for_the_storage_api_rows_come_over_rest(self, proxied: BigQueryWarehouse) -> None:
        class Denied:
            asked = 0

            def create_read_session(self, **_: object) -> None:
                from google.api_core.exceptions import PermissionDenied

                self.asked += 1
                raise PermissionDenied("bigquery.readsessions.create")

        denied = Denied()
        vars(proxied.jobs)["storage"] = denied
        proxied.merge(CALENDAR, calendar(dict.fromkeys(range(50), 1)))
        assert proxied.read(f"SELECT * FROM {CALENDAR}").height == 50
        asked = denied.asked
        assert asked > 0
        streamed = pl.concat(proxied.stream(f"SELECT * FROM {CALENDAR} ORDER BY calendar_date"))
        assert streamed["calendar_date"].to_list() == [FIRST + timedelta(days=n) for n in range(50)]
        assert denied.asked == asked + 1


@pytest.mark.bigquery
def test_a_run_carries_its_labels_and_the_bytes_of_its_steps(proxied: BigQueryWarehouse, proxy: Proxy) -> None:
    usage = StepUsage()
    store = BigQueryWarehouse(replace(proxied.jobs, labels=usage.labels, counted=usage.count))
    proxy.rewrite = lambda _, answer: answer.replace(b'"totalBytesProcessed":"0"', b'"totalBytesProcessed":"1000"')

    @dg.asset
    def once() -> dg.MaterializeResult:
        store.read("SELECT 1 AS one")
        return dg.MaterializeResult(metadata={"other": 1})

    @dg.multi_asset(specs=[dg.AssetSpec("early"), dg.AssetSpec("late")])
    def twice() -> Iterator[dg.MaterializeResult]:
        store.read("SELECT 2 AS two")
        yield dg.MaterializeResult(asset_key="early")
        store.read("SELECT 3 AS three")
        yield dg.MaterializeResult(asset_key="late")

    with dg.DagsterInstance.ephemeral() as instance:
        ended = dg.materialize([once, twice], instance=instance)
        run = instance.get_run_by_id(ended.run_id)
        made = {k: ended.asset_materializations_for_node(k) for k in ("once", "twice")}
    assert run is not None
    assert run.tags[BYTES_TAG] == "3000"
    assert {m.asset_key.to_user_string(): m.metadata[BYTES_METADATA].value for ms in made.values() for m in ms} == {
        "once": 1_000,
        "early": 1_000,
        "late": 2_000,
    }
    labels = {r.sql: r.job["labels"] for r in proxy.requests if r.sql}
    assert labels["SELECT 3 AS three"] == {"asset": "twice", "run_id": ended.run_id}


@pytest.mark.bigquery
class TestPartitions:
    """A refresh with the whole history touches the partitions of what is new and no other."""

    def test_a_days_merge_is_bound_to_that_day(self, proxied: BigQueryWarehouse, proxy: Proxy) -> None:
        proxied.merge(CALENDAR, calendar(dict.fromkeys(range(700), 1)))
        proxy.requests.clear()
        proxied.merge(CALENDAR, calendar(dict.fromkeys(range(701), 1), EVENING))
        [merge] = [s for s in proxy.statements() if s.startswith("MERGE")]
        assert windows(merge) == {
            ("t", "calendar_date", day(700), day(700)),
            ("r", "calendar_date", day(700), day(700)),
        }
        written = proxied.read(f"SELECT calendar_date FROM {CALENDAR} WHERE created_at = @at", {"at": EVENING})
        assert written["calendar_date"].to_list() == [FIRST + timedelta(days=700)]

    def test_a_replacement_is_bound_to_what_differs(self, proxied: BigQueryWarehouse, proxy: Proxy) -> None:
        proxied.merge(CALENDAR, calendar(dict.fromkeys(range(700), 1)))
        changed = "CASE WHEN calendar_date = DATE '2021-05-05' THEN 9 ELSE weight_v0 END"
        columns = f"calendar_date, regime, weight, regime_v0, {changed} AS weight_v0, created_at"
        select = f"SELECT {columns} FROM {CALENDAR} WHERE calendar_date != DATE '2021-05-10'"
        proxy.requests.clear()
        assert proxied.replace(CALENDAR, select) == 699
        [merge] = [s for s in proxy.statements() if s.startswith("MERGE")]
        assert {w[2:] for w in windows(merge)} == {("DATE '2021-05-05'", "DATE '2021-05-10'")}
        assert proxied.read(f"SELECT COUNT(*) AS n, MAX(weight_v0) AS w FROM {CALENDAR}").row(0) == (699, 9)

    def test_nothing_new_starts_no_merge(self, proxied: BigQueryWarehouse, proxy: Proxy) -> None:
        proxied.merge(CALENDAR, calendar({0: 1}))
        proxy.requests.clear()
        proxied.merge(CALENDAR, calendar({0: 1}, EVENING))
        proxied.replace(CALENDAR, f"SELECT * FROM {CALENDAR}")
        assert [s for s in proxy.statements() if not s.startswith("SELECT")] == []

    def test_partitions_by_moment_are_bound_to_the_microsecond(self, proxied: BigQueryWarehouse, proxy: Proxy) -> None:
        rows = rows_of(HOURS, 40)
        proxied.merge(HOURS, rows.head(39))
        proxy.requests.clear()
        proxied.merge(HOURS, rows)
        [merge] = [s for s in proxy.statements() if s.startswith("MERGE")]
        moment = "TIMESTAMP '2020-02-09 23:59:59.999999+00:00'"
        assert windows(merge) == {("t", "ts_event", moment, moment), ("r", "ts_event", moment, moment)}
        assert proxied.row_count(HOURS) == 40

    def test_the_rows_lie_in_the_months_they_belong_to(self, proxied: BigQueryWarehouse) -> None:
        proxied.merge(CALENDAR, calendar(dict.fromkeys(range(60), 1)))
        found = proxied.read(
            "SELECT partition_id, total_rows FROM training.INFORMATION_SCHEMA.PARTITIONS "
            "WHERE table_name = 'regime_calendar' AND total_rows > 0 ORDER BY partition_id"
        )
        assert found.rows() == [("202001", 31), ("202002", 29)]


def day(number: int) -> str:
    return literal(FIRST + timedelta(days=number))


def windows(sql: str) -> set[tuple[str, str, str, str]]:
    """Alias, column, first and last of every BETWEEN in a statement."""
    sides = r"((?:DATE|TIMESTAMP) '[^']+')"
    pattern = re.compile(rf"(\w+)\.(\w+) BETWEEN {sides} AND {sides}")
    return set(pattern.findall(sql))


@pytest.mark.parametrize("table", [n for n, c in contracts().items() if c.partition_column])
def test_the_partition_column_is_a_key_so_that_no_row_moves_between_partitions(table: str) -> None:
    assert contract(table).partition_column in contract(table).keys


@pytest.mark.parametrize("table", contracts())
def test_every_statement_is_one_merge_that_parses(table: str) -> None:
    promised = contract(table)
    column = promised.partition_column
    window = Window(column, date(2025, 1, 1), date(2025, 1, 31)) if column else None
    for sql in (merge_sql(promised, "d.staging", window), sync_sql(promised, "SELECT * FROM d.v", window)):
        [statement] = sqlglot.parse(sql, dialect="bigquery")
        assert isinstance(statement, exp.Merge)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [("features.daily_ml_matrix", "features__daily_ml_matrix"), ("A b/é", "a_b__"), ("x" * 80, "x" * 63)],
)
def test_labels_hold_only_what_bigquery_allows(value: str, allowed: str) -> None:
    assert label(value) == allowed


def test_the_embedded_default_needs_no_package_of_googles(tmp_path: object) -> None:
    code = (
        "import sys; sys.modules['google.cloud.bigquery'] = sys.modules['google.api_core'] = None\n"
        "from zl_assets.build import build_definitions, build_warehouse\n"
        "from zl_assets.settings import Settings\n"
        "build_definitions(Settings()); build_warehouse(Settings()).ensure()\n"
        "print([m for m in sys.modules if m.startswith(('google.cloud.', 'grpc')) and sys.modules[m]])"
    )
    environment = {"ZL_HOME": str(tmp_path), "PATH": ""}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout.replace("'", '"')) == []


def test_moments_of_any_zone_are_written_in_utc() -> None:
    chicago = pl.Series([MORNING]).dt.convert_time_zone("America/Chicago").item()
    assert literal(chicago) == literal(MORNING) == "TIMESTAMP '2025-01-02 08:00:00.123456+00:00'"
