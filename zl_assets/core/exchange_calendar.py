"""Which days are trading sessions, when a session ends, and how sessions are numbered.

The calendars are pandas_market_calendars', with a short table of days on which they are wrong.
Times of day belong here too: the first hour of the evening session and the moment a session's close is known.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import date, datetime, time
from functools import cache
from typing import TYPE_CHECKING

from zl_assets.core.instruments import INSTRUMENTS, Market

if TYPE_CHECKING:
    import polars as pl

EXCHANGE_TIMEZONE = "America/Chicago"
EVENING_OPEN_HOUR = 17
"""Trades from 17:00 Chicago time on belong to the next trade date, on every Globex market, in every year."""

FIRST_DAY = date(1990, 1, 1)
LAST_DAY = date(2035, 12, 31)
"""Range of the session numbers. The first session on or after FIRST_DAY has number 0."""

_CALENDAR_OF_MARKET: dict[Market, str] = {
    "grains": "CBOT_Agriculture",
    "livestock": "CMEGlobex_Livestock",
    "energy": "CMEGlobex_Energy",
    "metals": "CMEGlobex_Metals",
    "fx": "CMEGlobex_FX",
    "rates": "CME_Rate",
    "equity": "CME_Equity",
    "palm_oil": "CMEGlobex_Energy",
}

# The library closes the grain markets on two national days of mourning on which ZL traded a full session.
_WRONGLY_CLOSED: dict[Market, tuple[date, ...]] = {"grains": (date(2018, 12, 5), date(2025, 1, 9))}

KNOWN_OUTAGES: dict[Market, dict[date, str]] = {
    "grains": {
        date(2014, 6, 11): "no CBOT data in the vendor's feed",
        date(2014, 10, 3): "no CBOT data in the vendor's feed",
        date(2020, 2, 28): "no CBOT data in the vendor's feed",
    }
}
"""Sessions that took place and are missing at the vendor. They keep their session number and have no row."""

SETTLEMENT = time(13, 20)
"""Chicago time at which a regular ZL session is over and its close known."""

DECISION_TIME = time(13, 30)
"""Chicago time of the decision on a session's day, unless a setting says otherwise: ten minutes after SETTLEMENT.

The close of the VIX (16:15 in New York), the positioning report (Friday 15:30) and the sessions of markets that trade
into the afternoon come later, so a decision sees those of the day before.
"""


@cache
def sessions_of(market: Market) -> tuple[date, ...]:
    """Trade dates of a market from FIRST_DAY to LAST_DAY, ascending."""
    import pandas_market_calendars as mcal  # pyright: ignore[reportMissingTypeStubs]

    calendar = mcal.get_calendar(_CALENDAR_OF_MARKET[market])
    days: list[datetime] = list(calendar.valid_days(FIRST_DAY.isoformat(), LAST_DAY.isoformat()))
    return tuple(sorted({d.date() for d in days} | set(_WRONGLY_CLOSED.get(market, ()))))


@cache
def session_frame(market: Market) -> pl.DataFrame:
    """Sessions of a market: ``trade_date`` (Date, ascending) and ``session_number`` (Int64, consecutive)."""
    import polars as pl

    days = pl.DataFrame({"trade_date": sessions_of(market)}, schema={"trade_date": pl.Date})
    return days.with_row_index("session_number").select("trade_date", pl.col("session_number").cast(pl.Int64))


@cache
def all_sessions() -> pl.DataFrame:
    """Sessions of every followed symbol: ``symbol``, ``trade_date``, ``session_number``."""
    import polars as pl

    return pl.concat(
        session_frame(i.market).select(pl.lit(symbol).alias("symbol"), "trade_date", "session_number")
        for symbol, i in INSTRUMENTS.items()
    )


def session_after(market: Market, day: date, sessions: int) -> date:
    """Trade date that lies a number of sessions after a given session.

    Raises:
        ValueError: the day is not a session of the market, or the answer lies beyond LAST_DAY.
    """
    days = sessions_of(market)
    position = bisect_left(days, day)
    if position >= len(days) or days[position] != day:
        raise ValueError(f"{day} is not a {market} session")
    if position + sessions >= len(days):
        raise ValueError(f"{sessions} sessions after {day} lie beyond the calendar's end {LAST_DAY}")
    return days[position + sessions]


def sessions_between(market: Market, earlier: date, later: date) -> int:
    """How many sessions of a market lie after one day, up to and including another; both may be any days.

    Raises:
        ValueError: a day outside FIRST_DAY to LAST_DAY, or the wrong way round.
    """
    if not FIRST_DAY <= earlier <= later <= LAST_DAY:
        raise ValueError(f"{earlier} to {later} is not a stretch of the calendar from {FIRST_DAY} to {LAST_DAY}")
    days = sessions_of(market)
    return bisect_right(days, later) - bisect_right(days, earlier)


def chicago_trade_date(ts_event: pl.Expr) -> pl.Expr:
    """Calendar day (Date) a bar's trades count for, before holidays: evening hours belong to the next day.

    Args:
        ts_event: start of an hourly bar, UTC.
    """
    import polars as pl

    local = ts_event.dt.convert_time_zone(EXCHANGE_TIMEZONE)
    evening = (local.dt.hour() >= EVENING_OPEN_HOUR).cast(pl.Int32)
    return local.dt.date().dt.offset_by(pl.format("{}d", evening))


def known_at(trade_date: pl.Expr, market: pl.Expr) -> pl.Expr:
    """UTC moment at which the close of a session is public: SETTLEMENT for grains, the 16:00 stop for the rest.

    From 2012-05-20 to 2013-04-06 the grain session ran to 14:00.
    """
    import polars as pl

    long_day = trade_date.is_between(date(2012, 5, 20), date(2013, 4, 6))
    grains = pl.when(long_day).then(pl.time(14, 0)).otherwise(pl.lit(SETTLEMENT))
    local = trade_date.dt.combine(pl.when(market == "grains").then(grains).otherwise(pl.time(16, 0)))
    return local.dt.replace_time_zone(EXCHANGE_TIMEZONE).dt.convert_time_zone("UTC")
