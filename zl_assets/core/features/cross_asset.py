"""Cross-asset features: what the markets around an instrument did, and how it hangs together with them.

Returns are those of each market's newest session known at the decision; pair statistics run over common sessions (see
`markets`). Every price enters as a return or against its own past year, never as a level. Lags only: a correlation
pairs the instrument's return with another market's of the same session or of earlier ones.
"""

from __future__ import annotations

import polars as pl

from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.markets import (
    PAIR_LOOK_BACK,
    as_known,
    beta,
    domain_of,
    label,
    lagged_correlation,
    moves,
    over_pairs,
    pairs,
    ratio_z,
)

RETURN_SYMBOLS = ("ZS", "ZM", "ZC", "CL", "HO", "GC", "ES", "6L", "ZN")
RETURN_SESSIONS = (1, 5, 21, 63)
RATIO_SYMBOLS = ("ZS", "ZM", "ZC", "CL", "HO", "GC")
BETA_SYMBOLS = ("ZS", "ZM", "CL", "HO", "6L")
BETA_SESSIONS = (60, 252)
LEAD_SYMBOLS = ("CL", "ES")
LEAD_LAGS = (1, 2, 3, 4, 5)
LEAD_SESSIONS = 252


def _returns() -> list[tuple[str, str, Feature]]:
    return [
        (
            symbol,
            f"return_{n}d",
            Feature(
                f"{label(symbol)}_return_{n}d",
                "1",
                f"Return of {symbol} over {n} of its sessions, without roll gaps",
                domain_of(symbol),
                "return",
            ),
        )
        for symbol in RETURN_SYMBOLS
        for n in RETURN_SESSIONS
    ]


def _pair_values() -> list[tuple[str, str, Feature]]:
    ratios = [
        (
            s,
            "ratio_z",
            Feature(f"{label(s)}_ratio_z_252", "1", f"Log ratio of {s} to it against 252", domain_of(s), "z"),
        )
        for s in RATIO_SYMBOLS
    ]
    betas = [
        (s, f"beta_{n}", Feature(f"beta_{n}_{label(s)}", "1", f"Beta on {s} over {n} sessions", domain_of(s), "beta"))
        for s in BETA_SYMBOLS
        for n in BETA_SESSIONS
    ]
    leads = [
        (
            s,
            f"lead_{lag}",
            Feature(
                f"lead_{lag}_{label(s)}",
                "1",
                f"Correlation of its return with that of {s} {lag} sessions before, over {LEAD_SESSIONS}",
                domain_of(s),
                "correlation",
            ),
        )
        for s in LEAD_SYMBOLS
        for lag in LEAD_LAGS
    ]
    return [*ratios, *betas, *leads]


def _wanted(columns: list[tuple[str, str, Feature]]) -> dict[str, dict[str, str]]:
    wanted: dict[str, dict[str, str]] = {}
    for symbol, value, feature in columns:
        wanted.setdefault(symbol, {})[feature.name] = value
    return wanted


def build(inputs: Inputs) -> pl.DataFrame:
    """The columns of FAMILY, one row per decision; those of the instrument with itself are null."""
    returns = as_known(
        moves(inputs.sessions, RETURN_SYMBOLS, RETURN_SESSIONS),
        inputs.decisions,
        _wanted(_returns()),
        inputs.symbol,
    )
    values = {
        "ratio_z": ratio_z(),
        **{f"beta_{n}": beta(n) for n in BETA_SESSIONS},
        **{f"lead_{lag}": lagged_correlation(lag, LEAD_SESSIONS) for lag in LEAD_LAGS},
    }
    others = sorted({*RATIO_SYMBOLS, *BETA_SYMBOLS, *LEAD_SYMBOLS} - {inputs.symbol})
    paired = over_pairs(pairs(inputs.sessions, inputs.symbol, others), values)
    known = as_known(paired, inputs.decisions, _wanted(_pair_values()), inputs.symbol)
    both = pl.concat([returns, known.drop("symbol", "data_date")], how="horizontal")
    return both.select("symbol", "data_date", *[f.name for f in FAMILY.features])


FAMILY = Family(
    name="cross_asset",
    version="v1.5",
    description="Returns of the markets around it, price ratios, betas and lead-lag correlations",
    inputs=(),
    look_back=PAIR_LOOK_BACK,
    features=tuple(feature for _, _, feature in [*_returns(), *_pair_values()]),
    build=build,
    rules=(1, 5),
)
