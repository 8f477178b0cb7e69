"""The training of the regime classifier: what it says of a session knows nothing that came later."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from zl_assets.core.evaluation.state_scores import CLIMATOLOGY
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import labelled_rows
from zl_assets.core.models.regime_classifier import STATES, RegimeClassifier, states_ahead
from zl_assets.core.models.regime_training import (
    STATE_SCHEMA,
    TrainedClassifier,
    told_states,
    train_classifier,
)
from zl_assets.core.models.shelf import CLASSIFIER, SHELF
from zl_assets.core.models.training import TrainingConfig, plan, readable_rows, training_data
from zl_assets.errors import NotEnoughHistory
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

H = HORIZONS["1w"]
PAST = [CLIMATOLOGY + state for state in STATES]


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(900, 5), H.sessions)


@pytest.fixture(scope="module")
def trained(frame: pl.DataFrame) -> TrainedClassifier:
    return train_classifier(frame, H)


def test_it_is_not_on_the_shelf() -> None:
    assert CLASSIFIER.name not in {spec.name for spec in SHELF}
    assert CLASSIFIER.of() is RegimeClassifier


class TestToldStates:
    def test_every_session_from_the_first_fold_on_has_them(self, frame: pl.DataFrame) -> None:
        told = told_states(frame, H)
        rows = labelled_rows(frame)
        folds = plan(rows, H, TrainingConfig()).split(rows["session_number"].to_numpy())
        first = rows["session_number"][int(folds[0].test[0])]
        assert told["session_number"].to_list() == list(range(first, frame["session_number"][-1] + 1))
        assert dict(told.schema) == STATE_SCHEMA
        for columns in (list(STATES), PAST):
            chances = told.select(columns).to_numpy()
            assert (chances > 0).all()
            np.testing.assert_allclose(chances.sum(axis=1), 1)

    def test_folds_and_outcomes_are_those_of_every_model(self, frame: pl.DataFrame) -> None:
        told = told_states(frame, H)
        rows = labelled_rows(frame)
        folds = plan(rows, H, TrainingConfig()).split(rows["session_number"].to_numpy())
        of_fold = {int(rows["session_number"][int(n)]): f.number for f in folds for n in f.test}
        assert dict(told.drop_nulls("fold").select("session_number", "fold").iter_rows()) == of_fold
        assert told["fold"].tail(H.sessions).null_count() == H.sessions
        ahead = dict(zip(frame["session_number"], states_ahead(frame, H.sessions), strict=True))
        assert told["actual_state"].to_list() == [ahead[s] for s in told["session_number"]]

    def test_they_read_nothing_later(self, frame: pl.DataFrame) -> None:
        """Prices after a session are doubled: what was told until then stays the same, to the bit."""
        whole = told_states(frame, H)
        middle = int(whole["session_number"][whole.height // 2])
        after = pl.col("session_number") > middle
        changed = frame.with_columns(
            close=pl.when(after).then(pl.col("close") * 2).otherwise("close"),
            return_1d=pl.when(after).then(-pl.col("return_1d")).otherwise("return_1d"),
            volatility_21d=pl.when(after).then(9.0).otherwise("volatility_21d"),
        )
        again = told_states(changed, H)
        until, said = pl.col("session_number") <= middle, ["session_number", *STATES, *PAST]
        assert again.filter(until).select(said).equals(whole.filter(until).select(said))
        assert not again.select(said).equals(whole.select(said))

    def test_a_fold_is_told_by_what_was_known_at_its_first_session(self, frame: pl.DataFrame) -> None:
        told = told_states(frame, H)
        last = told.filter(pl.col("fold") == pl.col("fold").max())
        known = readable_rows(frame).filter(pl.col("session_number") <= last["session_number"][0])
        classifier = RegimeClassifier(H.sessions).fit(known, np.ones(known.height))
        assert last.select(PAST).row(0) == tuple(classifier.frequencies)
        wanted = classifier.predict_probabilities(frame)[-told.height :][told["fold"].eq_missing(last["fold"][0])]
        np.testing.assert_allclose(last.select(STATES).to_numpy(), wanted, rtol=1e-12)

    def test_a_session_whose_own_state_is_unknown_has_all_alike(self, frame: pl.DataFrame) -> None:
        gap = frame.with_columns(is_suspect=pl.col("session_number").is_between(5700, 5760))
        told = told_states(gap, H)
        # The first sessions after two months of suspect prices look back on nothing.
        row = told.filter(pl.col("session_number") == 5762).select(STATES).row(0)
        assert row == (0.25,) * 4

    def test_where_too_little_is_known_all_are_alike_and_so_is_the_past(self) -> None:
        shortest = training_frame(random_walk(63 + 441 + 252, 2), 252)
        told = told_states(shortest, HORIZONS["12m"])
        assert told.select(*STATES, *PAST).row(0) == (0.25,) * 8
        assert told.select(STATES).row(-1) != (0.25,) * 4
        scores = train_classifier(shortest, HORIZONS["12m"]).scores
        assert scores is not None
        assert scores.n_alike > 0
        assert scores.p_value is None


class TestTrainClassifier:
    def test_it_is_fitted_on_everything_known_and_tells_the_newest_session(
        self, trained: TrainedClassifier, frame: pl.DataFrame
    ) -> None:
        whole = RegimeClassifier(H.sessions).fit(frame, np.ones(frame.height))
        assert trained.newest["session_number"].to_list() == [frame["session_number"][-1]]
        assert trained.newest.select(STATES).row(0) == tuple(whole.predict_probabilities(frame)[-1])
        assert trained.newest.select("fold", "actual_state").row(0) == (None, None)
        assert dict(trained.newest.schema) == STATE_SCHEMA
        assert trained.n_rows == frame.height
        assert trained.training_data == training_data(labelled_rows(frame))
        assert trained.oof.equals(told_states(frame, H))
        said = trained.probabilities
        assert said.columns == ["session_number", *STATES]
        assert said.head(-1).equals(trained.oof.head(-1).select(said.columns))
        assert said.tail(1).equals(trained.newest.select(said.columns))
        assert said.tail(1).select(STATES).row(0) != trained.oof.tail(1).select(STATES).row(0)

    def test_it_is_judged_on_the_sessions_whose_outcome_is_known(self, trained: TrainedClassifier) -> None:
        assert trained.scores is not None
        judged = trained.oof.drop_nulls("actual_state")
        assert trained.scores.n == judged.height == trained.oof.height - H.sessions
        assert sum(state.came for state in trained.scores.states.values()) == judged.height
        given = [row[row["actual_state"]] for row in judged.to_dicts()]
        assert trained.scores.log_loss == pytest.approx(-np.log(given).mean())

    def test_the_same_rows_make_the_same_version_and_others_another(
        self, trained: TrainedClassifier, frame: pl.DataFrame
    ) -> None:
        again = train_classifier(frame.reverse(), H)
        assert again.model_version == trained.model_version
        assert again.oof.equals(trained.oof)
        last = pl.col("session_number") == frame["session_number"][-1]
        corrected = frame.with_columns(close=pl.when(last).then(pl.col("close") + 0.01).otherwise("close"))
        assert train_classifier(corrected, H).model_version != trained.model_version
        assert train_classifier(frame.head(-1), H).model_version != trained.model_version

    def test_a_market_too_often_suspect_to_learn_from_is_told_alike(self) -> None:
        """Every eighth price is suspect: no session knows 25 of its last 30 moves."""
        frame = training_frame(random_walk(900, 5), H.sessions)
        holes = frame.with_columns(is_suspect=pl.col("session_number") % 8 == 0)
        trained = train_classifier(holes, H)
        told = trained.oof
        assert (told.select(*STATES, *PAST).to_numpy() == 0.25).all()
        assert told["actual_state"].null_count() == told.height
        assert trained.scores is None
        assert trained.newest.select(STATES).row(0) == (0.25,) * 4

    def test_too_short_a_history_is_refused(self) -> None:
        with pytest.raises(NotEnoughHistory):
            train_classifier(training_frame(random_walk(250, 2), H.sessions), H)
