"""Checks of trained models: figures and importances that are sound, and such that are not."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from zl_assets.assets.models import LIGHTGBM
from zl_assets.checks.common import evaluated
from zl_assets.checks.models import (
    CHECKS,
    evaluate_folds_stable,
    evaluate_importance_sensible,
    evaluate_not_too_good,
    evaluate_trained,
)
from zl_assets.core.models.base import FOLD_SCHEMA

ROWS = pl.DataFrame({"rsi_14": [40.0, 50.0, None], "return_1d": [0.01, -0.01, 0.0], "flat": [1.0, 1.0, None]})
METRICS = {"suspiciously_good": False, "oof_mae": 0.03, "note": "x", "folds": [1, 2]}


def folds(relative: list[float], no_change: list[float] | None = None) -> pl.DataFrame:
    no_change = no_change or [0.1] * len(relative)
    rows = [
        {"fold": n, "mae_no_change": b, "mae_model": b * r, "relative_mae": r}
        for n, (r, b) in enumerate(zip(relative, no_change, strict=True))
    ]
    return pl.DataFrame(rows, schema=FOLD_SCHEMA)


def importance(**shares: float) -> pl.DataFrame:
    return pl.DataFrame({"feature": list(shares), "gain_share": list(shares.values())})


def artifact(predictions: list[float], **changed: object) -> SimpleNamespace:
    sound = {
        "forecaster": SimpleNamespace(predict=lambda rows: np.array(predictions)[: rows.height]),
        "folds": folds([1.0, 1.1, 0.9]),
        "feature_importance": importance(rsi_14=0.6, return_1d=0.4),
        "metrics": METRICS,
    }
    return SimpleNamespace(**sound | changed)


class TestTrained:
    def test_finite_predictions_for_every_row_pass(self) -> None:
        assert evaluate_trained(artifact([0.01, 0.0, -0.2]), ROWS).passed

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_one_that_is_not_finite_fails_and_is_counted(self, bad: float) -> None:
        verdict = evaluate_trained(artifact([0.01, bad, -0.2]), ROWS)
        assert not verdict.passed
        assert verdict.numbers == {"rows": 3, "finite_predictions": 2}

    def test_no_row_to_predict_fails(self) -> None:
        assert not evaluate_trained(artifact([]), ROWS.clear()).passed


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


class TestImportanceSensible:
    def test_several_features_that_vary_pass(self) -> None:
        assert evaluate_importance_sensible(importance(rsi_14=0.89, return_1d=0.11), ROWS).passed

    def test_a_feature_with_95_percent_of_the_gain_fails(self) -> None:
        verdict = evaluate_importance_sensible(importance(rsi_14=0.95, return_1d=0.05), ROWS)
        assert not verdict.passed
        assert verdict.offenders["feature"].to_list() == ["rsi_14"]
        assert verdict.numbers["largest_share"] == 0.95

    def test_a_constant_feature_fails_though_some_rows_lack_it(self) -> None:
        verdict = evaluate_importance_sensible(importance(rsi_14=0.6, flat=0.4), ROWS)
        assert not verdict.passed
        assert verdict.offenders["feature"].to_list() == ["flat"]

    def test_a_feature_that_the_rows_do_not_have_fails(self) -> None:
        verdict = evaluate_importance_sensible(importance(rsi_14=0.6, invented=0.4), ROWS)
        assert not verdict.passed
        assert verdict.numbers["absent"] == 1


class TestNotTooGood:
    def test_realistic_figures_pass_and_are_shown(self) -> None:
        verdict = evaluate_not_too_good(METRICS)
        assert verdict.passed
        assert verdict.numbers == {"suspiciously_good": False, "oof_mae": 0.03, "note": "x"}

    def test_figures_that_look_like_a_leak_fail(self) -> None:
        assert not evaluate_not_too_good(METRICS | {"suspiciously_good": True}).passed


@pytest.mark.parametrize(
    ("changed", "failed"),
    [
        ({}, []),
        ({"forecaster": SimpleNamespace(predict=lambda rows: np.full(rows.height, np.nan))}, ["trained"]),
        ({"folds": folds([1.0, 1.0, 9.0])}, ["folds_stable"]),
        ({"feature_importance": importance(rsi_14=1.0)}, ["importance_sensible"]),
        ({"metrics": METRICS | {"suspiciously_good": True}}, ["not_too_good"]),
    ],
    ids=["sound", "trained", "folds", "importance", "too_good"],
)
def test_each_check_reads_its_part_of_the_artifact(changed: dict[str, object], failed: list[str]) -> None:
    results = list(evaluated(LIGHTGBM, CHECKS, artifact([0.0, 0.0, 0.0], **changed), ROWS))
    assert len(results) == len(CHECKS)
    assert [r.check_name for r in results if not r.passed] == failed
