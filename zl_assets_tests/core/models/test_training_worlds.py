"""Training and comparison in worlds in which it is known what can be predicted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from zl_assets.checks.evaluation import evaluate_not_too_good
from zl_assets.core.evaluation.calibration import calibrated
from zl_assets.core.evaluation.judgement import judge
from zl_assets.core.evaluation.leaderboard import EvaluationContext, Provenance, evaluation_rows
from zl_assets.core.horizons import HORIZONS, Horizon
from zl_assets.core.models.shelf import models
from zl_assets.core.models.training import (
    train,
)
from zl_assets_tests.core.models.training_frames import planted_trend, random_walk, training_frame

WEEK = HORIZONS["1w"]
NO_CHANGE, UNTUNED = models()["no_change"], replace(models()["lightgbm"], tuned=False)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(1500, 7), 5)


class TestTwoWorlds:
    @staticmethod
    def comparison(frame: pl.DataFrame, horizon: Horizon) -> pl.DataFrame:
        """The rows that are stored of no-change and LightGBM."""
        raw = {spec.name: train(spec, frame, horizon).oof for spec in (NO_CHANGE, UNTUNED)}
        after = {name: calibrated(rows, horizon.sessions) for name, rows in raw.items()}
        origins = {name: Provenance("1", "run", 100.0) for name in raw}
        context = EvaluationContext(date(2020, 1, 1), is_simulated=True, created_at=datetime(2020, 1, 2, tzinfo=UTC))
        return evaluation_rows(judge(raw, after, horizon), after, origins, context)

    @staticmethod
    def of_lightgbm(rows: pl.DataFrame, column: str) -> Any:
        """What is stored of LightGBM."""
        return rows.filter(model="lightgbm")[column].item()

    def test_where_nothing_can_be_predicted_no_change_is_published(self) -> None:
        found = [self.comparison(training_frame(random_walk(1300, 100 + s), 5), WEEK) for s in range(8)]
        assert sum(self.of_lightgbm(rows, "is_champion") for rows in found) <= 1
        assert all(evaluate_not_too_good(rows).passed for rows in found)

    @pytest.mark.parametrize("code", ["1w", "1m"])
    def test_a_planted_signal_is_found(self, code: str) -> None:
        horizon = HORIZONS[code]
        frames = [training_frame(planted_trend(1800, 200 + s), horizon.sessions) for s in range(3)]
        found = [self.comparison(f, horizon) for f in frames]
        assert sum(self.of_lightgbm(rows, "is_champion") for rows in found) >= 2
        assert np.mean([self.of_lightgbm(rows, "crps_vs_no_change") for rows in found]) < 0.97

    def test_a_feature_that_knows_the_outcome_is_flagged(self, frame: pl.DataFrame) -> None:
        leak = frame.with_columns(rsi_14=pl.col("target").fill_null(0.0) * 100)
        assert not evaluate_not_too_good(self.comparison(leak, WEEK)).passed
