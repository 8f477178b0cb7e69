"""Three univariate models of a log price with fixed parameters, run over many windows at once.

Belongs here: fitting them with statsforecast, and their recursions. What a window is and what becomes of a forecast is
in `statistical`.

Parameters are fixed once fitted, so a forecast is one recursion over a window. The loop goes over the steps of the
window and takes all windows along: the closes that step `t` of every window reads are one slice of the series. Each
window starts anew from its own first closes, and no window knows of another.
"""

# statsforecast carries few types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol, Self

import numpy as np

from zl_assets.core.models.base import Floats
from zl_assets.errors import InputError


class Recursion(Protocol):
    """A model of a log price with its parameters."""

    @classmethod
    def fit(cls, closes: Floats) -> Self:
        """Choose the kind of the model and its parameters on log closes, shape (closes,).

        Raises:
            InputError: no model of this kind describes them.
        """
        ...

    def forecast(self, closes: Floats, window: int, steps: int) -> Floats:
        """Means of the log price some steps after every window.

        Args:
            closes: log closes, shape (closes,), at least `window` of them.
            window: closes that a forecast reads.
            steps: from the window's last close.

        Returns:
            Shape (closes - window + 1,), the earliest window first.
        """
        ...

    def deviation(self, window: int, steps: int) -> float:
        """Standard deviation of the log price around that mean, the parameters taken as true."""
        ...


@dataclass(frozen=True)
class ArimaRecursion:
    """ARIMA(p, d, q) without a season: phi(B) ((1 - B)^d y - mean) = theta(B) e.

    Attributes:
        ar: phi_1 to phi_p, with which the latest differences enter.
        ma: theta_1 to theta_q, with which the latest errors enter.
        differences: d.
        mean: of the differenced series: the drift where d is 1.
        sigma: standard deviation of e.
    """

    ar: tuple[float, ...]
    ma: tuple[float, ...]
    differences: int
    mean: float
    sigma: float

    @classmethod
    def fit(cls, closes: Floats) -> Self:
        """Choose by the corrected criterion of Akaike in steps (Hyndman and Khandakar 2008).

        A log price is differenced once at most: with a second difference, every turn of the price would be carried on.
        """
        from statsforecast.models import AutoARIMA

        try:
            with _quiet_search():
                found: Any = AutoARIMA(season_length=1, max_d=1, approximation=True).fit(closes).model_
        except ValueError as error:
            raise InputError(
                f"no ARIMA describes these closes: {error}",
                where=f"{closes.size} closes",
                action="check the prices of these dates",
            ) from error
        p, q, *_, d, _ = found["arma"]
        coefficients: dict[str, float] = {k: float(v) for k, v in found["coef"].items()}
        return cls(
            ar=tuple(coefficients[f"ar{i + 1}"] for i in range(p)),
            ma=tuple(coefficients[f"ma{i + 1}"] for i in range(q)),
            differences=int(d),
            mean=coefficients.get("drift", coefficients.get("intercept", 0.0)),
            sigma=math.sqrt(found["sigma2"]),
        )

    def forecast(self, closes: Floats, window: int, steps: int) -> Floats:
        """See `Recursion`. The Kalman filter of the differences, which starts from all that they may be."""
        count = closes.size - window + 1
        ladder = [closes]  # the closes, their differences, the differences of those
        for _ in range(self.differences):
            ladder.append(np.diff(ladder[-1]))
        moves = ladder[-1] - self.mean
        ar, _ = self._padded()
        expected = np.zeros((ar.size, count))  # of the coming move, and of what is known of those after it
        for step, gain in enumerate(self._gains(window - self.differences)):
            error = moves[step : step + count] - expected[0]
            expected = _passed(expected, ar) + gain[:, None] * error
        latest = [rung[-count:] for rung in ladder]
        for _ in range(steps):
            latest[-1] = expected[0] + self.mean
            expected = _passed(expected, ar)
            for rung in reversed(range(self.differences)):
                latest[rung] = latest[rung] + latest[rung + 1]
        return latest[0]

    def deviation(self, window: int, steps: int) -> float:  # noqa: ARG002
        """See `Recursion`: sigma sqrt(psi_0^2 + .. + psi_(steps-1)^2), psi the weights of the errors in the price.

        Box, Jenkins, Reinsel and Ljung (2015), section 5.2.
        """
        weights = [1.0]
        for j in range(1, steps):
            moving = self.ma[j - 1] if j <= len(self.ma) else 0.0
            weights.append(moving + sum(a * w for a, w in zip(self.ar, weights[::-1], strict=False)))
        for _ in range(self.differences):
            weights = list(accumulate(weights))
        return self.sigma * math.sqrt(sum(w * w for w in weights))

    def _padded(self) -> tuple[Floats, Floats]:
        """How a move and how an error enter the moves after it, each of shape (max(p, q + 1),)."""
        size = max(len(self.ar), len(self.ma) + 1)
        ar, ma = np.zeros(size), np.zeros(size)
        ar[: len(self.ar)] = self.ar
        ma[: len(self.ma) + 1] = (1.0, *self.ma)
        return ar, ma

    def _gains(self, steps: int) -> Iterator[Floats]:
        """By how much an error of the filter moves its state, a step after the other: the same in every window.

        Durbin and Koopman (2012), sections 3.4 and 4.3; the state has its stationary covariance before the first step.
        """
        ar, ma = self._padded()
        size = ar.size
        transition = np.eye(size, k=1)
        transition[:, 0] = ar
        noise = np.outer(ma, ma)
        stationary = np.eye(size**2) - np.kron(transition, transition)
        covariance = np.linalg.solve(stationary, noise.ravel()).reshape(size, size)
        for _ in range(steps):
            gain = transition @ covariance[:, 0] / covariance[0, 0]
            yield gain
            unknown = covariance - np.outer(covariance[:, 0], covariance[0]) / covariance[0, 0]
            covariance = transition @ unknown @ transition.T + noise


@dataclass(frozen=True)
class EtsRecursion:
    """Exponential smoothing with additive errors: a level, and where it helps a trend, damped or not.

    Attributes:
        alpha: share of an error that moves the level.
        beta: share of an error that moves the trend; 0 without one.
        phi: what remains of the trend after a session; 1 if it is not damped.
        trend: what a window starts with, per session; 0 without one.
        sigma: standard deviation of the errors.
    """

    alpha: float
    beta: float
    phi: float
    trend: float
    sigma: float

    @classmethod
    def fit(cls, closes: Floats) -> Self:
        """Choose among (A,N,N), (A,A,N) and (A,Ad,N) by the corrected criterion of Akaike.

        Errors are additive, since a log price moves by about as much wherever it stands.
        """
        from statsforecast.models import AutoETS

        found: Any = AutoETS(season_length=1, model="AZN").fit(closes).model_
        alpha, beta, _, phi, _, *trend = (float(v) for v in found["par"])
        return cls(
            alpha=alpha,
            beta=beta if trend else 0.0,
            phi=1.0 if math.isnan(phi) else phi,
            trend=trend[0] if trend else 0.0,
            sigma=math.sqrt(found["sigma2"]),
        )

    def forecast(self, closes: Floats, window: int, steps: int) -> Floats:
        """See `Recursion`. The level starts at the window's first close, the trend where it started in training."""
        count = closes.size - window + 1
        level, trend = closes[:count], np.full(count, self.phi * self.trend)
        for step in range(1, window):
            error = closes[step : step + count] - (level + self.phi * trend)
            level = level + self.phi * trend + self.alpha * error
            trend = self.phi * trend + self.beta * error
        return level + self._damped(steps) * trend

    def deviation(self, window: int, steps: int) -> float:  # noqa: ARG002
        """See `Recursion`: sigma sqrt(1 + c_1^2 + .. + c_(steps-1)^2), c_j = alpha + beta (phi + .. + phi^j).

        Hyndman, Koehler, Ord and Snyder (2008), section 6.3, class 1.
        """
        weights = (self.alpha + self.beta * self._damped(j) for j in range(1, steps))
        return self.sigma * math.sqrt(1.0 + sum(w * w for w in weights))

    def _damped(self, steps: int) -> float:
        return sum(self.phi**i for i in range(1, steps + 1))


@dataclass(frozen=True)
class ThetaRecursion:
    """The theta method as a state-space model: exponential smoothing that leans on the line through the window.

    Fiorucci, Pellegrini, Louzada, Petropoulos and Koehler (2016), equations 9 to 15.

    Attributes:
        alpha: share of an error that moves the level.
        theta: how far the short-run line is curved; the line through the closes enters with weight 1 - 1 / theta.
        dynamic: whether the line is drawn anew with every close, or once through the whole window.
        sigma: standard deviation of the errors.
    """

    alpha: float
    theta: float
    dynamic: bool
    sigma: float

    @classmethod
    def fit(cls, closes: Floats) -> Self:
        """Choose among the standard and the optimised model, static and dynamic, by the mean squared error."""
        from statsforecast.models import AutoTheta

        found: Any = AutoTheta(season_length=1).fit(closes).model_
        return cls(
            alpha=float(found["par"]["alpha"]),
            theta=float(found["par"]["theta"]),
            dynamic=str(found["modeltype"]).startswith("D"),
            sigma=float(np.std(found["residuals"][3:], ddof=1)),  # the first three still show where the level started
        )

    def forecast(self, closes: Floats, window: int, steps: int) -> Floats:
        """See `Recursion`. The level starts at the window's first close."""
        count = closes.size - window + 1
        first = closes[:count]
        start = (first, np.zeros(count)) if self.dynamic else _line(closes, window)
        line = _Line(first, first, *start)
        for step in range(1, window):
            line = self._moved(line, step, closes[step : step + count])
        expected = first
        for step in range(window, window + steps):
            expected = self._expected(line, step)
            line = self._moved(line, step, expected)
        return expected

    def deviation(self, window: int, steps: int) -> float:
        """See `Recursion`: sigma times the root of the sum of the squared weights of all errors on the way.

        The recursion is linear in the closes: the weight of an error is what a price of 0 throughout, with an error of
        1 at that step alone, has become at the end.
        """
        nothing = np.zeros(steps)
        line = _Line(nothing, nothing, nothing, nothing)
        price = nothing
        for step in range(steps):
            price = self._expected(line, window + step) + np.where(np.arange(steps) == step, 1.0, 0.0)
            line = self._moved(line, window + step, price)
        return self.sigma * math.sqrt(float(np.square(price).sum()))

    def _expected(self, line: _Line, step: int) -> Floats:
        left = (1 - self.alpha) ** step
        leaning = line.intercept * left + line.slope * (1 - (1 - self.alpha) * left) / self.alpha
        return line.level + (1 - 1 / self.theta) * leaning

    def _moved(self, line: _Line, step: int, close: Floats) -> _Line:
        level = line.level + self.alpha * (close - line.level)
        if not self.dynamic:
            return _Line(level, line.mean, line.intercept, line.slope)
        slope = ((step - 1) * line.slope + 6 * (close - line.mean) / (step + 1)) / (step + 2)
        mean = line.mean + (close - line.mean) / (step + 1)
        return _Line(level, mean, mean - slope * (step + 2) / 2, slope)


@dataclass(frozen=True, eq=False)
class _Line:
    """State of `ThetaRecursion`, each of shape (windows,): the level, the mean so far, the line through the closes."""

    level: Floats
    mean: Floats
    intercept: Floats
    slope: Floats


def _line(closes: Floats, window: int) -> tuple[Floats, Floats]:
    """Intercept and slope of the least-squares line through every window, its first close at 1."""
    count = closes.size - window + 1
    middle = (window + 1) / 2
    total, tilt = np.zeros(count), np.zeros(count)
    for step in range(window):
        close = closes[step : step + count]
        total, tilt = total + close, tilt + (step + 1 - middle) * close
    slope = 12 * tilt / (window * (window**2 - 1))
    return total / window - middle * slope, slope


def _passed(state: Floats, ar: Floats) -> Floats:
    """The state of an ARMA filter a step later, without news; shape (max(p, q + 1), windows)."""
    later = ar[:, None] * state[0]
    later[:-1] += state[1:]
    return later


@contextmanager
def _quiet_search() -> Generator[None]:
    """Let a candidate that does not converge pass in silence: the search ranks it by its likelihood like any other."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="possible convergence problem", category=UserWarning)
        yield
