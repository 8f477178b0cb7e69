"""Checks of the trained models, the same for each of them."""

from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.training import training_rows
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import SHELF, ModelSpec
from zl_assets.partitions import HORIZON_PARTITIONS
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    import polars as pl

    from zl_assets.artifacts import Artifact

SAME_FORECAST = 1e-6
"""Return by which a loaded model may differ from the one that was stored: the rounding of single precision."""

MAX_FOLD_RATIO = 3.0
MAX_GAIN_SHARE = 0.9


def evaluate_trained(artifact: "Artifact", rows: "pl.DataFrame") -> Verdict:
    """The stored model loads, and forecasts the newest session as it did when it was trained."""
    import numpy as np

    from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS
    from zl_assets.core.models.training import forecast_of, readable_rows

    readable = readable_rows(rows)
    session = readable.join(artifact.newest, on="session_number", how="semi")
    apart = float("nan")
    if not session.is_empty():
        again = forecast_of(artifact.forecaster(), readable, session)
        stored, now = (frame.select(QUANTILE_COLUMNS).to_numpy() for frame in (artifact.newest, again))
        apart = float(np.abs(stored - now).max())
    return Verdict(apart <= SAME_FORECAST, {"model_version": artifact.version, "largest_difference": apart})


def evaluate_folds_stable(folds: "pl.DataFrame") -> Verdict:
    """No fold's error is more than three times the median of the folds, each in units of no-change's error there.

    The market alone makes one fold's error many times another's: over twelve months no-change itself varies by more
    than four times. The ratio to no-change is what tells a model that broke down from a year that was hard to everyone.
    """
    import polars as pl

    median = float(folds["relative_mae"].median() or 0.0)  # pyright: ignore[reportArgumentType]
    unstable = folds.filter(pl.col("relative_mae") > MAX_FOLD_RATIO * median)
    return no_offender(
        unstable,
        folds=folds.height,
        median_relative_mae=round(median, 4),
        worst_relative_mae=round(float(folds["relative_mae"].max() or 0.0), 4),  # pyright: ignore[reportArgumentType]
        worst_mae_to_median_mae=round(float(folds["mae_model"].max() / folds["mae_model"].median()), 3),  # pyright: ignore
    )


def evaluate_importance_sensible(importance: "pl.DataFrame", rows: "pl.DataFrame") -> Verdict:
    """No constant feature is used, and no single one has more than 90 % of the gain."""
    import polars as pl

    used = [f for f in importance["feature"].to_list() if f in rows.columns]
    constant = [f for f in used if rows[f].drop_nulls().n_unique() <= 1]
    absent = [f for f in importance["feature"].to_list() if f not in rows.columns]
    wrong = importance.filter(
        (pl.col("gain_share").fill_null(0.0) > MAX_GAIN_SHARE)
        | pl.col("feature").is_in(constant)
        | pl.col("feature").is_in(absent)
    )
    numbers = {"largest_share": importance["gain_share"].max(), "constant": len(constant), "absent": len(absent)}
    return no_offender(wrong, **numbers)


def evaluate_quantiles_sound(oof: "pl.DataFrame") -> Verdict:
    """Every out-of-fold interval has a width, ends above a total loss, and holds its own median."""
    import polars as pl

    narrow = (pl.col("q05") >= pl.col("q50")) | (pl.col("q95") <= pl.col("q50"))
    wrong = oof.filter((narrow | (pl.col("q05") <= -1)).fill_null(value=True))
    shown = wrong.select("data_date", "q05", "q50", "q95")
    return no_offender(shown, rows=oof.height, crossed=round(float(oof["crossed"].mean() or 0.0), 4))  # pyright: ignore


CHECKS = (
    Check("trained", "The stored model loads and forecasts what it did", lambda a, rows: evaluate_trained(a, rows)),
    Check(
        "folds_stable",
        "No fold's error, in units of no-change, above three times the median",
        lambda a, _: evaluate_folds_stable(a.folds),
    ),
    Check(
        "importance_sensible",
        "No constant feature used, no feature above 90 % of the gain",
        lambda a, rows: evaluate_importance_sensible(a.feature_importance, rows),
    ),
    Check(
        "quantiles_sound", "Intervals have a width around their median", lambda a, _: evaluate_quantiles_sound(a.oof)
    ),
)
OF_BLEND = tuple(check for check in CHECKS if check.name in ("folds_stable", "quantiles_sound"))
"""The blend reads its members and not the training rows."""


def checks_of(spec: ModelSpec) -> tuple[Check, ...]:
    """The checks of a model.

    A peer that breaks down in some fold warns and stops nobody: it is trained to be compared, the table shows how it
    did, and the gate keeps it from being published.
    """
    checks = OF_BLEND if spec.family == "ensemble" else CHECKS
    return tuple(replace(c, blocking=spec.standard) if c.name == "folds_stable" else c for c in checks)


def model_checks(spec: ModelSpec) -> dg.AssetChecksDefinition:
    """The checks of one model."""
    checks = checks_of(spec)

    @dg.multi_asset_check(name=f"{spec.name}_checks", specs=specs(spec.key, checks, HORIZON_PARTITIONS))
    def of_latest(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        settings: dg.ResourceParam[Settings],
    ):
        """Check the latest artifact of the partition's horizon."""
        from zl_assets.artifacts import ArtifactPlace, latest, read_artifact

        horizon = HORIZONS[context.partition_key]
        artifact = read_artifact(latest(ArtifactPlace.of(spec, settings.home, horizon.code)))
        yield from evaluated(spec.key, checks, artifact, training_rows(warehouse, horizon))

    return of_latest


MODEL_CHECKS = [model_checks(spec) for spec in SHELF]
