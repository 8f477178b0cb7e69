"""What is the file's alone: transactions, locks, damaged files, full disks, and queries that must not read others.

What every engine does is in test_engines.
"""

import os
import resource
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pytest
from sqlglot.errors import ParseError

from zl_assets.errors import NotAWarehouse, QueryRefused, StorageFull, WarehouseError, WarehouseLocked
from zl_assets.warehouse import duckdb_engine
from zl_assets.warehouse.base import MergeResult
from zl_assets.warehouse.dialect import single_select
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets_tests.stores import empty_warehouse
from zl_assets_tests.warehouse.rows import CALENDAR, MORNING, THREE_DAYS, calendar, stored


@pytest.fixture
def warehouse(tmp_path: Path) -> DuckDBWarehouse:
    return empty_warehouse(tmp_path / "home" / "zl.duckdb", lock_timeout=0.5)


class TestEnsure:
    def test_before_the_first_run_there_is_no_table_and_reading_says_so(self, tmp_path: Path) -> None:
        missing = DuckDBWarehouse(tmp_path / "none.duckdb")
        assert missing.tables() == []
        with pytest.raises(WarehouseError, match="no warehouse yet"):
            missing.read("SELECT 1")
        assert not missing.path.exists()

    def test_a_table_that_is_missing_is_made_again(self, warehouse: DuckDBWarehouse) -> None:
        with duckdb.connect(str(warehouse.path)) as connection:
            connection.execute(f"DROP TABLE {CALENDAR}")
        warehouse.ensure()
        assert stored(warehouse) == {}


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


class TestStream:
    def test_an_answer_for_which_there_is_no_room_is_told(
        self, warehouse: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(duckdb_engine, "_STREAMING_MB", 0)
        wide = "SELECT n, REPEAT('x', 200) AS text FROM UNNEST(GENERATE_ARRAY(1, 50000)) AS n ORDER BY n DESC"
        with pytest.raises(StorageFull, match="neither memory nor disk has room") as raised:
            list(warehouse.stream(wide))
        assert raised.value.where == str(warehouse.path)

    def test_one_that_is_closed_before_its_end_lets_others_write(self, warehouse: DuckDBWarehouse) -> None:
        frames = warehouse.stream("SELECT n FROM UNNEST(GENERATE_ARRAY(1, 10)) AS n")
        next(frames)
        frames.close()
        assert warehouse.merge(CALENDAR, calendar({0: 1})) == MergeResult(1, 0, 0)


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
            resource.setrlimit(resource.RLIMIT_FSIZE, (16_000_000, 16_000_000))

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
            mount -t tmpfs -o size=16m none {disk} || exit 77
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
