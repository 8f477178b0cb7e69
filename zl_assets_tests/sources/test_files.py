"""The reader of vendor files: every form of the same bars reads the same, and a damaged file is named and refused."""

import os
import struct
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest
import zstandard

from zl_assets.core.bars import BAR_SCHEMA, sort_out
from zl_assets.errors import InputError, VendorFileError
from zl_assets.sources.files import VendorDelivery, read_directory
from zl_assets_tests.sources.databento_server import Bar, dbn, instrument_id, zstd
from zl_assets_tests.vendor_files import DAILY_NAME, Row, csv, in_fixed_point, write, write_dbn

PROVENANCE = ("source_file", "provenance_uuid", "row_number", "original")
NOW = datetime(2025, 9, 1, tzinfo=UTC)
DBN_NAME = "glbx-mdp3-20240101-20240131.ohlcv-1d.dbn"
JANUARY = [Bar("ZL.v.0", datetime(2024, 1, d, tzinfo=UTC)) for d in (2, 3, 4, 5)]


@pytest.fixture
def few(zl_rows: list[Row]) -> list[Row]:
    """A month of bars, with the contract id that the DBN encoder of these tests gives."""
    return [{**r, "instrument_id": str(instrument_id(r["symbol"]))} for r in zl_rows[:21]]


def values(delivery: VendorDelivery) -> pl.DataFrame:
    return delivery.bars.drop(PROVENANCE).sort("ts_event")


def january(**changes: object) -> bytes:
    """Four invented bars as DBN."""
    asked = {"schema": "ohlcv-1d", "symbols": ["ZL.v.0"], "start": date(2024, 1, 1), "end": date(2024, 2, 1)}
    return dbn(**{"bars": JANUARY, **asked, **changes})


def only(directory: Path, name: str, body: bytes) -> Path:
    """A directory with this file alone."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(body)
    return directory


# One bar, many forms


def test_csv_zstd_and_dbn_of_the_same_bars_are_equal(tmp_path: Path, few: list[Row]) -> None:
    plain = values(read_directory(write(tmp_path / "csv", few)))

    assert plain.height == len(few)
    assert plain.schema == {k: v for k, v in BAR_SCHEMA.items() if k not in PROVENANCE}
    assert not plain.null_count().sum_horizontal().item()
    for directory in (
        write(tmp_path / "zst", few, f"{DAILY_NAME}.zst"),
        write_dbn(tmp_path / "dbn", few, DBN_NAME),
        write_dbn(tmp_path / "dbnzst", few, f"{DBN_NAME}.zst"),
    ):
        assert values(read_directory(directory)).equals(plain), directory.name


def test_fixed_point_integers_and_nanoseconds_equal_decimals_and_iso_stamps(tmp_path: Path, few: list[Row]) -> None:
    plain = values(read_directory(write(tmp_path / "pretty", few)))
    for form in (
        [in_fixed_point(r) for r in few],
        [{**in_fixed_point(r), "ts_event": r["ts_event"]} for r in few],
        [{**r, "ts_event": in_fixed_point(r)["ts_event"]} for r in few],
        [{**r, "ts_event": r["ts_event"].replace("T", " ").replace(".000000000Z", "+00:00")} for r in few],
        [in_fixed_point(r) if i % 2 else r for i, r in enumerate(few)],
    ):
        assert values(read_directory(write(tmp_path / "form", form))).equals(plain), form[0]


@pytest.mark.parametrize("odd", ["NaN", "none", "1e5", "45.25", "", "-", "9223372036854775807"])
def test_one_odd_price_changes_no_other_row_of_a_fixed_point_file(tmp_path: Path, few: list[Row], odd: str) -> None:
    good = [in_fixed_point(r) for r in few]
    bad = [{**r, "close": odd} if i == 5 else r for i, r in enumerate(good)]

    expected = values(read_directory(write(tmp_path / "good", good)))
    found = values(read_directory(write(tmp_path / "bad", bad)))
    others = pl.int_range(pl.len()) != 5
    assert found.filter(others).equals(expected.filter(others))


def test_one_odd_stamp_changes_no_other_row(tmp_path: Path, few: list[Row]) -> None:
    good = [in_fixed_point(r) for r in few]
    bars = read_directory(
        write(tmp_path, [{**r, "ts_event": "soon"} if i == 5 else r for i, r in enumerate(good)])
    ).bars

    assert bars["ts_event"].null_count() == 1
    assert bars["ts_event"][5] is None


def test_whole_numbers_are_prices_and_no_fixed_point(tmp_path: Path, few: list[Row]) -> None:
    whole = [{**r, "open": "45", "high": "46", "low": "44", "close": "45"} for r in few]
    assert read_directory(write(tmp_path, whole)).bars["close"].unique().to_list() == [45.0]


def test_the_vendors_marker_for_no_price_is_no_price(tmp_path: Path, few: list[Row]) -> None:
    rows = [{**in_fixed_point(r), **({"open": str(2**63 - 1)} if i == 3 else {})} for i, r in enumerate(few)]
    assert read_directory(write(tmp_path / "csv", rows)).bars["open"][3] is None
    bar = Bar("ZL.v.0", datetime(2024, 1, 2, tzinfo=UTC), close=2**63 - 1)
    assert read_directory(only(tmp_path / "dbn", DBN_NAME, january(bars=[bar]))).bars["close"].to_list() == [None]


@pytest.mark.parametrize(("offset", "column"), [(8, "ts_event"), (48, "volume")])
def test_a_dbn_field_without_a_value_is_null_and_the_other_bars_stay(tmp_path: Path, offset: int, column: str) -> None:
    body = bytearray(january())
    first = 8 + int.from_bytes(body[4:8], "little")
    body[first + offset : first + offset + 8] = struct.pack("<Q", 2**64 - 1)

    bars = read_directory(only(tmp_path, DBN_NAME, bytes(body))).bars
    assert bars.height == 4
    assert bars[column].null_count() == 1


@pytest.mark.parametrize("change", [lambda b: b.replace(b"\n", b"\r\n"), lambda b: b"\xef\xbb\xbf" + b])
def test_line_ends_and_byte_order_mark_do_not_matter(tmp_path: Path, few: list[Row], change) -> None:
    plain = values(read_directory(write(tmp_path / "plain", few)))
    assert values(read_directory(only(tmp_path / "other", DAILY_NAME, change(csv(few))))).equals(plain)


@pytest.mark.parametrize(
    "stamp",
    ["2024-01-02 00:00:00", "2024-01-02T00:00:00", "2024-01-02", "02.01.2024 00:00Z", "Jan 2", ""],
)
def test_a_stamp_that_names_no_moment_is_null(tmp_path: Path, few: list[Row], stamp: str) -> None:
    bars = read_directory(write(tmp_path, [{**few[0], "ts_event": stamp}, few[1]])).bars
    assert bars["ts_event"].is_null().to_list() == [True, False]


def test_an_offset_is_taken_into_account(tmp_path: Path, few: list[Row]) -> None:
    bars = read_directory(write(tmp_path, [{**few[0], "ts_event": "2024-01-02T00:00:00-06:00"}])).bars
    assert bars["ts_event"].to_list() == [datetime(2024, 1, 2, 6, tzinfo=UTC)]


def test_dbn_contracts_get_the_symbol_of_their_day(tmp_path: Path) -> None:
    stranger = Bar("ZS.v.0", datetime(2024, 1, 3, tzinfo=UTC))
    bars = read_directory(only(tmp_path, DBN_NAME, january(bars=[JANUARY[0], stranger]))).bars.sort("ts_event")
    assert bars["vendor_symbol"].to_list() == ["ZL.v.0", f"instrument {instrument_id('ZS.v.0')} without a symbol"]


def test_a_row_says_where_it_came_from(tmp_path: Path, few: list[Row]) -> None:
    bars = read_directory(write(tmp_path, few)).bars
    assert bars["source_file"].unique().to_list() == [DAILY_NAME]
    assert bars["row_number"].to_list() == list(range(1, 22))
    assert few[4]["close"] in bars["original"][4]
    assert bars["provenance_uuid"].n_unique() == 1


# Which files are read


def test_files_are_found_at_any_depth_and_what_is_no_bar_file_is_left_alone(tmp_path: Path, few: list[Row]) -> None:
    write(tmp_path / "a" / "b", few)
    only(tmp_path, "notes.csv", b"day,remark\n2024-01-02,fine\n")
    only(tmp_path, "trades.dbn", january(bars=[], schema="trades"))
    only(tmp_path, "readme.txt", b"not read")
    only(tmp_path, f"._{DAILY_NAME}", b"\x00\x05\x16\x07")
    write(tmp_path / ".building", few)

    delivery = read_directory(tmp_path)
    assert [p.relative_to(tmp_path).as_posix() for p in delivery.files] == [f"a/b/{DAILY_NAME}"]
    assert {p.name: why.split(",")[0] for p, why in delivery.skipped.items()} == {
        "notes.csv": "not a bar file",
        "trades.dbn": "schema trades",
    }


def test_overlapping_jobs_count_each_bar_once(tmp_path: Path, few: list[Row]) -> None:
    write(tmp_path / "job1", few[:15])
    write_dbn(tmp_path / "job2", few[10:], f"{DBN_NAME}.zst")
    delivery = read_directory(tmp_path)
    assert delivery.bars.height == 26

    sorted_out = sort_out(delivery.bars, NOW)
    assert sorted_out.rejected.is_empty()
    assert sorted_out.bars["ts_event"].to_list() == sorted(set(delivery.bars["ts_event"]))


# What is refused


def test_a_missing_directory_and_a_file_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such directory"):
        read_directory(tmp_path / "nowhere")
    (tmp_path / "file.csv").touch()
    with pytest.raises(InputError, match="not a directory"):
        read_directory(tmp_path / "file.csv")


def test_a_directory_without_a_bar_file_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(VendorFileError, match="no vendor bars found") as empty:
        read_directory(tmp_path)
    assert "*.dbn.zst" in str(empty.value)
    only(tmp_path, "notes.csv", b"day,remark\n2024-01-02,fine\n")
    with pytest.raises(VendorFileError, match=r"notes\.csv: not a bar file"):
        read_directory(tmp_path)


HEADER = csv([])


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        (DAILY_NAME, b"", "the file is empty"),
        (f"{DAILY_NAME}.zst", b"", "the file is empty"),
        (f"{DAILY_NAME}.zst", zstandard.ZstdCompressor().compress(b""), "the file is empty"),
        (DAILY_NAME, b"\n\n", "the file is empty"),
        (DAILY_NAME, HEADER, "the file has a header and no bar"),
        (f"{DAILY_NAME}.zst", zstandard.ZstdCompressor().compress(HEADER), "the file has a header and no bar"),
        (DAILY_NAME, b"day,price\n2024-01-02,45\n", "columns ts_event, rtype.* are missing, found day, price"),
        (DAILY_NAME, HEADER.replace(b",", b";") + b"1;2\n", "are missing, found ts_event;rtype"),
        (DAILY_NAME, b"<html>Not found</html>\n", "are missing, found <html>Not found</html>"),
        (DAILY_NAME, bytes(100), r"are missing, found \?{100} "),
        (DAILY_NAME, HEADER + b"\xff\xfe\xfd" * 50 + b"\n", "cut off or damaged"),
        (DAILY_NAME, HEADER + b"1,2,3,4,5,6,7,8,9,10,11\n", "cut off or damaged"),
        (DBN_NAME, b"", "cut off or damaged"),
        (DBN_NAME, b"DB", "cut off or damaged"),
        (DBN_NAME, bytes(range(256)) * 8, "cut off or damaged: it does not begin as DBN does"),
        (DBN_NAME, january(bars=[]), "the file holds no bar"),
    ],
)
def test_a_file_without_bars_is_named_and_refused(tmp_path: Path, name: str, body: bytes, told: str) -> None:
    with pytest.raises(VendorFileError, match=told) as caught:
        read_directory(only(tmp_path, name, body))
    assert caught.value.where == str(tmp_path / name)
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["csv.zst", "dbn", "dbn.zst", "dbn.zst in frames"])
def test_a_file_that_was_cut_off_is_refused_whole(tmp_path: Path, few: list[Row], kind: str, kept: float) -> None:
    name, body = {
        "csv.zst": (f"{DAILY_NAME}.zst", zstandard.ZstdCompressor().compress(csv(few))),
        "dbn": (DBN_NAME, january()),
        "dbn.zst": (f"{DBN_NAME}.zst", zstd(january())),
        "dbn.zst in frames": (f"{DBN_NAME}.zst", zstd(january(), frame_bytes=112)),
    }[kind]
    with pytest.raises(VendorFileError, match="cut off or damaged"):
        read_directory(only(tmp_path, name, body[: int(len(body) * kept)]))


def test_one_byte_short_is_cut_off(tmp_path: Path) -> None:
    for body in (january(), zstd(january()), zstd(january(), frame_bytes=112)):
        with pytest.raises(VendorFileError, match="it ends within a"):
            read_directory(only(tmp_path, DBN_NAME, body[:-1]))


def test_a_plain_csv_cut_within_a_line_loses_that_line_alone(tmp_path: Path, few: list[Row]) -> None:
    bars = read_directory(only(tmp_path, DAILY_NAME, csv(few)[:-12])).bars
    sorted_out = sort_out(bars, NOW)
    assert sorted_out.bars.height == len(few) - 1
    assert sorted_out.rejected["reason"].to_list() == ["unknown_symbol"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, few: list[Row]) -> None:
    write(tmp_path, few)
    (tmp_path / DAILY_NAME).chmod(0)
    with pytest.raises(VendorFileError, match="cannot be read"):
        read_directory(tmp_path)


# The licensed files, read in place


@pytest.mark.realdata
def test_all_real_files_are_read_and_no_bar_is_rejected(real_data: Path) -> None:
    delivery = read_directory(real_data)
    sorted_out = sort_out(delivery.bars, NOW)

    assert len(delivery.files) == 28 + 7 + 4
    assert sorted_out.rejected.group_by("reason").len().is_empty()
    daily = sorted_out.bars.filter((pl.col("symbol") == "ZL") & (pl.col("rtype") == 35))
    assert daily.height == 3_944
    assert (daily["ts_event"].min(), daily["ts_event"].max()) == (
        datetime(2010, 6, 7, tzinfo=UTC),
        datetime(2025, 8, 29, tzinfo=UTC),
    )
    # Two DBN jobs and a CSV hold June 2025: hours that all three deliver count once.
    june = delivery.bars.filter(
        (pl.col("vendor_symbol") == "ZL.v.0") & (pl.col("ts_event").dt.strftime("%Y%m") == "202506")
    )
    hourly = june.filter(pl.col("rtype") == 34)
    assert hourly["source_file"].n_unique() == 2
    assert hourly.height == 3 * hourly.unique("ts_event").height


@pytest.mark.realdata
def test_a_real_dbn_file_that_was_cut_off_is_refused(real_data: Path, tmp_path: Path) -> None:
    path = next((real_data / "databento_dbn").rglob("*20110401*.dbn.zst"))
    body = path.read_bytes()
    for kept in (len(body) - 1, len(body) // 2, 200):
        with pytest.raises(VendorFileError, match="cut off or damaged"):
            read_directory(only(tmp_path, path.name, body[:kept]))
