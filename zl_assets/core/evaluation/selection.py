"""Which forecast is published: the model's, or that the price stays as it is.

Belongs here: the decision and its wording. Error measures are in `metrics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from zl_assets.core.evaluation.splits import MIN_FOLDS
from zl_assets.errors import InputError

Candidate = Literal["lightgbm", "no_change"]


@dataclass(frozen=True)
class SkillVerdict:
    """Outcome of the one-standard-error rule.

    Attributes:
        accepted: whether the model beats no-change.
        mean_gain: mean over folds of no-change's error minus the model's; positive favours the model.
        standard_error: of `mean_gain`, from the spread between folds.
        n_folds: folds compared.
    """

    accepted: bool
    mean_gain: float
    standard_error: float
    n_folds: int


@dataclass(frozen=True)
class Champion:
    """The forecast to publish for one horizon.

    Attributes:
        model: which of the two.
        reason: one line with the figures that decided.
        verdict: the rule's outcome.
        n_independent: whole non-overlapping label windows out of fold.
    """

    model: Candidate
    reason: str
    verdict: SkillVerdict
    n_independent: int


def beats_no_change(fold_errors_model: Sequence[float], fold_errors_no_change: Sequence[float]) -> SkillVerdict:
    """One-standard-error rule in favour of the simpler forecast.

    After Breiman et al. (1984), Classification and Regression Trees, and Hastie et al. (2009), section 7.10.
    The model is accepted when its mean gain over no-change, paired by fold, exceeds one standard error of that mean.
    Folds count alike whatever their length. Pairing removes what both share: a calm year is easy for both.

    Args:
        fold_errors_model: mean absolute error of the model in each fold, in return units.
        fold_errors_no_change: the same for no-change, on the same rows and in the same order.

    Raises:
        InputError: fewer than three folds, lengths that differ, or an error that is not finite.
    """
    model = np.asarray(fold_errors_model, dtype=np.float64)
    no_change = np.asarray(fold_errors_no_change, dtype=np.float64)
    if model.shape != no_change.shape or model.size < MIN_FOLDS or not np.isfinite(model + no_change).all():
        raise InputError(
            f"the comparison needs finite errors of the same folds, at least {MIN_FOLDS}",
            where=f"{model.size} folds of the model, {no_change.size} of no-change",
            action="evaluate both on one walk-forward split",
        )
    gain = no_change - model
    mean = float(gain.mean())
    error = float(gain.std(ddof=1) / np.sqrt(gain.size))
    return SkillVerdict(mean > error, mean, error, gain.size)


def fold_errors(oof: pl.DataFrame) -> pl.DataFrame:
    """Mean absolute errors by fold.

    Args:
        oof: out-of-fold rows with fold, actual_return and predicted_return.

    Returns:
        One row a fold in order: fold, n_test, mae_model, mae_no_change, relative_mae (the ratio of the two, which a
        calm or a wild year does not move; null where no price moved).
    """
    return (
        oof.group_by("fold")
        .agg(
            n_test=pl.len().cast(pl.Int64),
            mae_model=(pl.col("actual_return") - pl.col("predicted_return")).abs().mean(),
            mae_no_change=pl.col("actual_return").abs().mean(),
        )
        .with_columns(
            relative_mae=pl.when(pl.col("mae_no_change") > 0).then(pl.col("mae_model") / pl.col("mae_no_change"))
        )
        .sort("fold")
    )


def choose_champion(oof: pl.DataFrame, horizon_sessions: int) -> Champion:
    """Decide between the model and no-change from out-of-fold errors.

    Beyond `beats_no_change`, the out-of-fold rows must span three non-overlapping label windows: on fewer, the folds
    repeat the same few outcomes, their spread says nothing, and no-change is published.

    Args:
        oof: out-of-fold rows with fold, actual_return and predicted_return, one row a session.
        horizon_sessions: sessions between forecast and outcome.

    Raises:
        InputError: fewer than three folds, or an error that is not finite.
    """
    errors = fold_errors(oof)
    verdict = beats_no_change(errors["mae_model"].to_list(), errors["mae_no_change"].to_list())
    n_independent = oof.height // horizon_sessions
    figures = (
        f"mean absolute error {abs(verdict.mean_gain):.4f} {'below' if verdict.mean_gain > 0 else 'above'} no-change, "
        f"standard error {verdict.standard_error:.4f}, {verdict.n_folds} folds, {n_independent} independent windows"
    )
    if verdict.accepted and n_independent >= MIN_FOLDS:
        return Champion("lightgbm", f"skill found: {figures}", verdict, n_independent)
    prefix = "no test possible" if n_independent < MIN_FOLDS else "no skill found"
    return Champion("no_change", f"{prefix}: {figures}", verdict, n_independent)
