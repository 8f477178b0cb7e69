"""The forecasts of every model, and the one that is published per horizon."""

from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from zl_assets.assets.common import WAREHOUSE_POOL, merged, node, picture, utc_now
from zl_assets.assets.evaluation import EVALUATION, model_forecasts
from zl_assets.assets.market_data import SESSIONS
from zl_assets.assets.training import training_rows
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.instruments import FORECAST_SYMBOL
from zl_assets.core.models.shelf import CLASSIFIER
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import view_sql

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from zl_assets.artifacts import Artifact
    from zl_assets.core.forecasts import ModelForecast

FORECASTS = "predictions.zl_forecasts"
LATEST = "predictions.vw_zl_latest"


def latest_name(horizon: str) -> str:
    """Name of the view of a horizon's published forecast."""
    return f"predictions.vw_zl_{horizon}_latest"


@dg.asset(
    **node(FORECASTS, group="predictions", kind="polars", per_horizon=True),
    deps=[EVALUATION.split("."), CLASSIFIER.key.split(".")],
    pool=WAREHOUSE_POOL,
)
def zl_forecasts(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
):
    """Calibrate and compare what the models said, and merge a row of each; one of them is published."""
    import polars as pl

    from zl_assets.artifacts import read_shelf, write_forecasts
    from zl_assets.core import figures
    from zl_assets.core.evaluation.crisis_claim import crisis_claim
    from zl_assets.core.exchange_calendar import session_after
    from zl_assets.core.forecasts import ForecastContext, publish, superseded
    from zl_assets.core.market_state import market_state
    from zl_assets.regime_artifacts import stored_probabilities

    horizon = HORIZONS[context.partition_key]
    shelf = read_shelf(settings.home, horizon.code)
    frame = training_rows(warehouse, horizon)
    newest = next(iter(shelf.values()))
    as_of = newest.newest["data_date"].item()
    session: int = newest.newest["session_number"].item()
    states = stored_probabilities(settings.home, horizon.code, newest.training_data, session)
    newest_day: date = frame["data_date"][-1]
    sessions, series = _sessions_and_vix(warehouse)
    found = publish(
        _unless_refused(shelf, frame, horizon.sessions, utc_now().date() if settings.as_of == "today" else newest_day),
        market_state(states, frame, sessions, series, settings.decision_time),
        ForecastContext(
            horizon=horizon,
            target_date=session_after("grains", as_of, horizon.sessions),
            is_simulated=newest.simulated,
            created_at=utc_now(),
            data_as_of=newest_day,
        ),
    )
    stored = warehouse.read(f"SELECT * FROM {FORECASTS} WHERE horizon = @horizon", {"horizon": horizon.code})
    result = warehouse.merge(FORECASTS, pl.concat([found.rows, superseded(stored, found.rows)]))
    write_forecasts(settings.home, horizon.code, newest.training_data, found.rows)
    published = found.rows.filter("is_champion").row(0, named=True)
    fan = figures.fan_figure(found.champion, f"{published['model']}, {horizon.code}", simulated=newest.simulated)
    return dg.MaterializeResult(
        metadata={
            **merged(result, found.rows.height),
            "simulated": newest.simulated,
            "as_of_date": str(published["as_of_date"]),
            "target_date": str(published["target_date"]),
            "published_model": published["model"],
            "state": published["state"],
            "price": published["current_price"],
            **{name: published[name] for name in ("predicted_price", "q10", "q90") if published[name] is not None},
            "why": published["champion_reason"],
            "crisis_claim": crisis_claim(found.trust).sentence,
            "forecasts": picture(fan),
        }
    )


def _sessions_and_vix(warehouse: Warehouse) -> "tuple[pl.DataFrame, dict[str, pl.DataFrame]]":
    """ZL's sessions, and the stored rows of the VIX by table name without the dataset."""
    from zl_assets.core.features.volatility import VIX

    read = {"sessions": f"SELECT * FROM {SESSIONS} WHERE symbol = '{FORECAST_SYMBOL}'"}
    for series in VIX:
        told = " AND ".join(f"{column} = '{value}'" for column, value in series.where.items())
        read[series.table] = f"SELECT * FROM raw_intelligence.{series.table} WHERE {told}"
    found = warehouse.read_all(read)
    return found.pop("sessions"), found


def _unless_refused(
    shelf: "Mapping[str, Artifact]", frame: "pl.DataFrame", sessions: int, as_of: date
) -> "list[ModelForecast]":
    """What the stored models said, with the reason of those whose row they must not forecast."""
    from dataclasses import replace

    from zl_assets.core.refusals import refusals

    reasons = refusals({name: a.columns_used for name, a in shelf.items()}, frame, sessions, as_of)
    return [replace(told, refusal=reasons.get(told.model)) for told in model_forecasts(shelf)]


@dg.asset(
    **node(
        LATEST,
        group="predictions",
        kind="sql",
        description="View predictions.vw_zl_{horizon}_latest: the published forecast of one horizon, exactly one row",
        per_horizon=True,
    ),
    deps=[FORECASTS.split(".")],
    pool=WAREHOUSE_POOL,
)
def vw_zl_latest(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]):
    """Create the view of the partition's horizon."""
    warehouse.create_view(view_sql(LATEST, context.partition_key))
    return dg.MaterializeResult(metadata={"view": latest_name(context.partition_key)})
