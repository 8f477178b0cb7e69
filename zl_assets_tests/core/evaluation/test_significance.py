"""Tests of significance: against statsmodels and plain loops, and by how often they find what is not there."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from zl_assets.core.evaluation import significance
from zl_assets.core.evaluation.significance import (
    compare_losses,
    diebold_mariano,
    direction_test,
    fixed_smoothing,
    holm,
    standard_error,
)
from zl_assets.errors import InputError

N = 2400
TRIES = 1500
LONG_HORIZONS = (5, 21, 63, 126)

p_values = st.floats(0, 1)


def moving_sums(rng: np.random.Generator, n: int, h: int) -> np.ndarray:
    """MA(h-1) of equal weights, what overlapping returns are."""
    sums = np.cumsum(np.concatenate([[0.0], rng.standard_normal(n + h - 1)]))
    return sums[h:] - sums[:-h]


def loss_differences(rng: np.random.Generator, n: int, h: int) -> np.ndarray:
    """Of two equally bad forecasts that hold still for about h sessions, on returns with fat tails."""
    sums = np.cumsum(np.concatenate([[0.0], rng.standard_t(5, n + h - 1)]))
    outcome = (sums[h:] - sums[:-h]) / h**0.5
    steps = np.repeat(rng.normal(0, 0.3, (n // h + 2, 2)), h, axis=0)[rng.integers(h) :][:n]
    return np.abs(outcome - steps[:, 0]) - np.abs(outcome - steps[:, 1])


def rejections(
    test: Callable[[np.ndarray], significance.TestResult | None], series: list[np.ndarray]
) -> tuple[float, float]:
    """Shares of series with a one-sided and with a two-sided p-value below 5 %."""
    found = [test(x) for x in series]
    assert None not in found
    return float(np.mean([f.p_one_sided < 0.05 for f in found])), float(np.mean([f.p_two_sided < 0.05 for f in found]))


@pytest.mark.parametrize("h", [1, 5, 21])
@pytest.mark.parametrize("kernel", ["uniform", "bartlett"])
def test_diebold_mariano_is_a_regression_on_a_constant_with_robust_errors(h: int, kernel: str) -> None:
    n = 400
    d = moving_sums(np.random.default_rng(h), n, h) - 0.4
    if kernel == "bartlett":
        h = 2
        d = d + 30 * (-1.0) ** np.arange(n)  # swings that make the plain sum of covariances negative
    lags = {"maxlags": h - 1, "kernel": kernel, "use_correction": False}
    plain = sm.OLS(d, np.ones(n)).fit(cov_type="HAC", cov_kwds=lags).tvalues[0]
    corrected = plain * np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    found = diebold_mariano(d, h)
    assert ("Bartlett" in found.method) == (kernel == "bartlett")
    assert found.statistic == pytest.approx(corrected)
    assert found.p_one_sided == pytest.approx(stats.t.cdf(corrected, n - 1))
    assert found.p_two_sided == pytest.approx(2 * stats.t.sf(abs(corrected), n - 1))
    assert (found.n, found.n_independent) == (n, n // h)
    assert standard_error(d, h) == pytest.approx(abs(d.mean() / corrected))


@pytest.mark.parametrize(("h", "ordinates"), [(10, 3), (34, 1), (4, 4), (1, 6)])
def test_fixed_smoothing_is_a_plain_loop_over_frequencies(h: int, ordinates: int) -> None:
    n = 270
    d = moving_sums(np.random.default_rng(h), n, h)
    periodogram = []
    for j in range(1, ordinates + 1):
        angle = 2 * np.pi * j / n
        cosine = sum(d[t] * np.cos(angle * t) for t in range(n))
        sine = sum(d[t] * np.sin(angle * t) for t in range(n))
        periodogram.append((cosine**2 + sine**2) / (2 * np.pi * n))
    statistic = np.sqrt(n) * d.mean() / np.sqrt(2 * np.pi * np.mean(periodogram))
    found = fixed_smoothing(d, h)
    assert f"{ordinates} ordinates" in found.method
    assert found.statistic == pytest.approx(statistic)
    assert found.p_one_sided == pytest.approx(stats.t.cdf(statistic, 2 * ordinates))
    assert found.p_two_sided == pytest.approx(2 * stats.t.sf(abs(statistic), 2 * ordinates))


@pytest.mark.parametrize("series", [moving_sums, loss_differences])
@pytest.mark.parametrize("h", LONG_HORIZONS)
def test_of_models_no_better_about_one_in_twenty_is_called_better(series, h: int) -> None:
    rng = np.random.default_rng([h, 7])
    one_sided, two_sided = rejections(lambda d: compare_losses(d, h), [series(rng, N, h) for _ in range(TRIES)])
    # The standard error of a share of 0.05 among 1500 is 0.006.
    assert 0.03 < one_sided < 0.08, one_sided
    assert 0.03 < two_sided < 0.08, two_sided


@pytest.mark.parametrize("windows", [10, 14, 29])
def test_on_few_windows_too(windows: int) -> None:
    rng = np.random.default_rng(windows)
    shares = rejections(lambda d: compare_losses(d, 40), [moving_sums(rng, 40 * windows, 40) for _ in range(TRIES)])
    assert max(shares) < 0.08, shares


def test_what_ignores_the_overlap_or_trusts_many_lags_of_few_windows_would_call_more_of_them_better() -> None:
    rng = np.random.default_rng(5)
    series = [moving_sums(rng, 1260, 126) for _ in range(500)]
    _, daily_bandwidth = rejections(lambda d: fixed_smoothing(d, 1), series)
    _, many_lags = rejections(lambda d: diebold_mariano(d, 126), series)
    _, ours = rejections(lambda d: compare_losses(d, 126), series)
    assert daily_bandwidth > 0.12
    assert many_lags > 0.09
    assert ours < 0.085


@pytest.mark.parametrize("h", [5, 63, 126])
def test_a_model_that_is_better_is_found(h: int) -> None:
    rng = np.random.default_rng(h)
    gain = 3.5 * h / N**0.5
    better, _ = rejections(lambda d: compare_losses(d, h), [moving_sums(rng, N, h) - gain for _ in range(200)])
    assert better > 0.8
    worse = [compare_losses(moving_sums(rng, N, h) + gain, h) for _ in range(50)]
    assert min(w.p_one_sided for w in worse) > 0.5


@pytest.mark.parametrize(
    ("windows", "method"), [(9, None), (10, "fixed smoothing"), (29, "fixed smoothing"), (30, "Diebold-Mariano")]
)
def test_the_number_of_independent_windows_decides_how_and_whether(windows: int, method: str | None) -> None:
    h = 20
    d = moving_sums(np.random.default_rng(1), windows * h + h - 1, h)
    found = compare_losses(d, h)
    directions = direction_test(d, np.roll(d, 1), h)
    if method is None:
        assert (found, directions) == (None, None)
    else:
        assert found.method.startswith(method)
        assert directions.method.startswith(method)
        assert (found.n, found.n_independent) == (d.size, windows)


@given(st.integers(0, 1000), st.sampled_from([(400, 5), (400, 21)]), st.floats(0.001, 1000))
def test_swapping_the_models_turns_the_result_round_and_units_do_not_matter(
    seed: int, size: tuple[int, int], scale: float
) -> None:
    n, h = size
    d = moving_sums(np.random.default_rng(seed), n, h) + 0.3
    one, other, scaled = (compare_losses(x, h) for x in (d, -d, scale * d))
    assert other.statistic == pytest.approx(-one.statistic)
    assert other.p_one_sided == pytest.approx(1 - one.p_one_sided)
    assert other.p_two_sided == pytest.approx(one.p_two_sided)
    assert one.p_two_sided == pytest.approx(2 * min(one.p_one_sided, other.p_one_sided))
    assert scaled.statistic == pytest.approx(one.statistic)


def test_the_same_losses_are_not_testable() -> None:
    assert compare_losses(np.zeros(500), 5) is None
    assert compare_losses(np.full(500, 0.1) + 1e-18, 5) is None
    assert compare_losses([], 5) is None


@pytest.mark.parametrize("test", [diebold_mariano, fixed_smoothing, standard_error])
@pytest.mark.parametrize("values", [np.ones(100), [], [0.1, 0.2]])
def test_a_test_asked_for_what_has_no_spread_says_so(test, values) -> None:
    with pytest.raises(InputError, match="values that differ"):
        test(values, 5)


@pytest.mark.parametrize(
    ("values", "h"), [([0.1, np.nan] * 100, 5), ([np.inf] * 100, 5), ([0.1, 0.2] * 100, 0), ([[0.1]], 1)]
)
def test_what_is_no_series_is_refused(values, h: int) -> None:
    with pytest.raises(InputError, match="a test needs finite values"):
        compare_losses(values, h)
    with pytest.raises(InputError, match="a test needs finite values"):
        direction_test(values, values, h)


def test_the_direction_is_tested_on_the_products_of_the_signs() -> None:
    rng = np.random.default_rng(2)
    n, h = 500, 5
    actual = moving_sums(rng, n, h)
    predicted = actual + 6 * rng.standard_normal(n)
    up, said = np.sign(actual), np.sign(predicted)
    products = (up - up.mean()) * (said - said.mean())
    lags = {"maxlags": h - 1, "kernel": "uniform", "use_correction": False}
    plain = sm.OLS(products, np.ones(n)).fit(cov_type="HAC", cov_kwds=lags).tvalues[0]
    found = direction_test(actual, predicted, h)
    assert found.statistic == pytest.approx(plain * np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n))
    assert found.p_one_sided == pytest.approx(stats.t.sf(found.statistic, n - 1))
    slope = sm.OLS(up, sm.add_constant(said)).fit().params[1]
    assert products.mean() == pytest.approx(slope * said.var())


def test_without_overlap_it_is_the_test_of_pesaran_and_timmermann() -> None:
    rng = np.random.default_rng(3)
    actual = rng.standard_normal(3000) + 0.2
    predicted = 0.03 * actual + rng.standard_normal(3000) - 0.3
    y, x = actual > 0, predicted > 0
    hits, p, q, n = np.mean(y == x), y.mean(), x.mean(), y.size
    chance = p * q + (1 - p) * (1 - q)
    of_chance = ((2 * p - 1) ** 2 * q * (1 - q) + (2 * q - 1) ** 2 * p * (1 - p)) / n + 4 * p * q * (1 - p) * (
        1 - q
    ) / n**2
    statistic = (hits - chance) / np.sqrt(chance * (1 - chance) / n - of_chance)
    assert direction_test(actual, predicted, 1).statistic == pytest.approx(statistic, rel=0.03)


@pytest.mark.parametrize("h", LONG_HORIZONS)
def test_a_sign_that_seldom_changes_says_nothing_about_a_market_that_mostly_rises(h: int) -> None:
    rng = np.random.default_rng([h, 8])

    def pair() -> np.ndarray:
        """A drift, and a forecast that mostly says so and holds its mind for about a quarter."""
        mind = np.repeat(rng.standard_normal(N // 63 + 2), 63)[rng.integers(63) :][:N]
        return np.stack([moving_sums(rng, N, h) + 0.3 * h**0.5, mind + 0.6])

    shares = rejections(lambda both: direction_test(both[0], both[1], h), [pair() for _ in range(TRIES)])
    assert max(shares) < 0.08, shares


def test_a_sense_of_direction_is_found_and_the_opposite_is_not_called_good() -> None:
    rng = np.random.default_rng(9)
    actual = moving_sums(rng, N, 21)
    predicted = actual + 10 * rng.standard_normal(N)
    assert direction_test(actual, predicted, 21).p_one_sided < 0.01
    opposite = direction_test(actual, -predicted, 21)
    assert opposite.p_one_sided > 0.99
    assert opposite.p_two_sided < 0.02


def test_a_sign_that_never_changes_is_not_testable() -> None:
    actual = moving_sums(np.random.default_rng(1), 500, 5)
    assert direction_test(actual, np.full(500, 0.1), 5) is None
    assert direction_test(actual, np.zeros(500), 5) is None
    assert direction_test(np.abs(actual), actual, 5) is None
    with pytest.raises(InputError, match="500 outcomes, 499 forecasts"):
        direction_test(actual, actual[1:], 5)


@given(st.lists(p_values, min_size=1, max_size=6))
def test_holm_rejects_what_no_set_of_models_can_excuse(p: list[float]) -> None:
    """By its definition as a closed test: a model is better if every set it is in has one, after Bonferroni."""
    named = {f"model {n}": v for n, v in enumerate(p)}
    sets = [s for size in range(1, len(p) + 1) for s in combinations(named, size)]
    expected = {
        name: max(min(1.0, len(s) * min(named[other] for other in s)) for s in sets if name in s) for name in named
    }
    assert holm(named | {"untested": None}) == pytest.approx(expected | {"untested": None})
    assert list(holm(named)) == list(named)


def test_adjusted_values_are_those_of_another_library() -> None:
    p = [0.04, 0.001, 0.01, 0.01, 0.6]
    assert list(holm({str(n): v for n, v in enumerate(p)}).values()) == pytest.approx(
        multipletests(p, method="holm")[1]
    )


def test_holm_of_nothing_tested_is_nothing() -> None:
    assert holm({}) == {}
    assert holm({"a": None}) == {"a": None}


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(p: float) -> None:
    with pytest.raises(InputError, match="is not a p-value"):
        holm({"a": p})
