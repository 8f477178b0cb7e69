"""The features the system began with, on the raw close, and the state of volatility that goes with the regime."""

from __future__ import annotations

import polars as pl

from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.technical import with_technical

LOOK_BACK = 512
"""252 sessions of volatility over 21 each; after as many again nothing of Wilder's first mean is left in the RSI."""

_PRICE_UNIT = "price unit of the instrument"
_FEATURES = (
    Feature("return_1d", "1", "Close over the previous session's close, minus 1", "price", "return"),
    Feature("return_5d", "1", "Close over the close five sessions before, minus 1", "price", "return"),
    Feature("return_21d", "1", "Close over the close 21 sessions before, minus 1", "price", "return"),
    Feature("ma_5", _PRICE_UNIT, "Mean close of five sessions", "price", "level"),
    Feature("ma_21", _PRICE_UNIT, "Mean close of 21 sessions", "price", "level"),
    Feature("ma_63", _PRICE_UNIT, "Mean close of 63 sessions", "price", "level"),
    Feature(
        "volatility_21d", "1", "Standard deviation of return_1d over 21 sessions, not annualised", "price", "composite"
    ),
    Feature("rsi_14", "0 to 100", "Relative strength index over 14 sessions, Wilder's smoothing", "price", "composite"),
    Feature(
        "regime.vol_percentile",
        "(0, 1]",
        "Rank of volatility_21d within its trailing 252 sessions",
        "price",
        "percentile",
    ),
    Feature(
        "regime.k_vol",
        "0.5 to 2.5",
        "volatility_21d over its trailing 252-session median, clipped",
        "price",
        "ratio",
    ),
)


def build(inputs: Inputs) -> pl.DataFrame:
    """The columns of FAMILY, one row per session; the state of volatility under its own names, outside the STRUCT."""
    built = with_technical(inputs.own_sessions())
    names = [feature.name.removeprefix("regime.") for feature in _FEATURES]
    return built.select("symbol", pl.col("trade_date").alias("data_date"), *names)


FAMILY = Family(
    name="base",
    version="v0",
    description="Returns, moving averages, volatility and RSI of the close as it was traded",
    inputs=(),
    look_back=LOOK_BACK,
    features=_FEATURES,
    build=build,
    universal=True,
)
