"""The model store: one directory per trained model, whole or not there at all.

Models/local/horizon_{h}/{surface}/{family}/{model}/
├── {version}/       the nine files of ARTIFACT_FILES
├── latest.txt       the version written last
├── .lock            held while writing
└── .{version}.new-* and .{version}.old-*   a write in progress, or what a killed one left behind

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
from typing import Any

import polars as pl

from zl_assets.core.models.base import FOLD_SCHEMA, TrainedModel
from zl_assets.core.models.lightgbm_model import MODEL_FILE, LightGBMForecaster
from zl_assets.core.models.trees import INTERVAL_FILE
from zl_assets.errors import ConfigurationError, InputError, StorageFull, WarehouseError

ARTIFACT_FILES: tuple[str, ...] = (
    MODEL_FILE,
    INTERVAL_FILE,
    "columns_used.txt",
    "run_id.txt",
    "feature_importance.csv",
    "metrics.json",
    "training_config.json",
    "oof.parquet",
    "predictions.parquet",
)
LATEST_FILE = "latest.txt"

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class ArtifactPlace:
    """Where the versions of one model of one horizon are stored.

    Attributes:
        home: directory that holds `Models`.
        horizon: code of the horizon.
        surface: feature surface, `prod` or `full`.
        family: family of the model.
        model: name of the model.
    """

    home: Path
    horizon: str
    surface: str = "prod"
    family: str = "trees"
    model: str = "lightgbm"

    def __post_init__(self) -> None:
        for name in (self.horizon, self.surface, self.family, self.model):
            _check_name(name)

    @property
    def directory(self) -> Path:
        """Directory that holds the versions."""
        return self.home / "Models" / "local" / f"horizon_{self.horizon}" / self.surface / self.family / self.model

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
        version: its version.
        forecaster: predicts the same bits as the one that was stored.
        columns_used: feature columns it reads.
        run_id: run that trained it.
        simulated: whether it learned from simulated prices.
        feature_importance: feature, gain, gain_share, splits.
        metrics: contents of metrics.json.
        training_config: contents of training_config.json.
        oof: out-of-fold rows, see `TrainedModel.oof`.
        folds: one row a fold, see `TrainedModel.folds`.
        predictions: forecasts made with it, rows of `FORECAST_SCHEMA`.
    """

    path: Path
    version: str
    forecaster: LightGBMForecaster
    columns_used: tuple[str, ...]
    run_id: str
    simulated: bool
    feature_importance: pl.DataFrame
    metrics: dict[str, Any]
    training_config: dict[str, Any]
    oof: pl.DataFrame
    folds: pl.DataFrame
    predictions: pl.DataFrame


def write_artifact(
    place: ArtifactPlace, trained: TrainedModel, forecasts: pl.DataFrame, *, run_id: str, simulated: bool
) -> Path:
    """Store a trained model under its version and make it the latest; an existing version is replaced as a whole.

    Args:
        place: where the versions of this model are stored.
        trained: the model and what its training found out.
        forecasts: forecasts made with it, rows of `FORECAST_SCHEMA`.
        run_id: run that trained it.
        simulated: whether it learned from simulated prices.

    Returns:
        The directory of the version.

    Raises:
        InputError: the model is of another horizon, or a name is not a plain file name.
        StorageFull: no space is left; what was stored before is untouched.
        WarehouseError: the directory cannot be written; what was stored before is untouched.
    """
    if trained.horizon.code != place.horizon:
        raise InputError(
            f"a model of horizon {trained.horizon.code} does not belong here",
            where=str(place.directory),
            action=f"store it under horizon_{trained.horizon.code}",
        )
    target = place.version(trained.model_version)
    with _storage_errors(place.directory):
        place.directory.mkdir(parents=True, exist_ok=True)
        with _exclusive(place.directory):
            _recover(place.directory)
            fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=place.directory))
            try:
                _write_files(fresh, trained, forecasts, run_id=run_id, simulated=simulated)
                _swap_in(fresh, target)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
            _write_latest(place.directory, target.name)
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
        artifact = Artifact(
            path=directory,
            version=metrics["model_version"],
            forecaster=LightGBMForecaster.load(directory),
            columns_used=tuple((directory / "columns_used.txt").read_text(encoding="utf-8").split()),
            run_id=(directory / "run_id.txt").read_text(encoding="utf-8").strip(),
            simulated=metrics["simulated"],
            feature_importance=pl.read_csv(
                directory / "feature_importance.csv", schema_overrides={"gain": pl.Float64, "gain_share": pl.Float64}
            ),
            metrics=metrics,
            training_config=json.loads((directory / "training_config.json").read_text(encoding="utf-8")),
            oof=pl.read_parquet(directory / "oof.parquet"),
            folds=_fold_table(metrics["folds"]),
            predictions=pl.read_parquet(directory / "predictions.parquet"),
        )
    except (OSError, ValueError, KeyError, InputError, pl.exceptions.PolarsError) as error:
        raise _damaged(directory, str(error)) from error
    if artifact.columns_used != artifact.forecaster.columns_used:
        raise _damaged(directory, f"columns_used.txt and {MODEL_FILE} name different columns")
    return artifact


def _write_files(
    directory: Path, trained: TrainedModel, forecasts: pl.DataFrame, *, run_id: str, simulated: bool
) -> None:
    trained.forecaster.save(directory)
    _sync(directory / MODEL_FILE)
    _sync(directory / INTERVAL_FILE)
    _write_file(directory / "columns_used.txt", _lines(trained.columns_used))
    _write_file(directory / "run_id.txt", _lines([run_id]))
    _write_file(directory / "feature_importance.csv", trained.feature_importance.write_csv().encode())
    _write_file(directory / "metrics.json", _json({"simulated": simulated, **_metrics(trained)}))
    config = {"simulated": simulated, "model_version": trained.model_version, **trained.training_config}
    _write_file(directory / "training_config.json", _json(config))
    _write_file(directory / "oof.parquet", _parquet(trained.oof))
    _write_file(directory / "predictions.parquet", _parquet(forecasts))
    _sync(directory)


def _metrics(trained: TrainedModel) -> dict[str, Any]:
    return {
        "model_version": trained.model_version,
        "horizon": trained.horizon.code,
        "out_of_fold": asdict(trained.oof_metrics),
        "test": asdict(trained.test_metrics) if trained.test_metrics else None,
        "folds": trained.folds.to_dicts(),
        "champion": asdict(trained.champion),
        "suspiciously_good": trained.suspiciously_good,
        "n_rows": trained.n_rows,
        "n_effective": trained.n_effective,
        "dropped_columns": list(trained.dropped_columns),
    }


def _fold_table(folds: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(folds).select(
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


def _write_latest(directory: Path, version: str) -> None:
    fresh = directory / f".{LATEST_FILE}.new"
    try:
        _write_file(fresh, _lines([version]))
        fresh.replace(directory / LATEST_FILE)
    finally:
        fresh.unlink(missing_ok=True)
    _sync(directory)


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
