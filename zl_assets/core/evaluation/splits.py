"""Which rows a fold learns from and which it is judged on.

Belongs here: index arithmetic on session numbers. Fitting and scoring do not.

The label of session s is decided by the sessions of (s, s+h]: the close of s is known when the forecast is made, the
close of s+h decides the outcome. Two labels overlap where these windows share a session. Distances are differences of
exchange session numbers and never of row positions, since a session without data has a number and no row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zl_assets.errors import ConfigurationError, InputError, NotEnoughHistory

MIN_FOLDS = 3
"""Fewest test folds whose errors have a usable spread."""

FIRST_TEST_AFTER_SESSIONS = 1260
"""Five years: where the first test fold starts on a long history, the same day for every horizon."""

TEST_SESSIONS = 252
"""One year: length of a test fold on a long history."""

MIN_TRAIN_SESSIONS = 126
"""Fewest labelled sessions any model is fitted on: half a year."""

MIN_TEST_SESSIONS = 21
"""Shortest test fold: a month."""

Mode = Literal["expanding", "rolling"]


@dataclass(frozen=True, eq=False)
class Fold:
    """One step of the walk forward.

    Attributes:
        number: 0 for the earliest fold.
        train: row positions to learn from, ascending.
        test: row positions to be judged on, ascending, all later than `train`.
    """

    number: int
    train: NDArray[np.intp]
    test: NDArray[np.intp]


@dataclass(frozen=True)
class PurgedWalkForward:
    """Walk forward through time without a training label that the first test forecast could not know.

    A training session s is admitted when s + h + embargo <= t, with t the first test session of the fold. Without an
    embargo the window of the last training label may end in t itself: its outcome is the close of t, which is known
    after the settlement of t, when the forecast of t is made. The windows (s, s+h] and (t, t+h] then touch and share no
    session.

    Attributes:
        horizon_sessions: h, sessions from a forecast to its outcome.
        min_train_sessions: labelled sessions the first fold learns from at least; in rolling mode, the sessions every
            fold learns from.
        n_folds: number of test blocks of equal length in sessions; exclusive with `test_sessions`.
        test_sessions: length of a test block in sessions; a remainder shorter than half a block joins the last block.
        embargo_sessions: further sessions left out between the last training outcome and the first test session.
        mode: `expanding` learns from everything admitted, `rolling` from the latest `min_train_sessions`.
    """

    horizon_sessions: int
    min_train_sessions: int
    n_folds: int | None = None
    test_sessions: int | None = None
    embargo_sessions: int = 0
    mode: Mode = "expanding"

    def __post_init__(self) -> None:
        sizes = [self.horizon_sessions, self.min_train_sessions]
        sizes += [v for v in (self.n_folds, self.test_sessions) if v is not None]
        if min(sizes) < 1 or self.embargo_sessions < 0 or (self.n_folds is None) == (self.test_sessions is None):
            raise ConfigurationError(
                "the walk-forward split is not defined",
                where=str(self),
                action="give lengths of 1 or more, an embargo of 0 or more, and either n_folds or test_sessions",
            )

    def split(self, session_numbers: ArrayLike) -> tuple[Fold, ...]:
        """Folds over rows sorted by session, earliest first; their test rows are disjoint and cover the tail.

        Args:
            session_numbers: shape (rows,), strictly ascending exchange session numbers.

        Raises:
            InputError: the session numbers are not strictly ascending.
            NotEnoughHistory: fewer than three test folds hold a row.
        """
        sessions = _ascending(session_numbers)
        folds: list[Fold] = []
        for low, high in self._blocks(sessions):
            test = np.flatnonzero((sessions >= low) & (sessions < high))
            if test.size == 0:
                continue
            known = sessions + self.horizon_sessions + self.embargo_sessions <= sessions[test[0]]
            train = np.flatnonzero(known)
            if self.mode == "rolling":
                train = train[-self.min_train_sessions :]
            folds.append(Fold(len(folds), train, test))
        if len(folds) < MIN_FOLDS:
            raise self._not_enough(sessions.size, len(folds))
        return tuple(folds)

    def _blocks(self, sessions: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Half-open session ranges of the test blocks; empty where the history ends before the first one."""
        if sessions.size < self.min_train_sessions:
            return []
        first = int(sessions[self.min_train_sessions - 1]) + self.horizon_sessions + self.embargo_sessions
        end = int(sessions[-1]) + 1
        if first >= end:
            return []
        edges = self._edges(first, end)
        return list(pairwise(edges))

    def _edges(self, first: int, end: int) -> Sequence[int]:
        if self.test_sessions is None:
            n = self.n_folds or MIN_FOLDS
            return [first + (end - first) * k // n for k in range(n + 1)]
        starts = list(range(first, end, self.test_sessions))
        if len(starts) > 1 and 2 * (end - starts[-1]) < self.test_sessions:
            starts.pop()
        return [*starts, end]

    def _not_enough(self, n_rows: int, n_folds: int) -> NotEnoughHistory:
        return NotEnoughHistory(
            f"{n_rows} labelled sessions give {n_folds} test folds at {self.horizon_sessions} sessions ahead, "
            f"{MIN_FOLDS} are needed",
            where=f"{self.min_train_sessions} sessions to learn from come before {self.horizon_sessions} purged "
            f"and {self.embargo_sessions} embargoed ones",
            action="load a longer history, or leave this horizon out",
        )


def plan_walk_forward(
    session_numbers: ArrayLike, horizon_sessions: int, *, embargo_sessions: int = 0, mode: Mode = "expanding"
) -> PurgedWalkForward:
    """Split fitting the length of a history.

    From 3,150 labelled sessions on, the first fold starts five years in and a fold lasts one year. A shorter history
    puts the first fold after two fifths of its rows and has about eight folds, or fewer where a fold would be shorter
    than the horizon.

    Args:
        session_numbers: shape (rows,), exchange session numbers of the labelled rows.
        horizon_sessions: sessions from a forecast to its outcome.
        embargo_sessions: see `PurgedWalkForward`.
        mode: see `PurgedWalkForward`.

    Raises:
        InputError: the session numbers are not strictly ascending.
        NotEnoughHistory: not even the shortest admissible folds fit, with the numbers.
    """
    n_rows = _ascending(session_numbers).size
    gap = horizon_sessions + embargo_sessions
    first_test = max(min(FIRST_TEST_AFTER_SESSIONS, n_rows * 2 // 5), MIN_TRAIN_SESSIONS + gap)
    tail = n_rows - first_test
    if tail < MIN_FOLDS * MIN_TEST_SESSIONS:
        needed = first_test + MIN_FOLDS * MIN_TEST_SESSIONS
        raise NotEnoughHistory(
            f"{n_rows} labelled sessions, at least {needed} are needed at {horizon_sessions} sessions ahead",
            where=f"{MIN_TRAIN_SESSIONS} to learn from, {gap} purged or embargoed, "
            f"{MIN_FOLDS} test folds of {MIN_TEST_SESSIONS}",
            action="load a longer history, or leave this horizon out",
        )
    longest = min(horizon_sessions, tail // MIN_FOLDS)
    length = min(TEST_SESSIONS, max(tail // 8, longest, MIN_TEST_SESSIONS))
    return PurgedWalkForward(
        horizon_sessions, first_test - gap, test_sessions=length, embargo_sessions=embargo_sessions, mode=mode
    )


def _ascending(session_numbers: ArrayLike) -> NDArray[np.int64]:
    sessions = np.asarray(session_numbers, dtype=np.int64)
    wrong = np.flatnonzero(np.diff(sessions) <= 0)
    if wrong.size:
        position = int(wrong[0])
        raise InputError(
            "session numbers are not strictly ascending",
            where=f"rows {position} and {position + 1}: sessions {sessions[position]} and {sessions[position + 1]}",
            action="sort the frame by data_date and keep one row a session",
        )
    return sessions
