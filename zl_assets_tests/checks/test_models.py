"""Checks of trained models: figures and importances that are sound, and such that are not."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from zl_assets.artifacts import Artifact, ArtifactPlace, read_artifact, write_artifact
from zl_assets.checks.common import evaluated
from zl_assets.checks.models import (
    CHECKS,
    checks_of,
    evaluate_folds_stable,
    evaluate_importance_sensible,
    evaluate_quantiles_sound,
    evaluate_trained,
)
from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.importance import IMPORTANCE_SCHEMA
from zl_assets.core.models.shelf import models
from zl_assets.core.models.training import FOLD_SCHEMA, OOF_SCHEMA, train
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

FRAME = training_frame(random_walk(700, 3), 5)
ROWS = pl.DataFrame({"rsi_14": [40.0, 50.0, None], "return_1d": [0.01, -0.01, 0.0], "flat": [1.0, 1.0, None]})


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """No-change as it is stored and read back."""
    spec, horizon = models()["no_change"], HORIZONS["1w"]
    place = ArtifactPlace.of(spec, tmp_path_factory.mktemp("home"), "1w")
    return read_artifact(write_artifact(place, train(spec, FRAME, horizon), run_id="run", simulated=True))


def part_of(artifact: Artifact, **changed: Any) -> Any:
    """What the checks read of an artifact, some of it changed."""
    names = ("version", "newest", "folds", "feature_importance", "oof", "forecaster")
    return SimpleNamespace(**{name: getattr(artifact, name) for name in names} | changed)


def folds(relative: list[float | None], no_change: list[float] | None = None) -> pl.DataFrame:
    no_change = no_change or [0.1] * len(relative)
    rows = [
        {"fold": n, "mae_no_change": b, "mae_model": b * (r or 0.0), "relative_mae": r}
        for n, (r, b) in enumerate(zip(relative, no_change, strict=True))
    ]
    return pl.DataFrame(rows, schema=FOLD_SCHEMA)


def importance(**shares: float | None) -> pl.DataFrame:
    return pl.DataFrame({"feature": list(shares), "gain_share": list(shares.values())}, schema_overrides=_SHARE)


_SHARE = {"gain_share": pl.Float64()}


def quantiles(*rows: tuple[float | None, ...]) -> pl.DataFrame:
    values = [dict(zip(QUANTILE_COLUMNS, row, strict=True)) | {"crossed": False} for row in rows]
    return pl.DataFrame(values, schema=OOF_SCHEMA)


class TestTrained:
    def test_a_model_that_forecasts_what_it_did_passes(self, artifact: Artifact) -> None:
        verdict = evaluate_trained(artifact, FRAME)
        assert verdict.passed
        assert verdict.numbers == {"model_version": artifact.version, "largest_difference": 0.0}

    def test_one_that_forecasts_something_else_fails(self, artifact: Artifact) -> None:
        other = part_of(artifact, newest=artifact.newest.with_columns(pl.col("q90") + 1e-5))
        verdict = evaluate_trained(other, FRAME)
        assert not verdict.passed
        assert verdict.numbers["largest_difference"] == pytest.approx(1e-5)

    def test_a_difference_of_rounding_passes(self, artifact: Artifact) -> None:
        near = part_of(artifact, newest=artifact.newest.with_columns(pl.col("q90") + 1e-9))
        assert evaluate_trained(near, FRAME).passed

    def test_one_whose_session_is_no_longer_there_fails(self, artifact: Artifact) -> None:
        verdict = evaluate_trained(artifact, FRAME.head(-1))
        assert not verdict.passed
        assert np.isnan(verdict.numbers["largest_difference"])


class TestFoldsStable:
    def test_errors_of_one_size_pass(self) -> None:
        assert evaluate_folds_stable(folds([0.9, 1.0, 1.2, 2.9])).passed

    def test_a_fold_that_broke_down_fails_and_is_named(self) -> None:
        verdict = evaluate_folds_stable(folds([0.9, 1.0, 1.0, 3.1]))
        assert not verdict.passed
        assert verdict.offenders["fold"].to_list() == [3]
        assert verdict.numbers["worst_relative_mae"] == 3.1

    def test_a_year_that_was_hard_to_everyone_passes(self) -> None:
        verdict = evaluate_folds_stable(folds([1.0, 1.0, 1.05], [0.05, 0.06, 0.30]))
        assert verdict.passed
        assert verdict.numbers["worst_mae_to_median_mae"] > 3

    @pytest.mark.parametrize("ratio", [float("nan"), float("inf")])
    def test_a_fold_without_a_ratio_fails(self, ratio: float) -> None:
        assert not evaluate_folds_stable(folds([1.0, 1.0, 1.0, ratio])).passed

    def test_a_fold_in_which_no_price_moved_is_passed_over(self) -> None:
        assert evaluate_folds_stable(folds([1.0, None, 1.1])).passed


class TestImportanceSensible:
    def test_several_features_that_vary_pass(self) -> None:
        assert evaluate_importance_sensible(importance(rsi_14=0.89, return_1d=0.11), ROWS).passed

    def test_a_feature_with_95_percent_of_the_gain_fails(self) -> None:
        verdict = evaluate_importance_sensible(importance(rsi_14=0.95, return_1d=0.05), ROWS)
        assert not verdict.passed
        assert verdict.offenders["feature"].to_list() == ["rsi_14"]
        assert verdict.numbers["largest_share"] == 0.95

    @pytest.mark.parametrize("share", [0.4, None], ids=["of a tree", "of a model without splits"])
    def test_a_constant_feature_fails_though_some_rows_lack_it(self, share: float | None) -> None:
        verdict = evaluate_importance_sensible(importance(rsi_14=0.6, flat=share), ROWS)
        assert not verdict.passed
        assert verdict.offenders["feature"].to_list() == ["flat"]

    def test_a_feature_that_the_rows_do_not_have_fails(self) -> None:
        verdict = evaluate_importance_sensible(importance(rsi_14=0.6, invented=0.4), ROWS)
        assert not verdict.passed
        assert verdict.numbers["absent"] == 1

    def test_a_model_that_reads_no_feature_passes(self) -> None:
        assert evaluate_importance_sensible(pl.DataFrame(schema=IMPORTANCE_SCHEMA), ROWS).passed


SOUND = (-0.05, -0.04, -0.02, 0.0, 0.02, 0.04, 0.05)


class TestQuantilesSound:
    def test_intervals_around_their_median_pass(self) -> None:
        assert evaluate_quantiles_sound(quantiles(SOUND, SOUND)).passed

    @pytest.mark.parametrize(
        "row",
        [
            (0.0,) * 7,
            (-0.05, -0.04, -0.02, 0.0, 0.0, 0.0, 0.0),
            (0.0, 0.0, 0.0, 0.0, 0.02, 0.04, 0.05),
            (-1.0, -0.04, -0.02, 0.0, 0.02, 0.04, 0.05),
            (None, -0.04, -0.02, 0.0, 0.02, 0.04, 0.05),
        ],
        ids=["no_width", "nothing_above", "nothing_below", "a_total_loss", "unknown"],
    )
    def test_any_other_fails_and_is_shown(self, row: tuple[float | None, ...]) -> None:
        verdict = evaluate_quantiles_sound(quantiles(SOUND, row))
        assert not verdict.passed
        assert verdict.offenders.select("q05", "q50", "q95").row(0) == (row[0], row[3], row[6])


@pytest.mark.parametrize(
    ("model", "stops"), [("lightgbm", True), ("ensemble", True), ("prophet", False), ("gru", False)]
)
def test_only_a_standard_model_that_breaks_down_stops_the_run(model: str, stops: bool) -> None:
    checks = {check.name: check for check in checks_of(models()[model])}
    assert checks["folds_stable"].blocking is stops
    assert all(check.blocking for name, check in checks.items() if name != "folds_stable")
    assert not checks["folds_stable"].evaluate(SimpleNamespace(folds=folds([1.0, 1.0, 9.0])), FRAME).passed


@pytest.mark.parametrize(
    ("changed", "failed"),
    [
        ({}, []),
        ({"newest": quantiles(SOUND).with_columns(session_number=FRAME["session_number"].tail(1))}, ["trained"]),
        ({"folds": folds([1.0, 1.0, 9.0])}, ["folds_stable"]),
        ({"feature_importance": importance(rsi_14=1.0)}, ["importance_sensible"]),
        ({"oof": quantiles((0.0,) * 7)}, ["quantiles_sound"]),
    ],
    ids=["sound", "trained", "folds", "importance", "quantiles"],
)
def test_each_check_reads_its_part_of_the_artifact(
    artifact: Artifact, changed: dict[str, object], failed: list[str]
) -> None:
    results = list(evaluated("models.benchmarks.no_change", CHECKS, part_of(artifact, **changed), FRAME))
    assert len(results) == len(CHECKS)
    assert [r.check_name for r in results if not r.passed] == failed
