"""Prophet: a bent line with a yearly season through the log price.

Belongs here: what of Prophet's curve is a forecast of the return, and how wide its interval is.
"""

# Prophet carries few types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import polars as pl

from zl_assets.core.exchange_calendar import sessions_of
from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Floats, floats, not_fitted, require_columns, require_rows
from zl_assets.core.models.interval import LEAST_ERRORS, StudentInterval, held_out
from zl_assets.core.models.parameters import read_parameters, unreadable, write_parameters
from zl_assets.core.models.statistical import sound_closes
from zl_assets.errors import InputError, MissingDependency, NotEnoughHistory

if TYPE_CHECKING:
    import pandas as pd
    import prophet

CURVE_FILE = "curve.json"
PARAMETERS_FILE = "parameters.json"

CLOSES = 1260
"""Closes a curve is drawn through at most, five years."""

SEED = 20100607
"""Of the curve's search. It starts from the same place each time, so that the seed decides nothing but is told."""


class Prophet:
    """Prophet's curve through the log closes, extended.

    The curve is drawn once, through the latest closes of the training rows: a line with bends, and a season of the
    year. With c its value on a date, the forecast of the return is exp(c(target date) - c(date of the row)) - 1, in a
    Student-t interval. Nothing that the price did after the training rows enters, so no look-back is needed.

    A curve bends with the prices it is drawn through, and its errors there say nothing about those to come. So the
    interval is that of a second curve, drawn through the earlier part of these closes, on the rows after them.

    Attributes:
        horizon_sessions: sessions from a forecast to its outcome.
        closes: a fit reads at most that many.
    """

    name: ClassVar[str] = "prophet"
    columns_used: ClassVar[tuple[str, ...]] = ("data_date", "ewma_volatility")
    lookback: ClassVar[int] = 0

    def __init__(self, horizon_sessions: int, closes: int = CLOSES) -> None:
        self.horizon_sessions = horizon_sessions
        self.closes = closes
        self._curve: prophet.Prophet | None = None
        self._interval: StudentInterval | None = None

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:
        """Learn from the latest closes; see `Forecaster`.

        Weights are checked and not used.

        Raises:
            MissingDependency: Prophet is not installed.
            NotEnoughHistory: too few sound closes to keep some of them from the curve.
            InputError: as `Forecaster`, or no curve is found.
        """
        require_columns(frame, (*self.columns_used, "close", "is_suspect"), f"{self.name}, rows to learn from")
        require_rows(frame.height, target, weights)
        rows, closes = sound_closes(frame)
        rows, closes = rows[-self.closes :], closes[-self.closes :]
        if closes.size < 2 * LEAST_ERRORS:
            raise NotEnoughHistory(
                f"{closes.size} sound closes, at least {2 * LEAST_ERRORS} are needed",
                where=self.name,
                action="load a longer history",
            )
        days = frame["data_date"][rows]
        earlier = closes.size - held_out(closes.size)
        self._curve = _drawn(days[:earlier], closes[:earlier])
        later = frame[rows[earlier:]]
        actual, volatility = target[rows[earlier:]], floats(later, "ewma_volatility")
        self._interval = StudentInterval.fit(actual, self._point(later), volatility)
        self._curve = _drawn(days, closes)
        return self

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        """Quantiles of the returns, shape (rows, 7); see `Forecaster`."""
        if self._interval is None:
            raise not_fitted(self.name)
        require_columns(frame, self.columns_used, f"{self.name}, rows to forecast")
        return self._interval.quantiles(self._point(frame), floats(frame, "ewma_volatility"))

    def save(self, directory: Path) -> None:
        """Write curve.json, in Prophet's own format, and parameters.json; see `Forecaster`."""
        if self._curve is None or self._interval is None:
            raise not_fitted(self.name)
        _, serialize = _library()
        held = {"horizon_sessions": self.horizon_sessions, "interval": asdict(self._interval)}
        (directory / CURVE_FILE).write_text(serialize.model_to_json(self._curve) + "\n", encoding="utf-8")
        write_parameters(directory / PARAMETERS_FILE, self.name, held)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote; see `Forecaster`.

        Raises:
            MissingDependency: Prophet is not installed.
            InputError: a file is missing or damaged.
        """
        _, serialize = _library()
        held = read_parameters(directory / PARAMETERS_FILE, cls.name)
        try:
            loaded = cls(int(held["horizon_sessions"]))
            loaded._interval = StudentInterval.of(held["interval"])
            loaded._curve = serialize.model_from_json((directory / CURVE_FILE).read_text(encoding="utf-8"))
            loaded._try_out()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise unreadable(directory, error) from error
        return loaded

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:  # noqa: ARG002
        """No feature moves the forecast: no rows; see `Forecaster`."""
        return pl.DataFrame(schema=CONTRIBUTION_SCHEMA)

    def _point(self, frame: pl.DataFrame) -> Floats:
        """Expected returns, shape (rows,)."""
        if self._curve is None:
            raise not_fitted(self.name)
        days = frame["data_date"].to_numpy().astype("datetime64[D]")
        ends = _sessions_after(days, self.horizon_sessions)
        both, place = np.unique(np.concatenate([days, ends]), return_inverse=True)
        if both.size == 0:
            return np.empty(0)
        value = _values(self._curve, both)[place]
        return np.expm1(value[days.size :] - value[: days.size])

    def _try_out(self) -> None:
        """Forecast once, so that a parameter that is not the number it should be shows at once.

        Raises:
            ValueError: the quantiles are not finite and ascending.
        """
        day = pl.Series([sessions_of("grains")[0]], dtype=pl.Date)
        quantiles = self.predict_quantiles(pl.DataFrame({"data_date": day, "ewma_volatility": [0.01]}))[0]
        if not np.isfinite(quantiles).all() or not (np.diff(quantiles) > 0).all():
            raise ValueError("its forecasts are not numbers")


def _library() -> tuple[Any, Any]:
    """Prophet's package and its module that writes models.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        with _silent("prophet.plot"):  # which plotting packages are missing concerns nobody here
            import prophet
            from prophet import serialize
    except ImportError as error:
        raise MissingDependency(
            f"this model needs Prophet: {error}", action="uv sync --extra prophet, or pip install 'zl-assets[prophet]'"
        ) from error
    return prophet, serialize


def _drawn(days: pl.Series, closes: Floats) -> prophet.Prophet:
    """The curve through log closes on their days, without the closes themselves.

    Raises:
        InputError: the search for a curve fails.
    """
    library, _ = _library()
    history = pl.DataFrame({"ds": days.cast(pl.Datetime("ns")), "y": closes}).to_pandas()
    # Closes come once a session: a season of the week or the day would be made of noise.
    seasons = {"yearly_seasonality": True, "weekly_seasonality": False, "daily_seasonality": False}
    try:
        with _silent("cmdstanpy", "prophet"):
            curve = library.Prophet(**seasons, uncertainty_samples=0)
            curve.fit(history, seed=SEED)
    except RuntimeError as error:
        raise InputError(
            f"Prophet finds no curve: {error}", where=f"{closes.size} closes", action="check the prices of these dates"
        ) from error
    curve.history, curve.history_dates = curve.history.tail(1), curve.history_dates.tail(1)
    return curve


def _values(curve: prophet.Prophet, days: np.ndarray[Any, np.dtype[np.datetime64]]) -> Floats:
    """The curve on ascending days, shape (days,)."""
    import pandas as pd

    predicted: pd.DataFrame = curve.predict(pd.DataFrame({"ds": days.astype("datetime64[ns]")}))
    return predicted["yhat"].to_numpy(dtype=np.float64)


def _sessions_after(
    days: np.ndarray[Any, np.dtype[np.datetime64]], sessions: int
) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    """Trade dates that lie a number of sessions after given days, shape (days,).

    Raises:
        InputError: one lies beyond the calendar's end.
    """
    calendar = np.array(sessions_of("grains"), dtype="datetime64[D]")
    position = np.searchsorted(calendar, days) + sessions
    if position.size and position.max() >= calendar.size:
        raise InputError(
            f"the calendar ends before {sessions} sessions have passed",
            where=f"{days.max()}, the calendar ends on {calendar[-1]}",
            action="check the dates of these rows",
        )
    return calendar[position]


@contextmanager
def _silent(*names: str) -> Generator[None]:
    """Let loggers say nothing, for the time being; CmdStanPy resets the level of its own, so it is not asked for."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
