"""The models of a horizon: each trained, judged and written to the model store as an asset of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import dagster as dg

from zl_assets.assets.common import node, picture
from zl_assets.assets.training import TABLE, is_simulated, training_rows
from zl_assets.core.horizons import HORIZONS, Horizon
from zl_assets.core.models.shelf import CLASSIFIER, ENSEMBLE, SHELF, ModelSpec, models
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    from zl_assets.core.models.training import TrainedModel

GROUP = "models_{family}"
"""Dagster group of the models of a family."""


def model_group(spec: ModelSpec) -> str:
    """Dagster group of a model."""
    return GROUP.format(family=spec.family)


def _node(spec: ModelSpec) -> dict[str, Any]:
    description = f"{spec.title}: purged walk-forward beside no-change, then fitted on every labelled row"
    kind = spec.package or "polars"
    return node(spec.key, group=model_group(spec), kind=kind, description=description, per_horizon=True)


def model_asset(spec: ModelSpec) -> dg.AssetsDefinition:
    """The asset of one model that learns from the training table."""

    @dg.asset(**_node(spec), deps=[TABLE.split(".")])
    def trained(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
    ):
        """Train, judge, forecast the newest session, and store it all as one artifact."""
        from zl_assets.core.models.training import train

        horizon = HORIZONS[context.partition_key]
        frame = training_rows(warehouse, horizon)
        with logged(settings, context.run.run_id, spec, horizon) as log:
            model = spec.asked(profile=settings.profile) if spec.family == "neural" else spec
            checkpoint = settings.home / "checkpoints" / horizon.code / spec.name
            found = train(model, frame, horizon, rolling=settings.rolling, checkpoint=checkpoint)
            return stored(log, settings, found, simulated=is_simulated(frame))

    return trained  # pyright: ignore[reportReturnType]  # the decorator's return type is not told upstream


@dg.asset(
    **_node(models()[ENSEMBLE]),
    deps=[spec.key.split(".") for spec in (*SHELF, CLASSIFIER) if spec.name != ENSEMBLE],
)
def ensemble(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
):
    """Blend the models that were trained on the same rows, and store the blend as an artifact like theirs."""
    from zl_assets.artifacts import read_shelf
    from zl_assets.core import figures
    from zl_assets.core.models.base import labelled_rows
    from zl_assets.core.models.blending import blend_of, train_ensemble
    from zl_assets.core.models.training import training_data
    from zl_assets.regime_artifacts import stored_probabilities

    horizon = HORIZONS[context.partition_key]
    frame = training_rows(warehouse, horizon)
    members = {name: a for name, a in read_shelf(settings.home, horizon.code).items() if name != ENSEMBLE}
    newest: int = next(iter(members.values())).newest["session_number"].item()
    told = stored_probabilities(settings.home, horizon.code, training_data(labelled_rows(frame)), newest)
    simulated = is_simulated(frame)
    with logged(settings, context.run.run_id, models()[ENSEMBLE], horizon) as log:
        found = train_ensemble({n: (a.oof, a.newest) for n, a in members.items()}, told, frame, horizon)
        weights = figures.weights_figure(blend_of(found), horizon.code, simulated=simulated)
        return stored(log, settings, found, simulated=simulated, pictures={"weights_by_state": weights})


MODEL_ASSETS = [model_asset(spec) for spec in SHELF if spec.name != ENSEMBLE]


@dataclass
class Log:
    """Where a training run is told; what goes to MLflow is left out where it is switched off."""

    run_id: str
    metrics: dict[str, float | int | None] = field(default_factory=dict[str, float | int | None])
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])


@contextmanager
def logged(settings: Settings, dagster_run_id: str, spec: ModelSpec, horizon: Horizon) -> Iterator[Log]:
    """A log whose run identifier is MLflow's, or Dagster's where `ZL_MLFLOW` is off."""
    if not settings.mlflow:
        yield Log(dagster_run_id)
        return
    from zl_assets.tracking import tracked_run

    tags = {"dagster_run_id": dagster_run_id, "family": spec.family, "horizon": horizon.code}
    with tracked_run(settings.home, horizon.code, spec.name, tags) as run:
        log = Log(run.run_id)
        yield log
        run.log(parameters=log.parameters, metrics=log.metrics)
        run.log_files(log.files)


def stored(
    log: Log,
    settings: Settings,
    found: "TrainedModel",
    *,
    simulated: bool,
    pictures: Mapping[str, bytes] = MappingProxyType({}),
) -> dg.MaterializeResult[Any]:
    """Write the artifact, and say what was found, in further pictures by name, too."""
    from zl_assets.artifacts import ArtifactPlace, write_artifact
    from zl_assets.core import figures

    place = ArtifactPlace.of(found.spec, settings.home, found.horizon.code)
    path = write_artifact(place, found, run_id=log.run_id, simulated=simulated)
    scores = found.scores
    told: Mapping[str, float | int | None] = {
        "crps": scores.crps,
        "mae": scores.mae,
        "mae_no_change": scores.no_change_mae,
        "rmse_vs_no_change": scores.rmse_vs_no_change,
        "coverage_80": scores.coverage_80,
        "coverage_90": scores.coverage_90,
        "crossing_rate": scores.crossing_rate,
        "training_rows": found.n_rows,
        "effective_sample_size": round(found.n_effective, 1),
        "folds": found.folds.height,
    }
    title = f"{found.spec.name}, {found.horizon.code}"
    shown = {"out_of_fold": figures.fan_figure(found.oof, title, simulated=simulated), **pictures}
    if not found.feature_importance.is_empty():
        shown["importance"] = figures.importance_figure(found.feature_importance, title, simulated=simulated)
    log.metrics.update(told)
    log.parameters.update({"simulated": simulated, "artifact": str(path.relative_to(settings.home))})
    log.parameters.update(found.training_config)
    log.files.update({f"{name}.png": png for name, png in shown.items()})
    log.files["metrics.json"] = (path / "metrics.json").read_bytes()
    return dg.MaterializeResult(
        metadata={
            "simulated": simulated,
            "artifact": dg.MetadataValue.path(str(path)),
            "model_version": found.model_version,
            "run_id": log.run_id,
            "columns_used": ", ".join(found.forecaster.columns_used),
            **{name: value for name, value in told.items() if value is not None},
            **{name: picture(png) for name, png in shown.items()},
        }
    )
