"""Which of four market states will hold h sessions ahead: crisis, bull, bear or normal.

Belongs here: the heuristic state of a session, and a classifier of the state ahead. The state of a session is known at
that session from its own past; the classifier never sees a state of a later one except as the label of a training row.
"""

# SciPy carries no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zl_assets.core.evaluation.metrics import kish_effective_size
from zl_assets.core.evaluation.splits import MIN_TRAIN_SESSIONS
from zl_assets.core.models.base import Floats, matrix, not_fitted, require_columns
from zl_assets.core.models.parameters import read_parameters, unreadable, write_parameters
from zl_assets.core.training_frame import sound_return
from zl_assets.errors import InputError, NotEnoughHistory

STATES: tuple[str, ...] = ("crisis", "bull", "bear", "normal")
"""The four states, in the order of the columns of every table of probabilities."""

STATE_COLUMNS: tuple[str, ...] = ("session_number", "is_suspect", "close", "return_1d")
"""What the state of a session is made of, besides the VIX."""

VIX_BAND = "vix_band"
"""3 where the VIX is 30 or above. A frame without this column, or a row without a value, has no VIX: then the
volatility alone decides on a crisis."""

SESSIONS = 30
"""Sessions a state looks back on."""

SLACK = 3
"""Further sessions back the first close may be taken from, where the session itself has no sound one."""

LOOKBACK = SESSIONS + SLACK
"""Rows before its own that a state reads at most."""

SHRINKAGE = 10.0
"""How many label windows the penalty weighs as much as; see `RegimeClassifier`. Between 5 and 20, the log loss on the
real folds changes by less than one part in a hundred."""

MODEL_FILE = "regime_classifier.json"

_YEAR = 252
_KNOWN_RETURNS = 25
_NAME = "regime_classifier"


def sound_moves() -> pl.Expr:
    """The return of a session, null where it is not sound, or not from the session before; see `sound_return`.

    Rows come in order. The first one has no return, as the row before it is not there to be judged.
    """
    return pl.when(pl.col("session_number").diff() == 1).then(sound_return())


def regime_state(frame: pl.DataFrame) -> pl.Series:
    """The state of every session from its own past; null where its last 30 sessions are not known.

    Crisis: VIX of 30 or above, or a volatility above 0.4. Bull: a return above 0.1 and a volatility below 0.25. Bear: a
    return below -0.1, or a volatility above 0.3 and a negative return. Normal otherwise. The first that fits holds.
    Return and volatility are those of 30 sessions, the latter the annualised standard deviation of the daily returns.

    Args:
        frame: one row a session in order, with STATE_COLUMNS and, where there is one, VIX_BAND.

    Raises:
        InputError: a column is missing by name.
    """
    past = _past(frame)
    change, volatility = pl.col("return_30"), pl.col("volatility_30")
    state = (
        pl.when(change.is_null() | volatility.is_null())
        .then(None)
        .when((pl.col(VIX_BAND) >= 3) | (volatility > 0.4))
        .then(pl.lit("crisis"))
        .when((change > 0.1) & (volatility < 0.25))
        .then(pl.lit("bull"))
        .when((change < -0.1) | ((volatility > 0.3) & (change < 0)))
        .then(pl.lit("bear"))
        .otherwise(pl.lit("normal"))
    )
    return past.select(state=state.cast(pl.String))["state"]


def states_ahead(frame: pl.DataFrame, sessions: int) -> pl.Series:
    """The state that held that many sessions after each row; null where it is not known, as for the last rows.

    Raises:
        InputError: a column is missing by name.
    """
    later = frame.select(pl.col("session_number") - sessions, state=regime_state(frame))
    rows = frame.select("session_number")
    return rows.join(later, on="session_number", how="left", maintain_order="left")["state"]


class RegimeClassifier:
    """Multinomial logistic regression of the state h sessions ahead, shrunk towards the frequencies of the past.

    The log odds of a row are those of the training frequencies plus a linear function of the row, whose coefficients
    are penalised as SHRINKAGE label windows of h rows would be: since neighbouring rows repeat the same outcome, the
    penalty grows with h. Coefficients of zero give the frequencies. To these, the rows of one more window are added,
    spread evenly, so that a state never seen is not impossible.

    Attributes:
        horizon_sessions: h.
        vix_used: whether the VIX was there to learn from.
        frequencies: of STATES in the training rows, shape (4,).
    """

    lookback = LOOKBACK

    def __init__(self, horizon_sessions: int) -> None:
        self.horizon_sessions = horizon_sessions
        self.vix_used = False
        self.frequencies: Floats = np.empty(0)
        self._mean: Floats = np.empty(0)
        self._scale: Floats = np.empty(0)
        self._coefficients: Floats = np.empty((0, len(STATES)))

    @classmethod
    def knowing_nothing(cls, horizon_sessions: int) -> Self:
        """A classifier that gives all states the same probability, for where too little is known to learn from."""
        made, n_inputs = cls(horizon_sessions), len(_input_names(vix_used=False))
        made.frequencies = np.full(len(STATES), 1 / len(STATES))
        made._mean, made._scale = np.zeros(n_inputs), np.ones(n_inputs)
        made._coefficients = np.zeros((n_inputs, len(STATES)))
        return made

    @property
    def columns_used(self) -> tuple[str, ...]:
        """Columns the fitted classifier reads."""
        return (*STATE_COLUMNS, VIX_BAND) if self.vix_used else STATE_COLUMNS

    def fit(self, frame: pl.DataFrame, weights: Floats) -> Self:
        """Learn from every session known at a moment, and return itself fitted.

        The labels are found inside the frame: its last h rows have none, and nothing after the frame is needed. The
        scale of the weights does not matter.

        Args:
            frame: one row a session in order, with STATE_COLUMNS and, where there is one, VIX_BAND.
            weights: of the rows, shape (rows,), positive.

        Raises:
            InputError: a column is missing by name, or the weights do not fit the rows.
            NotEnoughHistory: fewer than half a year of rows whose states now and h sessions ahead are known.
        """
        require_columns(frame, STATE_COLUMNS, "regime classifier, rows to learn from")
        if weights.shape != (frame.height,):
            raise InputError(
                "every row needs a weight", where=f"{frame.height} rows, {weights.size} weights", action="give one each"
            )
        kish_effective_size(weights)
        inputs = _inputs(frame, vix_used=True)
        ahead = states_ahead(frame, self.horizon_sessions).cast(pl.Enum(STATES)).to_physical()
        kept = np.isfinite(inputs[:, 0]) & ahead.is_not_null().to_numpy()
        if kept.sum() < MIN_TRAIN_SESSIONS:
            raise NotEnoughHistory(
                f"{int(kept.sum())} sessions have a known state now and {self.horizon_sessions} sessions ahead, "
                f"{MIN_TRAIN_SESSIONS} are needed",
                where="regime classifier",
                action="load a longer history, or leave this horizon out",
            )
        vix = inputs[kept, -1]
        self.vix_used = np.unique(vix[np.isfinite(vix)]).size > 1
        n_inputs = len(_input_names(self.vix_used))
        self._learn(inputs[kept, :n_inputs], ahead.to_numpy()[kept].astype(np.intp), weights[kept])
        return self

    def predict_probabilities(self, frame: pl.DataFrame) -> Floats:
        """Probabilities of STATES h sessions after each row, shape (rows, 4); NaN where the row's own is not known.

        A row reads itself and at most `lookback` rows before it.

        Raises:
            InputError: a column in `columns_used` is missing by name, or the classifier is not fitted.
        """
        if not self.frequencies.size:
            raise not_fitted(_NAME)
        require_columns(frame, self.columns_used, "regime classifier, rows to forecast")
        inputs = self._standardised(_inputs(frame, vix_used=self.vix_used))
        return _softmax(np.log(self.frequencies) + _times(inputs, self._coefficients))

    def save(self, directory: Path) -> None:
        """Write regime_classifier.json into an existing directory.

        Raises:
            InputError: the classifier is not fitted.
            OSError: the file cannot be written.
        """
        if not self.frequencies.size:
            raise not_fitted(_NAME)
        held = {
            "horizon_sessions": self.horizon_sessions,
            "vix_used": self.vix_used,
            "frequencies": self.frequencies.tolist(),
            "mean": self._mean.tolist(),
            "scale": self._scale.tolist(),
            "coefficients": self._coefficients.tolist(),
        }
        write_parameters(directory / MODEL_FILE, _NAME, held)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read a classifier that `save` wrote; it gives the same probabilities.

        Raises:
            InputError: the file is missing or damaged.
        """
        path = directory / MODEL_FILE
        held = read_parameters(path, _NAME)
        try:
            loaded = cls(int(held["horizon_sessions"]))
            loaded.vix_used = bool(held["vix_used"])
            loaded.frequencies = _numbers(held["frequencies"], (len(STATES),))
            n_inputs = len(_input_names(loaded.vix_used))
            loaded._mean = _numbers(held["mean"], (n_inputs,))
            loaded._scale = _numbers(held["scale"], (n_inputs,))
            loaded._coefficients = _numbers(held["coefficients"], (n_inputs, len(STATES)))
        except (KeyError, TypeError, ValueError) as error:
            raise unreadable(path, error) from error
        return loaded

    def _learn(self, inputs: Floats, ahead: NDArray[np.intp], weights: Floats) -> None:
        share = weights / weights.mean()
        window = self.horizon_sessions
        counts = np.bincount(ahead, weights=share, minlength=len(STATES)) + window / len(STATES)
        self.frequencies = counts / counts.sum()
        # Rows without a VIX carry NaN there and nowhere else.
        self._mean = np.nanmean(inputs, axis=0)
        spread = np.nanstd(inputs, axis=0)
        self._scale = np.where(spread > 0, spread, 1.0)
        self._coefficients = penalised_logistic(
            self._standardised(inputs), ahead, share, np.log(self.frequencies), SHRINKAGE * window
        )

    def _standardised(self, inputs: Floats) -> Floats:
        """Inputs in training units; a missing VIX is 0, the training mean, and so counts for nothing."""
        units = (inputs - self._mean) / self._scale
        known = np.isfinite(inputs[:, 0])
        units[known] = np.where(np.isfinite(units[known]), units[known], 0.0)
        return units


def _past(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns return_30, volatility_30 (annualised) and VIX_BAND of every row; null where not known."""
    require_columns(frame, STATE_COLUMNS, "regime state")
    number, close = pl.col("session_number"), pl.col("close").cast(pl.Float64)
    rows = frame.select(
        number,
        close=pl.when(~pl.col("is_suspect")).then(close),
        move=sound_moves(),
        **{VIX_BAND: pl.col(VIX_BAND).cast(pl.Float64).fill_nan(None) if VIX_BAND in frame.columns else pl.lit(None)},
    ).with_columns(since=number - SESSIONS)
    first = rows.drop_nulls("close").select(number, first_close="close")
    joined = rows.join_asof(first, left_on="since", right_on="session_number", strategy="backward", tolerance=SLACK)
    deviation = pl.col("move").rolling_std_by("session_number", f"{SESSIONS}i", min_samples=_KNOWN_RETURNS)
    return joined.select(
        return_30=pl.col("close") / pl.col("first_close") - 1,
        volatility_30=deviation * _YEAR**0.5,
        **{VIX_BAND: pl.col(VIX_BAND)},
    )


def _input_names(vix_used: bool) -> tuple[str, ...]:
    vix = (VIX_BAND,) if vix_used else ()
    return ("return_30", "log_volatility_30", *STATES, *vix)


def _inputs(frame: pl.DataFrame, *, vix_used: bool) -> Floats:
    """What a forecast reads of every row, shape (rows, inputs): all NaN where the state of the row is not known."""
    past = _past(frame).with_columns(state=regime_state(frame))
    # A market that has not moved for 30 sessions has no logarithm; it is as calm as one of 0.1 % a year.
    volatility = pl.col("volatility_30").clip(lower_bound=1e-3).log()
    flags = {name: (pl.col("state") == name).cast(pl.Float64) for name in STATES}
    table = past.select("return_30", VIX_BAND, log_volatility_30=volatility, **flags)
    inputs = matrix(table, _input_names(vix_used))
    inputs[past["state"].is_null().to_numpy()] = np.nan
    return inputs


def penalised_logistic(inputs: Floats, label: NDArray[np.intp], share: Floats, offset: Floats, l2: float) -> Floats:
    """Coefficients that minimise sum(share * -log p(label)) + l2 / 2 * sum(coefficients^2).

    Args:
        inputs: shape (rows, inputs).
        label: positions in STATES, shape (rows,).
        share: weights of the rows, shape (rows,).
        offset: log odds of a row whose inputs are 0, shape (4,).
        l2: the penalty.

    Returns:
        Shape (inputs, 4).
    """
    from scipy.optimize import minimize

    hit = np.eye(len(STATES))[label]
    shape = (inputs.shape[1], len(STATES))

    def loss(flat: Floats) -> tuple[float, Floats]:
        coefficients = flat.reshape(shape)
        p = _softmax(offset + inputs @ coefficients)
        missed = -float(share @ np.log(np.maximum(p[np.arange(label.size), label], 1e-300)))
        slope = inputs.T @ (share[:, None] * (p - hit)) + l2 * coefficients
        return missed + l2 / 2 * float(np.square(flat).sum()), slope.ravel()

    found = minimize(
        loss,
        np.zeros(shape).ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 1000, "ftol": 1e-13, "gtol": 1e-8},
    )
    return np.asarray(found.x, dtype=np.float64).reshape(shape)


def _times(inputs: Floats, coefficients: Floats) -> Floats:
    """Their product, summed input by input: a row gives the same bits alone and among others."""
    out = np.zeros((inputs.shape[0], coefficients.shape[1]))
    for k in range(inputs.shape[1]):
        out += inputs[:, k, None] * coefficients[k]
    return out


def _softmax(log_odds: Floats) -> Floats:
    raised = np.exp(log_odds - log_odds.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _numbers(held: object, shape: tuple[int, ...]) -> Floats:
    numbers = np.array(held, dtype=np.float64)
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise ValueError(f"{shape} finite numbers are needed, not {numbers.shape}")
    return numbers
