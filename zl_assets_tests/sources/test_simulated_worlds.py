"""What the two worlds hold: nothing to find in the martingale, one rule to find in the planted one.

Thresholds are standard errors across independent seeds, so overlapping windows need no correction.
"""

from datetime import date

import numpy as np
import pytest

from zl_assets.core.horizons import HORIZONS
from zl_assets.sources.simulated import KAPPA, MEMORY, World, zl_closes

SEEDS = range(100, 124)
SPAN = (date(2010, 6, 6), date(2025, 11, 14))


@pytest.fixture(scope="module")
def closes() -> dict[World, np.ndarray]:
    worlds: tuple[World, World] = ("martingale", "planted")
    return {world: zl_closes(world, SEEDS, *SPAN)[1] for world in worlds}


def within_noise(values: np.ndarray, expected: float = 0.0, errors: float = 3.0) -> bool:
    return abs(values.mean() - expected) < errors * values.std(ddof=1) / np.sqrt(values.size)


def slopes(past: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Least-squares slope of each column of `ahead` on the same column of `past`."""
    centred = past - past.mean(axis=0)
    return (centred * ahead).sum(axis=0) / (centred**2).sum(axis=0)


def returns(closes: np.ndarray, sessions: int) -> np.ndarray:
    return closes[sessions:] / closes[:-sessions] - 1.0


def past_and_ahead(closes: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """return_21d and the forward return over a horizon, aligned, shape (sessions, seeds)."""
    ahead = returns(closes, horizon)[MEMORY:]
    return returns(closes, MEMORY)[: len(ahead)], ahead


@pytest.mark.parametrize("horizon", HORIZONS.values(), ids=list(HORIZONS))
def test_martingale_forward_returns_average_zero(closes: dict[World, np.ndarray], horizon) -> None:
    assert within_noise(returns(closes["martingale"], horizon.sessions).mean(axis=0))


@pytest.mark.parametrize("lag", [1, 2, 5])
def test_martingale_returns_are_uncorrelated(closes: dict[World, np.ndarray], lag: int) -> None:
    moves = returns(closes["martingale"], 1)
    assert within_noise(slopes(moves[:-lag], moves[lag:]))


def test_martingale_variance_grows_with_the_horizon(closes: dict[World, np.ndarray]) -> None:
    log = np.log(closes["martingale"])
    ratio = np.diff(log[::MEMORY], axis=0).var(axis=0) / (MEMORY * np.diff(log, axis=0).var(axis=0))
    assert within_noise(ratio, expected=1.0)


def test_martingale_momentum_says_nothing_about_the_next_month(closes: dict[World, np.ndarray]) -> None:
    assert within_noise(slopes(*past_and_ahead(closes["martingale"], 21)))


def test_planted_momentum_reverts(closes: dict[World, np.ndarray]) -> None:
    found = slopes(*past_and_ahead(closes["planted"], 21))
    assert found.mean() < -10 * found.std(ddof=1) / np.sqrt(found.size)
    assert (found < 0).all()


def test_planted_coefficient_is_the_documented_one(closes: dict[World, np.ndarray]) -> None:
    past, ahead = past_and_ahead(closes["planted"], 1)
    assert within_noise(slopes(past / MEMORY, ahead), expected=-KAPPA, errors=4.0)


def test_planted_month_is_predictable_to_the_intended_degree(closes: dict[World, np.ndarray]) -> None:
    """The 21 latest returns, the whole state of the rule, explain a tenth to a quarter of the next month's return."""
    moves, (_, ahead) = returns(closes["planted"], 1), past_and_ahead(closes["planted"], 21)
    shares = []
    for seed in range(moves.shape[1]):
        state = np.lib.stride_tricks.sliding_window_view(moves[:, seed], MEMORY)[: len(ahead)]
        design, target = state - state.mean(axis=0), ahead[:, seed] - ahead[:, seed].mean()
        fit = design @ np.linalg.lstsq(design[::2], target[::2], rcond=None)[0]
        shares.append(1.0 - ((target - fit)[1::2] ** 2).sum() / (target[1::2] ** 2).sum())
    assert 0.10 < np.mean(shares) < 0.27


@pytest.mark.parametrize("world", ["martingale", "planted"])
def test_prices_look_like_soybean_oil(closes: dict[World, np.ndarray], world: World) -> None:
    path = closes[world]
    moves = returns(path, 1)
    assert np.abs(moves).max() < 0.115
    assert 0.009 < moves.std() < 0.016
    lowest, highest = path.min(axis=0), path.max(axis=0)
    assert np.median(lowest) > 15
    assert np.median(highest) < 120
    assert lowest.min() > 4
    assert highest.max() < 250


@pytest.mark.parametrize("world", ["martingale", "planted"])
def test_default_seed_stays_in_the_range_of_zl(world: World) -> None:
    path = zl_closes(world, [7], *SPAN)[1][:, 0]
    volatility = np.lib.stride_tricks.sliding_window_view(path[1:] / path[:-1] - 1.0, MEMORY).std(axis=1, ddof=1)
    assert path.min() > 15
    assert path.max() < 120
    assert 0.004 < volatility.min() < volatility.max() < 0.041


def test_volatility_clusters(closes: dict[World, np.ndarray]) -> None:
    squared = returns(closes["martingale"], 1) ** 2
    found = slopes(squared[:-1], squared[1:])
    assert found.mean() > 10 * found.std(ddof=1) / np.sqrt(found.size)
