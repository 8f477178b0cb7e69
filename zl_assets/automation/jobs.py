"""The jobs: everything up to the matrix once, everything after it once per horizon."""

import dagster as dg

from zl_assets.checks.archive import SHIM_CHECKS
from zl_assets.warehouse.shims import SHIMS

_PER_HORIZON = dg.AssetSelection.groups("training", "models", "predictions")
_WHEN_ASKED = dg.AssetSelection.groups("archive", "full_surface", "full_training", "monitoring")
_OF_SHIMS = dg.AssetSelection.checks(*[dg.AssetCheckKey(dg.AssetKey(SHIMS.split(".")), c.name) for c in SHIM_CHECKS])

MARKET_JOB = dg.define_asset_job(
    "market_job",
    selection=(dg.AssetSelection.all() - _PER_HORIZON - _WHEN_ASKED) | _OF_SHIMS,
    description="Vendor bars, sessions, regimes and the feature matrix, with their checks; the grace of shim views",
)
HORIZON_JOB = dg.define_asset_job(
    "horizon_job",
    selection=_PER_HORIZON,
    description="Training view, training table, model, forecast and latest view of one horizon, with their checks",
)
FULL_SURFACE_JOB = dg.define_asset_job(
    "full_surface_job",
    selection=dg.AssetSelection.groups("full_surface"),
    description="The wide matrix of the full surface, with its checks",
)
FULL_TRAINING_JOB = dg.define_asset_job(
    "full_training_job",
    selection=dg.AssetSelection.groups("full_training"),
    description="Training view and training table of one horizon, full surface, with their checks",
)
