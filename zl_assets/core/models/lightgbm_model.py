"""Gradient-boosted trees behind the Forecaster protocol, and the training run of one horizon.

Belongs here: fitting, judging and versioning LightGBM. Where the result is stored is the business of
`zl_assets.artifacts`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zl_assets.core.evaluation.metrics import ReturnMetrics, evaluate_returns, kish_effective_size
from zl_assets.core.evaluation.selection import choose_champion, fold_errors
from zl_assets.core.evaluation.splits import MIN_TRAIN_SESSIONS, Fold, Mode, PurgedWalkForward, plan_walk_forward
from zl_assets.core.horizons import Horizon
from zl_assets.core.models.base import (
    FOLD_SCHEMA,
    STATIONARY_FEATURES,
    Floats,
    TrainedModel,
    labelled_rows,
    not_fitted,
)
from zl_assets.core.models.trees import PointTrees, Sample, TreeConfig, damaged
from zl_assets.errors import InputError

if TYPE_CHECKING:
    import lightgbm

MODEL_FILE = "model.txt"
METHOD = 1
"""Revision of how targets, weights and folds are prepared; part of the version, so raise it when that changes."""

_LAST_SECTION = "end of trees"

_SCORED_COLUMNS = ("data_date", "target_date", "actual_return", "predicted_return", "no_change_return", "close")
_OOF_COLUMNS = ("data_date", "target_date", "fold", "actual_return", "predicted_return", "no_change_return", "close")


LightGBMConfig = TreeConfig
"""Parameters of the trees, the same for both libraries."""


@dataclass(frozen=True)
class TrainingConfig:
    """How one horizon is trained and judged.

    Attributes:
        model: parameters of the trees.
        features: columns to learn from, see STATIONARY_FEATURES.
        embargo_sessions: sessions left out beyond the label window.
        mode: whether folds learn from everything before them or from a rolling window.
    """

    model: TreeConfig = field(default_factory=TreeConfig)
    features: tuple[str, ...] = STATIONARY_FEATURES
    embargo_sessions: int = 0
    mode: Mode = "expanding"


class LightGBMForecaster(PointTrees):
    """LightGBM regression of the return, as a departure from no-change; see `PointTrees`."""

    title = "LightGBM"

    def __init__(
        self,
        config: TreeConfig | None = None,
        features: Sequence[str] = STATIONARY_FEATURES,
        *,
        horizon_sessions: int = 1,
    ) -> None:
        super().__init__(config, features, horizon_sessions=horizon_sessions)
        self._booster: lightgbm.Booster | None = None

    def save(self, directory: Path) -> None:
        """Write model.txt, LightGBM's text, and interval.json; see `Forecaster`."""
        text = self._fitted().model_to_string()
        self._save_interval(directory)
        (directory / MODEL_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read a model that `save` wrote; it predicts the same bits. A later `fit` would use the default parameters.

        Raises:
            InputError: a file is missing, cut short or not what `save` wrote.
        """
        booster = read_booster(directory / MODEL_FILE)
        loaded = cls(features=booster.feature_name())
        loaded._load_interval(directory)
        loaded._booster = booster
        loaded._columns = loaded.features
        return loaded

    def feature_importance(self) -> pl.DataFrame:
        """Columns feature, gain (summed loss reduction), gain_share (of the total, 0 where nothing was split), splits.

        Raises:
            InputError: the model is not fitted.
        """
        booster = self._fitted()
        gain = booster.feature_importance("gain").astype(np.float64)
        total = float(gain.sum())
        share = gain / total if total > 0 else np.zeros_like(gain)
        return pl.DataFrame(
            {
                "feature": list(self._columns),
                "gain": gain,
                "gain_share": share,
                "splits": booster.feature_importance("split").astype(np.int64),
            }
        ).sort("gain", "feature", descending=[True, False])

    def _fitted(self) -> lightgbm.Booster:
        if self._booster is None:
            raise not_fitted(self.title)
        return self._booster

    def _grow(self, sample: Sample) -> None:
        self._booster = grow_booster(sample, 0.0, self._scaled, {"objective": "regression"})

    def _raw(self, features: Floats) -> Floats:
        return booster_sums(self._fitted(), features)

    def _shap(self, features: Floats) -> Floats:
        return booster_contributions(self._fitted(), features)


def grow_booster(sample: Sample, start: float, config: TreeConfig, objective: dict[str, Any]) -> lightgbm.Booster:
    """Trees of what sets the targets of a sample apart from one number."""
    import lightgbm as lgb

    data = lgb.Dataset(
        sample.features,
        label=sample.target,
        weight=sample.weights,
        # Without it, LightGBM answers a first tree that finds no split with the mean of the targets.
        init_score=np.full(sample.n_rows, start),
        feature_name=list(sample.columns),
        params={"verbosity": -1},
    )
    parameters = {
        **objective,
        "boost_from_average": False,
        "learning_rate": config.learning_rate,
        "num_leaves": config.num_leaves,
        "min_data_in_leaf": config.rows_in_leaf(sample.n_rows),
        "lambda_l2": config.lambda_l2,
        "feature_fraction": config.feature_fraction,
        "seed": config.seed,
        "num_threads": config.num_threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    # The callbacks in the signature of `train` are not annotated upstream.
    return lgb.train(parameters, data, num_boost_round=config.n_estimators)  # pyright: ignore[reportUnknownMemberType]


def booster_sums(booster: lightgbm.Booster, features: Floats) -> Floats:
    """What the trees add up to, shape (rows,)."""
    if not features.size:
        return np.empty(0)
    return np.asarray(booster.predict(features, num_threads=1), dtype=np.float64)


def booster_contributions(booster: lightgbm.Booster, features: Floats) -> Floats:
    """Exact SHAP values, shape (rows, columns): LightGBM puts what it forecasts on average last."""
    values = booster.predict(features, pred_contrib=True, num_threads=1)
    return np.asarray(values, dtype=np.float64)[:, :-1]


def read_booster(path: Path) -> lightgbm.Booster:
    """Read LightGBM's text.

    Raises:
        InputError: the file is missing, cut short or not LightGBM text.
    """
    import lightgbm as lgb

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from error
    if _LAST_SECTION not in text:
        raise damaged(path, "it is cut short or not LightGBM text")
    try:
        return lgb.Booster(model_str=text)
    except lgb.basic.LightGBMError as error:
        raise damaged(path, f"LightGBM refuses it: {error}") from error


def train_and_evaluate(frame: pl.DataFrame, horizon: Horizon, *, config: TrainingConfig | None = None) -> TrainedModel:
    """Judge a model of one horizon out of sample, then fit it on everything known.

    Three fits that share nothing but the parameters: the walk-forward folds over all labelled rows, one fit on split
    'train' judged on split 'test', and the final one on all labelled rows. The h rows of one label window repeat much
    the same outcome, so a leaf is asked for the rows of two windows and the penalty is multiplied by h.

    Args:
        frame: one row a session, with the columns of FRAME_COLUMNS; `target` is a simple return as a fraction.
        horizon: what is forecast.
        config: how; the defaults if None.

    Raises:
        InputError: a missing column, sessions out of order, an unusable weight, or a row of split 'train' whose outcome
            lies in the test period.
        NotEnoughHistory: too few labelled rows for three test folds.
    """
    settings = for_horizon(config or TrainingConfig(), horizon)
    rows = labelled_rows(frame)
    splitter = plan(rows, horizon, settings)
    folds = splitter.split(rows["session_number"].to_numpy())
    oof = out_of_fold(rows, folds, settings)
    test_metrics, test_predictions = _evaluate_split(rows, horizon, settings)
    final = _fit(rows, settings)
    return TrainedModel(
        horizon=horizon,
        forecaster=final,
        model_version=model_version(rows, final.columns_used, settings, horizon),
        dropped_columns=final.dropped_columns,
        oof=oof,
        folds=_fold_table(rows, folds, oof),
        oof_metrics=_score(oof, horizon),
        champion=choose_champion(oof, horizon.sessions),
        test_metrics=test_metrics,
        test_predictions=test_predictions,
        feature_importance=final.feature_importance(),
        n_rows=rows.height,
        n_effective=kish_effective_size(_floats(rows, "sample_weight")),
        trained_first=rows["data_date"][0],
        trained_last=rows["data_date"][-1],
        training_config=_describe(settings, splitter, horizon, rows),
    )


def model_version(rows: pl.DataFrame, columns_used: Sequence[str], config: TrainingConfig, horizon: Horizon) -> str:
    """Twelve hexadecimal digits made of the configuration, the columns, LightGBM's major version and the training data.

    Nothing of the machine or the clock enters: the same input has the same version everywhere.
    """
    import lightgbm as lgb

    head = {
        "method": METHOD,
        "config": asdict(config),
        "horizon": horizon.code,
        "columns": list(columns_used),
        "lightgbm_major": lgb.__version__.split(".")[0],
    }
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(rows["session_number"].cast(pl.Int64).to_numpy(), dtype="<i8").tobytes())
    # Adding 0.0 turns -0.0 into 0.0; the one NaN stands for every missing value.
    numbers = _matrix(rows, [*columns_used, "close", "target", "sample_weight"]) + 0.0
    digest.update(np.where(np.isnan(numbers), np.nan, numbers).astype("<f8").tobytes())
    return digest.hexdigest()[:12]


def for_horizon(config: TrainingConfig, horizon: Horizon) -> TrainingConfig:
    """The configuration with the two penalties that count rows scaled to count label windows."""
    return replace(
        config,
        model=replace(
            config.model,
            min_rows_in_leaf=max(config.model.min_rows_in_leaf, 2 * horizon.sessions),
            lambda_l2=config.model.lambda_l2 * horizon.sessions,
        ),
    )


def _fit(rows: pl.DataFrame, config: TrainingConfig) -> LightGBMForecaster:
    forecaster = LightGBMForecaster(config.model, config.features)
    return forecaster.fit(rows, _floats(rows, "target"), _floats(rows, "sample_weight"))


def _scored(rows: pl.DataFrame, predicted: NDArray[np.float64]) -> pl.DataFrame:
    return rows.select(
        "data_date",
        "target_date",
        actual_return="target",
        predicted_return=pl.Series(predicted, dtype=pl.Float64),
        no_change_return=pl.lit(0.0),
        close="close",
    ).select(_SCORED_COLUMNS)


def plan(rows: pl.DataFrame, horizon: Horizon, config: TrainingConfig) -> PurgedWalkForward:
    """The split that fits the labelled rows of a horizon, whatever columns are learnt from.

    Raises:
        NotEnoughHistory: too few labelled rows for three test folds.
    """
    sessions = rows["session_number"].to_numpy()
    return plan_walk_forward(sessions, horizon.sessions, embargo_sessions=config.embargo_sessions, mode=config.mode)


def out_of_fold(rows: pl.DataFrame, folds: Sequence[Fold], config: TrainingConfig) -> pl.DataFrame:
    """One fit a fold, each judged on the fold's test rows.

    Args:
        rows: labelled rows in order, which the folds point into.
        folds: which rows to learn from and which to forecast.
        config: as `for_horizon` gives it.

    Returns:
        One row a forecast: data_date, target_date, fold, actual_return, predicted_return, no_change_return, close.

    Raises:
        InputError: a feature column is missing, or all of them are constant in the rows of a fold.
    """
    return pl.concat([_out_of_one_fold(rows, fold, config) for fold in folds])


def _out_of_one_fold(rows: pl.DataFrame, fold: Fold, config: TrainingConfig) -> pl.DataFrame:
    test = rows[fold.test]
    scored = _scored(test, _fit(rows[fold.train], config).predict(test))
    return scored.with_columns(fold=pl.lit(fold.number, dtype=pl.Int64)).select(_OOF_COLUMNS)


def _evaluate_split(
    rows: pl.DataFrame, horizon: Horizon, config: TrainingConfig
) -> tuple[ReturnMetrics | None, pl.DataFrame]:
    """Fit on split 'train', score on split 'test'; rows of split 'purged' take part in neither."""
    train = rows.filter(pl.col("split") == "train")
    test = rows.filter(pl.col("split") == "test")
    if train.height < MIN_TRAIN_SESSIONS or test.is_empty():
        return None, _scored(rows.clear(), np.empty(0))
    leaking = train.filter(pl.col("session_number") + horizon.sessions > test["session_number"][0])
    if not leaking.is_empty():
        raise InputError(
            f"{leaking.height} rows of split 'train' have an outcome inside the test period",
            where=f"horizon {horizon.code}, first on {leaking['data_date'][0]}, test from {test['data_date'][0]}",
            action="rebuild the training view: rows before the split whose window reaches it belong to 'purged'",
        )
    scored = _scored(test, _fit(train, config).predict(test))
    return _score(scored, horizon), scored


def _score(scored: pl.DataFrame, horizon: Horizon) -> ReturnMetrics:
    return evaluate_returns(_floats(scored, "actual_return"), _floats(scored, "predicted_return"), horizon.sessions)


def _fold_table(rows: pl.DataFrame, folds: Sequence[Fold], oof: pl.DataFrame) -> pl.DataFrame:
    dates = rows["data_date"]
    spans = pl.DataFrame(
        {
            "fold": [f.number for f in folds],
            "train_first": [dates[int(f.train[0])] for f in folds],
            "train_last": [dates[int(f.train[-1])] for f in folds],
            "n_train": [f.train.size for f in folds],
            "test_first": [dates[int(f.test[0])] for f in folds],
            "test_last": [dates[int(f.test[-1])] for f in folds],
        }
    )
    table = spans.join(fold_errors(oof), on="fold", how="left", maintain_order="left")
    return table.select(pl.col(name).cast(dtype) for name, dtype in FOLD_SCHEMA.items())


def _describe(
    config: TrainingConfig, splitter: PurgedWalkForward, horizon: Horizon, rows: pl.DataFrame
) -> dict[str, Any]:
    import lightgbm as lgb

    return {
        "algorithm": "lightgbm",
        "method": METHOD,
        "lightgbm_version": lgb.__version__,
        "horizon": horizon.code,
        "horizon_sessions": horizon.sessions,
        "features": list(config.features),
        "model": asdict(config.model),
        "walk_forward": asdict(splitter),
        "n_rows": rows.height,
        "trained_first": rows["data_date"][0].isoformat(),
        "trained_last": rows["data_date"][-1].isoformat(),
    }


def _matrix(frame: pl.DataFrame, columns: Sequence[str]) -> NDArray[np.float64]:
    """Feature matrix of shape (rows, columns), C order, nulls as NaN."""
    floats = frame.select(pl.col(list(columns)).cast(pl.Float64).fill_null(float("nan")))
    return np.ascontiguousarray(floats.to_numpy(), dtype=np.float64)


def _floats(frame: pl.DataFrame, column: str) -> NDArray[np.float64]:
    return _matrix(frame, [column])[:, 0]
