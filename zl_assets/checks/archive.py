"""The check of the shim views' grace periods."""

from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.common import utc_now
from zl_assets.checks.common import Check, Verdict, evaluated, specs
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.shims import SHIMS, recorded_shims, state_of

if TYPE_CHECKING:
    import polars as pl


def evaluate_within_grace(shims: "pl.DataFrame", today: date) -> Verdict:
    """No grace period is over, which is an error, or ends within 7 days, which is a warning.

    Args:
        shims: rows of archive.shims.
        today: in UTC. The day of creation is day 0: day 23 is the first to warn, day 30 the last, day 31 fails.
    """
    import polars as pl

    days_left = (pl.col("expires_on") - pl.lit(today)).dt.total_days()
    rows = shims.select("legacy_name", "target", "expires_on", days_left=days_left).sort("days_left", "legacy_name")
    states = pl.Series([state_of(days) for days in rows["days_left"]], dtype=pl.String)
    numbers = {
        "shims": rows.height,
        "ending": int((states == "ends soon").sum()),
        "over": int((states == "over").sum()),
    }
    offenders = rows.filter(states != "in grace")
    return Verdict(offenders.is_empty(), numbers, offenders, "error" if numbers["over"] else "warning")


SHIM_CHECKS = (
    Check(
        "within_grace",
        "Every shim view has more than 7 of its 30 days left",
        evaluate_within_grace,
        blocking=False,
        action="read the table under its new name, then `zl shims drop`",
    ),
)


@dg.multi_asset_check(name="shim_checks", specs=specs(SHIMS, SHIM_CHECKS))
def shim_checks(warehouse: dg.ResourceParam[Warehouse]):
    """Check the shim views."""
    yield from evaluated(SHIMS, SHIM_CHECKS, recorded_shims(warehouse), utc_now().date())
