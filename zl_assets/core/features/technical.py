"""Technical features: the matrix's first columns, from the raw close, and the family, from roll-adjusted bars.

One Polars expression each, per symbol, over sessions in order; a value uses its own session and earlier ones only.
A feature is null until its whole window is there.

`with_technical` reads the close as it was traded: a roll's gap is a return there, and a suspect session counts. Every
column of FAMILY follows the two rules of `bar_windows` instead: no roll gap in any window, and suspect sessions left
out and null. Where both have a quantity, the family's name says `_adjusted`.
"""

from __future__ import annotations

import polars as pl

from zl_assets.core.features.bar_windows import wilder_mean
from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.indicators import INDICATORS, LOOK_BACK, with_indicators

VOLATILITY_SESSIONS = 21
RSI_SESSIONS = 14
YEAR_SESSIONS = 252


def with_technical(sessions: pl.DataFrame) -> pl.DataFrame:
    """Add the technical columns.

    Args:
        sessions: `symbol`, `trade_date`, `close`, sorted by symbol and trade date.

    Returns:
        The frame with return_1d, return_5d, return_21d, ma_5, ma_21, ma_63, volatility_21d, rsi_14, vol_percentile
        and k_vol (Float64).
    """
    close = pl.col("close")
    change = close.diff()
    first = sessions.with_columns(
        *[(close / close.shift(n) - 1).over("symbol").alias(f"return_{n}d") for n in (1, 5, 21)],
        *[close.rolling_mean(n).over("symbol").alias(f"ma_{n}") for n in (5, 21, 63)],
        _gain=wilder_mean(change.clip(lower_bound=0), RSI_SESSIONS).over("symbol"),
        _loss=wilder_mean(-change.clip(upper_bound=0), RSI_SESSIONS).over("symbol"),
    )
    second = first.with_columns(
        volatility_21d=pl.col("return_1d").rolling_std(VOLATILITY_SESSIONS).over("symbol"),
        # A price that has not moved for the whole window has no strength either way: 0/0 stays missing.
        rsi_14=(100 * pl.col("_gain") / (pl.col("_gain") + pl.col("_loss"))).fill_nan(None),
    ).drop("_gain", "_loss")
    volatility = pl.col("volatility_21d")
    return second.with_columns(
        vol_percentile=(volatility.rolling_rank(YEAR_SESSIONS, method="max") / YEAR_SESSIONS).over("symbol"),
        k_vol=(volatility / volatility.rolling_median(YEAR_SESSIONS)).clip(0.5, 2.5).over("symbol"),
    )


_CHOSEN = (
    *(f"return_{n}d" for n in (1, 2, 3, 5, 10, 21, 63, 126, 252)),
    *(f"volatility_{n}d" for n in (5, 21, 63)),
    "rsi_2",
    "rsi_14",
    "rsi_28",
    "log_range_1d",
    "atr_ratio_14",
    "bollinger_position_20",
    "bollinger_width_20",
    "macd_ratio",
    "macd_signal_ratio",
    "macd_histogram_ratio",
    "stochastic_k_14",
    "stochastic_d_14",
    "adx_14",
    "williams_r_14",
    "cci_20",
    "mfi_14",
    "obv_slope_21",
    "volume_ratio_20",
    "volume_ratio_5_63",
    "gap_1d",
    "close_position_1d",
    "parkinson_21",
    "garman_klass_21",
    "vol_of_vol_63",
    "ma_distance_21",
    "ma_distance_63",
    "ma_distance_252",
    "drawdown_252",
    "donchian_position_63",
    "streak",
    "vwap_distance",
    "realized_vol_1h_ratio_21",
    "skew_63",
    "kurtosis_63",
)


def _renamed(indicator: str) -> str:
    return f"{indicator}_adjusted" if indicator.startswith(("return_", "volatility_", "rsi_")) else indicator


def build(inputs: Inputs) -> pl.DataFrame:
    """The columns of FAMILY, one row per sound session."""
    built = with_indicators(inputs.own_sessions(), _CHOSEN)
    columns = [pl.col(name).alias(_renamed(name)) for name in _CHOSEN]
    return built.select("symbol", pl.col("trade_date").alias("data_date"), *columns)


def _features() -> tuple[Feature, ...]:
    table = {i.name: i for i in INDICATORS}
    chosen = [table[name] for name in _CHOSEN]
    return tuple(Feature(_renamed(i.name), i.unit, i.description, "price", i.treatment) for i in chosen)


FAMILY = Family(
    name="technical",
    version="v1",
    description="Returns, volatility, oscillators, place in the range and volume, without roll gaps",
    inputs=(),
    look_back=LOOK_BACK,
    features=_features(),
    build=build,
    universal=True,
)
