"""The frame that models learn from."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.horizons import HORIZONS
from zl_assets.core.training_frame import DECAY, ewma_volatility, sound_return, training_frame


def made(n: int = 300, suspect: tuple[int, ...] = ()) -> pl.DataFrame:
    """Sessions of a random walk; the first has no return."""
    closes = 40 * np.cumprod(1 + np.random.default_rng(3).normal(0, 0.015, n))
    place = pl.int_range(pl.len())
    rows = pl.DataFrame({"close": closes}).with_columns(return_1d=pl.col("close").pct_change())
    return rows.with_columns(is_suspect=place.is_in(list(suspect)))


def volatility(rows: pl.DataFrame) -> np.ndarray:
    return rows.select(ewma_volatility()).to_series().to_numpy()


@pytest.mark.parametrize("code", HORIZONS)
def test_rows_with_whole_windows_in_order_under_names_without_the_horizon(code: str) -> None:
    days = [date(2015, 1, 2) + timedelta(days=n) for n in range(5)]
    rows = pl.DataFrame(
        {
            "data_date": days,
            "ma_63": [None, None, 40.0, 41.0, 42.0],
            f"target_{code}": [0.1, 0.2, 0.3, None, 0.5],
            "is_usable": [True, True, False, True, True],
            "is_suspect": False,
            "return_1d": [None, 0.01, -0.02, 0.03, 0.0],
        }
    )
    frame = training_frame(rows.reverse(), HORIZONS[code])
    assert frame["data_date"].to_list() == days[2:]
    assert frame["target"].to_list() == [0.3, None, 0.5]
    assert frame["usable"].to_list() == [False, True, True]
    assert not {f"target_{code}", "is_usable"} & set(frame.columns)
    # The volatility knows the rows that are left out.
    moves = np.log1p([0.01, -0.02])
    expected = np.sqrt((DECAY * moves[0] ** 2 + moves[1] ** 2) / (DECAY + 1))
    assert frame["ewma_volatility"][0] == pytest.approx(expected)


def test_the_volatility_is_that_of_pandas() -> None:
    rows = made(suspect=(40, 41, 200, 299))
    moves = np.log1p(rows["return_1d"].to_pandas())
    for k in (40, 41, 42, 200, 201, 299):
        moves[k] = np.nan
    expected = np.sqrt(moves.pow(2).ewm(alpha=1 - DECAY, ignore_na=True).mean().ffill())
    assert volatility(rows) == pytest.approx(expected.to_numpy(), nan_ok=True)


def test_it_is_the_mean_of_squares_weighted_by_age_and_none_before_the_first_return() -> None:
    rows = made(50)
    squares = np.log1p(rows["return_1d"].to_numpy()[1:]) ** 2
    found = volatility(rows)
    assert np.isnan(found[0])
    for k in (1, 7, 49):
        weights = DECAY ** np.arange(k)[::-1]
        assert found[k] == pytest.approx(np.sqrt(np.average(squares[:k], weights=weights)))


@pytest.mark.parametrize("suspect", [1, 60, 299])
def test_a_return_from_or_to_a_suspect_close_counts_for_nothing(suspect: int) -> None:
    rows = made(suspect=(suspect,))
    wild = pl.when(pl.int_range(pl.len()).is_in([suspect, suspect + 1])).then(9.0).otherwise("return_1d")
    found = volatility(rows)
    assert volatility(rows.with_columns(return_1d=wild)) == pytest.approx(found, nan_ok=True)
    before = found[suspect - 1]
    assert found[suspect : suspect + 2] == pytest.approx(np.full(min(2, 300 - suspect), before), nan_ok=True)


@settings(max_examples=20)
@given(cut=st.integers(1, 200), suspect=st.lists(st.integers(0, 199), max_size=6))
def test_later_rows_touch_no_earlier_volatility(cut: int, suspect: list[int]) -> None:
    rows = made(200, tuple(suspect))
    assert volatility(rows.head(cut)).tobytes() == volatility(rows)[:cut].tobytes()


def test_a_return_is_sound_where_it_is_known_and_neither_close_is_suspect() -> None:
    rows = pl.DataFrame(
        {
            "return_1d": [0.1, 0.2, 0.3, 0.4, None, float("nan"), 0.7, 0.8],
            "is_suspect": [False, False, True, False, False, False, None, False],
        }
    )
    found = rows.select(sound_return()).to_series()
    assert found.to_list() == [0.1, 0.2, None, None, None, None, None, None]
