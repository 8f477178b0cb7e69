"""What the simulated series are drawn from: the market's paths, the common shocks, and one noise generator a quantity.

Belongs here: helpers of `macro`, `vendor_prices` and `fundamentals`.

Each value on a date uses shocks and closes up to that date only, and noise of its own generator: in the martingale
world no series carries information on a later ZL return. A source is written `simulated:` and the pack's name for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from zl_assets.sources.simulated.market import SymbolPath, factor_shocks, generator
from zl_assets.sources.simulated.parameters import FACTORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Days = NDArray[np.datetime64]

MARK = "simulated:"
"""Prefix of every source name."""


@dataclass(frozen=True)
class Setting:
    """What every series is drawn from.

    Attributes:
        paths: session paths by symbol.
        seed: of the market.
        start: first calendar day.
        end: last calendar day; no series has a row after it.
        factors: common shocks, shape (calendar days from start, factors).
    """

    paths: dict[str, SymbolPath]
    seed: int
    start: date
    end: date
    factors: Floats

    @classmethod
    def of(cls, paths: dict[str, SymbolPath], seed: int, start: date, end: date) -> Setting:
        """Setting of a market."""
        return cls(paths, seed, start, end, factor_shocks(seed, start, end))

    def days(self) -> Days:
        """Every calendar day, datetime64[D]."""
        return np.arange(np.datetime64(self.start), np.datetime64(self.end) + 1)

    def weekdays(self) -> Days:
        """Every Monday to Friday, datetime64[D]."""
        days = self.days()
        return days[np.is_busday(days)]

    def noise(self, name: str, size: int) -> Floats:
        """Standard normals of a quantity, shape (size,)."""
        return generator(self.seed, name).standard_normal(size)

    def walk(self, name: str, level: float, sd: float, loadings: dict[str, float]) -> Floats:
        """A price on every calendar day that moves on weekdays, shape (days,)."""
        days = self.days()
        weights = np.array([loadings.get(f, 0.0) for f in FACTORS])
        own = np.sqrt(1.0 - (weights**2).sum()) * self.noise(name, days.size)
        shock = np.clip((self.factors[: days.size] * weights).sum(axis=1) + own, -5.0, 5.0)
        return level * np.cumprod(1.0 + sd * shock * np.is_busday(days))

    def close(self, symbol: str, days: Days) -> Floats:
        """Latest session close of a symbol on each day, shape (days,); before the first session its start level."""
        path = self.paths[symbol]
        known = np.concatenate([path.previous_close[:1], path.close])
        return known[np.searchsorted(path.sessions, days, side="right")]

    def factor(self, name: str, days: Days) -> Floats:
        """A common shock on each day, shape (days,)."""
        return self.factors[(days - np.datetime64(self.start)).astype(np.int64), FACTORS.index(name)]


def price_range(s: Setting, name: str, close: Floats, sd: float) -> tuple[Floats, Floats, Floats]:
    """Open, high, low that fit closes, shape (rows,) each."""
    draws = np.abs(generator(s.seed, f"range {name}").standard_normal((close.size, 3))) * sd
    before = np.concatenate([close[:1], close[:-1]])
    opening = before * (1.0 + 0.2 * (draws[:, 2] - 0.8 * sd))
    return (
        opening,
        np.maximum(opening, close) * (1 + 0.5 * draws[:, 0]),
        np.minimum(opening, close) * (1 - 0.5 * draws[:, 1]),
    )


def memory(shocks: Floats, share: float) -> Floats:
    """First-order autoregression of shocks from zero, shape (n,): each value keeps `share` of the one before."""
    values, value = np.empty(shocks.size), 0.0
    for t, shock in enumerate(shocks):
        value = share * value + shock
        values[t] = value
    return values
