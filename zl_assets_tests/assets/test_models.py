"""What a trained model says of itself where people look."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from zl_assets.assets.models import Log, stored
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import models
from zl_assets.core.models.training import train
from zl_assets.settings import Settings
from zl_assets_tests.core.models.training_frames import random_walk, training_frame


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(600, 5), 5)


@pytest.mark.parametrize(
    ("model", "pictures"),
    [
        ("no_change", ["out_of_fold"]),
        ("lightgbm", ["importance", "out_of_fold"]),
        ("xgboost", ["importance", "out_of_fold"]),
    ],
)
def test_trees_show_what_their_features_are_worth_and_every_model_its_forecasts(
    model: str, pictures: list[str], frame: pl.DataFrame, tmp_path: Path
) -> None:
    log = Log("run")
    found = train(replace(models()[model], tuned=False), frame, HORIZONS["1w"])
    told = stored(log, Settings(home=tmp_path), found, simulated=True).metadata or {}
    assert sorted(name for name, value in told.items() if "data:image/png" in str(value)) == pictures
    assert sorted(log.files) == sorted([*(f"{name}.png" for name in pictures), "metrics.json"])
