"""What is stored and shown of a judgement: rows of monitoring.model_evaluation, and the leaderboard.

Belongs here: wording and layout. Scores, tests and the decision are in `scores`, `significance` and `judgement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from zl_assets.core.evaluation.judgement import Judgement, Standing, former_champions
from zl_assets.core.evaluation.significance import direction_test
from zl_assets.core.models.base import floats

EVALUATION_SCHEMA: dict[str, pl.DataType] = {
    "as_of_date": pl.Date(),
    "surface": pl.String(),
    "horizon": pl.String(),
    "model": pl.String(),
    "fold_scheme": pl.String(),
    "model_version": pl.String(),
    "n_rows": pl.Int64(),
    "n_independent": pl.Int64(),
    "crps": pl.Float64(),
    "crps_vs_no_change": pl.Float64(),
    "raw_crps": pl.Float64(),
    "raw_crps_vs_no_change": pl.Float64(),
    "mae": pl.Float64(),
    "mae_vs_no_change": pl.Float64(),
    "rmse": pl.Float64(),
    "rmse_vs_no_change": pl.Float64(),
    "mape_pct": pl.Float64(),
    "hit_rate": pl.Float64(),
    "always_up_rate": pl.Float64(),
    "always_same_rate": pl.Float64(),
    "sharpe": pl.Float64(),
    "sharpe_standard_error": pl.Float64(),
    "coverage_50": pl.Float64(),
    "coverage_80": pl.Float64(),
    "coverage_90": pl.Float64(),
    "width_50": pl.Float64(),
    "width_80": pl.Float64(),
    "width_90": pl.Float64(),
    "winkler_80": pl.Float64(),
    "winkler_90": pl.Float64(),
    "crossing_rate": pl.Float64(),
    "p_value": pl.Float64(),
    "p_value_alone": pl.Float64(),
    "test_method": pl.String(),
    "p_value_vs_ensemble": pl.Float64(),
    "p_value_direction": pl.Float64(),
    "n_effective": pl.Float64(),
    "trials": pl.Int64(),
    "training_data": pl.String(),
    "is_champion": pl.Boolean(),
    "is_simulated": pl.Boolean(),
    "run_id": pl.String(),
    "created_at": pl.Datetime("us", "UTC"),
}
"""Columns of monitoring.model_evaluation; see its contract."""

_SCORES = (
    *("crps", "crps_vs_no_change", "mae", "mae_vs_no_change", "rmse", "rmse_vs_no_change", "mape_pct"),
    *("hit_rate", "always_up_rate", "always_same_rate", "sharpe", "sharpe_standard_error"),
    *("coverage_50", "coverage_80", "coverage_90", "width_50", "width_80", "width_90"),
    *("winkler_80", "winkler_90", "crossing_rate", "n_independent"),
)


@dataclass(frozen=True)
class Provenance:
    """Where a judged model comes from.

    Attributes:
        version: of the model.
        run_id: run that trained it.
        n_effective: Kish's effective size of its training weights.
        trials: settings tried while it was tuned.
        training_data: hash of the rows it was trained on, as `TrainedModel.training_data`.
    """

    version: str
    run_id: str
    n_effective: float
    trials: int = 0
    training_data: str | None = None


@dataclass(frozen=True)
class EvaluationContext:
    """What the rows of one judgement say about themselves.

    Attributes:
        as_of_date: newest session of the rows judged on.
        is_simulated: whether the market is simulated.
        created_at: moment of the judgement, with a time zone.
        surface: feature surface of the models.
        fold_scheme: `expanding` or `rolling`.
    """

    as_of_date: date
    is_simulated: bool
    created_at: datetime
    surface: str = "prod"
    fold_scheme: str = "expanding"


def evaluation_rows(
    judgement: Judgement,
    calibrated: Mapping[str, pl.DataFrame],
    provenance: Mapping[str, Provenance],
    context: EvaluationContext,
) -> pl.DataFrame:
    """Rows of EVALUATION_SCHEMA, one a model, the lowest CRPS first.

    Args:
        judgement: of one horizon.
        calibrated: out-of-fold rows by model.
        provenance: of each model.
        context: what else the rows say.
    """
    rows = [_row(s, judgement, calibrated[s.model], provenance[s.model], context) for s in judgement.standings]
    return pl.DataFrame(rows, schema=EVALUATION_SCHEMA)


def _row(
    standing: Standing, judgement: Judgement, rows: pl.DataFrame, origin: Provenance, context: EvaluationContext
) -> dict[str, Any]:
    test, other = standing.against_no_change, standing.against_ensemble
    direction = direction_test(floats(rows, "actual_return"), floats(rows, "q50"), judgement.horizon.sessions)
    return {
        "as_of_date": context.as_of_date,
        "surface": context.surface,
        "horizon": judgement.horizon.code,
        "model": standing.model,
        "fold_scheme": context.fold_scheme,
        "model_version": origin.version,
        "n_rows": standing.scores.n,
        **{name: getattr(standing.scores, name) for name in _SCORES},
        "raw_crps": standing.raw.crps,
        "raw_crps_vs_no_change": standing.raw.crps_vs_no_change,
        "p_value": standing.p_value,
        "p_value_alone": test.p_one_sided if test else None,
        "test_method": test.method if test else None,
        "p_value_vs_ensemble": other.p_one_sided if other else None,
        "p_value_direction": direction.p_one_sided if direction else None,
        "n_effective": origin.n_effective,
        "trials": origin.trials,
        "training_data": origin.training_data,
        "is_champion": standing.model == judgement.champion,
        "is_simulated": context.is_simulated,
        "run_id": origin.run_id,
        "created_at": context.created_at.astimezone(UTC),
    }


def comparable(stored: pl.DataFrame) -> pl.DataFrame:
    """Of stored rows about the same sessions, those of models that were trained on the same rows as the champion.

    A model that is trained no more keeps the figures of the data it has seen: beside others they mean nothing.

    Args:
        stored: rows of EVALUATION_SCHEMA, of one as_of_date per horizon and surface.
    """
    about = ["surface", "horizon", "training_data"]
    champions = stored.filter("is_champion").select(about).unique()
    return stored.join(champions, on=about, how="semi", nulls_equal=True, maintain_order="left")


def demoted(stored: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Stored champions that a new judgement of the same sessions does not speak of, as rows that are champions no more.

    Their models were trained on other rows, or are not trained any longer, so that nobody compares them now.

    Args:
        stored: rows of EVALUATION_SCHEMA.
        rows: of one judgement, at least one.
    """
    about = ("as_of_date", "surface", "horizon", "fold_scheme")
    return former_champions(stored, rows, about=about, told_apart_by=("model",))


def leaderboard_markdown(rows: pl.DataFrame) -> str:
    """Rows of EVALUATION_SCHEMA as a table for people, in their order."""
    head = "| model | CRPS / no-change | p | MAE / no-change | hit rate | 80 % | 90 % |\n|---|---|---|---|---|---|---|"
    lines = [
        f"| {'**' + r['model'] + '**' if r['is_champion'] else r['model']} | {r['crps_vs_no_change']:.3f} "
        f"| {'' if r['p_value'] is None else format(r['p_value'], '.3f')} | {r['mae_vs_no_change']:.3f} "
        f"| {'' if r['hit_rate'] is None else format(r['hit_rate'], '.3f')} "
        f"| {r['coverage_80']:.3f} | {r['coverage_90']:.3f} |"
        for r in rows.iter_rows(named=True)
    ]
    return "\n".join([head, *lines])
