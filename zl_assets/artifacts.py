"""The model store: one directory per trained model, whole or not there at all.

Models/local/horizon_{h}/{surface}/{family}/{model}/
├── {version}/       the files of ARTIFACT_FILES, or of the classifier's in `regime_artifacts`, and the model in its own
│                    format
├── latest.txt       the version written last
└── what `whole_files` needs while it writes

Models/local/horizon_{h}/{surface}/forecasts/{training_data}.parquet   what all models together forecast

Belongs here: what a version of a forecaster holds, and which one is the latest. How a directory is written whole or not
at all is in `whole_files`. Nothing is pickled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Forecaster
from zl_assets.core.models.importance import IMPORTANCE_SCHEMA
from zl_assets.core.models.shelf import NO_CHANGE, ModelSpec, models
from zl_assets.core.models.training import FOLD_SCHEMA, TrainedModel
from zl_assets.errors import ConfigurationError, InputError, WarehouseError
from zl_assets.whole_files import (
    as_json,
    as_lines,
    as_parquet,
    locked,
    place_of,
    replace_directory,
    replace_file,
    unusable,
)

ARTIFACT_FILES: tuple[str, ...] = (
    "columns_used.txt",
    "run_id.txt",
    "feature_importance.csv",
    "drivers.csv",
    "metrics.json",
    "training_config.json",
    "oof.parquet",
    "predictions.parquet",
)
CONFIG_FILE = "training_config.json"
ROLLING_FILE = "oof_rolling.parquet"
"""Beside ARTIFACT_FILES where a model was judged on rolling folds, too."""
LATEST_FILE = "latest.txt"
FORECASTS = "forecasts"
"""Directory of the forecasts of a horizon and surface, beside the families of models."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def horizon_directory(home: Path, horizon: str) -> Path:
    """Directory of what is stored of a horizon, by surface.

    Args:
        home: directory that holds `Models`.
        horizon: its code.
    """
    return home / "Models" / "local" / f"horizon_{horizon}"


@dataclass(frozen=True)
class ArtifactPlace:
    """Where the versions of one model of one horizon are stored.

    Attributes:
        home: directory that holds `Models`.
        horizon: code of the horizon.
        family: family of the model.
        model: name of the model.
        surface: feature surface, `prod` or `full`.
    """

    home: Path
    horizon: str
    family: str
    model: str
    surface: str = "prod"

    def __post_init__(self) -> None:
        for name in (self.horizon, self.surface, self.family, self.model):
            _check_name(name)

    @classmethod
    def of(cls, spec: ModelSpec, home: Path, horizon: str) -> Self:
        """Where a model of the shelf is stored."""
        return cls(home, horizon, spec.family, spec.name)

    @property
    def directory(self) -> Path:
        """Directory that holds the versions."""
        return horizon_directory(self.home, self.horizon) / self.surface / self.family / self.model

    def version(self, version: str) -> Path:
        """Directory of one version.

        Raises:
            InputError: the version is not a plain file name.
        """
        _check_name(version)
        return self.directory / version


@dataclass(frozen=True, eq=False)
class Artifact:
    """A stored model, read back.

    Attributes:
        path: directory it was read from.
        spec: which model.
        version: its version.
        columns_used: columns it reads.
        run_id: run that trained it.
        simulated: whether it learned from simulated prices.
        training_data: see `TrainedModel.training_data`.
        feature_importance: rows of IMPORTANCE_SCHEMA.
        drivers: rows of CONTRIBUTION_SCHEMA, of the newest forecast.
        metrics: contents of metrics.json.
        training_config: contents of training_config.json.
        oof: out-of-fold rows, see `TrainedModel.oof`.
        oof_rolling: the same of the rolling folds; None where they were not asked for.
        folds: one row a fold, see `TrainedModel.folds`.
        newest: the newest forecast, see `TrainedModel.newest`.
    """

    path: Path
    spec: ModelSpec
    version: str
    columns_used: tuple[str, ...]
    run_id: str
    simulated: bool
    training_data: str
    feature_importance: pl.DataFrame
    drivers: pl.DataFrame
    metrics: dict[str, Any]
    training_config: dict[str, Any]
    oof: pl.DataFrame
    oof_rolling: pl.DataFrame | None
    folds: pl.DataFrame
    newest: pl.DataFrame

    def forecaster(self) -> Forecaster:
        """The stored model; it predicts the same as when it was stored.

        Raises:
            WarehouseError: its files are damaged.
            MissingDependency: it needs an optional package.
        """
        try:
            return self.spec.of().load(self.path)
        except InputError as error:
            raise damaged(self.path, str(error)) from error


def write_artifact(place: ArtifactPlace, trained: TrainedModel, *, run_id: str, simulated: bool) -> Path:
    """Store a trained model under its version and make it the latest; an existing version is replaced as a whole.

    Args:
        place: where the versions of this model are stored.
        trained: the model and what its training found out.
        run_id: run that trained it.
        simulated: whether it learned from simulated prices.

    Returns:
        The directory of the version.

    Raises:
        InputError: the model or its horizon is another one, or a name is not a plain file name.
        StorageFull: no space is left; what was stored before is untouched.
        WarehouseError: the directory cannot be written; what was stored before is untouched.
    """
    if (trained.horizon.code, trained.spec.name) != (place.horizon, place.model):
        raise InputError(
            f"{trained.spec.name} of horizon {trained.horizon.code} does not belong here",
            where=str(place.directory),
            action=f"store it below horizon_{trained.horizon.code} as {trained.spec.name}",
        )
    files = {
        "columns_used.txt": as_lines(trained.forecaster.columns_used),
        "run_id.txt": as_lines([run_id]),
        "feature_importance.csv": trained.feature_importance.write_csv().encode(),
        "drivers.csv": trained.drivers.write_csv().encode(),
        "metrics.json": as_json({"simulated": simulated, **_metrics(trained)}),
        "oof.parquet": as_parquet(trained.oof),
        **({ROLLING_FILE: as_parquet(trained.oof_rolling)} if trained.oof_rolling is not None else {}),
        "predictions.parquet": as_parquet(trained.newest),
    }
    about = {"simulated": simulated, "model_version": trained.model_version, **trained.training_config}
    return write_version(place, trained.model_version, trained.forecaster.save, about, files)


def write_version(
    place: ArtifactPlace,
    version: str,
    save: Callable[[Path], object],
    about: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> Path:
    """Store the files of a version, whole or not at all, and make it the latest.

    Args:
        place: where the versions of the model are stored.
        version: its name; an existing one is replaced as a whole.
        save: writes the model in its own format into a directory.
        about: what training_config.json says, beside the names of the files that `save` wrote.
        files: contents of all other files by name.

    Returns:
        The directory of the version.

    Raises:
        InputError: the version is not a plain file name, or the model is not fitted.
        StorageFull: no space is left; what was stored before is untouched.
        WarehouseError: the directory cannot be written; what was stored before is untouched.
    """
    target = place.version(version)
    with locked(place.directory):
        replace_directory(target, save, lambda saved: {**files, CONFIG_FILE: as_json({"model_files": saved, **about})})
        replace_file(place.directory / LATEST_FILE, as_lines([version]))
    return target


def latest(place: ArtifactPlace) -> Path:
    """Directory of the version written last.

    Raises:
        ConfigurationError: no model is stored here.
        WarehouseError: the directory cannot be read.
    """
    try:
        version = (place.directory / LATEST_FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"no {place.model} model of horizon {place.horizon} is stored",
            where=str(place.directory),
            action=f"materialise the model of horizon {place.horizon} first",
        ) from error
    except OSError as error:
        raise unusable(error, place.directory, "read") from error
    return place.version(version)


def read_artifact(path: Path) -> Artifact:
    """Read one stored version.

    Args:
        path: directory of the version, as `write_artifact` and `latest` return it.

    Raises:
        ConfigurationError: no such version.
        WarehouseError: a file is missing or damaged.
    """
    with opened_version(path, ARTIFACT_FILES) as (directory, metrics, config):
        return Artifact(
            path=directory,
            spec=models()[config["model"]],
            version=metrics["model_version"],
            columns_used=tuple((directory / "columns_used.txt").read_text(encoding="utf-8").split()),
            run_id=(directory / "run_id.txt").read_text(encoding="utf-8").strip(),
            simulated=metrics["simulated"],
            training_data=metrics["training_data"],
            feature_importance=pl.read_csv(directory / "feature_importance.csv", schema=IMPORTANCE_SCHEMA),
            drivers=pl.read_csv(directory / "drivers.csv", schema=CONTRIBUTION_SCHEMA),
            metrics=metrics,
            training_config=config,
            oof=pl.read_parquet(directory / "oof.parquet"),
            oof_rolling=pl.read_parquet(rolling) if (rolling := directory / ROLLING_FILE).is_file() else None,
            folds=_fold_table(metrics["folds"]),
            newest=pl.read_parquet(directory / "predictions.parquet"),
        )


@contextmanager
def opened_version(path: Path, files: Sequence[str]) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
    """A stored version to read from; what cannot be read in the body is a damaged model.

    Args:
        path: directory of the version.
        files: names of those it must have, metrics.json and training_config.json among them.

    Yields:
        The directory that holds it now, and the contents of metrics.json and training_config.json.

    Raises:
        ConfigurationError: no such version.
        WarehouseError: a file is missing or damaged.
    """
    directory = place_of(path)
    if directory is None:
        raise ConfigurationError(
            f"there is no model version {path.name}",
            where=str(path.parent),
            action="materialise the model of this horizon first",
        )
    _require_files(directory, files)
    try:
        metrics = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
        config = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
        _require_files(directory, config["model_files"])
        yield directory, metrics, config
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise damaged(directory, str(error)) from error


def _require_files(directory: Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        raise damaged(directory, f"missing files: {', '.join(missing)}")


def read_shelf(home: Path, horizon: str) -> dict[str, Artifact]:
    """The latest version of every stored model of a horizon, of those trained on the same rows as no-change.

    Args:
        home: directory that holds `Models`.
        horizon: its code.

    Returns:
        Artifacts by model, the simplest first; a model that was last trained on other rows is not among them.

    Raises:
        ConfigurationError: no-change was never trained for this horizon.
        WarehouseError: a file is missing or damaged.
    """
    benchmark = read_artifact(latest(ArtifactPlace.of(models()[NO_CHANGE], home, horizon)))
    found = {NO_CHANGE: benchmark}
    for spec in models().values():
        place = ArtifactPlace.of(spec, home, horizon)
        if spec.name == NO_CHANGE or not (place.directory / LATEST_FILE).is_file():
            continue
        artifact = read_artifact(latest(place))
        if artifact.training_data == benchmark.training_data:
            found[spec.name] = artifact
    return found


def write_forecasts(home: Path, horizon: str, training_data: str, rows: pl.DataFrame, *, surface: str = "prod") -> Path:
    """Store what was forecast with the models of a horizon, beside them; the same training rows replace their file.

    Args:
        home: directory that holds `Models`.
        horizon: its code.
        training_data: hash of the rows the models were trained on.
        rows: forecasts of all of them, rows of FORECAST_SCHEMA.
        surface: feature surface of the models.

    Raises:
        StorageFull: no space is left; what was stored before is untouched.
        WarehouseError: the directory cannot be written.
    """
    _check_name(training_data)
    directory = horizon_directory(home, horizon) / surface / FORECASTS
    target = directory / f"{training_data}.parquet"
    with locked(directory):
        replace_file(target, as_parquet(rows))
    return target


def _metrics(trained: TrainedModel) -> dict[str, Any]:
    return {
        "model_version": trained.model_version,
        "horizon": trained.horizon.code,
        "training_data": trained.training_data,
        "out_of_fold": asdict(trained.scores),
        "folds": trained.folds.to_dicts(),
        "n_rows": trained.n_rows,
        "n_effective": trained.n_effective,
    }


def _fold_table(folds: list[dict[str, Any]]) -> pl.DataFrame:
    written = {name: pl.String() for name, dtype in FOLD_SCHEMA.items() if dtype == pl.Date}
    return pl.DataFrame(folds, schema_overrides=written).select(
        pl.col(name).str.to_date() if dtype == pl.Date else pl.col(name).cast(dtype)
        for name, dtype in FOLD_SCHEMA.items()
    )


def damaged(directory: Path, what: str) -> WarehouseError:
    """The error of a stored model that cannot be read."""
    return WarehouseError(
        f"the stored model is damaged: {what}",
        where=str(directory),
        action="materialise the model of this horizon again",
    )


def _check_name(name: str) -> None:
    if not _SAFE_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} cannot name a directory of the model store",
            where="letters, digits, '_', '-' and '.', not starting with '.' or '-'",
            action="choose a plain name",
        )
