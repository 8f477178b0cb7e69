import errno
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from zl_assets import artifacts
from zl_assets.artifacts import ARTIFACT_FILES, ArtifactPlace, latest, read_artifact, write_artifact
from zl_assets.core.forecasts import FORECAST_SCHEMA
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import TrainedModel
from zl_assets.core.models.lightgbm_model import TrainingConfig, train_and_evaluate
from zl_assets.errors import ConfigurationError, InputError, StorageFull, WarehouseError
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

CREATED = pl.lit(datetime(2025, 8, 29, tzinfo=UTC)).cast(FORECAST_SCHEMA["created_at"])
FORECASTS = pl.DataFrame({name: [None] for name in FORECAST_SCHEMA}, schema=FORECAST_SCHEMA).with_columns(
    model=pl.lit("lightgbm"),
    as_of_date=date(2025, 8, 29),
    created_at=CREATED,
)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(600, 5), 5)


@pytest.fixture(scope="module")
def trained(frame: pl.DataFrame) -> TrainedModel:
    return train_and_evaluate(frame, HORIZONS["1w"])


@pytest.fixture(scope="module")
def other(frame: pl.DataFrame) -> TrainedModel:
    return train_and_evaluate(frame, HORIZONS["1w"], config=TrainingConfig(mode="rolling"))


@pytest.fixture
def place(tmp_path: Path) -> ArtifactPlace:
    return ArtifactPlace(tmp_path, "1w")


def _visible(place: ArtifactPlace) -> set[str]:
    return {p.name for p in place.directory.iterdir()} - {".lock"}


def _contents(directory: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in directory.iterdir()}


def test_a_model_is_read_back_as_it_was_stored(
    place: ArtifactPlace, trained: TrainedModel, frame: pl.DataFrame
) -> None:
    path = write_artifact(place, trained, FORECASTS, run_id="run-1", simulated=False)
    assert path == place.home / "Models/local/horizon_1w/prod/trees/lightgbm" / trained.model_version
    assert {p.name for p in path.iterdir()} == set(ARTIFACT_FILES)
    stored = read_artifact(path)
    assert stored.forecaster.predict(frame).tobytes() == trained.forecaster.predict(frame).tobytes()
    assert stored.version == trained.model_version
    assert stored.columns_used == trained.columns_used
    assert stored.run_id == "run-1"
    assert stored.oof.equals(trained.oof)
    assert stored.folds.equals(trained.folds)
    assert stored.predictions.equals(FORECASTS)
    assert stored.predictions.schema == FORECASTS.schema
    assert stored.feature_importance.equals(trained.feature_importance)
    assert stored.metrics["out_of_fold"]["mae"] == trained.oof_metrics.mae
    assert stored.metrics["champion"]["reason"] == trained.champion.reason
    assert stored.training_config["model"] == trained.training_config["model"]


@pytest.mark.parametrize("simulated", [True, False])
def test_simulated_models_say_so(simulated: bool, place: ArtifactPlace, trained: TrainedModel) -> None:
    path = write_artifact(place, trained, FORECASTS, run_id="r", simulated=simulated)
    for name in ("metrics.json", "training_config.json"):
        assert json.loads((path / name).read_text())["simulated"] is simulated
    assert read_artifact(path).simulated is simulated


def test_the_latest_is_the_one_written_last(place: ArtifactPlace, trained: TrainedModel, other: TrainedModel) -> None:
    with pytest.raises(ConfigurationError, match="no lightgbm model of horizon 1w is stored"):
        latest(place)
    write_artifact(place, other, FORECASTS, run_id="r", simulated=False)
    write_artifact(place, trained, FORECASTS, run_id="r", simulated=False)
    assert latest(place).name == trained.model_version
    assert _visible(place) == {trained.model_version, other.model_version, "latest.txt"}
    write_artifact(place, other, FORECASTS, run_id="r", simulated=False)
    assert latest(place).name == other.model_version


def test_writing_twice_leaves_one_version_with_the_newer_run(place: ArtifactPlace, trained: TrainedModel) -> None:
    write_artifact(place, trained, FORECASTS, run_id="first", simulated=False)
    path = write_artifact(place, trained, FORECASTS, run_id="second", simulated=False)
    assert read_artifact(path).run_id == "second"
    assert _visible(place) == {trained.model_version, "latest.txt"}


def test_other_horizons_and_surfaces_are_untouched(place: ArtifactPlace, trained: TrainedModel, tmp_path: Path) -> None:
    full = ArtifactPlace(tmp_path, "1w", surface="full")
    before = _contents(write_artifact(full, trained, FORECASTS, run_id="full", simulated=False))
    write_artifact(place, trained, FORECASTS, run_id="prod", simulated=False)
    assert _contents(full.version(trained.model_version)) == before


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_at_any_file_leaves_the_old_version_alone(
    number: int, fault: int, place: ArtifactPlace, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_artifact(place, trained, FORECASTS, run_id="old", simulated=False)
    before = _contents(path)
    written: list[Path] = []
    write_file = artifacts._write_file

    def failing(target: Path, content: bytes) -> None:
        if len(written) == number:
            target.write_bytes(content[: len(content) // 2])
            raise OSError(fault, os.strerror(fault))
        written.append(target)
        write_file(target, content)

    monkeypatch.setattr(artifacts, "_write_file", failing)
    with pytest.raises(StorageFull if fault == errno.ENOSPC else WarehouseError) as raised:
        write_artifact(place, trained, FORECASTS, run_id="new", simulated=False)
    assert isinstance(raised.value, StorageFull) == (fault == errno.ENOSPC)
    assert _contents(path) == before
    assert _visible(place) == {trained.model_version, "latest.txt"}
    assert read_artifact(latest(place)).run_id == "old"


def test_a_full_disk_at_the_model_file_is_a_full_disk(
    place: ArtifactPlace, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(directory: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trained.forecaster, "save", full)
    with pytest.raises(StorageFull, match="free some space"):
        write_artifact(place, trained, FORECASTS, run_id="r", simulated=False)
    assert _visible(place) == set()


def test_a_failed_rename_puts_the_old_version_back(
    place: ArtifactPlace, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_artifact(place, trained, FORECASTS, run_id="old", simulated=False)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if ".new-" in self.name:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(WarehouseError, match="cannot be written"):
        write_artifact(place, trained, FORECASTS, run_id="new", simulated=False)
    assert read_artifact(path).run_id == "old"
    assert _visible(place) == {trained.model_version, "latest.txt"}


_KILLED_WRITE = """
import os, sys
from pathlib import Path
from zl_assets import artifacts
from zl_assets.artifacts import ArtifactPlace, write_artifact
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.lightgbm_model import train_and_evaluate
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

trained = train_and_evaluate(training_frame(random_walk(600, 5), 5), HORIZONS["1w"])
FORECASTS = trained.oof.head(2)
if sys.argv[2] == "while writing":
    artifacts._parquet = lambda frame: os._exit(9)
else:
    rename = Path.rename
    Path.rename = lambda self, target: os._exit(9) if ".new-" in self.name else rename(self, target)
write_artifact(ArtifactPlace(Path(sys.argv[1]), "1w"), trained, FORECASTS, run_id="killed", simulated=False)
"""


@pytest.mark.parametrize("moment", ["while writing", "between the renames"])
def test_a_killed_write_loses_nothing_and_is_cleaned_up_by_the_next(
    moment: str, place: ArtifactPlace, trained: TrainedModel, other: TrainedModel
) -> None:
    path = write_artifact(place, trained, FORECASTS, run_id="old", simulated=False)
    before = _contents(path)
    killed = subprocess.run([sys.executable, "-c", _KILLED_WRITE, str(place.home), moment], check=False)
    assert killed.returncode == 9
    assert any(name.startswith(".") for name in _visible(place))
    stored = read_artifact(latest(place))
    assert (stored.run_id, stored.version) == ("old", trained.model_version)
    assert _contents(stored.path) == before

    write_artifact(place, other, FORECASTS, run_id="next", simulated=False)
    assert _visible(place) == {trained.model_version, other.model_version, "latest.txt"}
    assert _contents(path) == before


def test_a_killed_removal_of_the_old_version_is_finished_by_the_next_write(
    place: ArtifactPlace, trained: TrainedModel
) -> None:
    path = write_artifact(place, trained, FORECASTS, run_id="new", simulated=False)
    aside = path.with_name(f".{path.name}.old-x")
    shutil.copytree(path, aside)
    (aside / "oof.parquet").unlink()
    assert read_artifact(path).path == path
    write_artifact(place, trained, FORECASTS, run_id="newer", simulated=False)
    assert _visible(place) == {trained.model_version, "latest.txt"}


@pytest.mark.parametrize("name", ARTIFACT_FILES)
def test_a_missing_file_is_named(name: str, place: ArtifactPlace, trained: TrainedModel) -> None:
    path = write_artifact(place, trained, FORECASTS, run_id="r", simulated=False)
    (path / name).unlink()
    with pytest.raises(WarehouseError, match=f"missing files: {name}"):
        read_artifact(path)


@pytest.mark.parametrize(
    "name", ["model.txt", "metrics.json", "training_config.json", "oof.parquet", "columns_used.txt"]
)
def test_a_damaged_file_is_an_error_with_a_next_step(name: str, place: ArtifactPlace, trained: TrainedModel) -> None:
    path = write_artifact(place, trained, FORECASTS, run_id="r", simulated=False)
    (path / name).write_bytes((path / name).read_bytes()[:20])
    with pytest.raises(WarehouseError, match="materialise the model of this horizon again"):
        read_artifact(path)


def test_an_unknown_version_is_an_error(place: ArtifactPlace) -> None:
    with pytest.raises(ConfigurationError, match="no model version abc"):
        read_artifact(place.version("abc"))


def test_a_model_of_another_horizon_is_refused(trained: TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="horizon 1w does not belong here"):
        write_artifact(ArtifactPlace(tmp_path, "1m"), trained, FORECASTS, run_id="r", simulated=False)


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "-x", "a b"])
def test_a_name_that_could_leave_the_store_is_refused(name: str, tmp_path: Path, place: ArtifactPlace) -> None:
    with pytest.raises(InputError, match="cannot name a directory"):
        ArtifactPlace(tmp_path, "1w", model=name)
    with pytest.raises(InputError, match="cannot name a directory"):
        place.version(name)


def test_a_home_that_cannot_be_written_is_an_error(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "Models").write_text("a file where a directory belongs")
    with pytest.raises(WarehouseError, match="cannot be written"):
        write_artifact(ArtifactPlace(tmp_path, "1w"), trained, FORECASTS, run_id="r", simulated=False)
