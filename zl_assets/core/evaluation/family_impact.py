"""What is kept of a gate: one row a family and horizon, with everything its verdict rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from statistics import fmean

import polars as pl

from zl_assets.core.evaluation.family_gate import Evidence, Verdict
from zl_assets.core.horizons import HORIZONS, Horizon

IMPACT_SCHEMA: dict[str, pl.DataType] = {
    "as_of_date": pl.Date(),
    "surface": pl.String(),
    "horizon": pl.String(),
    "family": pl.String(),
    "n_columns": pl.Int64(),
    "base": pl.String(),
    "n_rows": pl.Int64(),
    "n_independent": pl.Int64(),
    "loss_with": pl.Float64(),
    "loss_without": pl.Float64(),
    "mean_difference": pl.Float64(),
    "interval_low": pl.Float64(),
    "interval_high": pl.Float64(),
    "level": pl.Float64(),
    "folds": pl.Int64(),
    "folds_improved_share": pl.Float64(),
    "noise_draws": pl.Int64(),
    "noise_mean_difference": pl.Float64(),
    "noise_low": pl.Float64(),
    "noise_high": pl.Float64(),
    "against_noise_low": pl.Float64(),
    "against_noise_high": pl.Float64(),
    "verdict": pl.String(),
    "seed": pl.Int64(),
    "is_simulated": pl.Boolean(),
    "run_id": pl.String(),
    "created_at": pl.Datetime("us", "UTC"),
}
"""Columns of monitoring.family_impact."""


@dataclass(frozen=True)
class GateContext:
    """What the rows of one gate have in common.

    Attributes:
        as_of_date: newest session of the training rows.
        surface: feature surface they come from.
        horizon: what was forecast.
        seed: of noise and bootstrap.
        is_simulated: whether the prices behind them are simulated.
        run_id: run of the gate.
        created_at: moment of the rows, UTC.
    """

    as_of_date: date
    surface: str
    horizon: Horizon
    seed: int
    is_simulated: bool
    run_id: str
    created_at: datetime


def impact_rows(evidence: Sequence[Evidence], context: GateContext) -> pl.DataFrame:
    """Rows of IMPACT_SCHEMA, one a family in the order given; intervals are null where no test was possible."""
    return pl.DataFrame([_row(e, context) for e in evidence], schema=IMPACT_SCHEMA)


def _row(e: Evidence, context: GateContext) -> dict[str, object]:
    names = ", ".join(e.base)
    return {
        "as_of_date": context.as_of_date,
        "surface": context.surface,
        "horizon": context.horizon.code,
        "family": e.family,
        "n_columns": len(e.columns),
        "base": f"{len(e.base)} columns: {names}" if names else "no-change",
        "n_rows": e.n_rows,
        "n_independent": e.n_independent,
        "loss_with": e.loss_with,
        "loss_without": e.loss_without,
        "mean_difference": e.mean_difference,
        "interval_low": e.interval and e.interval.low,
        "interval_high": e.interval and e.interval.high,
        "level": e.level,
        "folds": e.folds,
        "folds_improved_share": e.folds_improved_share,
        "noise_draws": len(e.noise_differences),
        "noise_mean_difference": fmean(e.noise_differences),
        "noise_low": min(e.noise_differences),
        "noise_high": max(e.noise_differences),
        "against_noise_low": e.against_noise and e.against_noise.low,
        "against_noise_high": e.against_noise and e.against_noise.high,
        "verdict": e.verdict,
        "seed": context.seed,
        "is_simulated": context.is_simulated,
        "run_id": context.run_id,
        "created_at": context.created_at,
    }


def newest_by_family(rows: pl.DataFrame) -> pl.DataFrame:
    """The newest row of each surface, horizon and family of monitoring.family_impact, sorted by them."""
    keys = ["surface", "horizon", "family"]
    return rows.sort("as_of_date").unique(keys, keep="last", maintain_order=True).sort(keys)


def summary(rows: pl.DataFrame) -> pl.DataFrame:
    """What the newest rows of monitoring.family_impact say about each family over all horizons.

    Returns:
        One row a surface and family, sorted: surface, family, n_columns, verdict, kept_at and investigate_at (codes of
        horizons, shortest first, comma between), best_change_pct (largest fall of the mean absolute error over the
        horizons in percent, negative; where none fell, the smallest rise), judged_on (oldest of its newest sessions).
        The verdict is the first of investigate, keep, no effect and not testable that any horizon came to.
    """
    order: tuple[Verdict, ...] = ("investigate", "keep", "no effect", "not testable")
    horizon = pl.col("horizon").cast(pl.Enum(list(HORIZONS)))
    verdict = pl.col("verdict").cast(pl.Enum(order))

    def at(wanted: Verdict) -> pl.Expr:
        return pl.col("horizon").filter(pl.col("verdict") == wanted).str.join(", ")

    return (
        newest_by_family(rows)
        .sort("surface", "family", horizon)
        .group_by("surface", "family", maintain_order=True)
        .agg(
            pl.col("n_columns").last(),
            verdict.min().cast(pl.String),
            at("keep").alias("kept_at"),
            at("investigate").alias("investigate_at"),
            (100 * pl.col("mean_difference") / pl.col("loss_without")).min().alias("best_change_pct"),
            pl.col("as_of_date").min().alias("judged_on"),
        )
    )
