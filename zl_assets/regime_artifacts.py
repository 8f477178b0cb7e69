"""The stored classifier of market states: written and read as any model of the store, with files of its own.

Belongs here: which files those are, and who may use what they say. What all stored models share is in `artifacts`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from zl_assets.artifacts import (
    ArtifactPlace,
    damaged,
    latest,
    opened_version,
    write_version,
)
from zl_assets.core.models.regime_classifier import RegimeClassifier
from zl_assets.core.models.regime_training import STATE_SCHEMA, TrainedClassifier, probabilities_of
from zl_assets.core.models.shelf import CLASSIFIER
from zl_assets.errors import ConfigurationError, InputError
from zl_assets.whole_files import as_json, as_lines, as_parquet

CLASSIFIER_FILES: tuple[str, ...] = (
    "columns_used.txt",
    "run_id.txt",
    "metrics.json",
    "training_config.json",
    "oof.parquet",
    "predictions.parquet",
)
"""Beside regime_classifier.json."""


@dataclass(frozen=True, eq=False)
class StoredClassifier:
    """A stored classifier, read back.

    Attributes:
        path: directory it was read from.
        version: its version.
        columns_used: columns it reads.
        run_id: run that trained it.
        simulated: whether it learned from simulated prices.
        training_data: see `TrainedClassifier.training_data`.
        metrics: contents of metrics.json.
        oof: see `TrainedClassifier.oof`.
        newest: see `TrainedClassifier.newest`.
    """

    path: Path
    version: str
    columns_used: tuple[str, ...]
    run_id: str
    simulated: bool
    training_data: str
    metrics: dict[str, Any]
    oof: pl.DataFrame
    newest: pl.DataFrame

    def classifier(self) -> RegimeClassifier:
        """The stored classifier; it says the same as when it was stored.

        Raises:
            WarehouseError: its file is damaged.
        """
        try:
            return RegimeClassifier.load(self.path)
        except InputError as error:
            raise damaged(self.path, str(error)) from error


def classifier_place(home: Path, horizon: str) -> ArtifactPlace:
    """Where the versions of a horizon's classifier are stored."""
    return ArtifactPlace.of(CLASSIFIER, home, horizon)


def write_classifier(home: Path, trained: TrainedClassifier, *, run_id: str, simulated: bool) -> Path:
    """Store a trained classifier under its version and make it the latest.

    Args:
        home: directory that holds `Models`.
        trained: the classifier and what its training found out.
        run_id: run that trained it.
        simulated: whether it learned from simulated prices.

    Returns:
        The directory of the version.

    Raises:
        StorageFull: no space is left; what was stored before is untouched.
        WarehouseError: the directory cannot be written; what was stored before is untouched.
    """
    about = {"simulated": simulated, "model_version": trained.model_version}
    scores = trained.scores
    metrics = {
        **about,
        "horizon": trained.horizon.code,
        "training_data": trained.training_data,
        "n_rows": trained.n_rows,
        "out_of_fold": {**asdict(scores), "log_loss_skill": scores.log_loss_skill} if scores else None,
    }
    files = {
        "columns_used.txt": as_lines(trained.classifier.columns_used),
        "run_id.txt": as_lines([run_id]),
        "metrics.json": as_json(metrics),
        "oof.parquet": as_parquet(trained.oof),
        "predictions.parquet": as_parquet(trained.newest),
    }
    place = classifier_place(home, trained.horizon.code)
    config = {**about, **trained.training_config}
    return write_version(place, trained.model_version, trained.classifier.save, config, files)


def read_classifier(path: Path) -> StoredClassifier:
    """Read one stored version.

    Args:
        path: directory of the version, as `write_classifier` and `latest` return it.

    Raises:
        ConfigurationError: no such version.
        WarehouseError: a file is missing or damaged.
    """
    with opened_version(path, CLASSIFIER_FILES) as (directory, metrics, _):
        return StoredClassifier(
            path=directory,
            version=metrics["model_version"],
            columns_used=tuple((directory / "columns_used.txt").read_text(encoding="utf-8").split()),
            run_id=(directory / "run_id.txt").read_text(encoding="utf-8").strip(),
            simulated=metrics["simulated"],
            training_data=metrics["training_data"],
            metrics=metrics,
            oof=pl.read_parquet(directory / "oof.parquet").select(list(STATE_SCHEMA)),
            newest=pl.read_parquet(directory / "predictions.parquet").select(list(STATE_SCHEMA)),
        )


def stored_probabilities(home: Path, horizon: str, training_data: str, newest: int) -> pl.DataFrame:
    """What the latest classifier said of the sessions that models of a horizon were trained on and forecast.

    Args:
        home: directory that holds `Models`.
        horizon: its code.
        training_data: hash of the rows the models were trained on.
        newest: number of the newest session they forecast.

    Returns:
        session_number and a column per state of STATES, one row a session out of fold or later.

    Raises:
        ConfigurationError: no classifier is stored, or it has learnt from other rows.
        WarehouseError: a file is missing or damaged.
    """
    stored = read_classifier(latest(classifier_place(home, horizon)))
    if stored.training_data != training_data or newest != stored.newest["session_number"].item():
        raise ConfigurationError(
            f"the market states of horizon {horizon} are not of the rows that its models were trained on",
            where=f"{stored.path}: rows {stored.training_data} up to session {stored.oof['session_number'].max()}, "
            f"models: rows {training_data} up to session {newest}",
            action=f"materialise {CLASSIFIER.key.replace('.', '/')} and the models of horizon {horizon} again",
        )
    return probabilities_of(stored.oof, stored.newest)
