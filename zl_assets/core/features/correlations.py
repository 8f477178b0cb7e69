"""How closely an instrument moves with its main markets, and whether that is more or less than usual.

Correlations of daily returns without roll gaps, over sessions that both markets had (see `markets`).
"""

from __future__ import annotations

import polars as pl

from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.markets import PAIR_LOOK_BACK, as_known, correlation, domain_of, label, over_pairs, pairs

SYMBOLS = ("ZS", "ZM", "CL", "HO", "6L")
WINDOWS = (30, 60, 90, 252)
SPREAD = (30, 252)


def build(inputs: Inputs) -> pl.DataFrame:
    """The columns of FAMILY, one row per decision; those of the instrument with itself are null."""
    others = [s for s in SYMBOLS if s != inputs.symbol]
    rolled = over_pairs(pairs(inputs.sessions, inputs.symbol, others), {f"corr_{n}": correlation(n) for n in WINDOWS})
    short, long = SPREAD
    spread = rolled.with_columns(spread=pl.col(f"corr_{short}") - pl.col(f"corr_{long}"))
    wanted = {s: {f"corr_{n}_{label(s)}": f"corr_{n}" for n in WINDOWS} | {_spread_name(s): "spread"} for s in SYMBOLS}
    known = as_known(spread, inputs.decisions, wanted, inputs.symbol)
    return known.select("symbol", "data_date", *[f.name for f in FAMILY.features])


def _spread_name(symbol: str) -> str:
    return f"corr_spread_{SPREAD[0]}_{SPREAD[1]}_{label(symbol)}"


def _features() -> tuple[Feature, ...]:
    levels = [
        Feature(
            f"corr_{n}_{label(s)}",
            "1",
            f"Correlation of daily returns with {s} over {n} common sessions",
            domain_of(s),
            "correlation",
        )
        for s in SYMBOLS
        for n in WINDOWS
    ]
    spreads = [
        Feature(
            _spread_name(s),
            "1",
            f"Correlation with {s} over {SPREAD[0]} sessions minus that over {SPREAD[1]}",
            domain_of(s),
            "correlation",
        )
        for s in SYMBOLS
    ]
    return (*levels, *spreads)


FAMILY = Family(
    name="correlations",
    version="v1.5",
    description="Correlations with the main markets over four windows, and short against long",
    inputs=(),
    look_back=PAIR_LOOK_BACK,
    features=_features(),
    build=build,
    rules=(5,),
)
