"""`zl archive` and `zl restore` on both engines: whole or not at all, compared, and nothing overwritten unasked."""

import signal
import subprocess
import sys
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from zl_assets.errors import AccessDenied, CostLimitExceeded, InputError, WarehouseError
from zl_assets.warehouse.archive import OWN_COLUMNS, Archived, archive, original_of, snapshot_name
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets.warehouse.bigquery_jobs import Jobs
from zl_assets.warehouse.comparison import checksum, fingerprint, simulated_condition
from zl_assets.warehouse.contracts import FOREIGN_DATASETS, LEGACY_DATASETS, contract, contracts
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets.warehouse.restore import restore
from zl_assets_tests.stores import empty_warehouse
from zl_assets_tests.warehouse.fault_proxy import RESET, Answer, Proxy, error, kill_at, starts_query
from zl_assets_tests.warehouse.rows import EVENING, calendar, rows_of

CALENDAR, MATRIX, SESSIONS = "training.regime_calendar", "features.daily_ml_matrix", "market_data.futures_sessions_1d"
DAY = date(2026, 1, 2)
SNAPSHOT = "archive.legacy_20260102__training__regime_calendar"


def quiet(_: str) -> None:
    return


def archived(warehouse: Warehouse, *tables: str, day: date = DAY, replace: bool = False) -> list[Archived]:
    return archive(warehouse, tables, day, quiet, replace=replace)


def make(warehouse: Warehouse, name: str, select: str) -> None:
    """A table that is in no contract, in a dataset that may be anybody's."""
    warehouse.ensure_dataset(name.split(".")[0])
    warehouse.create_table(name, select)


def rows(warehouse: Warehouse, table: str) -> pl.DataFrame:
    return warehouse.read(f"SELECT * FROM {table} ORDER BY {', '.join(contract(table).keys)}")


def names(warehouse: Warehouse) -> set[str]:
    return {t.name for t in warehouse.tables() if t.name.startswith("archive.legacy_")}


class TestArchive:
    def test_a_snapshot_holds_every_column_and_says_when_and_where_from(self, warehouse: Warehouse) -> None:
        warehouse.merge(MATRIX, rows_of(MATRIX, 40))
        [done] = archived(warehouse, MATRIX)
        assert (done.table, done.snapshot) == (MATRIX, "archive.legacy_20260102__features__daily_ml_matrix")
        assert (done.rows, done.simulated) == (40, False)
        snapshot = warehouse.read(f"SELECT * FROM {done.snapshot} ORDER BY data_date")
        assert snapshot.columns == [*contract(MATRIX).polars_schema(), *OWN_COLUMNS]
        assert_frame_equal(snapshot.drop(OWN_COLUMNS), rows(warehouse, MATRIX), check_exact=True)
        own = snapshot.select(*OWN_COLUMNS).unique()
        assert own.rows() == [(DAY, MATRIX, f"zl-assets {version('zl-assets')}")]
        assert own.schema == {"archived_date": pl.Date, "original_location": pl.String, "migration_version": pl.String}

    def test_several_tables_and_one_without_a_row(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        told: list[str] = []
        done = archive(warehouse, [CALENDAR, MATRIX, CALENDAR], DAY, told.append)
        assert [(a.table, a.rows) for a in done] == [(CALENDAR, 1), (MATRIX, 0)]
        assert len(told) == 2
        assert names(warehouse) == {a.snapshot for a in done}

    def test_a_snapshot_of_that_day_stays_unless_it_is_to_be_replaced(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        archived(warehouse, CALENDAR)
        warehouse.merge(CALENDAR, calendar({1: 2}))
        with pytest.raises(InputError, match="--replace") as raised:
            archived(warehouse, MATRIX, CALENDAR)
        assert raised.value.where == SNAPSHOT
        assert names(warehouse) == {SNAPSHOT}, "nothing is made where one name is refused"
        assert warehouse.row_count(SNAPSHOT) == 1
        assert archived(warehouse, CALENDAR, replace=True)[0].rows == 2
        assert warehouse.row_count(SNAPSHOT) == 2
        assert archived(warehouse, CALENDAR, day=DAY + timedelta(days=1))[0].rows == 2
        assert len(names(warehouse)) == 2

    def test_something_else_of_the_snapshots_name_is_not_even_replaced(self, warehouse: Warehouse) -> None:
        make(warehouse, SNAPSHOT, "SELECT 1 AS mine")
        for replace in (False, True):
            with pytest.raises(InputError, match="taken by something else"):
                archived(warehouse, CALENDAR, replace=replace)
        assert warehouse.read(f"SELECT mine FROM {SNAPSHOT}").rows() == [(1,)]

    def test_other_datasets_are_only_read(self, warehouse: Warehouse) -> None:
        for dataset in (*FOREIGN_DATASETS, *LEGACY_DATASETS):
            make(warehouse, f"{dataset}.theirs", "SELECT 'a' AS name, 1.5 AS price")
            [done] = archived(warehouse, f"{dataset}.theirs")
            assert done.snapshot == f"archive.legacy_20260102__{dataset}__theirs"
            for name in (done.snapshot, f"{dataset}.theirs"):
                with pytest.raises(InputError, match="never written"):
                    restore(warehouse, done.snapshot if name == done.snapshot else name, replace=True)
            assert warehouse.row_count(f"{dataset}.theirs") == 1

    @pytest.mark.slow_on_bigquery
    @pytest.mark.parametrize(
        "name",
        [
            "regime_calendar",
            "training.regime_calendar; DROP TABLE training.regime_calendar",
            "training.x` AS SELECT 1; --",
            "training.regime_calendar'",
            "a.b.c",
            "training.",
            "",
            "training.régime",
        ],
    )
    def test_what_is_not_a_name_is_refused(self, warehouse: Warehouse, name: str) -> None:
        for act in (lambda: archived(warehouse, name), lambda: restore(warehouse, name)):
            with pytest.raises(InputError, match="not a name of a table"):
                act()

    def test_what_cannot_be_archived_is_refused_with_the_reason(self, warehouse: Warehouse) -> None:
        warehouse.create_view(f"CREATE OR REPLACE VIEW training.v AS SELECT * FROM {CALENDAR}")
        make(warehouse, "odd__set.t", "SELECT 1 AS n")
        make(warehouse, "odd.t", "SELECT 1 AS Archived_Date")
        archived(warehouse, CALENDAR)
        for name, reason in {
            "training.nothing": "no such table",
            "nothing.nothing": "no such table",
            "training.v": "view",
            SNAPSHOT: "columns of the archive",
            "odd.t": "columns of the archive already: Archived_Date",
            "odd__set.t": "read back",
        }.items():
            with pytest.raises(InputError, match=reason) as raised:
                archived(warehouse, name)
            assert raised.value.where == name
            assert raised.value.exit_code == 2

    def test_a_simulated_market_is_told(self, warehouse: Warehouse) -> None:
        simulated = rows_of(SESSIONS, 3).with_columns(source=pl.lit("simulated"))
        warehouse.merge(SESSIONS, simulated)
        told: list[str] = []
        [done] = archive(warehouse, [SESSIONS], DAY, told.append)
        assert done.simulated
        assert "SIMULATED" in told[0]


class TestRestore:
    @pytest.mark.slow_on_bigquery
    def test_a_table_gets_back_every_value_bookkeeping_included(self, warehouse: Warehouse) -> None:
        warehouse.merge(MATRIX, rows_of(MATRIX, 40))
        before = rows(warehouse, MATRIX)
        [made] = archived(warehouse, MATRIX)
        # Ten rows gone, the others equal but for the bookkeeping, and one that was not there.
        warehouse.delete(MATRIX, "TRUE", {})
        other = rows_of(MATRIX, 41, created=EVENING).tail(31)
        warehouse.merge(MATRIX, other)
        done = restore(warehouse, made.snapshot, replace=True)
        assert done == made
        assert_frame_equal(rows(warehouse, MATRIX), before, check_exact=True)

    def test_rows_in_the_place_stay_unless_they_are_given_up(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        archived(warehouse, CALENDAR)
        warehouse.merge(CALENDAR, calendar({0: 5, 1: 6}, EVENING))
        with pytest.raises(InputError, match="holds 2 rows") as raised:
            restore(warehouse, SNAPSHOT)
        assert f"zl archive {CALENDAR}" in raised.value.action
        assert rows(warehouse, CALENDAR)["weight_v0"].to_list() == [5, 6]
        assert restore(warehouse, SNAPSHOT, replace=True).rows == 1
        assert rows(warehouse, CALENDAR)["weight_v0"].to_list() == [1]
        warehouse.delete(CALENDAR, "TRUE", {})
        assert restore(warehouse, SNAPSHOT).rows == 1

    def test_an_original_comes_from_its_newest_snapshot_or_that_of_a_day(self, warehouse: Warehouse) -> None:
        for n in range(3):
            warehouse.merge(CALENDAR, calendar({n: n}))
            archived(warehouse, CALENDAR, day=DAY + timedelta(days=30 * n))
        assert restore(warehouse, CALENDAR, replace=True).rows == 3
        assert restore(warehouse, CALENDAR, day=DAY, replace=True).rows == 1
        with pytest.raises(InputError, match="no such snapshot") as raised:
            restore(warehouse, CALENDAR, day=DAY + timedelta(days=1), replace=True)
        assert raised.value.action.count("archive.legacy_") == 3
        with pytest.raises(InputError, match="another day"):
            restore(warehouse, SNAPSHOT, day=DAY + timedelta(days=1), replace=True)

    def test_a_dropped_table_is_made_as_its_contract_says(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 1: None}))
        before = rows(warehouse, CALENDAR)
        archived(warehouse, CALENDAR)
        drop_table(warehouse, CALENDAR)
        assert restore(warehouse, CALENDAR).rows == 2
        assert_frame_equal(rows(warehouse, CALENDAR), before, check_exact=True)
        with pytest.raises(WarehouseError):
            warehouse.merge(CALENDAR, calendar({2: 1}).with_columns(regime=pl.lit(None, dtype=pl.String)))

    def test_a_table_without_a_contract_is_made_as_the_snapshot_is(self, warehouse: Warehouse) -> None:
        make(warehouse, "training.order", "SELECT 1 AS `select`, STRUCT('x' AS a, [1, 2] AS b) AS s, b'z' AS raw")
        before = warehouse.read("SELECT * FROM `training`.`order`")
        [made] = archived(warehouse, "training.order")
        with pytest.raises(InputError, match="holds 1 rows"):
            restore(warehouse, "training.order")
        warehouse.create_table("training.order", "SELECT 2 AS other", replace=True)
        assert restore(warehouse, "training.order", replace=True) == made
        assert_frame_equal(warehouse.read("SELECT * FROM `training`.`order`"), before)
        drop_table(warehouse, "training.order")
        assert restore(warehouse, "training.order") == made

    def test_a_nullable_column_that_came_later_is_null(self, warehouse: Warehouse) -> None:
        columns = "calendar_date, regime, weight, regime_v0, created_at"
        warehouse.merge(CALENDAR, calendar({0: 7}))
        make(warehouse, SNAPSHOT, snapshot_of(f"SELECT {columns} FROM {CALENDAR}"))
        assert restore(warehouse, SNAPSHOT, replace=True).rows == 1
        assert rows(warehouse, CALENDAR)["weight_v0"].to_list() == [None]

    @pytest.mark.parametrize(
        ("select", "reason"),
        [
            ("SELECT *, 1 AS more FROM {t}", "more is not in sql/tables"),
            ("SELECT * EXCEPT (regime) FROM {t}", "regime is missing and not nullable"),
            (
                "SELECT * EXCEPT (weight_v0), CAST(weight_v0 AS FLOAT64) + 0.5 AS weight_v0 FROM {t}",
                "weight_v0 is FLOAT64, sql/tables says INT64",
            ),
            ("SELECT * EXCEPT (regime), CAST(NULL AS STRING) AS regime FROM {t}", "2 rows without regime"),
            ("SELECT * FROM {t} UNION ALL SELECT * FROM {t} WHERE weight_v0 = 1", "1 rows repeat a key"),
        ],
    )
    def test_what_does_not_fit_the_contract_leaves_the_table_alone(
        self, warehouse: Warehouse, select: str, reason: str
    ) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 1: 2}))
        make(warehouse, SNAPSHOT, snapshot_of(select.format(t=CALENDAR)))
        with pytest.raises(InputError, match=reason) as raised:
            restore(warehouse, SNAPSHOT, replace=True)
        assert raised.value.where == SNAPSHOT
        assert rows(warehouse, CALENDAR)["weight_v0"].to_list() == [1, 2]

    def test_what_is_no_snapshot_is_refused(self, warehouse: Warehouse) -> None:
        make(warehouse, SNAPSHOT, f"SELECT * FROM {CALENDAR}")
        warehouse.create_view(
            f"CREATE OR REPLACE VIEW archive.legacy_20260102__training__v AS SELECT * FROM {CALENDAR}"
        )
        for name in (SNAPSHOT, "archive.legacy_20260102__training__v", "archive.legacy_20269999__a__b", MATRIX):
            with pytest.raises(InputError, match="no such snapshot"):
                restore(warehouse, name)

    def test_a_view_in_the_place_stays(self, warehouse: Warehouse) -> None:
        make(warehouse, "archive.legacy_20260102__training__v", snapshot_of(f"SELECT * FROM {CALENDAR}"))
        warehouse.create_view("CREATE OR REPLACE VIEW training.v AS SELECT 1 AS mine")
        with pytest.raises(InputError, match="there is a view"):
            restore(warehouse, "training.v", replace=True)
        assert warehouse.read("SELECT mine FROM training.v").item() == 1

    @pytest.mark.slow_on_bigquery
    def test_a_simulated_and_a_real_market_are_not_mixed(self, warehouse: Warehouse) -> None:
        real = rows_of(SESSIONS, 3).with_columns(source=pl.lit("databento"))
        simulated = real.with_columns(source=pl.lit("simulated"))
        matrix = rows_of(MATRIX, 2)
        worlds = {"real": (real, "databento"), "simulated": (simulated, "simulated")}
        for (here, (sessions, _)), (there, (_, source)) in zip(worlds.items(), reversed(worlds.items()), strict=True):
            warehouse.delete(MATRIX, "TRUE", {})
            warehouse.delete(SESSIONS, "TRUE", {})
            warehouse.merge(SESSIONS, sessions)
            archived(warehouse, SESSIONS, replace=True)
            warehouse.merge(MATRIX, matrix.with_columns(source=pl.lit(source)))
            with pytest.raises(InputError, match=f"(?i){here} market.* {there} one is stored .*{MATRIX}"):
                restore(warehouse, SESSIONS, replace=True)
            warehouse.delete(MATRIX, "TRUE", {})
            assert restore(warehouse, SESSIONS, replace=True).simulated is (here == "simulated")


def snapshot_of(select: str) -> str:
    """A SELECT in the form of a snapshot, whatever its columns."""
    own = f"DATE '{DAY}' AS archived_date, '{CALENDAR}' AS original_location, 'test' AS migration_version"
    return f"SELECT o.*, {own} FROM ({select}) AS o"


def drop_table(warehouse: Warehouse, table: str) -> None:
    if isinstance(warehouse, BigQueryWarehouse):
        warehouse.jobs.client.delete_table(f"{warehouse.jobs.project}.{table}")
    else:
        assert isinstance(warehouse, DuckDBWarehouse)
        with duckdb.connect(str(warehouse.path)) as connection:
            connection.execute("DROP TABLE " + ".".join(f'"{part}"' for part in table.split(".")))


class TestNames:
    @pytest.mark.parametrize("table", [*contracts(), "training.a__b", "a_b._c", "_a.b"])
    def test_the_name_of_a_snapshot_tells_its_original(self, table: str) -> None:
        assert original_of(snapshot_name(table, DAY)) == table

    @pytest.mark.parametrize("name", ["archive.shims", CALENDAR, "archive.legacy_2026__a__b", f"x{SNAPSHOT}", ""])
    def test_any_other_name_is_no_snapshots(self, name: str) -> None:
        assert original_of(name) is None


class TestComparison:
    def test_a_checksum_is_that_of_the_rows_in_any_order_and_any_parts(self) -> None:
        frame = rows_of(MATRIX, 40)
        parts = [frame.head(7), frame.slice(7, 20), frame.tail(13)]
        assert checksum(frame) == checksum(frame.sample(fraction=1, shuffle=True, seed=1))
        assert checksum(frame) == sum(checksum(p) for p in parts) % 2**64

    @pytest.mark.parametrize(
        "column", ["symbol", "session_number", "rsi_14", "is_suspect", "ingestion_ts", "market_data"]
    )
    def test_any_value_counts(self, column: str) -> None:
        frame = rows_of(MATRIX, 4)
        other = rows_of(MATRIX, 7, created=EVENING).tail(4)
        changed = frame.with_columns(other[column])
        assert not changed.equals(frame)
        assert checksum(frame) != checksum(changed)

    def test_a_copy_that_differs_is_told(self, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 1: 2}))
        create = type(warehouse).create_table

        def losing_a_row(self: Warehouse, name: str, select: str, *, replace: bool = False) -> None:
            create(self, name, f"SELECT * FROM ({select}) AS s WHERE weight_v0 = 1", replace=replace)

        monkeypatch.setattr(type(warehouse), "create_table", losing_a_row)
        with pytest.raises(WarehouseError, match=r"the copy holds 1 rows .* its original 2"):
            archived(warehouse, CALENDAR)

    def test_no_row_has_a_checksum_too(self, warehouse: Warehouse) -> None:
        assert fingerprint(warehouse, f"SELECT * FROM {CALENDAR}").checksum == "0" * 16

    def test_the_mark_of_a_simulated_row_needs_its_type(self) -> None:
        assert simulated_condition({"source": "STRING"}) == "STARTS_WITH(source, 'simulated')"
        assert simulated_condition({"source": "STRING", "is_simulated": "BOOL"}) == "is_simulated"
        assert simulated_condition({"source": "INT64", "is_simulated": "STRING"}) is None


KILLED_EMBEDDED = """
import os, signal, sys
from datetime import date
from pathlib import Path
import duckdb
from zl_assets.warehouse.archive import archive
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets.warehouse.restore import restore

class Killed:
    def __init__(self, connection):
        self.connection = connection
    def __getattr__(self, name):
        return getattr(self.connection, name)
    def commit(self):
        changed = self.connection.execute(sys.argv[3]).fetchone()[0]
        assert changed == int(sys.argv[4]), changed
        os.kill(os.getpid(), signal.SIGKILL)

store = DuckDBWarehouse(Path(sys.argv[1]))
store.ensure()
store.ensure_dataset("archive")
if sys.argv[2] == "archive":
    store.__class__.ensure_dataset = lambda self, name: None
store.__class__.ensure = lambda self: None
connect = duckdb.connect
duckdb.connect = lambda *a, **k: Killed(connect(*a, **k))
if sys.argv[2] == "archive":
    archive(store, ["training.regime_calendar"], date(2026, 1, 2), print, replace=True)
else:
    restore(store, "training.regime_calendar", replace=True)
"""


class TestKilled:
    """The process is killed when everything is written and nothing is committed."""

    @pytest.fixture
    def embedded(self, tmp_path: Path) -> DuckDBWarehouse:
        store = empty_warehouse(tmp_path / "zl.duckdb")
        store.merge(CALENDAR, calendar({0: 1, 1: 2, 2: 3}))
        return store

    def killed(self, store: DuckDBWarehouse, act: str, counted: str, count: int) -> None:
        sql = f"SELECT COUNT(*) FROM {counted}"
        arguments = [sys.executable, "-c", KILLED_EMBEDDED, str(store.path), act, sql, str(count)]
        ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr

    def test_an_archive_leaves_no_snapshot(self, embedded: DuckDBWarehouse) -> None:
        self.killed(embedded, "archive", SNAPSHOT, 3)
        assert names(embedded) == set()
        assert archived(embedded, CALENDAR)[0].rows == 3

    def test_an_archive_anew_leaves_the_old_snapshot(self, embedded: DuckDBWarehouse) -> None:
        archived(embedded, CALENDAR)
        embedded.merge(CALENDAR, calendar({3: 4}))
        self.killed(embedded, "archive", SNAPSHOT, 4)
        assert embedded.row_count(SNAPSHOT) == 3

    def test_a_restore_leaves_the_rows_that_were_there(self, embedded: DuckDBWarehouse) -> None:
        archived(embedded, CALENDAR)
        embedded.merge(CALENDAR, calendar({0: 9, 3: 4}))
        before = rows(embedded, CALENDAR)
        self.killed(embedded, "restore", CALENDAR, 3)
        assert_frame_equal(rows(embedded, CALENDAR), before)


KILLED_REMOTE = """
import sys
from datetime import date
from zl_assets.warehouse.archive import archive
from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets.warehouse.bigquery_jobs import Jobs
store = BigQueryWarehouse(Jobs(sys.argv[1], api_endpoint=sys.argv[2]))
archive(store, ["training.regime_calendar"], date(2026, 1, 2), print)
"""


@pytest.mark.bigquery
class TestBigQuery:
    @pytest.fixture
    def filled(self, proxied: BigQueryWarehouse, proxy: Proxy) -> BigQueryWarehouse:
        proxied.merge(CALENDAR, calendar({0: 1, 1: 2, 2: 3}))
        proxy.requests.clear()
        return proxied

    def test_a_process_killed_before_the_one_statement_leaves_no_snapshot(
        self, filled: BigQueryWarehouse, proxy: Proxy
    ) -> None:
        kill_at(proxy, "^CREATE TABLE", KILLED_REMOTE, filled.jobs.project or "", proxy.address)
        assert names(filled) == set()
        assert archived(filled, CALENDAR)[0].rows == 3

    @pytest.mark.parametrize(
        ("fault", "after"), [(RESET, False), (RESET, True), (error(503, "backendError"), False)], ids=repr
    )
    @pytest.mark.parametrize("statement", ["^CREATE TABLE", "^MERGE"])
    def test_a_fault_that_passes_and_a_lost_answer_do_nothing_twice(
        self, filled: BigQueryWarehouse, proxy: Proxy, fault: Answer, after: bool, statement: str
    ) -> None:
        made = proxy.fail(starts_query(statement), fault, after=after)
        archived(filled, CALENDAR)
        assert restore(filled, CALENDAR, replace=True).rows == 3
        assert made.happened == 1
        assert rows(filled, CALENDAR)["weight_v0"].to_list() == [1, 2, 3]

    def test_a_fault_that_lasts_leaves_nothing(self, filled: BigQueryWarehouse, proxy: Proxy) -> None:
        proxy.fail(starts_query("^CREATE TABLE"), error(403, "accessDenied"), times=None)
        with pytest.raises(AccessDenied):
            archived(filled, CALENDAR)
        assert names(filled) == set()

    def test_every_statement_is_estimated_limited_and_labelled(self, filled: BigQueryWarehouse, proxy: Proxy) -> None:
        archived(filled, CALENDAR)
        restore(filled, CALENDAR, replace=True)
        started = [r for r in proxy.requests if r.sql]
        runs = [r for r in started if not r.job.get("dryRun")]
        assert [r.sql for r in started if r.job.get("dryRun")] == [r.sql for r in runs]
        assert {r.job["query"]["maximumBytesBilled"] for r in runs} == {str(2**30)}
        labels = [r.job["labels"] for r in proxy.requests if starts_query("^(CREATE|MERGE)")(r)]
        assert labels == [{"asset": SNAPSHOT.replace(".", "__")}, {"asset": CALENDAR.replace(".", "__")}]

    def test_a_table_above_the_limit_is_refused_before_anything_is_made(
        self, filled: BigQueryWarehouse, proxy: Proxy
    ) -> None:
        proxy.rewrite = lambda _, answer: answer.replace(b'"totalBytesProcessed":"0"', b'"totalBytesProcessed":"9999"')
        small = BigQueryWarehouse(Jobs(filled.jobs.project, api_endpoint=proxy.address, max_bytes=9_998))
        with pytest.raises(CostLimitExceeded, match="9,999"):
            archived(small, CALENDAR)
        proxy.rewrite = lambda _, answer: answer
        assert names(filled) == set()

    def test_the_rows_are_exchanged_in_one_statement(self, filled: BigQueryWarehouse, proxy: Proxy) -> None:
        archived(filled, CALENDAR)
        proxy.requests.clear()
        restore(filled, CALENDAR, replace=True)
        writing = [s for s in proxy.statements() if not s.startswith("SELECT")]
        assert len(writing) == 1
        assert " ON FALSE " in writing[0]
        assert "WHEN NOT MATCHED BY SOURCE THEN DELETE" in writing[0]
