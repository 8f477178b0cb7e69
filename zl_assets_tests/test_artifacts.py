"""The model store: whole versions or none, whatever happens while one is written."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from zl_assets import whole_files
from zl_assets.artifacts import (
    ARTIFACT_FILES,
    FORECASTS,
    ArtifactPlace,
    latest,
    read_artifact,
    read_shelf,
    write_artifact,
    write_forecasts,
)
from zl_assets.core.evaluation.scores import score
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.blending import train_ensemble
from zl_assets.core.models.regime_training import train_classifier
from zl_assets.core.models.shelf import models
from zl_assets.core.models.training import TrainedModel, TrainingConfig, train
from zl_assets.errors import ConfigurationError, InputError, StorageFull, WarehouseError
from zl_assets_tests.core.models.training_frames import random_walk, training_frame
from zl_assets_tests.warehouse.rows import rows_of

H = HORIZONS["1w"]
SHELF = models()
ROWS = rows_of("predictions.zl_forecasts", 3)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(600, 5), 5)


@pytest.fixture(scope="module")
def trained(frame: pl.DataFrame) -> TrainedModel:
    return train(SHELF["no_change"], frame, H)


@pytest.fixture(scope="module")
def other(frame: pl.DataFrame) -> TrainedModel:
    """Another version of the same model, learnt from the same rows."""
    return train(SHELF["no_change"], frame, H, config=TrainingConfig(mode="rolling"))


@pytest.fixture(scope="module")
def trees(frame: pl.DataFrame) -> TrainedModel:
    return train(SHELF["lightgbm"], frame, H)


@pytest.fixture(scope="module")
def blend(trained: TrainedModel, trees: TrainedModel, frame: pl.DataFrame) -> TrainedModel:
    members = {m.spec.name: (m.oof, m.newest) for m in (trained, trees)}
    return train_ensemble(members, train_classifier(frame, H).probabilities, frame, H)


@pytest.fixture
def place(tmp_path: Path) -> ArtifactPlace:
    return ArtifactPlace.of(SHELF["no_change"], tmp_path, "1w")


def store(place: ArtifactPlace, trained: TrainedModel, run_id: str = "r") -> Path:
    return write_artifact(place, trained, run_id=run_id, simulated=False)


def store_at(home: Path, trained: TrainedModel) -> Path:
    return store(ArtifactPlace.of(trained.spec, home, "1w"), trained)


def _visible(place: ArtifactPlace) -> set[str]:
    return {p.name for p in place.directory.iterdir()} - {".lock"}


def _contents(directory: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in directory.iterdir()}


@pytest.mark.parametrize("kind", ["trained", "trees", "blend"])
def test_a_model_is_read_back_as_it_was_stored(
    kind: str, tmp_path: Path, frame: pl.DataFrame, request: pytest.FixtureRequest
) -> None:
    trained: TrainedModel = request.getfixturevalue(kind)
    spec = trained.spec
    path = write_artifact(ArtifactPlace.of(spec, tmp_path, "1w"), trained, run_id="run-1", simulated=False)
    assert path == tmp_path / f"Models/local/horizon_1w/prod/{spec.family}/{spec.name}/{trained.model_version}"
    assert {p.name for p in path.iterdir()} > set(ARTIFACT_FILES)
    stored = read_artifact(path)
    assert (stored.path, stored.spec, stored.version) == (path, spec, trained.model_version)
    assert (stored.run_id, stored.training_data) == ("run-1", trained.training_data)
    assert stored.columns_used == trained.forecaster.columns_used
    if kind != "blend":
        again = stored.forecaster().predict_quantiles(frame)
        assert again.tobytes() == trained.forecaster.predict_quantiles(frame).tobytes()
    for name in ("oof", "folds", "newest", "drivers", "feature_importance"):
        assert getattr(stored, name).equals(getattr(trained, name)), name
        assert getattr(stored, name).schema == getattr(trained, name).schema, name
    assert stored.metrics["out_of_fold"]["crps"] == score(trained.oof, 5).crps
    assert stored.metrics["n_effective"] == trained.n_effective
    assert stored.training_config.items() >= json.loads(json.dumps(trained.training_config)).items()


@pytest.mark.parametrize("simulated", [True, False])
def test_simulated_models_say_so(simulated: bool, place: ArtifactPlace, trained: TrainedModel) -> None:
    path = write_artifact(place, trained, run_id="r", simulated=simulated)
    for name in ("metrics.json", "training_config.json"):
        assert json.loads((path / name).read_text())["simulated"] is simulated
    assert read_artifact(path).simulated is simulated


def test_the_latest_is_the_one_written_last(place: ArtifactPlace, trained: TrainedModel, other: TrainedModel) -> None:
    with pytest.raises(ConfigurationError, match="no no_change model of horizon 1w is stored"):
        latest(place)
    write_artifact(place, other, run_id="r", simulated=False)
    write_artifact(place, trained, run_id="r", simulated=False)
    assert latest(place).name == trained.model_version
    assert _visible(place) == {trained.model_version, other.model_version, "latest.txt"}
    write_artifact(place, other, run_id="r", simulated=False)
    assert latest(place).name == other.model_version


def test_writing_twice_leaves_one_version_with_the_newer_run(place: ArtifactPlace, trained: TrainedModel) -> None:
    write_artifact(place, trained, run_id="first", simulated=False)
    path = write_artifact(place, trained, run_id="second", simulated=False)
    assert read_artifact(path).run_id == "second"
    assert _visible(place) == {trained.model_version, "latest.txt"}


def test_other_horizons_and_surfaces_are_untouched(place: ArtifactPlace, trained: TrainedModel, tmp_path: Path) -> None:
    full = ArtifactPlace(tmp_path, "1w", "benchmarks", "no_change", surface="full")
    before = _contents(write_artifact(full, trained, run_id="full", simulated=False))
    write_artifact(place, trained, run_id="prod", simulated=False)
    assert _contents(full.version(trained.model_version)) == before


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_at_any_file_leaves_the_old_version_alone(
    number: int, fault: int, place: ArtifactPlace, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_artifact(place, trained, run_id="old", simulated=False)
    before = _contents(path)
    written: list[Path] = []
    write_file = whole_files._write_file

    def failing(target: Path, content: bytes) -> None:
        if len(written) == number:
            target.write_bytes(content[: len(content) // 2])
            raise OSError(fault, os.strerror(fault))
        written.append(target)
        write_file(target, content)

    monkeypatch.setattr(whole_files, "_write_file", failing)
    with pytest.raises(StorageFull if fault == errno.ENOSPC else WarehouseError) as raised:
        write_artifact(place, trained, run_id="new", simulated=False)
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
        write_artifact(place, trained, run_id="r", simulated=False)
    assert _visible(place) == set()


def test_a_failed_rename_puts_the_old_version_back(
    place: ArtifactPlace, trained: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_artifact(place, trained, run_id="old", simulated=False)
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if ".new-" in self.name:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(WarehouseError, match="cannot be written"):
        write_artifact(place, trained, run_id="new", simulated=False)
    assert read_artifact(path).run_id == "old"
    assert _visible(place) == {trained.model_version, "latest.txt"}


_KILLED_WRITE = """
import os, sys
from pathlib import Path
from zl_assets import whole_files
from zl_assets.artifacts import ArtifactPlace, write_artifact
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import models
from zl_assets.core.models.training import train
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

spec = models()["no_change"]
trained = train(spec, training_frame(random_walk(600, 5), 5), HORIZONS["1w"])
if sys.argv[2] == "while writing":
    whole_files._write_file = lambda path, content: os._exit(9)
else:
    rename = Path.rename
    Path.rename = lambda self, target: os._exit(9) if ".new-" in self.name else rename(self, target)
write_artifact(ArtifactPlace.of(spec, Path(sys.argv[1]), "1w"), trained, run_id="killed", simulated=False)
"""


@pytest.mark.parametrize("moment", ["while writing", "between the renames"])
def test_a_killed_write_loses_nothing_and_is_cleaned_up_by_the_next(
    moment: str, place: ArtifactPlace, trained: TrainedModel, other: TrainedModel
) -> None:
    path = write_artifact(place, trained, run_id="old", simulated=False)
    before = _contents(path)
    killed = subprocess.run([sys.executable, "-c", _KILLED_WRITE, str(place.home), moment], check=False)
    assert killed.returncode == 9
    assert any(name.startswith(".") for name in _visible(place))
    stored = read_artifact(latest(place))
    assert (stored.run_id, stored.version) == ("old", trained.model_version)
    assert _contents(stored.path) == before

    write_artifact(place, other, run_id="next", simulated=False)
    assert _visible(place) == {trained.model_version, other.model_version, "latest.txt"}
    assert _contents(path) == before


def test_a_killed_removal_of_the_old_version_is_finished_by_the_next_write(
    place: ArtifactPlace, trained: TrainedModel
) -> None:
    path = write_artifact(place, trained, run_id="new", simulated=False)
    aside = path.with_name(f".{path.name}.old-x")
    shutil.copytree(path, aside)
    (aside / "oof.parquet").unlink()
    assert read_artifact(path).path == path
    write_artifact(place, trained, run_id="newer", simulated=False)
    assert _visible(place) == {trained.model_version, "latest.txt"}


@pytest.mark.parametrize("name", ARTIFACT_FILES)
def test_a_missing_file_is_named(name: str, place: ArtifactPlace, trained: TrainedModel) -> None:
    path = write_artifact(place, trained, run_id="r", simulated=False)
    (path / name).unlink()
    with pytest.raises(WarehouseError, match=f"missing files: {name}"):
        read_artifact(path)


@pytest.mark.parametrize("name", ["metrics.json", "training_config.json", "oof.parquet", "predictions.parquet"])
def test_a_damaged_file_is_an_error_with_a_next_step(name: str, place: ArtifactPlace, trained: TrainedModel) -> None:
    path = store(place, trained)
    (path / name).write_bytes((path / name).read_bytes()[:20])
    with pytest.raises(WarehouseError, match="materialise the model of this horizon again"):
        read_artifact(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("training_config.json", lambda held: held.pop("model_files")),
        ("training_config.json", lambda held: held.update(model="gone")),
        ("metrics.json", lambda held: held.pop("training_data")),
        ("metrics.json", lambda held: held.update(folds=[])),
        ("metrics.json", lambda held: held.update(folds=None)),
        ("metrics.json", None),
    ],
)
def test_a_file_that_says_something_else_is_damaged(
    name: str, change: Callable[[dict[str, Any]], object] | None, place: ArtifactPlace, trained: TrainedModel
) -> None:
    path = store(place, trained)
    held = json.loads((path / name).read_text())
    if change:
        change(held)
    (path / name).write_text(json.dumps(held if change else [held]))
    with pytest.raises(WarehouseError, match="the stored model is damaged"):
        read_artifact(path)


def test_a_missing_or_damaged_model_file_is_told(tmp_path: Path, trees: TrainedModel) -> None:
    path = store_at(tmp_path, trees)
    [name] = [n for n in json.loads((path / "training_config.json").read_text())["model_files"] if n == "model.txt"]
    (path / name).write_bytes((path / name).read_bytes()[:20])
    artifact = read_artifact(path)
    with pytest.raises(WarehouseError, match="materialise the model of this horizon again"):
        artifact.forecaster()
    (path / name).unlink()
    with pytest.raises(WarehouseError, match=r"missing files: model\.txt"):
        read_artifact(path)


def test_an_unknown_version_is_an_error(place: ArtifactPlace) -> None:
    with pytest.raises(ConfigurationError, match="no model version abc"):
        read_artifact(place.version("abc"))


def test_a_model_of_another_horizon_or_name_is_refused(trained: TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no_change of horizon 1w does not belong here"):
        store(ArtifactPlace.of(SHELF["no_change"], tmp_path, "1m"), trained)
    with pytest.raises(InputError, match="as no_change"):
        store(ArtifactPlace.of(SHELF["drift"], tmp_path, "1w"), trained)


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "-x", "a b"])
def test_a_name_that_could_leave_the_store_is_refused(name: str, tmp_path: Path, place: ArtifactPlace) -> None:
    for named in (("1w", "trees", name), ("1w", name, "x"), (name, "trees", "x"), ("1w", "trees", "x", name)):
        with pytest.raises(InputError, match="cannot name a directory"):
            ArtifactPlace(tmp_path, *named)
    with pytest.raises(InputError, match="cannot name a directory"):
        place.version(name)
    with pytest.raises(InputError, match="cannot name a directory"):
        write_forecasts(tmp_path, "1w", name, ROWS)


def test_a_home_that_cannot_be_written_is_an_error(place: ArtifactPlace, trained: TrainedModel) -> None:
    (place.home / "Models").write_text("a file where a directory belongs")
    with pytest.raises(WarehouseError, match="cannot be written"):
        store(place, trained)
    with pytest.raises(WarehouseError, match="cannot be written"):
        write_forecasts(place.home, "1w", "aaa", ROWS)


class TestShelf:
    """What is read together was trained on the same rows."""

    def test_every_stored_model_is_read_the_simplest_first(
        self, tmp_path: Path, trained: TrainedModel, trees: TrainedModel, blend: TrainedModel
    ) -> None:
        for model in (blend, trees, trained):
            store_at(tmp_path, model)
        found = read_shelf(tmp_path, "1w")
        assert list(found) == ["no_change", "lightgbm", "ensemble"]
        assert {n: a.version for n, a in found.items()} == {
            m.spec.name: m.model_version for m in (trained, trees, blend)
        }

    def test_a_model_of_other_rows_is_left_out(
        self, tmp_path: Path, trained: TrainedModel, trees: TrainedModel, frame: pl.DataFrame
    ) -> None:
        store_at(tmp_path, trees)
        corrected = frame.with_columns(
            target=pl.when(pl.col("session_number") == 5300).then(0.5).otherwise("target"),
        )
        store_at(tmp_path, train(SHELF["no_change"], corrected, H))
        assert list(read_shelf(tmp_path, "1w")) == ["no_change"]
        store_at(tmp_path, trained)
        assert list(read_shelf(tmp_path, "1w")) == ["no_change", "lightgbm"]

    def test_without_no_change_there_is_nothing_to_compare(self, tmp_path: Path, trees: TrainedModel) -> None:
        store_at(tmp_path, trees)
        with pytest.raises(ConfigurationError, match="no no_change model of horizon 1w is stored"):
            read_shelf(tmp_path, "1w")

    def test_a_damaged_model_is_told_and_not_left_out(
        self, tmp_path: Path, trained: TrainedModel, trees: TrainedModel
    ) -> None:
        store_at(tmp_path, trained)
        (store_at(tmp_path, trees) / "oof.parquet").write_bytes(b"PAR1")
        with pytest.raises(WarehouseError, match="damaged"):
            read_shelf(tmp_path, "1w")

    def test_forecasts_beside_the_models_are_no_model(self, tmp_path: Path, trained: TrainedModel) -> None:
        store_at(tmp_path, trained)
        write_forecasts(tmp_path, "1w", trained.training_data, ROWS)
        assert list(read_shelf(tmp_path, "1w")) == ["no_change"]


class TestForecasts:
    def test_they_are_stored_beside_the_models_and_replaced(self, tmp_path: Path) -> None:
        path = write_forecasts(tmp_path, "1w", "aaa", ROWS)
        assert path == tmp_path / "Models/local/horizon_1w/prod" / FORECASTS / "aaa.parquet"
        assert pl.read_parquet(path).equals(ROWS)
        other = write_forecasts(tmp_path, "1w", "bbb", ROWS.head(2))
        assert write_forecasts(tmp_path, "1w", "aaa", ROWS.head(1)) == path
        assert (pl.read_parquet(path).height, pl.read_parquet(other).height) == (1, 2)
        assert {p.name for p in path.parent.iterdir()} == {"aaa.parquet", "bbb.parquet", ".lock"}

    @pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
    def test_a_write_that_fails_leaves_the_old_file_alone(
        self, fault: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write_forecasts(tmp_path, "1w", "aaa", ROWS)

        def failing(target: Path, content: bytes) -> None:
            target.write_bytes(content[: len(content) // 2])
            raise OSError(fault, os.strerror(fault))

        monkeypatch.setattr(whole_files, "_write_file", failing)
        with pytest.raises(WarehouseError) as raised:
            write_forecasts(tmp_path, "1w", "aaa", ROWS.head(1))
        assert isinstance(raised.value, StorageFull) == (fault != errno.EIO)
        assert pl.read_parquet(path).equals(ROWS)
        assert {p.name for p in path.parent.iterdir()} == {"aaa.parquet", ".lock"}

    def test_a_killed_write_leaves_the_old_file_and_is_cleaned_up_by_the_next(self, tmp_path: Path) -> None:
        path = write_forecasts(tmp_path, "1w", "aaa", ROWS)
        killed = "import os, sys, polars as pl; from pathlib import Path; from zl_assets.artifacts import *;"
        killed += "Path.replace = lambda self, target: os._exit(9);"
        killed += "write_forecasts(Path(sys.argv[1]), '1w', 'aaa', pl.DataFrame({'x': [1]}))"
        done = subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=False)
        assert done.returncode == 9
        assert pl.read_parquet(path).equals(ROWS)
        write_forecasts(tmp_path, "1w", "aaa", ROWS.head(1))
        assert {p.name for p in path.parent.iterdir()} == {"aaa.parquet", ".lock"}
