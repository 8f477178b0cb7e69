"""The jobs: everything up to the matrix once, everything after it once per horizon."""

import dagster as dg

_PER_HORIZON = dg.AssetSelection.groups("training", "models", "predictions")

MARKET_JOB = dg.define_asset_job(
    "market_job",
    selection=dg.AssetSelection.all() - _PER_HORIZON,
    description="Vendor bars, sessions, regimes and the feature matrix, with their checks",
)
HORIZON_JOB = dg.define_asset_job(
    "horizon_job",
    selection=_PER_HORIZON,
    description="Training view, training table, model, forecast and latest view of one horizon, with their checks",
)
