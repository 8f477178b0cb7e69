"""`zl export`: training tables as files, frame by frame, so that a table need not fit into memory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from zl_assets.assets.training import table_name
from zl_assets.build import build_warehouse
from zl_assets.errors import ConfigurationError, InputError, StorageFull
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract

if TYPE_CHECKING:
    import polars as pl

Report = Callable[[str], None]


def export_training_tables(
    settings: Settings, horizons: Sequence[str], surface: str, file_format: str, report: Report
) -> list[Path]:
    """Write the training table of each horizon under its own name into the home's exports.

    Args:
        settings: where the warehouse and the exports are.
        horizons: codes of the horizons.
        surface: prod, or full, which only a run with `--surface full` builds.
        file_format: parquet or csv.
        report: told in one line, at each tenth of a table, how many rows are written.

    Returns:
        The files, each written whole or not at all. A file that holds a simulated row says SIMULATED in its name.

    Raises:
        InputError: a table has no row yet.
        StorageFull: no space left.
        ConfigurationError: the file cannot be written for another reason.
    """
    warehouse = build_warehouse(settings)
    stored = set(warehouse.listed())
    counts = {n: warehouse.row_count(n) if n in stored else 0 for n in (table_name(h, surface) for h in horizons)}
    for name, rows in counts.items():
        if not rows:
            raise _no_row(name, surface)
    with _only_export(settings.exports):
        return [_export(warehouse, n, rows, file_format, settings.exports, report) for n, rows in counts.items()]


def _no_row(name: str, surface: str) -> InputError:
    horizon = name.rpartition("_")[2]
    command = f"zl run --horizon {horizon}" + (" --surface full" if surface == "full" else "")
    return InputError(f"{name} holds no row yet", action=f"run `{command}` first")


def _export(warehouse: Warehouse, name: str, expected: int, file_format: str, exports: Path, report: Report) -> Path:
    stem = name.split(".")[1]
    partial = exports / f".{stem}.{file_format}.partial"
    order = ", ".join(contract(name).keys)
    seen = _Seen(name, expected, report)
    with _storage_faults(exports / f"{stem}.{file_format}"):
        try:
            frames = warehouse.stream(f"SELECT * FROM {name} ORDER BY {order}")
            with closing(frames), partial.open("wb") as file:
                _FORMATS[file_format](seen.through(frames), file)
                file.flush()
                os.fsync(file.fileno())
            if not seen.rows:
                raise _no_row(name, "full" if "_full_" in name else "prod")
            # Judged by the rows in the file: between two queries, a table may come to hold another market.
            path = exports / f"{stem}{'.SIMULATED' if seen.simulated else ''}.{file_format}"
            return partial.replace(path)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


class _Seen:
    """What has passed on its way to the file."""

    def __init__(self, name: str, expected: int, report: Report) -> None:
        self.rows = 0
        self.simulated = False
        self._name, self._expected, self._report = name, expected, report

    def through(self, frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The frames, each looked at before it is handed on; none is kept."""
        for frame in frames:
            before, self.rows = self.rows, self.rows + frame.height
            self.simulated |= bool(frame["source"].eq("simulated").any())
            if self.rows * 10 // self._expected > before * 10 // self._expected:
                self._report(f"  {self._name:<45} {self.rows:>9,} of {self._expected:>9,} rows")
            yield frame


def _write_parquet(frames: Iterator[pl.DataFrame], file: IO[bytes]) -> None:
    """One row group a frame."""
    import pyarrow.parquet as pq

    writer = None
    try:
        for frame in frames:
            rows = frame.to_arrow()
            writer = writer or pq.ParquetWriter(file, rows.schema, compression="zstd")
            if rows.num_rows:
                writer.write_table(rows)
    finally:
        if writer is not None:
            writer.close()


def _write_csv(frames: Iterator[pl.DataFrame], file: IO[bytes]) -> None:
    for number, frame in enumerate(frames):
        frame.write_csv(file, include_header=number == 0)


_FORMATS = {"parquet": _write_parquet, "csv": _write_csv}


@contextmanager
def _only_export(exports: Path) -> Iterator[None]:
    """Hold a directory's lock, so that no two exports write one partial file; the system frees it however we end."""
    with _storage_faults(exports):
        exports.mkdir(parents=True, exist_ok=True)
        lock = os.open(exports, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                "another `zl export` is at work", where=str(exports), action="wait for it to end, then run again"
            ) from error
        yield
    finally:
        os.close(lock)


@contextmanager
def _storage_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = StorageFull if error.errno in StorageFull.NUMBERS else ConfigurationError
        raise kind(
            f"the export cannot be written: {error.strerror or error}",
            where=str(path),
            action="free space, mend the permissions or choose another --home",
        ) from error
