"""Error measures of return forecasts, each beside the same measure of the no-change forecast on the same rows.

Belongs here: figures about a set of forecasts and outcomes. Which model to publish is in `judgement`.
Returns are simple returns over the horizon, as fractions: 0.01 is one percent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zl_assets.errors import InputError

QUANTILE_LEVELS: tuple[float, ...] = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)
"""Levels every forecast carries."""

QUANTILE_COLUMNS: tuple[str, ...] = tuple(f"q{round(level * 100):02d}" for level in QUANTILE_LEVELS)
"""Their columns, q05 to q95."""

MEDIAN = QUANTILE_LEVELS.index(0.5)
"""Place of the median among them."""

TOO_GOOD_ERROR_RATIO = 0.9
TOO_GOOD_HIT_RATE = 0.60
TOO_GOOD_MIN_INDEPENDENT = 30
"""Beyond these a result is a leak until proven otherwise: nothing honest comes near them on a futures price. Errors are
shares of no-change's; a hit rate tells from so many independent windows on, as on fewer it happens by luck."""

TOO_GOOD_SIMULATED_ERROR_RATIO = 0.7
TOO_GOOD_SIMULATED_HIT_RATE = 0.75
"""The same of a simulated market, whose planted rule makes better forecasts than any real market allows."""


@dataclass(frozen=True)
class ReturnMetrics:
    """Errors of a model and of no-change on the same rows.

    Attributes:
        n: rows scored.
        n_independent: whole non-overlapping label windows among them, n // horizon.
        mae: mean absolute error of the returns.
        rmse: root mean squared error of the returns.
        mape_pct: mean absolute percentage error of the prices, for display.
        no_change_mae: `mae` of predicting a return of 0.
        no_change_rmse: `rmse` of predicting a return of 0.
        no_change_mape_pct: `mape_pct` of predicting an unchanged price.
        n_moved: rows whose price did move; only they have a direction.
        hit_rate: share of the moved rows whose sign was predicted, a prediction of exactly 0 being a miss; None if no
            row moved.
        always_up_rate: share of the moved rows that rose: the hit rate of always predicting a rise; None if no row
            moved.
    """

    n: int
    n_independent: int
    mae: float
    rmse: float
    mape_pct: float
    no_change_mae: float
    no_change_rmse: float
    no_change_mape_pct: float
    n_moved: int
    hit_rate: float | None
    always_up_rate: float | None

    @property
    def skill_vs_no_change(self) -> float | None:
        """1 - mae / no_change_mae: positive is better than no-change; None where no price moved."""
        return 1 - self.mae / self.no_change_mae if self.no_change_mae > 0 else None


def evaluate_returns(actual: ArrayLike, predicted: ArrayLike, horizon_sessions: int) -> ReturnMetrics:
    """Score return forecasts.

    The percentage error of the price needs no price: |P(1+p) - P(1+a)| / P(1+a) = |p - a| / (1 + a).

    Args:
        actual: shape (rows,), realised returns, each above -1.
        predicted: shape (rows,), forecast returns.
        horizon_sessions: sessions between forecast and outcome, one row a session.

    Raises:
        InputError: no row, lengths that differ, a value that is not finite, or a realised return of -1 or less.
    """
    a, p = _pair(actual, predicted)
    moved = a != 0
    n_moved = int(moved.sum())
    return ReturnMetrics(
        n=a.size,
        n_independent=a.size // horizon_sessions,
        mae=float(np.abs(p - a).mean()),
        rmse=float(np.sqrt(np.square(p - a).mean())),
        mape_pct=float((np.abs(p - a) / (1 + a)).mean() * 100),
        no_change_mae=float(np.abs(a).mean()),
        no_change_rmse=float(np.sqrt(np.square(a).mean())),
        no_change_mape_pct=float((np.abs(a) / (1 + a)).mean() * 100),
        n_moved=n_moved,
        hit_rate=float((np.sign(p) == np.sign(a))[moved].mean()) if n_moved else None,
        always_up_rate=float((a > 0)[moved].mean()) if n_moved else None,
    )


def kish_effective_size(weights: ArrayLike) -> float:
    """Rows of equal weight that carry as much information as these weights: (sum w)^2 / sum w^2 (Kish 1965).

    Raises:
        InputError: no weight, or one that is not a positive finite number.
    """
    w = np.asarray(weights, dtype=np.float64)
    if w.size == 0 or not (np.isfinite(w).all() and (w > 0).all()):
        raise InputError(
            "sample weights are positive finite numbers, at least one",
            where=f"{w.size} weights, {int((~(w > 0)).sum())} of them not positive",
            action="check sample_weight of the training view",
        )
    return float(w.sum() ** 2 / np.square(w).sum())


def _pair(actual: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a = np.asarray(actual, dtype=np.float64)
    p = np.asarray(predicted, dtype=np.float64)
    if a.ndim != 1 or a.shape != p.shape or a.size == 0:
        raise InputError(
            "scoring needs as many forecasts as outcomes, at least one",
            where=f"{a.size} outcomes, {p.size} forecasts",
            action="score rows that have both",
        )
    if not (np.isfinite(a).all() and np.isfinite(p).all() and (a > -1).all()):
        raise InputError(
            "an outcome or a forecast is not a return",
            where=f"{int((np.isfinite(a) & (a > -1)).sum())} usable outcomes and {int(np.isfinite(p).sum())} "
            f"usable forecasts of {a.size}",
            action="keep rows without a known outcome out of the scoring",
        )
    return a, p
