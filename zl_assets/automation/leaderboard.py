"""`zl leaderboard`: how every model did out of fold at its newest evaluation, in all or by year or regime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zl_assets.assets.evaluation import EVALUATION
from zl_assets.build import build_warehouse
from zl_assets.core.horizons import HORIZONS
from zl_assets.errors import InputError
from zl_assets.settings import Settings

if TYPE_CHECKING:
    import polars as pl


def newest_evaluation(settings: Settings, horizons: Sequence[str]) -> pl.DataFrame:
    """Rows of monitoring.model_evaluation that can be compared, of the newest sessions, by horizon and CRPS.

    Raises:
        InputError: no model of these horizons was evaluated.
    """
    import polars as pl

    from zl_assets.core.evaluation.leaderboard import EVALUATION_SCHEMA, comparable

    stored = build_warehouse(settings).read(
        f"SELECT * FROM {EVALUATION} QUALIFY as_of_date = MAX(as_of_date) OVER (PARTITION BY surface, horizon)"
    )
    # A table of an earlier version gets its new columns with the next run; until then they are null.
    rows = comparable(pl.concat([pl.DataFrame(schema=EVALUATION_SCHEMA), stored], how="diagonal_relaxed"))
    order = pl.col("horizon").cast(pl.Enum(list(horizons)), strict=False)
    chosen = rows.filter(pl.col("horizon").is_in(list(horizons))).sort(order, "fold_scheme", "crps", "model")
    if chosen.is_empty():
        raise InputError("no model was evaluated yet", where=str(settings.place), action="run `zl run` first")
    return chosen


def evaluation_by(settings: Settings, horizons: Sequence[str], by: str) -> pl.DataFrame:
    """Scores of the stored models by one of GROUPINGS, from the forecasts in the model store.

    Returns:
        horizon, the columns of BREAKDOWN_SCHEMA, is_simulated.

    Raises:
        InputError: no model of these horizons was evaluated.
        ConfigurationError: the model store of this home does not hold them.
    """
    import polars as pl

    from zl_assets.artifacts import read_shelf
    from zl_assets.core.evaluation.breakdown import GROUPINGS, breakdown
    from zl_assets.core.evaluation.calibration import calibrated

    evaluated = set(newest_evaluation(settings, horizons)["horizon"])
    parts: list[pl.DataFrame] = []
    for horizon in (HORIZONS[code] for code in horizons if code in evaluated):
        shelf = read_shelf(settings.home, horizon.code)
        told = {name: calibrated(artifact.oof, horizon.sessions) for name, artifact in shelf.items()}
        simulated = any(artifact.simulated for artifact in shelf.values())
        rows = breakdown(told, horizon, GROUPINGS[by])
        parts.append(rows.select(pl.lit(horizon.code).alias("horizon"), *rows.columns, is_simulated=pl.lit(simulated)))
    return pl.concat(parts)
