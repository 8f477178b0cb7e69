"""Simulated prices of other vendors: palm oil, canola, Yahoo's futures, index and funds.

The pack's habits are kept: palm oil is a settlement without a range that follows ZL by a day, Yahoo's CL and GC have a
close only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zl_assets.sources.simulated.market import generator
from zl_assets.sources.simulated.setting import MARK, Setting, price_range

if TYPE_CHECKING:
    import polars as pl

_YAHOO_FUTURES = {"GC=F": "GC", "ZS=F": "ZS", "CL=F": "CL", "ZM=F": "ZM", "ZC=F": "ZC", "ZW=F": "ZW", "NG=F": "NG"}
_YAHOO_FUTURES |= {"HO=F": "HO", "RB=F": "RB", "SI=F": "SI", "HG=F": "HG"}
_WITHOUT_RANGE = ("GC=F", "CL=F")
_YAHOO_WALKS: dict[str, tuple[float, float, dict[str, float], float]] = {
    "^GSPC": (2210.0, 0.0105, {"risk": 0.97}, 3.6e9),
    "SB=F": (18.0, 0.017, {"agriculture": 0.3, "energy": 0.1}, 44e3),
    "DBA": (24.0, 0.008, {"agriculture": 0.7}, 640e3),
    "VEGI": (30.0, 0.011, {"risk": 0.7, "agriculture": 0.3}, 6.5e3),
    "TAN": (45.0, 0.022, {"risk": 0.6, "energy": 0.1}, 187e3),
    "ICLN": (16.0, 0.016, {"risk": 0.6}, 57e3),
}


def palm_oil(s: Setting) -> pl.DataFrame:
    """Columns of palm_oil.parquet: USD/t settlements that follow ZL's sessions of the day and of the day before."""
    import polars as pl

    path = s.paths["ZL"]
    move = path.close / path.previous_close - 1.0
    before = np.concatenate([[0.0], move[:-1]])
    own = 0.012 * np.clip(s.noise("palm oil", move.size), -5.0, 5.0)
    close = 850.0 * np.cumprod(1.0 + np.clip(0.23 * move + 0.27 * before + own, -0.12, 0.12))
    settle = np.round(np.round(close / 0.25) * 0.25, 2)
    prices = dict.fromkeys(("open", "high", "low", "close"), settle)
    table = pl.DataFrame({"date": path.sessions, **prices, "volume": np.zeros(move.size, dtype=np.int64)})
    ordered = table.select("date", pl.lit("CPO=F").alias("symbol"), *prices, "volume", pl.lit("USD/t").alias("unit"))
    return ordered.filter(pl.col("date") <= s.end)


def canola(s: Setting) -> pl.DataFrame:
    """Columns of canola.parquet: CAD/t, half of the rows with one price."""
    import polars as pl

    days = s.weekdays()
    close = s.walk("canola", 560.0, 0.013, {"soy": 0.5, "agriculture": 0.3, "energy": 0.1})[np.is_busday(s.days())]
    opening, high, low = price_range(s, "canola", close, 0.012)
    flat = generator(s.seed, "canola flat").random(days.size) < 0.5
    prices = {k: np.where(flat, close, v) for k, v in (("open", opening), ("high", high), ("low", low))}
    volume = np.floor(30e3 * np.exp(0.3 * s.noise("canola volume", days.size)))
    unit = pl.lit("CAD/t (simulated)").alias("unit")
    return pl.DataFrame({"date": days, **prices, "close": close}).select(
        "date", pl.col(pl.Float64).round(1), pl.Series("volume", volume), unit
    )


def _vendor_closes(s: Setting, symbol: str, own: str) -> pl.DataFrame:
    """Daily prices of a future as Yahoo shows them: the close a settlement near the last trade."""
    import polars as pl

    path = s.paths[own]
    kept = path.sessions <= np.datetime64(s.end)
    settle = path.close[kept] * (1.0 + 0.0007 * s.noise(f"settlement {symbol}", path.close.size)[kept])
    opening, high, low = price_range(s, symbol, settle, path.model.daily_sd)
    volume = path.model.volume * np.exp(0.4 * s.noise(f"yahoo volume {symbol}", settle.size))
    table = {"date": path.sessions[kept], "open": opening, "high": high, "low": low, "close": settle}
    return pl.DataFrame(table).select(
        "date",
        pl.lit(symbol).alias("symbol"),
        pl.col(pl.Float64).round(6),
        pl.Series("volume", volume.astype(np.int64)),
    )


def zl_yahoo(s: Setting) -> pl.DataFrame:
    """Columns of zl_yahoo.parquet."""
    return _vendor_closes(s, "ZL=F", "ZL")


def yahoo_prices(s: Setting) -> pl.DataFrame:
    """Columns of yahoo_prices.parquet: futures from the simulated market, index and funds from the common factors."""
    import polars as pl

    source = pl.lit(f"{MARK}yahoo").alias("src")
    frames = []
    for symbol, own in _YAHOO_FUTURES.items():
        frame = _vendor_closes(s, symbol, own)
        if symbol in _WITHOUT_RANGE:
            frame = frame.with_columns(pl.lit(None, pl.Float64).alias(c) for c in ("open", "high", "low"))
        frames.append(frame.with_columns(source))
    days = s.weekdays()
    for symbol, (level, sd, loadings, traded) in _YAHOO_WALKS.items():
        close = s.walk(symbol, level, sd, loadings)[np.is_busday(s.days())]
        opening, high, low = price_range(s, symbol, close, sd)
        volume = (traded * np.exp(0.4 * s.noise(f"yahoo volume {symbol}", days.size))).astype(np.int64)
        table = pl.DataFrame({"date": days, "open": opening, "high": high, "low": low, "close": close})
        rounded = pl.col(pl.Float64).round(6)
        frames.append(
            table.select("date", pl.lit(symbol).alias("symbol"), rounded, pl.Series("volume", volume), source)
        )
    return pl.concat(frames).sort("symbol", "date")


VENDOR_SERIES: dict[str, Callable[[Setting], pl.DataFrame]] = {
    "palm_oil": palm_oil,
    "canola": canola,
    "zl_yahoo": zl_yahoo,
    "yahoo_prices": yahoo_prices,
}
"""File stem in series/ -> its table."""
