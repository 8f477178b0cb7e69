"""From vendor bars to trading sessions: trade dates, bad prints, contract months, rolls, suspect sessions.

Every rule looks backwards only: a session is the same whether or not later bars are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from zl_assets.core.bars import DAILY, HOURLY
from zl_assets.core.exchange_calendar import all_sessions, chicago_trade_date, known_at
from zl_assets.core.instruments import INSTRUMENTS

THIN_SHARE = 0.08
"""A session with less than this share of the usual volume is not the traded month. On ZL since 2010 the thinnest sound
session has 11.6 % and the busiest wrong-month one 5.8 %."""

BAD_PRINT_RANGES = 6.0
"""A wick longer than this many usual session ranges is no trade of the market. The longest sound wick of a ZL session
is 2.6 usual ranges, the bad print of 2014-08-31 has 13."""

USUAL_SESSIONS = 21
_MIN_SESSIONS = 10

_ORDER = ("symbol", "trade_date", "ts_event")


@dataclass(frozen=True)
class SessionBuild:
    """Sessions and what was set aside on the way.

    Attributes:
        sessions: rows of market_data.futures_sessions_1d without ingest_timestamp, sorted by symbol and trade date.
        bad_prints: bars left out of their session, in the columns of the pieces, with `reason`.
        other_month_bars: bars of another contract month than their session's, left out, per symbol.
    """

    sessions: pl.DataFrame
    bad_prints: pl.DataFrame
    other_month_bars: dict[str, int]


def build_sessions(hourly: pl.DataFrame, daily: pl.DataFrame) -> SessionBuild:
    """Fold vendor bars into trading sessions.

    Args:
        hourly: accepted hourly bars (core.bars), any symbols; may be empty.
        daily: one bar per (symbol, UTC day) with `built_from`. Those aggregated from hours (1h) are left out: the
            hours themselves are there, and a UTC day that holds an evening alone is no session.

    Returns:
        One row per (symbol, trade date) for which a bar of the session's own day exists. Where hourly bars exist the
        trade date is exact; elsewhere bars of days without a session (Sunday, holiday evening) are folded into the
        next session. A session for which only an evening has traded so far is not a session yet.
    """
    pieces = _pieces(hourly, daily)
    pieces = _mark_bad_prints(pieces)
    bad = pieces.filter(pl.col("is_bad_print") & pl.col("has_sound_own"))
    pieces = pieces.filter(~(pl.col("is_bad_print") & pl.col("has_sound_own")))
    month = _contract_month(pieces)
    kept = pieces.join(month, on=["symbol", "trade_date", "instrument_id"], how="semi")
    other = pieces.join(month, on=["symbol", "trade_date", "instrument_id"], how="anti")
    counts = dict(other.group_by("symbol").len().sort("symbol").iter_rows())
    sessions = _mark_rolls(_mark_suspects(_aggregate(kept)))
    return SessionBuild(sessions, bad.with_columns(reason=pl.lit("bad_print")), counts)


def _pieces(hourly: pl.DataFrame, daily: pl.DataFrame) -> pl.DataFrame:
    """Bars with the trade date they count for: hourly where those hold the whole of a session's own day, else daily.

    Hours may be delivered for a part of a day. They are whole if they add up to the volume of the delivered daily bar;
    where no daily bar came, nothing can tell.
    """
    hours = _dated(hourly.filter(pl.col("rtype") == HOURLY), chicago_trade_date(pl.col("ts_event")))
    local = pl.col("ts_event").dt.convert_time_zone("America/Chicago").dt.date()
    hours = hours.with_columns(is_own=local == pl.col("trade_date"))
    delivered = daily.filter((pl.col("rtype") == DAILY) & (pl.col("built_from") == "1d"))
    days = _dated(delivered, pl.col("ts_event").dt.date())
    days = days.with_columns(is_own=pl.col("ts_event").dt.date() == pl.col("trade_date"))
    by_day = hours.group_by("symbol", pl.col("ts_event").dt.date().alias("trade_date"))
    in_part = (
        by_day.agg(traded=pl.col("volume").sum())
        .join(days.filter("is_own").select("symbol", "trade_date", "volume"), on=["symbol", "trade_date"])
        .filter(pl.col("traded") < pl.col("volume"))
    )
    exact = hours.filter("is_own").select("symbol", "trade_date").unique()
    exact = exact.join(in_part, on=["symbol", "trade_date"], how="anti")
    hours = hours.join(exact, on=["symbol", "trade_date"], how="semi")
    days = days.join(exact, on=["symbol", "trade_date"], how="anti")
    own_days = days.filter("is_own").select("symbol", "trade_date").unique()
    days = days.join(own_days, on=["symbol", "trade_date"], how="semi")
    return pl.concat([hours, days.select(hours.columns)]).sort(_ORDER)


def _dated(bars: pl.DataFrame, day: pl.Expr) -> pl.DataFrame:
    """Bars with `trade_date` and `session_number`: the first session of the symbol's calendar on or after the day."""
    calendar = all_sessions().sort("symbol", "trade_date").with_columns(pl.col("trade_date").alias("day"))
    return (
        bars.with_columns(day=day)
        .sort("symbol", "day", "ts_event")
        .join_asof(calendar, on="day", by="symbol", strategy="forward", check_sortedness=False)
        .drop("day")
    )


def _mark_bad_prints(pieces: pl.DataFrame) -> pl.DataFrame:
    """Add `is_bad_print` (a wick of many usual session ranges) and `has_sound_own` (the session stands without it)."""
    key = ["symbol", "trade_date"]
    ranges = (
        pieces.group_by(key, maintain_order=True)
        .agg(range=pl.col("high").max() - pl.col("low").min())
        .with_columns(usual=_usual("range"))
        .select(*key, "usual")
    )
    wick = pl.max_horizontal(
        pl.col("high") - pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close") - pl.col("low")
    )
    marked = pieces.join(ranges, on=key, how="left", maintain_order="left").with_columns(
        is_bad_print=(wick > BAD_PRINT_RANGES * pl.col("usual")).fill_null(False)
    )
    sound_own = (pl.col("is_own") & ~pl.col("is_bad_print")).any().over(key)
    return marked.with_columns(has_sound_own=sound_own).drop("usual")


def _usual(column: str) -> pl.Expr:
    """Median of a column over the sessions before, per symbol; null for the first sessions."""
    past = pl.col(column).rolling_median(USUAL_SESSIONS, min_samples=_MIN_SESSIONS).shift(1)
    return past.over("symbol")


def _contract_month(pieces: pl.DataFrame) -> pl.DataFrame:
    """The one contract month of each session: the busiest of its own day. A session never mixes two months' prices."""
    return (
        pieces.filter("is_own")
        .group_by("symbol", "trade_date", "instrument_id")
        .agg(pl.col("volume").sum())
        .sort("symbol", "trade_date", "volume", "instrument_id", descending=[False, False, True, False])
        .unique(["symbol", "trade_date"], keep="first", maintain_order=True)
        .drop("volume")
    )


def _aggregate(pieces: pl.DataFrame) -> pl.DataFrame:
    """One row per (symbol, trade date) with the bar of the session, vwap and realised volatility."""
    typical = (pl.col("high") + pl.col("low") + pl.col("close")) / 3
    # The first hour's return runs from the session's open: the move overnight is not part of the session.
    previous = pl.col("close").shift(1).fill_null(pl.col("open").first())
    hourly = pl.col("rtype").first() == HOURLY
    market = pl.col("symbol").replace_strict({s: i.market for s, i in INSTRUMENTS.items()}, return_dtype=pl.String)
    day_end = pl.col("trade_date").cast(pl.Datetime("us", "UTC")) + pl.duration(days=1)
    return (
        pieces.sort(_ORDER)
        .group_by("symbol", "trade_date", "session_number", maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            vwap=pl.when(hourly).then((typical * pl.col("volume")).sum() / pl.col("volume").sum()),
            realized_vol_1h=pl.when(hourly).then((pl.col("close") / previous).log().pow(2).sum().sqrt()),
            instrument_id=pl.col("instrument_id").last(),
            is_bad_print=pl.col("is_bad_print").any(),
            built_from=pl.when(hourly).then(pl.lit("1h")).otherwise(pl.lit("1d")),
            source=pl.col("source").last(),
            provenance_uuid=pl.col("provenance_uuid").last(),
        )
        .with_columns(
            available_at=pl.when(pl.col("built_from") == "1h")
            .then(known_at(pl.col("trade_date"), market))
            .otherwise(day_end)
        )
    )


def _mark_suspects(sessions: pl.DataFrame) -> pl.DataFrame:
    """Add `is_suspect` and `suspect_reason`: thin wrong-month sessions, and bad prints that could not be cut out."""
    thin = (pl.col("volume") < THIN_SHARE * _usual("volume")).fill_null(False)
    reason = (
        pl.when(thin)
        .then(pl.lit("thin_wrong_month"))
        .when(pl.col("is_bad_print"))
        .then(pl.lit("bad_print"))
        .otherwise(None)
    )
    marked = sessions.sort("symbol", "trade_date").with_columns(suspect_reason=reason).drop("is_bad_print")
    return marked.with_columns(is_suspect=pl.col("suspect_reason").is_not_null())


def _mark_rolls(sessions: pl.DataFrame) -> pl.DataFrame:
    """Add `is_roll`, `roll_ratio` and `close_roll_adjusted`.

    The ratio is open over the previous sound close. The vendor's front series never shows two months at one moment, so
    the move overnight is in it. Adjustment runs forwards: a later roll never changes an earlier level.
    """
    rolled = (pl.col("instrument_id") != pl.col("instrument_id").shift(1)).over("symbol").fill_null(False)
    ratio = (pl.col("open") / pl.col("close").shift(1)).over("symbol")
    sound = sessions.filter(~pl.col("is_suspect")).with_columns(is_roll=rolled)
    sound = sound.with_columns(roll_ratio=pl.when("is_roll").then(ratio))
    sound = sound.with_columns(factor=pl.col("roll_ratio").fill_null(1.0).cum_prod().over("symbol"))
    marks = sound.select("symbol", "trade_date", "is_roll", "roll_ratio", "factor")
    return (
        sessions.join(marks, on=["symbol", "trade_date"], how="left", maintain_order="left")
        .with_columns(
            pl.col("is_roll").fill_null(False),
            factor=pl.col("factor").forward_fill().over("symbol").fill_null(1.0),
        )
        .with_columns(close_roll_adjusted=pl.col("close") / pl.col("factor"))
        .drop("factor")
    )


def missing_sessions(sessions: pl.DataFrame) -> pl.DataFrame:
    """Exchange sessions between a symbol's first and last one that have no row: symbol, trade_date, session_number."""
    spans = sessions.group_by("symbol").agg(first=pl.col("session_number").min(), last=pl.col("session_number").max())
    expected = (
        all_sessions()
        .join(spans, on="symbol")
        .filter(pl.col("session_number").is_between(pl.col("first"), pl.col("last")))
    )
    return (
        expected.join(sessions, on=["symbol", "session_number"], how="anti")
        .select("symbol", "trade_date", "session_number")
        .sort("symbol", "trade_date")
    )


def known_by(sessions: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """The sessions whose close was public at a moment (UTC)."""
    return sessions.filter(pl.col("available_at") <= now)
