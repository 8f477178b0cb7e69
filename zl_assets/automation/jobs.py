"""The jobs: everything up to the matrix once, everything after it once per horizon."""

from collections.abc import Sequence

import dagster as dg

from zl_assets.checks.archive import SHIM_CHECKS
from zl_assets.core.models.shelf import CLASSIFIER, SHELF, ModelSpec, chosen_models
from zl_assets.warehouse.shims import SHIMS

_MODELS = dg.AssetSelection.assets(*[spec.key.split(".") for spec in SHELF])
_AROUND_MODELS = dg.AssetSelection.groups("training", "evaluation", "predictions") | dg.AssetSelection.assets(
    CLASSIFIER.key.split(".")
)
_WHEN_ASKED = dg.AssetSelection.groups("archive", "full_surface", "full_training", "monitoring")
_OF_SHIMS = dg.AssetSelection.checks(*[dg.AssetCheckKey(dg.AssetKey(SHIMS.split(".")), c.name) for c in SHIM_CHECKS])


def with_models(chosen: Sequence[ModelSpec]) -> dg.AssetSelection:
    """Everything of a horizon, the market states too, with some of the models."""
    return _AROUND_MODELS | dg.AssetSelection.assets(*[spec.key.split(".") for spec in chosen])


MARKET_JOB = dg.define_asset_job(
    "market_job",
    selection=(dg.AssetSelection.all() - _MODELS - _AROUND_MODELS - _WHEN_ASKED) | _OF_SHIMS,
    description="Vendor bars, sessions, regimes and the feature matrix, with their checks; the grace of shim views",
)
HORIZON_JOB = dg.define_asset_job(
    "horizon_job",
    selection=with_models(chosen_models("standard")),
    description="Training view and table, market states, standard models, forecast and its view of one horizon, checks",
)
ALL_MODELS_JOB = dg.define_asset_job(
    "all_models_job",
    selection=with_models(SHELF),
    description="What horizon_job does, with every model of the shelf",
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
