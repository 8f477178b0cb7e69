"""The slow command that measures the gate's rate of false verdicts, on one market of each world."""

import pytest

from zl_assets.core.evaluation.family_gate import GateConfig
from zl_assets_tests.benchmarks.gate_rates import Rate, measured


@pytest.mark.parametrize(("false_verdicts", "failed"), [(0, False), (5, False), (11, False), (12, True), (100, True)])
def test_more_false_verdicts_than_chance_gives_at_the_stated_rate_fail(false_verdicts: int, failed: bool) -> None:
    # Of 100 gates at 5 %, eleven or more are wrong with a probability of 1.1 %, twelve or more with one of 0.4 %.
    assert Rate("martingale", "1w", 100, false_verdicts, 0).too_many(0.05) == failed


def test_a_market_of_each_world_is_judged_as_it_is() -> None:
    config = GateConfig(noise_draws=1)
    assert measured("martingale", "1w", [1000], config) == Rate("martingale", "1w", 1, 0, 0)
    assert measured("planted", "1w", [1000], config) == Rate("planted", "1w", 1, 0, 1)
