"""How every model of a horizon did year by year, or regime by regime.

Belongs here: the comparison of models group by group. The scores of a group are in `scores`.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from zl_assets.core.evaluation.scores import GROUP_SCHEMA, Grouping, scores_by
from zl_assets.core.horizons import Horizon
from zl_assets.core.models.shelf import NO_CHANGE

GROUPINGS: dict[str, Grouping] = {"year": "year", "regime": "regime_name"}
"""What sessions can be grouped by: what a user calls it, and the column."""

BREAKDOWN_SCHEMA: dict[str, pl.DataType] = {"model": pl.String(), "group": pl.String(), **GROUP_SCHEMA}
"""One model in one group a row: a year or the name of a regime, then the columns of `scores_by`."""


def breakdown(calibrated: Mapping[str, pl.DataFrame], horizon: Horizon, by: Grouping) -> pl.DataFrame:
    """Scores of each model in each group of sessions, beside no-change on the same rows.

    Args:
        calibrated: out-of-fold rows by model, no-change among them.
        horizon: what was forecast.
        by: how sessions are grouped; a group holds those whose forecast was made in it.

    Returns:
        Rows of BREAKDOWN_SCHEMA, model by model, groups in order of their first session.

    Raises:
        InputError: a column is missing, or models were judged on other rows than no-change.
    """
    parts = [
        scores_by(rows, horizon.sessions, by, calibrated[NO_CHANGE]).with_columns(
            model=pl.lit(model), group=pl.col(by).cast(pl.String)
        )
        for model, rows in calibrated.items()
    ]
    return pl.concat(parts).select(pl.col(name).cast(dtype) for name, dtype in BREAKDOWN_SCHEMA.items())


def breakdown_markdown(table: pl.DataFrame) -> str:
    """The CRPS of each model over no-change's by group, as a table for people: a group a column."""
    groups = table["group"].unique(maintain_order=True).to_list()
    head = "\n".join(["| model | " + " | ".join(map(str, groups)) + " |", "|---" * (len(groups) + 1) + "|"])
    lines = [
        f"| {model} | " + " | ".join("" if r is None else f"{r:.3f}" for r in rows["crps_vs_no_change"]) + " |"
        for (model,), rows in table.group_by("model", maintain_order=True)
    ]
    return "\n".join([head, *lines])
