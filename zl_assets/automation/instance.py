"""The Dagster instance of a home directory."""

from __future__ import annotations

import fcntl
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zl_assets.errors import ConfigurationError, StorageFull
from zl_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

IN_PROCESS_TAG = "zl/in_process"
"""Run tag of runs that a `zl` process executes itself, so that a killed one can be told from one of the UI."""
_POLL_SECONDS = 0.2
_ROOM_TO_RECORD = 4 * 2**20
"""Bytes; with less than this free, a fault of the run storage is the full disk's."""


def config_file() -> Path:
    """dagster.yaml: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).resolve().parents[1]
    return next(p for p in (package.parent / "dagster.yaml", package / "dagster.yaml") if p.is_file())


def prepare_home(settings: Settings) -> Path:
    """Create the home directory with Dagster's configuration in it; returns Dagster's directory.

    Raises:
        ConfigurationError: the directory cannot be created or written.
    """
    try:
        settings.dagster_home.mkdir(parents=True, exist_ok=True)
        target = settings.dagster_home / "dagster.yaml"
        wanted = config_file().read_text(encoding="utf-8").replace('"<home>/', f'"{_yaml_text(settings.home)}/')
        if not target.is_file() or target.read_text(encoding="utf-8") != wanted:
            target.write_text(wanted, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"the home directory cannot be written: {error.strerror}",
            where=str(settings.home),
            action="choose another --home or mend its permissions",
        ) from error
    return settings.dagster_home


def _yaml_text(path: Path) -> str:
    """A path as it stands between double quotes in YAML, which reads them as JSON does."""
    return json.dumps(str(path.resolve()))[1:-1]


@contextmanager
def _storage_faults(settings: Settings) -> Iterator[None]:
    """Faults of Dagster's run storage as errors that say what to do. SQLite names a full disk in several ways."""
    from sqlalchemy.exc import DatabaseError

    try:
        yield
    except (DatabaseError, sqlite3.Error) as error:
        place = str(settings.dagster_home)
        told = str(error.orig) if isinstance(error, DatabaseError) else str(error)
        if shutil.disk_usage(settings.home).free < _ROOM_TO_RECORD or "full" in told:
            raise StorageFull(
                "no space left to record the run", where=place, action="free space and run again"
            ) from error
        raise ConfigurationError(
            f"the run storage cannot be used: {told}",
            where=place,
            action="check the disk and mend its permissions, or move it away",
        ) from error


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of the home, shared with the UI.

    Dagster opens its SQLite files anew for every event. As long as some connection to them stays open, SQLite does not
    fold its log into the file at each closing: hence the held ones.
    """
    import dagster as dg

    home = str(prepare_home(settings))
    with _storage_faults(settings), dg.DagsterInstance.from_config(home) as instance, ExitStack() as held:
        for file in settings.dagster_home.glob("history/*.db"):
            connection = held.enter_context(closing(sqlite3.connect(file)))
            connection.execute("SELECT name FROM sqlite_master").fetchall()
        yield instance


@contextmanager
def only_run(settings: Settings) -> Iterator[None]:
    """Hold a home's run lock: one `zl run` at a time. The system frees the lock when the process ends, however it ends.

    Raises:
        ConfigurationError: another `zl run` holds it for longer than the lock timeout.
    """
    path = prepare_home(settings) / "run.lock"
    deadline = time.monotonic() + settings.warehouse_lock_seconds
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise ConfigurationError(
                        f"another `zl run` has been at work in this home for {settings.warehouse_lock_seconds:g} s",
                        where=str(settings.home),
                        action="wait for it to end, or choose another --home",
                    ) from error
                time.sleep(_POLL_SECONDS)
        yield


def end_abandoned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the unfinished runs of earlier `zl` processes as failed; returns their ids. Call it under `only_run`.

    Whoever holds the lock is the only one at work, so every such run was killed. Without this it would seem to go on,
    and hold up the runs that the UI has queued.
    """
    import dagster as dg

    unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
    abandoned = instance.get_runs(dg.RunsFilter(statuses=unfinished, tags={IN_PROCESS_TAG: "true"}))
    for run in abandoned:
        instance.report_run_failed(run, "the process that executed the run was killed")
    return [run.run_id for run in abandoned]
