"""The two sets of market regimes and the regime of every day."""

import dagster as dg

from zl_assets.assets.common import OWNERS, WAREHOUSE_POOL, described, merged, utc_now
from zl_assets.warehouse.base import Warehouse

WEIGHTS = "training.regime_weights"
CALENDAR = "training.regime_calendar"


@dg.asset(
    key=WEIGHTS.split("."),
    group_name="regimes",
    owners=OWNERS,
    kinds={"python"},
    code_version="1",
    pool=WAREHOUSE_POOL,
    **described(WEIGHTS),
)
def regime_weights(warehouse: dg.ResourceParam[Warehouse]):
    """Store both regime sets."""
    from zl_assets.core import regimes

    rows = regimes.regime_weights(utc_now())
    return dg.MaterializeResult(metadata=merged(warehouse.merge(WEIGHTS, rows), rows.height))


@dg.asset(
    key=CALENDAR.split("."),
    group_name="regimes",
    owners=OWNERS,
    kinds={"python"},
    code_version="1",
    pool=WAREHOUSE_POOL,
    **described(CALENDAR),
)
def regime_calendar(warehouse: dg.ResourceParam[Warehouse]):
    """Store the regime of every day up to today."""
    from zl_assets.core import regimes

    now = utc_now()
    rows = regimes.regime_calendar(now.date(), now)
    return dg.MaterializeResult(metadata=merged(warehouse.merge(CALENDAR, rows), rows.height))
