"""Implied volatility of US equities: in which band it stands, how unusual it is, and how it compares with ZL's own.

The VIX closes at 15:15 Chicago time, after ZL's settlement: what a decision sees is the close of the day before. It
says how wide intervals should be, never how sure a forecast is.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from zl_assets.core.features import trailing as over
from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.readings import RawSeries, at_decisions, closes, finished

MAX_AGE = timedelta(days=7)
BANDS = (15.0, 25.0, 30.0)
"""Index points at which calm, normal, tense and crisis meet (DOMAIN section 7, rule 2)."""

VIX = (
    RawSeries("volatility_daily", {"series_id": "VIX"}, MAX_AGE, {"value": "close"}, ("yahoo", "cboe", "fred")),
    RawSeries("fred_economic", {"series_id": "VIXCLS"}, MAX_AGE),
)


FEATURES: tuple[Feature, ...] = (
    Feature("vix_band", "1", "0 below 15, 1 below 25, 2 below 30, 3 from 30 on", "vix", "band"),
    Feature("vix_above_25", "1", "1 where the VIX is above 25", "vix", "flag"),
    Feature("vix_sessions_above_25_21", "1", "Share of 21 sessions with the VIX above 25", "vix", "persistence"),
    Feature("vix_z_21", "1", "VIX against its last 21 sessions", "vix", "z"),
    Feature("vix_z_63", "1", "VIX against its last 63 sessions", "vix", "z"),
    Feature("vix_z_252", "1", "VIX against its last 252 sessions", "vix", "z"),
    Feature("vix_percentile_252", "%", "Rank of the VIX within its last 252 sessions", "vix", "percentile"),
    Feature("vix_change_1", "points", "Change of the VIX since the session before", "vix", "change"),
    Feature("vix_change_5", "points", "Change of the VIX in 5 sessions", "vix", "change"),
    Feature("vix_change_21", "points", "Change of the VIX in 21 sessions", "vix", "change"),
    Feature("vix_to_zl_volatility", "1", "VIX over ZL's annual volatility of 21 sessions", "vix", "ratio"),
    Feature("vix_to_zl_volatility_z_252", "1", "That ratio against its last 252 sessions", "vix", "z"),
    Feature("vix_to_es_volatility", "1", "VIX over the annual volatility of ES of 21 sessions", "vix", "ratio"),
    Feature("vix_zl_correlation_63", "1", "Daily changes of the VIX with ZL's returns", "vix", "correlation"),
)


def known_vix(inputs: Inputs) -> pl.DataFrame:
    """The VIX in index points as known at every decision, in order: one column, vix, null where there is none."""
    return at_decisions(inputs, {"vix": VIX}, {"vix": pl.col("vix").cast(pl.Float64)})


def build(inputs: Inputs) -> pl.DataFrame:
    """The family's columns; see `FEATURES`."""
    vix, above, to_zl = pl.col("vix"), pl.col("above"), pl.col("to_zl")
    gains = {name: over.log_gain(pl.col(f"{name}_adjusted")) for name in ("zl", "es")}
    to_own = {name: vix / (100 * over.annual_volatility(gain, 21)) for name, gain in gains.items()}
    shared = {
        "above": (vix > BANDS[1]).cast(pl.Float64),
        "to_zl": to_own["zl"],
        "change": over.change(vix, 1),
        # The newest VIX is the day before's, and so is the return beside it.
        "gain_before": gains["zl"].shift(1),
    }
    columns = {
        "vix_band": pl.sum_horizontal((vix >= bound).cast(pl.Int64) for bound in BANDS) + 0 * vix,
        "vix_above_25": above,
        "vix_sessions_above_25_21": over.mean(above, 21),
        **{f"vix_z_{n}": over.z_score(vix, n) for n in (21, 63, 252)},
        "vix_percentile_252": over.percentile(vix, 252),
        **{f"vix_change_{n}": over.change(vix, n) for n in (1, 5, 21)},
        "vix_to_zl_volatility": to_zl,
        "vix_to_zl_volatility_z_252": over.z_score(to_zl, 252),
        "vix_to_es_volatility": to_own["es"],
        "vix_zl_correlation_63": over.correlation(pl.col("change"), pl.col("gain_before"), 63),
    }
    beside = [closes(inputs, "ZL", "zl"), closes(inputs, "ES", "es")]
    return finished(inputs, list(columns), [at_decisions(inputs, {"vix": VIX}, columns, beside, shared)])


FAMILY = Family(
    name="volatility",
    version="v1.5",
    description="The VIX as known at the decision: bands, changes, scores, and against realised volatility",
    inputs=("volatility_daily",),
    look_back=320,
    features=FEATURES,
    build=build,
    rules=(2,),
)
