"""What `zl status` tells: the tables, the last result of every check, and the sources of bars."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from zl_assets.assets.features import MATRIX
from zl_assets.assets.market_data import BARS_1D
from zl_assets.automation.instance import open_instance
from zl_assets.build import build_definitions, build_warehouse, series_sources
from zl_assets.core.horizons import HORIZONS
from zl_assets.errors import QueryRefused
from zl_assets.settings import Settings
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.comparison import holds_simulated
from zl_assets.warehouse.contracts import FOREIGN_DATASETS, LEGACY_DATASETS, OUR_DATASETS, contract

if TYPE_CHECKING:
    import dagster as dg


def collect_status(settings: Settings) -> dict[str, Any]:
    """Tables with rows and newest date, checks with their last result, sources with their state.

    `simulated` says whether the stored market is a simulated one.

    A home without a warehouse has no table; a check that has never run is not listed.
    """
    warehouse = build_warehouse(settings)
    tables, datasets = warehouse.tables(), warehouse.datasets()
    return {
        "simulated": bool(tables) and holds_simulated_bars(warehouse),
        "tables": [asdict(t) for t in tables],
        "checks": _checks(settings) if settings.dagster_home.exists() else [],
        "sources": [
            *_bar_sources(settings, stored=bool(tables)),
            *_series_sources(settings, stored=bool(tables)),
            *_datasets(datasets, {t.name.split(".")[0] for t in tables}),
        ],
    }


def holds_simulated_bars(warehouse: Warehouse) -> bool:
    """Whether the market in a warehouse is simulated; no, where it holds no table of bars."""
    try:
        return holds_simulated(warehouse, BARS_1D, contract(BARS_1D).types)
    except QueryRefused:
        return False


def _checks(settings: Settings) -> list[dict[str, Any]]:
    """The newest result of every check, per horizon where the check has one.

    `stale` says that what was checked has been built anew since: for a horizon, that its matrix has.
    """
    from dagster import AssetKey
    from dagster._core.event_api import PartitionKeyFilter

    graph = build_definitions(settings).resolve_asset_graph()
    keys = sorted(graph.asset_check_keys, key=lambda k: (k.asset_key.to_user_string(), k.name))
    with open_instance(settings) as instance:
        storage = instance.event_log_storage
        built = _times_of(instance, {AssetKey(MATRIX.split(".")), *(k.asset_key for k in keys)})
        found = [
            _row(record, built)
            for partition in (None, *HORIZONS)
            for record in storage.get_latest_asset_check_execution_by_key(
                keys, PartitionKeyFilter(key=partition)
            ).values()
        ]
    order = [None, *HORIZONS]
    rows = [row for row in found if row["passed"] is not None]
    return sorted(rows, key=lambda r: (r["asset"], r["check"], order.index(r["partition"])))


def _times_of(instance: dg.DagsterInstance, keys: set[dg.AssetKey]) -> dict[str, float]:
    """When each asset was last materialised, in seconds since 1970; an asset that never was is absent."""
    events = {key: instance.get_latest_materialization_event(key) for key in keys}
    return {key.to_user_string(): event.timestamp for key, event in events.items() if event}


def _row(record: Any, built: dict[str, float]) -> dict[str, Any]:
    evaluation: dg.AssetCheckEvaluation | None = None
    if record.event is not None and record.event.dagster_event is not None:
        data = record.event.dagster_event.event_specific_data
        evaluation = data if hasattr(data, "passed") else None
    checked = record.key.asset_key.to_user_string() if record.partition is None else MATRIX.replace(".", "/")
    return {
        "asset": record.key.asset_key.to_user_string(),
        "check": record.key.name,
        "partition": record.partition,
        "passed": evaluation.passed if evaluation else None,
        "severity": evaluation.severity.value if evaluation else None,
        "stale": bool(record.event) and record.event.timestamp < built.get(checked, 0.0),
    }


def _bar_sources(settings: Settings, *, stored: bool) -> list[dict[str, Any]]:
    from zl_assets.sources.bar_source import BarSource
    from zl_assets.sources.stored_bars import StoredBars

    real = stored and StoredBars(build_warehouse(settings)).has_real_bars()
    chosen = BarSource(settings).kind(has_real_bars=real)
    states = {
        "files": str(settings.data) if settings.data else "not configured: --data or ZL_DATA",
        "databento": "configured" if settings.databento_api_key else "not configured: DATABENTO_API_KEY",
        "stored": "real bars are stored" if real else "no real bars are stored",
        "simulated": f"SIMULATED, {settings.simulated_world}, seed {settings.simulated_seed}",
    }
    return [{"name": name, "state": state, "in_use": name == chosen} for name, state in states.items()]


def _series_sources(settings: Settings, *, stored: bool) -> list[dict[str, Any]]:
    """Sources of raw series of the stored market, with their state; before the first run, of a simulated one."""
    from zl_assets.sources.stored_bars import StoredBars

    real = stored and StoredBars(build_warehouse(settings)).has_real_bars()
    states = {s.name: s.state() for s in series_sources(settings).of_the_market(real=real)}
    return [{"name": f"series {n}", "state": s, "in_use": s == "configured"} for n, s in states.items()]


def _datasets(present: list[str], filled: set[str]) -> list[dict[str, Any]]:
    """Our datasets, and those of others, which are only reported: the known ones and any that nobody announced.

    Args:
        present: every dataset of the store.
        filled: those that hold a table of ours.
    """
    states = {d: "present" if d in filled else "empty" if d in present else "absent" for d in OUR_DATASETS}
    states |= {d: f"{'present' if d in present else 'absent'}, belongs to others" for d in FOREIGN_DATASETS}
    states |= {d: "present, for legacy names" for d in LEGACY_DATASETS if d in present}
    states |= {d: "present, unknown, left alone" for d in present if d not in states}
    return [{"name": f"dataset {d}", "state": s, "in_use": d in OUR_DATASETS} for d, s in states.items()]
