"""DBN data that are whole, and data that are not."""

import databento
import pytest
import zstandard

from zl_assets.sources.dbn import DamagedError, decompressed, is_compressed, whole_records
from zl_assets_tests.sources.databento_server import running

ASKED = {"schema": "ohlcv-1d", "symbols": "ZL.v.0", "start": "2025-11-11", "end": "2025-11-15"}


@pytest.fixture(scope="module")
def plain() -> bytes:
    """A delivery of four bars, not compressed."""
    with running() as server:
        return server.delivery(ASKED)


def in_frames(plain: bytes) -> bytes:
    """The same in two zstd frames that follow one another."""
    middle = len(plain) // 2
    return b"".join(zstandard.compress(part) for part in (plain[:middle], plain[middle:]))


def test_frames_that_follow_one_another_are_one_body(plain: bytes) -> None:
    assert decompressed(in_frames(plain)) == plain
    assert is_compressed(in_frames(plain))


def test_what_is_not_compressed_stays(plain: bytes) -> None:
    assert decompressed(plain) == plain
    assert not is_compressed(plain)
    assert decompressed(b"") == b""


@pytest.mark.parametrize("cut", [1, 10])
def test_a_frame_that_ends_early_is_damaged(plain: bytes, cut: int) -> None:
    with pytest.raises(DamagedError, match="ends within a compressed frame"):
        decompressed(in_frames(plain)[:-cut])


def test_something_else_after_a_frame_is_damage(plain: bytes) -> None:
    with pytest.raises(DamagedError, match="not zstd data throughout"):
        decompressed(in_frames(plain) + b"and the rest of a web page")


def test_all_records_are_counted_and_a_part_of_one_is_damage(plain: bytes) -> None:
    whole = whole_records(databento.DBNStore.from_bytes(plain), plain)
    assert len(whole) == 4
    one_less = plain[: -whole.itemsize]
    assert len(whole_records(databento.DBNStore.from_bytes(one_less), one_less)) == 3
    for cut in (1, whole.itemsize - 1, whole.itemsize + 1):
        with pytest.raises(DamagedError, match="ends within a bar"):
            whole_records(databento.DBNStore.from_bytes(plain[:-cut]), plain[:-cut])
