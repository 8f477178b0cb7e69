"""Conviction and confidence: their parts, what they must not contain, and that no row reads a later one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zl_assets.core.conviction import (
    LEAST_HISTORY,
    TRUST_SCHEMA,
    Outlook,
    crisis_intensity,
    model_spread,
    past_percentile,
    regime_certainty,
    signal_strength,
    trust_history,
    volatility_of_30_sessions,
)
from zl_assets.errors import InputError
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

SHAPE = stats.norm.ppf([0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95])
CONFIDENCE = ("confidence", "width_percentile", "spread_percentile", "interval_width", "model_spread")


def outlook(n: int = 400, seed: int = 0) -> Outlook:
    rng = np.random.default_rng(seed)
    medians = rng.normal(0, 0.02, (n, 3))
    return Outlook(
        session_number=np.arange(5000, 5000 + n),
        quantiles=medians[:, :1] + rng.uniform(0.02, 0.06, (n, 1)) * SHAPE,
        medians=medians,
        regime_probabilities=rng.dirichlet(np.ones(4), n),
        vix=rng.uniform(12, 40, n),
        annual_volatility=rng.uniform(0.1, 0.5, n),
    )


@given(vix=st.floats(10, 90), volatility=st.floats(0, 2), missing=st.booleans())
def test_confidence_is_the_same_whatever_the_crisis(vix: float, volatility: float, missing: bool) -> None:
    calm = outlook()
    n = calm.vix.size
    other = replace(calm, vix=np.full(n, np.nan if missing else vix), annual_volatility=np.full(n, volatility))
    ours, theirs = trust_history(calm), trust_history(other)
    assert ours.select(CONFIDENCE).equals(theirs.select(CONFIDENCE))
    assert not ours["conviction"].equals(theirs["conviction"])


def test_conviction_is_the_weighted_sum_of_its_parts_and_rises_in_a_crisis() -> None:
    scores = trust_history(outlook())
    parts = (
        0.4 * scores["crisis_intensity"].to_numpy()
        + 0.3 * scores["signal_strength"].to_numpy()
        + 0.3 * scores["regime_certainty"].to_numpy()
    )
    assert scores["conviction"].to_numpy() == pytest.approx(parts)
    crisis = trust_history(replace(outlook(), vix=np.full(400, 30.0)))
    calm = trust_history(replace(outlook(), vix=np.full(400, 15.0)))
    assert (crisis["conviction"] - calm["conviction"]).to_numpy() == pytest.approx(0.4 * 75)


def test_every_score_lies_between_0_and_100_in_its_column() -> None:
    scores = trust_history(outlook(800, 1))
    assert scores.schema == pl.Schema(TRUST_SCHEMA)
    for name in ("crisis_intensity", "signal_strength", "regime_certainty", "conviction", "confidence"):
        values = scores[name].drop_nulls()
        assert values.len() > 500
        assert values.is_between(0, 100).all()


@given(cut=st.integers(1, 399))
def test_a_row_reads_no_later_one(cut: int) -> None:
    whole = outlook()
    part = Outlook(**{name: getattr(whole, name)[:cut] for name in whole.__dataclass_fields__})
    assert trust_history(part).equals(trust_history(whole)[:cut])


def test_a_crisis_begins_at_a_vix_of_25_and_volatility_stands_in_for_a_missing_one() -> None:
    nan = np.nan
    vix = np.array([10, 15, 20, 25, 35, 80, nan, nan, nan])
    volatility = np.array([2, 2, 2, 2, 2, 2, 0.4, 0.2, nan])
    intensity, source = crisis_intensity(vix, volatility)
    assert intensity == pytest.approx([0, 0, 25, 50, 100, 100, 75, 0, nan], nan_ok=True)
    assert source == ["vix"] * 6 + ["volatility"] * 2 + [None]


def test_a_signal_is_the_median_in_half_intervals_and_none_where_no_change_is_published() -> None:
    half = SHAPE[5]
    rows = np.array([SHAPE, 0.5 * half + SHAPE, -0.5 * half + SHAPE, 3 * half + SHAPE, 0 * SHAPE, 0 * SHAPE + 1])
    assert signal_strength(rows) == pytest.approx([0, 50, 50, 100, 0, 100])
    assert signal_strength(rows[:, ::-1]) == pytest.approx(signal_strength(rows))


def test_regimes_all_alike_are_no_certainty() -> None:
    rows = np.array([[0.25] * 4, [1, 0, 0, 0], [0.625, 0.125, 0.125, 0.125]])
    assert regime_certainty(rows) == pytest.approx([0, 100, 50])


def test_a_wider_interval_and_a_larger_spread_lower_confidence() -> None:
    usual = outlook()
    n = usual.vix.size

    def newest(width: float, spread: float) -> float:
        quantiles, medians = usual.quantiles.copy(), usual.medians.copy()
        quantiles[-1], medians[-1] = width * SHAPE, spread * np.array([-1, 0, 1])
        assert n > LEAST_HISTORY
        return trust_history(replace(usual, quantiles=quantiles, medians=medians))["confidence"][-1]

    assert newest(0.001, 1e-5) == 100 > newest(0.04, 1e-5) > newest(0.04, 0.02) > newest(1, 0.02) > newest(1, 1) == 0


def test_one_model_leaves_the_width_alone_to_speak() -> None:
    alone = trust_history(replace(outlook(), medians=outlook().medians[:, :1]))
    assert alone["model_spread"].null_count() == alone.height
    known = alone.drop_nulls("width_percentile")
    assert known["confidence"].to_numpy() == pytest.approx(100 - known["width_percentile"].to_numpy())


def test_a_percentile_ranks_among_earlier_values_as_scipy_does() -> None:
    values = np.round(np.random.default_rng(3).normal(size=300), 1)
    values[[5, 280]] = np.nan
    ranks = past_percentile(values)
    assert np.isnan(ranks[: LEAST_HISTORY + 1]).all()
    assert np.isnan(ranks[280])
    for row in (LEAST_HISTORY + 1, 279, 281, 299):
        earlier = values[:row][~np.isnan(values[:row])]
        assert ranks[row] == pytest.approx(stats.percentileofscore(earlier, values[row], kind="mean"))


def test_the_spread_passes_over_models_that_did_not_forecast() -> None:
    rows = np.array([[0.01, np.nan, 0.03], [0.01, np.nan, np.nan], [0.01, 0.02, 0.06]])
    assert model_spread(rows) == pytest.approx([np.std([1, 3], ddof=1) / 100, np.nan, rows[2].std(ddof=1)], nan_ok=True)


def test_what_is_missing_stays_missing() -> None:
    gap = outlook()
    gap.quantiles[300, 2] = np.nan
    gap.regime_probabilities[310] = np.nan
    gap.vix[320] = gap.annual_volatility[320] = np.nan
    scores = trust_history(gap)
    assert scores["conviction"].is_null().arg_true().to_list() == [300, 310, 320]
    assert scores["confidence"][253:].is_null().arg_true().to_list() == [300 - 253]
    assert scores["crisis_source"][320] is None


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"session_number": np.zeros(400, dtype=np.int64)}, "not strictly ascending"),
        ({"quantiles": np.zeros((400, 6))}, "seven quantiles"),
        ({"vix": np.full(399, 20.0)}, "seven quantiles"),
        ({"vix": np.full(400, 0.0)}, "VIX not positive"),
        ({"regime_probabilities": np.full((400, 3), 0.5)}, "add up to 1"),
        ({"regime_probabilities": np.ones((400, 1))}, "two regimes or more"),
    ],
)
def test_an_outlook_that_cannot_be_is_refused(wrong: dict[str, np.ndarray], what: str) -> None:
    with pytest.raises(InputError, match=what):
        replace(outlook(), **wrong)


def test_the_volatility_of_30_sessions_is_that_of_numpy_and_passes_over_suspect_closes() -> None:
    frame = training_frame(random_walk(200, 4), 5)
    suspect = frame.with_columns(is_suspect=pl.int_range(pl.len()) == 90)
    moves = np.log1p(frame["return_1d"].to_numpy())
    found = suspect.select(volatility_of_30_sessions()).to_series()
    assert found[60] == pytest.approx(moves[31:61].std(ddof=1) * 252**0.5)
    assert found[95] == pytest.approx(np.delete(moves[66:96], [24, 25]).std(ddof=1) * 252**0.5)
    assert found[:23].null_count() == 23
