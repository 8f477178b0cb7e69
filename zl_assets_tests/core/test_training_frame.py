"""The frame that models learn from."""

from datetime import date, timedelta

import polars as pl
import pytest

from zl_assets.core.horizons import HORIZONS
from zl_assets.core.training_frame import training_frame


@pytest.mark.parametrize("code", HORIZONS)
def test_rows_with_whole_windows_in_order_under_names_without_the_horizon(code: str) -> None:
    days = [date(2015, 1, 2) + timedelta(days=n) for n in range(5)]
    rows = pl.DataFrame(
        {
            "data_date": days,
            "ma_63": [None, None, 40.0, 41.0, 42.0],
            f"target_{code}": [0.1, 0.2, 0.3, None, 0.5],
            "is_usable": [True, True, False, True, True],
        }
    )
    frame = training_frame(rows.reverse(), HORIZONS[code])
    assert frame["data_date"].to_list() == days[2:]
    assert frame["target"].to_list() == [0.3, None, 0.5]
    assert frame["usable"].to_list() == [False, True, True]
    assert not {f"target_{code}", "is_usable"} & set(frame.columns)
