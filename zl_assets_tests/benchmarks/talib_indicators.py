"""The indicators that TA-Lib has, for one symbol: an independent implementation in C."""

from __future__ import annotations

import numpy as np
import pandas as pd
import talib

SETTLING = {"adx_14", "directional_difference_14", "macd_ratio", "macd_signal_ratio", "macd_histogram_ratio"}
"""Exponential means that TA-Lib begins otherwise: alike once the beginning is forgotten."""


def talib_indicators(bars: pd.DataFrame) -> pd.DataFrame:
    """Every indicator that is a TA-Lib function or a quotient of two.

    Args:
        bars: o, h, l, c (roll-adjusted), v of sound sessions, oldest first.
    """
    h, l, c, v = (bars[name].to_numpy(dtype=float) for name in "hlcv")  # noqa: E741
    out = {f"return_{n}d": talib.ROCP(c, n) for n in (1, 2, 3, 5, 10, 21, 63, 126, 252)}
    day = np.nan_to_num(out["return_1d"])
    for n in (5, 21, 63):
        # TA-Lib divides by n, a sample's deviation by n - 1; the first row has no return.
        spread = talib.STDDEV(day, n) * np.sqrt(n / (n - 1))
        spread[:n] = np.nan
        out[f"volatility_{n}d"] = spread
    out |= {f"rsi_{n}": talib.RSI(c, n) for n in (2, 14, 28)}
    out |= {f"ma_distance_{n}": c / talib.SMA(c, n) - 1 for n in (5, 21, 63, 126, 252)}
    for n in (63, 252):
        out[f"drawdown_{n}"] = c / talib.MAX(c, n) - 1
    for n in (21, 63, 252):
        bottom = talib.MIN(l, n)
        out[f"donchian_position_{n}"] = (c - bottom) / (talib.MAX(h, n) - bottom)
    out["run_up_252"] = c / talib.MIN(c, 252) - 1
    out["atr_ratio_14"] = talib.ATR(h, l, c, 14) / c
    out["stochastic_k_14"], out["stochastic_d_14"] = talib.STOCH(h, l, c, 14, 3, 0, 3, 0)
    out["williams_r_14"] = talib.WILLR(h, l, c, 14)
    out["adx_14"] = talib.ADX(h, l, c, 14)
    out["directional_difference_14"] = talib.PLUS_DI(h, l, c, 14) - talib.MINUS_DI(h, l, c, 14)
    out["cci_20"] = talib.CCI(h, l, c, 20)
    out["mfi_14"] = talib.MFI(h, l, c, v, 14)
    macd, signal, histogram = talib.MACD(c, 12, 26, 9)
    out |= {"macd_ratio": macd / c, "macd_signal_ratio": signal / c, "macd_histogram_ratio": histogram / c}
    out["obv_slope_21"] = talib.LINEARREG_SLOPE(talib.OBV(c, v), 21) / talib.SMA(v, 21)
    out["trend_slope_63"] = talib.LINEARREG_SLOPE(np.log(c), 63)
    out["volume_ratio_20"] = v / talib.SMA(v, 20)
    out["volume_ratio_5_63"] = talib.SMA(v, 5) / talib.SMA(v, 63)
    return pd.DataFrame(out, index=bars.index)
