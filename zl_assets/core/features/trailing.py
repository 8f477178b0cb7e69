"""Expressions over the rows up to the present one: changes, scores against the recent past, co-movement.

Belongs here: what several families share. A window may hold nulls up to a fifth of its rows; where more are missing, or
the row itself is, the result is null. A window in which nothing moved has no spread to measure by and gives null, too.

No expression of a family divides by a number: Polars multiplies long columns by its reciprocal but divides a column of
one row, so that the last bits of a row would depend on how many are built with it. Write `* (1 / 3)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from math import ceil, sqrt
from operator import add

import polars as pl

YEAR_SESSIONS = 252
_PRESENT = 0.8


def enough(window: int) -> int:
    """Values that a window of so many rows must hold."""
    return max(2, ceil(_PRESENT * window))


def added(values: Iterable[pl.Expr]) -> pl.Expr:
    """Sum of expressions, nulls counted as 0, always in the order given.

    `pl.sum_horizontal` adds in an order that differs from call to call, and with it the last bits.
    """
    return reduce(add, (value.fill_null(0.0) for value in values))


def change(values: pl.Expr, rows: int) -> pl.Expr:
    """Difference to the value some rows before, in the values' unit."""
    return values - values.shift(rows)


def gain(values: pl.Expr, rows: int) -> pl.Expr:
    """Relative change against the value some rows before; null where that is not positive."""
    before = values.shift(rows)
    return pl.when(before > 0).then(values / before - 1)


def log_gain(values: pl.Expr, rows: int = 1) -> pl.Expr:
    """Logarithm of the value over the one some rows before; null where either is not positive."""
    positive = pl.when(values > 0).then(values)
    return positive.log() - positive.shift(rows).log()


def mean(values: pl.Expr, window: int) -> pl.Expr:
    """Mean of the window's values."""
    return pl.when(values.is_not_null()).then(values.rolling_mean(window, min_samples=enough(window)))


def deviation(values: pl.Expr, window: int) -> pl.Expr:
    """Sample standard deviation of the window's values; null where they are all the same."""
    return pl.when(values.is_not_null()).then(_spread(values, window))


def _spread(values: pl.Expr, window: int) -> pl.Expr:
    """The same, whether the row itself has a value or not."""
    count = enough(window)
    moves = values.rolling_max(window, min_samples=count) > values.rolling_min(window, min_samples=count)
    spread = values.rolling_std(window, min_samples=count)
    return pl.when(moves & (spread > 0)).then(spread)


def z_score(values: pl.Expr, window: int) -> pl.Expr:
    """Distance from the window's mean in its sample standard deviations; the row itself is part of the window."""
    return (values - mean(values, window)) / deviation(values, window)


def percentile(values: pl.Expr, window: int) -> pl.Expr:
    """Share of the window's values that are not above the row's, 0 exclusive to 100, in percent."""
    present = values.is_not_null().cast(pl.Float64).rolling_sum(window, min_samples=1)
    return 100 * values.rolling_rank(window, method="max", min_samples=enough(window)) / present


def annual_volatility(log_gains: pl.Expr, window: int) -> pl.Expr:
    """Sample standard deviation of daily log returns, times the root of 252: a fraction a year."""
    return deviation(log_gains, window) * sqrt(YEAR_SESSIONS)


def correlation(first: pl.Expr, second: pl.Expr, window: int) -> pl.Expr:
    """Pearson correlation over the window's rows on which both are there."""
    one, two = _both(first, second)
    spread = _spread(one, window) * _spread(two, window)
    return pl.when(one.is_not_null()).then(_covariance(one, two, window) / spread).clip(-1.0, 1.0)


def beta(of: pl.Expr, on: pl.Expr, window: int) -> pl.Expr:
    """Slope of the regression of one series on another over the window's rows on which both are there."""
    one, two = _both(of, on)
    return pl.when(one.is_not_null()).then(_covariance(one, two, window) / _spread(two, window) ** 2)


def _both(first: pl.Expr, second: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Each series where the other one is there, so that both miss the same rows."""
    return pl.when(second.is_not_null()).then(first), pl.when(first.is_not_null()).then(second)


def _covariance(one: pl.Expr, two: pl.Expr, window: int) -> pl.Expr:
    """Sample covariance of two series that miss the same rows."""
    count = one.is_not_null().cast(pl.Float64).rolling_sum(window, min_samples=1)
    product, first, second = (v.rolling_mean(window, min_samples=enough(window)) for v in (one * two, one, two))
    return (product - first * second) * count / (count - 1)
