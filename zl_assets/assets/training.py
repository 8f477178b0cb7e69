"""The training view of a horizon, and the frozen table that models learn from."""

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, column_schema, node
from zl_assets.assets.features import MATRIX
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract, view_sql

VIEW = "training.vw_zl_flat"
TABLE = "training.zl_training_prod_allhistory"


def view_name(horizon: str) -> str:
    """Name of the training view of a horizon."""
    return f"training.vw_zl_{horizon}_flat"


def table_name(horizon: str) -> str:
    """Name of the frozen training table of a horizon, production surface."""
    return f"{TABLE}_{horizon}"


@dg.asset(
    **node(
        VIEW,
        group="training",
        kind="sql",
        description="View training.vw_zl_{horizon}_flat: features, weight, target, split of one horizon; no JOIN",
        per_horizon=True,
    ),
    deps=[MATRIX.split(".")],
    pool=WAREHOUSE_POOL,
)
def vw_zl_flat(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Create the view of the partition's horizon."""
    horizon = context.partition_key
    statement = view_sql(VIEW, horizon)
    warehouse.create_view(statement)
    return dg.MaterializeResult(
        metadata={"view": view_name(horizon), "sql": dg.MetadataValue.md(f"```sql\n{statement}\n```")}
    )


@dg.asset(
    **node(
        TABLE,
        group="training",
        kind="sql",
        description="Table training.zl_training_prod_allhistory_{horizon}: the view's rows, frozen for training",
        per_horizon=True,
    ),
    deps=[VIEW.split(".")],
    pool=WAREHOUSE_POOL,
)
def zl_training_prod_allhistory(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Freeze the view of the partition's horizon."""
    horizon = context.partition_key
    name = table_name(horizon)
    rows = warehouse.replace(name, f"SELECT * FROM {view_name(horizon)}")
    schema = column_schema(contract(name))
    return dg.MaterializeResult(metadata={"dagster/row_count": rows, "table": name, "dagster/column_schema": schema})
