"""The feature matrix."""

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, merged, node, utc_now
from zl_assets.assets.market_data import SESSIONS
from zl_assets.assets.regimes import WEIGHTS
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract

MATRIX = "features.daily_ml_matrix"


@dg.asset(
    **node(MATRIX, group="features", kind="polars"),
    deps=[SESSIONS.split("."), WEIGHTS.split(".")],
    pool=WAREHOUSE_POOL,
)
def daily_ml_matrix(warehouse: dg.ResourceParam[Warehouse]):
    """Build every row of the matrix and merge what changed."""
    from zl_assets.core.features.matrix import FLAT_FEATURES, build_matrix

    sessions = warehouse.read(f"SELECT * FROM {SESSIONS}")
    rows = build_matrix(sessions, contract(MATRIX).polars_schema(), utc_now())
    result = warehouse.merge(MATRIX, rows)
    return dg.MaterializeResult(
        metadata={
            **merged(result, rows.height),
            "first_date": str(rows["data_date"].min()),
            "last_date": str(rows["data_date"].max()),
            "suspect_rows": int(rows["is_suspect"].sum()),
            "rows_with_all_features": rows.drop_nulls(list(FLAT_FEATURES)).height,
        }
    )
