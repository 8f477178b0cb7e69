"""Checks of the full surface."""

from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.full_surface import FULL_TABLE, full_view_name
from zl_assets.assets.training import table_name
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.checks.features import span_of
from zl_assets.checks.training import (
    MEND_A_FEATURE,
    TARGET_UNKNOWN,
    evaluate_frozen,
    evaluate_no_null_target,
    evaluate_no_target_twin,
    evaluate_split,
    feature_names,
)
from zl_assets.partitions import HORIZON_PARTITIONS
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    import polars as pl

FULL_COLUMNS = 1_948
"""Columns of the full surface that have to be usable on the full history."""


def evaluate_wide_enough(rows: "pl.DataFrame") -> Verdict:
    """At least 1,948 columns are neither constant nor mostly null; on a shorter history they are counted only."""
    from zl_assets.core.features.full_surface import usable_columns

    usable = usable_columns(rows.drop("session_number", "sample_weight", "close"))
    needed = FULL_COLUMNS if span_of(rows).is_full_history else 0
    return Verdict(len(usable) >= needed, {"usable_columns": len(usable), "needed": needed, "columns": rows.width})


def evaluate_finite(rows: "pl.DataFrame") -> Verdict:
    """No value is infinite or not a number: what cannot be computed is missing."""
    import polars as pl

    wrong = rows.select(pl.selectors.float().is_finite().not_().sum())
    found = {c.name: int(c[0]) for c in wrong.iter_columns() if c[0]}
    return no_offender(pl.DataFrame({"column": list(found), "values": list(found.values())}), columns=rows.width)


CHECKS = (
    Check("wide_enough", "At least 1,948 usable columns on the full history", evaluate_wide_enough),
    Check("finite", "No infinite value", evaluate_finite),
)
TABLE_CHECKS = (
    Check("equals_view", "The frozen table holds the view's rows", lambda t, v, _h: evaluate_frozen(t, v)),
    Check(
        "split_right", "Split at 2023-01-01, no train outcome in the test period", lambda t, _v, _h: evaluate_split(t)
    ),
    Check("no_null_target", "No training row without a target", lambda t, _v, h: evaluate_no_null_target(t, h)),
    Check(
        "no_target_twin",
        TARGET_UNKNOWN,
        lambda t, _v, h: evaluate_no_target_twin(t, feature_names(t), h),
        action=MEND_A_FEATURE,
    ),
)


@dg.multi_asset_check(name="zl_training_full_checks", specs=specs(FULL_TABLE, TABLE_CHECKS, HORIZON_PARTITIONS))
def zl_training_full_checks(context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Check the frozen full table of the partition's horizon."""
    horizon = context.partition_key
    names = {"frozen": table_name(horizon, "full"), "view": full_view_name(horizon)}
    both = warehouse.read_all({key: f"SELECT * FROM {name}" for key, name in names.items()})
    yield from evaluated(FULL_TABLE, TABLE_CHECKS, both["frozen"], both["view"], horizon)
