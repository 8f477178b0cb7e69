"""Runs the graph in this process: the market once, then one run per horizon, as the UI would."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import dagster as dg

from zl_assets.automation.instance import IN_PROCESS_TAG, end_abandoned_runs, only_run, open_instance, prepare_home
from zl_assets.automation.jobs import ALL_MODELS_JOB, FULL_SURFACE_JOB, FULL_TRAINING_JOB, MARKET_JOB, with_models
from zl_assets.build import build_definitions, build_warehouse
from zl_assets.checks.common import WHAT_TO_DO
from zl_assets.core.models.shelf import chosen_models, require_packages
from zl_assets.errors import CheckFailed, Interrupted, StorageFull
from zl_assets.settings import Settings
from zl_assets.warehouse.contracts import full_contracts

Report = Callable[[str], None]
_LOGGER = "zl"
ROOM_TO_RUN = 16 * 2**20
"""Bytes. On a disk with less, Dagster writes one complaint per event before anything clear can be said."""


@dataclass(frozen=True)
class FailedCheck:
    """A check that did not pass; `description` holds the rule and what was found, `action` what to do about it."""

    asset: str
    check: str
    partition: str | None
    severity: str
    description: str
    action: str


@dataclass(frozen=True)
class RunOutcome:
    """What a whole run came to.

    Attributes:
        run_ids: Dagster's runs, in order.
        warnings: checks that failed without stopping the run.
        seconds: how long it took.
    """

    run_ids: tuple[str, ...]
    warnings: tuple[FailedCheck, ...]
    seconds: float


class _Listener(logging.Handler):
    """Turns Dagster's events into one line per asset, and keeps the checks that failed."""

    def __init__(self, report: Report, partition: str | None) -> None:
        super().__init__(logging.DEBUG)
        self.report = report
        self.partition = partition
        self.failed: list[FailedCheck] = []
        self._started: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", None) or {}
        event = meta.get("dagster_event")
        if event is None and record.levelno >= logging.INFO:
            self.report(f"  {meta.get('orig_message', record.getMessage())}")
        elif event is None:
            return
        elif event.event_type_value == "STEP_START":
            self._started[event.step_key] = time.monotonic()
        elif event.is_step_materialization:
            self._materialised(event)
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            self._checked(event.event_specific_data)

    def _materialised(self, event: dg.DagsterEvent) -> None:
        materialisation = event.step_materialization_data.materialization
        rows = materialisation.metadata.get("dagster/row_count")
        seconds = time.monotonic() - self._started.get(event.step_key or "", time.monotonic())
        count = f"{rows.value:>9,} rows" if rows is not None else " " * 14  # pyright: ignore[reportIndexIssue]
        part = f" [{self.partition}]" if self.partition else ""
        name = materialisation.asset_key.to_user_string() + part
        self.report(f"  {name:<55} {count} {seconds:6.1f} s")

    def _checked(self, evaluation: dg.AssetCheckEvaluation) -> None:
        if not evaluation.passed:
            advice = evaluation.metadata.get(WHAT_TO_DO)
            self.failed.append(
                FailedCheck(
                    evaluation.asset_key.to_user_string(),
                    evaluation.check_name,
                    self.partition,
                    evaluation.severity.value,
                    evaluation.description or "",
                    str(advice.value) if advice else "",
                )
            )


def run_graph(settings: Settings, horizons: Sequence[str], report: Report, *, full_surface: bool = False) -> RunOutcome:
    """Materialise the whole graph for some horizons.

    Args:
        settings: where things are and which bars to use.
        horizons: codes of the horizons.
        report: told in one line what has begun or ended.
        full_surface: whether to build the wide matrix and its training tables, too.

    Raises:
        CheckFailed: a blocking check failed; what was stored before stays.
        ZlError: bad input, set-up or service; the message says what to do.
    """
    started = time.monotonic()
    models = chosen_models(settings.models)
    require_packages(models)
    chosen = with_models(models)
    prepare_home(settings)
    _require_room(settings)
    warehouse = build_warehouse(settings)
    warehouse.ensure()
    if full_surface:
        warehouse.ensure(full_contracts().values())
    definitions = build_definitions(settings)
    with only_run(settings), open_instance(settings) as instance:
        for run_id in end_abandoned_runs(instance):
            report(f"run {run_id[:8]} had been killed: marked as failed")
        report("market")
        finished = [_execute(definitions, instance, MARKET_JOB.name, None, report)]
        if full_surface:
            finished.append(_execute(definitions, instance, FULL_SURFACE_JOB.name, None, report))
        for horizon in horizons:
            report(f"horizon {horizon}")
            finished.append(_execute(definitions, instance, ALL_MODELS_JOB.name, horizon, report, chosen))
            if full_surface:
                finished.append(_execute(definitions, instance, FULL_TRAINING_JOB.name, horizon, report))
    warnings = tuple(w for _, failed in finished for w in failed)
    return RunOutcome(tuple(run_id for run_id, _ in finished), warnings, time.monotonic() - started)


def _require_room(settings: Settings) -> None:
    """Refuse to begin on a disk that will be full before the run is recorded."""
    free = shutil.disk_usage(settings.home).free
    if free < ROOM_TO_RUN:
        raise StorageFull(
            f"no space left for a run: {free / 2**20:.0f} MiB are free, at least {ROOM_TO_RUN / 2**20:.0f} are needed",
            where=str(settings.home),
            action="free space or choose another --home, and run again",
        )


def _execute(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    partition: str | None,
    report: Report,
    only: dg.AssetSelection | None = None,
) -> tuple[str, list[FailedCheck]]:
    """Run one job, or some of its assets, in this process; returns its run id and the checks that warned."""
    listener = _Listener(report, partition)
    definition = _with_listener(definitions, listener).resolve_job_def(job)
    try:
        result = definition.execute_in_process(
            instance=instance,
            partition_key=partition,
            run_config={"loggers": {_LOGGER: {}}},
            tags={IN_PROCESS_TAG: "true"},
            asset_selection=sorted(only.resolve(definition.asset_layer.asset_graph)) if only else None,
        )
    except dg.DagsterExecutionStepExecutionError as error:
        raise error.user_exception from error
    except dg.DagsterExecutionInterruptedError as error:
        raise Interrupted("interrupted", action="what was stored stays; run again to go on") from error
    except dg.DagsterError as error:
        raise _check_failure(listener.failed, error) from error
    return result.run_id, listener.failed


def _with_listener(definitions: dg.Definitions, listener: _Listener) -> dg.Definitions:
    """The same graph with the listener as its logger."""

    def make(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger(_LOGGER)
        logger.addHandler(listener)
        return logger

    return dg.Definitions.merge(definitions, dg.Definitions(loggers={_LOGGER: dg.LoggerDefinition(make)}))


def _check_failure(failed: Sequence[FailedCheck], error: Exception) -> Exception:
    """The blocking checks that failed as one error; the error itself where no check did."""
    blocking = [f for f in failed if f.severity == "ERROR"]
    if not blocking:
        return error
    told = "; ".join(f"{f.asset}{f'[{f.partition}]' if f.partition else ''}: {f.description}" for f in blocking)
    return CheckFailed(
        f"{len(blocking)} blocking check{'s' if len(blocking) > 1 else ''} failed",
        where=told,
        action="; ".join([*dict.fromkeys(f.action for f in blocking if f.action), "nothing after it was built"]),
    )
