"""Directories and files of the model store that are there whole or not at all.

Belongs here: the disk. What the files hold is their writer's business.

{directory}/
├── .lock                                    held while writing
├── .{name}.new                              a file that is being written
└── .{name}.new-* and .{name}.old-*          a directory that is, or what a killed write left behind

A directory is built beside its place, flushed to the disk and renamed into place. Where there is one already, that is
renamed aside first; a write killed between the two renames leaves the old one whole and aside, where readers find it,
and the next write puts it back.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from zl_assets.errors import StorageFull, WarehouseError


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make a directory, hold it against other writers, and tidy up what a killed one left behind.

    Raises:
        StorageFull: no space is left; what was stored before is untouched.
        WarehouseError: the directory cannot be written; what was stored before is untouched.
    """
    with _storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with _exclusive(directory):
            _recover(directory)
            yield


def replace_directory(
    target: Path, save: Callable[[Path], object], files: Callable[[Sequence[str]], Mapping[str, bytes]]
) -> None:
    """Write a directory and put it into its place, inside `locked` of its parent.

    Args:
        target: its place.
        save: writes files of its own into an existing directory.
        files: contents of all others by name, given the names of those that `save` wrote.
    """
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        save(fresh)
        saved = sorted(path.name for path in fresh.iterdir())
        for name in saved:
            _sync(fresh / name)
        for name, content in files(saved).items():
            _write_file(fresh / name, content)
        _sync(fresh)
        _swap_in(fresh, target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def replace_file(target: Path, content: bytes) -> None:
    """Write a file and put it into its place, inside `locked` of its directory."""
    fresh = target.with_name(f".{target.name}.new")
    try:
        _write_file(fresh, content)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    _sync(target.parent)


def place_of(path: Path) -> Path | None:
    """Where a directory is now: in place, or aside after a write was killed between two renames; None if nowhere."""
    aside = sorted(path.parent.glob(f".{path.name}.old-*"))
    return next((candidate for candidate in (path, *aside, path) if candidate.is_dir()), None)


def as_lines(lines: Sequence[str]) -> bytes:
    """Content of a text file."""
    return "".join(f"{line}\n" for line in lines).encode()


def as_json(value: Mapping[str, Any]) -> bytes:
    """Content of a JSON file, the same for the same value."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, default=lambda day: day.isoformat())
    return f"{text}\n".encode()


def as_parquet(frame: pl.DataFrame) -> bytes:
    """Content of a parquet file."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    """Flush a file, or the names in a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap_in(fresh: Path, target: Path) -> None:
    aside: Path | None = None
    if target.exists():
        aside = fresh.with_name(fresh.name.replace(".new-", ".old-"))
        target.rename(aside)
    try:
        fresh.rename(target)
    except OSError:
        if aside:
            aside.rename(target)
        raise
    _sync(target.parent)
    if aside:
        shutil.rmtree(aside, ignore_errors=True)


def _recover(directory: Path) -> None:
    """Put back versions a killed write had moved aside, and remove what it had not finished."""
    for leftover in sorted(directory.glob(".*.old-*")):
        target = directory / leftover.name[1:].rpartition(".old-")[0]
        if target.exists():
            shutil.rmtree(leftover)
        else:
            leftover.rename(target)
    for leftover in sorted(directory.glob(".*.new-*")):
        shutil.rmtree(leftover)


@contextmanager
def _exclusive(directory: Path) -> Iterator[None]:
    """Hold the directory against other writers; the system lets go when the process ends, however it ends."""
    with (directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _storage_errors(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in StorageFull.NUMBERS:
            raise StorageFull(
                "no space left to store the model; what was stored before is untouched",
                where=str(directory),
                action="free some space and run the model again",
            ) from error
        raise unusable(error, directory, "written") from error


def unusable(error: OSError, directory: Path, done: str) -> WarehouseError:
    """The error of a directory that cannot be read or written."""
    return WarehouseError(
        f"the model store cannot be {done}: {error.strerror or error}",
        where=str(directory),
        action="check that the directory exists and belongs to this user",
    )
