"""The training of the regime classifier: judged out of fold, fitted on everything known, asked about every session.

Belongs here: which sessions it learns from and which it is judged on, the same as of every model. How it learns is in
`regime_classifier`; it forecasts no return and so is no `Forecaster`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from zl_assets.core.evaluation.state_scores import ACTUAL, CLIMATOLOGY, StateScores, score_states
from zl_assets.core.horizons import Horizon
from zl_assets.core.models.base import Floats, labelled_rows
from zl_assets.core.models.regime_classifier import SHRINKAGE, STATES, RegimeClassifier, states_ahead
from zl_assets.core.models.shelf import CLASSIFIER
from zl_assets.core.models.training import TrainingConfig, plan, readable_rows, row_bytes, training_data
from zl_assets.errors import NotEnoughHistory

METHOD = 1
"""Revision of how the classifier learns and is judged; part of every version, so raise it when that changes."""

STATE_SCHEMA: dict[str, pl.DataType] = {
    "data_date": pl.Date(),
    "session_number": pl.Int64(),
    "fold": pl.Int64(),
    ACTUAL: pl.String(),
    **{state: pl.Float64() for state in STATES},
    **{CLIMATOLOGY + state: pl.Float64() for state in STATES},
}
"""One session a row: its fold (null after the last one), the state that held h sessions later (null where nobody knows
yet), the probability of each state, and its frequency in what the fold's classifier has learnt from."""


@dataclass(frozen=True, eq=False)
class TrainedClassifier:
    """Everything a training run of the classifier of one horizon found out.

    Attributes:
        horizon: how far ahead a state is asked for.
        classifier: fitted on everything known; it knows nothing where that is too little.
        model_version: short hash of configuration, columns and rows; the same input gives the same version.
        training_data: hash of the rows that every model of the horizon learns from, as `TrainedModel.training_data`.
        oof: rows of STATE_SCHEMA, one a session out of fold or later, each told by its fold's classifier or the last
            fold's.
        newest: one row of STATE_SCHEMA: the newest session, told by `classifier`.
        scores: of the rows of `oof` whose outcome is known; None where none is.
        n_rows: sessions `classifier` was shown.
        training_config: everything needed to repeat the run, ready for JSON.
    """

    horizon: Horizon
    classifier: RegimeClassifier
    model_version: str
    training_data: str
    oof: pl.DataFrame
    newest: pl.DataFrame
    scores: StateScores | None
    n_rows: int
    training_config: dict[str, Any]

    @property
    def probabilities(self) -> pl.DataFrame:
        """See `probabilities_of`."""
        return probabilities_of(self.oof, self.newest)


def train_classifier(frame: pl.DataFrame, horizon: Horizon) -> TrainedClassifier:
    """Judge the classifier out of fold, fit it on everything known, and ask it about the newest session.

    Args:
        frame: as `training.train` reads it.
        horizon: how far ahead a state is asked for.

    Raises:
        InputError: a missing column, or sessions out of order.
        NotEnoughHistory: too few labelled rows for three test folds.
    """
    rows, readable = labelled_rows(frame), readable_rows(frame)
    oof = told_states(frame, horizon)
    classifier, of_rows = _learnt(readable, horizon), training_data(rows)
    about = {
        "method": METHOD,
        "model": CLASSIFIER.name,
        "family": CLASSIFIER.family,
        "states": list(STATES),
        "shrinkage": SHRINKAGE,
        "columns": list(classifier.columns_used),
        "horizon": horizon.code,
        "horizon_sessions": horizon.sessions,
        "config": asdict(TrainingConfig()),
    }
    digest = hashlib.sha256(json.dumps({**about, "training_data": of_rows}, sort_keys=True).encode())
    digest.update(row_bytes(readable, classifier.columns_used))
    chances = chances_of(classifier, readable, readable.height - 1)
    return TrainedClassifier(
        horizon=horizon,
        classifier=classifier,
        model_version=digest.hexdigest()[:12],
        training_data=of_rows,
        oof=oof,
        newest=_told(readable.tail(1), chances, classifier),
        scores=score_states(oof, STATES, horizon.sessions),
        n_rows=readable.height,
        training_config={
            **about,
            "walk_forward": asdict(plan(rows, horizon, TrainingConfig())),
            "n_rows": readable.height,
            "trained_first": readable["data_date"][0].isoformat(),
            "trained_last": readable["data_date"][-1].isoformat(),
        },
    )


def told_states(frame: pl.DataFrame, horizon: Horizon) -> pl.DataFrame:
    """Probability of each market state at the target date of every out-of-fold and later session.

    A fold's classifier has learnt from what was known at the fold's first session; sessions after the last fold are
    told by the last one's. Before enough is known to tell, all states are alike.

    Returns:
        Rows of STATE_SCHEMA, one for each session whose price is not suspect.
    """
    rows, readable = labelled_rows(frame), readable_rows(frame)
    sessions = readable["session_number"].to_numpy()
    folds = plan(rows, horizon, TrainingConfig()).split(rows["session_number"].to_numpy())
    starts = [int(rows["session_number"][int(f.test[0])]) for f in folds]
    ends = [*starts[1:], int(sessions[-1]) + 1]
    came = states_ahead(readable, horizon.sessions)
    parts: list[pl.DataFrame] = []
    for fold, start, end in zip(folds, starts, ends, strict=True):
        first, last, known = (int(np.searchsorted(sessions, s)) for s in (start, end, start + 1))
        classifier = _learnt(readable[:known], horizon)
        told = _told(readable[first:last], chances_of(classifier, readable[:last], first), classifier)
        parts.append(told.with_columns(came[first:last].alias(ACTUAL), fold=pl.lit(fold.number, pl.Int64)))
    after = pl.col("session_number") > rows["session_number"][-1]
    return pl.concat(parts).with_columns(fold=pl.when(~after).then("fold"))


def probabilities_of(oof: pl.DataFrame, newest: pl.DataFrame) -> pl.DataFrame:
    """What the ensemble and the published row read: session_number and a column a state.

    The newest session is told as the other models forecast it, by what was learnt from everything known.

    Args:
        oof: rows of STATE_SCHEMA, see `TrainedClassifier`.
        newest: one row of STATE_SCHEMA, of the newest session among them.
    """
    before = oof.filter(pl.col("session_number") < newest["session_number"].item())
    return pl.concat([before, newest]).select("session_number", *STATES)


def _learnt(readable: pl.DataFrame, horizon: Horizon) -> RegimeClassifier:
    """A classifier that has learnt from all of these rows; one that knows nothing where they are too few."""
    try:
        return RegimeClassifier(horizon.sessions).fit(readable, np.ones(readable.height))
    except NotEnoughHistory:
        return RegimeClassifier.knowing_nothing(horizon.sessions)


def chances_of(classifier: RegimeClassifier, readable: pl.DataFrame, first: int) -> Floats:
    """Probabilities of the rows from `first` on; all alike where a row's own state is not known."""
    looked = max(first - classifier.lookback, 0)
    chances = classifier.predict_probabilities(readable[looked:])[first - looked :]
    return np.where(np.isfinite(chances), chances, 1 / len(STATES))


def _told(rows: pl.DataFrame, chances: Floats, classifier: RegimeClassifier) -> pl.DataFrame:
    """Rows of STATE_SCHEMA without fold and outcome."""
    told = {state: chances[:, n] for n, state in enumerate(STATES)}
    past = {CLIMATOLOGY + state: pl.lit(float(classifier.frequencies[n])) for n, state in enumerate(STATES)}
    about = rows.select("data_date", "session_number").with_columns(
        pl.lit(None).alias(ACTUAL), fold=pl.lit(None), **past, **told
    )
    return about.select(pl.col(name).cast(dtype) for name, dtype in STATE_SCHEMA.items())
