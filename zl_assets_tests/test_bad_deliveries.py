"""Vendor files that are damaged, of the wrong kind, or hold bad rows: one message, and nothing stored is lost."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from zl_assets.automation.runner import run_graph
from zl_assets.settings import Settings
from zl_assets_tests.command import Ended, assert_refused, changed, lost, rows, stored, zl
from zl_assets_tests.vendor_files import DAILY_NAME, Row, csv, on, write, write_dbn

QUARANTINE = "raw_intelligence.quarantine"
BARS = "market_data.databento_futures_ohlcv_1d"
DBN_NAME = "glbx-mdp3-20220101-20221231.ohlcv-1d.dbn.zst"


def run(home: Path, data: Path, **variables: str) -> Ended:
    return zl("run", "--home", home, "--data", data, "--horizon", "1w", **variables)


def rejected(home: Path) -> dict[str, int]:
    found = rows(home, f"SELECT reason, COUNT(*) AS n FROM {QUARANTINE} GROUP BY reason")
    return {r["reason"]: r["n"] for r in found}


# A delivery that cannot be used as a whole


def _file(name: str, body: bytes) -> Callable[[Path], Path]:
    def make(directory: Path) -> Path:
        directory.mkdir()
        (directory / name).write_bytes(body)
        return directory

    return make


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_missing_and_an_empty_directory(home: Path, tmp_path: Path) -> None:
    before = stored(home)
    assert_refused(run(home, tmp_path / "nowhere"), "no such directory", str(tmp_path / "nowhere"), "--data")
    (tmp_path / "empty").mkdir()
    assert_refused(run(home, tmp_path / "empty"), "no vendor bars found", str(tmp_path / "empty"), "*.csv.zst")
    assert not changed(before, stored(home))


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        (DAILY_NAME, b"", "the file is empty"),
        (DAILY_NAME, csv([]), "a header and no bar"),
        (DAILY_NAME, b"day,price\n2022-01-03,45\n", "columns ts_event"),
    ],
)
def test_a_useless_file_beside_a_good_one(
    home: Path, tmp_path: Path, new_rows: list[Row], name: str, body: bytes, told: str
) -> None:
    before = stored(home)
    data = write(tmp_path / "data", new_rows, f"{DAILY_NAME}.zst")
    (data / name).write_bytes(body)
    assert_refused(run(home, data), told, str(data / name))
    assert not changed(before, stored(home))


@pytest.mark.parametrize("kind", ["csv.zst", "dbn.zst"])
def test_a_file_that_was_cut_off(home: Path, tmp_path: Path, new_rows: list[Row], kind: str) -> None:
    before = stored(home)
    if kind == "csv.zst":
        path = write(tmp_path / "data", new_rows, f"{DAILY_NAME}.zst") / f"{DAILY_NAME}.zst"
    else:
        path = write_dbn(tmp_path / "data", new_rows, DBN_NAME) / DBN_NAME
    _half(path)
    assert_refused(run(home, path.parent), "cut off or damaged", str(path), "download it again")
    assert not changed(before, stored(home))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"close": "abc"}, "not_a_number"),
        ({"symbol": "QQ.v.0"}, "unknown_symbol"),
    ],
)
def test_a_delivery_without_one_usable_bar(
    home: Path, tmp_path: Path, new_rows: list[Row], values: Row, reason: str
) -> None:
    before = stored(home)
    data = write(tmp_path / "data", [{**r, **values} for r in new_rows])
    assert_refused(run(home, data), "no usable bar of ZL", f"{len(new_rows)} rows {reason}", QUARANTINE)
    assert changed(before, stored(home)) == {QUARANTINE}
    assert rejected(home) == {reason: len(new_rows)}


@pytest.mark.parametrize(
    ("stamp", "reason"), [("{}T00:00:00", "no_utc_timestamp"), ("{}T00:00:00-06:00", "not_at_utc_midnight")]
)
def test_local_time(home: Path, tmp_path: Path, new_rows: list[Row], stamp: str, reason: str) -> None:
    before = stored(home)
    local = [{**r, "ts_event": stamp.format(r["ts_event"][:10])} for r in new_rows]
    assert_refused(run(home, write(tmp_path / "data", local)), "no usable bar of ZL", reason)
    assert changed(before, stored(home)) == {QUARANTINE}
    [example] = rows(home, f"SELECT original FROM {QUARANTINE} ORDER BY quarantine_id LIMIT 1")
    assert "T00:00:00" in example["original"]


def test_days_before_the_first_regime(home: Path, tmp_path: Path, new_rows: list[Row]) -> None:
    before = stored(home)
    old = [{**r, "ts_event": r["ts_event"].replace("2022", "2005", 1)} for r in new_rows]
    told = ("lie in no regime", f"{DAILY_NAME}, row 1", "2010-01-01", "nothing of this delivery was stored")
    assert_refused(run(home, write(tmp_path / "data", old)), *told)
    assert_refused(run(tmp_path / "new", tmp_path / "data"), *told)
    assert not changed(before, stored(home))
    # Nothing of it stands in the way of the next run.
    run_graph(Settings(home=home, data=write(tmp_path / "good", new_rows)), [], print)
    [newest] = rows(home, "SELECT MAX(data_date) AS day FROM features.daily_ml_matrix")
    assert f"{newest['day']}" == new_rows[-1]["ts_event"][:10]


def test_too_short_a_history(tmp_path: Path, new_rows: list[Row]) -> None:
    ended = run(tmp_path / "home", write(tmp_path / "data", new_rows[:60]))
    assert_refused(ended, "0 labelled sessions", "5 sessions ahead", "load a longer history")


# Single bad rows

FAULTS: dict[str, tuple[dict[str, str], str]] = {
    "2022-02-01": ({"open": "abc"}, "not_a_number"),
    "2022-02-08": ({"close": "NaN"}, "not_a_number"),
    "2022-02-15": ({"high": "inf"}, "infinite_price"),
    "2022-02-23": ({"low": "0.000000000"}, "price_not_positive"),
    "2022-03-01": ({"open": "-45.100000000"}, "price_not_positive"),
    "2022-03-08": ({"high": "1.000000000"}, "high_below_low"),
    "2022-03-15": ({"volume": "many"}, "not_a_number"),
    "2022-03-22": ({"ts_event": "2022-03-22T00:00:00"}, "no_utc_timestamp"),
    "2022-03-29": ({"ts_event": "2022-03-29T05:00:00.000000000Z"}, "not_at_utc_midnight"),
    "2022-04-05": ({"ts_event": "2099-04-05T00:00:00.000000000Z"}, "in_the_future"),
    "2022-04-12": ({"ts_event": "1989-04-12T00:00:00.000000000Z"}, "before_1990"),
    "2022-04-19": ({"symbol": "QQ.v.0"}, "unknown_symbol"),
    "2022-04-26": ({"rtype": "32"}, "unknown_record_type"),
}
TWO_BARS = "2022-05-03"


@pytest.fixture(scope="module")
def spoilt(
    vendor_home: Path, tmp_path_factory: pytest.TempPathFactory, new_rows: list[Row]
) -> tuple[Ended, Path, dict[str, str]]:
    """A good delivery with one bad row of each kind: how its run ended, its home, and the originals by reason's day."""
    directory = tmp_path_factory.mktemp("spoilt")
    bad = new_rows
    for wanted, (values, _) in FAULTS.items():
        bad = on(bad, wanted, **values)
    [twin] = [r for r in new_rows if r["ts_event"].startswith(TWO_BARS)]
    data = write(directory / "data", [*bad, {**twin, "volume": "1"}])
    home = shutil.copytree(vendor_home, directory / "home")
    originals = {r["ts_event"]: s["close"] for r, s in zip(bad, new_rows, strict=True)}
    return run(home, data), home, originals


def test_bad_rows_stop_the_run_and_the_message_names_their_sessions(
    spoilt: tuple[Ended, Path, dict[str, str]], vendor_home: Path
) -> None:
    ended, home, _ = spoilt
    assert (ended.code, ended.out) == (1, "")
    for part in ("futures_sessions_1d", "Every exchange session", "2022-02-01", QUARANTINE):
        assert part in ended.error, ended.error
    before, after = stored(vendor_home), stored(home)
    assert not lost(before, after)
    assert not any(t.startswith(("features", "training.zl", "predictions")) for t in changed(before, after))


@pytest.mark.parametrize("wanted", FAULTS)
def test_a_bad_row_is_in_quarantine_with_its_reason_and_the_original(
    spoilt: tuple[Ended, Path, dict[str, str]], wanted: str
) -> None:
    _, home, _ = spoilt
    values, reason = FAULTS[wanted]
    [(column, value)] = values.items()
    found = rows(home, f"SELECT * FROM {QUARANTINE} WHERE reason = '{reason}'")
    assert any(f'"{column}":"{value}"' in r["original"] for r in found), found
    assert {r["source_file"] for r in found} == {DAILY_NAME}
    assert not rows(home, f"SELECT 1 FROM {BARS} WHERE bar_date = '{wanted}'")


def test_two_different_bars_of_one_day_are_both_in_quarantine(spoilt: tuple[Ended, Path, dict[str, str]]) -> None:
    _, home, _ = spoilt
    found = rows(home, f"SELECT original FROM {QUARANTINE} WHERE reason = 'two_different_bars'")
    assert len(found) == 2
    assert not rows(home, f"SELECT 1 FROM {BARS} WHERE bar_date = '{TWO_BARS}'")


def test_a_good_row_beside_bad_ones_is_stored(spoilt: tuple[Ended, Path, dict[str, str]], new_rows: list[Row]) -> None:
    _, home, _ = spoilt
    [count] = rows(home, f"SELECT COUNT(*) AS n FROM {BARS} WHERE bar_date >= '2022-01-01'")
    assert count["n"] == len(new_rows) - len(FAULTS) - 1


def test_a_better_delivery_heals_the_home(
    spoilt: tuple[Ended, Path, dict[str, str]], tmp_path: Path, new_rows: list[Row]
) -> None:
    home = shutil.copytree(spoilt[1], tmp_path / "home")
    before = stored(home)
    ended = run(home, write(tmp_path / "data", new_rows))
    assert ended.code == 0, ended.err
    assert not lost({t: before[t] for t in (BARS, QUARANTINE)}, stored(home))
    assert rows(home, f"SELECT COUNT(*) AS n FROM {BARS} WHERE bar_date >= '2022-01-01'") == [{"n": len(new_rows)}]


def test_one_nan_row_is_a_missing_session(home: Path, tmp_path: Path, new_rows: list[Row]) -> None:
    ended = run(home, write(tmp_path / "data", on(new_rows, "2022-06-07", close="NaN")))
    assert (ended.code, ended.out) == (1, "")
    assert "2022-06-07" in ended.error
    assert rejected(home) == {"not_a_number": 1}


def test_a_bad_row_of_another_symbol_and_a_bar_that_contradicts_a_stored_one_are_set_aside(
    home: Path, tmp_path: Path, zl_rows: list[Row], new_rows: list[Row]
) -> None:
    before = stored(home)
    zs = [{**r, "symbol": "ZS.v.0"} for r in new_rows]
    zl_with_another_volume = on(zl_rows[-500:], "2021-06-08", volume="7")
    ended = run(home, write(tmp_path / "data", [*zl_with_another_volume, *on(zs, "2022-06-07", close="NaN")]))
    assert ended.code == 0, ended.err
    [warning] = [line for line in ended.err.splitlines() if line.startswith("warning: raw_intelligence/quarantine")]
    assert "rejected" in warning
    assert "not_a_number ZS.v.0 2022-06-07" in warning
    assert rejected(home) == {"not_a_number": 1, "contradicts_stored_bar": 1}
    assert not lost({BARS: before[BARS]}, stored(home))


def test_a_gap_of_ten_sessions_names_each_of_them(home: Path, tmp_path: Path, new_rows: list[Row]) -> None:
    before = stored(home)
    gap = new_rows[100:110]
    ended = run(home, write(tmp_path / "data", [r for r in new_rows if r not in gap]))
    assert (ended.code, ended.out) == (1, "")
    for row in gap:
        assert row["ts_event"][:10] in ended.error, ended.error
    assert not lost(before, stored(home))
