"""The forecasts of every model, and the one that is published per horizon."""

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, merged, node
from zl_assets.assets.models import LIGHTGBM
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import view_sql

FORECASTS = "predictions.zl_forecasts"
LATEST = "predictions.vw_zl_latest"


def latest_name(horizon: str) -> str:
    """Name of the view of a horizon's published forecast."""
    return f"predictions.vw_zl_{horizon}_latest"


@dg.asset(
    **node(FORECASTS, group="predictions", kind="polars", per_horizon=True),
    deps=[LIGHTGBM.split(".")],
    pool=WAREHOUSE_POOL,
)
def zl_forecasts(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
):
    """Merge the forecasts of the horizon's latest artifact."""
    from zl_assets.artifacts import ArtifactPlace, latest, read_artifact

    artifact = read_artifact(latest(ArtifactPlace(settings.home, context.partition_key)))
    result = warehouse.merge(FORECASTS, artifact.predictions)
    published = artifact.predictions.filter("is_champion").row(0, named=True)
    return dg.MaterializeResult(
        metadata={
            **merged(result, artifact.predictions.height),
            "simulated": artifact.simulated,
            "as_of_date": str(published["as_of_date"]),
            "target_date": str(published["target_date"]),
            "published_model": published["model"],
            "price": published["current_price"],
            "forecast": published["predicted_price"],
            "interval_80": f"{published['q10']:.2f} to {published['q90']:.2f}",
            "why": published["champion_reason"],
        }
    )


@dg.asset(
    **node(
        LATEST,
        group="predictions",
        kind="sql",
        description="View predictions.vw_zl_{horizon}_latest: the published forecast of one horizon, exactly one row",
        per_horizon=True,
    ),
    deps=[FORECASTS.split(".")],
    pool=WAREHOUSE_POOL,
)
def vw_zl_latest(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Create the view of the partition's horizon."""
    warehouse.create_view(view_sql(LATEST, context.partition_key))
    return dg.MaterializeResult(metadata={"view": latest_name(context.partition_key)})
