"""The version of a trained model: what enters it, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models import shelf
from zl_assets.core.models.base import labelled_rows
from zl_assets.core.models.benchmarks import Drift
from zl_assets.core.models.lightgbm_model import LightGBMForecaster
from zl_assets.core.models.shelf import models
from zl_assets.core.models.training import (
    TrainedModel,
    TrainingConfig,
    train,
    training_data,
    tuned,
    version_of,
)
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

WEEK = HORIZONS["1w"]
NO_CHANGE, DRIFT, LIGHTGBM = (models()[name] for name in ("no_change", "drift", "lightgbm"))


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(1500, 7), 5)


@pytest.fixture(scope="module")
def trained(frame: pl.DataFrame) -> TrainedModel:
    return train(LIGHTGBM, frame, WEEK)


def changed_at(column: str, row: int = 700) -> pl.Expr:
    value = pl.col(column) * 1.000001 if column != "session_number" else pl.col(column)
    return pl.when(pl.int_range(pl.len()) == row).then(value).otherwise(pl.col(column)).alias(column)


class TestVersion:
    @staticmethod
    def version(frame: pl.DataFrame, **given: Any) -> str:
        """Version of the drift, or of what is given."""
        rows = labelled_rows(frame)
        values: dict[str, Any] = {"spec": DRIFT, "forecaster": Drift(), "config": TrainingConfig(), "horizon": WEEK}
        return version_of(**{**values, "rows": rows, **given})

    def test_the_same_input_has_the_same_version(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        again = train(LIGHTGBM, frame.clone(), WEEK)
        assert again.model_version == trained.model_version
        assert len(trained.model_version) == len(trained.training_data) == 12
        assert set(trained.model_version + trained.training_data) <= set("0123456789abcdef")

    def test_rows_nobody_learns_from_and_columns_nobody_reads_do_not_enter(self, frame: pl.DataFrame) -> None:
        newest = pl.when(pl.col("target").is_null()).then(0.0).otherwise("ewma_volatility")
        changed = frame.with_columns(ewma_volatility=newest, ma_63=pl.lit(1.0), rsi_14=pl.lit(1.0))
        assert self.version(changed) == self.version(frame)

    @pytest.mark.parametrize("column", ["target", "ewma_volatility", "sample_weight", "close"])
    def test_one_changed_training_value_changes_it(self, column: str, frame: pl.DataFrame) -> None:
        assert self.version(frame.with_columns(changed_at(column))) != self.version(frame)

    def test_one_session_less_or_moved_changes_it(self, frame: pl.DataFrame) -> None:
        moved = frame.with_columns(pl.col("session_number") + (pl.int_range(pl.len()) > 900).cast(pl.Int64))
        assert len({self.version(f) for f in (frame, moved, frame[1:])}) == 3

    def test_everything_that_may_change_the_figures_enters(self, frame: pl.DataFrame) -> None:
        read = LightGBMForecaster()
        read._columns = ("rsi_14",)
        tuning = tuned(LIGHTGBM, labelled_rows(frame).head(50), WEEK)
        versions = [
            self.version(frame),
            self.version(frame, config=TrainingConfig(embargo_sessions=1)),
            self.version(frame, config=TrainingConfig(mode="rolling")),
            self.version(frame, spec=NO_CHANGE),
            self.version(frame, spec=replace(DRIFT, arguments=(("a", 1),))),
            self.version(frame, spec=replace(DRIFT, package="polars")),
            self.version(frame, horizon=HORIZONS["1m"]),
            self.version(frame, forecaster=read),
            self.version(frame, tuning=tuning),
            self.version(frame, tuning=replace(tuning, chosen=replace(tuning.chosen, num_leaves=3))),
        ]
        assert len(set(versions)) == len(versions)

    def test_what_a_value_is_missing_as_and_the_sign_of_zero_do_not_enter(self, frame: pl.DataFrame) -> None:
        def version(value: float | None) -> str:
            row = pl.int_range(pl.len()) == 700
            other = pl.when(row).then(pl.lit(value, pl.Float64)).otherwise("ewma_volatility")
            return self.version(frame.with_columns(ewma_volatility=other))

        assert version(None) == version(float("nan")) != version(0.0) == version(-0.0)

    def test_training_data_is_what_every_model_of_the_horizon_learns_from(self, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame)
        assert training_data(rows.with_columns(rsi_14=pl.lit(0.0))) == training_data(rows)
        others = [rows.with_columns(changed_at(c)) for c in ("target", "close", "sample_weight")]
        assert len({training_data(r) for r in (rows, rows[1:], *others)}) == 5

    def test_a_package_that_is_not_installed_has_no_version_to_enter(
        self, frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = replace(DRIFT, package="polars")
        before = self.version(frame, spec=spec)
        monkeypatch.setattr(shelf, "version", lambda _: "99.0")
        assert self.version(frame, spec=spec) != before
