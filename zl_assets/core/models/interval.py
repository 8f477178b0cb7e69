"""How far outcomes spread: an interval around a point, as wide as the market is volatile, and quantiles of what came.

Belongs here: the shape of a forecast's errors and of the outcomes learnt from. Where a point forecast comes from is its
model's business.
"""

# SciPy carries no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.models.base import Floats
from zl_assets.errors import InputError

LEAST_ERRORS = 63
"""Fewest errors a shape is estimated from: a quarter."""

HELD_OUT = 5
"""One row in so many, the latest, is kept from a first fit by a model whose errors on its own rows flatter it."""

DEGREES = (2.5, 100.0)
"""Bounds of the degrees of freedom: below, the variance is hardly finite; above, it is the normal distribution."""


@dataclass(frozen=True)
class StudentInterval:
    """Student-t errors of the log return around a point, with a scale proportional to the volatility of one session.

    In logarithms a fall to a half is as far as a rise to the double, as prices move over months, and no price is
    negative.

    Attributes:
        scale: of the errors, in volatilities of one session; it holds the horizon's square root of time, too.
        degrees: of freedom.
    """

    scale: float
    degrees: float

    @classmethod
    def fit(cls, actual: Floats, point: Floats, volatility: Floats) -> Self:
        """Maximum likelihood of errors in units of the volatility their forecast was made at, centred on zero.

        Errors of overlapping labels are not independent: the estimate is consistent, its likelihood is not one.

        Args:
            actual: returns as fractions, above -1, shape (rows,).
            point: forecasts of them, above -1, shape (rows,).
            volatility: of one session, known when the forecast was made, shape (rows,).

        Raises:
            InputError: too few errors, one that is not finite, a volatility that is not positive, or no error at all.
        """
        from scipy import stats

        with np.errstate(invalid="ignore", divide="ignore"):
            errors = np.log1p(actual) - np.log1p(point)
        sound = errors.shape == volatility.shape and errors.size >= LEAST_ERRORS
        if not sound or not np.isfinite(errors).all() or not (np.isfinite(volatility) & (volatility > 0)).all():
            raise InputError(
                f"an interval needs {LEAST_ERRORS} finite errors with a positive volatility each",
                where=f"{errors.size} errors, {int((volatility > 0).sum())} positive volatilities",
                action="load a longer history",
            )
        units = errors / volatility
        if not units.any():
            raise InputError("no forecast was ever wrong", where="interval", action="check the prices of these dates")
        low, high = DEGREES
        degrees, _, scale = stats.t.fit(units, floc=0.0)
        if not low <= degrees <= high:
            degrees = min(max(degrees, low), high)
            _, _, scale = stats.t.fit(units, fdf=degrees, floc=0.0)
        return cls(float(scale), float(degrees))

    @classmethod
    def of(cls, held: Mapping[str, Any]) -> Self:
        """The interval whose numbers were written by name.

        Raises:
            KeyError: a number is missing.
            TypeError: one is no number.
            ValueError: one is not finite.
        """
        scale, degrees = float(held["scale"]), float(held["degrees"])
        if not np.isfinite([scale, degrees]).all():
            raise ValueError("its interval is not finite")
        return cls(scale, degrees)

    def quantiles(self, point: Floats, volatility: Floats) -> Floats:
        """Quantiles of returns at QUANTILE_LEVELS around points at volatilities, each of shape (rows,); (rows, 7)."""
        from scipy import stats

        shape = self.scale * stats.t.ppf(np.array(QUANTILE_LEVELS), self.degrees)
        return np.expm1(np.log1p(point)[:, None] + volatility[:, None] * shape[None, :])


def held_out(n_rows: int) -> int:
    """How many of the latest rows an interval is made of where so many are learnt from; see HELD_OUT."""
    return max(LEAST_ERRORS, n_rows // HELD_OUT)


def weighted_quantiles(values: Floats, weights: Floats) -> Floats:
    """Quantiles at QUANTILE_LEVELS, shape (7,): each value stands in the middle of its weight, lines between them.

    With equal weights this is definition 5 of Hyndman and Fan (1996).
    """
    order = np.argsort(values, kind="stable")
    ordered, w = values[order], weights[order]
    middle = (np.cumsum(w) - w / 2) / w.sum()
    return np.interp(np.array(QUANTILE_LEVELS), middle, ordered)
