"""Evidence about what models are made of: whether each feature family earns its place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from zl_assets.assets.common import counts, merged, node, utc_now
from zl_assets.assets.training import TABLE, is_simulated, table_name, training_rows
from zl_assets.core.horizons import HORIZONS, Horizon
from zl_assets.errors import InputError
from zl_assets.warehouse.base import MergeResult, Warehouse
from zl_assets.warehouse.surfaces import listed_features

if TYPE_CHECKING:
    import polars as pl

IMPACT = "monitoring.family_impact"
SEED = 20100607
"""Of noise and bootstrap, unless another is asked for."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class GatedFamilies:
    """The families to judge, behind functions, so that the graph loads without loading them.

    Attributes:
        load: from the code of a horizon to the columns of its training rows, by family.
        load_base: columns they are judged beside; a family that is among them is judged by leaving it out.
    """

    load: Callable[[str], Mapping[str, Sequence[str]]]
    load_base: Callable[[], Sequence[str]]


def listed_families(horizon: str) -> dict[str, tuple[str, ...]]:
    """Columns of a horizon's production training table by family; of the base, those that models learn from."""
    from zl_assets.core.models.base import STATIONARY_FEATURES

    found: dict[str, list[str]] = {}
    for line in (f for f in listed_features() if horizon in f.horizons):
        found.setdefault(line.family, []).append(line.column)
    return {name: STATIONARY_FEATURES if name == "base" else tuple(columns) for name, columns in found.items()}


def stationary_features() -> tuple[str, ...]:
    """What families are judged beside: the columns that models learn from."""
    from zl_assets.core.models.base import STATIONARY_FEATURES

    return STATIONARY_FEATURES


GATED = GatedFamilies(listed_families, stationary_features)


@dataclass(frozen=True)
class GateRequest:
    """What to judge.

    Attributes:
        horizon: what is forecast.
        run_id: run that asks.
        family: one family alone; None for all. Its level is that of all of them: asking one by one gains nothing.
        surface: whose training rows.
        seed: of noise and bootstrap.
        quick: fewer folds and noise draws of the same fits.
    """

    horizon: Horizon
    run_id: str
    family: str | None = None
    surface: str = "prod"
    seed: int = SEED
    quick: bool = False


def judge(
    warehouse: Warehouse, gated: GatedFamilies, request: GateRequest, report: Report
) -> "tuple[pl.DataFrame, MergeResult]":
    """Judge families on stored training rows and store what was found.

    Returns:
        The rows of monitoring.family_impact, and what their merge changed.

    Raises:
        InputError: no such family, no training rows, or rows without a family's columns.
        NotEnoughHistory: too few rows for the horizon.
    """
    from zl_assets.core.evaluation.family_gate import QUICK, GateConfig, gate
    from zl_assets.core.evaluation.family_impact import GateContext, impact_rows

    families = gated.load(request.horizon.code)
    chosen = _chosen(families, request)
    frame = training_rows(warehouse, request.horizon, request.surface)
    if frame.is_empty():
        table = table_name(request.horizon.code, request.surface)
        raise InputError(f"{table} holds no row to learn from", action=f"run `zl run --horizon {request.horizon.code}`")
    evidence = gate(
        frame,
        request.horizon,
        chosen,
        gated.load_base(),
        seed=request.seed,
        config=QUICK if request.quick else GateConfig(),
        comparisons=len(families),
        report=report,
    )
    context = GateContext(
        as_of_date=frame["data_date"][-1],
        surface=request.surface,
        horizon=request.horizon,
        seed=request.seed,
        is_simulated=is_simulated(frame),
        run_id=request.run_id,
        created_at=utc_now(),
    )
    rows = impact_rows(evidence, context)
    return rows, warehouse.merge(IMPACT, rows)


def _chosen(families: Mapping[str, Sequence[str]], request: GateRequest) -> Mapping[str, Sequence[str]]:
    if request.family is None:
        return families
    if request.family not in families:
        raise InputError(
            f"the surface of {request.horizon.code} has no column of such a feature family",
            where=request.family,
            action=f"choose one of {', '.join(families)}",
        )
    return {request.family: families[request.family]}


class GateRunConfig(dg.Config):
    """How thoroughly to judge."""

    quick: bool = Field(default=False, description="Fewer folds and noise draws of the same fits")
    seed: int = Field(default=SEED, ge=0, description="Seed of noise and bootstrap")


@dg.asset(
    **node(IMPACT, group="monitoring", kind="lightgbm", per_horizon=True),
    deps=[TABLE.split(".")],
)
def family_impact(
    context: dg.AssetExecutionContext,
    config: GateRunConfig,
    warehouse: dg.ResourceParam[Warehouse],
    families: dg.ResourceParam[GatedFamilies],
):
    """Judge every family at the partition's horizon, as `zl gate` does. It costs minutes, so no job holds it."""
    request = GateRequest(HORIZONS[context.partition_key], context.run.run_id, seed=config.seed, quick=config.quick)
    rows, result = judge(warehouse, families, request, context.log.info)
    verdicts = rows["verdict"].value_counts().sort("verdict")
    return dg.MaterializeResult(
        metadata={
            **merged(result, rows.height),
            "simulated": bool(rows["is_simulated"].any()),
            "verdicts": counts(dict(verdicts.iter_rows())),
            "kept": ", ".join(rows.filter(rows["verdict"] == "keep")["family"]) or "none",
        }
    )
