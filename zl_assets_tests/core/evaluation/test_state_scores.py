"""Scores of market states: against another library, and against what a person can add up."""

from __future__ import annotations

from math import log

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from zl_assets.core.evaluation.significance import compare_losses, fixed_smoothing
from zl_assets.core.evaluation.state_scores import ACTUAL, CLIMATOLOGY, StateScores, score_states
from zl_assets.errors import InputError

STATES = ("crisis", "bull", "bear")
Told = tuple[float, ...]


def rows(came: list[str | None], told: list[Told] | np.ndarray, past: list[Told] | np.ndarray) -> pl.DataFrame:
    told, past = np.asarray(told), np.asarray(past)
    return pl.DataFrame(
        {
            ACTUAL: pl.Series(came, dtype=pl.String),
            **{state: told[:, n] for n, state in enumerate(STATES)},
            **{CLIMATOLOGY + state: past[:, n] for n, state in enumerate(STATES)},
        }
    )


def scored(made: pl.DataFrame, horizon_sessions: int) -> StateScores:
    found = score_states(made, STATES, horizon_sessions)
    assert found is not None
    return found


def drawn(seed: int, n: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    came = rng.choice(STATES, n).tolist()
    return rows(came, rng.dirichlet(np.ones(3), n), rng.dirichlet(np.ones(3), n))


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 60))
def test_losses_are_those_of_another_library(seed: int, n: int) -> None:
    made = drawn(seed, n)
    found = scored(made, 1)
    order = sorted(STATES)
    came, past = made[ACTUAL].to_list(), [CLIMATOLOGY + s for s in order]
    assert found.log_loss == pytest.approx(log_loss(came, made.select(order).to_numpy(), labels=order))
    assert found.climatology_log_loss == pytest.approx(log_loss(came, made.select(past).to_numpy(), labels=order))
    brier = [sum((row[s] - (row[ACTUAL] == s)) ** 2 for s in STATES) for row in made.to_dicts()]
    assert found.brier == pytest.approx(sum(brier) / n)
    assert found.accuracy == pytest.approx(
        sum(max(STATES, key=lambda s: row[s]) == row[ACTUAL] for row in made.to_dicts()) / n
    )
    assert found.log_loss_skill == pytest.approx(1 - found.log_loss / found.climatology_log_loss)


def test_counts_by_hand() -> None:
    told = [(0.6, 0.3, 0.1), (0.2, 0.2, 0.6), (1 / 3, 1 / 3, 1 / 3), (0.4, 0.4, 0.2), (0.1, 0.2, 0.7)]
    past = [(0.5, 0.25, 0.25)] * 5
    found = scored(rows(["crisis", "bear", "bull", "bull", None], told, past), 2)
    assert (found.n, found.n_independent, found.n_alike) == (4, 2, 1)
    assert found.log_loss == pytest.approx(-(log(0.6) + log(0.6) + log(1 / 3) + log(0.4)) / 4)
    assert found.climatology_log_loss == pytest.approx(-(log(0.5) + 3 * log(0.25)) / 4)
    # States that are alike share a session: a third of the third one, a half of the fourth.
    assert found.accuracy == pytest.approx((1 + 1 + 1 / 3 + 1 / 2) / 4)
    assert found.most_frequent_accuracy == pytest.approx(1 / 4)
    assert {s: c.came for s, c in found.states.items()} == {"crisis": 1, "bull": 2, "bear": 1}
    assert found.states["bull"].told == pytest.approx(1 / 3 + 1 / 2)
    assert found.states["bear"].mean_probability == pytest.approx((0.1 + 0.6 + 1 / 3 + 0.2) / 4)


def test_climatology_itself_has_no_skill_and_nothing_to_test() -> None:
    past = [(0.5, 0.3, 0.2)] * 300
    found = scored(rows([STATES[n % 3] for n in range(300)], past, past), 5)
    assert found.log_loss_skill == 0
    assert found.brier == found.climatology_brier
    assert found.p_value is None
    assert found.p_value_worse is None


@pytest.mark.parametrize(("n", "tested"), [(99, False), (100, True)])
def test_the_stricter_of_two_tests_counts_where_windows_are_enough(n: int, tested: bool) -> None:
    made = drawn(3, n)
    found = scored(made, 10)
    assert (found.p_value is not None) == tested
    if tested:
        losses = [-log(row[row[ACTUAL]]) + log(row[CLIMATOLOGY + row[ACTUAL]]) for row in made.to_dicts()]
        test = compare_losses(losses, 10)
        assert test is not None
        assert found.p_value == pytest.approx(max(test.p_one_sided, fixed_smoothing(losses, 10).p_one_sided))
        other = [-loss for loss in losses]
        worse = compare_losses(other, 10)
        assert worse is not None
        assert found.p_value_worse == pytest.approx(max(worse.p_one_sided, fixed_smoothing(other, 10).p_one_sided))


def test_without_an_outcome_there_is_nothing_to_judge() -> None:
    assert score_states(rows([None], [(0.5, 0.3, 0.2)], [(0.5, 0.3, 0.2)]), STATES, 5) is None


def test_no_probability_of_what_came_is_refused() -> None:
    with pytest.raises(InputError, match=r"given no probability.*1 of 2 sessions"):
        score_states(rows(["crisis", "bear"], [(0.5, 0.5, 0.0)] * 2, [(0.5, 0.3, 0.2)] * 2), STATES, 5)
