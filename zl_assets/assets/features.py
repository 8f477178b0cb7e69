"""The feature matrix."""

from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, counts, merged, node, utc_now
from zl_assets.assets.market_data import SESSIONS
from zl_assets.assets.raw_intelligence import SERIES_TABLES
from zl_assets.assets.regimes import WEIGHTS
from zl_assets.core.instruments import FORECAST_SYMBOL
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract

if TYPE_CHECKING:
    import polars as pl

MATRIX = "features.daily_ml_matrix"


def sessions_and_series(warehouse: Warehouse) -> "tuple[pl.DataFrame, dict[str, pl.DataFrame]]":
    """What families read: every session, and every raw series by table name without the dataset."""
    everything = warehouse.read_all({name: f"SELECT * FROM {name}" for name in (SESSIONS, *SERIES_TABLES)})
    sessions = everything.pop(SESSIONS)
    return sessions, {name.split(".")[1]: rows for name, rows in everything.items()}


@dg.asset(
    **node(MATRIX, group="features", kind="polars"),
    deps=[table.split(".") for table in (SESSIONS, WEIGHTS, *SERIES_TABLES)],
    pool=WAREHOUSE_POOL,
)
def daily_ml_matrix(warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]):
    """Build every row of the matrix and merge what changed."""
    from zl_assets.core.features.matrix import build_matrix

    sessions, series = sessions_and_series(warehouse)
    schema = contract(MATRIX).polars_schema()
    rows = build_matrix(sessions, schema, utc_now(), series=series, at=settings.decision_time)
    result = warehouse.merge(MATRIX, rows)
    return dg.MaterializeResult(
        metadata={
            **merged(result, rows.height),
            "first_date": str(rows["data_date"].min()),
            "last_date": str(rows["data_date"].max()),
            "suspect_rows": int(rows["is_suspect"].sum()),
            "rows_by_symbol": counts(dict(rows.group_by("symbol").len().sort("symbol").iter_rows())),
            "families": counts(_filled_columns(rows)),
        }
    )


def _filled_columns(rows: "pl.DataFrame") -> dict[str, int]:
    """By family, how many of its flat columns hold a value for the instrument that is forecast."""
    import polars as pl

    from zl_assets.core.features.registry import FAMILIES

    own = rows.filter(pl.col("symbol") == FORECAST_SYMBOL)
    empty = {s.name for s in own.null_count().iter_columns() if s[0] == own.height}
    return {f.name: sum(c.name.split(".")[0] not in empty for c in f.features) for f in FAMILIES}
