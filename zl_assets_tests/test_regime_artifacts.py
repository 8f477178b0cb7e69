"""The stored classifier of market states: read back as it was, and used for the rows it has learnt from alone."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from zl_assets import whole_files
from zl_assets.artifacts import latest, read_shelf
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.regime_training import TrainedClassifier, train_classifier
from zl_assets.core.models.shelf import models
from zl_assets.core.models.training import train
from zl_assets.errors import ConfigurationError, WarehouseError
from zl_assets.regime_artifacts import (
    CLASSIFIER_FILES,
    classifier_place,
    read_classifier,
    stored_probabilities,
    write_classifier,
)
from zl_assets_tests.core.models.training_frames import random_walk, training_frame
from zl_assets_tests.test_artifacts import store_at

H = HORIZONS["1w"]


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(600, 5), 5)


@pytest.fixture(scope="module")
def trained(frame: pl.DataFrame) -> TrainedClassifier:
    return train_classifier(frame, H)


def store(home: Path, trained: TrainedClassifier, run_id: str = "r") -> Path:
    return write_classifier(home, trained, run_id=run_id, simulated=True)


def newest(frame: pl.DataFrame) -> int:
    return frame["session_number"][-1]


def test_it_is_read_back_as_it_was_stored(tmp_path: Path, trained: TrainedClassifier, frame: pl.DataFrame) -> None:
    path = store(tmp_path, trained, "run-1")
    assert path == tmp_path / f"Models/local/horizon_1w/prod/regime/regime_classifier/{trained.model_version}"
    assert {p.name for p in path.iterdir()} == {*CLASSIFIER_FILES, "regime_classifier.json"}
    stored = read_classifier(latest(classifier_place(tmp_path, "1w")))
    assert (stored.path, stored.version, stored.run_id) == (path, trained.model_version, "run-1")
    assert (stored.simulated, stored.training_data) == (True, trained.training_data)
    assert stored.columns_used == trained.classifier.columns_used
    assert stored.oof.equals(trained.oof)
    assert stored.newest.equals(trained.newest)
    again, said = (c.predict_probabilities(frame) for c in (stored.classifier(), trained.classifier))
    assert again.tobytes() == said.tobytes()
    assert trained.scores is not None
    told = stored.metrics["out_of_fold"]
    assert told["log_loss"] == trained.scores.log_loss
    assert told["log_loss_skill"] == trained.scores.log_loss_skill
    assert told["states"]["bull"]["came"] == trained.scores.states["bull"].came
    config = json.loads((path / "training_config.json").read_text())
    assert config.items() >= json.loads(json.dumps(trained.training_config)).items()
    assert (config["simulated"], config["model_files"]) == (True, ["regime_classifier.json"])


def test_one_that_could_not_be_judged_says_so(tmp_path: Path, frame: pl.DataFrame) -> None:
    unknown = train_classifier(frame.with_columns(is_suspect=pl.col("session_number") % 8 == 0), H)
    stored = read_classifier(store(tmp_path, unknown))
    assert stored.metrics["out_of_fold"] is None
    assert stored.classifier().frequencies.tolist() == [0.25] * 4


@pytest.mark.parametrize("number", range(len(CLASSIFIER_FILES)))
def test_a_write_that_fails_at_any_file_leaves_the_old_version_alone(
    number: int, tmp_path: Path, trained: TrainedClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store(tmp_path, trained, "old")
    write_file, written = whole_files._write_file, []

    def failing(target: Path, content: bytes) -> None:
        if len(written) == number:
            raise OSError("the disk is gone")
        written.append(target)
        write_file(target, content)

    monkeypatch.setattr(whole_files, "_write_file", failing)
    with pytest.raises(WarehouseError):
        store(tmp_path, trained, "new")
    assert read_classifier(path).run_id == "old"
    assert {p.name for p in path.parent.iterdir()} == {path.name, "latest.txt", ".lock"}


@pytest.mark.parametrize("name", [*CLASSIFIER_FILES, "regime_classifier.json"])
def test_a_missing_file_is_named(name: str, tmp_path: Path, trained: TrainedClassifier) -> None:
    path = store(tmp_path, trained)
    (path / name).unlink()
    with pytest.raises(WarehouseError, match=f"missing files: {name}"):
        read_classifier(path)


@pytest.mark.parametrize("name", ["metrics.json", "training_config.json", "oof.parquet", "predictions.parquet"])
def test_a_damaged_file_is_told(name: str, tmp_path: Path, trained: TrainedClassifier) -> None:
    path = store(tmp_path, trained)
    (path / name).write_bytes((path / name).read_bytes()[:20])
    with pytest.raises(WarehouseError, match="the stored model is damaged"):
        read_classifier(path)


@pytest.mark.parametrize("table", ["oof", "predictions"])
def test_a_table_without_a_state_is_damaged(table: str, tmp_path: Path, trained: TrainedClassifier) -> None:
    path = store(tmp_path, trained)
    file = path / f"{table}.parquet"
    pl.read_parquet(file).drop("bull").write_parquet(file)
    with pytest.raises(WarehouseError, match="the stored model is damaged"):
        read_classifier(path)


def test_a_damaged_classifier_is_told(tmp_path: Path, trained: TrainedClassifier) -> None:
    path = store(tmp_path, trained)
    (path / "regime_classifier.json").write_text("{}")
    stored = read_classifier(path)
    with pytest.raises(WarehouseError, match="materialise the model of this horizon again"):
        stored.classifier()


def test_it_is_no_model_of_the_shelf(tmp_path: Path, trained: TrainedClassifier, frame: pl.DataFrame) -> None:
    store_at(tmp_path, train(models()["no_change"], frame, H))
    store(tmp_path, trained)
    assert list(read_shelf(tmp_path, "1w")) == ["no_change"]


class TestStoredProbabilities:
    def test_they_are_those_of_every_session(
        self, tmp_path: Path, trained: TrainedClassifier, frame: pl.DataFrame
    ) -> None:
        store(tmp_path, trained)
        assert stored_probabilities(tmp_path, "1w", trained.training_data, newest(frame)).equals(trained.probabilities)

    def test_without_a_classifier_there_are_none(self, tmp_path: Path, frame: pl.DataFrame) -> None:
        with pytest.raises(ConfigurationError, match="no regime_classifier model of horizon 1w is stored"):
            stored_probabilities(tmp_path, "1w", "aaa", newest(frame))

    def test_those_of_other_rows_are_refused_with_what_to_do(
        self, tmp_path: Path, trained: TrainedClassifier, frame: pl.DataFrame
    ) -> None:
        store(tmp_path, trained)
        with pytest.raises(ConfigurationError, match="not of the rows that its models were trained on") as raised:
            stored_probabilities(tmp_path, "1w", "aaa", newest(frame))
        for told in (trained.training_data, "aaa", "materialise models/regime/regime_classifier"):
            assert told in str(raised.value)

    def test_so_are_those_that_end_before_the_newest_session(
        self, tmp_path: Path, trained: TrainedClassifier, frame: pl.DataFrame
    ) -> None:
        store(tmp_path, trained)
        with pytest.raises(ConfigurationError, match=f"up to session {newest(frame)}"):
            stored_probabilities(tmp_path, "1w", trained.training_data, newest(frame) + 1)
