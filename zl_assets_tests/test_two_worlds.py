"""The whole chain from closes to champion on simulated markets: none to be found, and one that must be found."""

import pytest

from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import chosen_models
from zl_assets_tests.benchmarks.two_worlds import Published, published

FEW = chosen_models("no_change,lightgbm")
CARRIERS = {"return_21d", "rsi_14"}
"""The rule is written in return_21d. RSI carries nearly the same information: both sum up the last month's moves."""


def test_nothing_is_found_where_there_is_nothing_to_find() -> None:
    found = published("martingale", "1w", range(200, 203), FEW)
    assert found.champions == ("no_change",) * 3
    assert found.ratios == (1.0,) * 3


def test_a_planted_signal_is_found_and_leads_the_drivers() -> None:
    found = published("planted", "1w", range(200, 203), FEW)
    assert found.champions.count("lightgbm") >= 2, found
    assert set(found.drivers) <= CARRIERS, found
    assert all(ratio < 1 for ratio, name in zip(found.ratios, found.champions, strict=True) if name == "lightgbm")


@pytest.mark.slow
@pytest.mark.parametrize("horizon", HORIZONS)
def test_what_the_standard_models_publish_in_many_markets(horizon: str) -> None:
    standard, seeds = chosen_models("standard"), range(200, 205)
    assert not published("martingale", horizon, seeds, standard).too_many
    found = published("planted", horizon, seeds, standard)
    # Longer horizons have too few independent windows to tell a weak signal from luck.
    assert horizon not in ("1w", "1m") or found.found >= len(seeds) - 1, found


@pytest.mark.parametrize(("found", "too_many"), [(0, False), (1, False), (2, False), (3, True), (5, True)])
def test_more_than_chance_gives_is_too_many(found: int, too_many: bool) -> None:
    # Of five markets at 5 %, two or more are wrong with a probability of 2.3 %, three or more with one of 0.1 %.
    champions = ("lightgbm",) * found + ("no_change",) * (5 - found)
    ratios = (1.0,) * 5
    assert Published("martingale", "1w", champions, ratios, ()).too_many == too_many
    assert not Published("planted", "1w", champions, ratios, ()).too_many
