"""Checks of the trained models."""

from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.models import LIGHTGBM
from zl_assets.assets.training import table_name
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.core.horizons import HORIZONS
from zl_assets.partitions import HORIZON_PARTITIONS
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    import polars as pl

    from zl_assets.artifacts import Artifact

MAX_FOLD_RATIO = 3.0
MAX_GAIN_SHARE = 0.9


def evaluate_trained(artifact: "Artifact", rows: "pl.DataFrame") -> Verdict:
    """The stored model loads and predicts a finite return for every row it may be asked about."""
    import numpy as np

    predicted = artifact.forecaster.predict(rows)
    finite = int(np.isfinite(predicted).sum())
    return Verdict(finite == rows.height > 0, {"rows": rows.height, "finite_predictions": finite})


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
        (pl.col("gain_share") > MAX_GAIN_SHARE) | pl.col("feature").is_in(constant) | pl.col("feature").is_in(absent)
    )
    numbers = {"largest_share": importance["gain_share"].max(), "constant": len(constant), "absent": len(absent)}
    return no_offender(wrong, **numbers)


def evaluate_not_too_good(metrics: dict[str, object]) -> Verdict:
    """Out-of-fold figures are not so good that they must come from the future."""
    shown = {k: v for k, v in metrics.items() if isinstance(v, int | float | str)}
    return Verdict(not metrics["suspiciously_good"], shown)


CHECKS = (
    Check("trained", "The stored model loads and predicts", lambda a, rows: evaluate_trained(a, rows)),
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
    Check("not_too_good", "Out-of-fold figures do not look like a leak", lambda a, _: evaluate_not_too_good(a.metrics)),
)


@dg.multi_asset_check(name="lightgbm_checks", specs=specs(LIGHTGBM, CHECKS, HORIZON_PARTITIONS))
def lightgbm_checks(
    context: dg.AssetCheckExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
):
    """Check the latest artifact of the partition's horizon."""
    from zl_assets.artifacts import ArtifactPlace, latest, read_artifact
    from zl_assets.core.training_frame import training_frame

    horizon = HORIZONS[context.partition_key]
    artifact = read_artifact(latest(ArtifactPlace(settings.home, horizon.code)))
    rows = training_frame(warehouse.read(f"SELECT * FROM {table_name(horizon.code)}"), horizon)
    yield from evaluated(LIGHTGBM, CHECKS, artifact, rows)
