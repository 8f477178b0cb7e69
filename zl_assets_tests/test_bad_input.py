"""Bad input, end to end: one clear message, the documented exit code, and nothing stored lost or changed."""

import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from zl_assets_tests.command import (
    Ended,
    assert_refused,
    command,
    environment,
    lost,
    stored,
    zl,
    zl_process,
)
from zl_assets_tests.vendor_files import DAILY_NAME, Row, write

BARS = "market_data.databento_futures_ohlcv_1d"


def run(home: Path, data: Path, **variables: str) -> Ended:
    return zl("run", "--home", home, "--data", data, "--horizon", "1w", **variables)


# The place where things are stored


@pytest.fixture
def locked(home: Path):
    """A home whose warehouse another process holds, and that process."""
    program = "import sys, duckdb; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    arguments = [sys.executable, "-c", program, str(home / "warehouse.duckdb")]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield home, holder.pid
        holder.communicate()


def test_a_warehouse_that_another_process_holds(locked: tuple[Path, int], simulated_zl: Path) -> None:
    home, pid = locked
    for ended in (
        run(home, simulated_zl),
        zl("status", "--home", home),
        zl("query", "SELECT 1 AS one", "--home", home),
        zl("export", "--home", home),
    ):
        assert_refused(ended, f"PID {pid}", "warehouse.duckdb", "0.3 s", "nothing was changed")


@pytest.mark.parametrize(
    "body",
    [b"not a database\n" * 1000, b"\x00" * 5000, b"SQLite format 3\x00" + b"\x00" * 84, b"short"],
    ids=["text", "zeros", "another_format", "short"],
)
def test_a_file_that_is_no_warehouse(tmp_path: Path, simulated_zl: Path, body: bytes) -> None:
    path = tmp_path / "warehouse.duckdb"
    path.write_bytes(body)
    for ended in (
        run(tmp_path, simulated_zl),
        zl("status", "--home", tmp_path),
        zl("query", "SELECT 1 AS one", "--home", tmp_path),
    ):
        assert_refused(ended, "not a DuckDB database", str(path), "it was not changed")
    assert path.read_bytes() == body


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5])
def test_a_warehouse_that_was_cut_off(home: Path, tmp_path: Path, simulated_zl: Path, share: float) -> None:
    whole = (home / "warehouse.duckdb").read_bytes()
    path = tmp_path / "warehouse.duckdb"
    path.write_bytes(whole[: int(len(whole) * share)])
    for ended in (run(tmp_path, simulated_zl), zl("status", "--home", tmp_path)):
        assert_refused(ended, "damaged", str(path), "it was not changed")


def test_a_directory_in_the_place_of_the_warehouse(tmp_path: Path, simulated_zl: Path) -> None:
    (tmp_path / "warehouse.duckdb").mkdir()
    for ended in (
        run(tmp_path, simulated_zl),
        zl("status", "--home", tmp_path),
        zl("query", "SELECT 1", "--home", tmp_path),
    ):
        assert ended.code == 2, ended
    assert_refused(run(tmp_path, simulated_zl), "not a DuckDB database", str(tmp_path / "warehouse.duckdb"))


READ_ONLY = """
set -e
mount --bind "$1" "$1"
mount -o remount,ro,bind "$1"
"$2" -m zl_assets.cli status --home "$1"
"""


def test_the_status_of_a_home_that_nobody_may_write(home: Path) -> None:
    if not may_mount():
        pytest.skip("no right to mount a directory read-only")
    arguments = ["unshare", "-m", "bash", "-c", READ_ONLY, "ro", str(home), sys.executable]
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    assert_refused(Ended(done.returncode, done.stdout, done.stderr), str(home), "mend")


def test_a_home_that_is_a_file(tmp_path: Path, simulated_zl: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for ended in (
        run(tmp_path / "file", simulated_zl),
        zl("status", "--home", tmp_path / "file"),
        zl("query", "SELECT 1", "--home", tmp_path / "file"),
        zl("export", ZL_HOME=str(tmp_path / "file")),
    ):
        assert_refused(ended, "the home is not a directory", str(tmp_path / "file"), "--home")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_home_below_a_file_or_where_nobody_may_write(tmp_path: Path, simulated_zl: Path) -> None:
    (tmp_path / "file").touch()
    assert_refused(run(tmp_path / "file" / "home", simulated_zl), "cannot be written", str(tmp_path / "file"), "--home")
    # Even root may not create a directory here.
    assert_refused(run(Path("/proc/zl"), simulated_zl), "cannot be written", "/proc/zl", "--home")


FULL_DISK = """
set -e
mount -t tmpfs -o size=40M tmpfs "$1"
cp -r "$2" "$1/home"
python=$3; data=$4; leave=$5
free=$(df --output=avail -k "$1" | tail -1)
head -c $(( (free - leave) * 1024 )) /dev/zero > "$1/fill"
set +e
"$python" -c "$7" run --home "$1/home" --data "$data" --horizon 1w
code=$?
rm "$1/fill"
cp "$1/home/warehouse.duckdb" "$6"
exit $code
"""


def may_mount() -> bool:
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


PLAIN = "from zl_assets.cli import main; main()"
REGARDLESS = "import zl_assets.automation.runner as runner; runner.ROOM_TO_RUN = 0; " + PLAIN


@pytest.mark.parametrize(("leave_kb", "program"), [(700, PLAIN), (40, REGARDLESS), (700, REGARDLESS)])
def test_a_full_disk(home: Path, tmp_path: Path, new_rows: list[Row], leave_kb: int, program: str) -> None:
    """Full before the run begins, which is told at once, and full in the middle of it."""
    before = stored(home)
    data = write(tmp_path / "data", new_rows)
    mount, after = tmp_path / "mount", tmp_path / "after"
    mount.mkdir()
    after.mkdir()
    if not may_mount():
        pytest.skip("no right to mount a small disk; the file size limit below stands in for it")
    arguments = ["unshare", "-m", "bash", "-c", FULL_DISK, "full", mount, home, sys.executable, data]
    done = subprocess.run(
        [*map(str, arguments), str(leave_kb), str(after / "warehouse.duckdb"), program],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert_refused(Ended(done.returncode, done.stdout, done.stderr), "no space left", str(mount), "free space")
    if program == PLAIN:
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not lost(before, stored(after))


def test_a_file_size_limit(home: Path, tmp_path: Path, new_rows: list[Row]) -> None:
    if may_mount():
        pytest.skip("a full disk is tested as one")
    before = stored(home)
    limit = (home / "warehouse.duckdb").stat().st_size // 4
    done = subprocess.run(
        command("run", "--home", home, "--data", write(tmp_path / "data", new_rows), "--horizon", "1w"),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert_refused(Ended(done.returncode, done.stdout, done.stderr), str(home))
    assert not lost(before, stored(home))


# Settings and arguments


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ZL_DATABENTO_MAX_COST_USD", "abc"),
        ("ZL_DATABENTO_MAX_COST_USD", "-1"),
        ("ZL_DATABENTO_MAX_COST_USD", "nan"),
        ("ZL_WAREHOUSE", "oracle"),
        ("ZL_WAREHOUSE_LOCK_SECONDS", "soon"),
        ("ZL_SIMULATED_WORLD", "flat"),
        ("ZL_SIMULATED_SEED", "-1"),
    ],
)
def test_a_variable_with_an_unusable_value(tmp_path: Path, name: str, value: str) -> None:
    for arguments in (("run",), ("status",)):
        ended = zl(*arguments, "--home", tmp_path / "home", **{name: value})
        assert_refused(ended, f"setting {name} is not usable", f"got '{value}'")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--horizon", "2w"),
        ("export", "--horizon", "2w"),
        ("export", "--format", "xlsx"),
        ("export", "--surface", "half"),
        ("query", "SELECT 1", "--format", "xml"),
        ("simulate", "somewhere", "--world", "flat"),
        ("simulate", "somewhere", "--seed", "-1"),
        ("simulate", "somewhere", "--start", "yesterday"),
        ("ui", "--port", "0"),
        ("ui", "--port", "http"),
        ("nonsense",),
    ],
)
def test_an_argument_that_is_not_known(arguments: tuple[str, ...]) -> None:
    ended = zl(*arguments)
    assert (ended.code, ended.out) == (2, "")
    # What is at fault is named: the value, or the option where the value is not one of its kind.
    assert arguments[-1] in ended.err or arguments[-2] in ended.err


def test_a_simulation_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert_refused(zl("simulate", tmp_path), "files that no simulation wrote", str(tmp_path))
    backwards = zl("simulate", tmp_path / "new", "--start", "2020-01-02", "--end", "2020-01-01")
    assert_refused(backwards, "start is not before end")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.txt"]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_refused(zl("ui", "--home", tmp_path / "home", "--port", port), f"port {port} is taken", "--port")


def test_an_export_before_any_run_of_another_surface_or_of_a_horizon_without_rows(home: Path, tmp_path: Path) -> None:
    assert_refused(zl("export", "--home", tmp_path / "new"), "there is no warehouse yet", "zl run")
    assert_refused(zl("export", "--home", home, "--surface", "full"), "full surface is not built", "--surface prod")
    assert_refused(zl("export", "--home", home), "zl_training_prod_allhistory_1m holds no row yet", "--horizon 1m")
    assert not (home / "exports").exists()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "sql",
    [
        f"DROP TABLE {BARS}",
        f"DELETE FROM {BARS} WHERE TRUE",
        f"UPDATE {BARS} SET close = 1 WHERE TRUE",
        f"INSERT INTO {BARS} (symbol) VALUES ('ZL')",
        f"TRUNCATE TABLE {BARS}",
        f"ALTER TABLE {BARS} DROP COLUMN close",
        "CREATE TABLE market_data.mine AS SELECT 1 AS one",
        "CREATE OR REPLACE VIEW market_data.mine AS SELECT 1 AS one",
        f"MERGE INTO {BARS} AS t USING (SELECT 1) AS s ON FALSE WHEN NOT MATCHED BY SOURCE THEN DELETE",
        f"SELECT 1; DROP TABLE {BARS}",
        f"WITH gone AS (DELETE FROM {BARS} RETURNING *) SELECT * FROM gone",
        "COPY market_data.mine TO 'here.csv'",
        "EXPORT DATA OPTIONS(uri='here.csv') AS SELECT 1",
        "ATTACH 'other.duckdb'",
        "PRAGMA database_list",
        "SET memory_limit = '1GB'",
        "EXPLAIN SELECT 1",
        "CALL pragma_version()",
        "INSTALL httpfs",
        "SELECT",
        "SELECT FROM WHERE",
        "",
        ";",
        "hello",
    ],
)
def test_a_query_that_is_not_one_select(sql: str, simulated_home: Path) -> None:
    size = (simulated_home / "warehouse.duckdb").stat()
    ended = zl("query", sql, "--home", simulated_home, "--format", "json")
    assert_refused(ended, "")
    assert ended.err.count("\n") == 1, ended.err
    after = (simulated_home / "warehouse.duckdb").stat()
    assert (size.st_size, size.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT * FROM market_data.mine", "market_data.mine"),
        (f"SELECT mine FROM {BARS}", "mine"),
        ("SELECT * FROM read_csv('/etc/passwd')", "read_csv"),
        ("SELECT * FROM '/etc/passwd'", "/etc/passwd"),
        ("SELECT SQRT(-1) AS x", "square root"),
        ("SELECT 9223372036854775807 + 1 AS x", "Overflow"),
        ("SELECT CAST('x' AS INT64) AS x", "Could not convert"),
        ("SELECT INTERVAL 1 DAY AS x", "interval"),
        ("SELECT @x AS x", "x"),
        ("SELECT REPEAT('a', 100000000000) AS x", "string"),
    ],
)
def test_a_query_that_fails(sql: str, told: str, simulated_home: Path) -> None:
    assert_refused(zl("query", sql, "--home", simulated_home), told)


def test_a_query_before_any_run(tmp_path: Path) -> None:
    ended = zl("query", "SELECT * FROM predictions.vw_zl_1m_latest", "--home", tmp_path / "new")
    assert_refused(ended, "there is no warehouse yet", "zl run")
    assert not (tmp_path / "new").exists()


# As a user meets it: a process of its own


def test_no_traceback_reaches_a_terminal(home: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "data", []) / DAILY_NAME
    for arguments, told in (
        (("run", "--home", home, "--data", path.parent), "a header and no bar"),
        (("query", f"DROP TABLE {BARS}", "--home", home), "not one SELECT"),
    ):
        ended = zl_process(*arguments)
        assert_refused(ended, told)
