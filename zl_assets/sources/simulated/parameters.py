"""What the simulated market is made of: one row of numbers a symbol, the common factors, the planted rule.

Belongs here: constants only. How they become prices is in `market`, how prices become bars in `intraday`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Final, Literal, get_args

World = Literal["martingale", "planted"]
WORLDS: Final[tuple[str, ...]] = get_args(World)

FACTORS: Final = ("agriculture", "soy", "energy", "risk", "dollar", "rates", "metals", "livestock")
"""Common shocks, one standard normal a calendar day each."""

MEMORY: Final = 21
"""Sessions the planted rule looks back."""

KAPPA: Final = 1.5
"""Strength of the planted rule: expected next-session return of ZL = -KAPPA * return_21d / MEMORY."""

HOURLY_SYMBOLS: Final = ("ZL", "ZS", "ZM", "CL", "HO", "ES", "MES")
MES_FIRST_DAY: Final = date(2019, 5, 5)
BAD_PRINT_DAY: Final = date(2012, 8, 26)
"""A Sunday with an evening stub. ZL's first hour of it carries a high 20 % above every trade of the day."""

# Nominal first day of each roll window (month, day); the roll takes place zero to four sessions later.
_ROLL_WINDOWS: dict[str, tuple[tuple[int, int], ...]] = {
    "soy": ((2, 20), (4, 18), (6, 19), (8, 18), (11, 19), (12, 18)),
    "corn": ((2, 20), (4, 18), (6, 19), (8, 20), (11, 19)),
    "monthly": tuple((month, 14) for month in range(1, 13)),
    "bimonthly": tuple((month, 12) for month in (1, 3, 5, 7, 9, 11)),
    "quarterly": tuple((month, 8) for month in (3, 6, 9, 12)),
    "month_end": tuple((month, 24) for month in (2, 5, 8, 11)),
}
_SWITCH_BACK_PROBABILITY = {"soy": 0.22, "corn": 0.2, "monthly": 0.05, "bimonthly": 0.2, "quarterly": 0.03}


@dataclass(frozen=True)
class SymbolModel:
    """How one symbol is simulated.

    Attributes:
        symbol: root of the continuous symbol.
        level: price before the first session, in the vendor's unit; also the centre of the band.
        daily_sd: standard deviation of a session's simple return at the centre of the band.
        band: distance from `level`, in log price, at which volatility has halved.
        tick: smallest price step.
        cycle: name of the roll windows.
        gap_sd: standard deviation of the relative price gap at a roll.
        volume: typical contracts traded a session.
        loadings: correlation of the session's shock with each factor; the rest is the symbol's own.
    """

    symbol: str
    level: float
    daily_sd: float
    band: float
    tick: float
    cycle: str
    gap_sd: float
    volume: float
    loadings: dict[str, float] = field(default_factory=dict)

    @property
    def roll_windows(self) -> tuple[tuple[int, int], ...]:
        """Nominal (month, day) of the year's rolls."""
        return _ROLL_WINDOWS[self.cycle]

    @property
    def switch_back_probability(self) -> float:
        """Chance that a roll goes back to the old contract for a session before it stands."""
        return _SWITCH_BACK_PROBABILITY.get(self.cycle, 0.0)


def _load(**loadings: float) -> dict[str, float]:
    return loadings


_MODELS: tuple[SymbolModel, ...] = (
    SymbolModel(
        "ZL", 45.0, 0.0145, 0.5, 0.01, "soy", 0.0125, 42e3, _load(agriculture=0.3, soy=0.5, energy=0.35, risk=0.1)
    ),
    SymbolModel("ZS", 1100.0, 0.0125, 0.35, 0.25, "soy", 0.012, 80e3, _load(agriculture=0.45, soy=0.7, dollar=-0.1)),
    SymbolModel("ZM", 340.0, 0.0148, 0.35, 0.1, "soy", 0.015, 34e3, _load(agriculture=0.4, soy=0.6)),
    SymbolModel("ZC", 480.0, 0.015, 0.45, 0.25, "corn", 0.018, 114e3, _load(agriculture=0.75, energy=0.1, dollar=-0.1)),
    SymbolModel("ZW", 600.0, 0.0185, 0.45, 0.25, "corn", 0.014, 46e3, _load(agriculture=0.65, dollar=-0.1)),
    SymbolModel("CL", 70.0, 0.021, 0.6, 0.01, "monthly", 0.008, 270e3, _load(energy=0.85, risk=0.25, dollar=-0.1)),
    SymbolModel("HO", 2.3, 0.0185, 0.55, 0.0001, "monthly", 0.007, 29e3, _load(energy=0.85, risk=0.2)),
    SymbolModel("RB", 2.1, 0.0205, 0.55, 0.0001, "monthly", 0.012, 29e3, _load(energy=0.8, risk=0.2)),
    SymbolModel("NG", 3.4, 0.029, 0.6, 0.001, "monthly", 0.025, 97e3, _load(energy=0.2)),
    SymbolModel("BZ", 75.0, 0.02, 0.6, 0.01, "monthly", 0.007, 11e3, _load(energy=0.87, risk=0.25, dollar=-0.1)),
    SymbolModel("GC", 1500.0, 0.0095, 0.6, 0.1, "bimonthly", 0.003, 157e3, _load(metals=0.75, dollar=-0.3, rates=0.2)),
    SymbolModel("SI", 22.0, 0.0175, 0.5, 0.005, "bimonthly", 0.003, 48e3, _load(metals=0.85, dollar=-0.2, risk=0.1)),
    SymbolModel("HG", 3.3, 0.0135, 0.4, 0.0005, "bimonthly", 0.003, 50e3, _load(metals=0.4, risk=0.4, dollar=-0.2)),
    SymbolModel("ES", 2200.0, 0.0105, 0.9, 0.25, "quarterly", 0.003, 1.49e6, _load(risk=0.96, rates=-0.05)),
    SymbolModel("NQ", 5500.0, 0.0125, 1.0, 0.25, "quarterly", 0.003, 344e3, _load(risk=0.9)),
    SymbolModel("6A", 0.8, 0.0063, 0.25, 0.00005, "quarterly", 0.003, 87e3, _load(dollar=-0.6, risk=0.4)),
    SymbolModel("6C", 0.8, 0.0045, 0.2, 0.00005, "quarterly", 0.001, 67e3, _load(dollar=-0.55, risk=0.3, energy=0.2)),
    SymbolModel("6E", 1.2, 0.0052, 0.2, 0.00005, "quarterly", 0.003, 190e3, _load(dollar=-0.85)),
    SymbolModel("6J", 0.0095, 0.0055, 0.3, 5e-7, "quarterly", 0.004, 115e3, _load(dollar=-0.45, rates=0.4, risk=-0.2)),
    SymbolModel(
        "6L", 0.3, 0.0095, 0.5, 0.00005, "monthly", 0.004, 2.2e3, _load(dollar=-0.4, risk=0.3, agriculture=0.1)
    ),
    SymbolModel("ZN", 125.0, 0.0033, 0.13, 1 / 64, "month_end", 0.004, 1.18e6, _load(rates=0.95, risk=-0.2)),
    SymbolModel("ZB", 145.0, 0.0062, 0.22, 1 / 32, "month_end", 0.006, 283e3, _load(rates=0.9, risk=-0.2)),
    SymbolModel("ZF", 118.0, 0.0021, 0.08, 1 / 128, "month_end", 0.003, 651e3, _load(rates=0.92, risk=-0.2)),
    SymbolModel("ZT", 107.0, 0.0008, 0.03, 1 / 256, "month_end", 0.0015, 263e3, _load(rates=0.75, risk=-0.15)),
    SymbolModel("LE", 130.0, 0.0095, 0.4, 0.025, "bimonthly", 0.02, 17e3, _load(livestock=0.6, agriculture=0.05)),
    SymbolModel("HE", 80.0, 0.0165, 0.35, 0.025, "bimonthly", 0.03, 14e3, _load(livestock=0.6, agriculture=0.05)),
)

MODELS: Final[dict[str, SymbolModel]] = {m.symbol: m for m in _MODELS}
"""Every simulated price path by symbol. MES is not among them: it trades ES's path in its own contracts."""

MES_MODEL: Final = SymbolModel("MES", 2200.0, 0.0105, 0.9, 0.25, "quarterly", 0.003, 877e3)
