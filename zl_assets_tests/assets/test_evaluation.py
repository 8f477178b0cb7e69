"""The comparison as an asset: one champion a horizon, whatever was compared before."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import polars as pl
import pytest

from zl_assets.artifacts import ArtifactPlace, write_artifact
from zl_assets.assets.evaluation import EVALUATION, model_evaluation
from zl_assets.automation.leaderboard import newest_evaluation
from zl_assets.checks.evaluation import model_evaluation_checks
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import models
from zl_assets.core.models.training import train
from zl_assets.settings import Settings
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets_tests.command import zl
from zl_assets_tests.core.models.training_frames import random_walk, training_frame
from zl_assets_tests.stores import empty_warehouse


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home whose model store holds two benchmarks."""
    frame = training_frame(random_walk(600, 5), 5)
    for name in ("no_change", "drift"):
        spec = models()[name]
        place = ArtifactPlace.of(spec, tmp_path, "1w")
        write_artifact(place, train(spec, frame, HORIZONS["1w"]), run_id=f"run of {name}", simulated=True)
    return Settings(home=tmp_path)


@pytest.fixture
def warehouse(settings: Settings) -> DuckDBWarehouse:
    return empty_warehouse(settings.warehouse_file)


def evaluate(warehouse: DuckDBWarehouse, settings: Settings) -> dict[str, Any]:
    context = SimpleNamespace(partition_key="1w")
    result = model_evaluation.op.compute_fn.decorated_fn(context, warehouse, settings)
    return dict(result.metadata)


def champions(warehouse: DuckDBWarehouse) -> list[tuple[str, str]]:
    return warehouse.read(f"SELECT horizon, model FROM {EVALUATION} WHERE is_champion ORDER BY 1, 2").rows()


def test_a_row_a_model_and_one_champion(warehouse: DuckDBWarehouse, settings: Settings) -> None:
    told = evaluate(warehouse, settings)
    rows = warehouse.read(f"SELECT * FROM {EVALUATION} ORDER BY model")
    assert rows["model"].to_list() == ["drift", "no_change"]
    assert rows["run_id"].to_list() == ["run of drift", "run of no_change"]
    assert set(rows["is_simulated"]) == {True}
    assert champions(warehouse) == [("1w", told["published"])] == [("1w", "no_change")]
    assert told["why"].startswith("no skill found")
    assert told["leaderboard"].value.count("\n") == 3
    assert told["rows_inserted"] == 2


def test_a_champion_trained_on_other_rows_is_demoted_in_the_same_merge(
    warehouse: DuckDBWarehouse, settings: Settings
) -> None:
    evaluate(warehouse, settings)
    rows = warehouse.read(f"SELECT * FROM {EVALUATION} WHERE is_champion")
    stale = rows.with_columns(model=pl.lit("xgboost"), model_version=pl.lit("older"))
    elsewhere = stale.with_columns(horizon=pl.lit("1m"))
    earlier = stale.with_columns(as_of_date=pl.col("as_of_date").dt.offset_by("-1d"))
    warehouse.merge(EVALUATION, pl.concat([stale, elsewhere, earlier]))
    told = evaluate(warehouse, settings)
    assert (told["rows_inserted"], told["rows_updated"], told["rows_unchanged"]) == (0, 1, 2)
    # Of another horizon, of an earlier day, and the one of today.
    assert champions(warehouse) == [("1m", "xgboost"), ("1w", "no_change"), ("1w", "xgboost")]
    assert evaluate(warehouse, settings)["rows_unchanged"] == 2


def test_models_of_other_training_rows_are_on_no_leaderboard_and_fail_no_check(
    warehouse: DuckDBWarehouse, settings: Settings
) -> None:
    evaluate(warehouse, settings)
    rows = warehouse.read(f"SELECT * FROM {EVALUATION} WHERE model = 'drift'")
    stale = rows.with_columns(
        model=pl.lit("theta"), training_data=pl.lit("older"), n_rows=pl.col("n_rows") - 1, crps=pl.col("crps") / 2
    )
    warehouse.merge(EVALUATION, stale)
    assert set(newest_evaluation(settings, ["1w"])["model"]) == {"drift", "no_change"}
    context = SimpleNamespace(partition_key="1w")
    results = list(model_evaluation_checks.op.compute_fn.decorated_fn(context, warehouse))
    assert {r.check_name for r in results if not r.passed} <= {"calibrated"}

    warehouse.merge(EVALUATION, stale.with_columns(training_data=rows["training_data"]))
    results = list(model_evaluation_checks.op.compute_fn.decorated_fn(context, warehouse))
    assert "same_rows" in {r.check_name for r in results if not r.passed}


def test_a_table_of_before_there_was_a_hash_of_the_training_rows_has_a_leaderboard(
    warehouse: DuckDBWarehouse, settings: Settings
) -> None:
    evaluate(warehouse, settings)
    with duckdb.connect(str(settings.warehouse_file)) as connection:
        connection.execute(f"CREATE TABLE kept AS SELECT * EXCLUDE training_data FROM {EVALUATION}")
        connection.execute(f"DROP TABLE {EVALUATION}")
        connection.execute(f"CREATE TABLE {EVALUATION} AS FROM kept")
    assert set(newest_evaluation(settings, ["1w"])["model"]) == {"drift", "no_change"}


def test_rolling_folds_are_told_beside_the_expanding_ones_and_publish_nothing(
    warehouse: DuckDBWarehouse, settings: Settings
) -> None:
    frame = training_frame(random_walk(600, 5), 5)
    for name in ("no_change", "drift"):
        spec = models()[name]
        found = train(spec, frame, HORIZONS["1w"], rolling=True)
        assert found.oof_rolling is not None
        assert found.oof_rolling["session_number"].equals(found.oof["session_number"])
        write_artifact(ArtifactPlace.of(spec, settings.home, "1w"), found, run_id="r", simulated=True)
    told = evaluate(warehouse, settings)
    rows = warehouse.read(f"SELECT * FROM {EVALUATION} ORDER BY fold_scheme, model")
    assert rows.select("fold_scheme", "model").rows() == [
        ("expanding", "drift"),
        ("expanding", "no_change"),
        ("rolling", "drift"),
        ("rolling", "no_change"),
    ]
    assert champions(warehouse) == [("1w", "no_change")]
    assert told["leaderboard"].value.count("\n") == 3
    out = zl("leaderboard", "--home", settings.home, "--horizon", "1w").out
    assert [t in out for t in ("1w, out of fold (expanding)", "1w, out of fold (rolling)")] == [True, True]
    assert out.count("drift") == 2
    drift = rows.filter(pl.col("model") == "drift")
    assert drift["raw_crps"][0] != drift["raw_crps"][1], "a rolling window learns another drift"
