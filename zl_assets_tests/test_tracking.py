"""MLflow's log: one run a training, told whole, marked where it failed, and read back from a file opened again."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from zl_assets import tracking
from zl_assets.artifacts import read_artifact
from zl_assets.assets.models import logged, stored
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import models
from zl_assets.core.models.training import train
from zl_assets.errors import InputError, StorageFull, WarehouseError
from zl_assets.settings import Settings
from zl_assets.tracking import DATABASE, FILES, LONGEST_PARAMETER, TrackedRun, tracked_run
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

H = HORIZONS["1w"]
TAGS = {"family": "benchmarks", "dagster_run_id": "d-1"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a blank and a sign that addresses write in another way; MLflow's tables cost seconds to make."""
    made = tmp_path_factory.mktemp("mlflow") / "a home, 100%"
    made.mkdir()
    return made


def in_a_run(home: Path, body: Callable[[TrackedRun], None]) -> None:
    with tracked_run(home, "1w", "theta", {}) as run:
        body(run)


def reopened(home: Path, run_id: str):
    """The run as a client that knows nothing but the file reads it."""
    return tracking._client(home).get_run(run_id)


def test_a_run_is_told_whole_and_read_from_the_file_opened_again(home: Path) -> None:
    with tracked_run(home, "1w", "no_change", TAGS) as run:
        run.log(
            parameters={"horizon": "1w", "config": {"mode": "expanding"}, "long": "x" * 9000},
            metrics={"crps": 0.0125, "folds": 8, "hit_rate": None},
        )
        run.log_files({"metrics.json": b"{}", "fan.png": b"\x89PNG"})
    told = reopened(home, run.run_id)
    assert (told.info.status, told.info.run_name) == ("FINISHED", "no_change")
    assert told.data.metrics == {"crps": 0.0125, "folds": 8.0}
    assert told.data.params["config"] == "{'mode': 'expanding'}"
    assert len(told.data.params["long"]) == LONGEST_PARAMETER
    assert told.data.tags.items() >= TAGS.items()
    place = Path(url2pathname(urlsplit(told.info.artifact_uri).path))
    assert place.is_relative_to(home / FILES)
    assert {p.name: p.read_bytes() for p in place.iterdir()} == {"metrics.json": b"{}", "fan.png": b"\x89PNG"}
    assert {p.name for p in home.parent.iterdir()} == {home.name}, "nothing strays beside the home"


def test_runs_of_a_horizon_share_an_experiment(home: Path) -> None:
    ids: dict[str, str] = {}
    for name, horizon in (("one", "1w"), ("two", "1w"), ("three", "1m")):
        with tracked_run(home, horizon, name, {}) as run:
            ids[name] = run.run_id
    experiments = {name: reopened(home, run_id).info.experiment_id for name, run_id in ids.items()}
    assert experiments["one"] == experiments["two"] != experiments["three"]
    assert len(set(ids.values())) == 3
    client = tracking._client(home)
    assert client.get_experiment(experiments["three"]).name == "zl_1m"


@pytest.mark.parametrize("error", [InputError("too few rows", where="1w", action="load more"), KeyboardInterrupt()])
def test_a_run_that_breaks_off_is_marked_as_failed(home: Path, error: BaseException) -> None:
    ids: list[str] = []

    def breaks_off(run: TrackedRun) -> None:
        ids.append(run.run_id)
        run.log(parameters={"p": 1}, metrics={})
        raise error

    with pytest.raises(type(error)):
        in_a_run(home, breaks_off)
    told = reopened(home, ids[0])
    assert told.info.status == "FAILED"
    assert told.data.params == {"p": "1"}


def test_what_broke_off_is_told_even_where_nobody_can_write_it_down(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(run: TrackedRun) -> None:
        monkeypatch.setattr(type(run.client), "set_terminated", _raising("attempt to write a readonly database"))
        raise InputError("too few rows", where="1w", action="load more")

    with pytest.raises(InputError, match="too few rows"):
        in_a_run(home, breaks_off)


@pytest.mark.parametrize(
    ("said", "kind"), [("database or disk is full", StorageFull), ("database is locked", WarehouseError)]
)
def test_an_error_of_the_database_is_told_in_one_line(
    said: str, kind: type[WarehouseError], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def logs(run: TrackedRun) -> None:
        monkeypatch.setattr(type(run.client), "log_batch", _raising(said))
        run.log(parameters={}, metrics={})

    with pytest.raises(kind) as raised:
        in_a_run(home, logs)
    assert type(raised.value) is kind
    assert DATABASE in str(raised.value)


def test_a_disk_that_fills_up_at_a_file_is_a_full_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def logs(run: TrackedRun) -> None:
        monkeypatch.setattr(Path, "write_bytes", full)
        run.log_files({"a.png": b"x"})

    with pytest.raises(StorageFull, match="no space left"):
        in_a_run(home, logs)


def test_a_file_that_is_no_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"not a database" * 500)
    with pytest.raises(WarehouseError, match=r"cannot be used.*mlflow\.db.*ZL_MLFLOW=false"):
        in_a_run(tmp_path, lambda _: None)


def test_the_artifact_carries_the_runs_identifier(home: Path) -> None:
    spec, settings = models()["no_change"], Settings(home=home)
    with logged(settings, "d-7", spec, H) as log:
        result = stored(log, settings, train(spec, training_frame(random_walk(600, 5), 5), H), simulated=True)
    assert result.metadata is not None
    artifact = read_artifact(Path(str(result.metadata["artifact"].value)))
    told = reopened(home, artifact.run_id)
    assert told.data.tags["dagster_run_id"] == "d-7"
    assert told.data.metrics["crps"] == artifact.metrics["out_of_fold"]["crps"]
    assert told.data.params["simulated"] == "True"
    assert home / told.data.params["artifact"] == artifact.path
    assert told.info.status == "FINISHED"


def test_without_mlflow_the_run_is_dagsters_and_no_file_appears(tmp_path: Path) -> None:
    with logged(Settings(home=tmp_path, mlflow=False), "d-8", models()["no_change"], H) as log:
        assert log.run_id == "d-8"
    assert list(tmp_path.iterdir()) == []


def _raising(said: str):
    from sqlalchemy.exc import OperationalError

    def call(*_: object, **__: object) -> None:
        raise OperationalError("UPDATE runs", {}, sqlite3.OperationalError(said))

    return call
