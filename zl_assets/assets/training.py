"""The training view of a horizon, and the frozen table that models learn from."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, column_schema, node
from zl_assets.assets.features import MATRIX
from zl_assets.core.horizons import Horizon
from zl_assets.core.instruments import FORECAST_SYMBOL, SECOND_SYMBOL
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract, view_sql

if TYPE_CHECKING:
    import polars as pl

FLAT = "training.vw_flat"
VIEW = "training.vw_zl_flat"
MES_VIEW = "training.vw_mes_flat"
TABLE = "training.zl_training_prod_allhistory"


def view_name(horizon: str, symbol: str = FORECAST_SYMBOL) -> str:
    """Name of the training view of a horizon and instrument."""
    return f"training.vw_{symbol.lower()}_{horizon}_flat"


def table_name(horizon: str, surface: str = "prod") -> str:
    """Name of the frozen training table of a horizon and surface."""
    return f"training.zl_training_{surface}_allhistory_{horizon}"


def training_rows(warehouse: Warehouse, horizon: Horizon, surface: str = "prod") -> "pl.DataFrame":
    """The frame that models of a horizon learn from."""
    from zl_assets.core.training_frame import training_frame

    rows = warehouse.read(f"SELECT * FROM {table_name(horizon.code, surface)} ORDER BY data_date")
    return training_frame(rows, horizon)


def is_simulated(frame: "pl.DataFrame") -> bool:
    """Whether any row is of a simulated market."""
    return bool(frame["source"].eq("simulated").any())


def _view_node(name: str, symbol: str) -> dict[str, Any]:
    description = f"View training.vw_{symbol.lower()}_{{horizon}}_flat: features, weight, target, split; no JOIN"
    return node(name, group="training", kind="sql", description=description, per_horizon=True)


def _make_view(warehouse: Warehouse, horizon: str, symbol: str) -> dg.MaterializeResult[Any]:
    statement = view_sql(FLAT, horizon, symbol=symbol)
    warehouse.create_view(statement)
    return dg.MaterializeResult(
        metadata={"view": view_name(horizon, symbol), "sql": dg.MetadataValue.md(f"```sql\n{statement}\n```")}
    )


@dg.asset(**_view_node(VIEW, FORECAST_SYMBOL), deps=[MATRIX.split(".")], pool=WAREHOUSE_POOL)
def vw_zl_flat(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Create the view of the partition's horizon."""
    return _make_view(warehouse, context.partition_key, FORECAST_SYMBOL)


@dg.asset(**_view_node(MES_VIEW, SECOND_SYMBOL), deps=[MATRIX.split(".")], pool=WAREHOUSE_POOL)
def vw_mes_flat(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Create the view of the second instrument for the partition's horizon."""
    return _make_view(warehouse, context.partition_key, SECOND_SYMBOL)


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
