"""Made sessions of many markets on the exchanges' own calendars: holes, suspect sessions, rolls and all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time, timedelta

import numpy as np
import polars as pl

from zl_assets.core.exchange_calendar import known_at, session_frame
from zl_assets.core.features.family import Inputs
from zl_assets.core.instruments import INSTRUMENTS
from zl_assets.core.point_in_time import decision_times

DECISION = time(13, 30)
WITH_HOURS = ("ZL", "ZS", "ZM", "CL", "HO", "ES")
"""Markets whose sessions end with their last hour; the others' bars are known when the UTC day is over."""

START = {"ZL": 33.0, "ZS": 950.0, "ZM": 300.0, "CL": 75.0, "HO": 2.2, "RB": 2.1}


def made_sessions(symbols: Sequence[str], first: date, last: date, seed: int = 1) -> pl.DataFrame:
    """Sessions of symbols from one day to another, in the columns of market_data.futures_sessions_1d."""
    return pl.concat(_market(s, first, last, seed) for s in sorted(symbols))


def made_inputs(symbols: Sequence[str], first: date, last: date, seed: int = 1, own: str = "ZL") -> Inputs:
    """The same with the decisions of one instrument."""
    return inputs_of(made_sessions(symbols, first, last, seed), own)


def inputs_of(sessions: pl.DataFrame, own: str = "ZL") -> Inputs:
    """Inputs with a decision for each session of an instrument, suspect ones too."""
    return Inputs(decision_times(sessions.filter(pl.col("symbol") == own), DECISION), sessions)


def truncated(inputs: Inputs, row: int, by: str) -> Inputs:
    """What was there at a decision: sessions up to its day (trade_date), or those that were public (available_at)."""
    decisions = inputs.decisions.head(row + 1)
    limits = {"trade_date": decisions["data_date"][-1], "available_at": decisions["decision_time"][-1]}
    return Inputs(decisions, inputs.sessions.filter(pl.col(by) <= limits[by]))


def _market(symbol: str, first: date, last: date, seed: int) -> pl.DataFrame:
    generator = np.random.default_rng([seed, *symbol.encode()])
    days = session_frame(INSTRUMENTS[symbol].market).filter(pl.col("trade_date").is_between(first, last))
    days = days.filter(pl.Series(generator.random(days.height) > 0.005))
    count = days.height
    common = np.random.default_rng(seed).normal(0, 0.008, 40_000)[days["session_number"].to_numpy()]
    volatility = 0.008 * np.exp(0.4 * np.sin(np.arange(count) / 40))
    change = common * (-0.5 if symbol == "6L" else 1.0) + volatility * generator.standard_t(5, count)
    adjusted = START.get(symbol, 100.0) * np.exp(np.cumsum(change))
    opening = adjusted * np.exp(generator.normal(0, 0.004, count))
    high = np.maximum(adjusted, opening) * np.exp(np.abs(generator.normal(0, 0.004, count)))
    low = np.minimum(adjusted, opening) * np.exp(-np.abs(generator.normal(0, 0.004, count)))
    is_roll = (np.arange(count) % 41 == 40) & (generator.random(count) < 0.9)
    factor = np.exp(np.cumsum(np.where(is_roll, generator.normal(0, 0.01, count), 0)))
    suspect = (generator.random(count) < 0.01) & ~is_roll
    # A wrong month's bar: prices a fifth off, hardly any volume.
    off = np.where(suspect, 1.2, 1.0)
    hours = symbol in WITH_HOURS
    frame = days.with_columns(
        symbol=pl.lit(symbol),
        open=pl.Series(opening * factor * off),
        high=pl.Series(high * factor * off),
        low=pl.Series(low * factor * off),
        close=pl.Series(adjusted * factor * off),
        volume=pl.Series(np.where(suspect, 50, np.exp(generator.normal(10, 0.4, count)))).cast(pl.Int64),
        vwap=pl.Series((high + low + adjusted) / 3 * factor * off) if hours else pl.lit(None, pl.Float64),
        realized_vol_1h=pl.Series(np.exp(generator.normal(-4.5, 0.3, count))) if hours else pl.lit(None, pl.Float64),
        is_roll=pl.Series(is_roll),
        close_roll_adjusted=pl.Series(adjusted * off),
        is_suspect=pl.Series(suspect),
    )
    day_end = pl.col("trade_date").cast(pl.Datetime("us", "UTC")) + timedelta(days=1)
    at = known_at(pl.col("trade_date"), pl.lit(INSTRUMENTS[symbol].market)) if hours else day_end
    return frame.with_columns(available_at=at.dt.cast_time_unit("us")).select("symbol", pl.exclude("symbol"))
