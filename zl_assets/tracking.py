"""The MLflow log: one run per model and horizon, in an SQLite file of the home.

Belongs here: what is told to MLflow. Nothing reads it back: the graph needs the model store alone.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from zl_assets.errors import StorageFull, WarehouseError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

DATABASE = "mlflow.db"
FILES = "mlartifacts"
LONGEST_PARAMETER = 500
"""Characters of a parameter that MLflow stores at least."""


@dataclass(frozen=True)
class TrackedRun:
    """A run that has begun; its identifier goes into the artifact and every forecast made with the model.

    Attributes:
        run_id: MLflow's.
        client: that writes it.
    """

    run_id: str
    client: MlflowClient

    def log(self, *, parameters: Mapping[str, Any], metrics: Mapping[str, float | int | None]) -> None:
        """Tell parameters and metrics at once; a metric that is None is left out.

        Raises:
            StorageFull: no space is left.
            WarehouseError: MLflow takes none of it.
        """
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        told = [Metric(name, float(value), now, 0) for name, value in metrics.items() if value is not None]
        given = [Param(name, str(value)[:LONGEST_PARAMETER]) for name, value in parameters.items()]
        with _log_errors(self.client.tracking_uri):
            self.client.log_batch(self.run_id, metrics=told, params=given)

    def log_files(self, files: Mapping[str, bytes]) -> None:
        """Store small files, such as figures, with the run.

        Raises:
            StorageFull: no space is left.
            WarehouseError: a file cannot be written.
        """
        with _log_errors(self.client.tracking_uri):
            place = Path(url2pathname(urlsplit(str(self.client.get_run(self.run_id).info.artifact_uri)).path))
            place.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (place / name).write_bytes(content)


@contextmanager
def tracked_run(home: Path, horizon: str, model: str, tags: Mapping[str, str]) -> Iterator[TrackedRun]:
    """A run that ends as finished, or as failed where the body raises.

    Args:
        home: directory that holds the database and the files.
        horizon: code; the experiment is named after it.
        model: name of the run.
        tags: what else to say of it.

    Raises:
        StorageFull: no space is left.
        WarehouseError: the database cannot be used.
    """
    client, path = _client(home), str(home / DATABASE)
    with _log_errors(path):
        run = client.create_run(_experiment(client, home, horizon), run_name=model, tags=dict(tags))
    try:
        yield TrackedRun(run.info.run_id, client)
    except BaseException:
        # What ended the body is told, and not that nobody could write it down.
        with suppress(WarehouseError), _log_errors(path):
            client.set_terminated(run.info.run_id, status="FAILED")
        raise
    with _log_errors(path):
        client.set_terminated(run.info.run_id)


def _experiment(client: MlflowClient, home: Path, horizon: str) -> str:
    name = f"zl_{horizon}"
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name, (home / FILES).resolve().as_uri())


def _client(home: Path) -> MlflowClient:
    with warnings.catch_warnings():
        # MLflow's tables use a loader strategy that SQLAlchemy has deprecated.
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        path = home / DATABASE
        with _log_errors(str(path)):
            return MlflowClient(tracking_uri=f"sqlite:///{path}")


@contextmanager
def _log_errors(place: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        said = str(error).splitlines()[0]
        if "disk is full" in str(error) or getattr(error, "errno", None) in StorageFull.NUMBERS:
            raise StorageFull("no space left for MLflow's log", where=place, action="free space") from error
        raise WarehouseError(
            f"MLflow's log cannot be used: {said}",
            where=place,
            action="move the file away, or set ZL_MLFLOW=false, and run again",
        ) from error
