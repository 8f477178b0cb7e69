"""Checks of the comparison of all models: whether what is about to be published can be true."""

from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.evaluation import EVALUATION
from zl_assets.checks.common import Check, Verdict, evaluated, no_offender, specs
from zl_assets.core.models.shelf import NO_CHANGE
from zl_assets.partitions import HORIZON_PARTITIONS
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    import polars as pl

MAX_COVERAGE_GAP = 0.10
"""How far coverage of a long horizon may lie from its level before it is told; few windows decide on it."""


def evaluate_not_too_good(rows: "pl.DataFrame") -> Verdict:
    """No model is so good that it must have seen the future."""
    import polars as pl

    from zl_assets.core.evaluation.metrics import (
        TOO_GOOD_ERROR_RATIO,
        TOO_GOOD_HIT_RATE,
        TOO_GOOD_MIN_INDEPENDENT,
        TOO_GOOD_SIMULATED_ERROR_RATIO,
        TOO_GOOD_SIMULATED_HIT_RATE,
    )

    simulated = pl.when("is_simulated")
    error = simulated.then(TOO_GOOD_SIMULATED_ERROR_RATIO).otherwise(TOO_GOOD_ERROR_RATIO)
    hits = simulated.then(TOO_GOOD_SIMULATED_HIT_RATE).otherwise(TOO_GOOD_HIT_RATE)
    lucky = (pl.col("hit_rate") > hits) & (pl.col("n_independent") >= TOO_GOOD_MIN_INDEPENDENT)
    beats = (pl.col("raw_crps_vs_no_change") < error) | (pl.col("rmse_vs_no_change") < error)
    shown = ("model", "raw_crps_vs_no_change", "rmse_vs_no_change", "hit_rate")
    return no_offender(rows.filter((lucky | beats).fill_null(value=False)).select(shown), models=rows.height)


def evaluate_champion(rows: "pl.DataFrame") -> Verdict:
    """One champion, and its out-of-fold CRPS is not above that of no-change."""
    import polars as pl

    champions = rows.filter("is_champion")
    worse = champions.filter(pl.col("crps_vs_no_change") > 1)
    named = ", ".join(champions["model"])
    return Verdict(
        champions.height == 1 and worse.is_empty(), {"champion": named, "champions": champions.height}, worse
    )


def evaluate_same_rows(rows: "pl.DataFrame") -> Verdict:
    """Every model was judged on as many rows as no-change."""
    import polars as pl

    benchmark = rows.filter(pl.col("model") == NO_CHANGE)
    other = rows.filter(pl.col("n_rows") != (benchmark["n_rows"][0] if benchmark.height else -1))
    return no_offender(other.select("model", "n_rows"), models=rows.height)


def evaluate_calibrated(rows: "pl.DataFrame") -> Verdict:
    """The champion's 80 and 90 % intervals hold about as many outcomes as they say."""
    import polars as pl

    champion = rows.filter("is_champion")
    gaps = [(pl.col(f"coverage_{level}") - level / 100).abs() > MAX_COVERAGE_GAP for level in (80, 90)]
    columns = ("model", "coverage_80", "coverage_90", "n_independent")
    told = {c: round(champion[c][0], 3) for c in columns[1:3]} if champion.height else {}
    return no_offender(champion.filter(pl.any_horizontal(gaps)).select(columns), **told)


CHECKS = (
    Check(
        "not_too_good",
        "Out-of-fold figures do not look like a leak",
        evaluate_not_too_good,
        action="find what the model knew of the future: a feature, a label, a scaler; nothing is published until then",
    ),
    Check("champion_not_worse", "One champion, not worse than no-change out of fold", evaluate_champion),
    Check(
        "same_rows",
        "All models were judged on the same rows",
        evaluate_same_rows,
        action="train the models that are told again, with `--models`",
    ),
    Check(
        "calibrated",
        f"The published intervals hold what they say, within {MAX_COVERAGE_GAP:.0%}",
        evaluate_calibrated,
        blocking=False,
        action="do not trust the width of this horizon's intervals",
    ),
)


@dg.multi_asset_check(name="model_evaluation_checks", specs=specs(EVALUATION, CHECKS, HORIZON_PARTITIONS))
def model_evaluation_checks(context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Check the newest comparison of the partition's horizon."""
    from zl_assets.core.evaluation.leaderboard import comparable

    newest = f"(SELECT MAX(as_of_date) FROM {EVALUATION} WHERE horizon = @horizon)"
    rows = warehouse.read(
        f"SELECT * FROM {EVALUATION} WHERE horizon = @horizon AND fold_scheme = 'expanding' AND as_of_date = {newest}",
        {"horizon": context.partition_key},
    )
    yield from evaluated(EVALUATION, CHECKS, comparable(rows))
