"""How much a model's forecasts owe to each feature: by its gain, and by what is lost when the feature is shuffled."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl

from zl_assets.core.evaluation.scores import crps
from zl_assets.core.models.base import Floats, Forecaster, floats, rows_read

IMPORTANCE_SCHEMA: dict[str, pl.DataType] = {
    "feature": pl.String(),
    "gain": pl.Float64(),
    "gain_share": pl.Float64(),
    "permutation": pl.Float64(),
}
"""Summed loss reduction in training and its share of the total (null for a model without splits); and by how much,
as a fraction, the CRPS of unseen rows rises where the feature's values are shuffled among them."""

SHUFFLES = 5
"""Shuffles whose mean is told."""

SEED = 20100607


@runtime_checkable
class Gains(Protocol):
    """A model that counts what each feature gained while it learnt."""

    def feature_importance(self) -> pl.DataFrame:
        """Columns feature, gain and gain_share, one row a feature."""
        ...


def feature_importance(
    forecaster: Forecaster, earlier: Forecaster, readable: pl.DataFrame, unseen: pl.DataFrame
) -> pl.DataFrame:
    """Rows of IMPORTANCE_SCHEMA, the most important feature first; none for a model that reads no feature.

    Args:
        forecaster: the final model; its gains are told.
        earlier: the same model fitted before `unseen`; it is shuffled.
        readable: rows in order that `earlier` may look back at.
        unseen: rows among them with a known target that `earlier` has not learnt from.

    Raises:
        InputError: an unseen row is not among the readable ones.
    """
    features = [c for c in earlier.columns_used if readable.schema[c].is_numeric()]
    if not features or forecaster.explain(readable.head(forecaster.lookback + 1)).is_empty():
        return pl.DataFrame(schema=IMPORTANCE_SCHEMA)
    told = pl.DataFrame({"feature": features, "permutation": _permutation(earlier, features, readable, unseen)})
    unknown = pl.lit(None, pl.Float64)
    if isinstance(forecaster, Gains):
        gains = forecaster.feature_importance().select("feature", "gain", "gain_share")
        told = gains.join(told, on="feature", how="full", coalesce=True)
    else:
        told = told.with_columns(gain=unknown, gain_share=unknown)
    rows = told.select(pl.col(name).cast(dtype) for name, dtype in IMPORTANCE_SCHEMA.items())
    return rows.sort("gain", "permutation", "feature", descending=[True, True, False], nulls_last=True)


def _permutation(forecaster: Forecaster, features: list[str], readable: pl.DataFrame, unseen: pl.DataFrame) -> Floats:
    """Mean rise of the CRPS of unseen rows when a feature is shuffled, as a fraction of the CRPS, shape (features,)."""
    rows, asked = rows_read(readable, unseen, forecaster.lookback)
    actual = floats(unseen, "target")

    def loss(shown: pl.DataFrame) -> float:
        return float(crps(actual, np.sort(forecaster.predict_quantiles(shown)[asked], axis=1)).mean())

    usual = loss(rows)
    random = np.random.default_rng(SEED)
    orders = [random.permutation(rows.height) for _ in range(SHUFFLES)]
    shuffled = [np.mean([loss(rows.with_columns(rows[f].gather(order))) for order in orders]) for f in features]
    return np.array(shuffled, dtype=np.float64) / usual - 1
