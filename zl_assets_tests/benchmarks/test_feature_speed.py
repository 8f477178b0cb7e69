"""The benchmark's comparison finds a column that differs, and only that one."""

from __future__ import annotations

from datetime import date

import pandas as pd

from zl_assets_tests.benchmarks.feature_speed import compare
from zl_assets_tests.benchmarks.pandas_indicators import pandas_indicators
from zl_assets_tests.benchmarks.talib_indicators import talib_indicators
from zl_assets_tests.core.features.made_markets import made_sessions

SESSIONS = made_sessions(["CL", "ZL"], date(2010, 6, 7), date(2013, 6, 28))


def off(bars: pd.DataFrame) -> pd.DataFrame:
    """One value of one column is off by a thousandth of its spread."""
    columns = pandas_indicators(bars)
    columns.loc[400, "cci_20"] += 0.001 * columns["cci_20"].std()
    return columns


def test_pandas_and_talib_say_the_same() -> None:
    assert compare(SESSIONS, pandas_indicators) == []
    assert compare(SESSIONS, talib_indicators) == []


def test_a_value_that_is_off_is_named() -> None:
    assert compare(SESSIONS, off) == ["off.cci_20"]
