import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zl_assets.core.evaluation.splits import MIN_FOLDS, Fold, PurgedWalkForward, plan_walk_forward
from zl_assets.errors import ConfigurationError, InputError, NotEnoughHistory


@st.composite
def _sessions(draw: st.DrawFn) -> np.ndarray:
    """Session numbers with gaps: mostly none, some of a few sessions, some longer than a horizon."""
    n = draw(st.integers(1, 500))
    gaps = draw(st.dictionaries(st.integers(0, n - 1), st.sampled_from([2, 3, 7, 60]), max_size=30))
    steps = np.ones(n, dtype=np.int64)
    steps[list(gaps)] = list(gaps.values())
    return draw(st.integers(0, 9000)) + np.cumsum(steps)


@st.composite
def _splitters(draw: st.DrawFn) -> PurgedWalkForward:
    blocks = draw(st.sampled_from(["n_folds", "test_sessions"]))
    return PurgedWalkForward(
        horizon_sessions=draw(st.integers(1, 40)),
        min_train_sessions=draw(st.integers(1, 60)),
        embargo_sessions=draw(st.integers(0, 10)),
        mode=draw(st.sampled_from(["expanding", "rolling"])),
        **{blocks: draw(st.integers(3, 12) if blocks == "n_folds" else st.integers(20, 80))},
    )


def _window(session: int, horizon: int) -> set[int]:
    """Sessions whose returns decide the label of a session."""
    return set(range(session + 1, session + horizon + 1))


@given(_sessions(), _splitters())
def test_no_training_label_meets_the_test_period(sessions: np.ndarray, splitter: PurgedWalkForward) -> None:
    try:
        folds = splitter.split(sessions)
    except NotEnoughHistory:
        return
    h = splitter.horizon_sessions
    for fold in folds:
        train, test = sessions[fold.train], sessions[fold.test]
        learned = set().union(*(_window(s, h) for s in train))
        judged = set().union(*(_window(s, h) for s in test))
        assert not learned & judged
        assert max(learned) + splitter.embargo_sessions <= test[0]
        assert train[-1] < test[0]
        assert len(train) >= splitter.min_train_sessions


@given(_sessions(), _splitters())
def test_every_session_is_purged_that_has_to_be_and_no_other(sessions: np.ndarray, splitter: PurgedWalkForward) -> None:
    try:
        folds = splitter.split(sessions)
    except NotEnoughHistory:
        return
    for fold in folds:
        start = sessions[fold.test[0]]
        admitted = [
            i
            for i, s in enumerate(sessions)
            if max(_window(int(s), splitter.horizon_sessions)) + splitter.embargo_sessions <= start
        ]
        if splitter.mode == "rolling":
            admitted = admitted[-splitter.min_train_sessions :]
        assert fold.train.tolist() == admitted


@given(_sessions(), _splitters())
def test_test_folds_are_disjoint_ordered_and_cover_the_tail(sessions: np.ndarray, splitter: PurgedWalkForward) -> None:
    try:
        folds = splitter.split(sessions)
    except NotEnoughHistory:
        return
    assert len(folds) >= MIN_FOLDS
    assert [f.number for f in folds] == list(range(len(folds)))
    judged = np.concatenate([f.test for f in folds])
    assert judged.tolist() == list(range(judged[0], len(sessions)))
    assert all(f.test.size for f in folds)


def _folds_or_refusal(sessions: np.ndarray, horizon: int) -> tuple[Fold, ...] | NotEnoughHistory:
    try:
        return plan_walk_forward(sessions, horizon).split(sessions)
    except NotEnoughHistory as error:
        return error


@given(_sessions(), st.integers(1, 30))
def test_a_plan_either_gives_three_sound_folds_or_says_why_not(sessions: np.ndarray, horizon: int) -> None:
    folds = _folds_or_refusal(sessions, horizon)
    if isinstance(folds, NotEnoughHistory):
        assert str(len(sessions)) in folds.what
        assert folds.action
        return
    assert len(folds) >= MIN_FOLDS
    assert all(sessions[f.train[-1]] + horizon <= sessions[f.test[0]] for f in folds)


def test_a_session_without_a_row_still_counts() -> None:
    sessions = np.array([0, 1, 2, 3, 4, 8, 9, 10, 11])
    folds = PurgedWalkForward(horizon_sessions=5, min_train_sessions=4, test_sessions=1).split(sessions)
    assert [sessions[f.test].tolist() for f in folds] == [[8], [9], [10], [11]]
    assert [sessions[f.train].tolist() for f in folds] == [[0, 1, 2, 3], *[[0, 1, 2, 3, 4]] * 3]


def test_the_last_training_outcome_may_be_the_close_of_the_first_test_session() -> None:
    folds = PurgedWalkForward(horizon_sessions=2, min_train_sessions=4, test_sessions=3).split(np.arange(14))
    assert [(f.train[-1], f.test[0]) for f in folds] == [(3, 5), (6, 8), (9, 11)]
    embargoed = PurgedWalkForward(2, 4, test_sessions=3, embargo_sessions=1).split(np.arange(15))
    assert [(f.train[-1], f.test[0]) for f in embargoed] == [(3, 6), (6, 9), (9, 12)]


@pytest.mark.parametrize(("n", "sizes"), [(20, [5, 5, 5]), (22, [5, 5, 7]), (23, [5, 5, 5, 3])])
def test_a_short_remainder_joins_the_last_block(n: int, sizes: list[int]) -> None:
    folds = PurgedWalkForward(horizon_sessions=1, min_train_sessions=5, test_sessions=5).split(np.arange(n))
    assert [f.test.size for f in folds] == sizes


@pytest.mark.parametrize("horizon", [5, 21, 63, 126, 252])
def test_a_long_history_is_tested_from_its_sixth_year_in_yearly_folds(horizon: int) -> None:
    sessions = np.arange(3827 - horizon)
    folds = plan_walk_forward(sessions, horizon).split(sessions)
    assert folds[0].test[0] == 1259
    assert 8 <= len(folds) <= 10
    assert {f.test.size for f in folds[:-1]} == {252}


@pytest.mark.parametrize("horizon", [5, 21, 63, 126, 252])
def test_a_short_history_is_scaled(horizon: int) -> None:
    sessions = np.arange(126 + horizon + 3 * 21)
    assert len(plan_walk_forward(sessions, horizon).split(sessions)) >= MIN_FOLDS
    with pytest.raises(
        NotEnoughHistory, match=rf"{len(sessions) - 1} labelled sessions, at least {len(sessions)} are needed"
    ):
        plan_walk_forward(sessions[:-1], horizon)


def test_too_few_folds_name_the_numbers() -> None:
    splitter = PurgedWalkForward(horizon_sessions=5, min_train_sessions=10, test_sessions=4)
    with pytest.raises(
        NotEnoughHistory, match="20 labelled sessions give 2 test folds at 5 sessions ahead, 3 are needed"
    ):
        splitter.split(np.arange(20))
    with pytest.raises(NotEnoughHistory, match="0 labelled sessions"):
        splitter.split([])


def test_sessions_out_of_order_are_refused_with_their_place() -> None:
    with pytest.raises(InputError, match="rows 1 and 2: sessions 7 and 7"):
        PurgedWalkForward(1, 1, n_folds=3).split([5, 7, 7, 8])


@pytest.mark.parametrize(
    "wrong", [{}, {"n_folds": 3, "test_sessions": 5}, {"n_folds": 0}, {"n_folds": 3, "embargo_sessions": -1}]
)
def test_an_undefined_split_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="not defined"):
        PurgedWalkForward(5, 10, **wrong)
