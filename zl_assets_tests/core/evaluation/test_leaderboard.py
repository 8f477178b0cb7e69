"""Rows of a judgement: each figure where it belongs, and one champion among all stored ones."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest

from zl_assets.core.evaluation.judgement import Judgement, judge
from zl_assets.core.evaluation.leaderboard import (
    EVALUATION_SCHEMA,
    EvaluationContext,
    Provenance,
    comparable,
    demoted,
    evaluation_rows,
    leaderboard_markdown,
)
from zl_assets.core.evaluation.significance import direction_test
from zl_assets.core.horizons import HORIZONS
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract
from zl_assets_tests.core.models.made_forecasts import WEEK, forecast, market, split

TABLE = "monitoring.model_evaluation"
ROWS = market(900)
CREATED = datetime(2025, 8, 29, 20, 0, tzinfo=timezone(timedelta(hours=-5)))
CONTEXT = EvaluationContext(date(2025, 8, 22), is_simulated=True, created_at=CREATED)
MODELS = ("no_change", "lightgbm", "ensemble")
PROVENANCE = {m: Provenance(f"{m}-1", f"run of {m}", 800.5, n, "rows") for n, m in enumerate(MODELS)}


def said(share: float, width: float, seed: int = 1) -> pl.DataFrame:
    actual = ROWS["actual_return"].fill_null(0.0).to_numpy()
    wobble = np.random.default_rng(seed).normal(0, 0.01 if share else 0.0, ROWS.height)
    return split(forecast(ROWS, share * actual + wobble, width))[0]


RAW = {"no_change": said(0.0, 0.05), "lightgbm": said(0.3, 0.03), "ensemble": said(0.2, 0.03, 2)}
CALIBRATED = {**RAW, "no_change": said(0.0, 0.033)}


@pytest.fixture(scope="module")
def judgement() -> Judgement:
    return judge(RAW, CALIBRATED, HORIZONS["1w"])


@pytest.fixture(scope="module")
def rows(judgement: Judgement) -> pl.DataFrame:
    return evaluation_rows(judgement, CALIBRATED, PROVENANCE, CONTEXT)


def test_the_rows_fit_their_contract(rows: pl.DataFrame) -> None:
    promised = contract(TABLE)
    assert [c.name for c in promised.columns] == list(EVALUATION_SCHEMA)
    assert dict(rows.schema) == EVALUATION_SCHEMA
    assert promised.validated(rows).equals(rows)


def test_each_figure_is_where_it_belongs(rows: pl.DataFrame, judgement: Judgement) -> None:
    assert rows["crps"].is_sorted()
    assert set(rows["model"]) == set(MODELS)
    for row in rows.iter_rows(named=True):
        standing = judgement.of(row["model"])
        calibrated, raw = standing.scores, standing.raw
        assert (row["n_rows"], row["n_independent"]) == (900 - WEEK, (900 - WEEK) // WEEK)
        told = {n: row[n] for n in ("crps", "mae", "rmse", "hit_rate", "coverage_80", "width_90", "winkler_80")}
        assert told == {name: getattr(calibrated, name) for name in told}
        assert (row["raw_crps"], row["raw_crps_vs_no_change"]) == (raw.crps, raw.crps_vs_no_change)
        signs = direction_test(CALIBRATED[row["model"]]["actual_return"], CALIBRATED[row["model"]]["q50"], WEEK)
        assert row["p_value_direction"] == (signs.p_one_sided if signs else None)
        assert row["p_value"] == standing.p_value
        origin = PROVENANCE[row["model"]]
        assert (row["model_version"], row["run_id"]) == (origin.version, origin.run_id)
        assert (row["n_effective"], row["trials"], row["training_data"]) == (800.5, origin.trials, "rows")
        assert (row["as_of_date"], row["surface"], row["fold_scheme"]) == (date(2025, 8, 22), "prod", "expanding")
        assert row["created_at"] == datetime(2025, 8, 30, 1, 0, tzinfo=UTC)


def test_no_change_is_measured_by_itself_and_tested_against_nothing(rows: pl.DataFrame) -> None:
    row = rows.filter(pl.col("model") == "no_change").row(0, named=True)
    assert row["crps_vs_no_change"] == row["raw_crps_vs_no_change"] == row["mae_vs_no_change"] == 1.0
    assert row["raw_crps"] > row["crps"]
    assert {row[name] for name in ("p_value", "p_value_alone", "test_method", "p_value_direction")} == {None}
    assert row["p_value_vs_ensemble"] > 0.5
    ensemble = rows.filter(pl.col("model") == "ensemble").row(0, named=True)
    assert ensemble["p_value_vs_ensemble"] is None
    assert ensemble["test_method"].startswith("Diebold-Mariano")
    assert ensemble["p_value"] >= ensemble["p_value_alone"]


def test_one_of_them_is_the_champion(rows: pl.DataFrame, judgement: Judgement) -> None:
    assert rows.filter("is_champion")["model"].to_list() == [judgement.champion]
    assert judgement.champion == "lightgbm"


def test_the_leaderboard_has_a_line_a_model_and_marks_the_champion(rows: pl.DataFrame) -> None:
    head, rule, *lines = leaderboard_markdown(rows).splitlines()
    assert head.count("|") == rule.count("|") == lines[0].count("|")
    assert [line.split("|")[1].strip() for line in lines] == [
        f"**{m}**" if m == "lightgbm" else m for m in rows["model"]
    ]
    no_change = next(line for line in lines if "no_change" in line)
    assert [cell.strip() for cell in no_change.split("|")[2:5]] == ["1.000", "", "1.000"]


class TestComparable:
    def stored(self, rows: pl.DataFrame, **changed: object) -> pl.DataFrame:
        return rows.with_columns(pl.lit(v).cast(rows.schema[name]).alias(name) for name, v in changed.items())

    def test_models_of_other_rows_are_left_out(self, rows: pl.DataFrame) -> None:
        former = rows.head(1).with_columns(model=pl.lit("theta"), is_champion=pl.lit(value=False))
        stale = self.stored(former, training_data="older")
        assert comparable(pl.concat([rows, stale])).equals(rows)
        assert comparable(pl.concat([rows, former])).height == rows.height + 1

    def test_each_horizon_and_surface_has_its_own(self, rows: pl.DataFrame) -> None:
        other = self.stored(rows, horizon="1m", training_data="of the month")
        assert comparable(pl.concat([rows, other])).height == 2 * rows.height
        assert comparable(pl.concat([rows, self.stored(other, horizon="1w", is_champion=False)])).equals(rows)

    def test_rows_of_before_there_was_a_hash_are_compared(self, rows: pl.DataFrame) -> None:
        old = self.stored(rows, training_data=None)
        assert comparable(old).equals(old)


class TestDemoted:
    LATER = datetime(2026, 1, 1, tzinfo=UTC)

    def stored(self, rows: pl.DataFrame, model: str = "xgboost", **changed: object) -> pl.DataFrame:
        """A champion that was compared earlier."""
        columns = {name: pl.lit(value) for name, value in {"model": model, **changed}.items()}
        return rows.filter("is_champion").with_columns(**columns)

    def test_a_champion_of_the_same_sessions_that_is_not_compared_is_champion_no_more(self, rows: pl.DataFrame) -> None:
        before, now = self.stored(rows), rows.with_columns(created_at=pl.lit(self.LATER).cast(rows["created_at"].dtype))
        left = demoted(before, now)
        assert left.schema == rows.schema
        assert left.drop("is_champion", "created_at").equals(before.drop("is_champion", "created_at"))
        assert left["is_champion"].to_list() == [False]
        assert left["created_at"].to_list() == [self.LATER]

    @pytest.mark.parametrize(
        "changed",
        [
            {"as_of_date": date(2025, 8, 21)},
            {"horizon": "1m"},
            {"surface": "full"},
            {"fold_scheme": "rolling"},
            {"is_champion": False},
            {"model": "ensemble"},
        ],
    )
    def test_any_other_row_is_left_alone(self, changed: dict[str, object], rows: pl.DataFrame) -> None:
        assert demoted(self.stored(rows, **{"model": "xgboost", **changed}), rows).is_empty()

    def test_in_the_warehouse_one_champion_is_left(self, warehouse: Warehouse, rows: pl.DataFrame) -> None:
        other = self.stored(rows, as_of_date=date(2025, 8, 21))
        warehouse.merge(TABLE, pl.concat([self.stored(rows), other]))
        stored = warehouse.read(f"SELECT * FROM {TABLE}")
        done = warehouse.merge(TABLE, pl.concat([rows, demoted(stored, rows)]))
        assert (done.inserted, done.updated) == (3, 1)
        champions = warehouse.read(f"SELECT as_of_date, model FROM {TABLE} WHERE is_champion ORDER BY as_of_date")
        assert champions.rows() == [(date(2025, 8, 21), "xgboost"), (date(2025, 8, 22), "lightgbm")]
