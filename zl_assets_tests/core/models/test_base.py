import polars as pl
import pytest

from zl_assets.core.models.base import STATIONARY_FEATURES, Forecaster, labelled_rows, require_columns
from zl_assets.core.models.lightgbm_model import LightGBMForecaster
from zl_assets.errors import InputError
from zl_assets_tests.core.models.training_frames import random_walk, training_frame


def test_missing_columns_are_named() -> None:
    with pytest.raises(InputError, match="missing columns: rsi_14, k_vol"):
        require_columns(pl.DataFrame({"a": [1]}), ("rsi_14", "a", "k_vol"), "somewhere")
    with pytest.raises(InputError, match="missing columns: usable"):
        labelled_rows(training_frame(random_walk(300, 0), 5).drop("usable"))


def test_no_price_level_and_no_regime_is_a_feature() -> None:
    assert not {"close", "ma_5", "ma_21", "ma_63", "regime_name", "sample_weight"} & set(STATIONARY_FEATURES)


def test_lightgbm_is_a_forecaster() -> None:
    assert isinstance(LightGBMForecaster(), Forecaster)


def test_labelled_rows_are_sorted_have_an_outcome_and_no_bad_price_at_either_end() -> None:
    frame = training_frame(random_walk(300, 0), 5)
    row = pl.int_range(pl.len())
    frame = frame.with_columns(
        is_suspect=row == 20,
        usable=~row.is_in([15, 20, 30]),
        target=pl.when(row == 40).then(float("nan")).otherwise("target"),
    ).with_columns(usable=pl.col("usable") | (row == 20))
    rows = labelled_rows(frame.reverse())
    assert rows["data_date"].is_sorted()
    dropped = set(frame["session_number"]) - set(rows["session_number"])
    first = frame["session_number"][0]
    assert dropped == {first + k for k in (15, 20, 30, 40)} | set(frame["session_number"].tail(5))


def test_rows_purged_only_by_the_split_boundary_are_labelled() -> None:
    rows = labelled_rows(training_frame(random_walk(1500, 0), 21))
    assert (rows["split"] == "purged").sum() == 21
