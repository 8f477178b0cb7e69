"""Calibration: what may move an interval and when, by changing outcomes; and what it repairs, in simulated markets."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.evaluation.calibration import CALM, PRIOR, STEP, WILD, calibrated
from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS, QUANTILE_LEVELS
from zl_assets.errors import InputError
from zl_assets_tests.core.evaluation.made_intervals import made

SIDES = [c for c in QUANTILE_COLUMNS if c != "q50"]


def coverage(rows: pl.DataFrame, low: str, high: str) -> float:
    return float(rows.select(pl.col("actual_return").is_between(pl.col(low), pl.col(high)).mean()).item())


def by_hand(rows: pl.DataFrame, h: int) -> np.ndarray:
    """The definition, row by row from the start each time: sorted quantiles, shape (rows, 7)."""
    sessions, actual = rows["session_number"].to_list(), rows["actual_return"].to_list()
    states = [0 if r < CALM else 1 if r < WILD else 2 for r in rows["vol_percentile"].fill_null(0.5)]
    quantiles = rows.select(QUANTILE_COLUMNS).to_numpy()
    out, median = quantiles.copy(), quantiles[:, 3]
    for low in range(3):
        high, missing = 6 - low, 2 * QUANTILE_LEVELS[low]
        below, above = median - quantiles[:, low], quantiles[:, high] - median
        factors: list[float] = []
        for t, session in enumerate(sessions):
            known = [k for k in range(t) if sessions[k] + h <= session and actual[k] is not None]
            away = {k: actual[k] - median[k] for k in known}
            scores = {k: max(-away[k] / below[k], away[k] / above[k]) for k in known}
            common = shrunk([scores[k] for k in known], 1 - missing, h, 0.0)
            own = shrunk([scores[k] for k in known if states[k] == states[t]], 1 - missing, h, common)
            adapted = sum(STEP / h * ((scores[k] > factors[k]) - missing) for k in known)
            factors.append(float(np.exp(own + adapted)))
        out[:, low] = median - np.array(factors) * below
        out[:, high] = median + np.array(factors) * above
    return np.sort(out, axis=1)


def shrunk(scores: list[float], level: float, h: int, prior: float) -> float:
    if not scores:
        return prior
    needed = min(Fraction(level).limit_denominator(100) * (len(scores) + 1), len(scores))
    conformal = np.log(min(s for s in scores if sum(other <= s for other in scores) >= needed))
    windows = len(scores) / h
    return float((windows * conformal + PRIOR * prior) / (windows + PRIOR))


@pytest.mark.parametrize(("h", "width"), [(1, 0.5), (5, 1.0), (21, 2.0)])
def test_quantiles_are_those_of_the_definition(h: int, width: float) -> None:
    rows = made(160, h, width=width, missing=(30, 31, 77), wild=1.5)
    rows = rows.with_columns(actual_return=pl.when(pl.int_range(pl.len()) != 40).then("actual_return"))
    assert calibrated(rows, h).select(QUANTILE_COLUMNS).to_numpy() == pytest.approx(by_hand(rows, h), abs=1e-12)


@settings(max_examples=60)
@given(
    place=st.integers(0, 119),
    h=st.sampled_from([1, 5, 21, 63]),
    outcome=st.sampled_from([None, float("nan"), -0.9, 0.0, 5.0]),
    missing=st.lists(st.integers(0, 119), max_size=12, unique=True),
)
def test_an_outcome_moves_nothing_until_it_is_known(
    place: int, h: int, outcome: float | None, missing: list[int]
) -> None:
    rows = made(120, h, missing=[m for m in missing if m != place])
    session = 3000 + place
    value = pl.when(pl.col("session_number") == session).then(pl.lit(outcome)).otherwise("actual_return")
    before, after = (calibrated(r, h) for r in (rows, rows.with_columns(actual_return=value)))
    differs = before.select(pl.any_horizontal(pl.col(c) != after[c] for c in SIDES)).to_series()
    changed = before["session_number"].filter(differs).to_list()
    assert all(s >= session + h for s in changed)
    if outcome == 5.0:
        assert changed == [s for s in rows["session_number"] if s >= session + h]


@settings(max_examples=25)
@given(cut=st.integers(1, 150), h=st.sampled_from([1, 5, 21]), missing=st.lists(st.integers(0, 149), max_size=9))
def test_the_first_rows_by_themselves_give_the_same(cut: int, h: int, missing: list[int]) -> None:
    rows = made(150, h, width=0.7, missing=missing)
    assert calibrated(rows.head(cut), h).equals(calibrated(rows, h).head(cut))


def test_before_any_outcome_is_known_and_without_any_nothing_changes() -> None:
    rows = made(60, 21)
    # A factor of 1 takes a last bit off a width.
    first = calibrated(rows, 21).head(21).select(QUANTILE_COLUMNS).to_numpy()
    assert first == pytest.approx(rows.head(21).select(QUANTILE_COLUMNS).to_numpy(), abs=1e-15)
    unknown = rows.with_columns(actual_return=pl.lit(None, pl.Float64))
    told = calibrated(unknown, 21).select(QUANTILE_COLUMNS).to_numpy()
    assert told == pytest.approx(rows.select(QUANTILE_COLUMNS).to_numpy(), abs=1e-15)


def test_a_row_whose_outcome_is_unknown_counts_as_one_that_is_not_there() -> None:
    rows = made(150, 5)
    here = pl.int_range(pl.len()) == 70
    with_it = calibrated(rows.with_columns(actual_return=pl.when(~here).then("actual_return")), 5)
    assert with_it.filter(~here).equals(calibrated(rows.filter(~here), 5))


@pytest.mark.parametrize("width", [0.5, 2.0])
@pytest.mark.parametrize("h", [1, 5])
def test_intervals_that_are_too_narrow_or_too_wide_are_repaired(width: float, h: int) -> None:
    rows = made(3000, h, width=width)
    after = calibrated(rows, h)
    for low, high, level in (("q25", "q75", 0.5), ("q10", "q90", 0.8), ("q05", "q95", 0.9)):
        assert abs(coverage(rows.tail(2000), low, high) - level) > 0.08
        assert coverage(after.tail(2000), low, high) == pytest.approx(level, abs=0.035)


def test_intervals_that_are_right_stay_nearly_as_they_are() -> None:
    rows = made(3000, 5)
    width = pl.col("q95") - pl.col("q05")
    wider = calibrated(rows, 5).select(width).to_series() / rows.select(width).to_series()
    assert np.abs(np.log(wider.tail(2000).to_numpy())).max() < 0.2


def test_what_is_wrong_in_one_state_is_repaired_there() -> None:
    rows = made(4000, 5, wild=0.6)
    after = calibrated(rows, 5).tail(3000)
    calm, wild = after.filter(pl.col("vol_percentile") < CALM), after.filter(pl.col("vol_percentile") >= WILD)
    assert coverage(rows.tail(3000).filter(pl.col("vol_percentile") >= WILD), "q10", "q90") < 0.6
    assert coverage(calm, "q10", "q90") == pytest.approx(0.8, abs=0.05)
    assert coverage(wild, "q10", "q90") == pytest.approx(0.8, abs=0.05)


def test_an_unknown_volatility_counts_as_the_middle_state() -> None:
    rows = made(200, 5)
    here = pl.int_range(pl.len()) % 3 == 0
    middle, null, nan = (
        calibrated(rows.with_columns(vol_percentile=pl.when(~here).then("vol_percentile").otherwise(v)), 5)
        for v in (0.5, None, float("nan"))
    )
    wild = calibrated(rows.with_columns(vol_percentile=pl.when(~here).then("vol_percentile").otherwise(0.9)), 5)
    assert null.select(QUANTILE_COLUMNS).equals(middle.select(QUANTILE_COLUMNS))
    assert nan.select(QUANTILE_COLUMNS).equals(middle.select(QUANTILE_COLUMNS))
    assert not wild.select(QUANTILE_COLUMNS).equals(middle.select(QUANTILE_COLUMNS))


@pytest.mark.parametrize(
    ("rank", "alike", "other"),
    [(0.0, 0.33, CALM), (CALM, 0.66, WILD), (WILD, 1.0, 0.66)],
    ids=["calm", "usual", "wild"],
)
def test_a_state_holds_all_ranks_between_its_bounds(rank: float, alike: float, other: float) -> None:
    def told(value: float) -> pl.DataFrame:
        third = pl.when(pl.int_range(pl.len()) % 3 == 0).then(value).otherwise("vol_percentile")
        return calibrated(made(200, 5).with_columns(vol_percentile=third), 5).select(SIDES)

    assert told(alike).equals(told(rank))
    assert not told(other).equals(told(rank))


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), width=st.floats(0.05, 20), h=st.sampled_from([1, 5, 21]))
def test_the_median_and_all_else_stay_and_quantiles_ascend(seed: int, width: float, h: int) -> None:
    rows = made(100, h, width=width, seed=seed, wild=3.0)
    after = calibrated(rows, h)
    assert after.drop(SIDES).equals(rows.drop(SIDES))
    assert after.columns == rows.columns
    assert (np.diff(after.select(QUANTILE_COLUMNS).to_numpy(), axis=1) >= 0).all()


@given(unit=st.sampled_from([0.25, 2.0, 1024.0]))
@settings(max_examples=3)
def test_the_unit_of_returns_does_not_matter(unit: float) -> None:
    rows = made(120, 5, width=0.8)
    scaled = calibrated(rows.with_columns(pl.col("actual_return", *QUANTILE_COLUMNS) * unit), 5)
    expected = calibrated(rows, 5).with_columns(pl.col("actual_return", *QUANTILE_COLUMNS) * unit)
    assert scaled.equals(expected)


@pytest.mark.parametrize("column", ["session_number", "vol_percentile", "actual_return", "q05", "q95"])
def test_a_missing_column_is_refused_by_name(column: str) -> None:
    with pytest.raises(InputError, match=f"missing columns: {column}"):
        calibrated(made(20).drop(column), 5)


@pytest.mark.parametrize(
    "damage",
    [
        {"session_number": pl.col("session_number").reverse()},
        {"session_number": pl.lit(3000)},
        {"q75": pl.col("q50")},
        {"q25": pl.col("q50") + 0.1},
        {"q05": pl.lit(None, pl.Float64)},
        {"q50": pl.lit(float("nan"))},
    ],
    ids=["disorder", "twice", "no_width", "crossed", "null", "nan"],
)
def test_forecasts_that_cannot_be_calibrated_are_refused(damage: dict[str, pl.Expr]) -> None:
    with pytest.raises(InputError, match="in order of their sessions"):
        calibrated(made(20).with_columns(**damage), 5)
