"""The indicator table: what one symbol's bars say, computed for all symbols at once.

Two rules hold for every indicator. Prices are open, high, low and close over the same roll factor as
`close_roll_adjusted`, so no window holds a roll gap; each indicator is free of scale, so the level of that series is
never in it. Suspect sessions are no prices of the traded market: they are left out before any window is counted, and
have no row here. Windows count the symbol's own sound sessions and end at the row; one that is not whole is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from zl_assets.core.features.family import Treatment

LOOK_BACK = 340
"""Sessions before a row that the table needs: 252 over 21, and what holes and suspect sessions take. The longest
exponential mean, of 28 sessions, has forgotten all but 5e-6 of its beginning by then."""

HOURLY_INDICATORS = ("vwap_distance", "realized_vol_1h_ratio_21")
"""Indicators that need hourly bars, null for a symbol without them."""


@dataclass(frozen=True)
class Indicator:
    """One indicator.

    Attributes:
        name: column.
        unit: of its values, 1 where it has none.
        description: what it is, one clause.
        treatment: what was done to the prices.
        value: the expression, row by row, over the columns that the stages before it made.
    """

    name: str
    unit: str
    description: str
    treatment: Treatment
    value: pl.Expr


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


def with_indicators(sessions: pl.DataFrame, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Indicators of every symbol.

    Args:
        sessions: rows of market_data.futures_sessions_1d, by symbol and trade date ascending.
        names: indicators wanted; all of them where not given. What none of these needs is not computed.

    Returns:
        One row per sound session, in the same order: symbol, trade_date, session_number, available_at and the
        indicators in the order of INDICATORS (Float64).
    """
    frame = roll_adjusted(sessions).lazy()
    for stage, windowed in _STAGES:
        exprs = {name: value.over("symbol") if windowed else value for name, value in stage.items()}
        frame = frame.with_columns(**exprs)
    wanted = {i.name for i in INDICATORS} if names is None else set(names)
    values = {i.name: i.value for i in INDICATORS if i.name in wanted}
    return frame.select(
        "symbol",
        "trade_date",
        "session_number",
        "available_at",
        **values,
    ).collect()


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

_STAGES: tuple[tuple[Mapping[str, pl.Expr], bool], ...] = (
    (_BEFORE, True),
    (_BARS, False),
    (_SIGNS, False),
    (_WINDOWS, True),
    (_BETWEEN, False),
    (_OF_WINDOWS, True),
)


def _returns() -> list[Indicator]:
    past = {1: "c_1"} | {n: f"past_{n}" for n in (2, 3, 5, 10, 21, 63, 126, 252)}
    plain = [
        Indicator(f"return_{n}d", "1", f"Return over {n} sessions", "return", ratio(_C, pl.col(c)) - 1)
        for n, c in past.items()
    ]
    scaled = [
        Indicator(
            f"return_{n}d_z",
            "1",
            f"Return over {n} sessions in standard deviations of it, from daily volatility over {of} sessions",
            "z",
            ratio(ratio(_C, pl.col(past[n])) - 1, pl.col(f"vol_{of}") * n**0.5),
        )
        for n, of in ((1, 21), (5, 21), (21, 63))
    ]
    return [*plain, *scaled]


def _volatilities() -> list[Indicator]:
    vol = {n: pl.col(f"vol_{n}") for n in (5, 21, 63)}
    garman_klass = pl.when(pl.col("garman_klass") >= 0).then(pl.col("garman_klass").sqrt())
    return [
        *[
            Indicator(f"volatility_{n}d", "1", f"Standard deviation of daily returns over {n} sessions", "change", v)
            for n, v in vol.items()
        ],
        Indicator("log_range_1d", "1", "Logarithm of high over low", "change", pl.col("range")),
        Indicator("atr_ratio_14", "1", "Average true range of 14 sessions over close", "ratio", pl.col("atr") / _C),
        Indicator("parkinson_21", "1", "Parkinson volatility of 21 sessions, per day", "change", pl.col("parkinson")),
        Indicator("garman_klass_21", "1", "Garman-Klass volatility of 21 sessions, per day", "change", garman_klass),
        Indicator(
            "vol_of_vol_63", "1", "Spread of 21-session volatility over its mean, 63", "ratio", pl.col("vol_of_vol")
        ),
        Indicator(
            "volatility_ratio_5_63",
            "1",
            "Volatility of 5 sessions over that of 63",
            "ratio",
            ratio(vol[5], vol[63]),
        ),
        Indicator(
            "volatility_percentile_252",
            "1",
            "Rank of 21-session volatility within 252 sessions, (0, 1]",
            "percentile",
            pl.col("vol_rank"),
        ),
        Indicator(
            "range_ratio_5_63",
            "1",
            "Mean log range of 5 sessions over that of 63",
            "ratio",
            ratio(pl.col("range_5"), pl.col("range_63")),
        ),
        Indicator(
            "parkinson_ratio_21",
            "1",
            "Parkinson over close-to-close volatility, 21 sessions",
            "ratio",
            ratio(pl.col("parkinson"), vol[21]),
        ),
        Indicator(
            "downside_share_63",
            "1",
            "Share of falling days in the sum of squared returns of 63 sessions",
            "ratio",
            ratio(pl.col("squares_fallen"), pl.col("squares_squared")),
        ),
        Indicator("skew_63", "1", "Skewness of log returns over 63 sessions", "composite", pl.col("skew")),
        Indicator("kurtosis_63", "1", "Excess kurtosis of log returns, 63 sessions", "composite", pl.col("kurtosis")),
        Indicator(
            "realized_vol_1h_ratio_21",
            "1",
            "Realised volatility of the session's hours over its mean of 21 sessions",
            "ratio",
            ratio(pl.col("realized_vol_1h"), pl.col("usual_hourly")),
        ),
    ]


def _oscillators() -> list[Indicator]:
    plus, minus, atr = pl.col("plus_mean"), pl.col("minus_mean"), pl.col("atr")
    strength = {n: (pl.col(f"gain_{n}"), pl.col(f"loss_{n}")) for n in (2, 14, 28)}
    money = ratio(100 * pl.col("inflow_14"), pl.col("inflow_14") + pl.col("outflow_14"))
    williams = -100 * ratio(pl.col("top_14") - _C, pl.col("top_14") - pl.col("bottom_14"))
    return [
        *[
            Indicator(
                f"rsi_{n}",
                "0 to 100",
                f"Relative strength index of {n} sessions, Wilder's smoothing",
                "composite",
                ratio(100 * gain, gain + loss),
            )
            for n, (gain, loss) in strength.items()
        ],
        Indicator("stochastic_k_14", "0 to 100", "Slow stochastic %K (14, 3)", "composite", pl.col("slow_k")),
        Indicator("stochastic_d_14", "0 to 100", "Slow stochastic %D (14, 3, 3)", "composite", pl.col("slow_d")),
        Indicator("williams_r_14", "-100 to 0", "Williams %R of 14 sessions", "composite", williams),
        Indicator("adx_14", "0 to 100", "Average directional index of 14 sessions", "composite", pl.col("adx")),
        Indicator(
            "directional_difference_14",
            "-100 to 100",
            "Plus minus minus directional indicator, 14 sessions",
            "composite",
            100 * ratio(plus - minus, atr),
        ),
        Indicator(
            "cci_20",
            "1",
            "Commodity channel index of 20 sessions",
            "z",
            ratio(_TYPICAL - _TYPICAL_MEAN, 0.015 * pl.col("typical_spread")),
        ),
        Indicator("mfi_14", "0 to 100", "Money flow index of 14 sessions", "composite", money),
        Indicator("macd_ratio", "1", "EMA 12 minus EMA 26 over close", "ratio", pl.col("macd") / _C),
        Indicator("macd_signal_ratio", "1", "EMA 9 of the MACD over close", "ratio", pl.col("macd_signal") / _C),
        Indicator(
            "macd_histogram_ratio",
            "1",
            "MACD minus its signal over close",
            "ratio",
            (pl.col("macd") - pl.col("macd_signal")) / _C,
        ),
    ]


def _positions() -> list[Indicator]:
    return [
        *[
            Indicator(f"ma_distance_{n}", "1", f"Close over its mean of {n} sessions, minus 1", "ratio", _C / m - 1)
            for n, m in ((n, pl.col(f"ma_{n}")) for n in (5, 21, 63, 126, 252))
        ],
        *[
            Indicator(f"ema_distance_{n}", "1", f"Close over its EMA {n}, minus 1", "ratio", _C / m - 1)
            for n, m in ((n, pl.col(f"ema_{n}")) for n in (10, 50))
        ],
        *[
            Indicator(
                f"price_z_{n}",
                "1",
                f"Close minus its mean over its standard deviation, {n} sessions",
                "z",
                ratio(_C - pl.col(f"ma_{n}"), pl.col(f"sd_{n}")),
            )
            for n in (63, 252)
        ],
        Indicator(
            "bollinger_position_20",
            "1",
            "Place of the close between the bands two standard deviations off the mean of 20 sessions, 0 to 1",
            "composite",
            0.5 + ratio(_C - pl.col("ma_20"), 4 * pl.col("sd_20")),
        ),
        Indicator(
            "bollinger_width_20",
            "1",
            "Width of these bands over the mean",
            "ratio",
            4 * pl.col("sd_20") / pl.col("ma_20"),
        ),
        *[
            Indicator(
                f"drawdown_{n}", "1", f"Close over the highest close of {n} sessions, minus 1", "ratio", _C / m - 1
            )
            for n, m in ((n, pl.col(f"highest_{n}")) for n in (63, 252))
        ],
        Indicator(
            "run_up_252",
            "1",
            "Close over the lowest close of 252 sessions, minus 1",
            "ratio",
            ratio(_C, pl.col("lowest_252")) - 1,
        ),
        *[
            Indicator(
                f"donchian_position_{n}",
                "0 to 1",
                f"Place of the close between lowest low and highest high of {n} sessions",
                "composite",
                ratio(_C - pl.col(f"bottom_{n}"), pl.col(f"top_{n}") - pl.col(f"bottom_{n}")),
            )
            for n in (21, 63, 252)
        ],
        Indicator(
            "trend_slope_63", "1", "Slope of the log close over 63 sessions, per session", "change", pl.col("trend")
        ),
        Indicator(
            "trend_r2_63",
            "0 to 1",
            "Share of the log close's variance that a straight line explains, 63 sessions",
            "ratio",
            # The variance of 63 consecutive numbers is 63 * 64 / 12.
            ratio(pl.col("trend").pow(2) * (63 * 64 / 12), pl.col("log_variance")),
        ),
    ]


def _shapes() -> list[Indicator]:
    span = _H - _L
    streak = pl.col("sign") * (pl.col("row") - pl.col("turned") + 1).cast(pl.Float64)
    return [
        Indicator(
            "gap_1d", "1", "Open over the close before, minus 1; 0 on a roll", "return", ratio(_O, pl.col("c_1")) - 1
        ),
        Indicator(
            "close_position_1d", "0 to 1", "Place of the close in the day's range", "composite", ratio(_C - _L, span)
        ),
        Indicator("body_ratio_1d", "-1 to 1", "Close minus open over the day's range", "ratio", ratio(_C - _O, span)),
        Indicator("streak", "sessions", "Sessions in a row that rose, or fell with a minus", "count", streak),
        Indicator("up_share_21", "0 to 1", "Share of rising sessions among 21", "ratio", pl.col("rises")),
        Indicator("efficiency_ratio_21", "0 to 1", "Net move over the path of 21 sessions", "ratio", _efficiency()),
        Indicator("max_return_21", "1", "Largest daily return of 21 sessions", "return", pl.col("max_21")),
        Indicator("min_return_21", "1", "Smallest daily return of 21 sessions", "return", pl.col("min_21")),
        Indicator(
            "autocorrelation_63", "1", "Correlation of a return with the one before", "correlation", pl.col("own_lag")
        ),
        Indicator("vwap_distance", "1", "Close over the session's vwap, minus 1", "ratio", _C / pl.col("vwap") - 1),
    ]


def _efficiency() -> pl.Expr:
    return ratio((_C - pl.col("past_21")).abs(), pl.col("path"))


def _volumes() -> list[Indicator]:
    mean = {n: pl.col(f"volume_{n}") for n in (5, 20, 21, 63)}
    return [
        Indicator("volume_ratio_20", "1", "Volume over its mean of 20 sessions", "ratio", ratio(_V, mean[20])),
        Indicator("volume_ratio_5_63", "1", "Mean volume of 5 sessions over 63", "ratio", ratio(mean[5], mean[63])),
        Indicator("volume_z_63", "1", "Volume against 63 sessions", "z", ratio(_V - mean[63], pl.col("volume_sd_63"))),
        Indicator(
            "obv_slope_21",
            "1",
            "Slope of on-balance volume over 21 sessions, per session, over their mean volume",
            "ratio",
            ratio(pl.col("balance_slope"), mean[21]),
        ),
        Indicator(
            "volume_return_correlation_63",
            "1",
            "Correlation of return and log change of volume, 63 sessions",
            "correlation",
            pl.col("with_volume"),
        ),
        Indicator(
            "illiquidity_ratio_5_63",
            "1",
            "Amihud illiquidity (absolute return over volume) of 5 sessions over that of 63",
            "ratio",
            ratio(pl.col("illiquidity_5"), pl.col("illiquidity_63")),
        ),
    ]


INDICATORS: tuple[Indicator, ...] = (
    *_returns(),
    *_volatilities(),
    *_oscillators(),
    *_positions(),
    *_shapes(),
    *_volumes(),
)
"""Every indicator, in the order of the columns."""
