"""The MLflow log: one run per model and horizon, in an SQLite file of the home.

Belongs here: what is told to MLflow. Nothing reads it back: the graph needs the model store alone.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        """Tell parameters and metrics at once; a metric that is None is left out."""
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        told = [Metric(name, float(value), now, 0) for name, value in metrics.items() if value is not None]
        given = [Param(name, str(value)[:LONGEST_PARAMETER]) for name, value in parameters.items()]
        self.client.log_batch(self.run_id, metrics=told, params=given)

    def log_files(self, files: Mapping[str, bytes]) -> None:
        """Store small files, such as figures, with the run."""
        place = Path(str(self.client.get_run(self.run_id).info.artifact_uri).removeprefix("file://"))
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
        WarehouseError: the database cannot be opened.
    """
    client = _client(home)
    run = client.create_run(_experiment(client, home, horizon), run_name=model, tags=dict(tags))
    try:
        yield TrackedRun(run.info.run_id, client)
    except BaseException:
        client.set_terminated(run.info.run_id, status="FAILED")
        raise
    client.set_terminated(run.info.run_id)


def _experiment(client: MlflowClient, home: Path, horizon: str) -> str:
    name = f"zl_{horizon}"
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name, (home / FILES).resolve().as_uri())


def _client(home: Path) -> MlflowClient:
    with warnings.catch_warnings():
        # MLflow's tables use a loader strategy that SQLAlchemy has deprecated.
        warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
        from sqlalchemy.exc import OperationalError

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        path = home / DATABASE
        try:
            return MlflowClient(tracking_uri=f"sqlite:///{path}")
        except (MlflowException, OperationalError) as error:
            if "full" in str(error):
                raise StorageFull("no space left for MLflow's log", where=str(path), action="free space") from error
            raise WarehouseError(
                f"MLflow's log cannot be opened: {error}", where=str(path), action="move the file away and run again"
            ) from error
