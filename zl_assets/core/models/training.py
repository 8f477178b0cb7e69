"""The training of one model for one horizon: judged out of fold, fitted on everything known, asked for a forecast.

Belongs here: what is the same for every model. How a model learns is in its own module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS, kish_effective_size
from zl_assets.core.evaluation.scores import Scores, score
from zl_assets.core.evaluation.splits import Fold, Mode, PurgedWalkForward, plan_walk_forward
from zl_assets.core.horizons import Horizon
from zl_assets.core.models.base import Floats, Forecaster, floats, labelled_rows, matrix, require_columns, rows_read
from zl_assets.core.models.importance import feature_importance
from zl_assets.core.models.shelf import ModelSpec
from zl_assets.core.models.tuning import Tuning, tune
from zl_assets.core.models.weighting import weighted
from zl_assets.errors import InputError

METHOD = 2
"""Revision of how targets, weights and folds are prepared; part of every version, so raise it when that changes."""

CONTEXT_COLUMNS: tuple[str, ...] = ("data_date", "session_number", "target_date", "close", "vol_percentile")
"""What a row of a forecast says about its session."""

OOF_SCHEMA: dict[str, pl.DataType] = {
    "data_date": pl.Date(),
    "session_number": pl.Int64(),
    "target_date": pl.Date(),
    "close": pl.Float64(),
    "vol_percentile": pl.Float64(),
    "regime_name": pl.String(),
    "fold": pl.Int64(),
    "actual_return": pl.Float64(),
    **{name: pl.Float64() for name in QUANTILE_COLUMNS},
    "crossed": pl.Boolean(),
}
"""One forecast a row: its session, its fold, what came (null where nobody knows yet), the quantiles of the return in
ascending order, and whether the model's own had crossed. `regime_name` was given in hindsight: it sorts results, and
nothing learns from it."""

FOLD_SCHEMA: dict[str, pl.DataType] = {
    "fold": pl.Int64(),
    "train_first": pl.Date(),
    "train_last": pl.Date(),
    "n_train": pl.Int64(),
    "test_first": pl.Date(),
    "test_last": pl.Date(),
    "n_test": pl.Int64(),
    "mae_model": pl.Float64(),
    "mae_no_change": pl.Float64(),
    "relative_mae": pl.Float64(),
}
"""One walk-forward fold a row: its dates, its rows, and the mean absolute errors of both forecasts with their ratio."""


@dataclass(frozen=True)
class TrainingConfig:
    """How one horizon is trained and judged, the same for every model.

    Attributes:
        embargo_sessions: sessions left out beyond the label window.
        mode: whether folds learn from everything before them or from a rolling window.
    """

    embargo_sessions: int = 0
    mode: Mode = "expanding"


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """Everything a training run of one model and horizon found out.

    Attributes:
        spec: which model.
        horizon: what is forecast.
        forecaster: fitted on every labelled usable row.
        model_version: short hash of configuration, columns, library version and training data; the same input gives the
            same version.
        training_data: short hash of the rows that every model of the horizon learns from: models with the same one can
            be compared.
        oof: rows of OOF_SCHEMA, one a session out of fold.
        oof_rolling: the same where each fold learns from a window of fixed length; None where that was not asked for.
        newest: rows of OOF_SCHEMA, the one forecast of the newest usable session; fold and actual_return are null.
        folds: rows of FOLD_SCHEMA.
        drivers: what moves the newest forecast, rows of CONTRIBUTION_SCHEMA.
        feature_importance: rows of IMPORTANCE_SCHEMA, of `forecaster` and of the last fold's model.
        n_rows: rows `forecaster` was fitted on.
        n_effective: Kish's effective size of their weights.
        trained_first: first of their dates.
        trained_last: last of their dates.
        training_config: everything needed to repeat the run, ready for JSON.
    """

    spec: ModelSpec
    horizon: Horizon
    forecaster: Forecaster
    model_version: str
    training_data: str
    oof: pl.DataFrame
    oof_rolling: pl.DataFrame | None
    newest: pl.DataFrame
    folds: pl.DataFrame
    drivers: pl.DataFrame
    feature_importance: pl.DataFrame
    n_rows: int
    n_effective: float
    trained_first: date
    trained_last: date
    training_config: dict[str, Any]

    @cached_property
    def scores(self) -> Scores:
        """Figures of `oof` by itself."""
        return score(self.oof, self.horizon.sessions)


def train(
    spec: ModelSpec,
    frame: pl.DataFrame,
    horizon: Horizon,
    *,
    config: TrainingConfig | None = None,
    rolling: bool = False,
    checkpoint: Path | None = None,
) -> TrainedModel:
    """Judge a model of one horizon out of fold, fit it on everything known, and forecast the newest session.

    Args:
        spec: the model.
        frame: one row a session, with the columns of FRAME_COLUMNS; `target` is a simple return as a fraction.
        horizon: what is forecast.
        config: how; the defaults if None.
        rolling: whether to judge it on folds that learn from a window of fixed length, too.
        checkpoint: directory in which a killed training of a net goes on where it stopped.

    Raises:
        InputError: a missing column, sessions out of order, an unusable weight, or no row to forecast from.
        NotEnoughHistory: too few labelled rows for three test folds.
        MissingDependency: the model needs an optional package.
    """
    settings = config or TrainingConfig()
    compared = training_data(labelled_rows(frame))
    rows = weighted(labelled_rows(frame), spec.weighting)
    readable = readable_rows(frame)
    splitter = plan(rows, horizon, settings)
    folds = splitter.split(rows["session_number"].to_numpy())
    tuning = tuned(spec, rows[folds[0].train], horizon) if spec.tuned else None

    def make() -> Forecaster:
        chosen = {"config": tuning.chosen} if tuning else {}
        resumed = {"checkpoint": checkpoint} if spec.family == "neural" else {}
        return spec.make(horizon, **chosen, **resumed)

    oof, of_last_fold = out_of_fold(make, readable, rows, folds)
    final = fitted(make(), rows)
    newest = newest_usable_row(frame)
    return TrainedModel(
        spec=spec,
        horizon=horizon,
        forecaster=final,
        model_version=version_of(spec, final, settings, horizon, rows, tuning),
        training_data=compared,
        oof=oof,
        oof_rolling=_rolling(make, readable, rows, horizon, settings) if rolling else None,
        newest=forecast_of(final, readable, newest),
        folds=fold_table(rows, folds, oof),
        drivers=final.explain(_up_to(readable, newest)),
        feature_importance=feature_importance(final, of_last_fold, readable, rows[folds[-1].test]),
        n_rows=rows.height,
        n_effective=kish_effective_size(floats(rows, "sample_weight")),
        trained_first=rows["data_date"][0],
        trained_last=rows["data_date"][-1],
        training_config={
            **_describe(spec, settings, splitter, horizon, rows),
            **({"tuning": asdict(tuning)} if tuning else {}),
        },
    )


def plan(rows: pl.DataFrame, horizon: Horizon, config: TrainingConfig) -> PurgedWalkForward:
    """The split that fits the labelled rows of a horizon, whatever model learns from them.

    Raises:
        NotEnoughHistory: too few labelled rows for three test folds.
    """
    sessions = rows["session_number"].to_numpy()
    return plan_walk_forward(sessions, horizon.sessions, embargo_sessions=config.embargo_sessions, mode=config.mode)


def readable_rows(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows a forecast may be made from or look back at, sorted by date: their price is not suspect.

    Raises:
        InputError: a column is missing.
    """
    require_columns(frame, ("data_date", "close", "is_suspect"), "rows to forecast from")
    return frame.filter(~pl.col("is_suspect") & (pl.col("close") > 0)).sort("data_date")


def newest_usable_row(frame: pl.DataFrame) -> pl.DataFrame:
    """Latest row whose own price is not suspect; its outcome is usually unknown yet.

    Raises:
        InputError: a column is missing, or there is no such row.
    """
    newest = readable_rows(frame).tail(1)
    if newest.is_empty():
        raise InputError(
            "no usable row to forecast from",
            where=f"{frame.height} rows, none with a price that is not suspect",
            action="load vendor bars and rebuild the feature matrix",
        )
    return newest


def fitted(forecaster: Forecaster, rows: pl.DataFrame) -> Forecaster:
    """The forecaster, having learnt from labelled rows with their weights."""
    return forecaster.fit(rows, floats(rows, "target"), floats(rows, "sample_weight"))


def tuned(spec: ModelSpec, rows: pl.DataFrame, horizon: Horizon) -> Tuning:
    """Parameters found in the first fold's training rows, which every later fold learns from, too."""
    return tune(
        lambda config: spec.make(horizon, config=config),
        rows,
        floats(rows, "target"),
        floats(rows, "sample_weight"),
        horizon_sessions=horizon.sessions,
    )


def out_of_fold(
    make: Callable[[], Forecaster], readable: pl.DataFrame, rows: pl.DataFrame, folds: Sequence[Fold]
) -> tuple[pl.DataFrame, Forecaster]:
    """One fit a fold, each judged on the fold's test rows.

    Args:
        make: a forecaster that has not learnt yet.
        readable: see `readable_rows`; what comes after a fold's test rows is not shown to its model.
        rows: labelled rows in order, which the folds point into.
        folds: which rows to learn from and which to forecast.

    Returns:
        Rows of OOF_SCHEMA, and the last fold's model.

    Raises:
        InputError: a column is missing, a fold has nothing to learn from, or a row gets no forecast.
    """
    parts: list[pl.DataFrame] = []
    forecaster = make()
    for fold in folds:
        forecaster = fitted(make(), rows[fold.train])
        forecast = forecast_of(forecaster, readable, rows[fold.test])
        actual = rows[fold.test]["target"].cast(pl.Float64)
        parts.append(forecast.with_columns(fold=pl.lit(fold.number, pl.Int64), actual_return=actual))
    return pl.concat(parts), forecaster


def forecast_of(forecaster: Forecaster, readable: pl.DataFrame, wanted: pl.DataFrame) -> pl.DataFrame:
    """Forecasts for some rows, each from itself and what the model looks back at.

    Args:
        forecaster: fitted.
        readable: rows in order; those wanted are among them.
        wanted: rows to forecast, in order.

    Returns:
        Rows of OOF_SCHEMA without fold and outcome.

    Raises:
        InputError: a column is missing, a wanted row is not readable, or it gets no finite forecast.
    """
    require_columns(wanted, CONTEXT_COLUMNS, "rows to forecast")
    rows, asked = rows_read(readable, wanted, forecaster.lookback)
    quantiles = forecaster.predict_quantiles(rows)[asked]
    unknown = ~np.isfinite(quantiles).all(axis=1)
    if unknown.any():
        raise InputError(
            f"{int(unknown.sum())} of {wanted.height} sessions get no forecast",
            where=f"first {wanted['data_date'][int(unknown.argmax())]}; it looks {forecaster.lookback} rows back",
            action="load a longer history, or look for missing features in these sessions",
        )
    ordered = np.sort(quantiles, axis=1)
    told = {name: ordered[:, n] for n, name in enumerate(QUANTILE_COLUMNS)}
    crossed = np.any([quantiles[:, a] > quantiles[:, b] for a, b in pairwise(range(quantiles.shape[1]))], axis=0)
    named = wanted["regime_name"] if "regime_name" in wanted.columns else pl.lit(None, pl.String)
    about = wanted.select(*CONTEXT_COLUMNS).with_columns(
        regime_name=named, fold=pl.lit(None), actual_return=pl.lit(None), crossed=pl.Series(crossed), **told
    )
    return about.select(pl.col(name).cast(dtype) for name, dtype in OOF_SCHEMA.items())


def training_data(rows: pl.DataFrame) -> str:
    """Twelve hexadecimal digits made of the labelled rows: their sessions, closes, outcomes and weights."""
    return hashlib.sha256(row_bytes(rows, ("close", "target", "sample_weight"))).hexdigest()[:12]


def fold_table(rows: pl.DataFrame, folds: Sequence[Fold], oof: pl.DataFrame) -> pl.DataFrame:
    """Rows of FOLD_SCHEMA: where each fold lies, and what the median and no-change were off by.

    A fold that had nothing to learn from, as the blend's where no outcome was known yet, has no training dates.
    """
    dates = rows["data_date"]
    spans = pl.DataFrame(
        {
            "fold": [f.number for f in folds],
            "train_first": [dates[int(f.train[0])] if f.train.size else None for f in folds],
            "train_last": [dates[int(f.train[-1])] if f.train.size else None for f in folds],
            "n_train": [f.train.size for f in folds],
            "test_first": [dates[int(f.test[0])] for f in folds],
            "test_last": [dates[int(f.test[-1])] for f in folds],
        }
    )
    table = spans.join(fold_errors(oof), on="fold", how="left", maintain_order="left")
    return table.select(pl.col(name).cast(dtype) for name, dtype in FOLD_SCHEMA.items())


def fold_errors(oof: pl.DataFrame) -> pl.DataFrame:
    """Mean absolute errors by fold.

    Returns:
        One row a fold in order: fold, n_test, mae_model, mae_no_change, relative_mae (the ratio of the two, which a
        calm or a wild year does not move; null where no price moved).
    """
    return (
        oof.group_by("fold")
        .agg(
            n_test=pl.len().cast(pl.Int64),
            mae_model=(pl.col("actual_return") - pl.col("q50")).abs().mean(),
            mae_no_change=pl.col("actual_return").abs().mean(),
        )
        .with_columns(
            relative_mae=pl.when(pl.col("mae_no_change") > 0).then(pl.col("mae_model") / pl.col("mae_no_change"))
        )
        .sort("fold")
    )


def _rolling(
    make: Callable[[], Forecaster],
    readable: pl.DataFrame,
    rows: pl.DataFrame,
    horizon: Horizon,
    config: TrainingConfig,
) -> pl.DataFrame:
    splitter = plan(rows, horizon, replace(config, mode="rolling"))
    return out_of_fold(make, readable, rows, splitter.split(rows["session_number"].to_numpy()))[0]


def version_of(
    spec: ModelSpec,
    forecaster: Forecaster,
    config: TrainingConfig,
    horizon: Horizon,
    rows: pl.DataFrame,
    tuning: Tuning | None = None,
) -> str:
    """Twelve hexadecimal digits made of the model, its configuration and columns, its package and the training data.

    Nothing of the machine or the clock enters: the same input has the same version everywhere.
    """
    numeric = [c for c in forecaster.columns_used if rows.schema[c].is_numeric()]
    head = {
        "method": METHOD,
        "model": spec.name,
        "weighting": spec.weighting,
        "arguments": dict(spec.arguments),
        "config": asdict(config),
        "tuned": asdict(tuning.chosen) if tuning else None,
        "horizon": horizon.code,
        "columns": list(forecaster.columns_used),
        "package_major": spec.package_major(),
    }
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    digest.update(row_bytes(rows, (*numeric, "close", "target", "sample_weight")))
    return digest.hexdigest()[:12]


def row_bytes(rows: pl.DataFrame, columns: Sequence[str]) -> bytes:
    """Sessions and columns of rows, the same bytes on every machine."""
    sessions = np.ascontiguousarray(rows["session_number"].cast(pl.Int64).to_numpy(), dtype="<i8").tobytes()
    # Adding 0.0 turns -0.0 into 0.0; the one NaN stands for every missing value.
    numbers: Floats = matrix(rows, columns) + 0.0
    return sessions + np.where(np.isnan(numbers), np.nan, numbers).astype("<f8").tobytes()


def _up_to(readable: pl.DataFrame, row: pl.DataFrame) -> pl.DataFrame:
    return readable.filter(pl.col("session_number") <= row["session_number"][0])


def _describe(
    spec: ModelSpec, config: TrainingConfig, splitter: PurgedWalkForward, horizon: Horizon, rows: pl.DataFrame
) -> dict[str, Any]:
    return {
        "model": spec.name,
        "family": spec.family,
        "arguments": dict(spec.arguments),
        "weighting": spec.weighting,
        "package": spec.package,
        "package_major": spec.package_major(),
        "method": METHOD,
        "horizon": horizon.code,
        "horizon_sessions": horizon.sessions,
        "config": asdict(config),
        "walk_forward": asdict(splitter),
        "n_rows": rows.height,
        "trained_first": rows["data_date"][0].isoformat(),
        "trained_last": rows["data_date"][-1].isoformat(),
    }
