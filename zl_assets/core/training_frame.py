"""The frame that models learn from: one horizon's training rows under names that no longer carry the horizon."""

import polars as pl

from zl_assets.core.horizons import Horizon


def training_frame(rows: pl.DataFrame, horizon: Horizon) -> pl.DataFrame:
    """Rows of a training table with `target` and `usable` in place of `target_{horizon}` and `is_usable`.

    Rows whose windows are not complete are left out: the first one is the 63rd session.

    Args:
        rows: rows of training.zl_training_{surface}_allhistory_{horizon}.
        horizon: its horizon.
    """
    renamed = rows.rename({f"target_{horizon.code}": "target", "is_usable": "usable"})
    return renamed.filter(pl.col("ma_63").is_not_null()).sort("data_date")
