"""The probability of a rise: against plain interpolation, its symmetry, and that no outcome is known early."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from zl_assets.core.direction import REFIT_SESSIONS, calibrated_direction, direction_probability
from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.errors import InputError

LEVELS = np.array(QUANTILE_LEVELS)
FORECASTS = st.lists(st.floats(-0.5, 0.5), min_size=7, max_size=7).map(lambda q: np.sort(q)[None, :])


@given(FORECASTS)
def test_the_mirror_image_has_the_opposite_probability(quantiles: np.ndarray) -> None:
    up, down = direction_probability(quantiles), direction_probability(-quantiles[:, ::-1])
    assert 0 <= up[0] <= 1
    assert up + down == pytest.approx(1, abs=1e-9)


@given(FORECASTS, st.floats(0, 0.5))
def test_a_forecast_of_higher_returns_is_not_less_probable_to_rise(quantiles: np.ndarray, more: float) -> None:
    assert direction_probability(quantiles + more)[0] >= direction_probability(quantiles)[0] - 1e-12


@given(FORECASTS)
def test_a_median_of_zero_gives_one_half(quantiles: np.ndarray) -> None:
    assert direction_probability(quantiles - quantiles[:, 3:4]) == pytest.approx(0.5)


def test_between_the_quantiles_it_is_numpys_interpolation() -> None:
    rng = np.random.default_rng(0)
    q = np.sort(rng.normal(0.005, 0.03, (500, 7)), axis=1)
    q = q[(q[:, 0] < 0) & (q[:, -1] > 0)]
    expected = [1 - np.interp(0.0, row, LEVELS) for row in q]
    assert direction_probability(q) == pytest.approx(expected)
    assert direction_probability(q[:, ::-1]) == pytest.approx(expected)


def test_it_is_near_the_truth_of_a_normal_distribution_also_in_the_tails() -> None:
    means = np.array([-2.5, -1.5, -0.3, 0.4, 1.5, 2.5])
    found = direction_probability(means[:, None] + stats.norm.ppf(LEVELS))
    assert found == pytest.approx(stats.norm.cdf(means), abs=0.02)
    assert 0 < found[0] < 0.02
    assert 0.98 < found[-1] < 1


def test_a_missing_quantile_gives_none() -> None:
    rows = np.array([[-0.1, -0.05, -0.02, 0, 0.02, 0.05, 0.1], [np.nan, -0.05, -0.02, 0, 0.02, 0.05, 0.1]])
    assert direction_probability(rows) == pytest.approx([0.5, np.nan], nan_ok=True)


def history(n: int, truth: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Forecasts whose log odds are right once multiplied by `truth`."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 1.5, n)
    rises = rng.random(n) < 1 / (1 + np.exp(-truth * odds))
    return 1 / (1 + np.exp(-odds)), np.where(rises, 0.01, -0.01), np.arange(5000, 5000 + n)


@pytest.mark.parametrize("truth", [0.3, 1.0])
def test_it_learns_how_far_to_believe(truth: float) -> None:
    p, returns, sessions = history(3000, truth)
    found = calibrated_direction(p, returns, sessions, 1)[-1]
    right = 1 / (1 + np.exp(-truth * np.log(p / (1 - p))))[-1]
    assert found == pytest.approx(right, abs=0.03)


@pytest.mark.parametrize("truth", [0.0, -1.0])
def test_forecasts_that_say_nothing_or_the_opposite_end_at_one_half(truth: float) -> None:
    p, returns, sessions = history(3000, truth)
    assert np.abs(calibrated_direction(p, returns, sessions, 1)[-500:] - 0.5).max() < 0.05


def test_the_slope_is_the_most_probable_one_by_scipy() -> None:
    p, returns, _ = history(400, 0.8, 3)
    h, sessions = 5, np.arange(21 * 300, 21 * 300 + 400)
    odds = np.log(p / (1 - p))
    refit = sessions[-1] // REFIT_SESSIONS * REFIT_SESSIONS
    seen = sessions + h <= refit

    def loss(slope: float) -> float:
        return float(np.logaddexp(0, -slope * odds[seen] * np.sign(returns[seen])).sum() / h + slope**2 / 2)

    slope = optimize.minimize_scalar(loss, bounds=(0, 4), method="bounded", options={"xatol": 1e-10}).x
    expected = 1 / (1 + np.exp(-slope * odds[-1]))
    assert calibrated_direction(p, returns, sessions, h)[-1] == pytest.approx(expected, abs=1e-6)


def test_overlapping_outcomes_are_believed_less() -> None:
    p, returns, sessions = history(600, 1.0)
    short, long = (calibrated_direction(p, returns, sessions, h) for h in (1, 126))
    assert np.abs(long[-50:] - 0.5).mean() < 0.7 * np.abs(short[-50:] - 0.5).mean()


@given(row=st.integers(0, 299), h=st.sampled_from([1, 5, 63]))
def test_no_outcome_is_known_before_its_session(row: int, h: int) -> None:
    p, returns, sessions = history(300, 1.0, 5)
    changed = returns.copy()
    changed[sessions + h > sessions[row]] = -5 * returns[sessions + h > sessions[row]]
    later = p.copy()
    later[row + 1 :] = 0.5
    before, after = calibrated_direction(p, returns, sessions, h), calibrated_direction(later, changed, sessions, h)
    assert (before[: row + 1] == after[: row + 1]).all()
    assert (calibrated_direction(p[: row + 1], returns[: row + 1], sessions[: row + 1], h) == before[: row + 1]).all()


def test_without_outcomes_it_is_one_half_and_what_is_missing_stays_so() -> None:
    p, returns, sessions = history(100, 1.0)
    assert (calibrated_direction(p, np.full(100, np.nan), sessions, 5) == 0.5).all()
    p[[3, 90]] = np.nan
    assert np.flatnonzero(np.isnan(calibrated_direction(p, returns, sessions, 5))).tolist() == [3, 90]


def test_forecasts_that_are_sure_do_not_break_it() -> None:
    p, returns, sessions = history(200, 1.0)
    p[:100] = np.where(returns[:100] > 0, 1.0, 0.0)
    found = calibrated_direction(p, returns, sessions, 1)
    assert ((found > 0) & (found < 1)).all()


@pytest.mark.parametrize("wrong", ["short", "outside", "order"])
def test_input_that_does_not_fit_is_refused(wrong: str) -> None:
    p, returns, sessions = history(50, 1.0)
    arguments = {
        "short": (p[:-1], returns, sessions),
        "outside": (p + 1, returns, sessions),
        "order": (p, returns, sessions[::-1]),
    }
    with pytest.raises(InputError, match="a probability and a session for every outcome"):
        calibrated_direction(*arguments[wrong], 5)
