"""Forecasts that agree across horizons, and each way in which they can disagree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zl_assets.core.coherence import CONTRADICTION_SCHEMA, contradictions
from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.horizons import HORIZONS
from zl_assets.errors import InputError

SHAPE = stats.norm.ppf(QUANTILE_LEVELS)
ROOT = {code: h.sessions**0.5 for code, h in HORIZONS.items()}


def walk(volatility: float = 0.015, drift: float = 0.0, rows: int = 1) -> dict[str, np.ndarray]:
    """Quantiles of a random walk: medians grow with time, spreads with its root."""
    return {c: np.tile(drift * r**2 + volatility * r * SHAPE, (rows, 1)) for c, r in ROOT.items()}


@given(volatility=st.floats(0.005, 0.04), pull=st.floats(-0.3, 0.3))
def test_a_random_walk_with_a_small_drift_agrees_with_itself(volatility: float, pull: float) -> None:
    drift = pull * volatility / ROOT["12m"]
    assert contradictions(walk(volatility, drift)).is_empty()


def test_three_months_that_contradict_one_and_six_are_flagged_with_figures() -> None:
    forecasts = walk(rows=3)
    half = 0.015 * ROOT["3m"] * SHAPE[5]
    forecasts["3m"][1] += 1.5 * half
    found = contradictions(forecasts)
    assert found.schema == CONTRADICTION_SCHEMA
    [row] = found.filter(horizon="3m").to_dicts()
    assert (row["row"], row["neighbours"]) == (1, "1m, 6m")
    assert row["median"] == pytest.approx(1.5 * half)
    assert (row["low"], row["high"]) == pytest.approx((-half, half))
    assert row["excess"] == pytest.approx(0.5)
    assert set(found["row"]) == {1}


def test_the_line_between_neighbours_is_straight_in_the_root_of_time() -> None:
    forecasts = {"1m": 0.1 + 0.02 * SHAPE[None], "6m": 0.3 + 0.08 * SHAPE[None], "3m": np.full((1, 7), 9.0)}
    [row] = contradictions(forecasts).filter(horizon="3m").to_dicts()
    share = (63**0.5 - 21**0.5) / (126**0.5 - 21**0.5)
    low, high = (0.1 + share * 0.2 + sign * (0.02 + share * 0.06) * SHAPE[5] for sign in (-1, 1))
    assert (row["low"], row["high"]) == pytest.approx((low, high))


@pytest.mark.parametrize(("horizon", "neighbour"), [("1w", "1m"), ("12m", "6m")])
def test_an_end_is_held_against_its_one_neighbour_scaled_by_the_root_of_time(horizon: str, neighbour: str) -> None:
    forecasts = walk()
    forecasts[horizon] = forecasts[horizon] - 1.0
    [row] = contradictions(forecasts).filter(horizon=horizon).to_dicts()
    scale = ROOT[horizon] / ROOT[neighbour]
    assert row["neighbours"] == neighbour
    assert (row["low"], row["high"]) == pytest.approx(tuple(scale * forecasts[neighbour][0][[1, 5]]))


def test_a_median_inside_the_expected_interval_is_no_contradiction() -> None:
    forecasts = walk()
    forecasts["3m"] = forecasts["3m"] + 0.99 * 0.015 * ROOT["3m"] * SHAPE[5]
    assert "3m" not in contradictions(forecasts)["horizon"].to_list()


def test_a_horizon_without_a_forecast_is_passed_over() -> None:
    forecasts = walk()
    forecasts["1m"][0, 2] = np.nan
    forecasts["3m"] = forecasts["3m"] + 1
    found = contradictions(forecasts)
    assert found.filter(horizon="3m")["neighbours"].to_list() == ["1w, 6m"]
    assert "1m" not in found["horizon"].to_list()


def test_one_horizon_alone_contradicts_nothing() -> None:
    assert contradictions({"3m": np.ones((2, 7))}).is_empty()
    assert contradictions({}).schema == CONTRADICTION_SCHEMA


def test_neighbours_without_any_spread_are_contradicted_by_any_difference() -> None:
    forecasts = {c: np.zeros((1, 7)) for c in HORIZONS}
    assert contradictions(forecasts).is_empty()
    forecasts["3m"] = forecasts["3m"] + 0.01
    assert contradictions(forecasts).filter(horizon="3m")["excess"].to_list() == [float("inf")]


def test_the_order_of_quantiles_and_horizons_does_not_matter() -> None:
    forecasts = walk()
    forecasts["6m"] = forecasts["6m"] + 0.7
    turned = {code: q[:, ::-1] for code, q in reversed(list(forecasts.items()))}
    assert contradictions(turned).equals(contradictions(forecasts))


@pytest.mark.parametrize("wrong", [{"2m": np.zeros((1, 7))}, {"1m": np.zeros((1, 6))}, {"1w": np.zeros(7)}])
def test_input_that_does_not_fit_is_refused(wrong: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError, match="seven quantiles"):
        contradictions(wrong)
    with pytest.raises(InputError, match="seven quantiles"):
        contradictions({**walk(), "3m": np.zeros((2, 7))})
