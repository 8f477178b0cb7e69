import numpy as np
import polars as pl
import pytest

from zl_assets.core.models.base import (
    CONTRIBUTION_SCHEMA,
    STATIONARY_FEATURES,
    Forecaster,
    contributions,
    floats,
    labelled_rows,
    matrix,
    require_columns,
    require_rows,
)
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


def test_numbers_of_a_frame_have_nan_where_it_has_null() -> None:
    frame = pl.DataFrame({"a": [1, None], "b": [True, False], "c": [0.5, float("nan")]})
    found = matrix(frame, ["c", "a", "b"])
    assert found.tolist()[0] == [0.5, 1.0, 1.0]
    assert np.isnan(found[1]).tolist() == [True, True, False]
    assert found.flags["C_CONTIGUOUS"]
    assert floats(frame, "b").tolist() == [1.0, 0.0]


def test_the_largest_move_comes_first_whatever_its_sign() -> None:
    rows = contributions(["a", "d", "c", "b"], np.array([0.1, 0.2, -0.3, -0.2]))
    assert rows["feature"].to_list() == ["c", "b", "d", "a"]
    assert rows.schema == pl.Schema(CONTRIBUTION_SCHEMA)


@pytest.mark.parametrize(
    ("rows", "target", "weights"),
    [
        (0, [], []),
        (2, [0.1], [1, 1]),
        (2, [0.1, 0.2], [1]),
        (2, [0.1, np.nan], [1, 1]),
        (2, [0.1, np.inf], [1, 1]),
        (2, [0.1, 0.2], [1, 0]),
        (2, [0.1, 0.2], [1, np.nan]),
    ],
)
def test_what_nothing_can_be_learnt_from_is_refused(rows: int, target: list[float], weights: list[float]) -> None:
    with pytest.raises(InputError):
        require_rows(rows, np.array(target, dtype=float), np.array(weights, dtype=float))
    require_rows(2, np.array([0.1, -0.2]), np.array([1.0, 3.0]))
