"""The frame that models learn from: one horizon's training rows under names that no longer carry the horizon."""

import polars as pl

from zl_assets.core.horizons import Horizon

DECAY = 0.97
"""Weight of a session's squared return over that of the next: RiskMetrics (1996, section 5.3) for monthly horizons."""


def training_frame(rows: pl.DataFrame, horizon: Horizon) -> pl.DataFrame:
    """Rows of a training table with `target` and `usable` in place of `target_{horizon}` and `is_usable`.

    Rows whose windows are not complete are left out: the first one is the 63rd session. `ewma_volatility` is added, see
    `ewma_volatility`.

    Args:
        rows: rows of training.zl_training_{surface}_allhistory_{horizon}.
        horizon: its horizon.
    """
    renamed = rows.rename({f"target_{horizon.code}": "target", "is_usable": "usable"})
    sorted_rows = renamed.sort("data_date").with_columns(ewma_volatility=ewma_volatility())
    return sorted_rows.filter(pl.col("ma_63").is_not_null())


def ewma_volatility() -> pl.Expr:
    """Volatility of one session's log return, from it and those before, weighted by DECAY per session back.

    A return that is not sound counts for nothing: the estimate stays as it was. Rows come in order of their sessions.
    """
    move = (sound_return() + 1).log()
    return move.pow(2).ewm_mean(alpha=1 - DECAY, ignore_nulls=True).forward_fill().sqrt()


def sound_return() -> pl.Expr:
    """The return of a session; null where it is unknown, or from or to a suspect close. Rows come in order."""
    suspect = pl.col("is_suspect") | pl.col("is_suspect").shift(1, fill_value=False)
    return pl.when(~suspect).then(pl.col("return_1d").cast(pl.Float64).fill_nan(None))
