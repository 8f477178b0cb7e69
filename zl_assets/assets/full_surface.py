"""The full surface: the wide matrix, and the training table of each horizon that is frozen from it."""

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, node
from zl_assets.assets.features import MATRIX
from zl_assets.assets.incremental import begin
from zl_assets.assets.market_data import SESSIONS
from zl_assets.assets.training import table_name
from zl_assets.core.instruments import FORECAST_SYMBOL
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract, view_sql

FULL_MATRIX = "features.daily_ml_matrix_full"
FULL_VIEW = "training.vw_full"
FULL_TABLE = "training.zl_training_full_allhistory"


def full_view_name(horizon: str) -> str:
    """Name of the training view of a horizon over the full surface."""
    return f"training.vw_zl_{horizon}_full"


@dg.asset(
    **node(
        FULL_MATRIX,
        group="full_surface",
        kind="polars",
        description="Table features.daily_ml_matrix_full: the production features of ZL, and every market by every "
        "indicator with pairs, interactions and volatility states; some two thousand columns by rule",
    ),
    deps=[SESSIONS.split("."), MATRIX.split(".")],
    pool=WAREHOUSE_POOL,
)
def daily_ml_matrix_full(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
):
    """Build the rows of the wide matrix that can have changed since the last build, and merge what did."""
    from zl_assets.core.features.full_surface import SURFACE_SYMBOLS
    from zl_assets.core.features.wide_matrix import build_wide_matrix

    queries = {
        MATRIX: f"SELECT * FROM {MATRIX} WHERE symbol = '{FORECAST_SYMBOL}'",
        SESSIONS: f"SELECT * FROM {SESSIONS}",
    }
    run = begin(context, warehouse, FULL_MATRIX, queries, {"decision_time": str(settings.decision_time)})
    matrix, sessions = run.inputs[MATRIX], run.inputs[SESSIONS]
    schema = contract(FULL_MATRIX).polars_schema()
    rows = (
        schema.to_frame()
        if run.plan.nothing
        else build_wide_matrix(matrix, sessions, schema, run.moment, settings.decision_time, run.plan.since)
    )
    result = warehouse.merge(FULL_MATRIX, rows)
    return dg.MaterializeResult(
        metadata={**run.metadata(result), "columns": len(schema), "markets": ", ".join(SURFACE_SYMBOLS)}
    )


@dg.asset(
    **node(
        FULL_TABLE,
        group="full_training",
        kind="sql",
        description="Table training.zl_training_full_allhistory_{horizon}: the full surface with the horizon's target, "
        "frozen for training",
        per_horizon=True,
    ),
    deps=[FULL_MATRIX.split(".")],
    pool=WAREHOUSE_POOL,
)
def zl_training_full_allhistory(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Make the view of the partition's horizon over the wide matrix, and freeze it."""
    horizon = context.partition_key
    warehouse.create_view(view_sql(FULL_VIEW, horizon))
    name = table_name(horizon, "full")
    rows = warehouse.replace(name, f"SELECT * FROM {full_view_name(horizon)}")
    return dg.MaterializeResult(metadata={"dagster/row_count": rows, "table": name})
