"""Technical features of the closing price: returns, moving averages, volatility, RSI, and the state of volatility.

One Polars expression each, per symbol, over sessions in order; a value uses its own session and earlier ones only.
A feature is null until its whole window is there.
"""

from __future__ import annotations

import polars as pl

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
        _gain=_wilder_mean(change.clip(lower_bound=0)).over("symbol"),
        _loss=_wilder_mean(-change.clip(upper_bound=0)).over("symbol"),
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


def _wilder_mean(values: pl.Expr) -> pl.Expr:
    """Wilder's smoothed mean: the plain mean of the first window, then an exponential mean with alpha 1/14."""
    row = pl.int_range(pl.len())
    seed = values.rolling_mean(RSI_SESSIONS)
    # The first change is null, so the first full window ends at row RSI_SESSIONS.
    fed = pl.when(row < RSI_SESSIONS).then(None).when(row == RSI_SESSIONS).then(seed).otherwise(values)
    return fed.ewm_mean(alpha=1 / RSI_SESSIONS, adjust=False, ignore_nulls=True)
