"""The two sets of market regimes and the regime of every day."""

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, merged, node, utc_now
from zl_assets.warehouse.base import Warehouse

WEIGHTS = "training.regime_weights"
CALENDAR = "training.regime_calendar"


@dg.asset(
    **node(WEIGHTS, group="regimes", kind="python"),
    pool=WAREHOUSE_POOL,
)
def regime_weights(warehouse: dg.ResourceParam[Warehouse]):
    """Store both regime sets."""
    from zl_assets.core import regimes

    rows = regimes.regime_weights(utc_now())
    return dg.MaterializeResult(metadata=merged(warehouse.merge(WEIGHTS, rows), rows.height))


@dg.asset(
    **node(CALENDAR, group="regimes", kind="python"),
    pool=WAREHOUSE_POOL,
)
def regime_calendar(warehouse: dg.ResourceParam[Warehouse]):
    """Store the regime of every day up to today."""
    from zl_assets.core import regimes

    now = utc_now()
    rows = regimes.regime_calendar(now.date(), now)
    return dg.MaterializeResult(metadata=merged(warehouse.merge(CALENDAR, rows), rows.height))
