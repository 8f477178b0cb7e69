"""Each verdict on simulated histories, and how often the claim is found where there is nothing to find."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from zl_assets.core.evaluation.crisis_claim import LEAST_EPISODES, crisis_claim
from zl_assets.errors import InputError

LENGTHS = (6, 1, 10, 100, 49, 14, 3, 30, 47, 18)


def history(
    *, lengths: tuple[int, ...] = LENGTHS, up: float = 0, down: float = 0, seed: int = 0, calm: int = 150
) -> pl.DataFrame:
    """Scores with a memory of two months, raised by `up` and lowered by `down` in crises of these lengths."""
    crisis = np.concatenate([np.r_[np.zeros(calm), np.ones(n)] for n in lengths] + [np.zeros(calm)]) > 0
    rng = np.random.default_rng(seed)

    def drifting() -> np.ndarray:
        shocks = rng.standard_normal(crisis.size + 300)
        for t in range(1, shocks.size):
            shocks[t] += 0.975 * shocks[t - 1]
        return 50 + 2 * shocks[300:]

    return pl.DataFrame(
        {
            "session_number": np.arange(crisis.size),
            "crisis_intensity": np.where(crisis, 75.0, 25.0),
            "conviction": drifting() + up * crisis,
            "confidence": drifting() - down * crisis,
        }
    )


def test_a_planted_rise_and_fall_is_found() -> None:
    claim = crisis_claim(history(up=30, down=30))
    assert claim.verdict == "holds"
    assert claim.conviction is not None
    assert claim.confidence is not None
    assert claim.conviction.low < 30 < claim.conviction.high
    assert claim.confidence.low < -30 < claim.confidence.high
    assert claim.rise_by_definition == pytest.approx(0.4 * 50)
    assert claim.sentence.startswith("holds: in a crisis conviction +")


@pytest.mark.parametrize(("up", "down"), [(30, 0), (0, 30), (30, -30), (-30, 30)])
def test_half_of_the_claim_is_not_the_claim(up: float, down: float) -> None:
    assert crisis_claim(history(up=up, down=down)).verdict == "does not hold"


def test_it_is_rarely_found_where_nothing_falls() -> None:
    found = [crisis_claim(history(up=30, seed=seed)) for seed in range(200)]
    assert sum(c.verdict == "holds" for c in found) <= 15  # 2.5 % expected; binomial, four standard errors
    inside = [c.confidence.low <= 0 <= c.confidence.high for c in found if c.confidence is not None]
    assert np.mean(inside) > 0.9


def test_episodes_are_listed_with_their_lengths() -> None:
    claim = crisis_claim(history(up=5))
    assert [e.crisis_sessions for e in claim.episodes] == list(LENGTHS)
    first = claim.episodes[0]
    assert (first.first_session, first.last_session) == (150, 155)


def test_a_flickering_crisis_is_one_episode() -> None:
    frame = history(lengths=(30, 30, 30, 30, 30))
    flicker = pl.when(pl.col("session_number") % 7 == 0).then(20.0).otherwise("crisis_intensity")
    claim = crisis_claim(frame.with_columns(crisis_intensity=flicker))
    assert len(claim.episodes) == 5
    assert all(e.crisis_sessions < 30 for e in claim.episodes)


def test_an_episode_is_compared_with_the_calm_sessions_nearest_to_it() -> None:
    frame = history(lengths=(10,) * 6)
    # A step of 10 after each crisis: of the calm sessions around it, half lie before the step and half after.
    claim = crisis_claim(frame.with_columns(conviction=10.0 * (pl.col("session_number") // 160)))
    assert [e.conviction_difference for e in claim.episodes[:-1]] == pytest.approx([-10 * 75 / 225] + [-5] * 4)


@pytest.mark.parametrize("lengths", [(), (100,), (20,) * (LEAST_EPISODES - 1)])
def test_few_episodes_are_no_test(lengths: tuple[int, ...]) -> None:
    claim = crisis_claim(history(lengths=lengths, up=50, down=50))
    assert claim.verdict == "not testable"
    assert claim.conviction is claim.confidence is claim.rise_by_definition is None
    assert claim.sentence.startswith(f"not testable: {len(lengths)} episodes")


def test_a_crisis_without_end_is_no_test() -> None:
    assert crisis_claim(history().with_columns(crisis_intensity=pl.lit(90.0))).verdict == "not testable"


def test_rows_without_scores_are_left_out() -> None:
    frame = history(up=30, down=30)
    holes = frame.with_columns(confidence=pl.when(pl.col("session_number") >= 100).then("confidence"))
    assert crisis_claim(holes) == crisis_claim(frame[100:])


def test_columns_and_order_are_asked_for() -> None:
    with pytest.raises(InputError, match="confidence"):
        crisis_claim(history().drop("confidence"))
    with pytest.raises(InputError, match="ascending"):
        crisis_claim(history().reverse())
