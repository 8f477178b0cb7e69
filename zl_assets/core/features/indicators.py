"""The indicator table: what one symbol's bars say, computed for all symbols at once.

Every indicator is free of scale, so the level of the roll-adjusted prices that the windows are made of is never in it
(see `bar_windows`, whose rules on rolls and suspect sessions hold here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from zl_assets.core.features.bar_windows import STAGES, ratio, roll_adjusted
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
    for stage, windowed in STAGES:
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
    ]


def _volatility_ratios() -> list[Indicator]:
    vol = {n: pl.col(f"vol_{n}") for n in (5, 21, 63)}
    return [
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
    ]


def _distributions() -> list[Indicator]:
    return [
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
    typical, mean = pl.col("typical"), pl.col("typical_mean")
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
        Indicator(
            "cci_20",
            "1",
            "Commodity channel index of 20 sessions",
            "z",
            ratio(typical - mean, 0.015 * pl.col("typical_spread")),
        ),
        Indicator("mfi_14", "0 to 100", "Money flow index of 14 sessions", "composite", money),
    ]


def _directions() -> list[Indicator]:
    plus, minus, atr = pl.col("plus_mean"), pl.col("minus_mean"), pl.col("atr")
    return [
        Indicator("adx_14", "0 to 100", "Average directional index of 14 sessions", "composite", pl.col("adx")),
        Indicator(
            "directional_difference_14",
            "-100 to 100",
            "Plus minus minus directional indicator, 14 sessions",
            "composite",
            100 * ratio(plus - minus, atr),
        ),
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


def _distances() -> list[Indicator]:
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
    ]


def _places() -> list[Indicator]:
    return [
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
                f"donchian_position_{n}",
                "0 to 1",
                f"Place of the close between lowest low and highest high of {n} sessions",
                "composite",
                ratio(_C - pl.col(f"bottom_{n}"), pl.col(f"top_{n}") - pl.col(f"bottom_{n}")),
            )
            for n in (21, 63, 252)
        ],
    ]


def _trends() -> list[Indicator]:
    return [
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
    *_volatility_ratios(),
    *_distributions(),
    *_oscillators(),
    *_directions(),
    *_distances(),
    *_places(),
    *_trends(),
    *_shapes(),
    *_volumes(),
)
"""Every indicator, in the order of the columns."""
