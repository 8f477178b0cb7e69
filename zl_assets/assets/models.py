"""The models of a horizon: trained, judged and written to the model store."""

import dagster as dg

from zl_assets.assets.common import node, picture, utc_now
from zl_assets.assets.training import TABLE, table_name
from zl_assets.core.horizons import HORIZONS
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse

LIGHTGBM = "models.trees.lightgbm"


@dg.asset(
    **node(
        LIGHTGBM,
        group="models",
        kind="lightgbm",
        description="LightGBM of one horizon: purged walk-forward beside no-change, then refit on every labelled row",
        per_horizon=True,
    ),
    deps=[TABLE.split(".")],
)
def lightgbm(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
):
    """Train, judge, forecast the newest session, and store it all as one artifact."""
    from zl_assets.artifacts import ArtifactPlace, write_artifact
    from zl_assets.core import figures
    from zl_assets.core.exchange_calendar import session_after
    from zl_assets.core.forecasts import ForecastContext, forecast_rows, newest_usable_row
    from zl_assets.core.models.lightgbm_model import train_and_evaluate
    from zl_assets.core.training_frame import training_frame

    horizon = HORIZONS[context.partition_key]
    name = table_name(horizon.code)
    frame = training_frame(warehouse.read(f"SELECT * FROM {name} ORDER BY data_date"), horizon)
    simulated = bool(frame["source"].eq("simulated").any())
    trained = train_and_evaluate(frame, horizon)
    newest = newest_usable_row(frame)
    forecasts = forecast_rows(
        newest,
        forecaster=trained.forecaster,
        model_version=trained.model_version,
        oof=trained.oof,
        context=ForecastContext(
            horizon=horizon,
            target_date=session_after("grains", newest["data_date"].item(), horizon.sessions),
            run_id=context.run.run_id,
            is_simulated=simulated,
            created_at=utc_now(),
        ),
    )
    place = ArtifactPlace(settings.home, horizon.code)
    path = write_artifact(place, trained, forecasts, run_id=context.run.run_id, simulated=simulated)
    oof, test = trained.oof_metrics, trained.test_metrics
    return dg.MaterializeResult(
        metadata={
            "simulated": simulated,
            "artifact": dg.MetadataValue.path(str(path)),
            "model_version": trained.model_version,
            "columns_used": ", ".join(trained.columns_used),
            "training_rows": trained.n_rows,
            "effective_sample_size": round(trained.n_effective, 1),
            "folds": trained.folds.height,
            "oof_mae": oof.mae,
            "oof_mae_no_change": oof.no_change_mae,
            "oof_skill_vs_no_change": oof.skill_vs_no_change or 0.0,
            "test_mae": test.mae if test else "not enough rows",
            "test_mae_no_change": test.no_change_mae if test else "not enough rows",
            "published": trained.champion.reason,
            "out_of_fold": picture(figures.out_of_fold_figure(trained.oof, horizon.code, simulated=simulated)),
            "importance": picture(
                figures.importance_figure(trained.feature_importance, horizon.code, simulated=simulated)
            ),
        }
    )
