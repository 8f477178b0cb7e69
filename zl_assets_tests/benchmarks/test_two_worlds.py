"""The models of the benchmarks, trained as the graph trains them."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from zl_assets.artifacts import ArtifactPlace, read_artifact, write_artifact
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.regime_classifier import STATES
from zl_assets.core.models.regime_training import told_states
from zl_assets.core.models.shelf import chosen_models
from zl_assets_tests.benchmarks.two_worlds import judgement_of, trained_on
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

SHORTEST = 63 + 441 + 252
"""Sessions of the shortest market on which twelve months train."""


@pytest.fixture(scope="module")
def shortest() -> pl.DataFrame:
    return training_frame(random_walk(SHORTEST, 2), 252)


def test_the_shortest_history_that_trains_has_a_blend_and_at_first_no_market_states(
    shortest: pl.DataFrame, tmp_path: Path
) -> None:
    """No fold of the blend knows an outcome of an earlier one, and the first one's classifier has too little."""
    horizon = HORIZONS["12m"]
    chances = told_states(shortest, horizon).select(STATES).to_numpy()
    alike = (chances == 1 / len(STATES)).all(axis=1)
    assert alike[0]
    assert not alike[-1], "later folds have enough to learn from"

    trained = trained_on(shortest, horizon, chosen_models("no_change,drift,ensemble"))
    blend = trained[-1]
    assert blend.spec.name == "ensemble"
    assert blend.folds.height > 0
    assert set(blend.folds["n_train"]) == {0}
    assert blend.folds["train_first"].null_count() == blend.folds.height
    assert np.isfinite(blend.oof["q50"].to_numpy()).all()
    assert judgement_of(trained, horizon).champion == "no_change"

    place = ArtifactPlace.of(blend.spec, tmp_path, "12m")
    again = read_artifact(write_artifact(place, blend, run_id="run", simulated=True))
    assert again.folds.equals(blend.folds)
