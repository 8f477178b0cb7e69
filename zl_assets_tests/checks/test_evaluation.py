"""Checks of the comparison of models: what may be published, and what must have seen the future."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from zl_assets.assets.evaluation import EVALUATION
from zl_assets.checks.common import Verdict
from zl_assets.checks.evaluation import (
    CHECKS,
    evaluate_calibrated,
    evaluate_champion,
    evaluate_not_too_good,
    evaluate_same_rows,
    model_evaluation_checks,
)
from zl_assets.core.evaluation.leaderboard import EVALUATION_SCHEMA, EvaluationContext, Provenance, evaluation_rows
from zl_assets.core.forecasts import ModelForecast, judged
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import models
from zl_assets.core.models.training import train
from zl_assets.warehouse.base import Warehouse
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

NOW = datetime(2025, 8, 30, tzinfo=UTC)
OLD, NEW = date(2025, 8, 28), date(2025, 8, 29)


def row(model: str = "no_change", **values: Any) -> dict[str, Any]:
    """The figures of an honest model."""
    honest: dict[str, Any] = {name: 1.0 for name, dtype in EVALUATION_SCHEMA.items() if dtype == pl.Float64()}
    honest |= {name: "x" for name, dtype in EVALUATION_SCHEMA.items() if dtype == pl.String()}
    return (
        honest
        | {"hit_rate": 0.5, "coverage_50": 0.5, "coverage_80": 0.8, "coverage_90": 0.9, "n_rows": 900, "trials": 0}
        | {"n_independent": 180, "as_of_date": NEW, "horizon": "1w", "surface": "prod", "fold_scheme": "expanding"}
        | {"model": model, "is_champion": model == "no_change", "is_simulated": False, "created_at": NOW}
        | values
    )


def table(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=EVALUATION_SCHEMA)


def told(verdict: Verdict) -> list[str]:
    """Models that broke the rule."""
    return [] if verdict.offenders is None else verdict.offenders["model"].to_list()


class TestNotTooGood:
    def test_honest_figures_pass(self) -> None:
        skilled = row("lightgbm", raw_crps_vs_no_change=0.93, rmse_vs_no_change=0.95, hit_rate=0.6)
        assert evaluate_not_too_good(table(row(), skilled)).passed

    @pytest.mark.parametrize("figure", ["raw_crps_vs_no_change", "rmse_vs_no_change"])
    def test_an_error_far_below_that_of_no_change_fails(self, figure: str) -> None:
        for simulated, limit in ((False, 0.9), (True, 0.7)):
            near, below = (row("lightgbm", is_simulated=simulated, **{figure: limit + by}) for by in (0.01, -0.01))
            assert evaluate_not_too_good(table(row(), near)).passed
            assert told(evaluate_not_too_good(table(row(), below))) == ["lightgbm"]

    def test_a_direction_that_is_right_too_often_fails_where_windows_are_enough_to_tell(self) -> None:
        for simulated, limit in ((False, 0.6), (True, 0.75)):
            lucky = {"hit_rate": limit + 0.01, "n_independent": 30, "is_simulated": simulated}
            assert told(evaluate_not_too_good(table(row(), row("lightgbm", **lucky)))) == ["lightgbm"]
            for honest in ({"n_independent": 29}, {"hit_rate": limit}):
                assert evaluate_not_too_good(table(row(), row("lightgbm", **lucky | honest))).passed

    def test_a_model_that_tells_no_direction_passes(self) -> None:
        unknown = row("lightgbm", hit_rate=None, rmse_vs_no_change=None, raw_crps_vs_no_change=None)
        assert evaluate_not_too_good(table(row(), unknown)).passed

    def test_calibration_alone_makes_nobody_suspect(self) -> None:
        assert evaluate_not_too_good(table(row(), row("lightgbm", crps_vs_no_change=0.6))).passed


class TestChampion:
    def test_one_that_is_not_worse_than_no_change_passes(self) -> None:
        assert evaluate_champion(table(row(), row("lightgbm"))).passed
        better = row("lightgbm", is_champion=True, crps_vs_no_change=0.97)
        assert evaluate_champion(table(row(is_champion=False), better)).passed

    def test_one_that_is_worse_fails(self) -> None:
        worse = row("lightgbm", is_champion=True, crps_vs_no_change=1.001)
        verdict = evaluate_champion(table(row(is_champion=False), worse))
        assert not verdict.passed
        assert told(verdict) == ["lightgbm"]

    @pytest.mark.parametrize(
        ("rows", "champions"),
        [([row(is_champion=False)], 0), ([row(), row("drift", is_champion=True)], 2), ([], 0)],
        ids=["none", "two", "no model"],
    )
    def test_none_and_two_fail(self, rows: list[dict[str, Any]], champions: int) -> None:
        verdict = evaluate_champion(table(*rows))
        assert not verdict.passed
        assert verdict.numbers["champions"] == champions


class TestSameRows:
    def test_as_many_rows_as_no_change_pass(self) -> None:
        assert evaluate_same_rows(table(row(), row("lightgbm"))).passed

    def test_other_rows_fail(self) -> None:
        assert told(evaluate_same_rows(table(row(), row("lightgbm", n_rows=899), row("drift")))) == ["lightgbm"]

    def test_without_no_change_all_fail(self) -> None:
        assert told(evaluate_same_rows(table(row("lightgbm")))) == ["lightgbm"]


class TestCalibrated:
    @pytest.mark.parametrize(("coverage", "passed"), [(0.71, True), (0.69, False), (0.89, True), (0.91, False)])
    def test_the_champions_coverage_of_80_percent_is_held(self, coverage: float, passed: bool) -> None:
        verdict = evaluate_calibrated(table(row(coverage_80=coverage), row("lightgbm", coverage_80=0.1)))
        assert verdict.passed == passed
        assert verdict.numbers["coverage_80"] == coverage

    def test_the_champions_coverage_of_90_percent_is_held(self) -> None:
        assert not evaluate_calibrated(table(row(coverage_90=0.79))).passed

    def test_it_warns_and_the_others_block(self) -> None:
        assert [check.name for check in CHECKS if not check.blocking] == ["calibrated"]


# A leak


def comparison(frame: pl.DataFrame) -> pl.DataFrame:
    """The evaluation rows of no-change and LightGBM trained on a frame."""
    horizon = HORIZONS["1w"]
    found = [train(models()[name], frame, horizon) for name in ("no_change", "lightgbm")]
    said = [ModelForecast(t.spec.name, t.model_version, "run", t.oof, t.newest, t.drivers) for t in found]
    judgement, calibrated = judged(said, horizon)
    origins = {t.spec.name: Provenance(t.model_version, "run", t.n_effective) for t in found}
    context = EvaluationContext(NEW, is_simulated=True, created_at=NOW)
    return evaluation_rows(judgement, {n: rows.head(-1) for n, rows in calibrated.items()}, origins, context)


def test_a_feature_that_holds_the_outcome_is_caught() -> None:
    frame = training_frame(random_walk(800, 5), 5)
    honest = comparison(frame)
    assert evaluate_not_too_good(honest).passed
    assert evaluate_champion(honest).passed

    # The outcome under noise of its own size.
    spread = float(np.std(frame["target"].drop_nulls().to_numpy()))
    noise = pl.Series(np.random.default_rng(1).normal(0, spread / 2, frame.height))
    for leak in (pl.col("target"), pl.col("target") + noise):
        verdict = evaluate_not_too_good(comparison(frame.with_columns(return_21d=leak)))
        assert not verdict.passed
        assert told(verdict) == ["lightgbm"]


# The shell


def test_the_shell_reads_the_newest_comparison_of_its_partition(warehouse: Warehouse) -> None:
    rows = table(
        row(as_of_date=OLD, raw_crps_vs_no_change=0.1),
        row(),
        row(horizon="1m"),
        row("lightgbm", horizon="1m", n_rows=3, hit_rate=0.9),
    )
    warehouse.merge(EVALUATION, rows)

    def broken(horizon: str) -> list[str]:
        context = SimpleNamespace(partition_key=horizon)
        results = list(model_evaluation_checks.op.compute_fn.decorated_fn(context, warehouse))
        assert len(results) == len(CHECKS)
        return [r.check_name for r in results if not r.passed]

    assert broken("1w") == []
    assert broken("1m") == ["not_too_good", "same_rows"]
