"""The embedded warehouse: merges, transactions, locks, damaged files, full disks, and queries that must not write."""

import os
import resource
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlglot.errors import ParseError

from zl_assets.errors import ContractBroken, NotAWarehouse, QueryRefused, StorageFull, WarehouseError, WarehouseLocked
from zl_assets.warehouse.base import MergeResult, TableInfo
from zl_assets.warehouse.contracts import OUR_DATASETS, contract, contracts
from zl_assets.warehouse.dialect import single_select
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets_tests.stores import empty_warehouse

CALENDAR, MATRIX = "training.regime_calendar", "features.daily_ml_matrix"
MORNING = datetime(2025, 1, 2, 8, tzinfo=UTC)
EVENING = MORNING + timedelta(hours=10)
FIRST = date(2020, 1, 1)

THREE_DAYS = (
    "SELECT UNNEST(GENERATE_DATE_ARRAY(DATE '2021-01-01', DATE '2021-01-03')) AS calendar_date, 'x' AS regime, "
    "1 AS weight, CAST(NULL AS STRING) AS regime_v0, {weight_v0} AS weight_v0, "
    "TIMESTAMP '2025-01-02 08:00:00+00' AS created_at"
)


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return empty_warehouse(tmp_path / "home" / "zl.duckdb", lock_timeout=0.5)


def calendar(weights: dict[int, int | None], created_at: datetime = MORNING) -> pl.DataFrame:
    """Rows by days after FIRST; a missing weight leaves the nullable column null."""
    return pl.DataFrame(
        {
            "calendar_date": [FIRST + timedelta(days=n) for n in weights],
            "regime": "r",
            "weight": 1,
            "regime_v0": "v",
            "weight_v0": list(weights.values()),
            "created_at": created_at,
        },
        schema_overrides={"calendar_date": pl.Date, "weight_v0": pl.Int64},
    )


def stored(warehouse: DuckDBWarehouse) -> dict[int, tuple[int | None, datetime]]:
    rows = warehouse.read(f"SELECT calendar_date, weight_v0, created_at FROM {CALENDAR} ORDER BY calendar_date")
    return {(d - FIRST).days: (w, c) for d, w, c in rows.iter_rows()}


def matrix(**structs: dict | None) -> pl.DataFrame:
    row = {
        "data_date": FIRST,
        "symbol": "ZL",
        "session_number": 1,
        "is_suspect": False,
        "market_data": {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1},
        "regime": {"name": "r", "weight": 1},
        "source": "databento",
        "ingestion_ts": MORNING,
    }
    return pl.DataFrame([row | structs], schema=contract(MATRIX).polars_schema())


class TestEnsure:
    def test_it_creates_every_dataset_and_table(self, warehouse: DuckDBWarehouse) -> None:
        assert [t.name for t in warehouse.tables()] == sorted(contracts())
        with duckdb.connect(str(warehouse.path), read_only=True) as connection:
            schemas = {r[0] for r in connection.execute("SELECT schema_name FROM duckdb_schemas()").fetchall()}
        assert set(OUR_DATASETS) <= schemas

    def test_a_second_time_keeps_what_is_stored(self, warehouse: DuckDBWarehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        warehouse.ensure()
        assert stored(warehouse) == {0: (1, MORNING)}

    def test_a_table_that_is_missing_is_made_again(self, warehouse: DuckDBWarehouse) -> None:
        with duckdb.connect(str(warehouse.path)) as connection:
            connection.execute(f"DROP TABLE {CALENDAR}")
        warehouse.ensure()
        assert stored(warehouse) == {}


class TestMerge:
    def test_new_changed_and_equal_rows_are_counted_and_others_stay(self, warehouse: DuckDBWarehouse) -> None:
        assert warehouse.merge(CALENDAR, calendar({0: 10, 1: 11, 2: 12})) == MergeResult(3, 0, 0)
        assert warehouse.merge(CALENDAR, calendar({1: 11, 2: 99, 3: 13}, EVENING)) == MergeResult(1, 1, 1)
        assert stored(warehouse) == {0: (10, MORNING), 1: (11, MORNING), 2: (99, EVENING), 3: (13, EVENING)}

    def test_a_value_that_turns_null_or_comes_from_null_is_a_change(self, warehouse: DuckDBWarehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: None, 1: 1, 2: None}))
        assert warehouse.merge(CALENDAR, calendar({0: 5, 1: None, 2: None}, EVENING)) == MergeResult(0, 2, 1)
        assert stored(warehouse) == {0: (5, EVENING), 1: (None, EVENING), 2: (None, MORNING)}

    def test_an_empty_frame_changes_nothing(self, warehouse: DuckDBWarehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        assert warehouse.merge(CALENDAR, calendar({})) == MergeResult(0, 0, 0)

    def test_not_a_number_equals_itself(self, warehouse: DuckDBWarehouse) -> None:
        frame = matrix().with_columns(rsi_14=pl.lit(float("nan")))
        warehouse.merge(MATRIX, frame)
        assert warehouse.merge(MATRIX, frame) == MergeResult(0, 0, 1)

    def test_a_struct_is_stored_whole_as_null_and_in_part(self, warehouse: DuckDBWarehouse) -> None:
        warehouse.merge(MATRIX, matrix())
        assert warehouse.read(f"SELECT pivots, market_data FROM {MATRIX}").row(0) == (
            None,
            {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1, "vwap": None, "realized_vol_1h": None},
        )
        assert warehouse.read(f"SELECT pivots.P AS p, market_data.close AS c FROM {MATRIX}").row(0) == (None, 1.0)

    def test_one_field_of_a_struct_is_a_change(self, warehouse: DuckDBWarehouse) -> None:
        warehouse.merge(MATRIX, matrix())
        assert warehouse.merge(MATRIX, matrix(pivots={"P": 40.0})) == MergeResult(0, 1, 0)
        assert warehouse.merge(MATRIX, matrix(pivots={"P": 40.0})) == MergeResult(0, 0, 1)
        assert warehouse.merge(MATRIX, matrix(pivots={"P": 40.0, "price_above_P": False})) == MergeResult(0, 1, 0)
        assert warehouse.merge(MATRIX, matrix(pivots=None)) == MergeResult(0, 1, 0)

    def test_a_frame_that_breaks_the_contract_leaves_the_table_alone(self, warehouse: DuckDBWarehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        with pytest.raises(ContractBroken):
            warehouse.merge(CALENDAR, pl.concat([calendar({0: 7}), calendar({0: 8})]))
        assert stored(warehouse) == {0: (1, MORNING)}

    @given(merges=st.lists(st.dictionaries(st.integers(0, 5), st.none() | st.integers(0, 2), max_size=6), max_size=4))
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_a_table_is_a_mapping_that_each_merge_updates(
        self, warehouse: DuckDBWarehouse, merges: list[dict[int, int | None]]
    ) -> None:
        # The fixture's table is emptied for each example.
        warehouse.delete(CALENDAR, "TRUE", {})
        expected: dict[int, int | None] = {}
        for rows in merges:
            inserted = len(rows.keys() - expected.keys())
            updated = sum(k in expected and expected[k] != v for k, v in rows.items())
            assert warehouse.merge(CALENDAR, calendar(rows)) == MergeResult(
                inserted, updated, len(rows) - inserted - updated
            )
            expected |= rows
        assert {k: v for k, (v, _) in stored(warehouse).items()} == expected


class TestTransactions:
    def test_a_merge_that_fails_halfway_leaves_nothing(self, warehouse: DuckDBWarehouse) -> None:
        # A rule that the contract does not know makes the second row fail in the database.
        with duckdb.connect(str(warehouse.path)) as connection:
            connection.execute(f"DROP TABLE {CALENDAR}")
            columns = "calendar_date DATE, regime VARCHAR, weight BIGINT, regime_v0 VARCHAR, weight_v0 BIGINT"
            connection.execute(f"CREATE TABLE {CALENDAR} ({columns}, created_at TIMESTAMPTZ, CHECK (weight_v0 < 100))")
        warehouse.merge(CALENDAR, calendar({0: 1}))
        with pytest.raises(duckdb.ConstraintException):
            warehouse.merge(CALENDAR, calendar({0: 2, 1: 3, 2: 1_000}))
        assert stored(warehouse) == {0: (1, MORNING)}

    def test_a_replacement_that_fails_halfway_keeps_the_old_rows(self, warehouse: DuckDBWarehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 1: 2}))
        with pytest.raises(duckdb.ConversionException):
            warehouse.replace(CALENDAR, THREE_DAYS.format(weight_v0="CAST('heavy' AS INT64)"))
        with pytest.raises(ParseError):
            warehouse.replace(CALENDAR, "SELECT (")
        assert stored(warehouse) == {0: (1, MORNING), 1: (2, MORNING)}


class TestOtherActions:
    def test_replace_leaves_exactly_the_selected_rows(self, warehouse: DuckDBWarehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 1: 2, 2: 3}))
        select = THREE_DAYS.format(weight_v0="7")
        assert warehouse.replace(CALENDAR, select) == 3
        assert stored(warehouse) == dict.fromkeys((366, 367, 368), (7, MORNING))

    def test_delete_takes_the_rows_of_the_condition_and_counts_them(self, warehouse: DuckDBWarehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 1: 2, 2: 3}))
        assert warehouse.delete(CALENDAR, "weight_v0 >= @least", {"least": 2}) == 2
        assert stored(warehouse) == {0: (1, MORNING)}
        assert warehouse.delete(CALENDAR, "weight_v0 > 100", {}) == 0

    def test_tables_and_views_are_listed_with_their_rows_and_newest_day(self, warehouse: DuckDBWarehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 5: 2}))
        warehouse.create_view(f"CREATE OR REPLACE VIEW training.v AS SELECT weight FROM {CALENDAR}")
        listed = {t.name: t for t in warehouse.tables()}
        assert listed[CALENDAR] == TableInfo(CALENDAR, 2, "2020-01-06")
        assert listed["training.v"] == TableInfo("training.v", 2, None)
        assert listed[MATRIX] == TableInfo(MATRIX, 0, None)

    def test_values_are_bound_and_never_part_of_the_statement(self, warehouse: DuckDBWarehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        sql = f"SELECT COUNT(*) AS n FROM {CALENDAR} WHERE regime = @regime"
        assert warehouse.read(sql, {"regime": "r"}).item() == 1
        assert warehouse.read(sql, {"regime": "x' OR '1'='1"}).item() == 0

    def test_moments_come_back_in_utc(self, warehouse: DuckDBWarehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        assert warehouse.read(f"SELECT created_at FROM {CALENDAR}").schema == {"created_at": pl.Datetime("us", "UTC")}

    def test_before_the_first_run_there_is_no_table_and_reading_says_so(self, tmp_path: Path) -> None:
        missing = DuckDBWarehouse(tmp_path / "none.duckdb")
        assert missing.tables() == []
        with pytest.raises(WarehouseError, match="no warehouse yet"):
            missing.read("SELECT 1")
        assert not missing.path.exists()


class TestReadOnlyQueries:
    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM read_csv('{file}')",
            "SELECT * FROM read_text('{file}')",
            "SELECT * FROM `{file}`",
            "SELECT * FROM glob('{folder}/*')",
            "SELECT * FROM parquet_scan('{file}')",
        ],
    )
    def test_files_cannot_be_read(self, warehouse: DuckDBWarehouse, tmp_path: Path, sql: str) -> None:
        secret = tmp_path / "secret.csv"
        secret.write_text("a\n1\n")
        with pytest.raises(QueryRefused):
            warehouse.read(single_select(sql.format(file=secret, folder=tmp_path)))

    def test_variables_of_the_program_cannot_be_read(self, warehouse: DuckDBWarehouse) -> None:
        secret = pl.DataFrame({"a": [1]})
        with pytest.raises(QueryRefused):
            warehouse.read("SELECT * FROM secret")
        assert secret.height == 1

    @pytest.mark.parametrize(
        "sql",
        [
            f"DELETE FROM {CALENDAR} WHERE TRUE",
            f"UPDATE {CALENDAR} SET weight = 0 WHERE TRUE",
            f"DROP TABLE {CALENDAR}",
            "CREATE TABLE training.x (a INT64)",
        ],
    )
    def test_nothing_can_be_written(self, warehouse: DuckDBWarehouse, sql: str) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        with pytest.raises(QueryRefused):
            warehouse.read(sql)
        assert stored(warehouse) == {0: (1, MORNING)}

    @pytest.mark.parametrize(
        ("sql", "message"),
        [
            ("SELECT * FROM training.nothing", "nothing"),
            (f"SELECT nothing FROM {CALENDAR}", "nothing"),
            (f"SELECT SUM(regime) FROM {CALENDAR}", "sum"),
            (f"SELECT CAST(regime AS INT64) FROM {CALENDAR}", "r"),
            ("SELECT 9223372036854775807 + 1", "verflow"),
            ("SELECT SQRT(-1)", "square root"),
            ("SELECT REGEXP_CONTAINS('a', '(')", "missing"),
            ("SELECT @unbound", "unbound"),
        ],
    )
    def test_a_query_that_cannot_be_answered_is_refused_with_the_reason(
        self, warehouse: DuckDBWarehouse, sql: str, message: str
    ) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        with pytest.raises(QueryRefused, match=message):
            warehouse.read(sql)


@contextmanager
def held_by_another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the file open for writing until its standard input is closed."""
    program = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read(); c.close()"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder


class TestLocks:
    def test_after_the_timeout_the_holder_is_named(self, warehouse: DuckDBWarehouse) -> None:
        with held_by_another_process(warehouse.path) as holder:
            with pytest.raises(WarehouseLocked, match=rf"PID {holder.pid}\).*0\.5 s"):
                warehouse.merge(CALENDAR, calendar({0: 1}))
            with pytest.raises(WarehouseLocked):
                warehouse.read("SELECT 1")
        assert stored(warehouse) == {}

    def test_a_lock_that_is_released_in_time_is_waited_for(self, warehouse: DuckDBWarehouse) -> None:
        patient = DuckDBWarehouse(warehouse.path, lock_timeout=20)
        with held_by_another_process(warehouse.path) as holder:
            assert holder.stdin is not None
            release = threading.Timer(0.4, holder.stdin.close)
            release.start()
            assert patient.merge(CALENDAR, calendar({0: 1})) == MergeResult(1, 0, 0)
            release.join()


class TestDamagedFiles:
    @pytest.mark.parametrize("content", [b"symbol,price\nZL,40\n" * 400, os.urandom(20_000)], ids=["csv", "noise"])
    def test_a_file_of_another_kind_is_named_and_not_touched(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "zl.duckdb"
        path.write_bytes(content)
        store = DuckDBWarehouse(path)
        for action in (store.ensure, store.tables, lambda: store.merge(CALENDAR, calendar({0: 1}))):
            with pytest.raises(NotAWarehouse) as raised:
                action()
            assert raised.value.where == str(path)
        assert path.read_bytes() == content
        assert [p.name for p in tmp_path.iterdir()] == ["zl.duckdb"]


FILL = """
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
import polars as pl
from zl_assets.errors import ZlError
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse

def rows(first, n):
    return pl.DataFrame({
        "calendar_date": [date(1990, 1, 1) + timedelta(days=first + k) for k in range(n)],
        "regime": [f"regime {k * 7919 % 100003} of {k}" * 8 for k in range(n)], "weight": 1, "regime_v0": None,
        "weight_v0": None, "created_at": datetime(2025, 1, 2, tzinfo=UTC)})

store = DuckDBWarehouse(Path(sys.argv[1]))
store.ensure()
store.merge("training.regime_calendar", rows(0, 100))
print("stored", flush=True)
try:
    for block in range(1, 400):
        store.merge("training.regime_calendar", rows(block * 5000, 5000))
except ZlError as error:
    print(type(error).__name__, error)
    sys.exit(error.exit_code)
"""


def can_mount() -> bool:
    """Whether this machine lets the test mount a file system of its own."""
    if not sys.platform.startswith("linux"):
        return False
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


class TestFullDisk:
    def test_a_limit_on_the_files_size_is_a_full_disk_and_stored_rows_stay(self, tmp_path: Path) -> None:
        path = tmp_path / "zl.duckdb"

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, 6_000_000))

        done = subprocess.run(
            [sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, preexec_fn=limited, check=False
        )
        assert done.stdout.startswith("stored\nStorageFull"), done.stdout + done.stderr
        assert done.returncode == StorageFull.exit_code == 2
        assert str(path) in done.stdout
        self.assert_whole_blocks(path)

    @pytest.mark.skipif(not can_mount(), reason="needs the right to mount a tmpfs in a namespace of its own")
    def test_on_a_full_disk_stored_rows_stay(self, tmp_path: Path) -> None:
        # The small file system exists in the namespace of the child alone and is gone with it; the file is copied out.
        disk, kept = tmp_path / "disk", tmp_path / "kept.duckdb"
        disk.mkdir()
        script = textwrap.dedent(
            f"""
            mount -t tmpfs -o size=6m none {disk} || exit 77
            {sys.executable} -c "$FILL" {disk}/zl.duckdb; code=$?
            cp {disk}/zl.duckdb {kept}
            [ -e {disk}/zl.duckdb.wal ] && cp {disk}/zl.duckdb.wal {kept}.wal
            exit $code
            """
        )
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script],
            capture_output=True,
            text=True,
            env=os.environ | {"FILL": FILL},
            check=False,
        )
        assert done.stdout.startswith("stored\nStorageFull"), done.stdout + done.stderr
        assert done.returncode == 2
        self.assert_whole_blocks(kept)

    @staticmethod
    def assert_whole_blocks(path: Path) -> None:
        """What was merged before the disk was full is readable, and no merge is there in part."""
        rows = DuckDBWarehouse(path).read(f"SELECT COUNT(*) AS n, COUNT(regime) AS r FROM {CALENDAR}").row(0)
        assert rows[0] == rows[1] >= 100
        assert (rows[0] - 100) % 5000 == 0
