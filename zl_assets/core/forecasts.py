"""The forecasts of all models of one horizon as the rows that are stored, one of them published.

Belongs here: from what each model said to prices, quantiles and how far to trust them. Fitting does not; which model is
published is decided in `evaluation.judgement`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl

from zl_assets.core.conviction import Outlook, trust_history
from zl_assets.core.direction import calibrated_direction, direction_probability
from zl_assets.core.evaluation.calibration import calibrated
from zl_assets.core.evaluation.judgement import Judgement, former_champions, judge
from zl_assets.core.evaluation.metrics import MEDIAN, QUANTILE_COLUMNS
from zl_assets.core.horizons import Horizon
from zl_assets.core.models.base import Floats, floats, matrix
from zl_assets.errors import InputError

OK = "ok"
"""State of a row that holds a forecast."""

TOLD_DRIVERS = 5
"""Drivers that a row names."""

TRUST_COLUMNS: tuple[str, ...] = (
    "conviction",
    "confidence",
    "crisis_intensity",
    "signal_strength",
    "regime_certainty",
)

FORECAST_SCHEMA: dict[str, pl.DataType] = {
    "as_of_date": pl.Date(),
    "data_as_of": pl.Date(),
    "horizon": pl.String(),
    "target_date": pl.Date(),
    "model": pl.String(),
    "model_version": pl.String(),
    "run_id": pl.String(),
    "surface": pl.String(),
    "current_price": pl.Float64(),
    "state": pl.String(),
    "predicted_return": pl.Float64(),
    "predicted_price": pl.Float64(),
    **{name: pl.Float64() for name in QUANTILE_COLUMNS},
    "direction_probability": pl.Float64(),
    **{name: pl.Float64() for name in TRUST_COLUMNS},
    "regime": pl.String(),
    "drivers": pl.String(),
    "no_change_mae": pl.Float64(),
    "model_mae": pl.Float64(),
    "skill_vs_no_change": pl.Float64(),
    "skill_p_value": pl.Float64(),
    "n_independent": pl.Int64(),
    "is_champion": pl.Boolean(),
    "champion_reason": pl.String(),
    "is_simulated": pl.Boolean(),
    "created_at": pl.Datetime("us", "UTC"),
}
"""Columns of a forecast row: prices in the instrument's unit, returns and their errors as fractions."""


@dataclass(frozen=True, eq=False)
class ModelForecast:
    """What one model said.

    Attributes:
        model: its name.
        version: its version.
        run_id: run that trained it.
        oof: rows of OOF_SCHEMA.
        newest: one row of OOF_SCHEMA, whose outcome nobody knows yet.
        drivers: rows of CONTRIBUTION_SCHEMA, of `newest`.
        refusal: why it does not forecast, in one line; None where it does.
    """

    model: str
    version: str
    run_id: str
    oof: pl.DataFrame
    newest: pl.DataFrame
    drivers: pl.DataFrame
    refusal: str | None = None


@dataclass(frozen=True, eq=False)
class MarketState:
    """The market around each forecast, by session.

    Attributes:
        states: names of the market states.
        rows: session_number, vix (index points, null where unknown), annual_volatility (a fraction), and the
            probability of each state at the target date under its name.
    """

    states: tuple[str, ...]
    rows: pl.DataFrame


@dataclass(frozen=True)
class ForecastContext:
    """What a forecast row says about itself beyond the figures.

    Attributes:
        horizon: how far ahead.
        target_date: session the outcome is decided on.
        is_simulated: whether the prices behind it are simulated.
        created_at: moment it was made, with a time zone.
        surface: feature surface of the models.
        data_as_of: newest session in the data; that of the forecast if None.
    """

    horizon: Horizon
    target_date: date
    is_simulated: bool
    created_at: datetime
    surface: str = "prod"
    data_as_of: date | None = None

    def __post_init__(self) -> None:
        if self.created_at.tzinfo is None:
            raise InputError(
                "created_at has no time zone", where=self.created_at.isoformat(), action="pass an aware datetime"
            )


@dataclass(frozen=True, eq=False)
class Publication:
    """All forecasts of one horizon.

    Attributes:
        rows: rows of FORECAST_SCHEMA, one a model; one of them is the champion.
        judgement: why.
        trust: rows of TRUST_SCHEMA, the champion's, out of fold and of the newest session.
        champion: calibrated rows of OOF_SCHEMA of the champion, out of fold and of the newest session.
    """

    rows: pl.DataFrame
    judgement: Judgement
    trust: pl.DataFrame
    champion: pl.DataFrame


def judged(models: Sequence[ModelForecast], horizon: Horizon) -> tuple[Judgement, dict[str, pl.DataFrame]]:
    """Calibrate every model's forecasts and compare them.

    Returns:
        The judgement, and by model the calibrated rows of OOF_SCHEMA, the newest forecast last.

    Raises:
        InputError: no-change is missing, or models were not judged on the same rows.
    """
    whole = {m.model: calibrated(pl.concat([m.oof, m.newest]), horizon.sessions) for m in models}
    known = {name: rows.head(-1) for name, rows in whole.items()}
    return judge({m.model: m.oof for m in models}, known, horizon), whole


def publish(models: Sequence[ModelForecast], market: MarketState, context: ForecastContext) -> Publication:
    """The rows of all models of a horizon, one of them published.

    A champion that refuses still is the champion: what is published then is that there is no forecast, and why.

    Args:
        models: all of them, no-change among them, trained on the same rows.
        market: around each of their sessions; figures that need what it lacks are null.
        context: what else the rows say.

    Raises:
        InputError: no-change is missing, models were not judged on the same rows, a session has no positive price, or
            the target date is not later.
    """
    judgement, whole = judged(models, context.horizon)
    # A model that refuses agrees and disagrees with nobody, now as before: fewer opinions always lie closer together.
    heard = [m.model for m in models if m.refusal is None] or [m.model for m in models]
    medians = np.column_stack([floats(whole[model], "q50") for model in heard])
    trusted = {name: _trust(rows, medians, market) for name, rows in whole.items()}
    rows = [_row(m, whole[m.model], trusted[m.model].tail(1), market, judgement, context) for m in models]
    frame = pl.DataFrame(rows, schema=FORECAST_SCHEMA).with_columns(pl.selectors.float().fill_nan(None))
    return Publication(frame, judgement, trusted[judgement.champion], whole[judgement.champion])


def _trust(rows: pl.DataFrame, medians: Floats, market: MarketState) -> pl.DataFrame:
    around = rows.select("session_number").join(
        market.rows, on="session_number", how="left", maintain_order="left", validate="1:1"
    )
    return trust_history(
        Outlook(
            session_number=rows["session_number"].to_numpy(),
            quantiles=matrix(rows, QUANTILE_COLUMNS),
            medians=medians,
            regime_probabilities=matrix(around, market.states),
            vix=floats(around, "vix"),
            annual_volatility=floats(around, "annual_volatility"),
        )
    )


def _row(
    model: ModelForecast,
    rows: pl.DataFrame,
    trust: pl.DataFrame,
    market: MarketState,
    judgement: Judgement,
    context: ForecastContext,
) -> dict[str, Any]:
    newest = rows.row(-1, named=True)
    current = _current_price(newest, context)
    standing = judgement.of(model.model)
    told = _figures(model, rows, trust, market, context.horizon) if model.refusal is None else {}
    return {
        "as_of_date": newest["data_date"],
        "data_as_of": context.data_as_of or newest["data_date"],
        "horizon": context.horizon.code,
        "target_date": context.target_date,
        "model": model.model,
        "model_version": model.version,
        "run_id": model.run_id,
        "surface": context.surface,
        "current_price": current,
        "state": model.refusal or OK,
        **told,
        "no_change_mae": standing.scores.no_change_mae,
        "model_mae": standing.scores.mae,
        "skill_vs_no_change": 1 - (standing.scores.crps_vs_no_change or 1.0),
        "skill_p_value": standing.p_value,
        "n_independent": standing.scores.n_independent,
        "is_champion": model.model == judgement.champion,
        "champion_reason": judgement.reason,
        "is_simulated": context.is_simulated,
        "created_at": context.created_at.astimezone(UTC),
    }


def _figures(
    model: ModelForecast, rows: pl.DataFrame, trust: pl.DataFrame, market: MarketState, horizon: Horizon
) -> dict[str, Any]:
    """The forecast's own figures, those that a refusal leaves null."""
    current: float = rows["close"][-1]
    quantiles = matrix(rows, QUANTILE_COLUMNS)
    chance = calibrated_direction(
        direction_probability(quantiles),
        floats(rows, "actual_return"),
        rows["session_number"].to_numpy(),
        horizon.sessions,
    )
    median = float(quantiles[-1, MEDIAN])
    return {
        "predicted_return": median,
        "predicted_price": current * (1 + median),
        **dict(zip(QUANTILE_COLUMNS, (current * (1 + quantiles[-1])).tolist(), strict=True)),
        "direction_probability": float(chance[-1]),
        **trust.select(TRUST_COLUMNS).row(0, named=True),
        "regime": _likeliest(rows["session_number"][-1], market),
        "drivers": told_drivers(model.drivers, current),
    }


def superseded(stored: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Stored champions of the session that new forecasts are of, as rows that are champions no more.

    A session forecast again with other models, or with corrected prices, has one published forecast: the newest.

    Args:
        stored: rows of FORECAST_SCHEMA.
        rows: of one publication, at least one.
    """
    return former_champions(stored, rows, about=("as_of_date", "horizon"), told_apart_by=("model", "model_version"))


def told_drivers(drivers: pl.DataFrame, current_price: float) -> str | None:
    """The largest drivers in cents per pound, such as 'rsi_14 +0.42, return_21d -0.10'; None where there is none."""
    moved = drivers.filter(pl.col("contribution") != 0).head(TOLD_DRIVERS)
    told = [f"{feature} {contribution * current_price:+.2f}" for feature, contribution in moved.iter_rows()]
    return ", ".join(told) or None


def _likeliest(session: int, market: MarketState) -> str | None:
    """The most probable state; None where nothing is known of a session, as where all states are alike."""
    row = market.rows.filter(pl.col("session_number") == session).select(market.states)
    chances = matrix(row, market.states)
    known = chances.size and np.isfinite(chances).all() and np.ptp(chances) > 0
    return market.states[int(chances[0].argmax())] if known else None


def _current_price(newest: dict[str, Any], context: ForecastContext) -> float:
    place = f"horizon {context.horizon.code}, {newest['data_date']}"
    close: float | None = newest["close"]
    if close is None or not (0 < close < float("inf")):
        raise InputError(
            f"the current price is {close}", where=place, action="forecast from a row with a positive close"
        )
    if context.target_date <= newest["data_date"]:
        raise InputError(
            f"the target date {context.target_date} is not after the forecast's",
            where=place,
            action="take the session that lies the horizon ahead",
        )
    return close
