"""Neural nets behind the Forecaster protocol: quantiles of the return in units of the market's volatility.

Belongs here: what goes into a net and what its answer means. Layers, epochs and windows are beside it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from zl_assets.core.evaluation.metrics import MEDIAN, QUANTILE_LEVELS
from zl_assets.core.models.base import (
    STATIONARY_FEATURES,
    Floats,
    contributions,
    floats,
    not_fitted,
    require_columns,
    require_rows,
)
from zl_assets.core.models.interval import weighted_quantiles
from zl_assets.core.models.neural.architectures import ARCHITECTURES, build
from zl_assets.core.models.neural.checkpoint import Arrays
from zl_assets.core.models.neural.runtime import Memory, load_keras, numpy_1_calls, resident_bytes
from zl_assets.core.models.neural.scaling import Scaling
from zl_assets.core.models.neural.training import PROFILES, Examples, Profile, compiled, forecast, train
from zl_assets.core.models.neural.windows import Panel, purged_tail, windows
from zl_assets.core.models.parameters import read_json, unreadable, write_json
from zl_assets.errors import ConfigurationError, InputError

SCALING_FILE = "scaling.json"
VOLATILITY = "ewma_volatility"
PRIOR_OUTCOMES = 50
"""Outcomes imagined beside those of the training rows that depart nowhere; ten years hold 120 months, 40 quarters."""


@dataclass(frozen=True, eq=False)
class _Fitted:
    """What forecasting needs.

    Attributes:
        scaling: of the features.
        unconditional: quantiles of the outcomes in expected volatilities of the horizon, shape (7,).
        kept: share of the departures that is forecast.
        nets: weights of the nets whose mean departure it is a share of.
    """

    scaling: Scaling
    unconditional: Floats
    kept: float
    nets: tuple[Arrays, ...]


class NeuralForecaster:
    """Quantiles of the return from a window of sessions.

    The outcome is counted in expected volatilities: u = target / (ewma_volatility * sqrt(h)), the volatility being that
    of the row. The nets forecast by how much the quantiles of u depart from the unconditional ones of the training
    rows, and start at 0: a net that finds nothing that also holds on the latest training rows forecasts the
    unconditional quantiles. The h rows of one label window repeat much the same outcome, so that n rows hold n / h; of
    a departure the share (n / h) / (n / h + PRIOR_OUTCOMES) is forecast. Windows are made of consecutive rows of the
    frame that is given; a session without a row is passed over.

    Two fits on the same rows predict the same bits on one machine. Fitting sets the seeds of Python, NumPy and
    TensorFlow and clears the session of Keras: nets of others in this process should not be half built.

    Attributes:
        architecture: key of ARCHITECTURES.
        horizon_sessions: h, sessions from a forecast to its outcome.
        profile: how thoroughly to train.
        features: columns offered to the next `fit`.
        checkpoint: directory in which a killed fit goes on where it stopped; its files are named after everything the
            fit depends on, so that fits may share it. Nothing is deleted from it.
        memory: around the last `fit`; None before.
    """

    def __init__(
        self,
        architecture: str,
        horizon_sessions: int,
        profile: Profile = "quick",
        features: Sequence[str] = STATIONARY_FEATURES,
        checkpoint: Path | None = None,
    ) -> None:
        if architecture not in ARCHITECTURES or profile not in PROFILES or horizon_sessions < 1:
            raise ConfigurationError(
                f"there is no net {architecture}, {profile}, {horizon_sessions} sessions ahead",
                where="neural",
                action=f"choose from {', '.join(ARCHITECTURES)}; {', '.join(PROFILES)}; 1 session or more",
            )
        self.architecture = architecture
        self.horizon_sessions = horizon_sessions
        self.profile: Profile = profile
        self.features = tuple(features)
        self.checkpoint = checkpoint
        self.memory: Memory | None = None
        self._settings = PROFILES[profile]
        self._fitted: _Fitted | None = None

    @property
    def columns_used(self) -> tuple[str, ...]:
        """Columns the fitted model reads, in its order: features and the volatility; empty before `fit`."""
        return (*self._fitted.scaling.features, VOLATILITY) if self._fitted else ()

    @property
    def lookback(self) -> int:
        """Rows before its own a forecast reads: one less than a window."""
        return self._settings.window - 1

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:
        """Learn from rows in order of their sessions; see `Forecaster`.

        The latest 15 % of the rows decide when to stop. Scaling and weights are learnt from the rows before them whose
        outcome was known by then; the unconditional quantiles forecasts start from are those of all rows.

        Raises:
            InputError: a column is missing by name, every feature is constant, a target, a weight or a volatility is
                not usable, or a checkpoint is damaged.
            NotEnoughHistory: too few rows for windows, a validation tail and the purge between them.
            MissingDependency: TensorFlow is not installed.
        """
        require_columns(
            frame, ("session_number", *self.features, VOLATILITY), f"{self.architecture}, rows to learn from"
        )
        require_rows(frame.height, target, weights)
        outcome = target / self._expected(frame)
        if not np.isfinite(outcome).all():
            raise InputError(
                "a row to learn from has no positive volatility", where=VOLATILITY, action="rebuild the training view"
            )
        load_keras()
        before = resident_bytes()
        sessions = frame["session_number"].to_numpy()
        n_learn, first_aside = purged_tail(sessions, self.horizon_sessions, self._settings.window)
        scaling = Scaling.fit(frame[:n_learn], self.features)
        known = weighted_quantiles(outcome[:n_learn], weights[:n_learn])
        stretches = windows(scaling.panel(frame), self._settings.window)
        departures = (outcome[:, None] - known[None, :]).astype(np.float32)
        shares = (weights / weights[:n_learn].mean()).astype(np.float32)
        examples = Examples(stretches, departures[self.lookback :], shares[self.lookback :])
        learn = examples[: n_learn - self.lookback]
        stop = examples[max(first_aside - self.lookback, 0) :]
        trained = [
            train(self.architecture, learn, stop, self._settings, number, self.checkpoint)
            for number in range(self._settings.n_nets)
        ]
        kept = n_learn / (n_learn + PRIOR_OUTCOMES * self.horizon_sessions)
        self._fitted = _Fitted(scaling, weighted_quantiles(outcome, weights), kept, tuple(trained))
        self.memory = Memory(before, resident_bytes())
        return self

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        """Quantiles of the returns, shape (rows, 7); see `Forecaster`.

        NaN, too, where the row's own volatility is missing. A feature that is missing counts as `Scaling` says.
        """
        fitted = self._get_fitted()
        require_columns(frame, self.columns_used, f"{self.architecture}, rows to forecast")
        predicted = np.full((frame.height, len(QUANTILE_LEVELS)), np.nan)
        predicted[self.lookback :] = self._standardised(windows(fitted.scaling.panel(frame), self._settings.window))
        return predicted * self._expected(frame)[:, None]

    def save(self, directory: Path) -> None:
        """Write scaling.json and one .keras file a net; see `Forecaster`."""
        fitted = self._get_fitted()
        held = {
            "architecture": self.architecture,
            "horizon_sessions": self.horizon_sessions,
            "profile": self.profile,
            "window": self._settings.window,
            "quantile_levels": QUANTILE_LEVELS,
            "unconditional_quantiles": fitted.unconditional.tolist(),
            "share_of_departures": fitted.kept,
            "scaling": asdict(fitted.scaling),
            "n_nets": len(fitted.nets),
        }
        write_json(directory / SCALING_FILE, held)
        net = build(self.architecture, self._settings.window, fitted.scaling.n_channels)
        for number, weights in enumerate(fitted.nets):
            net.set_weights(weights)
            with numpy_1_calls():
                net.save(directory / _net_file(number))

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote, without running any code it may hold; see `Forecaster`.

        Raises:
            InputError: a file is missing, damaged or of another version of the settings.
            MissingDependency: TensorFlow is not installed.
        """
        path = directory / SCALING_FILE
        held = read_json(path)
        try:
            scaling = Scaling(**{name: tuple(values) for name, values in held["scaling"].items()})
            loaded = cls(held["architecture"], held["horizon_sessions"], held["profile"], scaling.features)
            expected = (loaded._settings.window, list(QUANTILE_LEVELS))
            unconditional = np.array(held["unconditional_quantiles"], dtype=np.float64)
            if (held["window"], held["quantile_levels"]) != expected or unconditional.shape != (len(QUANTILE_LEVELS),):
                raise ValueError("its window or its levels are others")
            kept = float(held["share_of_departures"])
            numbers = range(held["n_nets"])
        except (ValueError, KeyError, TypeError, AttributeError, ConfigurationError) as error:
            raise unreadable(path, error) from error
        like = build(loaded.architecture, loaded._settings.window, scaling.n_channels)
        nets = tuple(_read_net(directory / _net_file(number), like) for number in numbers)
        loaded._fitted = _Fitted(scaling, unconditional, kept, nets)
        return loaded

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:
        """By how much the last row's median moves when a feature is known, against its training mean all along.

        One feature at a time is put at its mean in the whole window (occlusion, Zeiler and Fergus 2014), its gaps
        filled; the others stay. See `Forecaster`.

        Raises:
            InputError: as `predict_quantiles`, or the last row has fewer than `lookback` rows before it.
        """
        scaling = self._get_fitted().scaling
        require_columns(frame, self.columns_used, f"{self.architecture}, rows to explain")
        last = windows(scaling.panel(frame.tail(self._settings.window)), self._settings.window)
        if last.shape[0] == 0:
            raise InputError(
                f"{frame.height} rows hold no window of {self._settings.window}",
                where=f"{self.architecture}, rows to explain",
                action=f"give the last row with the {self.lookback} before it",
            )
        asked = np.repeat(last, 1 + len(scaling.features), axis=0)
        for i, feature in enumerate(scaling.features, start=1):
            asked[i, :, scaling.channels(feature)] = 0.0
        medians = self._standardised(asked)[:, MEDIAN] * self._expected(frame.tail(1))
        return contributions(scaling.features, medians[0] - medians[1:])

    def _standardised(self, asked: Panel) -> Floats:
        """Quantiles in expected volatilities of the horizon, shape (windows, 7)."""
        fitted = self._get_fitted()
        settings = self._settings
        net = compiled(self.architecture, settings.window, fitted.scaling.n_channels, settings.steps)
        departures = np.mean([forecast(net.model, weights, asked) for weights in fitted.nets], axis=0)
        return fitted.unconditional + fitted.kept * departures

    def _expected(self, frame: pl.DataFrame) -> Floats:
        """Expected volatility over the horizon; NaN where that of a session is missing or not positive."""
        volatility = floats(frame, VOLATILITY)
        return np.where(volatility > 0, volatility, np.nan) * np.sqrt(self.horizon_sessions)

    def _get_fitted(self) -> _Fitted:
        if self._fitted is None:
            raise not_fitted(self.architecture)
        return self._fitted


def _net_file(number: int) -> str:
    return f"net_{number}.keras"


def _read_net(path: Path, like: Any) -> Arrays:
    try:
        with numpy_1_calls():
            net = load_keras().saving.load_model(path, compile=False, safe_mode=True)
        weights: Arrays = net.get_weights()
        if [w.shape for w in weights] != [w.shape for w in like.get_weights()]:
            raise ValueError("its layers are others")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise unreadable(path, error) from error
    return weights
