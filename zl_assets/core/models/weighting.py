"""How much each training row counts: schemes that compete on the same folds.

Belongs here: weights by row. Models scale them to a mean of 1, so that only their ratios matter; what is left of the
rows by their spread is Kish's effective size.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from zl_assets.core.regimes import with_regime

Weighting = Literal["equal", "half_life", "v0", "research"]

HALF_LIFE_SESSIONS = 1260
"""Sessions after which a row counts half: five years."""


def weighted(frame: pl.DataFrame, weighting: Weighting) -> pl.DataFrame:
    """The frame with the scheme's `sample_weight`.

    - equal: every row counts alike.
    - half_life: a row counts half as much as one HALF_LIFE_SESSIONS after it.
    - v0: the weight of its regime in the set `v0`, as the training table has it.
    - research: the weight of its regime in the set `research`.

    The regimes were named and weighed in hindsight: both sets know which years turned out to matter.

    Args:
        frame: rows with data_date, session_number and sample_weight.
        weighting: the scheme.
    """
    if weighting == "v0":
        return frame
    if weighting == "equal":
        return frame.with_columns(sample_weight=pl.lit(1.0))
    if weighting == "half_life":
        age = pl.col("session_number").max() - pl.col("session_number")
        return frame.with_columns(sample_weight=(-age.cast(pl.Float64) / HALF_LIFE_SESSIONS * pl.lit(2.0).log()).exp())
    named = with_regime(frame.select("data_date"), "data_date", "research")
    return frame.with_columns(named["regime_weight"].cast(pl.Float64).alias("sample_weight"))
