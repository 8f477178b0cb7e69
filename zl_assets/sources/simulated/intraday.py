"""From session paths to vendor bars: trading hours by era, paths within a session, UTC-day bars, vendor faults.

Belongs here: everything a bar needs beyond the session's close.

A session has 24 slots of one hour in Chicago time, from 17:00 the evening before (slot 0) to 16:00 on the trade date
(slot 23); trading hours decide which of them exist. As at the vendor, the contract in front changes at 00:00 UTC, so
an evening before that hour still trades the old contract, and no UTC day mixes two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from zl_assets.core.bars import DAILY, HOURLY, SIMULATED_PUBLISHER
from zl_assets.core.exchange_calendar import EXCHANGE_TIMEZONE
from zl_assets.core.instruments import INSTRUMENTS, ROLL_RULE, Market
from zl_assets.sources.simulated.market import SymbolPath, generator
from zl_assets.sources.simulated.parameters import BAD_PRINT_DAY, SymbolModel

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_SLOTS = 24
_EVENING_SLOTS = 7
_HOUR_OF_SLOT = (17 + np.arange(_SLOTS)) % 24

_SECOND_HOURS = np.datetime64("2012-05-21")
_PRESENT_HOURS = np.datetime64("2013-04-08")
"""First trade dates of the grain markets' 17:00 and 19:00 opens; before them the evening began at 18:00."""
_SHORTER_DAY = np.datetime64("2015-09-21")
"""First trade date on which the round-the-clock markets close at 16:00 instead of 16:15."""

_BAD_PRINT = 1.205
_CONTRACT_IDS_PER_SYMBOL = 2000
_THIN_ID = 1000
_THIN_SHARE_OF_HOURS = 0.3
_THIN_LARGEST_VOLUME = 40


def _weights(evening: float, night: float, morning: float, day: list[float]) -> Floats:
    """Relative volume of the 24 slots: seven evening hours, 00:00-05:59, 06:00-07:59, then 08:00-16:59 hour by hour."""
    return np.array([evening] * _EVENING_SLOTS + [night] * 6 + [morning] * 2 + day)


_VOLUME_WEIGHTS: dict[str, Floats] = {
    "grains": _weights(0.7, 0.75, 0.9, [7.0, 8.0, 6.0, 5.0, 4.5, 5.0, 0.0, 0.0, 0.0]),
    "livestock": _weights(0.0, 0.0, 0.0, [6.0, 6.0, 4.0, 4.0, 5.0, 0.5, 0.0, 0.0, 0.0]),
    "other": _weights(0.4, 0.9, 2.5, [8.0, 9.0, 7.5, 5.0, 5.0, 7.0, 6.0, 2.0, 0.1]),
}


@dataclass(frozen=True)
class Bars:
    """Bars of one symbol, ascending. All arrays have shape (bars,).

    Attributes:
        hours: start of the bar, hours since 1970-01-01 UTC.
        instrument_id: contract of the bar.
        prices: shape (bars, 4): open, high, low, close on the tick.
        volume: contracts, at least 1.
    """

    hours: NDArray[np.int64]
    instrument_id: NDArray[np.int64]
    prices: Floats
    volume: NDArray[np.int64]

    def from_day(self, first: date) -> Bars:
        """The bars from a UTC day on."""
        kept = self.hours >= int(np.datetime64(first).astype(np.int64)) * 24
        return Bars(self.hours[kept], self.instrument_id[kept], self.prices[kept], self.volume[kept])

    def frame(self, symbol: str, rtype: int) -> pl.DataFrame:
        """The bars in the vendor's CSV columns."""
        import polars as pl

        prices = dict(zip(("open", "high", "low", "close"), self.prices.T, strict=True))
        return pl.DataFrame(
            {"ts_event": self.hours * 3_600_000_000_000, "instrument_id": self.instrument_id, "volume": self.volume}
        ).select(
            pl.col("ts_event").cast(pl.Datetime("ns")),
            pl.lit(rtype).alias("rtype"),
            pl.lit(SIMULATED_PUBLISHER).alias("publisher_id"),
            "instrument_id",
            *(pl.Series(name, np.ascontiguousarray(column)) for name, column in prices.items()),
            "volume",
            pl.lit(f"{symbol}.{ROLL_RULE}.0").alias("symbol"),
        )


def hourly_bars(path: SymbolPath, model: SymbolModel, seed: int, first: date, last: date) -> Bars:
    """Hourly bars of a session path.

    Args:
        path: session closes; an evening hour belongs to the session after it.
        model: names the contracts and the volume; the path's own model except for a smaller contract on the same index.
        seed: of the market.
        first: first UTC day kept.
        last: last UTC day kept.
    """
    market = INSTRUMENTS[model.symbol].market
    draws = generator(seed, f"hours {path.model.symbol}").standard_normal((path.sessions.size, _SLOTS, 4))
    exists = _trading_hours(market, path.sessions)
    hours = _utc_hours(path.sessions)
    on_trade_date = hours // 24 == path.sessions.astype(np.int64)[:, None]
    if (path.offset != 0).any():
        exists &= _thin_hours(path, generator(seed, "thin hours").random(exists.shape))
    prices = _hourly_prices(path, _variance_weights(market, exists), draws, on_trade_date)
    volume = _hourly_volume(path, model, market, seed, draws[:, :, 3], exists)
    first_hour, end_hour = (int(np.datetime64(d).astype(np.int64)) * 24 for d in (first, last))
    kept = exists & (hours >= first_hour) & (hours < end_hour + 24)
    bars = Bars(
        hours=hours[kept],
        instrument_id=_instrument_ids(path, model, on_trade_date)[kept],
        prices=np.round(np.round(prices[kept] / model.tick) * model.tick, 9),
        volume=volume[kept],
    )
    return _with_bad_print(bars, model) if model.symbol == "ZL" else bars


def daily_bars(bars: Bars) -> Bars:
    """UTC-day bars of hourly ones: open = first, high = max, low = min, close = last, volume = sum."""
    days = bars.hours // 24
    starts = np.flatnonzero(np.diff(days, prepend=days[:1] - 1))
    ends = np.append(starts[1:], days.size) - 1
    columns = (
        bars.prices[starts, 0],
        np.maximum.reduceat(bars.prices[:, 1], starts),
        np.minimum.reduceat(bars.prices[:, 2], starts),
        bars.prices[ends, 3],
    )
    volume = np.add.reduceat(bars.volume, starts)
    return Bars(days[starts] * 24, bars.instrument_id[starts], np.stack(columns, axis=1), volume)


def vendor_frames(bars: Bars, symbol: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Hourly and UTC-day bars in the vendor's columns."""
    return bars.frame(symbol, HOURLY), daily_bars(bars).frame(symbol, DAILY)


def _trading_hours(market: Market, sessions: NDArray[np.datetime64]) -> Flags:
    """Which slots are traded, shape (sessions, 24)."""
    exists = np.zeros((sessions.size, _SLOTS), dtype=bool)
    if market == "livestock":
        exists[:, 15:21] = True
        return exists
    if market != "grains":
        exists[:, :23] = True
        exists[:, 23] = sessions < _SHORTER_DAY
        return exists
    first = sessions < _SECOND_HOURS
    present = sessions >= _PRESENT_HOURS
    day_before = sessions - np.timedelta64(1, "D")
    after_holiday = ~np.isin(day_before, sessions) & np.is_busday(day_before)
    # With the 17:00 open the evening of a holiday began at 19:00, so that no bar of it falls on the holiday itself.
    second_hours_evening = np.where(first, 1, np.where(present | after_holiday, 2, 0))
    exists[:, :21] = np.arange(21)[None, :] >= second_hours_evening[:, None]
    exists[:, 15] &= ~first
    return exists


def _utc_hours(sessions: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Start of every slot in hours since 1970-01-01 UTC, shape (sessions, 24)."""
    import polars as pl

    local_dates = np.stack([sessions - np.timedelta64(1, "D"), sessions])
    noon = (
        pl.Series(local_dates.ravel())
        .cast(pl.Datetime("us"))
        .dt.offset_by("12h")
        .dt.replace_time_zone(EXCHANGE_TIMEZONE)
    )
    # Clocks change on Sundays at 02:00, when nothing trades: noon's offset holds for every traded hour of the date.
    utc_noon = noon.dt.convert_time_zone("UTC").dt.timestamp("ms").to_numpy() // 3_600_000
    midnight = (utc_noon - 12).reshape(local_dates.shape)
    evening = midnight[0][:, None] + _HOUR_OF_SLOT[:_EVENING_SLOTS]
    day = midnight[1][:, None] + _HOUR_OF_SLOT[_EVENING_SLOTS:]
    return np.concatenate([evening, day], axis=1)


def _profile(market: Market) -> Floats:
    return _VOLUME_WEIGHTS.get(market, _VOLUME_WEIGHTS["other"])


def _variance_weights(market: Market, exists: Flags) -> Floats:
    """Share of the session's variance in each slot, shape (sessions, 24), rows add up to 1."""
    weights = np.sqrt(_profile(market)) * exists
    return weights / weights.sum(axis=1, keepdims=True)


def _hourly_prices(path: SymbolPath, share: Floats, draws: Floats, on_trade_date: Flags) -> Floats:
    """Open, high, low, close of every slot, shape (sessions, 24, 4): a bridge from close to close."""
    spread = path.sigma[:, None] * np.sqrt(share)
    noise = spread * draws[:, :, 0]
    step = share * path.log_return[:, None] + noise - share * noise.sum(axis=1, keepdims=True)
    end = np.cumsum(step, axis=1)
    begin = end - step
    # A session opens away from the close before; later hours open close to the last trade.
    opening = np.cumsum(share > 0, axis=1) == 1
    begin = begin + np.where(opening, 0.5, 0.05) * step
    reach = 0.45 * np.abs(draws[:, :, 1:3]) * spread[:, :, None]
    high = np.maximum(begin, end) + reach[:, :, 0]
    low = np.minimum(begin, end) - reach[:, :, 1]
    front = np.where(on_trade_date, ((1.0 + path.gap) * (1.0 + path.offset))[:, None], 1.0)
    log_prices = np.stack([begin, high, low, end], axis=2)
    return np.exp(log_prices) * (path.previous_close[:, None] * front)[:, :, None]


def _hourly_volume(
    path: SymbolPath, model: SymbolModel, market: Market, seed: int, noise: Floats, exists: Flags
) -> NDArray[np.int64]:
    """Contracts traded in every slot, shape (sessions, 24), at least 1: heavier in sessions with a large shock."""
    rng = generator(seed, f"volume {model.symbol}")
    session = model.volume * np.exp(0.3 * rng.standard_normal(path.sessions.size)) * (0.65 + 0.4 * np.abs(path.shock))
    weights = _profile(market) * np.exp(0.3 * noise - 0.045) * exists
    share = weights / _profile(market).sum()
    volume = np.maximum(session[:, None] * share, 1.0)
    thin = (path.offset != 0)[:, None]
    few = 1.0 + np.floor(_THIN_LARGEST_VOLUME * np.minimum(np.abs(noise), 1.0))
    return np.where(thin, few, volume).astype(np.int64)


def _thin_hours(path: SymbolPath, uniform: Floats) -> Flags:
    """Slots in which a wrong-month session traded at all, shape (sessions, 24); every slot of a regular session."""
    traded = uniform < _THIN_SHARE_OF_HOURS
    traded[:, 20] = True
    return traded | (path.offset == 0)[:, None]


def _instrument_ids(path: SymbolPath, model: SymbolModel, on_trade_date: Flags) -> NDArray[np.int64]:
    """Contract of every slot, shape (sessions, 24): an hour on an earlier UTC day shows the one before."""
    base = (1 + list(INSTRUMENTS).index(model.symbol)) * _CONTRACT_IDS_PER_SYMBOL
    years = path.sessions.astype("datetime64[Y]").astype(np.int64) + 1970
    own = base + np.where(path.offset != 0, _THIN_ID + years % 100, path.contract)
    before = np.concatenate([own[:1], own[:-1]])
    return np.where(on_trade_date, own[:, None], before[:, None])


def _with_bad_print(bars: Bars, model: SymbolModel) -> Bars:
    """The bars with one false high in the first hour of BAD_PRINT_DAY, if that day is among them."""
    hit = np.flatnonzero(bars.hours // 24 == int(np.datetime64(BAD_PRINT_DAY).astype(np.int64)))
    if hit.size:
        first = int(hit[0])
        bars.prices[first, 1] = round(round(bars.prices[first, 0] * _BAD_PRINT / model.tick) * model.tick, 9)
    return bars
