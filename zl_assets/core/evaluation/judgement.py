"""Which forecast of a horizon is published: the gate that nothing passes without beating no-change.

Belongs here: the comparison of all models on the same rows, the decision and its wording. Scores are in `scores`, tests
in `significance`.

1. A model shows skill where its CRPS is below no-change's beyond noise: one-sided, at SIGNIFICANCE, by the stricter of
   two tests, adjusted by Holm for the number of models compared, since the luckiest of many looks skilled. What tuning
   tried needs no adjustment: it was chosen on rows that lie before every row that is judged.
2. Of those, the one of lowest CRPS counts as the best, and the simplest that is within one standard error of it is
   published (Breiman et al. 1984; Hastie et al. 2009, section 7.10).
3. Where none shows skill, or too few windows are independent to tell, no-change is published with its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS
from zl_assets.core.evaluation.scores import Scores, crps, score
from zl_assets.core.evaluation.significance import TestResult, compare_losses, holm, standard_error, stricter_p
from zl_assets.core.horizons import Horizon
from zl_assets.core.models.base import Floats, floats, matrix
from zl_assets.core.models.shelf import ENSEMBLE, NO_CHANGE, SHELF
from zl_assets.errors import InputError

SIGNIFICANCE = 0.05
"""Probability that at a horizon any model without skill is published in place of no-change."""


@dataclass(frozen=True)
class Standing:
    """One model at one horizon.

    Attributes:
        model: its name.
        scores: of its calibrated forecasts.
        raw: of its forecasts before calibration, beside no-change's before calibration.
        against_no_change: test of its CRPS against that of no-change; None for no-change, or where none is possible.
        p_value: one-sided, adjusted for the number of models; None as before.
        against_ensemble: test of its CRPS against that of the ensemble; None for the ensemble, or where there is none.
    """

    model: str
    scores: Scores
    raw: Scores
    against_no_change: TestResult | None
    p_value: float | None
    against_ensemble: TestResult | None


@dataclass(frozen=True)
class Judgement:
    """What is published at a horizon, and why.

    Attributes:
        horizon: what is forecast.
        standings: one a model, the lowest CRPS first.
        champion: name of the model to publish.
        skill_found: whether any model beats no-change beyond noise.
        reason: one line with the figures that decided.
    """

    horizon: Horizon
    standings: tuple[Standing, ...]
    champion: str
    skill_found: bool
    reason: str

    def of(self, model: str) -> Standing:
        """The standing of one model."""
        return next(s for s in self.standings if s.model == model)


def judge(raw: Mapping[str, pl.DataFrame], calibrated: Mapping[str, pl.DataFrame], horizon: Horizon) -> Judgement:
    """Compare models on the same rows and choose the one to publish.

    Args:
        raw: out-of-fold forecasts by model, rows of OOF_SCHEMA; no-change is among them.
        calibrated: the same after calibration.
        horizon: what is forecast.

    Raises:
        InputError: no-change is missing, or models were not judged on the same rows.
    """
    if NO_CHANGE not in raw or raw.keys() != calibrated.keys():
        raise InputError(
            "models are judged beside no-change, before and after calibration",
            where=f"horizon {horizon.code}: {', '.join(raw)}; calibrated {', '.join(calibrated)}",
            action="train no_change on the same rows",
        )
    # Scoring first: it refuses forecasts of other rows than no-change's.
    scores = {m: score(rows, horizon.sessions, benchmark=calibrated[NO_CHANGE]) for m, rows in calibrated.items()}
    losses = {name: _losses(rows) for name, rows in calibrated.items()}
    tests = {m: compare_losses(losses[m] - losses[NO_CHANGE], horizon.sessions) for m in losses if m != NO_CHANGE}
    adjusted = holm({m: stricter_p(t, losses[m] - losses[NO_CHANGE], horizon.sessions) for m, t in tests.items()})
    standings = [
        Standing(
            model=name,
            scores=scores[name],
            raw=score(raw[name], horizon.sessions, benchmark=raw[NO_CHANGE]),
            against_no_change=tests.get(name),
            p_value=adjusted.get(name),
            against_ensemble=_against_ensemble(name, losses, horizon),
        )
        for name in losses
    ]
    ordered = tuple(sorted(standings, key=lambda s: (s.scores.crps, s.model)))
    champion, reason = _choose(ordered, losses, horizon)
    return Judgement(horizon, ordered, champion, champion != NO_CHANGE, reason)


def former_champions(
    stored: pl.DataFrame, rows: pl.DataFrame, *, about: Sequence[str], told_apart_by: Sequence[str]
) -> pl.DataFrame:
    """Stored champions of what new rows are about, where these do not speak of them, as champions no more.

    Args:
        stored: rows of the table that the new ones go to, with is_champion and created_at.
        rows: made at one moment, at least one; those returned have their schema.
        about: columns that say what there is one champion of.
        told_apart_by: columns that tell the rows about the same thing apart.
    """
    same = stored.filter("is_champion").join(rows.select(about).unique(), on=about, how="semi")
    left = same.join(rows, on=[*about, *told_apart_by], how="anti")
    former = left.with_columns(is_champion=pl.lit(value=False), created_at=rows["created_at"][0])
    return former.select(pl.col(name).cast(dtype) for name, dtype in rows.schema.items())


def _losses(rows: pl.DataFrame) -> Floats:
    return crps(floats(rows, "actual_return"), matrix(rows, QUANTILE_COLUMNS))


def _against_ensemble(name: str, losses: Mapping[str, Floats], horizon: Horizon) -> TestResult | None:
    if name == ENSEMBLE or ENSEMBLE not in losses:
        return None
    return compare_losses(losses[name] - losses[ENSEMBLE], horizon.sessions)


def _choose(standings: Sequence[Standing], losses: Mapping[str, Floats], horizon: Horizon) -> tuple[str, str]:
    """The model to publish, and why."""
    windows = standings[0].scores.n_independent
    skilled = [s for s in standings if s.p_value is not None and s.p_value < SIGNIFICANCE]
    others = [s for s in standings if s.model != NO_CHANGE]
    if not others:
        return NO_CHANGE, f"no skill found: no other model was trained, {windows} independent windows"
    if skilled:
        best = skilled[0]
        ranks = {spec.name: rank for rank, spec in enumerate(SHELF)}
        near = [s for s in skilled if _near(losses[s.model] - losses[best.model], horizon.sessions)]
        champion = min(near, key=lambda s: ranks[s.model])
        return champion.model, f"skill found: {_figures(champion, len(others))}, {windows} independent windows"
    found = "no skill found" if any(s.against_no_change for s in others) else "no test possible"
    return (
        NO_CHANGE,
        f"{found}: the best of the others is {_figures(others[0], len(others))}, {windows} independent windows",
    )


def _near(differences: Floats, horizon_sessions: int) -> bool:
    return not differences.any() or float(differences.mean()) <= standard_error(differences, horizon_sessions)


def _figures(standing: Standing, compared: int) -> str:
    chance = "not testable" if standing.p_value is None else f"p = {standing.p_value:.3f} among {compared} models"
    return f"{standing.model}, CRPS {standing.scores.crps_vs_no_change:.3f} of no-change's, {chance}"
