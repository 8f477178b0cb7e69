"""Who must not forecast the newest session: by age, by missing features, by a market unlike any before."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from zl_assets.core.models.base import STATIONARY_FEATURES
from zl_assets.core.models.ensemble import Ensemble
from zl_assets.core.refusals import refusals
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

H = 5
LAST = date(2025, 8, 29)
MODELS = {
    "no_change": ("data_date", "ewma_volatility"),
    "lightgbm": (*STATIONARY_FEATURES, "ewma_volatility"),
    "narrow": ("rsi_14",),
    "ensemble": Ensemble(("no_change", "lightgbm"), ("calm",), H).columns_used,
    "blend_of_one": Ensemble(("no_change",), ("calm",), H).columns_used,
}


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(700, 5), H)


def newest(frame: pl.DataFrame, **changed: float | None) -> pl.DataFrame:
    last = pl.col("data_date") == frame["data_date"][-1]
    return frame.with_columns(
        pl.when(last).then(pl.lit(value, pl.Float64)).otherwise(name).alias(name) for name, value in changed.items()
    )


def test_a_sound_row_is_forecast_by_all(frame: pl.DataFrame) -> None:
    # The last row of a random walk may lie at the edge of what came before; the middle of it does not.
    middle = newest(frame, **{c: float(frame[c].drop_nulls().drop_nans().median() or 0) for c in STATIONARY_FEATURES})
    assert refusals(MODELS, middle, H, LAST) == {}


def test_old_data_stop_every_model(frame: pl.DataFrame) -> None:
    found = refusals(MODELS, frame, H, LAST + timedelta(days=30))
    assert found.keys() == MODELS.keys()
    assert all(reason.startswith("refused: newest session 2025-08-29 is ") for reason in found.values())


def test_a_missing_feature_stops_who_reads_it(frame: pl.DataFrame) -> None:
    found = refusals(MODELS, newest(frame, k_vol=None), H, LAST)
    assert found.keys() == {"lightgbm", "ensemble"}
    assert found["lightgbm"] == found["ensemble"] == "refused: missing features: k_vol"


def test_a_market_unlike_any_before_stops_who_reads_it_and_the_blend_of_it(frame: pl.DataFrame) -> None:
    found = refusals(MODELS, newest(frame, return_21d=-0.9), H, LAST)
    assert found.keys() >= {"lightgbm", "ensemble"}
    assert not found.keys() & {"no_change", "blend_of_one", "narrow"}
    assert found["ensemble"] == found["lightgbm"]
    assert found["lightgbm"].endswith("farthest: return_21d")


def test_the_newest_usable_row_is_asked_about_and_not_a_suspect_one(frame: pl.DataFrame) -> None:
    last = pl.col("data_date") == LAST
    suspect = newest(frame, k_vol=None).with_columns(is_suspect=last)
    assert "missing features" not in str(refusals(MODELS, suspect, H, LAST))
