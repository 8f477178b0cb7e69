"""The indicator table in plain pandas, for one symbol: the oracle of the tests and the yardstick of the speed.

Written the way a notebook would: one rolling call after the other.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


def wilder(values: pd.Series, n: int) -> pd.Series:
    """Mean of the first n changes, then an exponential mean with alpha 1/n."""
    fed = values.copy()
    fed.iloc[:n] = np.nan
    if len(fed) > n:
        fed.iloc[n] = values.iloc[1 : n + 1].mean()
    return fed.ewm(alpha=1 / n, adjust=False, ignore_na=True).mean()


def slope(values: pd.Series, n: int) -> pd.Series:
    """Least-squares slope over n rows."""
    row = pd.Series(np.arange(len(values), dtype=float), index=values.index)
    return values.rolling(n).cov(row) / row.rolling(n).var()


def mean_deviation(values: pd.Series, n: int) -> pd.Series:
    """Mean absolute deviation from the mean of n rows, for which pandas has no function of its own."""
    return values.rolling(n).apply(lambda window: np.abs(window - window.mean()).mean(), raw=True)


def pandas_indicators(bars: pd.DataFrame) -> pd.DataFrame:
    """Every indicator of one symbol.

    Args:
        bars: o, h, l, c (roll-adjusted), v, vwap, realized_vol_1h of sound sessions, oldest first.
    """
    parts = (_returns, _volatility, _oscillators, _positions, _shapes, _volumes)
    columns: dict[str, pd.Series] = {}
    for part in parts:
        columns |= part(bars)
    return pd.DataFrame(columns).replace([np.inf, -np.inf], np.nan)


Columns = dict[str, pd.Series]


def _returns(b: pd.DataFrame) -> Columns:
    day = b.c.pct_change()
    out = {f"return_{n}d": b.c.pct_change(n) for n in (1, 2, 3, 5, 10, 21, 63, 126, 252)}
    for n, of in ((1, 21), (5, 21), (21, 63)):
        out[f"return_{n}d_z"] = out[f"return_{n}d"] / (day.rolling(of).std() * np.sqrt(n))
    return out


def _volatility(b: pd.DataFrame) -> Columns:
    day = b.c.pct_change()
    log = np.log(b.c).diff()
    span = np.log(b.h / b.l)
    vol = {n: day.rolling(n).std() for n in (5, 21, 63)}
    before = b.c.shift()
    true_range = pd.concat([b.h - b.l, (b.h - before).abs(), (b.l - before).abs()], axis=1).max(axis=1)
    parkinson = np.sqrt((span**2).rolling(21).mean() / (4 * np.log(2)))
    garman_klass = 0.5 * span**2 - (2 * np.log(2) - 1) * np.log(b.c / b.o) ** 2
    return {f"volatility_{n}d": v for n, v in vol.items()} | {
        "log_range_1d": span,
        "atr_ratio_14": wilder(true_range.where(before.notna()), 14) / b.c,
        "parkinson_21": parkinson,
        "garman_klass_21": np.sqrt(garman_klass.rolling(21).mean()),
        "vol_of_vol_63": vol[21].rolling(63).std() / vol[21].rolling(63).mean(),
        "volatility_ratio_5_63": vol[5] / vol[63],
        "volatility_percentile_252": vol[21].rolling(252).rank(method="max", pct=True),
        "range_ratio_5_63": span.rolling(5).mean() / span.rolling(63).mean(),
        "parkinson_ratio_21": parkinson / vol[21],
        "downside_share_63": (day.clip(upper=0) ** 2).rolling(63).sum() / (day**2).rolling(63).sum(),
        "skew_63": log.rolling(63).skew(),
        "kurtosis_63": log.rolling(63).kurt(),
        "realized_vol_1h_ratio_21": b.realized_vol_1h / b.realized_vol_1h.rolling(21).mean(),
    }


def _oscillators(b: pd.DataFrame) -> Columns:
    change = b.c.diff()
    out: Columns = {}
    for n in (2, 14, 28):
        gain, loss = wilder(change.clip(lower=0), n), wilder(-change.clip(upper=0), n)
        out[f"rsi_{n}"] = 100 * gain / (gain + loss)
    top, bottom = b.h.rolling(14).max(), b.l.rolling(14).min()
    fast = 100 * (b.c - bottom) / (top - bottom)
    up, down, before = b.h.diff(), -b.l.diff(), b.c.shift()
    plus = wilder(up.where((up > down) & (up > 0), 0.0).where(up.notna()), 14)
    minus = wilder(down.where((down > up) & (down > 0), 0.0).where(up.notna()), 14)
    true_range = pd.concat([b.h - b.l, (b.h - before).abs(), (b.l - before).abs()], axis=1).max(axis=1)
    direction = 100 * (plus - minus).abs() / (plus + minus)
    typical = (b.h + b.l + b.c) / 3
    money = typical * b.v
    inflow = money.where(typical / typical.shift() - 1 > 1e-9, 0.0).where(before.notna()).rolling(14).sum()
    outflow = money.where(typical / typical.shift() - 1 < -1e-9, 0.0).where(before.notna()).rolling(14).sum()
    macd = b.c.ewm(span=12, adjust=False).mean() - b.c.ewm(span=26, adjust=False, min_periods=26).mean()
    signal = macd.ewm(span=9, adjust=False, min_periods=9).mean()
    return out | {
        "stochastic_k_14": fast.rolling(3).mean(),
        "stochastic_d_14": fast.rolling(3).mean().rolling(3).mean(),
        "williams_r_14": -100 * (top - b.c) / (top - bottom),
        "adx_14": direction.ewm(alpha=1 / 14, adjust=False, min_periods=14).mean(),
        "directional_difference_14": 100 * (plus - minus) / wilder(true_range.where(before.notna()), 14),
        "cci_20": (typical - typical.rolling(20).mean()) / (0.015 * mean_deviation(typical, 20)),
        "mfi_14": 100 * inflow / (inflow + outflow),
        "macd_ratio": macd / b.c,
        "macd_signal_ratio": signal / b.c,
        "macd_histogram_ratio": (macd - signal) / b.c,
    }


def _positions(b: pd.DataFrame) -> Columns:
    out = {f"ma_distance_{n}": b.c / b.c.rolling(n).mean() - 1 for n in (5, 21, 63, 126, 252)}
    for n in (10, 50):
        out[f"ema_distance_{n}"] = b.c / b.c.ewm(span=n, adjust=False, min_periods=n).mean() - 1
    for n in (63, 252):
        out[f"price_z_{n}"] = (b.c - b.c.rolling(n).mean()) / b.c.rolling(n).std()
        out[f"drawdown_{n}"] = b.c / b.c.rolling(n).max() - 1
    middle, spread = b.c.rolling(20).mean(), b.c.rolling(20).std()
    for n in (21, 63, 252):
        top, bottom = b.h.rolling(n).max(), b.l.rolling(n).min()
        out[f"donchian_position_{n}"] = (b.c - bottom) / (top - bottom)
    log = np.log(b.c)
    row = pd.Series(np.arange(len(b), dtype=float), index=b.index)
    return out | {
        "bollinger_position_20": (b.c - (middle - 2 * spread)) / (4 * spread),
        "bollinger_width_20": 4 * spread / middle,
        "run_up_252": b.c / b.c.rolling(252).min() - 1,
        "trend_slope_63": slope(log, 63),
        "trend_r2_63": log.rolling(63).corr(row) ** 2,
    }


def _shapes(b: pd.DataFrame) -> Columns:
    day = b.c.pct_change()
    sign = np.sign(day)
    run = (sign != sign.shift()).cumsum()
    return {
        "gap_1d": b.o / b.c.shift() - 1,
        "close_position_1d": (b.c - b.l) / (b.h - b.l),
        "body_ratio_1d": (b.c - b.o) / (b.h - b.l),
        "streak": sign * (sign.groupby(run).cumcount() + 1),
        "up_share_21": (day > 0).where(day.notna()).astype(float).rolling(21).mean(),
        "efficiency_ratio_21": b.c.diff(21).abs() / b.c.diff().abs().rolling(21).sum(),
        "max_return_21": day.rolling(21).max(),
        "min_return_21": day.rolling(21).min(),
        "autocorrelation_63": day.rolling(63).corr(day.shift()),
        "vwap_distance": b.c / b.vwap - 1,
    }


def _volumes(b: pd.DataFrame) -> Columns:
    day = b.c.pct_change()
    mean = {n: b.v.rolling(n).mean() for n in (5, 20, 21, 63)}
    balance = (np.sign(day) * b.v).fillna(0).cumsum()
    illiquidity = day.abs() / b.v
    return {
        "volume_ratio_20": b.v / mean[20],
        "volume_ratio_5_63": mean[5] / mean[63],
        "volume_z_63": (b.v - mean[63]) / b.v.rolling(63).std(),
        "obv_slope_21": slope(balance, 21) / mean[21],
        "volume_return_correlation_63": day.rolling(63).corr(np.log(b.v).diff()),
        "illiquidity_ratio_5_63": illiquidity.rolling(5).mean() / illiquidity.rolling(63).mean(),
    }
