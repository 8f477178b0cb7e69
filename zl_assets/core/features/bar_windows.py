"""Windows over bars: what the indicator table is made of, stage by stage, for all symbols at once.

Two rules hold. Prices are open, high, low and close over the same roll factor as `close_roll_adjusted`, so no window
holds a roll gap. Suspect sessions are no prices of the traded market: they are left out before any window is counted.
Windows count a symbol's own sound sessions and end at the row; one that is not whole is null.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl


def wilder_mean(values: pl.Expr, sessions: int) -> pl.Expr:
    """Wilder's smoothed mean: the plain mean of the first window, then an exponential mean with alpha 1/sessions.

    Args:
        values: null in its first row and nowhere else, as a change is.
        sessions: window of the first mean.
    """
    row = pl.int_range(pl.len())
    seed = values.rolling_mean(sessions)
    # The first change is null, so the first full window ends at row number `sessions`.
    fed = pl.when(row < sessions).then(None).when(row == sessions).then(seed).otherwise(values)
    return fed.ewm_mean(alpha=1 / sessions, adjust=False, ignore_nulls=True)


def slope(values: pl.Expr, sessions: int) -> pl.Expr:
    """Slope of the least-squares line through the last values, per session. The values may hold no null."""
    middle = (sessions - 1) / 2
    squares = sum((i - middle) ** 2 for i in range(sessions))
    return values.rolling_sum(sessions, weights=[(i - middle) / squares for i in range(sessions)])


def ratio(over: pl.Expr, under: pl.Expr) -> pl.Expr:
    """One over the other; null where that has no value."""
    return pl.when(under != 0).then(over / under)


def logarithm(value: pl.Expr) -> pl.Expr:
    """Natural logarithm; null at and below zero, where oil has traded."""
    return pl.when(value > 0).then(value.log())


def finite(value: pl.Expr) -> pl.Expr:
    """The value; null where it is not a number, as the correlation of something that does not move."""
    return pl.when(value.is_finite()).then(value)


def roll_adjusted(sessions: pl.DataFrame) -> pl.DataFrame:
    """Sound sessions with their bar in terms of the first contract month.

    Args:
        sessions: rows of market_data.futures_sessions_1d, by symbol and trade date ascending.

    Returns:
        The sound rows, without those that traded at or below zero and so have no ratio: session_number,
        available_at, o, h, l, c (roll-adjusted prices), v (contracts), vwap (roll-adjusted), realized_vol_1h.
    """
    factor = pl.col("close_roll_adjusted") / pl.col("close")
    priced = (pl.col("low") > 0) & (pl.col("close_roll_adjusted") > 0)
    return sessions.filter(~pl.col("is_suspect") & priced).select(
        "symbol",
        "trade_date",
        "session_number",
        "available_at",
        o=pl.col("open") * factor,
        h=pl.col("high") * factor,
        l=pl.col("low") * factor,
        c=pl.col("close_roll_adjusted"),
        v=pl.col("volume").cast(pl.Float64),
        vwap=pl.col("vwap") * factor,
        realized_vol_1h="realized_vol_1h",
    )


_O, _H, _L, _C, _V = (pl.col(name) for name in ("o", "h", "l", "c", "v"))
_RET, _LOG_RET = pl.col("ret"), pl.col("log_ret")
_TYPICAL, _TYPICAL_MEAN = pl.col("typical"), pl.col("typical_mean")

_BEFORE: dict[str, pl.Expr] = {
    **{f"{name}_1": pl.col(name).shift(1) for name in ("h", "l", "c", "v")},
    "typical_1": ((_H + _L + _C) / 3).shift(1),
    "row": pl.int_range(pl.len()),
    **{f"past_{n}": _C.shift(n) for n in (2, 3, 5, 10, 21, 63, 126, 252)},
}

_UP, _DOWN = _H - pl.col("h_1"), pl.col("l_1") - _L
_CHANGE = _C - pl.col("c_1")
_OPENING = logarithm(_C / _O)
_BARS: dict[str, pl.Expr] = {
    "typical": (_H + _L + _C) / 3,
    "ret": ratio(_C, pl.col("c_1")) - 1,
    "log_ret": logarithm(_C / pl.col("c_1")),
    "log_c": logarithm(_C),
    "range": logarithm(_H / _L),
    "true_range": pl.max_horizontal(_H, "c_1") - pl.min_horizontal(_L, "c_1") + 0 * pl.col("c_1"),
    "plus": pl.when((_UP > _DOWN) & (_UP > 0)).then(_UP).otherwise(0 * _UP),
    "minus": pl.when((_DOWN > _UP) & (_DOWN > 0)).then(_DOWN).otherwise(0 * _DOWN),
    "gain": _CHANGE.clip(lower_bound=0),
    "loss": -_CHANGE.clip(upper_bound=0),
    "volume_change": logarithm(_V / pl.col("v_1")),
    "garman_klass_1": 0.5 * logarithm(_H / _L).pow(2) - (2 * pl.lit(2.0).log() - 1) * _OPENING.pow(2),
}

_TIE = 1e-9
"""Typical prices of the same ticks differ by rounding; a tick is four orders of magnitude above this."""
_MONEY = _TYPICAL * _V
_MOVE = _TYPICAL / pl.col("typical_1") - 1
_SIGNS: dict[str, pl.Expr] = {
    "sign": _RET.sign(),
    "squared": _RET.pow(2),
    "fallen": _RET.clip(upper_bound=0).pow(2),
    "inflow": pl.when(_MOVE > _TIE).then(_MONEY).otherwise(0 * pl.col("typical_1")),
    "outflow": pl.when(_MOVE < -_TIE).then(_MONEY).otherwise(0 * pl.col("typical_1")),
    "signed_volume": (_RET.sign() * _V).fill_null(0),
    "step": _CHANGE.abs(),
    "illiquidity": ratio(_RET.abs(), _V),
}

_WINDOWS: dict[str, pl.Expr] = {
    **{f"ma_{n}": _C.rolling_mean(n) for n in (5, 20, 21, 63, 126, 252)},
    **{f"sd_{n}": _C.rolling_std(n) for n in (20, 63, 252)},
    **{f"vol_{n}": _RET.rolling_std(n) for n in (5, 21, 63)},
    **{f"top_{n}": _H.rolling_max(n) for n in (14, 21, 63, 252)},
    **{f"bottom_{n}": _L.rolling_min(n) for n in (14, 21, 63, 252)},
    **{f"highest_{n}": _C.rolling_max(n) for n in (63, 252)},
    "lowest_252": _C.rolling_min(252),
    **{f"ema_{n}": _C.ewm_mean(span=n, adjust=False, min_samples=n) for n in (10, 12, 26, 50)},
    "atr": wilder_mean(pl.col("true_range"), 14),
    "plus_mean": wilder_mean(pl.col("plus"), 14),
    "minus_mean": wilder_mean(pl.col("minus"), 14),
    **{f"gain_{n}": wilder_mean(pl.col("gain"), n) for n in (2, 14, 28)},
    **{f"loss_{n}": wilder_mean(pl.col("loss"), n) for n in (2, 14, 28)},
    **{f"volume_{n}": _V.rolling_mean(n) for n in (5, 20, 21, 63)},
    "volume_sd_63": _V.rolling_std(63),
    "typical_mean": _TYPICAL.rolling_mean(20),
    **{f"{flow}_14": pl.col(flow).rolling_sum(14) for flow in ("inflow", "outflow")},
    "balance_slope": slope(pl.col("signed_volume").cum_sum(), 21),
    "parkinson": (pl.col("range").pow(2).rolling_mean(21) / (4 * pl.lit(2.0).log())).sqrt(),
    "garman_klass": pl.col("garman_klass_1").rolling_mean(21),
    **{f"range_{n}": pl.col("range").rolling_mean(n) for n in (5, 63)},
    **{f"squares_{n}": pl.col(n).rolling_sum(63) for n in ("squared", "fallen")},
    "path": pl.col("step").rolling_sum(21),
    "trend": slope(pl.col("log_c").forward_fill().fill_null(0), 63),
    "log_variance": pl.col("log_c").rolling_var(63),
    "turned": pl.when(pl.col("sign") != pl.col("sign").shift(1).fill_null(0)).then("row").forward_fill(),
    "rises": (_RET > 0).cast(pl.Float64).rolling_mean(21),
    **{f"{side}_21": getattr(_RET, f"rolling_{side}")(21) for side in ("max", "min")},
    "skew": finite(_LOG_RET.rolling_skew(63, bias=False)),
    "kurtosis": finite(_LOG_RET.rolling_kurtosis(63, bias=False)),
    "own_lag": finite(pl.rolling_corr(_RET, _RET.shift(1), window_size=63)),
    "with_volume": finite(pl.rolling_corr(_RET, pl.col("volume_change"), window_size=63)),
    "usual_hourly": pl.col("realized_vol_1h").rolling_mean(21),
    **{f"illiquidity_{n}": pl.col("illiquidity").rolling_mean(n) for n in (5, 63)},
}

_FAST_K = 100 * ratio(_C - pl.col("bottom_14"), pl.col("top_14") - pl.col("bottom_14"))
_BETWEEN: dict[str, pl.Expr] = {
    "fast_k": _FAST_K,
    "macd": pl.col("ema_12") - pl.col("ema_26"),
    "direction": ratio(
        100 * (pl.col("plus_mean") - pl.col("minus_mean")), pl.col("plus_mean") + pl.col("minus_mean")
    ).abs(),
}

_OF_WINDOWS: dict[str, pl.Expr] = {
    "slow_k": pl.col("fast_k").rolling_mean(3),
    "slow_d": pl.col("fast_k").rolling_mean(3).rolling_mean(3),
    "macd_signal": pl.col("macd").ewm_mean(span=9, adjust=False, min_samples=9),
    "adx": pl.col("direction").ewm_mean(alpha=1 / 14, adjust=False, ignore_nulls=True, min_samples=14),
    "vol_rank": pl.col("vol_21").rolling_rank(252, method="max") / 252,
    "vol_of_vol": ratio(pl.col("vol_21").rolling_std(63), pl.col("vol_21").rolling_mean(63)),
    "typical_spread": sum(((_TYPICAL.shift(i) - _TYPICAL_MEAN).abs() for i in range(20)), pl.lit(0.0)) / 20,
}

STAGES: tuple[tuple[Mapping[str, pl.Expr], bool], ...] = (
    (_BEFORE, True),
    (_BARS, False),
    (_SIGNS, False),
    (_WINDOWS, True),
    (_BETWEEN, False),
    (_OF_WINDOWS, True),
)
"""Columns by stage, and whether a stage's expressions run symbol by symbol; each stage reads those before it."""
