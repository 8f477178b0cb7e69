"""The whole chain from closes to champion on simulated markets: none to be found, and one that must be found."""

import pytest
from zl_assets.core.evaluation.selection import choose_champion

from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import TrainedModel
from zl_assets.core.models.lightgbm_model import train_and_evaluate
from zl_assets.sources.simulated import World
from zl_assets_tests.world_frames import world_frames

SEEDS = range(200, 206)


def trained_on(world: World, horizon: str) -> list[TrainedModel]:
    """One trained model per seed of a world."""
    return [train_and_evaluate(frame, HORIZONS[horizon]) for frame in world_frames(world, horizon, SEEDS)]


@pytest.mark.parametrize("horizon", ["1w", "1m"])
def test_nothing_is_found_where_there_is_nothing_to_find(horizon: str) -> None:
    champions = [choose_champion(m.oof, HORIZONS[horizon].sessions).model for m in trained_on("martingale", horizon)]
    # The one-standard-error rule lets about one in six through where model and no-change were equally good.
    assert champions.count("lightgbm") <= 1, champions


@pytest.mark.parametrize("horizon", ["1w", "1m"])
def test_a_planted_signal_is_found_and_leads_the_drivers(horizon: str) -> None:
    models = trained_on("planted", horizon)
    champions = [choose_champion(m.oof, HORIZONS[horizon].sessions).model for m in models]
    assert champions.count("lightgbm") >= len(champions) - 1, champions
    # The rule is written in return_21d. RSI carries nearly the same information, as both sum up the last month's moves.
    leaders = {m.feature_importance["feature"][0] for m in models}
    assert leaders <= {"return_21d", "rsi_14"}, leaders
