"""Assembles the graph: assets, checks, jobs and resources, from settings and overrides."""

from __future__ import annotations

from typing import Any

import dagster as dg

from zl_assets.assets import (
    archive,
    evaluation,
    features,
    full_surface,
    market_data,
    models,
    monitoring,
    predictions,
    raw_intelligence,
    regime_classifier,
    regimes,
    training,
)
from zl_assets.automation.jobs import ALL_MODELS_JOB, FULL_SURFACE_JOB, FULL_TRAINING_JOB, HORIZON_JOB, MARKET_JOB
from zl_assets.automation.query_usage import StepUsage
from zl_assets.checks import archive as archive_checks
from zl_assets.checks import evaluation as evaluation_checks
from zl_assets.checks import features as feature_checks
from zl_assets.checks import full_surface as full_checks
from zl_assets.checks import market_data as market_checks
from zl_assets.checks import models as model_checks
from zl_assets.checks import monitoring as evidence_checks
from zl_assets.checks import predictions as prediction_checks
from zl_assets.checks import raw_intelligence as series_checks
from zl_assets.checks import regime_classifier as classifier_checks
from zl_assets.checks import regimes as regime_checks
from zl_assets.checks import surfaces as surface_checks
from zl_assets.checks import training as training_checks
from zl_assets.settings import Settings
from zl_assets.sources.bar_source import BarSource
from zl_assets.sources.series_choice import SeriesSources
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets.warehouse.bigquery_jobs import Jobs
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse

ASSETS = [
    market_data,
    raw_intelligence,
    regimes,
    features,
    full_surface,
    training,
    models,
    regime_classifier,
    evaluation,
    predictions,
    monitoring,
    archive,
]
CHECKS = [
    market_checks,
    series_checks,
    regime_checks,
    feature_checks,
    full_checks,
    surface_checks,
    training_checks,
    model_checks,
    classifier_checks,
    evaluation_checks,
    prediction_checks,
    evidence_checks,
    archive_checks,
]


def build_warehouse(settings: Settings) -> Warehouse:
    """The store that the settings name."""
    if settings.warehouse == "duckdb":
        return DuckDBWarehouse(settings.warehouse_file, settings.warehouse_lock_seconds)
    told = StepUsage()
    return BigQueryWarehouse(
        Jobs(
            settings.bigquery_project,
            settings.bigquery_location,
            settings.bigquery_api_endpoint,
            settings.bigquery_max_bytes,
            settings.bigquery_retry_seconds,
            labels=told.labels,
            counted=told.count,
        )
    )


def series_sources(settings: Settings) -> SeriesSources:
    """Every source of raw series there is, configured or not."""
    return SeriesSources(settings)


def build_definitions(settings: Settings, **overrides: Any) -> dg.Definitions:
    """The graph for one process.

    Args:
        settings: where things are and which bars to use.
        overrides: resources that replace the built ones, by name: warehouse, bar_source, series_sources, settings.
    """
    resources = {
        "settings": settings,
        "warehouse": build_warehouse(settings),
        "bar_source": BarSource(settings),
        "families": monitoring.GATED,
        "series_sources": series_sources(settings),
        **overrides,
    }
    return dg.Definitions(
        assets=dg.load_assets_from_modules(ASSETS, include_specs=True),
        asset_checks=dg.load_asset_checks_from_modules(CHECKS),
        jobs=[MARKET_JOB, HORIZON_JOB, ALL_MODELS_JOB, FULL_SURFACE_JOB, FULL_TRAINING_JOB],
        resources=resources,
        executor=dg.in_process_executor,
    )
