"""How every model of a horizon did out of fold, beside no-change and the others, on the same rows."""

from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, merged, node, picture, utc_now
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import SHELF
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zl_assets.artifacts import Artifact
    from zl_assets.core.evaluation.leaderboard import Provenance
    from zl_assets.core.forecasts import ModelForecast

EVALUATION = "monitoring.model_evaluation"


def model_forecasts(shelf: "Mapping[str, Artifact]") -> "list[ModelForecast]":
    """What the stored models of a horizon said."""
    from zl_assets.core.forecasts import ModelForecast

    return [ModelForecast(name, a.version, a.run_id, a.oof, a.newest, a.drivers) for name, a in shelf.items()]


def provenance(artifact: "Artifact") -> "Provenance":
    """Where a stored model comes from."""
    from zl_assets.core.evaluation.leaderboard import Provenance

    trials = artifact.training_config.get("tuning", {}).get("trials", 0)
    return Provenance(artifact.version, artifact.run_id, artifact.metrics["n_effective"], trials)


@dg.asset(
    **node(EVALUATION, group="evaluation", kind="polars", per_horizon=True),
    deps=[spec.key.split(".") for spec in SHELF],
    pool=WAREHOUSE_POOL,
)
def model_evaluation(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
):
    """Compare the models that were trained on the same rows, and store one row each; only one of them is champion."""
    import polars as pl

    from zl_assets.artifacts import read_shelf
    from zl_assets.core import figures
    from zl_assets.core.evaluation.leaderboard import (
        EvaluationContext,
        demoted,
        evaluation_rows,
        leaderboard_markdown,
    )
    from zl_assets.core.forecasts import judged

    horizon = HORIZONS[context.partition_key]
    shelf = read_shelf(settings.home, horizon.code)
    judgement, calibrated = judged(model_forecasts(shelf), horizon)
    newest = next(iter(shelf.values()))
    simulated = newest.simulated
    rows = evaluation_rows(
        judgement,
        {name: rows.head(-1) for name, rows in calibrated.items()},
        {name: provenance(artifact) for name, artifact in shelf.items()},
        EvaluationContext(newest.oof["data_date"][-1], is_simulated=simulated, created_at=utc_now()),
    )
    stored = warehouse.read(f"SELECT * FROM {EVALUATION} WHERE horizon = @horizon", {"horizon": horizon.code})
    result = warehouse.merge(EVALUATION, pl.concat([rows, demoted(stored, rows)]))
    return dg.MaterializeResult(
        metadata={
            **merged(result, rows.height),
            "simulated": simulated,
            "published": judgement.champion,
            "why": judgement.reason,
            "leaderboard": dg.MetadataValue.md(leaderboard_markdown(rows)),
            "reliability": picture(figures.reliability_figure(calibrated, horizon.code, simulated=simulated)),
            "crps_over_time": picture(figures.crps_figure(calibrated, horizon.code, simulated=simulated)),
        }
    )
