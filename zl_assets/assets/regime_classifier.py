"""The classifier of market states: one computation a horizon that the ensemble and the published row read."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from zl_assets.assets.common import counts, node, picture
from zl_assets.assets.models import Log, logged, model_group
from zl_assets.assets.training import TABLE, is_simulated, training_rows
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import CLASSIFIER
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse

if TYPE_CHECKING:
    from zl_assets.core.models.regime_training import TrainedClassifier


@dg.asset(
    **node(
        CLASSIFIER.key,
        group=model_group(CLASSIFIER),
        kind="scipy",
        description=f"{CLASSIFIER.title}; purged walk-forward beside the frequencies of the past",
        per_horizon=True,
    ),
    deps=[TABLE.split(".")],
)
def regime_classifier(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse], settings: dg.ResourceParam[Settings]
):
    """Train, judge, tell the states of every session from the first fold on, and store it all as one artifact."""
    from zl_assets.core.models.regime_training import train_classifier

    horizon = HORIZONS[context.partition_key]
    frame = training_rows(warehouse, horizon)
    with logged(settings, context.run.run_id, CLASSIFIER, horizon) as log:
        return _stored(log, settings, train_classifier(frame, horizon), simulated=is_simulated(frame))


def _stored(log: Log, settings: Settings, found: "TrainedClassifier", *, simulated: bool) -> dg.MaterializeResult[Any]:
    """Write the artifact, and say what was found."""
    from zl_assets.core import figures
    from zl_assets.core.models.regime_classifier import STATES
    from zl_assets.regime_artifacts import write_classifier

    path = write_classifier(settings.home, found, run_id=log.run_id, simulated=simulated)
    told, came = _figures(found)
    shown: dict[str, bytes] = {}
    if found.scores:
        shown["reliability"] = figures.state_reliability_figure(
            found.oof, STATES, found.horizon.code, simulated=simulated
        )
    log.metrics.update(told)
    log.parameters.update({"simulated": simulated, "artifact": str(path.relative_to(settings.home))})
    log.parameters.update(found.training_config)
    log.files.update({f"{name}.png": png for name, png in shown.items()})
    log.files["metrics.json"] = (path / "metrics.json").read_bytes()
    newest: dict[str, float] = found.newest.select(STATES).row(0, named=True)
    return dg.MaterializeResult(
        metadata={
            "simulated": simulated,
            "artifact": dg.MetadataValue.path(str(path)),
            "model_version": found.model_version,
            "run_id": log.run_id,
            "columns_used": ", ".join(found.classifier.columns_used),
            **{name: value for name, value in told.items() if value is not None},
            "states_that_came": counts(came),
            "newest_session": ", ".join(f"{state} {chance:.0%}" for state, chance in newest.items()),
            **{name: picture(png) for name, png in shown.items()},
        }
    )


def _figures(found: "TrainedClassifier") -> tuple[dict[str, float | int | None], dict[str, int]]:
    """How the states were told out of fold, and how often each came; where no outcome is known, only that."""
    scores = found.scores
    if scores is None:
        return {"sessions_judged": 0}, {}
    told: dict[str, float | int | None] = {
        "log_loss": scores.log_loss,
        "log_loss_of_climatology": scores.climatology_log_loss,
        "brier": scores.brier,
        "brier_of_climatology": scores.climatology_brier,
        "accuracy": scores.accuracy,
        "accuracy_of_most_frequent": scores.most_frequent_accuracy,
        "p_value": scores.p_value,
        "sessions_judged": scores.n,
        "sessions_all_alike": scores.n_alike,
        "independent_windows": scores.n_independent,
    }
    return told, {state: of.came for state, of in scores.states.items()}
