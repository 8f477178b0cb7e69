"""Checks of the regime sets and the regime calendar."""

from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.regimes import CALENDAR, WEIGHTS
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    import polars as pl

V0_REGIMES = 7
V0_START, V0_END = date(2010, 1, 1), date(2029, 12, 31)


def evaluate_v0_contiguous(weights: "pl.DataFrame") -> Verdict:
    """The v0 set is seven regimes that cover 2010-01-01 to 2029-12-31 without gap or overlap."""
    import polars as pl

    v0 = weights.filter(pl.col("regime_set") == "v0").sort("start_date")
    seams = v0.with_columns(expected_start=pl.col("end_date").shift(1) + timedelta(days=1))
    broken = seams.filter(
        (pl.col("start_date") != pl.col("expected_start")).fill_null(False)
        | (pl.col("end_date") < pl.col("start_date"))
    ).select("regime", "start_date", "end_date", "expected_start")
    whole = v0.height == V0_REGIMES and v0["start_date"].min() == V0_START and v0["end_date"].max() == V0_END
    numbers = {"regimes": v0.height, "from": str(v0["start_date"].min()), "to": str(v0["end_date"].max())}
    return Verdict(whole and broken.is_empty(), numbers, broken)


def evaluate_weights_positive(weights: "pl.DataFrame") -> Verdict:
    """Every weight is above zero."""
    import polars as pl

    return no_offender(weights.filter(pl.col("weight") <= 0), rows=weights.height)


def evaluate_calendar_whole(calendar: "pl.DataFrame") -> Verdict:
    """The calendar has every day from 1990-01-01 exactly once."""
    import polars as pl

    days = calendar.sort("calendar_date")
    jumps = days.with_columns(previous=pl.col("calendar_date").shift(1)).filter(
        pl.col("calendar_date") - pl.col("previous") != timedelta(days=1)
    )
    starts = days["calendar_date"].min() == date(1990, 1, 1)
    return Verdict(starts and jumps.is_empty(), {"days": days.height, "to": str(days["calendar_date"].max())}, jumps)


WEIGHTS_CHECKS = (
    Check("v0_contiguous", "Seven v0 regimes, 2010-01-01 to 2029-12-31, no gap, no overlap", evaluate_v0_contiguous),
    Check("weights_positive", "Every weight is above zero", evaluate_weights_positive),
)
CALENDAR_CHECKS = (Check("whole", "Every day from 1990-01-01 exactly once", evaluate_calendar_whole),)


@dg.multi_asset_check(name="regime_checks", specs=specs(WEIGHTS, WEIGHTS_CHECKS) + specs(CALENDAR, CALENDAR_CHECKS))
def regime_checks(warehouse: dg.ResourceParam[Warehouse]):
    """Check the regimes."""
    read = warehouse.read_all({table: f"SELECT * FROM {table}" for table in (WEIGHTS, CALENDAR)})
    yield from evaluated(WEIGHTS, WEIGHTS_CHECKS, read[WEIGHTS])
    yield from evaluated(CALENDAR, CALENDAR_CHECKS, read[CALENDAR])
