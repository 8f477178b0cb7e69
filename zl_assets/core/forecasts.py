"""One forecast as the row that is published.

Belongs here: prices and quantiles from a return forecast and the errors it made out of fold. Fitting does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS, evaluate_returns, residual_quantiles
from zl_assets.core.evaluation.selection import Candidate, Champion, choose_champion
from zl_assets.core.horizons import Horizon
from zl_assets.core.models.base import Forecaster, require_columns
from zl_assets.errors import InputError

NO_CHANGE_VERSION = "v0"
"""Version of the no-change forecast, which has nothing to learn."""

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
    "predicted_return": pl.Float64(),
    "predicted_price": pl.Float64(),
    **{name: pl.Float64() for name in QUANTILE_COLUMNS},
    "no_change_mae": pl.Float64(),
    "model_mae": pl.Float64(),
    "skill_vs_no_change": pl.Float64(),
    "n_independent": pl.Int64(),
    "is_champion": pl.Boolean(),
    "champion_reason": pl.String(),
    "is_simulated": pl.Boolean(),
    "created_at": pl.Datetime("us", "UTC"),
}
"""Columns of a forecast row: prices in the instrument's unit, returns and their errors as fractions."""


@dataclass(frozen=True)
class ForecastContext:
    """What a forecast row says about itself beyond the figures.

    Attributes:
        horizon: how far ahead.
        target_date: session the outcome is decided on.
        run_id: run that made the forecast.
        is_simulated: whether the prices behind it are simulated.
        created_at: moment it was made, with a time zone.
        surface: feature surface of the model.
        data_as_of: newest session in the data; the session of the feature row if None.
    """

    horizon: Horizon
    target_date: date
    run_id: str
    is_simulated: bool
    created_at: datetime
    surface: str = "prod"
    data_as_of: date | None = None

    def __post_init__(self) -> None:
        if self.created_at.tzinfo is None:
            raise InputError(
                "created_at has no time zone", where=self.created_at.isoformat(), action="pass an aware datetime"
            )


def newest_usable_row(frame: pl.DataFrame) -> pl.DataFrame:
    """Latest row whose own price is not suspect; its outcome is usually unknown yet.

    Raises:
        InputError: a column is missing, or there is no such row.
    """
    require_columns(frame, ("data_date", "close", "is_suspect"), "rows to forecast from")
    newest = frame.filter(~pl.col("is_suspect") & (pl.col("close") > 0)).sort("data_date").tail(1)
    if newest.is_empty():
        raise InputError(
            "no usable row to forecast from",
            where=f"{frame.height} rows, none with a price that is not suspect",
            action="load vendor bars and rebuild the feature matrix",
        )
    return newest


def forecast_rows(
    feature_row: pl.DataFrame,
    *,
    forecaster: Forecaster,
    model_version: str,
    oof: pl.DataFrame,
    context: ForecastContext,
) -> pl.DataFrame:
    """The forecasts of the model and of no-change for one horizon: two rows of FORECAST_SCHEMA, one of them champion.

    Args:
        feature_row: one row with data_date, close and the columns the model reads.
        forecaster: the final model.
        model_version: its version.
        oof: out-of-fold rows of the same training run.
        context: what else the rows say.

    Raises:
        InputError: not exactly one feature row, a column missing by name, no positive price, a target date that is not
            later, or too few out-of-fold rows.
    """
    champion = choose_champion(oof, context.horizon.sessions)
    _check_feature_row(feature_row, context)
    predicted = float(forecaster.predict(feature_row)[0])
    candidates: tuple[tuple[Candidate, float, str], ...] = (
        ("lightgbm", predicted, model_version),
        ("no_change", 0.0, NO_CHANGE_VERSION),
    )
    return pl.concat(
        forecast_row(
            feature_row,
            model=model,
            predicted_return=predicted_return,
            model_version=version,
            oof=oof,
            champion=champion,
            context=context,
        )
        for model, predicted_return, version in candidates
    )


def forecast_row(
    feature_row: pl.DataFrame,
    *,
    model: Candidate,
    predicted_return: float,
    model_version: str,
    oof: pl.DataFrame,
    champion: Champion,
    context: ForecastContext,
) -> pl.DataFrame:
    """One forecast: one row of FORECAST_SCHEMA.

    A quantile is current * (1 + predicted_return + quantile of the out-of-fold residuals): as wide as the errors were
    and centred where they were, so the median differs from predicted_price where the model was biased. Both forecasts
    are measured on the same out-of-fold rows; the residuals of no-change are the actual returns.

    Raises:
        InputError: not exactly one feature row, no positive price, a target date that is not later, or no `oof`.
    """
    current = _check_feature_row(feature_row, context)
    actual = _returns(oof, "actual_return")
    predicted = _returns(oof, "predicted_return") if model == "lightgbm" else np.zeros_like(actual)
    metrics = evaluate_returns(actual, predicted, context.horizon.sessions)
    quantiles = current * (1 + predicted_return + residual_quantiles(actual - predicted))
    row = {
        **_about(context, feature_row["data_date"][0]),
        "model": model,
        "model_version": model_version,
        "current_price": current,
        "predicted_return": predicted_return,
        "predicted_price": current * (1 + predicted_return),
        **dict(zip(QUANTILE_COLUMNS, quantiles.tolist(), strict=True)),
        "no_change_mae": metrics.no_change_mae,
        "model_mae": metrics.mae,
        "skill_vs_no_change": metrics.skill_vs_no_change,
        "n_independent": metrics.n_independent,
        "is_champion": model == champion.model,
        "champion_reason": champion.reason,
    }
    return pl.DataFrame([row], schema=FORECAST_SCHEMA)


def _about(context: ForecastContext, as_of: date) -> dict[str, object]:
    return {
        "as_of_date": as_of,
        "data_as_of": context.data_as_of or as_of,
        "horizon": context.horizon.code,
        "target_date": context.target_date,
        "run_id": context.run_id,
        "surface": context.surface,
        "is_simulated": context.is_simulated,
        "created_at": context.created_at.astimezone(UTC),
    }


def _check_feature_row(feature_row: pl.DataFrame, context: ForecastContext) -> float:
    """Current price of the one feature row, once the row is found fit to forecast from."""
    require_columns(feature_row, ("data_date", "close"), "row to forecast from")
    place = f"horizon {context.horizon.code}"
    if feature_row.height != 1:
        raise InputError(
            f"a forecast starts from one row, not {feature_row.height}",
            where=place,
            action="pass the newest usable row",
        )
    as_of: date = feature_row["data_date"][0]
    close: float | None = feature_row["close"][0]
    if close is None or not (0 < close < float("inf")):
        raise InputError(
            f"the current price is {close}",
            where=f"{place}, {as_of}",
            action="forecast from a row with a positive close",
        )
    if context.target_date <= as_of:
        raise InputError(
            f"the target date {context.target_date} is not after the forecast's",
            where=f"{place}, {as_of}",
            action="take the session that lies the horizon ahead",
        )
    return close


def _returns(oof: pl.DataFrame, column: str) -> NDArray[np.float64]:
    return oof[column].cast(pl.Float64).to_numpy()
