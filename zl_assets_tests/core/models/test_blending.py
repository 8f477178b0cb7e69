"""The training of the ensemble: its weights and its market states know nothing that came later."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import labelled_rows
from zl_assets.core.models.blending import YARDSTICKS, blend_of, folds_of, train_ensemble
from zl_assets.core.models.ensemble import Ensemble
from zl_assets.core.models.regime_classifier import STATES
from zl_assets.core.models.regime_training import train_classifier
from zl_assets.core.models.training import OOF_SCHEMA, TrainedModel, TrainingConfig, plan
from zl_assets.errors import InputError
from zl_assets_tests.core.models.made_forecasts import forecast
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

H = HORIZONS["1w"]
Members = dict[str, tuple[pl.DataFrame, pl.DataFrame]]


def members_of(frame: pl.DataFrame) -> Members:
    """A member that is nearly right, one that is far off, and a yardstick, on the folds of the frame."""
    rows = labelled_rows(frame)
    folds = plan(rows, H, TrainingConfig()).split(rows["session_number"].to_numpy())
    oof = pl.concat([rows[f.test].with_columns(fold=pl.lit(f.number)) for f in folds]).rename(
        {"target": "actual_return"}
    )
    newest = frame.tail(1).with_columns(fold=pl.lit(None, pl.Int64)).rename({"target": "actual_return"})
    actual = oof["actual_return"].to_numpy()
    off = {"no_change": 0.01, "lightgbm": -0.08, "drift": 0.0}
    return {name: (forecast(oof, actual + by), forecast(newest, by)) for name, by in off.items()}


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(900, 5), H.sessions)


@pytest.fixture(scope="module")
def members(frame: pl.DataFrame) -> Members:
    return members_of(frame)


def blended(members: Members, frame: pl.DataFrame) -> TrainedModel:
    return train_ensemble(members, train_classifier(frame, H).probabilities, frame, H)


@pytest.fixture(scope="module")
def trained(members: Members, frame: pl.DataFrame) -> TrainedModel:
    return blended(members, frame)


def test_yardsticks_are_not_blended(trained: TrainedModel) -> None:
    assert trained.training_config["members"] == ["no_change", "lightgbm"]
    assert not set(YARDSTICKS) & set(trained.training_config["members"])


def test_it_forecasts_the_sessions_of_its_members(trained: TrainedModel, members: Members) -> None:
    oof, newest = members["no_change"]
    about = ["data_date", "session_number", "target_date", "close", "actual_return", "fold"]
    assert trained.oof.select(about).equals(oof.select(about))
    assert dict(trained.oof.schema) == OOF_SCHEMA
    assert trained.newest["data_date"].equals(newest["data_date"])
    assert trained.newest["actual_return"].to_list() == [None]
    assert trained.newest["q50"].item() == pytest.approx(trained.drivers["contribution"].sum(), abs=1e-15)


def test_the_first_fold_has_equal_weights_and_later_ones_follow_the_better_member(
    trained: TrainedModel, members: Members
) -> None:
    said = {name: oof.select(QUANTILE_COLUMNS).to_numpy() for name, (oof, _) in members.items()}
    got = trained.oof.select(QUANTILE_COLUMNS).to_numpy()
    share = (got[:, 3] - said["lightgbm"][:, 3]) / (said["no_change"][:, 3] - said["lightgbm"][:, 3])
    fold = trained.oof["fold"].to_numpy()
    np.testing.assert_allclose(share[fold == fold.min()], 0.5, atol=1e-9)
    assert share[fold == fold.max()].min() > 0.6
    assert trained.folds["fold"].to_list() == sorted(set(fold.tolist()))[1:]


def test_an_outcome_not_known_at_a_folds_first_session_changes_nothing_of_its_weights(
    trained: TrainedModel, members: Members, frame: pl.DataFrame
) -> None:
    """From the fold's first session less h on, outcomes are turned around: the fold's forecasts stay as they are."""
    oof = trained.oof
    fold = int(oof["fold"].max()) - 1
    first = int(oof.filter(pl.col("fold") == fold)["session_number"].min())
    unknown = pl.col("session_number") + H.sessions > first
    turned = {
        name: (rows.with_columns(actual_return=pl.when(unknown).then(-9.0).otherwise("actual_return")), newest)
        for name, (rows, newest) in members.items()
    }
    again = blended(turned, frame).oof
    until = pl.col("fold") <= fold
    assert again.filter(until).select(QUANTILE_COLUMNS).equals(oof.filter(until).select(QUANTILE_COLUMNS))
    assert not again.select(QUANTILE_COLUMNS).equals(oof.select(QUANTILE_COLUMNS))


def test_the_last_outcome_known_at_a_folds_first_session_counts(
    trained: TrainedModel, members: Members, frame: pl.DataFrame
) -> None:
    oof = trained.oof
    fold = int(oof["fold"].max())
    first = int(oof.filter(pl.col("fold") == fold)["session_number"].min())
    known = pl.col("session_number") + H.sessions == first
    turned = {
        name: (rows.with_columns(actual_return=pl.when(known).then(-9.0).otherwise("actual_return")), newest)
        for name, (rows, newest) in members.items()
    }
    again = blended(turned, frame).oof
    of_fold = pl.col("fold") == fold
    assert not again.filter(of_fold).select(QUANTILE_COLUMNS).equals(oof.filter(of_fold).select(QUANTILE_COLUMNS))


def test_each_fold_learns_from_outcomes_known_at_its_first_session(members: Members) -> None:
    past = members["no_change"][0]
    sessions, number = past["session_number"].to_numpy(), past["fold"].to_numpy()
    folds = folds_of(past, H)
    assert [f.number for f in folds] == sorted(set(number.tolist()))
    for fold in folds:
        assert set(fold.test.tolist()) == {n for n, of in enumerate(number) if of == fold.number}
        start = sessions[fold.test].min()
        assert fold.train.tolist() == [n for n, s in enumerate(sessions) if s + H.sessions <= start]


def test_members_of_other_sessions_are_refused(members: Members, frame: pl.DataFrame) -> None:
    oof, newest = members["lightgbm"]
    with pytest.raises(InputError, match="lightgbm and no_change were not forecast on the same sessions"):
        blended({**members, "lightgbm": (oof.tail(-1), newest)}, frame)


def test_the_same_members_make_the_same_version_and_others_another(
    trained: TrainedModel, members: Members, frame: pl.DataFrame
) -> None:
    again = blended(members, frame)
    assert again.model_version == trained.model_version
    assert again.oof.equals(trained.oof)
    fewer = blended({"no_change": members["no_change"]}, frame)
    assert fewer.model_version != trained.model_version
    assert fewer.training_data == trained.training_data
    assert isinstance(fewer.forecaster, Ensemble)
    assert fewer.newest.select(QUANTILE_COLUMNS).equals(members["no_change"][1].select(QUANTILE_COLUMNS))


def test_a_session_without_a_probability_is_refused(members: Members, frame: pl.DataFrame) -> None:
    told = train_classifier(frame, H).probabilities
    with pytest.raises(InputError, match="a session has no probability of its market state"):
        train_ensemble(members, told.head(-1), frame, H)


def test_its_weights_are_those_of_the_blend(trained: TrainedModel) -> None:
    blend = blend_of(trained)
    assert (blend.members, blend.states) == (("no_change", "lightgbm"), STATES)
    assert [sum(row) for row in blend.weights] == pytest.approx([1.0] * len(STATES))
