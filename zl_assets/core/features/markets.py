"""What other markets looked like at a decision: every value comes through `as_of`, with its session's own release.

Two markets can be compared only on sessions that both had. Such a pair becomes public when its last leg does, and
enters a feature as a series of its own from that moment on: for soybean oil against crude oil that is the session
before, for soybean oil against soybeans the session itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import polars as pl

from zl_assets.core.features.bar_windows import ratio, roll_adjusted
from zl_assets.core.features.family import Domain
from zl_assets.core.instruments import INSTRUMENTS
from zl_assets.core.point_in_time import as_of

SESSION_MAX_AGE = timedelta(days=7)
"""A market that has not traded for longer than the longest holiday break counts as missing."""

RATIO_SESSIONS = 252

PAIR_LOOK_BACK = 420
"""Sessions before a row that 252 common sessions may reach back over, with a market as thin as 6L was at first."""


def label(symbol: str) -> str:
    """How a symbol begins a column name: lower case, and fx_ before a currency, whose root begins with a digit."""
    return f"fx_{symbol.lower()}" if symbol[0].isdigit() else symbol.lower()


def domain_of(symbol: str) -> Domain:
    """What a market is about, in the words of the signal rules."""
    domains: dict[str, Domain] = {"rates": "treasury", "fx": "dollar", "energy": "energy", "palm_oil": "palm"}
    return domains.get(INSTRUMENTS[symbol].market, "cross_asset")


def as_known(
    frame: pl.DataFrame, decisions: pl.DataFrame, wanted: Mapping[str, Mapping[str, str]], own: str
) -> pl.DataFrame:
    """Values of several symbols as they were known at each decision, one column each.

    Args:
        frame: `symbol`, `trade_date`, `available_at` and value columns, one row per symbol and session.
        decisions: `symbol`, `data_date`, `decision_time` of one instrument, ascending.
        wanted: by symbol, the name of each new column and the value column it holds. A symbol without a row is null.
        own: the instrument's symbol. Its session of another day is not shown: a suspect session has no value.

    Returns:
        symbol, data_date and the new columns, one row per decision.
    """
    rows = frame.select("symbol", pl.col("trade_date").alias("observed_date"), "available_at").with_row_index("row")
    seen = as_of(
        rows, decisions.select("data_date", "decision_time"), ["row"], max_age=SESSION_MAX_AGE, by=["symbol"]
    ).with_columns(row=pl.when((pl.col("symbol") != own) | (pl.col("age_days") == 0)).then("row"))
    of_symbol = {str(key[0]): part["row"] for key, part in seen.partition_by("symbol", as_dict=True).items()}
    nothing = pl.Series("row", [None] * decisions.height, dtype=pl.UInt32)
    # One look-up of the row serves all of its values, which a join of every value column would repeat.
    columns = [
        pl.col(value).gather(of_symbol.get(symbol, nothing)).alias(name)
        for symbol, names in wanted.items()
        for name, value in names.items()
    ]
    return pl.concat([decisions.select("symbol", "data_date"), frame.select(columns)], how="horizontal")


def moves(sessions: pl.DataFrame, symbols: Sequence[str], horizons: Sequence[int]) -> pl.DataFrame:
    """Returns of symbols over their own sound sessions, without roll gaps.

    Returns:
        symbol, trade_date, available_at, return_{n}d for each horizon.
    """
    frame = roll_adjusted(sessions.filter(pl.col("symbol").is_in(list(symbols))))
    past = {f"return_{n}d": ratio(pl.col("c"), pl.col("c").shift(n).over("symbol")) - 1 for n in horizons}
    return frame.select("symbol", "trade_date", "available_at", **past)


def pairs(sessions: pl.DataFrame, own: str, symbols: Sequence[str]) -> pl.DataFrame:
    """Daily returns of symbols beside those of the own instrument, on the sound sessions that both had.

    Args:
        sessions: rows of market_data.futures_sessions_1d, by symbol and trade date ascending.
        own: the instrument to compare with.
        symbols: the others.

    Returns:
        One row per other symbol and common session: symbol, trade_date, available_at (of the later leg), `other` and
        `mine` (returns since the common session before, without roll gaps), `log_ratio` (of the other's roll-adjusted
        price to the own one; its level means nothing).
    """
    sound = roll_adjusted(sessions.filter(pl.col("symbol").is_in([own, *symbols])))
    mine = sound.filter(pl.col("symbol") == own).select("trade_date", my_c="c", my_available_at="available_at")
    both = sound.filter(pl.col("symbol") != own).join(mine, on="trade_date", how="inner", maintain_order="left")
    return both.select(
        "symbol",
        "trade_date",
        pl.max_horizontal("available_at", "my_available_at").alias("available_at"),
        other=(pl.col("c") / pl.col("c").shift(1) - 1).over("symbol"),
        mine=(pl.col("my_c") / pl.col("my_c").shift(1) - 1).over("symbol"),
        log_ratio=(pl.col("c") / pl.col("my_c")).log(),
    )


def correlation(sessions: int) -> pl.Expr:
    """Pearson correlation of the two returns of `pairs` over common sessions."""
    return pl.rolling_corr("mine", "other", window_size=sessions)


def lagged_correlation(lag: int, sessions: int) -> pl.Expr:
    """Correlation of the own return with the other's `lag` common sessions before."""
    return pl.rolling_corr(pl.col("mine"), pl.col("other").shift(lag), window_size=sessions)


def beta(sessions: int) -> pl.Expr:
    """Slope of the own return on the other's: covariance over the other's variance."""
    return ratio(pl.rolling_cov("mine", "other", window_size=sessions), pl.col("other").rolling_var(sessions))


def ratio_z() -> pl.Expr:
    """The log ratio of the two prices against its last year, in standard deviations."""
    value = pl.col("log_ratio")
    return ratio(value - value.rolling_mean(RATIO_SESSIONS), value.rolling_std(RATIO_SESSIONS))


def over_pairs(pairs: pl.DataFrame, values: Mapping[str, pl.Expr]) -> pl.DataFrame:
    """Windowed values of pairs, symbol by symbol; null where not finite.

    Returns:
        symbol, trade_date, available_at and the values.
    """
    built = pairs.select(
        "symbol", "trade_date", "available_at", **{name: value.over("symbol") for name, value in values.items()}
    )
    return built.with_columns(pl.when(pl.col(name).is_finite()).then(name).alias(name) for name in values)


def simultaneous(sessions: pl.DataFrame, legs: Sequence[str]) -> pl.DataFrame:
    """Closes of several markets on the sound sessions that all of them had.

    Args:
        sessions: rows of market_data.futures_sessions_1d.
        legs: symbols.

    Returns:
        trade_date ascending, available_at (of the last leg), and the raw close of each leg under its symbol.
    """
    columns = [
        sessions.select("trade_date", pl.col("available_at").alias(f"{leg}_at"), pl.col("close").alias(leg)).filter(
            (sessions["symbol"] == leg) & ~sessions["is_suspect"]
        )
        for leg in legs
    ]
    joined = columns[0]
    for other in columns[1:]:
        joined = joined.join(other, on="trade_date", how="inner", maintain_order="left")
    at = pl.max_horizontal([f"{leg}_at" for leg in legs]).alias("available_at")
    return joined.sort("trade_date").select("trade_date", at, *legs)
