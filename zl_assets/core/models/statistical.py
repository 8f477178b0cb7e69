"""The classical models of one price alone: ARIMA, exponential smoothing and the theta method.

Belongs here: from rows to windows of closes, and from a forecast log price to quantiles of the return. The models
themselves are in `recursions`.
"""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from typing import ClassVar, Self

import numpy as np
import polars as pl

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Floats, floats, not_fitted, require_columns, require_rows
from zl_assets.core.models.parameters import read_parameters, unreadable, write_parameters
from zl_assets.core.models.recursions import ArimaRecursion, EtsRecursion, Recursion, ThetaRecursion
from zl_assets.errors import InputError, NotEnoughHistory

PARAMETERS_FILE = "parameters.json"

CLOSES = 1260
"""Closes a model is fitted on at most, five years: a price of longer ago moved differently."""

LEAST_CLOSES = 84
"""Fewest closes a model is fitted on: a quarter, and SPARE."""

SPARE = 21
"""Rows a look-back has beyond a window's closes, so that a forecast can pass over as many suspect sessions."""


class StatisticalForecaster:
    """A model of the log price on its own past, with normal errors.

    `fit` chooses the model and its parameters on the latest closes. A forecast applies them to the window of its own
    row: the latest sound closes, the row's among them. With m the mean and s the standard deviation of the log price
    h sessions after the row's close P, the quantile of the return at level q is exp(m - log P + s z_q) - 1, where z_q
    is the standard normal quantile.

    Suspect sessions and rows without a close are passed over, and those next to them count as neighbours. At such a row
    there is no price to forecast from: its quantiles are NaN, as are those of a row whose look-back holds too few sound
    closes.

    Attributes:
        horizon_sessions: sessions from a forecast to its outcome.
        closes: a fit reads at most that many.
    """

    name: ClassVar[str]
    columns_used: ClassVar[tuple[str, ...]] = ("close", "is_suspect")
    kind: ClassVar[type[Recursion]]

    def __init__(self, horizon_sessions: int, closes: int = CLOSES) -> None:
        if horizon_sessions < 1 or closes < LEAST_CLOSES:
            raise InputError(
                "the model is not defined",
                where=f"{horizon_sessions} sessions ahead, fitted on {closes} closes",
                action=f"give a horizon of at least 1 session and at least {LEAST_CLOSES} closes",
            )
        self.horizon_sessions = horizon_sessions
        self.closes = closes
        self._recursion: Recursion | None = None
        self._window = closes - SPARE

    @property
    def lookback(self) -> int:
        """Rows before its own that a forecast reads: fewer than `fit` saw; before `fit`, the most it can become."""
        return self._window + SPARE - 1

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:
        """Learn from the latest closes; see `Forecaster`.

        Targets and weights are checked and not used: the model is of the price from one session to the next.

        Raises:
            NotEnoughHistory: fewer than LEAST_CLOSES sound closes.
            InputError: as `Forecaster`, or the price never moved.
        """
        require_columns(frame, self.columns_used, f"{self.name}, rows to learn from")
        require_rows(frame.height, target, weights)
        _, sound = sound_closes(frame)
        latest = sound[-self.closes :]
        if latest.size < LEAST_CLOSES:
            raise NotEnoughHistory(
                f"{latest.size} sound closes, at least {LEAST_CLOSES} are needed",
                where=self.name,
                action="load a longer history",
            )
        if np.ptp(latest) == 0:
            raise InputError("the price never moved", where=self.name, action="check the prices of these dates")
        self._recursion = self.kind.fit(latest)
        self._window = latest.size - SPARE
        return self

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        """Quantiles of the returns, shape (rows, 7); see `Forecaster`."""
        if self._recursion is None:
            raise not_fitted(self.name)
        require_columns(frame, self.columns_used, f"{self.name}, rows to forecast")
        moved = np.full(frame.height, np.nan)
        rows, closes = sound_closes(frame)
        if closes.size >= self._window:
            last, within = sound_windows(rows, self._window, self.lookback)
            means = self._recursion.forecast(closes, self._window, self.horizon_sessions)
            moved[last[within]] = (means - closes[self._window - 1 :])[within]
        deviation = self._recursion.deviation(self._window, self.horizon_sessions)
        normal = np.array([NormalDist().inv_cdf(level) for level in QUANTILE_LEVELS])
        return np.expm1(moved[:, None] + deviation * normal[None, :])

    def save(self, directory: Path) -> None:
        """Write parameters.json; see `Forecaster`."""
        if self._recursion is None:
            raise not_fitted(self.name)
        held = {
            "horizon_sessions": self.horizon_sessions,
            "window": self._window,
            "parameters": vars(self._recursion),
        }
        write_parameters(directory / PARAMETERS_FILE, self.name, held)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read parameters.json; see `Forecaster`."""
        path = directory / PARAMETERS_FILE
        held = read_parameters(path, cls.name)
        try:
            loaded = cls(held["horizon_sessions"])
            loaded._window = held["window"]
            loaded._recursion = cls.kind(**held["parameters"])
            loaded._try_out()
        except (ValueError, KeyError, TypeError, InputError) as error:
            raise unreadable(path, error) from error
        return loaded

    def _try_out(self) -> None:
        """Forecast once, so that a parameter that is not the number it should be shows at once.

        Raises:
            ValueError: the quantiles are not finite and ascending.
        """
        frame = pl.DataFrame({"close": np.linspace(30, 40, self.lookback + 1), "is_suspect": False})
        with np.errstate(all="ignore"):
            quantiles = self.predict_quantiles(frame)[-1]
        if not np.isfinite(quantiles).all() or not (np.diff(quantiles) > 0).all():
            raise ValueError("its forecasts are not numbers")

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:  # noqa: ARG002
        """No feature moves the forecast: no rows; see `Forecaster`."""
        return pl.DataFrame(schema=CONTRIBUTION_SCHEMA)


class Arima(StatisticalForecaster):
    """AutoARIMA without a season."""

    name = "arima"
    kind = ArimaRecursion


class Ets(StatisticalForecaster):
    """AutoETS without a season, with additive errors."""

    name = "ets"
    kind = EtsRecursion


class Theta(StatisticalForecaster):
    """AutoTheta without a season."""

    name = "theta"
    kind = ThetaRecursion


def sound_closes(frame: pl.DataFrame) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], Floats]:
    """Positions of the rows with a close to build on, and the logarithms of these closes."""
    close = floats(frame, "close")
    suspect = frame["is_suspect"].fill_null(True).to_numpy()
    rows = np.flatnonzero(~suspect & np.isfinite(close) & (close > 0))
    return rows, np.log(close[rows])


def sound_windows(
    rows: np.ndarray[tuple[int], np.dtype[np.intp]], window: int, lookback: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """The row that each window of so many consecutive sound closes ends at, and whether its look-back holds the window.

    Args:
        rows: positions of the sound closes, at least `window`.
        window: closes of a window.
        lookback: rows before its own that a forecast reads.
    """
    first, last = rows[: rows.size - window + 1], rows[window - 1 :]
    return last, (last - first <= lookback) & (last >= lookback)
