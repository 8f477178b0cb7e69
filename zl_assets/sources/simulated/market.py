"""The pure market: session closes of every symbol, without a file and without a clock.

Belongs here: draws, the volatility recursion, the planted rule, rolls and wrong-month sessions.

Every quantity has its own generator, keyed by the seed and the quantity's name, and is drawn date by date. Nothing is
normalised over the sample, so a longer market starts with the shorter one.

Why the martingale world holds no predictability: a session's simple return is `sigma * z`, symmetrically clipped. Sigma
depends on earlier sessions alone, z is symmetric about zero and independent of them. A roll multiplies the price by one
plus an independent symmetric gap. So E[close[t+h] / close[t] - 1 | past] is exactly zero for every h. Two things are
exempt: rounding to the tick, and the wrong-month sessions of ZL, whose price offset goes back with the contract.
Levels stay plausible because volatility falls far from the start level, never by turning the price round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from zl_assets.core.exchange_calendar import sessions_of
from zl_assets.core.instruments import INSTRUMENTS, Market
from zl_assets.sources.simulated.parameters import FACTORS, KAPPA, MEMORY, MODELS, SymbolModel, World

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Days = NDArray[np.datetime64]
    Integers = NDArray[np.int64]

_STREAMS = 380
"""Edition of the random streams: every market changes with it.

Chosen so that seed 7 is a typical sample: ZL in the range it has traded in, and no chance relation of return_21d with
the later return beyond 1.3 standard errors at any horizon. A claim about a world needs several seeds.
"""
_MARGIN = timedelta(days=14)
"""Sessions are drawn this far past the end: the last day's evening hours belong to the session after it."""
_TAIL_DEGREES = 8.0
_LARGEST_SHOCK = 5.0
_ARCH, _GARCH = 0.06, 0.925
_CALMEST, _WILDEST, _LARGEST_MOVE = 0.7, 1.8, 5.7
"""Bounds of sigma and of a session's move, in units of the symbol's daily_sd."""
_STRONGEST_DAMPING = 0.55
"""Far from its start level a symbol keeps at least this share of its volatility."""
_LARGEST_GAP = 2.8
_THIN_FROM_YEAR = 2013


@dataclass(frozen=True)
class SymbolPath:
    """Session closes of one symbol and what they are made of. All arrays have shape (sessions,).

    Attributes:
        model: the symbol's parameters.
        sessions: trade dates, datetime64[D].
        previous_close: close of the session before, unrounded and without thin offset.
        close: close of the session, unrounded and without thin offset.
        log_return: log return of the session without the roll gap.
        gap: relative price gap of the roll on this trade date, 0 without one.
        sigma: standard deviation of the session's shock, known the evening before.
        shock: the standardised shock.
        contract: number of the contract the vendor shows on this trade date.
        offset: relative price offset of a wrong-month session, 0 for a regular one.
    """

    model: SymbolModel
    sessions: Days
    previous_close: Floats
    close: Floats
    log_return: Floats
    gap: Floats
    sigma: Floats
    shock: Floats
    contract: Integers
    offset: Floats


def generator(seed: int, name: str) -> np.random.Generator:
    """Random generator of one named quantity; independent of every other name."""
    return np.random.default_rng([seed, _STREAMS, crc32(name.encode())])


def factor_shocks(seed: int, start: date, end: date) -> Floats:
    """Common shocks, shape (calendar days from start to end plus a margin, len(FACTORS)), standard normal."""
    return generator(seed, "factors").standard_normal(((end + _MARGIN - start).days + 1, len(FACTORS)))


def trade_dates(market: Market, start: date, end: date) -> Days:
    """Trade dates of a market from start to end plus a margin, datetime64[D]."""
    return np.array([d for d in sessions_of(market) if start <= d <= end + _MARGIN], dtype="datetime64[D]")


def symbol_shocks(seed: int, model: SymbolModel, factors: Floats, day_index: Integers) -> Floats:
    """Standardised shocks of a symbol, shape (sessions,): symmetric about zero, heavy-tailed, bounded."""
    loadings = np.array([model.loadings.get(f, 0.0) for f in FACTORS])
    own = generator(seed, f"own {model.symbol}").standard_normal(day_index.size)
    # Row sums, not a matrix product: its rounding may depend on the number of rows, and the rows must not.
    common = (factors[day_index] * loadings).sum(axis=1)
    gaussian = common + np.sqrt(1.0 - (loadings**2).sum()) * own
    mixing = generator(seed, f"tail {model.symbol}").chisquare(_TAIL_DEGREES, day_index.size)
    return np.clip(gaussian * np.sqrt((_TAIL_DEGREES - 2.0) / mixing), -_LARGEST_SHOCK, _LARGEST_SHOCK)


def recurse(
    shocks: Floats, gaps: Floats, models: Sequence[SymbolModel], kappa: Sequence[float]
) -> tuple[Floats, Floats, Floats]:
    """Run the volatility recursion over the sessions, all columns at once.

    Args:
        shocks: standardised shocks, shape (sessions, columns).
        gaps: relative roll gaps, same shape.
        models: parameters of each column.
        kappa: strength of the planted rule of each column, 0 for none.

    Returns:
        Closes, shape (sessions + 1, columns), the first row being the level before the first session;
        simple returns without gaps and sigmas, shape (sessions, columns).
    """
    level = np.array([m.level for m in models])
    sd = np.array([m.daily_sd for m in models])
    band = np.array([m.band for m in models])
    pull = np.array(kappa) / MEMORY
    closes = np.empty((len(shocks) + 1, len(models)))
    returns, sigmas = np.empty_like(shocks), np.empty_like(shocks)
    closes[0] = level
    variance = np.ones(len(models))
    squared = np.minimum(shocks**2, 12.0)
    for t in range(len(shocks)):
        last = closes[t]
        distance = np.log(last / level) / band
        damping = np.maximum(1.0 / (1.0 + distance**4), _STRONGEST_DAMPING)
        sigma = sd * np.clip(np.sqrt(variance), _CALMEST, _WILDEST) * damping
        move = np.clip(sigma * shocks[t], -_LARGEST_MOVE * sd, _LARGEST_MOVE * sd)
        if t > MEMORY:
            move -= pull * (last / closes[t - MEMORY] - 1.0)
        closes[t + 1] = last * (1.0 + move) * (1.0 + gaps[t])
        returns[t], sigmas[t] = move, sigma
        variance = (1.0 - _ARCH - _GARCH) + (_ARCH * squared[t] + _GARCH) * variance
    return closes, returns, sigmas


def contracts(seed: int, model: SymbolModel, sessions: Days, start: date) -> Integers:
    """Number of the contract in front on each trade date, shape (sessions,); some rolls are taken back at first."""
    years = np.arange(start.year, sessions[-1].astype(object).year + 1)
    draws = generator(seed, f"rolls {model.symbol}").random((years.size, len(model.roll_windows), 3))
    steps = np.zeros(sessions.size + 8, dtype=np.int64)
    for i, year in enumerate(years):
        for j, (month, day) in enumerate(model.roll_windows):
            window = np.datetime64(f"{year}-{month:02d}-{day:02d}")
            roll = int(np.searchsorted(sessions, window)) + int(draws[i, j, 0] * 5)
            if window < sessions[0] or roll >= sessions.size:
                continue
            steps[roll] += 1
            if draws[i, j, 1] < model.switch_back_probability:
                back = roll + 1 + int(draws[i, j, 2] * 2)
                steps[back] -= 1
                steps[back + 1] += 1
    return np.cumsum(steps)[: sessions.size]


def roll_gaps(seed: int, model: SymbolModel, contract: Integers) -> Floats:
    """Relative price gap on each trade date, shape (sessions,): symmetric, independent; 0 where the contract stays."""
    draws = generator(seed, f"gaps {model.symbol}").standard_normal(contract.size)
    changed = np.diff(contract, prepend=contract[0]) != 0
    return np.where(changed, model.gap_sd * np.clip(draws, -_LARGEST_GAP, _LARGEST_GAP), 0.0)


def thin_offsets(seed: int, sessions: Days) -> Floats:
    """Relative price offset of ZL's wrong-month sessions, shape (sessions,), 0 for a regular session.

    After Independence Day in every third year (two sessions in even years) and after Labor Day in every fourth.
    """
    offsets = np.zeros(sessions.size)
    last_year = sessions[-1].astype(object).year
    for year in range(_THIN_FROM_YEAR, last_year + 1):
        holidays: list[tuple[date, int]] = []
        if year % 3 == 0:
            holidays.append((date(year, 7, 4), 2 - year % 2))
        if year % 4 == 2:
            holidays.append((date(year, 9, 7) - timedelta(days=date(year, 9, 7).weekday()), 1))
        for holiday, count in holidays:
            first = int(np.searchsorted(sessions, np.datetime64(holiday), side="right"))
            if np.datetime64(holiday) >= sessions[0]:
                rng = generator(seed, f"thin {holiday}")
                offsets[first : first + count] = rng.choice([-1.0, 1.0]) * rng.uniform(0.012, 0.028)
    return offsets


def symbol_paths(world: World, seed: int, start: date, end: date) -> dict[str, SymbolPath]:
    """Session paths of every symbol from the first session on or after start to a few sessions past the end."""
    factors = factor_shocks(seed, start, end)
    by_market: dict[Market, list[SymbolModel]] = {}
    for model in MODELS.values():
        by_market.setdefault(INSTRUMENTS[model.symbol].market, []).append(model)
    paths: dict[str, SymbolPath] = {}
    for market, models in by_market.items():
        sessions = trade_dates(market, start, end)
        if not sessions.size:
            continue
        day_index = (sessions - np.datetime64(start)).astype(np.int64)
        shocks = np.stack([symbol_shocks(seed, m, factors, day_index) for m in models], axis=1)
        contract = [contracts(seed, m, sessions, start) for m in models]
        gaps = np.stack([roll_gaps(seed, m, c) for m, c in zip(models, contract, strict=True)], axis=1)
        kappa = [KAPPA if world == "planted" and m.symbol == "ZL" else 0.0 for m in models]
        closes, returns, sigmas = recurse(shocks, gaps, models, kappa)
        for i, m in enumerate(models):
            paths[m.symbol] = SymbolPath(
                model=m,
                sessions=sessions,
                previous_close=closes[:-1, i],
                close=closes[1:, i],
                log_return=np.log1p(returns[:, i]),
                gap=gaps[:, i],
                sigma=sigmas[:, i],
                shock=shocks[:, i],
                contract=contract[i],
                offset=thin_offsets(seed, sessions) if m.symbol == "ZL" else np.zeros(sessions.size),
            )
    return paths


def zl_closes(world: World, seeds: Sequence[int], start: date, end: date) -> tuple[Days, Floats]:
    """Session closes of ZL for many seeds at once, without files.

    Args:
        world: which world.
        seeds: one market each.
        start: as in `simulate`.
        end: last calendar day.

    Returns:
        Trade dates, shape (sessions,), and closes in c/lb, shape (sessions, seeds): unrounded, without the thin offset,
        otherwise the closes `simulate` writes for the same seed.
    """
    model = MODELS["ZL"]
    sessions = trade_dates("grains", start, end)
    day_index = (sessions - np.datetime64(start)).astype(np.int64)
    shocks = np.stack([symbol_shocks(s, model, factor_shocks(s, start, end), day_index) for s in seeds], axis=1)
    gaps = np.stack([roll_gaps(s, model, contracts(s, model, sessions, start)) for s in seeds], axis=1)
    kappa = [KAPPA if world == "planted" else 0.0] * len(seeds)
    closes, _, _ = recurse(shocks, gaps, [model] * len(seeds), kappa)
    kept = sessions <= np.datetime64(end)
    return sessions[kept], closes[1:][kept]
