"""The Dagster instance of a home directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from zl_assets.errors import ConfigurationError
from zl_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

PROCESS_TAG = "zl/pid"
"""Run tag with the process that executes the run, so that a killed one can be told from a running one."""


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
        wanted = config_file().read_text(encoding="utf-8")
        if not target.is_file() or target.read_text(encoding="utf-8") != wanted:
            target.write_text(wanted, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"the home directory cannot be written: {error.strerror}",
            where=str(settings.home),
            action="choose another --home or mend its permissions",
        ) from error
    return settings.dagster_home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The Dagster instance of the home, shared with the UI."""
    import dagster as dg

    return dg.DagsterInstance.from_config(str(prepare_home(settings)))


def end_abandoned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs of killed `zl` processes as failed; returns their ids.

    Without this, a run that was killed would seem to go on, and hold up the runs that the UI has queued.
    """
    import dagster as dg

    ended: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])):
        pid = run.tags.get(PROCESS_TAG)
        if pid is not None and not _is_alive(int(pid)):
            instance.report_run_failed(run, f"the process {pid} that executed the run has ended")
            ended.append(run.run_id)
    return ended


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
