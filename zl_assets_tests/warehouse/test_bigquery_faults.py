"""After every fault of BigQuery: a clear message or a retry that works, no row twice, none lost, no staging table."""

import io
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from zl_assets.automation.status import holds_simulated_bars
from zl_assets.errors import (
    AccessDenied,
    ContractBroken,
    CostLimitExceeded,
    MissingCredential,
    MissingDependency,
    MissingSetting,
    QueryRefused,
    ServiceError,
    WarehouseError,
    ZlError,
)
from zl_assets.settings import Settings
from zl_assets.warehouse.base import MergeResult
from zl_assets.warehouse.bigquery import STAGING_PREFIX, BigQueryWarehouse
from zl_assets.warehouse.bigquery_jobs import Jobs
from zl_assets.warehouse.contracts import contract
from zl_assets.warehouse.shims import recorded_shims
from zl_assets_tests.stores import in_new_project, new_project
from zl_assets_tests.warehouse.fault_proxy import RESET, Answer, Proxy, Request, error, kill_at, starts_query, touches
from zl_assets_tests.warehouse.rows import EVENING, FIRST, MORNING, calendar

pytestmark = pytest.mark.bigquery

CALENDAR = "training.regime_calendar"
BEFORE, NEW = {0: 1, 1: 2}, {1: 20, 2: 30}
AFTER = {0: 1, 1: 20, 2: 30}

STEPS: dict[str, Callable[[Request], bool]] = {
    "create staging": touches("POST", r"/datasets/training/tables"),
    "start upload": touches("POST", r"^/upload/"),
    "upload": touches("PUT", r"^/upload/"),
    "estimate": lambda r: bool(r.job.get("dryRun")),
    "compare": starts_query("^SELECT COUNT"),
    "fetch counts": touches("GET", r"/queries/"),
    "merge": starts_query("^MERGE"),
    "drop staging": touches("DELETE", r"/tables/"),
}
FAULTS = {
    "429": error(429, "rateLimitExceeded"),
    "403 rate": error(403, "rateLimitExceeded"),
    "500": error(500, "internalError"),
    "503": error(503, "backendError"),
    "reset": RESET,
}


def weights(warehouse: BigQueryWarehouse) -> dict[int, int]:
    rows = warehouse.read(f"SELECT calendar_date, weight_v0 FROM {CALENDAR}").rows()
    assert len(rows) == len(dict(rows)), "a day is stored twice"
    return {(d - FIRST).days: w for d, w in rows}


def staging_tables(warehouse: BigQueryWarehouse) -> list[str]:
    listed = warehouse.jobs.client.list_tables(f"{warehouse.jobs.project}.training")
    return [t.table_id for t in listed if t.table_id.startswith(STAGING_PREFIX)]


@pytest.fixture
def filled(proxy: Proxy) -> BigQueryWarehouse:
    """A warehouse behind the proxy, with one table, that does not try for long."""
    store = in_new_project(proxy.address, retry_seconds=3.0)
    store.ensure([contract(CALENDAR)])
    store.merge(CALENDAR, calendar(BEFORE))
    proxy.requests.clear()
    return store


class TestFaultsThatPass:
    @pytest.mark.parametrize("step", STEPS)
    def test_a_merge_goes_on_where_it_was(self, filled: BigQueryWarehouse, proxy: Proxy, step: str) -> None:
        expected = dict(BEFORE)
        for n, (name, fault) in enumerate(FAULTS.items()):
            made = proxy.fail(STEPS[step], fault)
            one_changed_one_new = {1: 20 + n, 2 + n: 30}
            assert filled.merge(CALENDAR, calendar(one_changed_one_new, EVENING)) == MergeResult(1, 1, 0), name
            assert made.happened == 1, name
            expected |= one_changed_one_new
            assert weights(filled) == expected, name
            assert staging_tables(filled) == [], name

    @pytest.mark.parametrize("step", STEPS)
    def test_an_answer_that_is_lost_does_nothing_twice(
        self, filled: BigQueryWarehouse, proxy: Proxy, step: str
    ) -> None:
        made = proxy.fail(STEPS[step], RESET, after=True)
        filled.merge(CALENDAR, calendar(NEW, EVENING))
        assert made.happened == 1
        assert weights(filled) == AFTER
        assert staging_tables(filled) == []

    @pytest.mark.parametrize("fault", FAULTS)
    def test_other_actions_are_repeated_too(self, filled: BigQueryWarehouse, proxy: Proxy, fault: str) -> None:
        def failing_once(action: Callable[[], object]) -> object:
            made = proxy.fail(lambda _: True, FAULTS[fault])
            result = action()
            assert made.happened == 1
            return result

        failing_once(filled.ensure)
        failing_once(lambda: filled.create_view(f"CREATE OR REPLACE VIEW training.v AS SELECT * FROM {CALENDAR}"))
        assert {t.name: t.rows for t in failing_once(filled.tables)}["training.v"] == 2
        assert failing_once(lambda: filled.replace(CALENDAR, "SELECT * FROM training.v WHERE weight_v0 = 2")) == 1
        assert failing_once(lambda: weights(filled)) == {1: 2}
        assert failing_once(lambda: filled.delete(CALENDAR, "TRUE", {})) == 1

    def test_a_statement_that_met_another_ones_change_is_run_again(
        self, filled: BigQueryWarehouse, proxy: Proxy
    ) -> None:
        said = f"Could not serialize access to table {CALENDAR} due to concurrent update"
        proxy.fail(starts_query("^MERGE"), error(400, "invalidQuery", said))
        assert filled.merge(CALENDAR, calendar(NEW, EVENING)) == MergeResult(1, 1, 0)
        assert weights(filled) == AFTER


class TestFaultsThatLast:
    @pytest.mark.parametrize("step", STEPS)
    @pytest.mark.parametrize("fault", ["503", "reset"])
    def test_the_table_is_as_before_and_the_message_says_to_run_again(
        self, filled: BigQueryWarehouse, proxy: Proxy, step: str, fault: str
    ) -> None:
        impatient = BigQueryWarehouse(replace(filled.jobs, retry_seconds=0.3))
        made = proxy.fail(STEPS[step], FAULTS[fault], times=None)
        if step == "drop staging":
            impatient.merge(CALENDAR, calendar(NEW, EVENING))
        else:
            with pytest.raises(ServiceError, match="run again later") as raised:
                impatient.merge(CALENDAR, calendar(NEW, EVENING))
            assert raised.value.exit_code == 3
        made.times = 0
        assert weights(filled) == (AFTER if step == "drop staging" else BEFORE)
        assert len(staging_tables(filled)) == (1 if step == "drop staging" else 0)
        filled.merge(CALENDAR, calendar(NEW, EVENING))
        assert weights(filled) == AFTER

    @pytest.mark.parametrize("step", [s for s in STEPS if s not in {"drop staging", "fetch counts"}])
    def test_a_denied_access_names_the_roles_and_is_not_repeated(
        self, filled: BigQueryWarehouse, proxy: Proxy, step: str
    ) -> None:
        made = proxy.fail(STEPS[step], error(403, "accessDenied", "Permission denied"), times=None)
        with pytest.raises(
            AccessDenied, match=r"roles/bigquery.user in project .* roles/bigquery.dataEditor on those"
        ) as raised:
            filled.merge(CALENDAR, calendar(NEW, EVENING))
        assert (raised.value.exit_code, made.happened) == (2, 1)
        made.times = 0
        assert weights(filled) == BEFORE
        assert staging_tables(filled) == []

    def test_a_used_up_quota_is_told_and_not_repeated(self, filled: BigQueryWarehouse, proxy: Proxy) -> None:
        made = proxy.fail(starts_query("^MERGE"), error(403, "quotaExceeded", "Quota exceeded"), times=None)
        with pytest.raises(ServiceError, match="quota"):
            filled.merge(CALENDAR, calendar(NEW, EVENING))
        assert made.happened == 1
        assert weights(filled) == BEFORE

    def test_a_missing_dataset_says_what_creates_it(self, filled: BigQueryWarehouse, proxy: Proxy) -> None:
        remedy = r"zl run --warehouse bigquery.*ZL_BIGQUERY_LOCATION"
        missing = error(404, "notFound", "Not found: Dataset p:training was not found in location us-central1")
        proxy.fail(STEPS["create staging"], missing)
        with pytest.raises(WarehouseError, match=remedy):
            filled.merge(CALENDAR, calendar(NEW))
        empty = in_new_project(proxy.address)
        with pytest.raises(QueryRefused, match=remedy):
            empty.read(f"SELECT * FROM {CALENDAR}")
        assert empty.tables() == []


class TestLoads:
    def test_a_load_that_ends_with_errors_tells_them_and_changes_nothing(
        self, filled: BigQueryWarehouse, proxy: Proxy
    ) -> None:
        # As long as the file, whose length the client has announced.
        proxy.change = lambda r: b"-" * len(r.content) if r.content.startswith(b"PAR1") else r.content
        with pytest.raises(ContractBroken, match="cannot load the rows: Error while reading data"):
            filled.merge(CALENDAR, calendar(NEW, EVENING))
        proxy.change = lambda request: request.content
        assert weights(filled) == BEFORE
        assert staging_tables(filled) == []

    def test_a_table_that_is_not_there_is_told(self, filled: BigQueryWarehouse) -> None:
        with pytest.raises(ZlError):
            filled.jobs.load(io.BytesIO(b"no Parquet"), "nowhere.staging", [])


KILLED = """
import sys
from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets.warehouse.bigquery_jobs import Jobs
from zl_assets.warehouse.contracts import contract
from zl_assets_tests.warehouse.rows import EVENING, calendar
store = BigQueryWarehouse(Jobs(sys.argv[1], api_endpoint=sys.argv[2]))
store.merge("training.regime_calendar", calendar({1: 20, 2: 30}, EVENING))
"""


def test_a_process_killed_between_load_and_merge_leaves_the_table_and_an_expiring_staging_table(
    filled: BigQueryWarehouse, proxy: Proxy
) -> None:
    kill_at(proxy, "^MERGE", KILLED, filled.jobs.project or "", proxy.address)
    assert weights(filled) == BEFORE
    assert len(staging_tables(filled)) == 1
    assert 0 < expiry(proxy) - time.time() < timedelta(days=1).total_seconds()
    assert filled.merge(CALENDAR, calendar(NEW, EVENING)) == MergeResult(1, 1, 0)
    assert weights(filled) == AFTER
    assert CALENDAR in {t.name for t in filled.tables()}
    assert not any(STAGING_PREFIX in t.name for t in filled.tables())


def expiry(proxy: Proxy) -> float:
    """When the staging table that was asked for last expires, in seconds since 1970."""
    [*_, request] = [r for r in proxy.requests if STEPS["create staging"](r)]
    return int(request.body["expirationTime"]) / 1000


def test_two_runs_that_merge_at_once_store_each_row_once(filled: BigQueryWarehouse, proxy: Proxy) -> None:
    together = threading.Barrier(2)

    def hold(request: Request) -> None:
        if starts_query("^MERGE")(request):
            together.wait(30)

    proxy.hold = hold
    other = BigQueryWarehouse(Jobs(filled.jobs.project, api_endpoint=proxy.address, retry_seconds=10))
    failed: list[Exception] = []

    def run(warehouse: BigQueryWarehouse, created: datetime) -> None:
        try:
            warehouse.merge(CALENDAR, calendar(NEW, created))
        except ZlError as raised:
            failed.append(raised)

    threads = [threading.Thread(target=run, args=a) for a in ((filled, EVENING), (other, EVENING + timedelta(hours=1)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    proxy.hold = lambda _: None
    assert failed == []
    assert weights(filled) == AFTER
    assert staging_tables(filled) == []


class TestEnsure:
    def test_what_another_run_creates_meanwhile_is_taken_as_it_is(
        self, proxied: BigQueryWarehouse, proxy: Proxy
    ) -> None:
        unseen = [
            proxy.fail(touches("GET", rf"/{kind}\?"), error(404, "notFound", "Not found"))
            for kind in ("datasets/training", "tables/regime_calendar")
        ]
        proxied.ensure()
        assert [f.happened for f in unseen] == [1, 1]
        created = [r.path.split("?")[0].rsplit("/", 1)[1] for r in proxy.requests if r.method == "POST"]
        assert created == ["datasets", "tables"]

    def test_a_dataset_in_another_location_is_told_with_the_setting(self, proxied: BigQueryWarehouse) -> None:
        elsewhere = BigQueryWarehouse(replace(proxied.jobs, location="EU"))
        with pytest.raises(WarehouseError, match=r"market_data is in location us-central1.*ZL_BIGQUERY_LOCATION=us-"):
            elsewhere.ensure()


def _client_of(jobs: Jobs) -> bigquery.Client:
    """A client with credentials that nobody checks, so that the connection is what fails."""
    return bigquery.Client("p", AnonymousCredentials(), client_options={"api_endpoint": jobs.api_endpoint})


class TestSetUp:
    def test_without_a_project_the_setting_is_named(self) -> None:
        with pytest.raises(MissingSetting, match="ZL_BIGQUERY_PROJECT"):
            BigQueryWarehouse(Jobs(None)).tables()

    def test_without_credentials_the_ways_to_give_them_are_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: object
    ) -> None:
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        with pytest.raises(MissingCredential, match=r"GOOGLE_APPLICATION_CREDENTIALS.*gcloud auth") as raised:
            BigQueryWarehouse(Jobs("some-project")).ensure()
        assert raised.value.exit_code == 2

    def test_credentials_that_are_not_accepted_are_told(self, proxied: BigQueryWarehouse, proxy: Proxy) -> None:
        proxy.fail(lambda _: True, error(401, "authError", "Invalid Credentials"), times=None)
        with pytest.raises(MissingCredential, match="GOOGLE_APPLICATION_CREDENTIALS"):
            proxied.merge(CALENDAR, calendar(NEW))

    def test_without_googles_packages_the_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "google.cloud", None)
        with pytest.raises(MissingDependency, match=r"zl-assets\[bigquery\]"):
            BigQueryWarehouse(Jobs("some-project")).ensure()

    @pytest.mark.parametrize("content", [None, "no json", '{"type": "service_account"}'])
    def test_a_key_file_that_is_not_usable_is_named(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
    ) -> None:
        key = tmp_path / "key.json"
        if content is not None:
            key.write_text(content)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
        with pytest.raises(MissingCredential, match=r"key file.*not usable: .*key\.json.*as Google made it"):
            BigQueryWarehouse(Jobs("some-project")).ensure()

    def test_an_address_without_a_certificate_of_its_own_is_an_error_of_the_service(self, proxy: Proxy) -> None:
        jobs = Jobs("p", api_endpoint=proxy.address.replace("http://", "https://"), retry_seconds=0.3)
        jobs.__dict__["client"] = _client_of(jobs)
        with pytest.raises(ServiceError, match="what answers is not BigQuery") as raised:
            BigQueryWarehouse(jobs).ensure()
        assert raised.value.exit_code == 3

    @pytest.mark.parametrize("address", ["localhost:9050", "http://", "not a url", "ftp://host", "http://h/?q=1"])
    def test_what_is_no_address_is_refused(self, address: str) -> None:
        with pytest.raises(ValueError, match="http:// or https://"):
            Settings(bigquery_api_endpoint=address)

    def test_an_address_is_taken_in_any_spelling(self) -> None:
        assert (
            Settings(bigquery_api_endpoint="HTTP://127.0.0.1:9050/ ").bigquery_api_endpoint == "http://127.0.0.1:9050"
        )

    def test_before_the_first_run_there_is_no_simulated_market_and_no_shim(self, proxied: BigQueryWarehouse) -> None:
        empty = BigQueryWarehouse(replace(proxied.jobs, project=new_project()))
        assert not holds_simulated_bars(empty)
        assert recorded_shims(empty).is_empty()

    def test_an_address_that_nobody_listens_at_is_told(self) -> None:
        lost = BigQueryWarehouse(Jobs("p", api_endpoint="http://127.0.0.1:9", retry_seconds=0.3))
        with pytest.raises(ServiceError, match="run again later"):
            lost.ensure()


def test_more_bytes_than_the_limit_are_refused_before_anything_runs(filled: BigQueryWarehouse, proxy: Proxy) -> None:
    def expensive(request: Request, answer: bytes) -> bytes:
        return answer.replace(b'"totalBytesProcessed":"0"', b'"totalBytesProcessed":"1073741825"')

    proxy.rewrite = expensive
    with pytest.raises(CostLimitExceeded, match=r"1,073,741,825 bytes.*1,073,741,824.*ZL_BIGQUERY_MAX_BYTES"):
        filled.merge(CALENDAR, calendar(NEW))
    assert proxy.statements() == []
    proxy.rewrite = lambda _, answer: answer
    assert weights(filled) == BEFORE
    assert staging_tables(filled) == []


def test_a_limit_that_bigquery_itself_enforces_is_told(filled: BigQueryWarehouse, proxy: Proxy) -> None:
    proxy.fail(
        starts_query("SELECT 1"), error(400, "bytesBilledLimitExceeded", "Query exceeded limit for bytes billed")
    )
    with pytest.raises(CostLimitExceeded, match="ZL_BIGQUERY_MAX_BYTES"):
        filled.read("SELECT 1 AS one")


def test_an_answer_that_is_no_json_is_an_error_of_the_service(filled: BigQueryWarehouse, proxy: Proxy) -> None:
    page = Answer(502, b"<html>bad gateway</html>", (("Content-Type", "text/html"),))
    proxy.fail(starts_query("SELECT 1"), page)
    assert filled.read("SELECT 1 AS one").item() == 1
    assert weights(filled) == BEFORE
    assert filled.read(f"SELECT MAX(created_at) AS m FROM {CALENDAR}").item() == MORNING
