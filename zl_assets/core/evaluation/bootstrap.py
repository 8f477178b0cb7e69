"""How sure the mean of an autocorrelated series is: a studentised moving-block bootstrap.

Belongs here: the interval. What is compared, and what follows from it, is in `family_gate`.

Errors of forecasts h sessions ahead overlap: neighbours share h-1 sessions of their outcome, so n of them hold about
n / h independent ones. Resampling whole blocks keeps what neighbours share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zl_assets.errors import InputError

LEAST_BLOCKS = 3
"""Fewest blocks whose means have a usable spread."""

LEAST_INDEPENDENT = 10
"""Fewest independent outcomes a test is made on."""

_LEAST_REPLICATES = 999
_BEYOND_EACH_END = 20
"""Replicates that lie beyond each end of an interval, so that its ends do not hang on one or two of them."""


@dataclass(frozen=True)
class MeanInterval:
    """Two-sided interval of a mean.

    Attributes:
        mean: of the series.
        low: lower end, in the series' unit.
        high: upper end.
        level: share of such intervals that hold the true mean, for long series.
        block_rows: rows of a block.
        blocks: blocks of a replicate.
        replicates: resampled series the interval rests on.
    """

    mean: float
    low: float
    high: float
    level: float
    block_rows: int
    blocks: int
    replicates: int


def block_length(n_rows: int, horizon_sessions: int) -> int:
    """Rows of a block: as many label windows as the cube root of the independent windows, h (n / h)^(1/3), rounded.

    The variance of a mean is estimated best with blocks that grow as the cube root of the length of the series (Künsch
    1989; Hall, Horowitz and Jing 1995, who name 1/3, 1/4 and 1/5 for variance, one-sided and two-sided estimates).
    The length counts in windows of h sessions, since that is the reach of the overlap; a block is never shorter.
    """
    return max(horizon_sessions, round(horizon_sessions * (n_rows / horizon_sessions) ** (1 / 3)))


def mean_interval(values: ArrayLike, horizon_sessions: int, *, level: float, seed: int | Sequence[int]) -> MeanInterval:
    """Interval of the mean of a loss difference whose labels overlap by h-1 sessions.

    Blocks of consecutive rows are drawn with replacement (moving blocks: Künsch 1989). Each replicate is divided by the
    standard error that its own blocks give, and the series by that of all its blocks (Götze and Künsch 1996): few
    blocks then widen the interval as few degrees of freedom do, where plain percentiles are far too narrow.

    Args:
        values: shape (rows,), one a session in order; the few sessions without a row are passed over.
        horizon_sessions: h.
        level: between 0 and 1.
        seed: of the draws; the same one gives the same bits.

    Raises:
        InputError: too few rows for three blocks, a value that is not finite, or a level outside (0, 1).
    """
    x = np.asarray(values, dtype=np.float64)
    rows = block_length(max(x.size, 1), horizon_sessions)
    blocks = x.size // rows
    if x.ndim != 1 or blocks < LEAST_BLOCKS or not np.isfinite(x).all() or not 0 < level < 1:
        raise InputError(
            f"an interval needs finite values, a level between 0 and 1 and at least {LEAST_BLOCKS} blocks",
            where=f"{x.size} values, {int((~np.isfinite(x)).sum())} not finite, blocks of {rows}, level {level}",
            action="load a longer history, or test no interval at this horizon",
        )
    tail = (1 - level) / 2
    replicates = max(_LEAST_REPLICATES, ceil(_BEYOND_EACH_END / tail))
    means = _block_means(x, rows)
    drawn = np.random.default_rng(seed).integers(0, means.size, (replicates, blocks))
    below, above = np.quantile(_studentised(means[drawn], float(means.mean())), [tail, 1 - tail])
    mean = float(x.mean())
    error = float(np.sqrt(np.square(means - mean).mean() / (blocks - 1)))
    # A bound of infinity says that too few blocks differ; times a spread of zero it is no bound at all.
    low, high = (mean - above * error, mean - below * error) if error > 0 else (mean, mean)
    return MeanInterval(mean, float(low), float(high), level, rows, blocks, replicates)


def _block_means(x: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """Means of all runs of `rows` values, shape (n - rows + 1,)."""
    centre = x.mean()
    sums = np.concatenate([[0.0], np.cumsum(x - centre)])
    return (sums[rows:] - sums[:-rows]) / rows + centre


def _studentised(drawn: NDArray[np.float64], expected: float) -> NDArray[np.float64]:
    """Distance of each replicate's mean from what is expected of it, in its own standard errors.

    A replicate that drew one block over and over has no error of its own: it lies infinitely far out.
    """
    distance = drawn.mean(axis=1) - expected
    error = drawn.std(axis=1, ddof=1) / np.sqrt(drawn.shape[1])
    infinite = np.where(distance == 0, 0.0, np.copysign(np.inf, distance))
    # The spread of one value repeated is rounding, not exactly zero.
    spread = error > 1e-12 * np.abs(distance)
    return np.where(spread, distance / np.where(spread, error, 1.0), infinite)
