"""`zl gate`: judges feature families at some horizons and stores the evidence."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zl_assets.assets.monitoring import SEED, GatedFamilies, GateRequest, judge
from zl_assets.build import build_warehouse
from zl_assets.core.horizons import HORIZONS
from zl_assets.settings import Settings

if TYPE_CHECKING:
    import polars as pl

Report = Callable[[str], None]


def gate_families(
    settings: Settings,
    gated: GatedFamilies,
    horizons: Sequence[str],
    report: Report,
    *,
    family: str | None = None,
    surface: str = "prod",
    quick: bool = False,
    seed: int = SEED,
) -> pl.DataFrame:
    """Judge families on the stored training rows; each horizon is stored when it is judged.

    Args:
        settings: where the warehouse is.
        gated: the families and what they are judged beside.
        horizons: codes of the horizons, at least one.
        report: told in one line which horizon begins and which family has been judged.
        family: one family alone; None for all. A horizon whose surface has no column of it is left out.
        surface: whose training rows.
        quick: the latest folds and few noise draws, of the same fits.
        seed: of noise and bootstrap.

    Returns:
        Rows of monitoring.family_impact, in the order of horizons and families.

    Raises:
        InputError: no such family, no training rows, or rows without a family's columns.
        NotEnoughHistory: too few rows for a horizon; what was judged before it stays stored.
    """
    import polars as pl

    warehouse = build_warehouse(settings)
    warehouse.ensure()
    run_id = str(uuid.uuid4())
    judged: list[pl.DataFrame] = []
    without = [code for code in horizons if family is not None and family not in gated.load(code)]
    for code in horizons:
        if code in without and len(without) < len(horizons):
            report(f"horizon {code}: its surface has no column of {family}")
            continue
        report(f"horizon {code}")
        request = GateRequest(HORIZONS[code], run_id, family=family, surface=surface, seed=seed, quick=quick)
        rows, _ = judge(warehouse, gated, request, lambda line: report(f"  {line}"))
        judged.append(rows)
    return pl.concat(judged)
