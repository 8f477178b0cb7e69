"""The full surface: every available market times the indicator table, pairs, interactions and regimes, by rule.

Names follow one rule, with two underscores between parts:

- `cl__rsi_14`: an indicator of a market, of its newest session known at the decision;
- `corr_90__zl__cl`, `beta_90__zl__cl`: of the instrument with a market, over their common sessions;
- `zl__return_5d__x__cl__return_5d`: the product of two columns;
- `zl__return_5d__x__vol_high`: a column where the state of volatility is high, else 0. The state is that of the
  session itself: the rank of 21-session volatility within the 252 sessions up to it.

A market is available to an instrument if at least four in five of its decisions find a session of it no older than
`markets.SESSION_MAX_AGE`. With bars since 2010 that leaves out palm oil (its futures stopped trading in 2013) and, for
soybean oil, the micro equity contract of 2019.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from functools import partial

import polars as pl

from zl_assets.core.features.family import Domain, Family, Feature, Inputs, build_family
from zl_assets.core.features.indicators import HOURLY_INDICATORS, INDICATORS, with_indicators
from zl_assets.core.features.markets import (
    PAIR_LOOK_BACK,
    SESSION_MAX_AGE,
    as_known,
    beta,
    correlation,
    domain_of,
    label,
    over_pairs,
    pairs,
)
from zl_assets.core.instruments import FORECAST_SYMBOL, INSTRUMENTS, SECOND_SYMBOL
from zl_assets.core.point_in_time import as_of

SURFACE_SYMBOLS = (FORECAST_SYMBOL, *(s for s in INSTRUMENTS if s not in (FORECAST_SYMBOL, SECOND_SYMBOL, "CPO")))
"""The markets that the stored surface has columns for; those of one that is not available are null."""

AVAILABLE_SHARE = 0.8
PAIR_SESSIONS = (30, 60, 90, 252)
TABLE = tuple(i for i in INDICATORS if i.name not in HOURLY_INDICATORS)
"""Indicators of every market; hourly bars exist for a few only."""

INTERACTION_INDICATORS = ("return_5d", "return_21d", "rsi_14", "price_z_63", "volume_z_63")
"""Indicators of the instrument and of each market whose products enter, like with like."""

REGIME_INDICATORS = (
    "return_1d",
    "return_5d",
    "return_21d",
    "return_63d",
    "rsi_14",
    "price_z_63",
    "price_z_252",
    "macd_ratio",
    "donchian_position_63",
    "volume_z_63",
    "adx_14",
    "streak",
)
"""Indicators of the instrument that enter by state of volatility."""

REGIME_RETURN = "return_5d"
"""Indicator of every market that enters by state of volatility."""

STATES: dict[str, tuple[float, float]] = {"vol_low": (0.0, 1 / 3), "vol_mid": (1 / 3, 2 / 3), "vol_high": (2 / 3, 1.0)}
"""States of volatility: above the first rank, up to and with the second."""

_RANK = "volatility_percentile_252"


def available_symbols(inputs: Inputs) -> tuple[str, ...]:
    """The markets that the full surface of an instrument is made of, itself first; the rule is in the module's text."""
    rows = inputs.sessions.filter(~pl.col("is_suspect")).select(
        "symbol", "available_at", observed_date="trade_date", row=pl.lit(1)
    )
    seen = as_of(
        rows, inputs.decisions.select("data_date", "decision_time"), ["row"], max_age=SESSION_MAX_AGE, by=["symbol"]
    )
    share = dict(seen.group_by("symbol").agg(pl.col("row").count() / pl.len()).iter_rows())
    others = (s for s in INSTRUMENTS if s != inputs.symbol and share.get(s, 0.0) >= AVAILABLE_SHARE)
    return (inputs.symbol, *others)


def full_columns(symbols: Sequence[str]) -> tuple[Feature, ...]:
    """Every column of the full surface.

    Args:
        symbols: the instrument that features are made for, then the other markets.

    Returns:
        The columns in the order of `build_full`.
    """
    own, others = symbols[0], symbols[1:]
    return (
        *_market_columns(own, "price"),
        *(feature for symbol in others for feature in _market_columns(symbol, domain_of(symbol))),
        *(feature for symbol in others for feature in _pair_columns(own, symbol)),
        *(feature for symbol in others for feature in _interaction_columns(own, symbol)),
        *(feature for column, domain in _regime_sources(symbols) for feature in _regime_columns(column, domain)),
    )


def traded_symbols(sessions: pl.DataFrame) -> list[str]:
    """The markets of the stored surface that have a session, in their order."""
    traded = set(sessions["symbol"].unique())
    return [symbol for symbol in SURFACE_SYMBOLS if symbol in traded]


def stored_columns(production: Collection[str]) -> tuple[Feature, ...]:
    """The columns that the wide matrix has beside those of the production surface: all but what is there already.

    Args:
        production: names of the features of the production surface.
    """
    return tuple(f for f in full_columns(SURFACE_SYMBOLS) if _repeated(f.name, production) is None)


def _repeated(name: str, production: Collection[str]) -> str | None:
    """The production feature that says what a generated column says; such a pair has one name but for its marks."""
    own = label(FORECAST_SYMBOL)
    plain = name.removeprefix(f"{own}__").replace(f"__{own}__", "_").replace("__", "_")
    return next((known for known in (f"{plain}_adjusted", plain) if known in production), None)


def full_family(symbols: Sequence[str]) -> Family:
    """The full surface as a family: its columns, its look-back, and how it is built.

    Args:
        symbols: the instrument that features are made for, then the other markets.
    """
    return Family(
        name="full_surface",
        version="v2",
        description="Every available market by every indicator, with pairs, interactions and volatility states",
        inputs=(),
        look_back=PAIR_LOOK_BACK,
        features=full_columns(symbols),
        # The highest of a month is the highest for a month.
        stands={"": timedelta(days=35)},
        build=partial(_build, tuple(symbols)),
    )


def build_full(inputs: Inputs, symbols: Sequence[str] | None = None, since: int | None = None) -> pl.DataFrame:
    """Build the full surface, in blocks.

    Args:
        inputs: decisions of one instrument, and the sessions of all markets.
        symbols: the instrument and its markets; those available in the inputs where not given.
        since: first session number wanted.

    Returns:
        symbol, data_date and the columns of `full_columns`, Float64, one row per decision.
    """
    chosen = available_symbols(inputs) if symbols is None else tuple(symbols)
    return build_family(full_family(chosen), inputs, since)


def usable_columns(frame: pl.DataFrame) -> list[str]:
    """Names of the numeric columns that are neither constant nor mostly null, in order.

    Args:
        frame: built features.

    Returns:
        Columns with a value in at least half of the rows, and two different ones among them.
    """
    numeric = frame.select(pl.selectors.numeric())
    if numeric.is_empty():
        return []
    filled = numeric.select(pl.all().count() * 2 >= pl.len()).row(0)
    varied = numeric.select((pl.all().min() < pl.all().max()).fill_null(value=False)).row(0)
    return [name for name, full, varies in zip(numeric.columns, filled, varied, strict=True) if full and varies]


def _build(symbols: tuple[str, ...], inputs: Inputs) -> pl.DataFrame:
    own, others = symbols[0], symbols[1:]
    sessions = inputs.sessions.filter(pl.col("symbol").is_in(list(symbols)))
    indicators = {s: {f"{label(s)}__{i.name}": i.name for i in TABLE} for s in symbols}
    markets = as_known(with_indicators(sessions, [i.name for i in TABLE]), inputs.decisions, indicators, own)
    values = {
        **{f"corr_{n}": correlation(n) for n in PAIR_SESSIONS},
        **{f"beta_{n}": beta(n) for n in PAIR_SESSIONS},
    }
    paired = {s: {_pair_name(value, own, s): value for value in values} for s in others}
    known = as_known(over_pairs(pairs(sessions, own, others), values), inputs.decisions, paired, own)
    return pl.concat(
        [
            markets,
            known.drop("symbol", "data_date"),
            markets.select(_interactions(own, others)),
            markets.select(_regime_values(symbols)),
        ],
        how="horizontal",
    )


def _interactions(own: str, others: Sequence[str]) -> Iterable[pl.Expr]:
    for other in others:
        for indicator in INTERACTION_INDICATORS:
            mine, theirs = f"{label(own)}__{indicator}", f"{label(other)}__{indicator}"
            yield (pl.col(mine) * pl.col(theirs)).alias(f"{mine}__x__{theirs}")


def _regime_values(symbols: Sequence[str]) -> Iterable[pl.Expr]:
    rank = pl.col(f"{label(symbols[0])}__{_RANK}")
    for column, _ in _regime_sources(symbols):
        for state, (above, up_to) in STATES.items():
            inside = (rank > above) & (rank <= up_to)
            value = pl.when(inside).then(column).when(rank.is_not_null() & pl.col(column).is_not_null()).then(0.0)
            yield value.alias(f"{column}__x__{state}")


def _regime_sources(symbols: Sequence[str]) -> list[tuple[str, Domain]]:
    own, others = symbols[0], symbols[1:]
    mine: list[tuple[str, Domain]] = [(f"{label(own)}__{name}", "price") for name in REGIME_INDICATORS]
    return [*mine, *((f"{label(s)}__{REGIME_RETURN}", domain_of(s)) for s in others)]


def _pair_name(value: str, own: str, other: str) -> str:
    return f"{value}__{label(own)}__{label(other)}"


def _market_columns(symbol: str, domain: Domain) -> Iterable[Feature]:
    for i in TABLE:
        yield Feature(f"{label(symbol)}__{i.name}", i.unit, f"{symbol}: {i.description}", domain, i.treatment)


def _pair_columns(own: str, other: str) -> Iterable[Feature]:
    for n in PAIR_SESSIONS:
        what = f"Correlation of daily returns of {own} and {other} over {n} common sessions"
        yield Feature(_pair_name(f"corr_{n}", own, other), "1", what, domain_of(other), "correlation")
    for n in PAIR_SESSIONS:
        what = f"Beta of {own} on {other} over {n} common sessions"
        yield Feature(_pair_name(f"beta_{n}", own, other), "1", what, domain_of(other), "beta")


def _interaction_columns(own: str, other: str) -> Iterable[Feature]:
    for indicator in INTERACTION_INDICATORS:
        name = f"{label(own)}__{indicator}__x__{label(other)}__{indicator}"
        yield Feature(name, "1", f"{indicator} of {own} times that of {other}", domain_of(other), "composite")


def _regime_columns(column: str, domain: Domain) -> Iterable[Feature]:
    for state in STATES:
        what = f"{column} where volatility is {state.removeprefix('vol_')}, else 0"
        yield Feature(f"{column}__x__{state}", "of the column", what, domain, "composite")
