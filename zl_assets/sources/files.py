"""Vendor files in a directory: Databento daily and hourly bars, as CSV or DBN, plain or zstd, in any mix."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from zl_assets.core.bars import BAR_SCHEMA
from zl_assets.errors import InputError, VendorFileError
from zl_assets.sources.dbn import decompressed, whole_records

_SUFFIXES = (".csv", ".csv.zst", ".dbn", ".dbn.zst")
_CSV_COLUMNS = (
    "ts_event",
    "rtype",
    "publisher_id",
    "instrument_id",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "symbol",
)
_PRICES = ("open", "high", "low", "close")
_FIXED_POINT = 1e9
_FIXED_POINT_FROM = 1_000_000
"""No followed price reaches a million or lies below a thousandth: from here on an integer is in fixed point."""
_UNDEFINED_PRICE = 2**63 - 1
_SHOWN_FILES = 3
_SHOWN_CHARACTERS = 120
_EXPECTED = "expected Databento ohlcv-1d or ohlcv-1h files: *.csv, *.csv.zst, *.dbn or *.dbn.zst"


@dataclass(frozen=True)
class VendorDelivery:
    """What a directory holds.

    Attributes:
        bars: rows of BAR_SCHEMA as read, unjudged.
        files: the files read.
        skipped: files left alone, with the reason.
    """

    bars: pl.DataFrame
    files: tuple[Path, ...]
    skipped: dict[Path, str] = field(default_factory=dict[Path, str])


def read_directory(directory: Path, on_progress: Callable[[str], None] = lambda _: None) -> VendorDelivery:
    """Read every vendor bar file below a directory.

    Args:
        directory: searched recursively.
        on_progress: told how many files there are to read.

    Raises:
        InputError: the directory is missing.
        VendorFileError: it holds no bar file, or one of them is empty, cut off or of another layout.
    """
    if not directory.is_dir():
        what = "not a directory" if directory.exists() else "no such directory"
        raise InputError(what, where=str(directory), action="give --data a directory of vendor files")
    candidates = sorted(p for p in directory.rglob("*") if p.name.endswith(_SUFFIXES) and _is_delivered(p, directory))
    frames: list[pl.DataFrame] = []
    read: list[Path] = []
    skipped: dict[Path, str] = {}
    on_progress(f"reading {len(candidates)} files below {directory}")
    for path in candidates:
        frame = _read_dbn(path) if ".dbn" in path.name else _read_csv(path)
        if isinstance(frame, str):
            skipped[path] = frame
        else:
            frames.append(frame)
            read.append(path)
    if not frames:
        seen = "; ".join(f"{p.name}: {why}" for p, why in list(skipped.items())[:_SHOWN_FILES])
        raise VendorFileError(
            f"no vendor bars found{f' ({seen})' if seen else ''}", where=str(directory), action=_EXPECTED
        )
    return VendorDelivery(pl.concat(frames), tuple(read), skipped)


def _is_delivered(path: Path, directory: Path) -> bool:
    """Whether it is a file, and no part of its path is hidden: those are downloads and copies under way."""
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(directory).parts)


def _read_csv(path: Path) -> pl.DataFrame | str:
    """Bars of one CSV file, or the reason why it is not one of the vendor's."""
    try:
        text = pl.read_csv(path, infer_schema=False, truncate_ragged_lines=False)
    except pl.exceptions.NoDataError as error:
        raise VendorFileError("the file is empty", where=str(path), action="download it again, or remove it") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error
    missing = [c for c in _CSV_COLUMNS if c not in text.columns]
    if missing and "ohlcv" not in path.name:
        return f"not a bar file, it lacks the columns {', '.join(missing)}"
    if missing:
        raise VendorFileError(
            f"columns {', '.join(missing)} are missing, found {_shown(', '.join(text.columns))}",
            where=str(path),
            action="export with the vendor's own columns and symbols mapped (map_symbols)",
        )
    if text.is_empty():
        raise VendorFileError(
            "the file has a header and no bar", where=str(path), action="download it again, or remove it"
        )
    return _typed(text.select(_CSV_COLUMNS)).pipe(_with_provenance, path)


def _typed(text: pl.DataFrame) -> pl.DataFrame:
    """Text columns as values; what cannot be read becomes null and the whole row is kept as text."""
    typed = text.with_columns(
        _timestamp(),
        *[_numbers(text[c], pl.Int64()) for c in ("rtype", "publisher_id", "instrument_id", "volume")],
        *[_prices(text[c]) for c in _PRICES],
        original=pl.struct(_CSV_COLUMNS).struct.json_encode(),
    )
    return typed.rename({"symbol": "vendor_symbol"})


def _numbers(text: pl.Series, dtype: pl.DataType) -> pl.Series:
    return text.str.strip_chars().cast(dtype, strict=False)


def _prices(text: pl.Series) -> pl.Series:
    """Prices from decimals or the vendor's 1e-9 integers, told apart cell by cell: one odd cell spoils no other."""
    integers = _numbers(text, pl.Int64())
    is_fixed_point = (integers.abs() >= _FIXED_POINT_FROM).fill_null(False)
    return _from_fixed_point(integers).zip_with(is_fixed_point, _numbers(text, pl.Float64()))


def _from_fixed_point(integers: pl.Series) -> pl.Series:
    """Prices from the vendor's 1e-9 integers; its marker for 'no price' becomes null.

    NumPy divides; Polars would multiply by the reciprocal and be off in the last digit, and two deliveries of one bar
    would differ.
    """
    known = integers.cast(pl.Int64, strict=False).fill_null(_UNDEFINED_PRICE)
    prices = pl.Series(integers.name, known.to_numpy() / _FIXED_POINT)
    return prices.set(known == _UNDEFINED_PRICE, None)


def _timestamp() -> pl.Expr:
    """UTC moments from ISO text with a zone, or integer nanoseconds; text without a zone has no known moment: null."""
    text = pl.col("ts_event").str.strip_chars()
    nanoseconds = text.cast(pl.Int64, strict=False).cast(pl.Datetime("ns", "UTC")).dt.cast_time_unit("us")
    has_zone = text.str.contains(r"(Z|[+-]\d\d:?\d\d)$")
    iso = text.str.replace(r"Z$", "+00:00").str.replace(r"^(\S+) +(\S+)$", "${1}T${2}")
    parsed = iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", strict=False)
    return pl.coalesce(nanoseconds, pl.when(has_zone).then(parsed)).dt.convert_time_zone("UTC").alias("ts_event")


def _read_dbn(path: Path) -> pl.DataFrame | str:
    """Bars of one DBN file, or the reason why it holds none."""
    import databento
    from databento_dbn import DBNError

    try:
        plain = decompressed(path.read_bytes())
        if not plain.startswith(b"DBN"):
            raise ValueError("it does not begin as DBN does")
        store = databento.DBNStore.from_bytes(plain)
        if store.schema not in ("ohlcv-1d", "ohlcv-1h"):
            return f"schema {store.schema}, not daily or hourly bars"
        records = whole_records(store, plain)
        names = store.symbology
    except (databento.BentoError, DBNError, ValueError, OSError) as error:
        raise _unreadable(path, error) from error
    if not len(records):
        raise VendorFileError("the file holds no bar", where=str(path), action="download it again, or remove it")
    frame = pl.DataFrame({c: records[c] for c in records.dtype.names or () if c != "length"})
    frame = frame.with_columns(
        pl.col("ts_event").cast(pl.Int64, strict=False).cast(pl.Datetime("ns", "UTC")).dt.cast_time_unit("us"),
        *[_from_fixed_point(frame[c]) for c in _PRICES],
        pl.col("rtype", "publisher_id", "instrument_id", "volume").cast(pl.Int64, strict=False),
        original=pl.lit(None, dtype=pl.String),
    )
    return _with_symbols(frame, names["mappings"]).pipe(_with_provenance, path)


def _with_symbols(frame: pl.DataFrame, mappings: dict[str, list[dict[str, object]]]) -> pl.DataFrame:
    """Name each bar by the continuous symbol that its contract stood for on its UTC day.

    One contract may stand for several symbols on a day (front by volume and nearest by expiry): a row for each.
    """
    intervals = pl.DataFrame(
        [
            {
                "vendor_symbol": symbol,
                "instrument_id": int(str(i["symbol"])),
                "from": i["start_date"],
                "to": i["end_date"],
            }
            for symbol, spans in mappings.items()
            for i in spans
            if str(i["symbol"]).isdigit()
        ],
        schema={"vendor_symbol": pl.String, "instrument_id": pl.Int64, "from": pl.Date, "to": pl.Date},
    )
    day = pl.col("ts_event").dt.date()
    numbered = frame.with_row_index("row_number", offset=1)
    named = numbered.join(intervals, on="instrument_id", how="inner").filter(
        (day >= pl.col("from")) & (day < pl.col("to"))
    )
    unnamed = numbered.join(named, on="row_number", how="anti").with_columns(
        vendor_symbol=pl.format("instrument {} without a symbol", "instrument_id")
    )
    return pl.concat([named.drop("from", "to"), unnamed.select(named.drop("from", "to").columns)])


def _with_provenance(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Rows of BAR_SCHEMA: the file's name, an id of its content, and the row's number."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    numbered = frame if "row_number" in frame.columns else frame.with_row_index("row_number", offset=1)
    return numbered.with_columns(
        source_file=pl.lit(path.name),
        provenance_uuid=pl.lit(str(uuid.uuid5(uuid.NAMESPACE_OID, digest))),
    ).select(pl.col(name).cast(dtype) for name, dtype in BAR_SCHEMA.items())


def _shown(text: str) -> str:
    """The beginning of a text from a file, as a terminal can show it."""
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN_CHARACTERS])


def _unreadable(path: Path, error: Exception) -> VendorFileError:
    first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return VendorFileError(
        f"the file cannot be read, it is cut off or damaged: {_shown(first_line)}",
        where=str(path),
        action="download it again, or remove it; nothing of this delivery was stored",
    )
