"""The training of the ensemble: from the members' out-of-fold forecasts and the probabilities of the market's states.

Belongs here: which rows the blend learns from. How it learns is in `ensemble`; how its members learn, in `training`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import cast

import numpy as np
import polars as pl

from zl_assets.core.evaluation.splits import Fold
from zl_assets.core.horizons import Horizon
from zl_assets.core.models.base import labelled_rows
from zl_assets.core.models.ensemble import Blend, Ensemble, members_frame
from zl_assets.core.models.importance import IMPORTANCE_SCHEMA
from zl_assets.core.models.regime_classifier import STATES
from zl_assets.core.models.shelf import ENSEMBLE, models
from zl_assets.core.models.training import (
    TrainedModel,
    TrainingConfig,
    fold_table,
    forecast_of,
    out_of_fold,
    training_data,
    version_of,
)

YARDSTICKS = ("drift", "seasonal_naive")
"""Benchmarks that are measured and not blended: forecasts that nobody expects to hold."""

Members = Mapping[str, tuple[pl.DataFrame, pl.DataFrame]]
"""Out-of-fold rows and the newest forecast by model, rows of OOF_SCHEMA."""


def train_ensemble(found: Members, probabilities: pl.DataFrame, frame: pl.DataFrame, horizon: Horizon) -> TrainedModel:
    """Judge the blend out of fold, learn its weights from every known outcome, and forecast the newest session.

    The weights of a fold rest on outcomes known at its first session; in the first fold they are equal.

    Args:
        found: of models trained on the rows of `frame`.
        probabilities: session_number and a column per state of STATES, of every session of the members.
        frame: as `training.train` reads it.
        horizon: what is forecast.

    Raises:
        InputError: members were not forecast on the same sessions, or one has no probability.
        NotEnoughHistory: too few labelled rows.
    """
    spec, config = models()[ENSEMBLE], TrainingConfig()
    members = {name: pair for name, pair in found.items() if name not in YARDSTICKS}
    rows = labelled_rows(frame)
    past = members_frame({n: oof for n, (oof, _) in members.items()}, probabilities)
    now = members_frame({n: newest for n, (_, newest) in members.items()}, probabilities)
    folds = folds_of(past, horizon)

    def make() -> Ensemble:
        return Ensemble(tuple(members), STATES, horizon.sessions)

    oof, _ = out_of_fold(make, past, past, folds)
    final = make().fit(past, past["target"].to_numpy(), past["sample_weight"].to_numpy())
    dates: list[date] = past["data_date"].to_list()
    return TrainedModel(
        spec=spec,
        horizon=horizon,
        forecaster=final,
        model_version=version_of(spec, final, config, horizon, past),
        training_data=training_data(rows),
        oof=oof,
        oof_rolling=None,
        newest=forecast_of(final, now, now),
        folds=fold_table(past, folds[1:], oof),
        drivers=final.explain(now),
        feature_importance=pl.DataFrame(schema=IMPORTANCE_SCHEMA),
        n_rows=past.height,
        n_effective=float(past.height),
        trained_first=dates[0],
        trained_last=dates[-1],
        training_config={
            "model": ENSEMBLE,
            "family": spec.family,
            "members": list(members),
            "states": list(STATES),
            "horizon": horizon.code,
            "horizon_sessions": horizon.sessions,
            "n_rows": past.height,
        },
    )


def blend_of(trained: TrainedModel) -> Blend:
    """Weights of a blend that `train_ensemble` has made."""
    return cast("Ensemble", trained.forecaster).blend


def folds_of(past: pl.DataFrame, horizon: Horizon) -> tuple[Fold, ...]:
    """The members' folds over their own out-of-fold rows: each learns from the outcomes known at its first session."""
    sessions, number = past["session_number"].to_numpy(), past["fold"].to_numpy()
    folds: list[Fold] = []
    for fold in np.unique(number):
        test = np.flatnonzero(number == fold)
        folds.append(Fold(int(fold), np.flatnonzero(sessions + horizon.sessions <= sessions[test[0]]), test))
    return tuple(folds)
