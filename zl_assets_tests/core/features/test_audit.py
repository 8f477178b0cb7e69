"""Columns of a made frame: those that are wrong are named, the others are not; pandas and SciPy are the oracles."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.features.audit import (
    HONEST_CORRELATION,
    constant_columns,
    duplicated_columns,
    feature_columns,
    flattened,
    held_beyond_limit,
    highest_honest_correlation,
    mostly_null_columns,
    target_correlated,
)
from zl_assets.core.horizons import HORIZONS
from zl_assets_tests.world_frames import world_frames

ROWS = 600
ARRAYS = st.lists(st.one_of(st.none(), st.integers(-2, 2)), min_size=1, max_size=40)


def noise(seed: int, rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(rows)


def with_holes(values: np.ndarray, seed: int, share: float = 0.1) -> pl.Series:
    gone = np.random.default_rng(seed).random(values.size) < share
    return pl.Series(np.where(gone, np.nan, values)).fill_nan(None)


def dated(**columns: object) -> pl.DataFrame:
    frame = pl.DataFrame(columns)
    days = [date(2020, 1, 1) + timedelta(days=n) for n in range(frame.height)]
    return frame.with_columns(data_date=pl.Series(days, dtype=pl.Date))


def test_a_struct_becomes_columns_of_its_own() -> None:
    frame = pl.DataFrame({"name": ["x"], "pivots": [{"P": 1.0, "above": True}], "n": [3]})
    flat = flattened(frame)
    assert flat.row(0, named=True) == {"name": "x", "pivots.P": 1.0, "pivots.above": True, "n": 3}
    assert feature_columns(flat) == ["pivots.P", "pivots.above", "n"]


class TestConstantAndNull:
    def test_each_is_named_for_what_it_is(self) -> None:
        frame = pl.DataFrame(
            {
                "flat": [1.0, None, 1.0, float("nan")],
                "flag": [True, True, True, True],
                "empty": pl.Series([None] * 4, dtype=pl.Float64),
                "rare": [None, None, float("nan"), 2.0],
                "half": [None, None, 1.0, 2.0],
                "sound": [1, 2, 3, 4],
            }
        )
        assert constant_columns(frame, frame.columns) == ["flat", "flag", "rare"]
        found = mostly_null_columns(frame, frame.columns)
        assert found.rows() == [("empty", 1.0), ("rare", 0.75)]
        assert mostly_null_columns(frame, frame.columns, most=0.8)["feature"].to_list() == ["empty"]

    @given(ARRAYS)
    def test_they_agree_with_pandas(self, values: list[int | None]) -> None:
        frame = pl.DataFrame({"a": pl.Series(values, dtype=pl.Float64)})
        oracle = pd.Series(values, dtype=float)
        assert constant_columns(frame, ["a"]) == (["a"] if oracle.nunique() == 1 else [])
        assert mostly_null_columns(frame, ["a"]).height == (oracle.isna().mean() > 0.5)


class TestDuplicated:
    def test_copies_scaled_copies_and_copies_with_other_holes_are_found(self) -> None:
        x, y = noise(1), noise(2)
        frame = pl.DataFrame(
            {
                "x": with_holes(x, 5),
                "y": y,
                "copy": with_holes(x, 5),
                "scaled": with_holes(3 - 7 * x, 6),
                "pct": y * 100,
                "nearly": y + 1e-5 * noise(3),
                "flag": y > 0,
                "flat": np.ones(ROWS),
                "flat_too": np.ones(ROWS),
            }
        )
        found = duplicated_columns(frame, frame.columns)
        assert found.select("feature", "same_as").rows() == [("copy", "x"), ("scaled", "x"), ("pct", "y")]
        assert found["correlation"].to_list() == pytest.approx([1, -1, 1], abs=1e-12)
        common = frame.select("x", "scaled").drop_nulls().height
        assert found["common_rows"].to_list() == [frame["x"].count(), common, ROWS]

    def test_columns_that_meet_in_few_rows_are_not_called_the_same(self) -> None:
        x = pl.int_range(ROWS, eager=True).cast(pl.Float64)
        frame = pl.select(early=pl.when(x < 300).then(x), late=pl.when(x >= 280).then(x))
        assert duplicated_columns(frame, frame.columns).is_empty()

    @given(st.integers(0, 10_000), st.sampled_from([0.0, 0.05, 0.4]))
    @settings(max_examples=25)
    def test_what_is_found_is_what_pandas_finds(self, seed: int, holes: float) -> None:
        rng = np.random.default_rng(seed)
        parts = rng.standard_normal((3, 200))
        weights = rng.integers(-1, 2, (8, 3)).astype(float)
        columns = {f"c{n}": with_holes(w @ parts, seed + n, holes) for n, w in enumerate(weights)}
        frame = pl.DataFrame(columns)
        found = set(duplicated_columns(frame, frame.columns)["feature"])
        oracle = pd.DataFrame({n: c.to_numpy() for n, c in columns.items()}).corr(min_periods=30).abs()
        expected = {b for i, b in enumerate(oracle) if any(oracle.loc[a, b] > 1 - 1e-10 for a in oracle.columns[:i])}
        assert found == expected

    def test_no_column_or_one_repeats_nothing(self) -> None:
        frame = pl.DataFrame({"a": noise(1)})
        assert duplicated_columns(frame, []).is_empty()
        assert duplicated_columns(frame, ["a"]).is_empty()


class TestHeld:
    def test_a_value_that_stands_too_long_is_named_with_its_days(self) -> None:
        values = [1.0, 2.0, 2.0, 2.0, 2.0, None, 2.0, 3.0]
        frame = dated(a=values, b=values, moving=list(range(8)))
        found = held_beyond_limit(frame, {"a": 3, "b": 4, "moving": 1})
        assert found.rows() == [("a", 3, 4, date(2020, 1, 2), date(2020, 1, 5))]

    @given(ARRAYS, st.integers(1, 5))
    def test_the_longest_run_is_that_of_a_plain_search(self, values: list[int | None], limit: int) -> None:
        longest = run = 0
        for n, value in enumerate(values):
            run = 0 if value is None else run + 1 if n and value and values[n - 1] == value else 1
            longest = max(longest, run)
        found = held_beyond_limit(dated(a=pl.Series(values, dtype=pl.Float64)), {"a": limit})
        assert found["longest_run"].to_list() == ([longest] if longest > limit else [])
        if found.height:
            [row] = found.to_dicts()
            assert (row["last_date"] - row["first_date"]).days + 1 == longest


class TestTargetCorrelated:
    def test_what_knows_the_outcome_is_found_and_what_does_not_is_not(self) -> None:
        target = noise(1)
        frame = pl.DataFrame(
            {
                "target": with_holes(target, 9, 0.02),
                "copy": target,
                "noisy": with_holes(target + 0.7 * noise(2), 3),
                "ranked": np.exp(8 * target),
                "inverse": -target + 0.5 * noise(4),
                "honest": 0.3 * target + noise(5),
                "flat": np.ones(ROWS),
                "few": pl.Series([*target[:20], *[None] * (ROWS - 20)], dtype=pl.Float64),
            }
        )
        columns = [c for c in frame.columns if c != "target"]
        found = target_correlated(frame, columns, {"1w": "target"})
        assert set(found["feature"]) == {"copy", "noisy", "ranked", "inverse"}
        oracle = frame.to_pandas()
        for row in found.iter_rows(named=True):
            pair = oracle[[row["feature"], "target"]].dropna()
            assert row["pearson"] == pytest.approx(pair.corr().iloc[0, 1], rel=1e-9)
            assert row["spearman"] == pytest.approx(pair.corr("spearman").iloc[0, 1], rel=1e-9)
            assert (row["n_rows"], row["n_independent"]) == (len(pair), len(pair) // 5)
            assert row["bound"] == highest_honest_correlation(len(pair) // 5, 2 * len(columns))
        assert found["feature"][0] == "copy"

    def test_ties_and_flags_are_ranked_as_pandas_ranks_them(self) -> None:
        target = noise(1)
        frame = pl.DataFrame({"target": target, "flag": target > 0, "step": np.round(target)})
        found = target_correlated(frame, ["flag", "step"], {"1w": "target"})
        oracle = frame.to_pandas().astype(float).corr("spearman")["target"]
        spearman = dict(found.select("feature", "spearman").iter_rows())
        assert spearman == {n: pytest.approx(oracle[n], rel=1e-9) for n in ("flag", "step")}

    def test_the_bound_is_the_leaks_hit_rate_on_many_outcomes_and_looser_on_few(self) -> None:
        signs = np.random.default_rng(1).multivariate_normal([0, 0], [[1, r := HONEST_CORRELATION], [r, 1]], 200_000)
        assert (np.sign(signs[:, 0]) == np.sign(signs[:, 1])).mean() == pytest.approx(0.65, abs=0.005)
        bounds = [highest_honest_correlation(n, 10_000) for n in (10**9, 778, 185, 61, 30, 15, 4, 3)]
        assert bounds[0] == pytest.approx(HONEST_CORRELATION, abs=1e-3)
        assert bounds == sorted(bounds)
        assert bounds[-1] < 1

    @pytest.mark.parametrize("world", ["martingale", "planted"])
    def test_no_honest_column_of_a_simulated_market_is_accused(self, world) -> None:
        names = ["return_1d", "return_5d", "return_21d", "ma_5", "ma_21", "ma_63", "volatility_21d", "rsi_14", "close"]
        accused = [
            row
            for code in HORIZONS
            for frame in world_frames(world, code, range(400, 412), end=date(2025, 8, 31))
            for row in target_correlated(frame, names, {code: "target"}).rows()
        ]
        assert accused == []
