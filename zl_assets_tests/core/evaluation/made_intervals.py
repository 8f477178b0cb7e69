"""Forecasts of a simulated market whose intervals are wrong in a known way."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy import stats

from zl_assets.core.evaluation.calibration import WILD
from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS, QUANTILE_LEVELS

NORMAL = stats.norm.ppf(QUANTILE_LEVELS)


def made(
    n: int = 200, h: int = 5, *, width: float = 1.0, seed: int = 1, missing: Sequence[int] = (), wild: float = 1.0
) -> pl.DataFrame:
    """Overlapping returns of a random walk; the forecasts are `width` times as wide as is right, `wild` in wild states.

    Medians wander about as the forecasts of a model without skill do.
    """
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, 0.01, n + h)
    actual = np.array([moves[t + 1 : t + 1 + h].sum() for t in range(n)])
    rank = 0.5 + 0.5 * np.sin(np.arange(n) / 40)
    scale = 0.01 * np.sqrt(h) * width * np.where(rank >= WILD, wild, 1.0) * rng.uniform(0.9, 1.1, n)
    quantiles = rng.normal(0, 0.002, n)[:, None] + scale[:, None] * NORMAL
    frame = pl.DataFrame(
        {
            "session_number": np.arange(3000, 3000 + n),
            "vol_percentile": rank,
            "actual_return": actual,
            **{name: quantiles[:, k] for k, name in enumerate(QUANTILE_COLUMNS)},
            "fold": np.arange(n) // 50,
        }
    )
    return frame.filter(~(pl.col("session_number") - 3000).is_in(list(missing)))
