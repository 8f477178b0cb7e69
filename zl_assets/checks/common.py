"""A check is a pure evaluation with a frozen verdict, and a thin shell that shows it in Dagster."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

if TYPE_CHECKING:
    import polars as pl

SHOWN_OFFENDERS = 10
"""Offending rows in a check's metadata."""
SAID_OFFENDERS = 3
"""Offending rows in the sentence of a warning; what stops a run is told in full."""
WHAT_TO_DO = "what_to_do"
"""Metadata of a check that failed and has advice."""


@dataclass(frozen=True)
class Verdict:
    """Outcome of one evaluation.

    Attributes:
        passed: whether what was checked is as it must be.
        numbers: what was counted or measured, by name.
        offenders: the rows that break the rule; None or empty where there are none.
        severity: of a failure, where it depends on what was found; else an error blocks and anything else warns.
    """

    passed: bool
    numbers: dict[str, Any] = field(default_factory=dict[str, Any])
    offenders: pl.DataFrame | None = None
    severity: Literal["warning", "error"] | None = None


def no_offender(offenders: pl.DataFrame, **numbers: Any) -> Verdict:
    """Verdict of a rule that no row may break."""
    return Verdict(offenders.is_empty(), {**numbers, "offending_rows": offenders.height}, offenders)


@dataclass(frozen=True)
class Check:
    """A named rule about one asset.

    Attributes:
        name: unique for the asset.
        description: the rule in words.
        evaluate: from the inputs that the asset's checks share to a verdict.
        blocking: whether a failure stops the run; else it warns.
        action: what to do where it fails.
    """

    name: str
    description: str
    evaluate: Callable[..., Verdict]
    blocking: bool = True
    action: str = ""


def specs(
    table: str, checks: Sequence[Check], partitions_def: dg.PartitionsDefinition | None = None
) -> list[dg.AssetCheckSpec]:
    """Dagster's specs of the checks of ``dataset.table``."""
    with warnings.catch_warnings():
        # Dagster marks partitioned checks as a preview. Without them the last horizon's result would stand for all.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                c.name,
                asset=table.split("."),
                description=c.description,
                blocking=c.blocking,
                partitions_def=partitions_def,
            )
            for c in checks
        ]


def evaluated(table: str, checks: Sequence[Check], *inputs: Any) -> Iterator[dg.AssetCheckResult]:
    """Every check of a table on shared inputs, each as a result with its numbers and first offending rows."""
    for check in checks:
        verdict = check.evaluate(*inputs)
        yield dg.AssetCheckResult(
            passed=verdict.passed,
            asset_key=table.split("."),
            check_name=check.name,
            severity=_severity(check, verdict),
            description=_sentence(check, verdict),
            metadata=_metadata(check, verdict),
        )


def _severity(check: Check, verdict: Verdict) -> dg.AssetCheckSeverity:
    error = verdict.severity == "error" if verdict.severity else check.blocking
    return dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN


def _sentence(check: Check, verdict: Verdict) -> str:
    """The rule, and where it is broken what was found."""
    if verdict.passed:
        return check.description
    found = ", ".join(f"{name} = {value}" for name, value in verdict.numbers.items())
    said = SHOWN_OFFENDERS if _severity(check, verdict) == dg.AssetCheckSeverity.ERROR else SAID_OFFENDERS
    offenders = [] if verdict.offenders is None else verdict.offenders.head(said).iter_rows()
    rows = ", ".join(" ".join(str(value) for value in row) for row in offenders)
    return f"does not hold: {check.description} ({found}{'; first: ' if rows else ''}{rows})"


def _metadata(check: Check, verdict: Verdict) -> dict[str, Any]:
    shown: dict[str, Any] = dict(verdict.numbers)
    if check.action and not verdict.passed:
        shown[WHAT_TO_DO] = check.action
    if verdict.offenders is not None and not verdict.offenders.is_empty():
        rows = verdict.offenders.head(SHOWN_OFFENDERS)
        header = "| " + " | ".join(rows.columns) + " |\n|" + "---|" * rows.width
        body = "\n".join("| " + " | ".join(str(v) for v in row) + " |" for row in rows.iter_rows())
        shown["first_offending_rows"] = dg.MetadataValue.md(f"{header}\n{body}")
    return shown
