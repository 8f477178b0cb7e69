"""Training frames of made-up markets: one that cannot be predicted and one with a planted drift that lasts."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import polars as pl

from zl_assets.core.training_frame import ewma_volatility

SPLIT = date(2023, 1, 1)


def random_walk(n: int, seed: int) -> np.ndarray:
    """Closes of a martingale: daily returns of 1.5 %, independent, mean 0."""
    returns = np.random.default_rng(seed).normal(0, 0.015, n)
    return 40 * np.cumprod(1 + returns)


def planted_trend(n: int, seed: int) -> np.ndarray:
    """Closes whose expected daily return follows an AR(1) process with a memory of months, visible in past returns."""
    rng = np.random.default_rng(seed)
    drift = np.zeros(n)
    for t in range(1, n):
        drift[t] = 0.98 * drift[t - 1] + rng.normal(0, 0.001)
    return 40 * np.cumprod(1 + drift + rng.normal(0, 0.008, n))


def training_frame(
    closes: np.ndarray, horizon_sessions: int, *, last: date = date(2025, 8, 29), missing: tuple[int, ...] = ()
) -> pl.DataFrame:
    """One horizon's training frame: sessions are weekdays ending on `last`; `missing` session numbers have no row."""
    n = len(closes)
    close = pd.Series(closes)
    ret = close.pct_change()
    gain, loss = ret.clip(lower=0).ewm(alpha=1 / 14).mean(), (-ret.clip(upper=0)).ewm(alpha=1 / 14).mean()
    vol = ret.rolling(21).std()
    days = [last - timedelta(days=d) for d in _weekdays_back(last, n)]
    frame = pd.DataFrame(
        {
            "data_date": days,
            "session_number": np.arange(5000, 5000 + n),
            "close": closes,
            "return_1d": ret,
            "return_5d": close.pct_change(5),
            "return_21d": close.pct_change(21),
            "ma_5": close.rolling(5).mean(),
            "ma_21": close.rolling(21).mean(),
            "ma_63": close.rolling(63).mean(),
            "volatility_21d": vol,
            "rsi_14": 100 * gain / (gain + loss),
            "vol_percentile": vol.rolling(252).rank(pct=True),
            "k_vol": (vol / vol.rolling(252).median()).clip(0.5, 2.5),
            "regime_name": "calm",
            "sample_weight": np.where(np.arange(n) < n // 2, 100, 300),
            "target": close.shift(-horizon_sessions) / close - 1,
            "is_suspect": False,
            "usable": True,
        }
    )
    target_dates = [*days[horizon_sessions:], *[None] * horizon_sessions][:n]
    frame["split"] = [
        "test" if d >= SPLIT else "purged" if t is None or t >= SPLIT else "train"
        for d, t in zip(days, target_dates, strict=True)
    ]
    out = pl.from_pandas(frame.iloc[63:]).with_columns(
        pl.col("data_date").cast(pl.Date), pl.col("target").fill_nan(None)
    )
    out = out.with_columns(
        pl.Series("target_date", target_dates[63:], dtype=pl.Date), ewma_volatility=ewma_volatility()
    )
    gone = set(missing) | {s - horizon_sessions for s in missing}
    keep = ~pl.col("session_number").is_in(list(missing))
    target = pl.when(pl.col("session_number").is_in(list(gone))).then(None).otherwise(pl.col("target"))
    return out.with_columns(target=target).filter(keep)


def _weekdays_back(last: date, n: int) -> list[int]:
    back = [k for k in range(n * 7 // 5 + 8) if (last - timedelta(days=k)).weekday() < 5]
    return back[:n][::-1]
