"""Checks of the classifier of market states."""

from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.training import training_rows
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.core.horizons import HORIZONS, Horizon
from zl_assets.core.models.shelf import CLASSIFIER
from zl_assets.partitions import HORIZON_PARTITIONS
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    import polars as pl

    from zl_assets.regime_artifacts import StoredClassifier

ROUNDING = 1e-9
"""By how much probabilities may miss a sum of 1, and a loaded classifier what it said when it was stored."""


def evaluate_trained(stored: "StoredClassifier", rows: "pl.DataFrame") -> Verdict:
    """The stored classifier loads, and says of its newest session what it said when it was trained."""
    import numpy as np
    import polars as pl

    from zl_assets.core.models.regime_classifier import STATES
    from zl_assets.core.models.regime_training import chances_of
    from zl_assets.core.models.training import readable_rows

    newest = stored.newest["session_number"].item()
    readable = readable_rows(rows).filter(pl.col("session_number") <= newest)
    apart = float("nan")
    if not readable.is_empty() and readable["session_number"][-1] == newest:
        again = chances_of(stored.classifier(), readable, readable.height - 1)
        apart = float(np.abs(again - stored.newest.select(STATES).to_numpy()).max())
    return Verdict(apart <= ROUNDING, {"model_version": stored.version, "largest_difference": apart})


def evaluate_probabilities_sound(oof: "pl.DataFrame") -> Verdict:
    """Every probability lies in 0 to 1, and those of a session sum to 1."""
    import polars as pl

    from zl_assets.core.models.regime_classifier import STATES

    outside = pl.any_horizontal(~pl.col(state).is_between(0, 1) for state in STATES)
    sums = (pl.sum_horizontal(STATES, ignore_nulls=False) - 1).abs() > ROUNDING
    wrong = oof.filter((outside | sums).fill_null(value=True))
    return no_offender(wrong.select("data_date", *STATES), sessions=oof.height)


def evaluate_every_session(oof: "pl.DataFrame", rows: "pl.DataFrame", horizon: Horizon) -> Verdict:
    """One row for each session out of fold or later whose price is not suspect, and no other."""
    import polars as pl

    from zl_assets.core.models.base import labelled_rows
    from zl_assets.core.models.training import TrainingConfig, plan, readable_rows

    labelled = labelled_rows(rows)
    sessions = labelled["session_number"]
    folds = plan(labelled, horizon, TrainingConfig()).split(sessions.to_numpy())
    first = sessions[int(folds[0].test[0])]
    expected = readable_rows(rows).filter(pl.col("session_number") >= first)
    told = oof.group_by("session_number").agg(rows=pl.len().cast(pl.Int64))
    once = expected.select("session_number", expected=pl.lit(1))
    both = once.join(told, on="session_number", how="full", coalesce=True)
    wrong = both.fill_null(0).filter(pl.col("rows") != pl.col("expected")).sort("session_number")
    return no_offender(wrong, sessions=expected.height)


def evaluate_not_worse(stored: "StoredClassifier") -> Verdict:
    """The log loss out of fold is not above that of the frequencies of the past, beyond noise.

    No better than these is what to expect of far horizons; worse is a defect.
    """
    from zl_assets.core.evaluation.judgement import SIGNIFICANCE

    told = stored.metrics["out_of_fold"]
    if told is None:
        return Verdict(passed=True, numbers={"sessions_judged": 0})
    better, worse = told["p_value"], told["p_value_worse"]
    numbers = {
        "log_loss": round(told["log_loss"], 4),
        "climatology": round(told["climatology_log_loss"], 4),
        "p_value_better": "not testable" if better is None else round(better, 4),
        "p_value_worse": "not testable" if worse is None else round(worse, 4),
        "independent_windows": told["n_independent"],
    }
    return Verdict(worse is None or worse >= SIGNIFICANCE, numbers)


CHECKS = (
    Check(
        "trained",
        "The stored classifier loads and says what it did",
        lambda stored, rows, _: evaluate_trained(stored, rows),
    ),
    Check(
        "probabilities_sound",
        "Probabilities within 0 to 1 that sum to 1",
        lambda stored, *_: evaluate_probabilities_sound(stored.oof),
    ),
    Check(
        "every_session",
        "One row per session out of fold and later",
        lambda stored, rows, horizon: evaluate_every_session(stored.oof, rows, horizon),
    ),
    Check(
        "not_worse_than_climatology",
        "Market states are not told worse than by the frequencies of the past, beyond noise",
        lambda stored, *_: evaluate_not_worse(stored),
        blocking=False,
        action="read the market state of this horizon as the frequencies of the past, and no more",
    ),
)


@dg.multi_asset_check(name="regime_classifier_checks", specs=specs(CLASSIFIER.key, CHECKS, HORIZON_PARTITIONS))
def regime_classifier_checks(
    context: dg.AssetCheckExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
):
    """Check the latest classifier of the partition's horizon."""
    from zl_assets.artifacts import latest
    from zl_assets.regime_artifacts import classifier_place, read_classifier

    horizon = HORIZONS[context.partition_key]
    stored = read_classifier(latest(classifier_place(settings.home, horizon.code)))
    yield from evaluated(CLASSIFIER.key, CHECKS, stored, training_rows(warehouse, horizon), horizon)
