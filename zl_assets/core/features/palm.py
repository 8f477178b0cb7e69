"""Palm oil beside soybean oil: ratio, spread and movement of the two, never palm's price alone.

CPO=F is the nearest month of a calendar-month swap: on the first trading day of a month the price is another month's.
That step is no move of the market, so it is taken out of every return, and ratio and spread are measured along paths
without it; their scores do not depend on where a path begins. ZL's roll gaps are taken out in the same way.

Not here: freight between Malaysia and the Gulf. No stored series has it.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from zl_assets.core.features import trailing as over
from zl_assets.core.features.family import Family, Feature, Inputs
from zl_assets.core.features.readings import (
    USD_PER_TONNE,
    RawSeries,
    at_decisions,
    closes,
    finished,
    over_history,
)

MAX_AGE = timedelta(days=7)
MONTHLY_AGE = timedelta(days=100)
CPO = (RawSeries("palm_oil_daily", {"symbol": "CPO=F"}, MAX_AGE, {"value": "close"}),)

FEATURES: tuple[Feature, ...] = (
    Feature("palm_ratio_z_63", "1", "Log of ZL over palm oil against its last 63 sessions", "palm", "z"),
    Feature("palm_ratio_z_252", "1", "Log of ZL over palm oil against its last 252 sessions", "palm", "z"),
    Feature(
        "palm_ratio_percentile_252", "%", "Rank of ZL over palm oil in its last 252 sessions", "palm", "percentile"
    ),
    Feature("palm_spread_z_252", "1", "ZL less palm oil, USD/t, against its last 252 sessions", "palm", "z"),
    Feature("palm_spread_change_21", "USD/t", "Change of ZL less palm oil in 21 sessions", "palm", "change"),
    Feature("palm_return_5", "1", "Log return of palm oil in 5 sessions, rolls left out", "palm", "return"),
    Feature("palm_return_21", "1", "Log return of palm oil in 21 sessions, rolls left out", "palm", "return"),
    Feature("palm_lag_5", "1", "Log return of ZL less palm oil's in 5 sessions", "palm", "spread"),
    Feature("palm_lag_21", "1", "Log return of ZL less palm oil's in 21 sessions", "palm", "spread"),
    Feature("palm_relative_volatility_63", "1", "Volatility of palm oil over ZL's, 63 sessions", "palm", "ratio"),
    Feature("palm_zl_correlation_63", "1", "Daily returns of palm oil with ZL's", "palm", "correlation"),
    Feature("palm_zl_correlation_126", "1", "5-session returns of palm oil with ZL's", "palm", "correlation"),
    Feature("palm_zl_beta_126", "1", "Slope of palm oil's 5-session returns on ZL's", "palm", "beta"),
    Feature("palm_world_ratio_z_60m", "1", "World price of soybean oil over palm oil against 60 months", "palm", "z"),
)


def build(inputs: Inputs) -> pl.DataFrame:
    """The family's columns; see `FEATURES`."""
    zl = closes(inputs, "ZL", "zl")
    months = inputs.decisions.select("data_date")
    paths = at_decisions(inputs, {"palm": CPO}, _paths(), [zl, months])
    ratio, spread = pl.col("ratio"), pl.col("spread")
    palm, oil = pl.col("palm_path"), pl.col("zl_path")
    palm_day, oil_day = over.change(palm, 1), over.change(oil, 1)
    palm_week, oil_week = over.change(palm, 5), over.change(oil, 5)
    columns = {
        "palm_ratio_z_63": over.z_score(ratio, 63),
        "palm_ratio_z_252": over.z_score(ratio, 252),
        "palm_ratio_percentile_252": over.percentile(ratio, 252),
        "palm_spread_z_252": over.z_score(spread, 252),
        "palm_spread_change_21": over.change(spread, 21),
        "palm_return_5": palm_week,
        "palm_return_21": over.change(palm, 21),
        "palm_lag_5": oil_week - palm_week,
        "palm_lag_21": over.change(oil, 21) - over.change(palm, 21),
        "palm_relative_volatility_63": over.deviation(palm_day, 63) / over.deviation(oil_day, 63),
        "palm_zl_correlation_63": over.correlation(palm_day, oil_day, 63),
        "palm_zl_correlation_126": over.correlation(palm_week, oil_week, 126),
        "palm_zl_beta_126": over.beta(palm_week, oil_week, 126),
    }
    return finished(inputs, [f.name for f in FEATURES], [paths.select(**columns), _world(inputs)])


def _paths() -> dict[str, pl.Expr]:
    """Log prices and USD/t summed from moves without rolls; a path is null where either price is.

    The move over a hole is taken from the last price before it. The first move and a roll count as none.
    """
    palm, zl = pl.col("palm"), pl.col("zl_adjusted")
    month = (pl.col("data_date") - pl.duration(days=pl.col("palm_age"))).dt.month()
    last = palm.forward_fill()
    rolled = month.forward_fill() != month.forward_fill().shift(1)
    palm_move = pl.when(~rolled).then(last.log() - last.shift(1).log()).fill_null(0.0)
    palm_dollars = pl.when(~rolled).then(last - last.shift(1)).fill_null(0.0)
    oil = zl.forward_fill()
    oil_move = (oil.log() - oil.shift(1).log()).fill_null(0.0)
    tonne = pl.col("zl").forward_fill().shift(1) * USD_PER_TONNE
    oil_dollars = (tonne * (oil / oil.shift(1) - 1)).fill_null(0.0)
    both = palm.is_not_null() & zl.is_not_null()
    paths = {
        "palm_path": palm_move.cum_sum(),
        "zl_path": oil_move.cum_sum(),
        "ratio": (oil_move - palm_move).cum_sum(),
        "spread": (oil_dollars - palm_dollars).cum_sum(),
    }
    return {name: pl.when(both).then(path) for name, path in paths.items()}


def _world(inputs: Inputs) -> pl.DataFrame:
    """Ratio of the IMF's monthly world prices, both USD/t, against five years of months."""
    name = "palm_world_ratio_z_60m"
    table = inputs.series.get("fred_economic")
    both = [] if table is None else [table.filter(pl.col("series_id") == s) for s in ("PSOILUSDM", "PPOILUSDM")]
    ratios = _ratio_rows(*both) if both else None
    known = inputs if ratios is None else Inputs(inputs.decisions, inputs.sessions, {"ratio": ratios})
    value = pl.col("value")
    score = (value.last() - value.mean()) / value.std()
    series = RawSeries("ratio", {}, MONTHLY_AGE)
    columns = {name: pl.when(value.count() >= 48).then(score)}
    return over_history(known, (series,), timedelta(days=60 * 30.44), columns)


def _ratio_rows(soybean_oil: pl.DataFrame, palm: pl.DataFrame) -> pl.DataFrame:
    """One row per month and pair of versions that were the published ones together, public when the later one was."""
    at = ["observed_date", "source"]
    replaced = pl.col("available_at").shift(-1).over(at, order_by="available_at").alias("replaced_at")
    both = soybean_oil.with_columns(replaced).join(palm.with_columns(replaced), on=at, suffix="_palm")
    public = pl.max_horizontal("available_at", "available_at_palm")
    current = [pl.col(column).is_null() | (pl.col(column) > public) for column in ("replaced_at", "replaced_at_palm")]
    ratio = pl.col("value") / pl.col("value_palm")
    return both.filter(*current).select(*at, public.alias("available_at"), ratio.alias("value"))


FAMILY = Family(
    name="palm",
    version="v2.5",
    description="Palm oil against soybean oil: ratio, spread, relative volatility, co-movement",
    inputs=("palm_oil_daily",),
    look_back=320,
    features=FEATURES,
    build=build,
    rules=(11,),
    stands={"palm_world": MONTHLY_AGE},
)
