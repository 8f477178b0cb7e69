"""How much each training row counts under each scheme."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from zl_assets.core.evaluation.metrics import kish_effective_size
from zl_assets.core.models.shelf import models
from zl_assets.core.models.weighting import HALF_LIFE_SESSIONS, weighted
from zl_assets.core.regimes import regime_on
from zl_assets_tests.core.models.training_frames import random_walk, training_frame


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return training_frame(random_walk(2000, 3), 5)


def weights(rows: pl.DataFrame, weighting: str) -> np.ndarray:
    return weighted(rows, weighting)["sample_weight"].to_numpy()  # type: ignore[arg-type]


def test_equal_weights_leave_the_effective_size_at_the_number_of_rows(rows: pl.DataFrame) -> None:
    assert kish_effective_size(weights(rows, "equal")) == pytest.approx(rows.height)


def test_the_weights_of_the_table_stay_as_they_are(rows: pl.DataFrame) -> None:
    assert weighted(rows, "v0").equals(rows)


def test_a_session_counts_half_as_much_as_one_a_half_life_later(rows: pl.DataFrame) -> None:
    by_session = dict(zip(rows["session_number"].to_list(), weights(rows, "half_life").tolist(), strict=True))
    first = rows["session_number"][0]
    assert by_session[first + HALF_LIFE_SESSIONS] / by_session[first] == pytest.approx(2.0)
    assert (np.diff(weights(rows, "half_life")) > 0).all()


def test_the_research_regimes_weigh_each_day_as_their_table_says(rows: pl.DataFrame) -> None:
    found = dict(zip(rows["data_date"].to_list(), weights(rows, "research").tolist(), strict=True))
    for day in rows["data_date"].gather_every(97):
        assert isinstance(day, date)
        assert found[day] == regime_on(day, "research").weight


def test_only_the_weights_change(rows: pl.DataFrame) -> None:
    for weighting in ("equal", "half_life", "research"):
        assert weighted(rows, weighting).drop("sample_weight").equals(rows.drop("sample_weight"))


def test_each_scheme_competes_as_a_model_of_the_shelf() -> None:
    told = {spec.weighting for spec in models().values() if spec.name.startswith("lightgbm") and spec.tuned}
    assert told == {"v0", "equal", "half_life", "research"}
