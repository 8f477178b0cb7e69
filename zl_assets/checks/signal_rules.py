"""The twelve signal treatment rules, as checks of the production surface."""

from typing import TYPE_CHECKING

from zl_assets.checks.common import Check, Verdict, no_offender
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.instruments import FORECAST_SYMBOL
from zl_assets.settings import Settings
from zl_assets.warehouse.surfaces import listed_features

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from zl_assets.core.features.signal_rules import Violation

RULE_NUMBERS = range(1, 13)
ACTION = "mend the column's line in sql/surfaces/prod.csv, or the family that computes it"


def violations(matrix: "pl.DataFrame", sessions: "pl.DataFrame", series: "dict[str, pl.DataFrame]", settings: Settings):
    """Everything that breaks a rule: by what the registry says of the surface's columns, and by their values."""
    from zl_assets.core.features.matrix import inputs_of
    from zl_assets.core.features.raw_as_of import raw_as_of
    from zl_assets.core.features.registry import features
    from zl_assets.core.features.signal_rules import broken_rules, disguised

    registry = list(features().values())
    by_registry = {
        violation
        for horizon in HORIZONS
        for violation in broken_rules(registry, [f.feature for f in listed_features() if horizon in f.horizons])
    }
    instruments = inputs_of(sessions, series, settings.decision_time, [FORECAST_SYMBOL])
    by_values = [v for inputs in instruments for v in disguised(matrix, raw_as_of(inputs))]
    return sorted({*by_registry, *by_values}, key=lambda v: (v.rule, v.column))


def evaluate_rule(found: "Sequence[Violation]", number: int) -> Verdict:
    """No column of the surface breaks the rule of this number."""
    import polars as pl

    rows = [{"rule": v.rule, "column": v.column, "problem": v.problem} for v in found if v.rule == number]
    schema = {"rule": pl.Int64, "column": pl.String, "problem": pl.String}
    return no_offender(pl.DataFrame(rows, schema=schema), rule=number)


def _check(number: int) -> Check:
    return Check(
        f"signal_rule_{number:02d}",
        f"Signal treatment rule {number} holds for every column of the production surface",
        lambda found: evaluate_rule(found, number),
        action=ACTION,
    )


CHECKS = tuple(_check(number) for number in RULE_NUMBERS)
