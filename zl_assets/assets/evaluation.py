"""How every model of a horizon did out of fold, beside no-change and the others, on the same rows."""

from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, merged, node, picture, utc_now
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import NO_CHANGE, SHELF
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from zl_assets.artifacts import Artifact
    from zl_assets.core.evaluation.leaderboard import Provenance
    from zl_assets.core.forecasts import ModelForecast

EVALUATION = "monitoring.model_evaluation"


def model_forecasts(shelf: "Mapping[str, Artifact]") -> "list[ModelForecast]":
    """What the stored models of a horizon said."""
    from zl_assets.core.forecasts import ModelForecast

    return [ModelForecast(name, a.version, a.run_id, a.oof, a.newest, a.drivers) for name, a in shelf.items()]


def rolling_forecasts(shelf: "Mapping[str, Artifact]") -> "list[ModelForecast]":
    """What the stored models said on rolling folds; empty where no-change was not judged on them."""
    found = [
        replace(told, oof=shelf[told.model].oof_rolling)
        for told in model_forecasts(shelf)
        if shelf[told.model].oof_rolling is not None
    ]
    return found if NO_CHANGE in {told.model for told in found} else []


def provenance(artifact: "Artifact") -> "Provenance":
    """Where a stored model comes from."""
    from zl_assets.core.evaluation.leaderboard import Provenance

    return Provenance(
        version=artifact.version,
        run_id=artifact.run_id,
        n_effective=artifact.metrics["n_effective"],
        trials=artifact.training_config.get("tuning", {}).get("trials", 0),
        training_data=artifact.training_data,
    )


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
    from zl_assets.core.evaluation.breakdown import GROUPINGS, breakdown, breakdown_markdown
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
    known = _out_of_fold(calibrated)
    newest = next(iter(shelf.values()))
    simulated = newest.simulated
    origin = {name: provenance(artifact) for name, artifact in shelf.items()}
    context_of = EvaluationContext(newest.oof["data_date"][-1], is_simulated=simulated, created_at=utc_now())
    rows = evaluation_rows(judgement, known, origin, context_of)
    rolling = rolling_forecasts(shelf)
    if rolling:
        other, told = judged(rolling, horizon)
        in_window = evaluation_rows(other, _out_of_fold(told), origin, replace(context_of, fold_scheme="rolling"))
        # What is published rests on the expanding folds.
        rows = pl.concat([rows, in_window.with_columns(is_champion=pl.lit(value=False))])
    stored = warehouse.read(f"SELECT * FROM {EVALUATION} WHERE horizon = @horizon", {"horizon": horizon.code})
    result = warehouse.merge(EVALUATION, pl.concat([rows, demoted(stored, rows)]))
    return dg.MaterializeResult(
        metadata={
            **merged(result, rows.height),
            "simulated": simulated,
            "published": judgement.champion,
            "why": judgement.reason,
            **{
                f"by_{name}": dg.MetadataValue.md(breakdown_markdown(breakdown(known, horizon, by)))
                for name, by in GROUPINGS.items()
            },
            "leaderboard": dg.MetadataValue.md(leaderboard_markdown(rows.filter(pl.col("fold_scheme") == "expanding"))),
            "reliability": picture(figures.reliability_figure(calibrated, horizon.code, simulated=simulated)),
            "crps_over_time": picture(figures.crps_figure(calibrated, horizon.code, simulated=simulated)),
        }
    )


def _out_of_fold(calibrated: "Mapping[str, pl.DataFrame]") -> "dict[str, pl.DataFrame]":
    """The rows of each model whose outcome is known: the newest forecast is the last one."""
    return {name: rows.head(-1) for name, rows in calibrated.items()}
