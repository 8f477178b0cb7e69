"""The classifier as an asset: one computation that the ensemble and the published row read, or refuse."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from zl_assets.artifacts import ArtifactPlace, latest, write_artifact
from zl_assets.assets import models as model_assets
from zl_assets.assets import predictions
from zl_assets.assets import regime_classifier as classifier_assets
from zl_assets.assets.models import ensemble
from zl_assets.assets.predictions import zl_forecasts
from zl_assets.assets.regime_classifier import regime_classifier
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.regime_training import told_states
from zl_assets.core.models.shelf import models
from zl_assets.core.models.training import train
from zl_assets.errors import ConfigurationError
from zl_assets.regime_artifacts import classifier_place, read_classifier
from zl_assets.settings import Settings
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

H = HORIZONS["1w"]
FRAME = training_frame(random_walk(600, 5), 5).with_columns(source=pl.lit("simulated"))
CONTEXT = SimpleNamespace(partition_key="1w", run=SimpleNamespace(run_id="run-7"))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home whose model store holds two members and no classifier."""
    for name in ("no_change", "lightgbm"):
        spec = models()[name]
        place = ArtifactPlace.of(spec, tmp_path, "1w")
        write_artifact(place, train(spec, FRAME, H), run_id="run", simulated=True)
    learn_from(FRAME, monkeypatch)
    return Settings(home=tmp_path, mlflow=False)


def learn_from(frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the training table hold these rows."""
    for module in (model_assets, classifier_assets, predictions):
        monkeypatch.setattr(module, "training_rows", lambda *_: frame)


def materialised(asset: Any, settings: Settings) -> dict[str, Any]:
    return dict(asset.op.compute_fn.decorated_fn(CONTEXT, None, settings).metadata)


def test_what_it_found_is_stored_and_told(settings: Settings) -> None:
    told = materialised(regime_classifier, settings)
    stored = read_classifier(latest(classifier_place(settings.home, "1w")))
    assert stored.oof.equals(told_states(FRAME, H))
    assert (stored.run_id, stored.simulated) == ("run-7", True)
    assert told["model_version"] == stored.version
    assert told["simulated"] is True
    scores = stored.metrics["out_of_fold"]
    assert (told["log_loss"], told["log_loss_of_climatology"]) == (scores["log_loss"], scores["climatology_log_loss"])
    assert told["sessions_judged"] == stored.oof["actual_state"].count()
    assert told["sessions_all_alike"] == scores["n_alike"]
    assert told["reliability"].value.startswith("![figure](data:image/png")
    assert "| normal |" in told["states_that_came"].value
    assert "crisis" in told["newest_session"]


def test_one_that_could_not_be_judged_says_so_and_goes_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    learn_from(FRAME.with_columns(is_suspect=pl.col("session_number") % 8 == 0), monkeypatch)
    told = materialised(regime_classifier, settings)
    assert told["sessions_judged"] == 0
    assert told["newest_session"] == "crisis 25%, bull 25%, bear 25%, normal 25%"
    assert not {"log_loss", "reliability"} & told.keys()


def test_the_ensemble_reads_what_is_stored(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    materialised(regime_classifier, settings)
    before = materialised(ensemble, settings)
    assert before["weights_by_state"].value.startswith("![figure](data:image/png")
    path = latest(classifier_place(settings.home, "1w")) / "oof.parquet"
    turned = pl.read_parquet(path).with_columns(crisis=pl.lit(1.0), bull=pl.lit(0.0), bear=pl.lit(0.0), normal=0.0)
    turned.write_parquet(path)
    assert materialised(ensemble, settings)["crps"] != before["crps"]


@pytest.mark.parametrize("asset", [ensemble, zl_forecasts], ids=["ensemble", "published row"])
class TestRefusal:
    def test_without_a_classifier_what_reads_it_refuses(self, asset: Any, settings: Settings) -> None:
        with pytest.raises(ConfigurationError, match="no regime_classifier model of horizon 1w is stored"):
            materialised(asset, settings)

    def test_one_of_other_rows_is_refused(
        self, asset: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corrected = pl.when(pl.col("session_number") == 5300).then(0.5).otherwise("target")
        learn_from(FRAME.with_columns(target=corrected), monkeypatch)
        materialised(regime_classifier, settings)
        learn_from(FRAME, monkeypatch)
        with pytest.raises(ConfigurationError, match="not of the rows that its models were trained on"):
            materialised(asset, settings)
