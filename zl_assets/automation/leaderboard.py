"""`zl leaderboard`: how every model did out of fold at its newest evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zl_assets.assets.evaluation import EVALUATION
from zl_assets.build import build_warehouse
from zl_assets.errors import InputError
from zl_assets.settings import Settings

if TYPE_CHECKING:
    import polars as pl


def newest_evaluation(settings: Settings, horizons: Sequence[str]) -> pl.DataFrame:
    """Rows of monitoring.model_evaluation of the newest sessions, by horizon and CRPS.

    Raises:
        InputError: no model of these horizons was evaluated.
    """
    import polars as pl

    rows = build_warehouse(settings).read(
        f"SELECT * FROM {EVALUATION} QUALIFY as_of_date = MAX(as_of_date) OVER (PARTITION BY surface, horizon)"
    )
    order = pl.col("horizon").cast(pl.Enum(list(horizons)), strict=False)
    chosen = rows.filter(pl.col("horizon").is_in(list(horizons))).sort(order, "fold_scheme", "crps", "model")
    if chosen.is_empty():
        raise InputError("no model was evaluated yet", where=str(settings.place), action="run `zl run` first")
    return chosen
