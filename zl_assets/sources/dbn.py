"""Whether DBN data are whole. The vendor's reader is silent where its input ends early, or only warns."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from databento import DBNStore


class DamagedError(ValueError):
    """Data that are not whole, or not what they should be."""


def decompressed(body: bytes) -> bytes:
    """What the zstd frames of a body hold, or the body itself where it is not compressed.

    Raises:
        DamagedError: the body ends within a frame, or something else follows a frame.
    """
    import zstandard

    if not is_compressed(body):
        return body
    pieces: list[bytes] = []
    while body:
        frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            pieces.append(frame.decompress(body))
        except zstandard.ZstdError as error:
            raise DamagedError(f"it is not zstd data throughout: {error}") from None
        if not frame.eof:
            raise DamagedError("it ends within a compressed frame")
        body = frame.unused_data
    return b"".join(pieces)


def is_compressed(body: bytes) -> bool:
    """Whether a body begins as a zstd frame does."""
    import zstandard

    return body.startswith(zstandard.FRAME_HEADER)


def whole_records(store: DBNStore, plain: bytes) -> np.ndarray:
    """The records of a store.

    Args:
        store: the vendor's reader of the data.
        plain: the same data, not compressed: eight bytes, of which four are the header's size, header, records.

    Raises:
        DamagedError: the last record is cut off.
    """
    from databento.common.error import BentoWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BentoWarning)
        records = store.to_ndarray()
    if len(plain) != 8 + int.from_bytes(plain[4:8], "little") + records.nbytes:
        raise DamagedError("it ends within a bar")
    return records
