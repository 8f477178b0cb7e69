"""The interval of a mean: against a plain loop, and by how often it holds a known mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zl_assets.core.evaluation.bootstrap import block_length, mean_interval
from zl_assets.errors import InputError


def moving_sums(n: int, h: int, seed: int) -> np.ndarray:
    """MA(h-1) of equal weights: what overlapping returns are."""
    return np.convolve(np.random.default_rng(seed).standard_normal(n + h - 1), np.ones(h), "valid")


def autoregression(n: int, h: int, seed: int) -> np.ndarray:
    """AR(1) whose memory is half a window."""
    shocks = np.random.default_rng(seed).standard_normal(n + 200)
    for t in range(1, shocks.size):
        shocks[t] += np.exp(-2 / h) * shocks[t - 1]
    return shocks[200:]


def test_the_interval_is_that_of_a_plain_loop() -> None:
    x, h, level = moving_sums(150, 5, 1), 5, 0.9
    found = mean_interval(x, h, level=level, seed=11)
    rows, blocks = 16, 9
    assert (found.block_rows, found.blocks, found.replicates) == (rows, blocks, 999)
    means = [float(np.mean(x[s : s + rows])) for s in range(150 - rows + 1)]
    distances = []
    for starts in np.random.default_rng(11).integers(0, len(means), (999, blocks)):
        drawn = [means[s] for s in starts]
        mean = sum(drawn) / blocks
        error = (sum((d - mean) ** 2 for d in drawn) / (blocks - 1) / blocks) ** 0.5
        distances.append((mean - np.mean(means)) / error)
    error = (np.mean([(m - np.mean(x)) ** 2 for m in means]) / (blocks - 1)) ** 0.5
    low, high = np.quantile(distances, [0.05, 0.95])
    assert found.low == pytest.approx(np.mean(x) - high * error, rel=1e-9)
    assert found.high == pytest.approx(np.mean(x) - low * error, rel=1e-9)
    assert found.mean == pytest.approx(np.mean(x))


@pytest.mark.parametrize("independent", [10, 40, 120])
@pytest.mark.parametrize("series", [moving_sums, autoregression])
def test_it_holds_the_true_mean_about_as_often_as_it_says(series, independent: int) -> None:
    h, tries = 10, 300
    intervals = [mean_interval(series(independent * h, h, seed), h, level=0.95, seed=seed) for seed in range(tries)]
    share = np.mean([i.low <= 0 <= i.high for i in intervals])
    # Three standard errors of a share of 0.95 among 300, and two points that so few windows cannot give.
    assert 0.89 < share < 0.995, share


def test_an_interval_that_ignores_the_overlap_would_not() -> None:
    misses = [mean_interval(moving_sums(800, 40, s), 1, level=0.95, seed=s) for s in range(200)]
    assert np.mean([i.low <= 0 <= i.high for i in misses]) < 0.8


def test_a_higher_level_is_wider_and_rests_on_more_replicates() -> None:
    x = moving_sums(600, 5, 3)
    narrow, wide = (mean_interval(x, 5, level=v, seed=1) for v in (0.9, 0.996))
    assert wide.low < narrow.low < x.mean() < narrow.high < wide.high
    assert wide.replicates * (1 - 0.996) / 2 >= 20


def test_the_same_seed_gives_the_same_bits_and_another_one_others() -> None:
    x = moving_sums(300, 5, 4)
    assert mean_interval(x, 5, level=0.95, seed=[1, 2]) == mean_interval(x.copy(), 5, level=0.95, seed=[1, 2])
    assert mean_interval(x, 5, level=0.95, seed=[1, 2]) != mean_interval(x, 5, level=0.95, seed=[1, 3])


@given(st.floats(-3, 3), st.floats(0.01, 100))
def test_it_moves_and_scales_with_the_series(shift: float, scale: float) -> None:
    x = moving_sums(200, 5, 5)
    plain, moved = (mean_interval(v, 5, level=0.95, seed=9) for v in (x, shift + scale * x))
    assert moved.low == pytest.approx(shift + scale * plain.low, rel=1e-6, abs=1e-6)
    assert moved.high == pytest.approx(shift + scale * plain.high, rel=1e-6, abs=1e-6)


def test_a_series_without_a_difference_has_an_interval_without_a_width() -> None:
    found = mean_interval(np.zeros(200), 5, level=0.95, seed=1)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)


@given(st.integers(1, 5000), st.integers(1, 252))
def test_a_block_spans_the_cube_root_of_the_windows(n: int, h: int) -> None:
    assert block_length(n, h) == max(h, round(h * (n / h) ** (1 / 3)))
    assert block_length(8 * h, h) == 2 * h


@pytest.mark.parametrize(
    ("values", "level"), [([], 0.95), (np.ones(20), 0.95), ([np.nan] * 200, 0.95), (np.ones(200), 1.0)]
)
def test_what_gives_no_interval_is_refused(values, level: float) -> None:
    with pytest.raises(InputError, match="an interval needs"):
        mean_interval(values, 10, level=level, seed=1)
