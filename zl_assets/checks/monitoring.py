"""Checks of the evidence per feature family."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.monitoring import IMPACT, GatedFamilies
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.partitions import HORIZON_PARTITIONS
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    import polars as pl


def evaluate_every_family_judged(rows: "pl.DataFrame", families: Collection[str]) -> Verdict:
    """Every family of the registry has a verdict; one may have left the registry since it was judged."""
    import polars as pl

    judged = set(rows["family"])
    missing = pl.DataFrame({"family": [f for f in families if f not in judged]}, schema={"family": pl.String})
    return no_offender(missing, families=len(families))


def evaluate_none_to_investigate(rows: "pl.DataFrame", families: Collection[str]) -> Verdict:
    """No family of the registry does harm beyond noise, nor helps more than an honest one can."""
    import polars as pl

    shown = ("family", "as_of_date", "mean_difference", "loss_without")
    wrong = rows.filter((pl.col("verdict") == "investigate") & pl.col("family").is_in(list(families))).select(shown)
    return no_offender(wrong, judged=rows.height)


CHECKS = (
    Check(
        "every_family_judged",
        "Every feature family has a verdict",
        evaluate_every_family_judged,
        blocking=False,
        action="run `zl gate`",
    ),
    Check(
        "none_to_investigate",
        "No feature family does harm beyond noise or is too good to be true",
        evaluate_none_to_investigate,
        blocking=False,
        action="look for the outcome in its columns, or leave the family out",
    ),
)


@dg.multi_asset_check(name="family_impact_checks", specs=specs(IMPACT, CHECKS, HORIZON_PARTITIONS))
def family_impact_checks(
    context: dg.AssetCheckExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    families: dg.ResourceParam[GatedFamilies],
):
    """Check the newest evidence about each family at the partition's horizon."""
    from zl_assets.core.evaluation.family_impact import newest_by_family

    sql = f"SELECT * FROM {IMPACT} WHERE horizon = @horizon AND surface = 'prod'"
    rows = newest_by_family(warehouse.read(sql, {"horizon": context.partition_key}))
    yield from evaluated(IMPACT, CHECKS, rows, tuple(families.load(context.partition_key)))
