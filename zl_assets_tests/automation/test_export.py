"""`zl export` of tables that come in many frames: equal files from both engines, whole or not there, little memory."""

import fcntl
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from zl_assets.warehouse import duckdb_engine
from zl_assets_tests.command import environment
from zl_assets_tests.stores import Place, empty_warehouse
from zl_assets_tests.warehouse.fault_proxy import Proxy, error, touches
from zl_assets_tests.warehouse.rows import rows_of

TABLE = "training.zl_training_prod_allhistory_1w"
EXPORT = ("export", "--horizon", "1w")
LATER_PAGE = touches("GET", r"/queries/.+pageToken=[1-9]")
DAYS, SYMBOLS = 60, 200
"""Above the 10,000 rows of a page of the local server."""


def many_rows(source: str = "databento") -> pl.DataFrame:
    """Rows in the order of their keys, all of one source but the last, which is of the given one."""
    symbols = pl.DataFrame({"symbol": [f"S{n:03}" for n in range(SYMBOLS)]})
    rows = rows_of(TABLE, DAYS).drop("symbol").join(symbols, how="cross").sort("data_date", "symbol")
    is_last = pl.int_range(pl.len()) == DAYS * SYMBOLS - 1
    rows = rows.with_columns(source=pl.when(is_last).then(pl.lit(source)).otherwise(pl.lit("databento")))
    return rows.select(rows_of(TABLE, 0).columns)


@pytest.fixture(scope="module")
def filled(new_place: Callable[[], Place]) -> Place:
    """A home with one training table of many frames; tests export from it and do not change it."""
    place = new_place().with_tables()
    place.warehouse.merge(TABLE, many_rows())
    return place


@pytest.fixture(autouse=True)
def narrow_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of some thousand rows from DuckDB too."""
    monkeypatch.setattr(duckdb_engine, "_STREAMED_VALUES", 100_000)


def test_parquet_holds_every_row_in_order_and_a_row_group_for_each_frame(filled: Place) -> None:
    ended = filled.zl(*EXPORT)
    assert ended.code == 0, ended.err
    path = Path(ended.out.strip())
    assert path == filled.home / "exports" / "zl_training_prod_allhistory_1w.parquet"
    assert_frame_equal(pl.read_parquet(path), many_rows(), check_exact=True)
    written = pq.ParquetFile(path).metadata
    assert written.num_row_groups > 1
    assert [p.name for p in path.parent.iterdir() if "partial" in p.name] == []


@pytest.mark.slow_on_bigquery
def test_csv_holds_every_row_in_order_under_one_header(filled: Place) -> None:
    ended = filled.zl(*EXPORT, "--format", "csv")
    assert ended.code == 0, ended.err
    whole = filled.home / "whole.csv"
    many_rows().write_csv(whole)
    assert Path(ended.out.strip()).read_bytes() == whole.read_bytes()


@pytest.mark.slow_on_bigquery
def test_progress_goes_to_standard_error(filled: Place) -> None:
    lines = [line.split() for line in filled.zl(*EXPORT).err.splitlines()]
    told = [int(words[1].replace(",", "")) for words in lines if words[0] == TABLE]
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1] == DAYS * SYMBOLS
    assert lines[-1][2:] == ["of", "12,000", "rows"]


@pytest.mark.slow_on_bigquery
def test_one_simulated_row_at_the_end_is_enough_for_the_name(place: Place) -> None:
    place.warehouse.merge(TABLE, many_rows("simulated"))
    ended = place.zl(*EXPORT)
    assert Path(ended.out.strip()).name == "zl_training_prod_allhistory_1w.SIMULATED.parquet"
    assert [p.name for p in (place.home / "exports").iterdir()] == [Path(ended.out.strip()).name]


def test_a_table_without_rows_leaves_no_file(place: Place) -> None:
    ended = place.zl(*EXPORT)
    assert (ended.code, ended.out) == (2, "")
    assert "holds no row yet" in ended.error
    assert not (place.home / "exports").exists()


@pytest.mark.slow_on_bigquery
def test_a_second_export_at_once_is_refused(filled: Place) -> None:
    exports = filled.home / "exports"
    exports.mkdir(exist_ok=True)
    held = os.open(exports, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        ended = filled.zl(*EXPORT)
    finally:
        os.close(held)
    assert ended.code == 2
    assert "another `zl export` is at work" in ended.error
    assert filled.zl(*EXPORT).code == 0


@pytest.mark.slow_on_bigquery
def test_a_full_disk_leaves_the_earlier_file_and_no_part(filled: Place) -> None:
    path = Path(filled.zl(*EXPORT).out.strip())
    before = path.read_bytes()
    limit = 8_000
    assert len(before) > 2 * limit
    variables = {f"ZL_{n.upper()}": v for n, v in filled.cloud.items()}
    done = subprocess.run(
        [sys.executable, "-m", "zl_assets.cli", *EXPORT, "--home", filled.home, "--warehouse", filled.engine],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    assert "error: the export cannot be written" in done.stderr
    assert "free space" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == before
    assert not [p for p in path.parent.iterdir() if "partial" in p.name]


@pytest.mark.bigquery
class TestPagesOfBigQuery:
    @pytest.fixture
    def behind(self, proxy: Proxy, tmp_path: Path) -> Place:
        """A home whose tables are behind the proxy."""
        place = Place.new("bigquery", tmp_path / "home", lambda: proxy.address).with_tables()
        place.warehouse.merge(TABLE, many_rows())
        proxy.requests.clear()
        return place

    def test_a_page_is_asked_for_when_the_one_before_it_is_used_up(self, behind: Place, proxy: Proxy) -> None:
        frames = behind.warehouse.stream(f"SELECT * FROM {TABLE} ORDER BY data_date, symbol")
        first = next(frame for frame in frames if frame.height)
        assert first.height == 10_000
        assert not [r for r in proxy.requests if LATER_PAGE(r)]
        rest = sum(frame.height for frame in frames)
        assert first.height + rest == DAYS * SYMBOLS
        assert len([r for r in proxy.requests if LATER_PAGE(r)]) == 1

    def test_a_fault_between_pages_leaves_no_file(self, behind: Place, proxy: Proxy) -> None:
        proxy.fail(LATER_PAGE, error(403, "accessDenied"), times=None)
        ended = behind.zl(*EXPORT)
        assert (ended.code, ended.out) == (2, "")
        assert "BigQuery denies access" in ended.error
        assert list((behind.home / "exports").iterdir()) == []


MEASURE = """
import resource, sys
from zl_assets.warehouse import duckdb_engine
duckdb_engine._STREAMING_MB = 32
from zl_assets.cli import main
sys.argv = ["zl", "export", "--horizon", "1w", "--home", sys.argv[1]]
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    # Far more rows than the store will hold of an answer, in a process of its own, whose peak is that of one export.
    few, many = (peak_bytes(tmp_path / str(days), days) for days in (400, 1_200))
    table = 800 * SYMBOLS * len(many_rows().columns) * 8
    assert table > 350e6  # and much more with its texts
    assert many - few < 0.7 * table


def peak_bytes(home: Path, days: int) -> int:
    """Peak resident memory of an export of that many days."""
    store = empty_warehouse(home / "warehouse.duckdb")
    store.merge(TABLE, many_rows())
    columns = ", ".join(c for c in many_rows().columns if c not in {"data_date", "close"})
    with duckdb.connect(str(store.path)) as connection:
        connection.execute(
            f"INSERT INTO {TABLE} BY NAME SELECT (DATE '1900-01-01' + n::INTEGER) AS data_date, random() AS close, "
            f"{columns} FROM (FROM {TABLE} WHERE data_date = DATE '2020-01-01'), range({days}) AS r(n)"
        )
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(home)], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    path, peak = done.stdout.split()
    assert pq.ParquetFile(path).metadata.num_rows == (days + DAYS) * SYMBOLS
    return int(peak)
