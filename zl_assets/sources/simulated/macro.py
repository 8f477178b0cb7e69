"""Simulated volatility index, macro and rates, currencies, yields.

The pack's habits are kept: Yahoo's currency crosses are labelled one weekday late, FRED's monthly and quarterly values
are stamped on the first of the month.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zl_assets.sources.simulated.market import generator
from zl_assets.sources.simulated.setting import MARK, Setting, memory, price_range

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Days = NDArray[np.datetime64]

_BULK_PAIRS: dict[str, tuple[float, float, dict[str, float]]] = {
    "USDMYR": (3.3, 0.0045, {"dollar": 0.5, "energy": -0.15}),
    "USDCNY": (6.7, 0.002, {"dollar": 0.4}),
    "USDARS": (15.0, 0.006, {"dollar": 0.1}),
}


def volatility_index(s: Setting) -> Floats:
    """A VIX-like close on every weekday, shape (weekdays,): mean-reverting, rising when the risk factor falls."""
    days = s.weekdays()
    shock = 0.072 * (-0.8 * s.factor("risk", days) + 0.6 * s.noise("vix", days.size))
    return np.clip(17.5 * np.exp(memory(shock, 0.97)), 9.0, 90.0)


def vix(s: Setting) -> pl.DataFrame:
    """Columns of vix.parquet."""
    import polars as pl

    close = volatility_index(s)
    opening, high, low = price_range(s, "vix", close, 0.04)
    table = {
        "date": s.weekdays(),
        "open": opening,
        "high": high,
        "low": low,
        "close": close,
        "close_fred_vixcls": close,
    }
    return pl.DataFrame(table).with_columns(pl.col(pl.Float64).round(2))


def ten_year_yield(s: Setting, days: Days) -> Floats:
    """10-year yield in percent on each day, shape (days,), from the note future."""
    return 2.8 * (s.close("ZN", days) / s.paths["ZN"].model.level) ** -5.0


def policy_rate(s: Setting) -> Floats:
    """Upper target rate in percent on every calendar day, shape (days,): a quarter point or nothing every 45 days."""
    days = s.days()
    draws = generator(s.seed, "policy rate").random(days.size // 45 + 1)
    steps = np.where(draws < 0.15, -0.25, np.where(draws > 0.78, 0.25, 0.0))
    rate, rates = 0.5, np.empty(steps.size)
    for i, step in enumerate(steps):
        rate = min(max(rate + step, 0.25), 6.0)
        rates[i] = rate
    return rates[np.arange(days.size) // 45]


def fred(s: Setting) -> pl.DataFrame:
    """Columns of fred.parquet: one row a date and series_id."""
    import polars as pl

    weekdays, days = s.weekdays(), s.days()
    on_weekday = np.is_busday(days)
    months = np.arange(np.datetime64(s.start, "M") + 1, np.datetime64(s.end, "M") + 1)
    first_of_month = months.astype("datetime64[D]")
    n = months.size
    quarters = first_of_month[months.astype(np.int64) % 3 == 0]
    rate = policy_rate(s)
    at_month = (first_of_month - np.datetime64(s.start)).astype(np.int64)
    columns = [
        ("FEDFUNDS", "M", first_of_month, rate[at_month] - 0.12, 2),
        ("DFEDTARU", "D", days, rate, 2),
        ("DGS10", "D", weekdays, ten_year_yield(s, weekdays), 2),
        ("DTWEXBGS", "D", weekdays, s.walk("DTWEXBGS", 95.0, 0.0032, {"dollar": 0.85, "risk": -0.2})[on_weekday], 4),
        ("DEXBZUS", "D", weekdays, 1.0 / s.close("6L", weekdays), 4),
        ("DEXCHUS", "D", weekdays, s.walk("USDCNY", *_BULK_PAIRS["USDCNY"])[on_weekday], 4),
        ("DCOILWTICO", "D", weekdays, s.close("CL", weekdays) * (1 + 0.004 * s.noise("WTI spot", weekdays.size)), 2),
        ("CPIAUCSL", "M", first_of_month, 217.0 * np.exp(np.cumsum(0.002 + 0.002 * s.noise("CPI", n))), 3),
        ("UNRATE", "M", first_of_month, np.clip(6.0 + memory(0.18 * s.noise("UNRATE", n), 0.97), 3.0, 15.0), 1),
        ("GDP_YOY_PCT_DERIVED", "Q", quarters, 2.2 + 1.2 * s.noise("GDP", quarters.size), 2),
        ("VIXCLS", "D", weekdays, volatility_index(s), 2),
    ]
    return pl.concat(
        pl.DataFrame({"date": dates, "value": np.round(values, digits)}).select(
            "date",
            pl.lit(name).alias("series_id"),
            "value",
            pl.lit(every).alias("frequency"),
            pl.lit(f"{MARK}fred").alias("source_table"),
        )
        for name, every, dates, values, digits in columns
    ).sort("series_id", "date")


def fx(s: Setting) -> pl.DataFrame:
    """Columns of fx.parquet. Yahoo's crosses carry the weekday before, DXY and the bulk pairs their own day."""
    import polars as pl

    days = s.weekdays()
    on_weekday = np.is_busday(s.days())
    rates = {pair: s.walk(pair, *p)[on_weekday] for pair, p in _BULK_PAIRS.items()} | {
        "USDBRL": 1.0 / s.close("6L", days)
    }
    rows = [(pair, "bulk_csv", rate) for pair, rate in rates.items()]
    dollar_index = s.walk("DXY", 88.0, 0.0045, {"dollar": 0.95})[on_weekday]
    euro = s.close("6E", days)
    crosses = {p: rates[p] for p in ("USDBRL", "USDCNY", "USDARS")} | {
        "EURUSD": euro,
        "USDEUR": 1.0 / euro,
        "GBPUSD": s.walk("GBPUSD", 1.4, 0.0052, {"dollar": -0.6, "risk": 0.2})[on_weekday],
        "USDJPY": 1.0 / s.close("6J", days),
        "USDCAD": 1.0 / s.close("6C", days),
    }
    rows += [(pair, "yahoo", np.concatenate([rate[:1], rate[:-1]])) for pair, rate in crosses.items()]
    rows.append(("DXY", "yahoo", dollar_index))
    return pl.concat(
        pl.DataFrame({"date": days, "rate": np.round(rate, 6)}).select(
            "date", pl.lit(pair).alias("pair"), "rate", pl.lit(MARK + source).alias("source")
        )
        for pair, source, rate in rows
    ).sort("pair", "source", "date")


def treasury(s: Setting) -> pl.DataFrame:
    """Columns of treasury.parquet: yields in percent."""
    import polars as pl

    days = s.weekdays()
    ten = ten_year_yield(s, days)
    thirty = 3.4 * (s.close("ZB", days) / s.paths["ZB"].model.level) ** -2.2
    opening, high, low = price_range(s, "^TNX", ten, 0.015)
    nothing = [None] * days.size
    rows = [
        ("10Y", "fred_DGS10", nothing, nothing, nothing, np.round(ten, 2)),
        ("10Y", "yahoo_^TNX", *(np.round(v, 3) for v in (opening, high, low, ten))),
        ("30Y", "yahoo_^TYX", nothing, nothing, nothing, np.round(thirty, 3)),
    ]
    return pl.concat(
        pl.DataFrame(
            {"date": days, "open": o, "high": h, "low": lo, "close": c},
            schema_overrides=dict.fromkeys(("open", "high", "low"), pl.Float64),
        ).select(
            "date", pl.lit(tenor).alias("tenor"), pl.lit(MARK + source).alias("source"), "open", "high", "low", "close"
        )
        for tenor, source, o, h, lo, c in rows
    ).sort("tenor", "source", "date")


MACRO_SERIES: dict[str, Callable[[Setting], pl.DataFrame]] = {"vix": vix, "fred": fred, "fx": fx, "treasury": treasury}
"""File stem in series/ -> its table."""
