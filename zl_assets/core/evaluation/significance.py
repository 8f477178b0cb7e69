"""Whether a model beats its benchmark by more than luck, on forecasts whose outcomes overlap.

Belongs here: tests on paired losses and directions, and what many tries do to their p-values. What is measured of one
model is in `scores`, the interval of a mean in `bootstrap`.

Errors of forecasts h sessions ahead, one a session, are moving averages of h-1 lags: n of them hold about n / h
independent ones. From 30 independent windows on, a mean is tested after Diebold and Mariano with the correction of
Harvey, Leybourne and Newbold; below, that test rejects too often, and fixed smoothing after Coroneo and Iacone takes
its place; below 10, nothing is tested. The few sessions without a row are passed over.
"""

# SciPy carries no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cbrt, floor, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zl_assets.core.evaluation.bootstrap import LEAST_INDEPENDENT
from zl_assets.errors import InputError

LEAST_INDEPENDENT_FOR_NORMAL = 30
"""Fewest independent windows for the test of Diebold and Mariano; on fewer, fixed smoothing takes its place."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TestResult:
    """Outcome of one test.

    Attributes:
        statistic: in standard errors; its sign is that of what was tested.
        p_one_sided: probability of a result this good or better if the model were no better.
        p_two_sided: probability of a result this far from zero, on either side, if there were no difference.
        method: of the test, with its bandwidth.
        n: rows.
        n_independent: label windows among them that do not overlap, n // h.
    """

    statistic: float
    p_one_sided: float
    p_two_sided: float
    method: str
    n: int
    n_independent: int


def compare_losses(differences: ArrayLike, horizon_sessions: int) -> TestResult | None:
    """Test that the losses of a model are lower than those of a benchmark on the same rows.

    Size, by simulation with n = 2400 and moving averages of h-1 lags, at 5 %: 5 to 7 % for h of 5, 21, 63 and 126.
    A memory far longer than h is beyond the lags of Diebold and Mariano's test: where two forecasts hardly move for a
    year and differ by a tenth of what h = 5 sessions bring, it rejects 9 %, and more the more they differ (26 % at
    three tenths). `fixed_smoothing` by itself then stays at 5 to 8 %.

    Args:
        differences: loss of the model minus loss of the benchmark, shape (rows,), one a session in order.
        horizon_sessions: h.

    Returns:
        A result whose statistic is negative where the model is better; None on fewer than 10 independent windows, or
        where all differences are the same.

    Raises:
        InputError: a difference that is not finite, or a horizon below 1.
    """
    d = _series(differences, horizon_sessions)
    return _mean_test(d, horizon_sessions, better=-1)


def direction_test(actual: ArrayLike, predicted: ArrayLike, horizon_sessions: int) -> TestResult | None:
    """Test that the predicted sign says something about the sign of the outcome.

    Pesaran and Timmermann (1992), as the slope of sign(actual) on sign(predicted) (Cumby and Modest 1987). The products
    of both signs, each less its mean, have a mean of zero where the signs are independent, and that mean is tested as
    `compare_losses` tests a loss. Always naming the direction the market mostly took is thus worth nothing. Taking the
    residuals under the hypothesis, not from the fitted slope, keeps the size where the predicted sign seldom changes:
    by simulation 3 to 7 % at 5 %, against up to 19 %. All rows are kept; a sign of zero counts as halfway.

    Args:
        actual: realised returns, shape (rows,), one a session in order.
        predicted: forecast returns, shape (rows,).
        horizon_sessions: h.

    Returns:
        A result whose statistic is positive where the model is better; None on fewer than 10 independent windows, or
        where either sign never changes.

    Raises:
        InputError: lengths that differ, a value that is not finite, or a horizon below 1.
    """
    a, p = _series(actual, horizon_sessions), _series(predicted, horizon_sessions)
    if a.shape != p.shape:
        raise InputError(
            "a test of direction needs as many forecasts as outcomes",
            where=f"{a.size} outcomes, {p.size} forecasts",
            action="test rows that have both",
        )
    signs = np.sign(a), np.sign(p)
    if any(_constant(s) for s in signs):
        return None
    up, said_up = (s - s.mean() for s in signs)
    return _mean_test(up * said_up, horizon_sessions, better=1)


def diebold_mariano(values: ArrayLike, horizon_sessions: int, *, better: int = -1) -> TestResult:
    """Test of a zero mean after Diebold and Mariano (1995), corrected after Harvey, Leybourne and Newbold (1997).

    The statistic is mean / `standard_error`, under Student's t with n-1 degrees of freedom.

    Args:
        values: shape (rows,), one a session in order, not all the same.
        horizon_sessions: h, below the number of rows.
        better: the sign of a good mean.

    Raises:
        InputError: a value that is not finite, no spread, or not more rows than h.
    """
    x = _series(values, horizon_sessions)
    error = standard_error(x, horizon_sessions)
    statistic = float(x.mean()) / error
    _, kernel = _long_run_variance(x, horizon_sessions)
    method = f"Diebold-Mariano, Harvey-Leybourne-Newbold, {kernel} kernel of {horizon_sessions - 1} lags"
    return _result(statistic, x.size - 1, better, method, x.size, horizon_sessions)


def fixed_smoothing(values: ArrayLike, horizon_sessions: int, *, better: int = -1) -> TestResult:
    """Test of a zero mean by the averaged periodogram, after Coroneo and Iacone (2020), J. of Applied Econometrics 35.

    The long-run variance is the mean of the first m periodogram ordinates (times 2 pi), and Student's t with 2m degrees
    of freedom knows how uncertain so few leave it. They take m = floor(T^(1/3)) for T observations. Here T counts
    windows of h sessions and not sessions: the spectrum of overlapping errors falls off at frequencies around 1 / h, so
    that m must not grow where the same outcomes are only sampled more densely. By simulation with h = 126 and n = 2400,
    m from sessions (13) rejects 13 % at 5 %, m from windows (2) rejects 5 %.

    Args:
        values: shape (rows,), one a session in order, not all the same.
        horizon_sessions: h.
        better: the sign of a good mean.

    Raises:
        InputError: a value that is not finite, no spread, or fewer than three rows.
    """
    x = _series(values, horizon_sessions)
    _require_spread(x, least=3)
    m = max(1, floor(cbrt(x.size // horizon_sessions)))
    transform = np.fft.rfft(x - x.mean())[1 : m + 1]
    variance = float(np.square(np.abs(transform)).mean()) / x.size
    statistic = float(x.mean()) / sqrt(variance / x.size)
    method = f"fixed smoothing, Daniell kernel of {m} ordinates"
    return _result(statistic, 2 * m, better, method, x.size, horizon_sessions)


def stricter_p(test: TestResult | None, differences: ArrayLike, horizon_sessions: int) -> float | None:
    """The larger p-value of the horizon's test and of fixed smoothing; None where there is no test.

    Forecasts that hardly move for a year, and states that last longer than a short horizon, have loss differences with
    a memory far beyond h sessions, on which Diebold and Mariano's test finds skill too often; fixed smoothing does not.

    Args:
        test: of the differences, as `compare_losses` gives it.
        differences: shape (rows,), one a session in order.
        horizon_sessions: h.
    """
    return test and max(test.p_one_sided, fixed_smoothing(differences, horizon_sessions).p_one_sided)


def standard_error(values: ArrayLike, horizon_sessions: int) -> float:
    """Standard error of the mean of values whose labels overlap by h-1 sessions.

    The long-run variance has a rectangular kernel of h-1 lags, exact for such a moving average; where its estimate is
    not positive, Bartlett's kernel of as many lags (Diebold and Mariano 1995). The factor of Harvey, Leybourne and
    Newbold (1997) makes up for the sample mean being subtracted: (n + 1 - 2h + h(h-1)/n) / n = (n-h)(n-h+1) / n^2.

    Raises:
        InputError: a value that is not finite, no spread, or not more rows than h.
    """
    x = _series(values, horizon_sessions)
    n, h = x.size, horizon_sessions
    _require_spread(x, least=h + 1)
    variance, _ = _long_run_variance(x, h)
    return sqrt(variance * n / ((n - h) * (n - h + 1)))


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """P-values adjusted for how many models were compared, after Holm (1979).

    If no model is better, the probability that any adjusted value is at or below a level is at most that level,
    however the models depend on each other.

    Args:
        p_values: of each model compared at one horizon; None where no test was possible, which counts for nothing.

    Raises:
        InputError: a p-value outside 0 to 1.
    """
    tested = sorted((_probability(p), name) for name, p in p_values.items() if p is not None)
    adjusted: dict[str, float | None] = dict.fromkeys(p_values)
    largest = 0.0
    for rank, (p, name) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p))
        adjusted[name] = largest
    return adjusted


def _mean_test(x: Floats, h: int, *, better: int) -> TestResult | None:
    independent = x.size // h
    if independent < LEAST_INDEPENDENT or _constant(x):
        return None
    test = diebold_mariano if independent >= LEAST_INDEPENDENT_FOR_NORMAL else fixed_smoothing
    return test(x, h, better=better)


def _result(statistic: float, degrees: int, better: int, method: str, n: int, h: int) -> TestResult:
    from scipy.special import stdtr

    one_sided = float(stdtr(degrees, -better * statistic))
    two_sided = float(2 * stdtr(degrees, -abs(statistic)))
    return TestResult(statistic, one_sided, two_sided, method, n, n // h)


def _long_run_variance(x: Floats, h: int) -> tuple[float, str]:
    """Long-run variance and the name of its kernel."""
    centred = x - x.mean()
    covariances = np.array([centred[k:] @ centred[: x.size - k] for k in range(h)]) / x.size
    rectangular = float(covariances[0] + 2 * covariances[1:].sum())
    if rectangular > 0:
        return rectangular, "rectangular"
    weights = 1 - np.arange(1, h) / h
    return float(covariances[0] + 2 * (weights * covariances[1:]).sum()), "Bartlett"


def _series(values: ArrayLike, horizon_sessions: int) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all() or horizon_sessions < 1:
        raise InputError(
            "a test needs finite values, one a session, and a horizon of at least one session",
            where=f"{x.size} values, {int((~np.isfinite(x)).sum())} not finite, horizon {horizon_sessions}",
            action="test rows with a forecast and a known outcome",
        )
    return x


def _require_spread(x: Floats, *, least: int) -> None:
    if x.size < least or _constant(x):
        raise InputError(
            f"a test of a mean needs at least {least} values that differ",
            where=f"{x.size} values, {np.unique(x).size} of them different",
            action="load a longer history, or do not test this horizon",
        )


def _constant(x: Floats) -> bool:
    """Whether the values differ by rounding at most."""
    return x.size == 0 or float(np.ptp(x)) <= 1e-12 * float(np.abs(x).max())


def _probability(p: float) -> float:
    if not 0 <= p <= 1:
        raise InputError(f"{p} is not a p-value", where="adjusted p-values", action="pass numbers from 0 to 1")
    return p
