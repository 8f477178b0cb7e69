"""Noise: as slow as its model, missing where it is missing, and about nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

from zl_assets.core.evaluation.noise import noise_like, persistence

ROWS = 20_000


def models() -> pl.DataFrame:
    rng = np.random.default_rng(1)
    slow = pd.Series(rng.standard_normal(ROWS)).ewm(alpha=0.05, adjust=False).mean().to_numpy()
    fast = rng.standard_normal(ROWS)
    present = np.arange(ROWS)
    return pl.DataFrame(
        {
            "slow": slow,
            "fast": pl.Series(np.where((present < 900) | (present % 7 == 0), np.nan, fast)).fill_nan(None),
            "flag": slow > 0,
            "empty": pl.Series([None] * ROWS, dtype=pl.Float64),
            "constant": pl.Series([3] * ROWS),
            "walk": np.cumsum(fast),
        }
    )


def test_persistence_is_that_of_pandas() -> None:
    frame = models()
    for name in ("slow", "fast", "flag", "walk"):
        assert persistence(frame[name]) == pytest.approx(frame[name].cast(pl.Float64).to_pandas().autocorr(1)), name
    assert (persistence(frame["empty"]), persistence(frame["constant"])) == (0.0, 0.0)


def test_noise_is_as_slow_as_its_model_and_has_its_holes() -> None:
    frame = models()
    noise = noise_like(frame, frame.columns, seed=[1, 2])
    assert noise.columns == frame.columns
    for name in ("slow", "fast", "flag"):
        assert persistence(noise[name]) == pytest.approx(persistence(frame[name]), abs=0.03), name
        assert noise[name].std() == pytest.approx(1, abs=0.15), name
    assert persistence(noise["constant"]) == pytest.approx(0, abs=0.03)
    for name in frame.columns:
        assert noise[name].is_null().equals(frame[name].is_null()), name


def test_noise_is_about_nothing() -> None:
    frame = models()
    noise = noise_like(frame, ["slow", "flag"], seed=3)
    for other in (frame["slow"], noise["flag"]):
        assert abs(np.corrcoef(noise["slow"], other)[0, 1]) < 0.15


def test_the_same_seed_gives_the_same_bits_whatever_the_values_of_the_model() -> None:
    frame = models()
    first = noise_like(frame, ["fast"], seed=5)
    assert first.equals(noise_like(frame, ["fast"], seed=5))
    assert not first.equals(noise_like(frame, ["fast"], seed=6))
