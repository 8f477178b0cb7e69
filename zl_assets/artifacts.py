"""The model store: one directory per trained model, whole or not there at all.

Models/local/horizon_{h}/{surface}/{family}/{model}/
├── {version}/       the files of ARTIFACT_FILES, and the model in its own format
├── latest.txt       the version written last
├── .lock            held while writing
└── .{version}.new-* and .{version}.old-*   a write in progress, or what a killed one left behind

Models/local/horizon_{h}/{surface}/forecasts/{training_data}.parquet   what all models together forecast

A version is built beside its place, flushed to the disk and renamed into place. Where the version exists already, it is
renamed aside first; a write killed between the two renames leaves the old one whole and aside, where readers find it,
and the next write puts it back. Nothing is pickled.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Forecaster
from zl_assets.core.models.importance import IMPORTANCE_SCHEMA
from zl_assets.core.models.shelf import NO_CHANGE, ModelSpec, models
from zl_assets.core.models.training import FOLD_SCHEMA, TrainedModel
from zl_assets.errors import ConfigurationError, InputError, StorageFull, WarehouseError

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
            raise _damaged(self.path, str(error)) from error


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
    target = place.version(trained.model_version)
    with _storage_errors(place.directory):
        place.directory.mkdir(parents=True, exist_ok=True)
        with _exclusive(place.directory):
            _recover(place.directory)
            fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=place.directory))
            try:
                _write_files(fresh, trained, run_id=run_id, simulated=simulated)
                _swap_in(fresh, target)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
            _replace_file(place.directory / LATEST_FILE, _lines([target.name]))
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
        raise _cannot(error, place.directory, "read") from error
    return place.version(version)


def read_artifact(path: Path) -> Artifact:
    """Read one stored version.

    Args:
        path: directory of the version, as `write_artifact` and `latest` return it.

    Raises:
        ConfigurationError: no such version.
        WarehouseError: a file is missing or damaged.
    """
    directory = _whole(path)
    missing = [name for name in ARTIFACT_FILES if not (directory / name).is_file()]
    if missing:
        raise _damaged(directory, f"missing files: {', '.join(missing)}")
    try:
        metrics = json.loads((directory / "metrics.json").read_text(encoding="utf-8"))
        config = json.loads((directory / "training_config.json").read_text(encoding="utf-8"))
        artifact = Artifact(
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
        gone = [name for name in config["model_files"] if not (directory / name).is_file()]
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise _damaged(directory, str(error)) from error
    if gone:
        raise _damaged(directory, f"missing files: {', '.join(gone)}")
    return artifact


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
    with _storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with _exclusive(directory):
            _replace_file(target, _parquet(rows))
    return target


def _write_files(directory: Path, trained: TrainedModel, *, run_id: str, simulated: bool) -> None:
    trained.forecaster.save(directory)
    model_files = sorted(path.name for path in directory.iterdir())
    for name in model_files:
        _sync(directory / name)
    _write_file(directory / "columns_used.txt", _lines(trained.forecaster.columns_used))
    _write_file(directory / "run_id.txt", _lines([run_id]))
    _write_file(directory / "feature_importance.csv", trained.feature_importance.write_csv().encode())
    _write_file(directory / "drivers.csv", trained.drivers.write_csv().encode())
    _write_file(directory / "metrics.json", _json({"simulated": simulated, **_metrics(trained)}))
    about = {"simulated": simulated, "model_version": trained.model_version, "model_files": model_files}
    _write_file(directory / "training_config.json", _json({**about, **trained.training_config}))
    _write_file(directory / "oof.parquet", _parquet(trained.oof))
    if trained.oof_rolling is not None:
        _write_file(directory / ROLLING_FILE, _parquet(trained.oof_rolling))
    _write_file(directory / "predictions.parquet", _parquet(trained.newest))
    _sync(directory)


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


def _lines(lines: tuple[str, ...] | list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _json(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, default=lambda day: day.isoformat())
    return f"{text}\n".encode()


def _parquet(frame: pl.DataFrame) -> bytes:
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


def _replace_file(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it there: what is in its place is whole, the old or the new."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        _write_file(fresh, content)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    _sync(path.parent)


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


def _whole(path: Path) -> Path:
    """The directory that holds a version now: its place, or aside after a write was killed between two renames."""
    aside = sorted(path.parent.glob(f".{path.name}.old-*"))
    for candidate in (path, *aside, path):
        if candidate.is_dir():
            return candidate
    raise ConfigurationError(
        f"there is no model version {path.name}",
        where=str(path.parent),
        action="materialise the model of this horizon first",
    )


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
        raise _cannot(error, directory, "written") from error


def _cannot(error: OSError, directory: Path, done: str) -> WarehouseError:
    return WarehouseError(
        f"the model store cannot be {done}: {error.strerror or error}",
        where=str(directory),
        action="check that the directory exists and belongs to this user",
    )


def _damaged(directory: Path, what: str) -> WarehouseError:
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
