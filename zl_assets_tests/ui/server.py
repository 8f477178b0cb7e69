"""A running `zl ui` and its GraphQL API, for tests and for the picture of the README."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from zl_assets.sources.simulated import simulate
from zl_assets_tests.conftest import PROJECT

START_SECONDS = 90
RUN_SECONDS = 300
STOP_SECONDS = 30
_POLL_SECONDS = 0.2
_OURS = ("ZL_", "DAGSTER_", "DATABENTO_")
_LOCATION = {"repositoryLocationName": "zl_assets.definitions", "repositoryName": "__repository__"}
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))

T = TypeVar("T")


def short_market(directory: Path) -> Path:
    """Write the shortest simulated market, in round months, on which all five horizons train.

    Twelve months ahead need 441 labelled sessions, see `plan_walk_forward`; 62 more fill the longest window and 252 lie
    between the last label and the last session.
    """
    simulate(directory, start=date(2018, 12, 1), end=date(2021, 12, 31))
    return directory


@dataclass(frozen=True)
class RunningUi:
    """A UI that answers; it ends with the `running_ui` that made it."""

    url: str
    home: Path
    log: Path
    process: subprocess.Popen[bytes]

    def query(self, text: str, **variables: object) -> dict[str, Any]:
        """The data of one GraphQL operation; its errors fail the test."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"content-type": "application/json"})
        with _NO_PROXY.open(request, timeout=30) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def wait_for(self, what: str, condition: Callable[[], T | None], seconds: float) -> T:
        """The first answer of the condition that is not None; fails past the deadline or when the UI ends."""
        deadline = time.monotonic() + seconds
        while (found := condition()) is None:
            try:
                self.process.wait(_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.tail()}"
            else:
                raise AssertionError(f"the UI ended while waiting for {what}\n{self.tail()}")
        return found

    def tail(self) -> str:
        """The end of what the server printed."""
        return self.log.read_text(errors="replace")[-4000:]

    def launch(self, job: str) -> str:
        """Launch a job without partitions as the launchpad does; returns the run id."""
        parameters = {"selector": {**_LOCATION, "pipelineName": job}, "mode": "default", "runConfigData": {}}
        launched = self.query(_LAUNCH_RUN, parameters=parameters)["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["runId"]

    def backfill(self, assets: Sequence[str], partitions: Sequence[str]) -> str:
        """Launch a backfill of some partitions of some assets; returns its id."""
        selection = [{"path": name.split("/")} for name in assets]
        parameters = {"assetSelection": selection, "partitionNames": list(partitions)}
        launched = self.query(_LAUNCH_BACKFILL, parameters=parameters)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def ended_run(self, run_id: str, seconds: float = RUN_SECONDS) -> Mapping[str, Any]:
        """The run once it has ended."""

        def ended() -> Mapping[str, Any] | None:
            run = self.query(_RUN, run=run_id)["runOrError"]
            return run if run["status"] in ("SUCCESS", "FAILURE", "CANCELED") else None

        return self.wait_for(f"the end of run {run_id}", ended, seconds)

    def ended_backfill(self, backfill_id: str, seconds: float = RUN_SECONDS) -> Mapping[str, Any]:
        """The backfill once it has ended."""

        def ended() -> Mapping[str, Any] | None:
            backfill = self.query(_BACKFILL, backfill=backfill_id)["partitionBackfillOrError"]
            return backfill if backfill["status"] not in ("REQUESTED", "CANCELING", "FAILING") else None

        return self.wait_for(f"the end of backfill {backfill_id}", ended, seconds)

    def runs(self) -> list[Mapping[str, Any]]:
        """Every run of the instance, newest first."""
        return self.query(_RUNS)["runsOrError"]["results"]


@contextmanager
def running_ui(home: Path, data: Path, log: Path) -> Iterator[RunningUi]:
    """Run `zl ui` on a free port until the block ends; nothing of it outlives the block.

    Raises:
        AssertionError: it does not answer in time, or Ctrl-C leaves a process behind.
    """
    port = _free_port()
    command = [sys.executable, "-m", "zl_assets.cli", "ui", "--home", str(home), "--data", str(data)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    environment["ZL_MLFLOW"] = "false"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ui = RunningUi(f"http://127.0.0.1:{port}", home, log, process)
    try:
        ui.wait_for("the UI to load the graph", lambda: _loaded(ui), START_SECONDS)
        yield ui
    finally:
        _stop(ui)


def _loaded(ui: RunningUi) -> bool | None:
    """Whether the code location is loaded and every daemon has reported; None until then."""
    try:
        state = ui.query(_STATE)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None
    entries = state["workspaceOrError"]["locationEntries"]
    loaded = [(e["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation" for e in entries]
    daemons = state["instance"]["daemonHealth"]["allDaemonStatuses"]
    return True if loaded and all(loaded) and all(d["healthy"] for d in daemons if d["required"]) else None


def _stop(ui: RunningUi) -> None:
    """Press Ctrl-C, then kill whatever is left of the session; what had to be killed fails the test."""
    group = ui.process.pid
    _signal(group, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while (left := _members(ui)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    if left:
        _signal(group, signal.SIGKILL)
        ui.process.wait(STOP_SECONDS)
        raise AssertionError(f"processes of the UI outlived Ctrl-C by {STOP_SECONDS} s\n{ui.tail()}")


def _members(ui: RunningUi) -> bool:
    """Whether a process of the UI's group is alive."""
    ui.process.poll()
    return _signal(ui.process.pid, 0)


def _signal(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


_STATE = """
query {
  workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } }
  instance { daemonHealth { allDaemonStatuses { required healthy } } }
}
"""
_LAUNCH_RUN = """
mutation ($parameters: ExecutionParams!) {
  launchPipelineExecution(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
_LAUNCH_BACKFILL = """
mutation ($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
_FIELDS = "runId status startTime endTime tags { key value }"
_RUN = f"query ($run: ID!) {{ runOrError(runId: $run) {{ ... on Run {{ {_FIELDS} }} }} }}"
_RUNS = f"query {{ runsOrError {{ ... on Runs {{ results {{ {_FIELDS} }} }} }} }}"
_BACKFILL = f"""
query ($backfill: String!) {{
  partitionBackfillOrError(backfillId: $backfill) {{ ... on PartitionBackfill {{ status runs {{ {_FIELDS} }} }} }}
}}
"""
