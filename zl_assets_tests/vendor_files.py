"""Vendor files of invented bars: rows of a simulated market as CSV or DBN, sound or spoilt on purpose."""

import io
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import zstandard

from zl_assets_tests.sources.databento_server import Bar, dbn, zstd

Row = dict[str, str]
COLUMNS = ("ts_event", "rtype", "publisher_id", "instrument_id", "open", "high", "low", "close", "volume", "symbol")
PRICES = ("open", "high", "low", "close")
DAILY_NAME = "glbx-mdp3-20180101-20221231.ohlcv-1d.ZL.v.0.csv"
FIXED_POINT = 1_000_000_000


def read_rows(path: Path) -> list[Row]:
    """Rows of a vendor CSV as text."""
    body = path.read_bytes()
    if path.name.endswith(".zst"):
        body = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body)).read()
    return pl.read_csv(io.BytesIO(body), infer_schema=False).to_dicts()


def as_delivered(rows: Sequence[Row]) -> list[Row]:
    """The rows with the vendor's publisher id in the place of the simulation's."""
    return [{**r, "publisher_id": "1"} for r in rows]


def csv(rows: Sequence[Row]) -> bytes:
    """The rows as the vendor's CSV."""
    return "\n".join([",".join(COLUMNS), *[",".join(r[c] for c in COLUMNS) for r in rows], ""]).encode()


def write(directory: Path, rows: Sequence[Row], name: str = DAILY_NAME) -> Path:
    """Write a CSV into a directory, zstd by its name; returns the directory, as `--data` takes it."""
    directory.mkdir(parents=True, exist_ok=True)
    body = csv(rows)
    (directory / name).write_bytes(zstandard.ZstdCompressor().compress(body) if name.endswith(".zst") else body)
    return directory


def write_dbn(directory: Path, rows: Sequence[Row], name: str) -> Path:
    """Write daily bars as DBN, zstd in small frames by its name. The ids of the contracts are the encoder's."""
    directory.mkdir(parents=True, exist_ok=True)
    symbols = sorted({r["symbol"] for r in rows})
    bars = [Bar(r["symbol"], moment(r), *[fixed(r[c]) for c in PRICES], volume=int(r["volume"])) for r in rows]
    start, end = min(b.ts_event for b in bars).date(), date(2030, 1, 1)
    plain = dbn(bars, schema="ohlcv-1d", symbols=symbols, start=start, end=end)
    (directory / name).write_bytes(zstd(plain, frame_bytes=560) if name.endswith(".zst") else plain)
    return directory


def in_fixed_point(row: Row) -> Row:
    """The row with integer prices and nanosecond stamps."""
    ns = int(moment(row).timestamp()) * 1_000_000_000
    return {**row, "ts_event": str(ns), **{c: str(fixed(row[c])) for c in PRICES}}


def fixed(price: str) -> int:
    """A decimal price in the vendor's fixed point."""
    return int(Decimal(price) * FIXED_POINT)


def moment(row: Row) -> datetime:
    """Start of the bar."""
    return datetime.fromisoformat(row["ts_event"][:19]).replace(tzinfo=UTC)


def day(row: Row) -> date:
    """UTC day of the bar."""
    return moment(row).date()


def on(rows: Sequence[Row], wanted: str, **values: str) -> list[Row]:
    """The rows with some values of the bar of one day replaced."""
    assert any(str(day(r)) == wanted for r in rows), wanted
    return [{**r, **values} if str(day(r)) == wanted else r for r in rows]
