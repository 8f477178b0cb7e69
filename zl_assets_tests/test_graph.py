"""The graph as Dagster resolves it: which assets, checks and jobs there are, and what each carries."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from zl_assets.automation.instance import open_instance
from zl_assets.build import build_definitions
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.shelf import SHELF, models
from zl_assets.settings import Settings
from zl_assets.warehouse.contracts import contract, contracts, full_contracts
from zl_assets_tests.conftest import PROJECT

SERIES = (
    "biofuel",
    "brazil_soy_crop",
    "cftc_positioning",
    "fred_economic",
    "fx_daily",
    "palm_oil_daily",
    "policy_events",
    "treasury_daily",
    "usda_crop_progress",
    "usda_export_sales",
    "vendor_prices_daily",
    "volatility_daily",
    "weather_daily",
)
WEIGHTED = ("lightgbm_equal", "lightgbm_half_life", "lightgbm_research")
MODELS = {
    "benchmarks": ("no_change", "drift", "seasonal_naive"),
    "statistical": ("theta", "ets", "arima", "prophet"),
    "trees": ("lightgbm", "xgboost", "lightgbm_quantile", "xgboost_quantile", *WEIGHTED, "mlforecast"),
    "regime": ("markov_switching", "specialist_crisis", "specialist_trade_war", "specialist_inflation"),
    "neural": ("lstm", "gru", "lstm_stacked", "gru_stacked", "tcn", "cnn_lstm", "attention", "transformer"),
    "ensemble": ("ensemble",),
}
NOT_STANDARD = {"prophet", "mlforecast", *WEIGHTED, *MODELS["regime"], *MODELS["neural"]}
CLASSIFIER = "models/regime/regime_classifier"
"""Tells market states and no returns: no model of the shelf."""
MODEL_KEYS = {f"models/{family}/{name}": name for family, names in MODELS.items() for name in names}
GROUPS = {
    **{f"raw_intelligence/{table}": "raw" for table in SERIES},
    "market_data/databento_futures_ohlcv_1d": "raw",
    "market_data/databento_futures_ohlcv_1h": "raw",
    "raw_intelligence/quarantine": "raw",
    "market_data/futures_sessions_1d": "raw",
    "training/regime_weights": "regimes",
    "training/regime_calendar": "regimes",
    "features/daily_ml_matrix": "features",
    "training/vw_zl_flat": "training",
    "training/vw_mes_flat": "training",
    "training/zl_training_prod_allhistory": "training",
    **{key: f"models_{key.split('/')[1]}" for key in (*MODEL_KEYS, CLASSIFIER)},
    "monitoring/model_evaluation": "evaluation",
    "predictions/zl_forecasts": "predictions",
    "predictions/vw_zl_latest": "predictions",
    "archive/legacy_snapshots": "archive",
    "archive/shims": "archive",
    "features/daily_ml_matrix_full": "full_surface",
    "training/zl_training_full_allhistory": "full_training",
    "monitoring/family_impact": "monitoring",
}
WHEN_ASKED = {k for k, group in GROUPS.items() if group in ("archive", "full_surface", "full_training", "monitoring")}
PER_HORIZON = {
    *MODEL_KEYS,
    CLASSIFIER,
    *(key for key, group in GROUPS.items() if group in ("training", "evaluation", "predictions")),
}
STANDARD = PER_HORIZON - {key for key, name in MODEL_KEYS.items() if name in NOT_STANDARD}
"""What `horizon_job` makes; `all_models_job` makes the other models, too."""
FULL_OR_EVIDENCE = {k for k in WHEN_ASKED if not k.startswith("archive/")}
ALSO_PER_HORIZON = {"training/zl_training_full_allhistory", "monitoring/family_impact"}
UPSTREAM = {
    **{f"raw_intelligence/{table}": {"market_data/databento_futures_ohlcv_1d"} for table in SERIES},
    "market_data/futures_sessions_1d": {
        "market_data/databento_futures_ohlcv_1d",
        "market_data/databento_futures_ohlcv_1h",
    },
    "features/daily_ml_matrix": {
        "market_data/futures_sessions_1d",
        "training/regime_weights",
        *(f"raw_intelligence/{table}" for table in SERIES),
    },
    "features/daily_ml_matrix_full": {"market_data/futures_sessions_1d", "features/daily_ml_matrix"},
    "training/zl_training_full_allhistory": {"features/daily_ml_matrix_full"},
    "monitoring/family_impact": {"training/zl_training_prod_allhistory"},
    "training/vw_zl_flat": {"features/daily_ml_matrix"},
    "training/vw_mes_flat": {"features/daily_ml_matrix"},
    "training/zl_training_prod_allhistory": {"training/vw_zl_flat"},
    **{key: {"training/zl_training_prod_allhistory"} for key in (*MODEL_KEYS, CLASSIFIER)},
    "models/ensemble/ensemble": {*MODEL_KEYS, CLASSIFIER} - {"models/ensemble/ensemble"},
    "monitoring/model_evaluation": set(MODEL_KEYS),
    "predictions/zl_forecasts": {"monitoring/model_evaluation", CLASSIFIER},
    "predictions/vw_zl_latest": {"predictions/zl_forecasts"},
}
OF_A_VIEW = {"target_recomputed", "split_right", "no_null_target", "no_target_twin", "no_join"}
NOTHING_INVENTED = {"not_constant", "not_mostly_null", "not_duplicated", "not_held"}
BLOCKING = {
    **{f"raw_intelligence/{table}": {"lineage_complete", "unique", "known_in_time"} for table in SERIES},
    "market_data/databento_futures_ohlcv_1d": {"unique", "lineage_complete", "prices_consistent", "one_world"},
    "market_data/databento_futures_ohlcv_1h": {"unique", "lineage_complete"},
    "market_data/futures_sessions_1d": {
        "no_session_missing",
        "unique",
        "no_sunday",
        "prices_consistent",
        "lineage_complete",
    },
    "training/regime_weights": {"v0_contiguous", "weights_positive"},
    "training/regime_calendar": {"whole"},
    "features/daily_ml_matrix": {
        "enough_rows",
        "regime_present",
        "prices_consistent",
        "rsi_in_range",
        "volatility_in_range",
        "unique",
        "no_sunday",
        "no_look_ahead",
        *(f"signal_rule_{number:02d}" for number in range(1, 13)),
    },
    "features/daily_ml_matrix_full": {"wide_enough", "finite", "no_look_ahead"},
    "training/zl_training_full_allhistory": {"equals_view", "split_right", "no_null_target", "no_target_twin"},
    "training/vw_zl_flat": {"enough_targets", *OF_A_VIEW},
    "training/vw_mes_flat": OF_A_VIEW,
    "training/zl_training_prod_allhistory": {"equals_view"},
    **{
        key: {"trained", "importance_sensible", "quantiles_sound"}
        | ({"folds_stable"} if name not in NOT_STANDARD else set())
        for key, name in MODEL_KEYS.items()
    },
    "models/ensemble/ensemble": {"folds_stable", "quantiles_sound"},
    CLASSIFIER: {"trained", "probabilities_sound", "every_session"},
    "monitoring/model_evaluation": {"not_too_good", "champion_not_worse", "same_rows"},
    "predictions/zl_forecasts": {"unique", "quantiles_ordered", "trust_in_range"},
    "predictions/vw_zl_latest": {"one_row"},
}
NOT_BLOCKING = {
    "raw_intelligence/quarantine": {"nothing_rejected"},
    "archive/shims": {"within_grace"},
    "features/daily_ml_matrix": NOTHING_INVENTED,
    "features/daily_ml_matrix_full": NOTHING_INVENTED,
    "monitoring/family_impact": {"every_family_judged", "none_to_investigate"},
    CLASSIFIER: {"not_worse_than_climatology"},
    "monitoring/model_evaluation": {"calibrated"},
    "predictions/vw_zl_latest": {"coherent"},
    **{f"raw_intelligence/{table}": {"fresh", "no_gap", "nothing_rejected"} for table in SERIES},
    **{key: {"folds_stable"} for key, name in MODEL_KEYS.items() if name in NOT_STANDARD},
}


def named(keys: set[dg.AssetCheckKey]) -> dict[str, set[str]]:
    """Check names by asset."""
    found: dict[str, set[str]] = {}
    for key in keys:
        found.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    return found


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(Settings(home=tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {s.key.to_user_string(): s for s in definitions.resolve_all_asset_specs()}


@pytest.fixture(scope="module")
def check_specs(definitions: dg.Definitions) -> list[dg.AssetCheckSpec]:
    graph = definitions.resolve_asset_graph()
    return [graph.get_check_spec(key) for key in graph.asset_check_keys]


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with open_instance(Settings(home=tmp_path)) as opened:
        yield opened


def test_the_graph_has_exactly_these_assets_in_these_groups(specs: dict[str, dg.AssetSpec]) -> None:
    assert {name: spec.group_name for name, spec in specs.items()} == GROUPS


def test_data_flows_one_way_between_these_assets(specs: dict[str, dg.AssetSpec]) -> None:
    upstream = {name: {d.asset_key.to_user_string() for d in spec.deps} for name, spec in specs.items()}
    assert {name: deps for name, deps in upstream.items() if deps} == UPSTREAM


@pytest.mark.parametrize("name", GROUPS)
def test_an_asset_says_whose_it_is_and_what_it_holds(specs: dict[str, dg.AssetSpec], name: str) -> None:
    spec = specs[name]
    assert spec.owners
    assert spec.kinds
    assert spec.code_version
    assert spec.description
    assert len(spec.description) > 20


@pytest.mark.parametrize("name", sorted({n.replace(".", "/") for n in contracts()} & set(GROUPS)))
def test_a_table_shows_the_columns_of_its_contract(specs: dict[str, dg.AssetSpec], name: str) -> None:
    promised = contract(name.replace("/", "."))
    schema = specs[name].metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    top = [c for c in schema.columns if "." not in c.name]
    assert [c.name for c in top] == [c.name for c in promised.columns]
    assert [c.constraints.nullable for c in top] == [c.nullable for c in promised.columns]
    assert all(c.description for c in schema.columns)
    assert {c.name for c in schema.columns} >= {f"{c.name}.{f.name}" for c in promised.columns for f in c.fields}


def test_every_contract_belongs_to_an_asset() -> None:
    per_horizon = {f"training/zl_training_prod_allhistory_{h}" for h in HORIZONS}
    assert {n.replace(".", "/") for n in contracts()} - per_horizon <= set(GROUPS)
    full = {f"training/zl_training_full_allhistory_{h}" for h in HORIZONS}
    assert {n.replace(".", "/") for n in full_contracts()} - full == {"features/daily_ml_matrix_full"}


def test_from_the_training_view_on_assets_and_checks_are_partitioned_by_horizon(
    specs: dict[str, dg.AssetSpec], check_specs: list[dg.AssetCheckSpec]
) -> None:
    for name, spec in specs.items():
        keys = spec.partitions_def.get_partition_keys() if spec.partitions_def else None
        assert keys == (["1w", "1m", "3m", "6m", "12m"] if name in PER_HORIZON | ALSO_PER_HORIZON else None), name
    for check in check_specs:
        assert check.partitions_def == specs[check.asset_key.to_user_string()].partitions_def, check.key


def test_blocking_checks_are_these_and_block(check_specs: list[dg.AssetCheckSpec]) -> None:
    assert named({c.key for c in check_specs if c.blocking}) == BLOCKING
    assert named({c.key for c in check_specs if not c.blocking}) == NOT_BLOCKING
    assert all(c.description for c in check_specs)


def test_every_asset_of_the_jobs_but_the_quarantine_has_a_blocking_check() -> None:
    assert set(BLOCKING) >= set(GROUPS) - {"raw_intelligence/quarantine"} - WHEN_ASKED


def test_every_model_of_the_shelf_is_an_asset_of_its_family_and_some_are_trained_only_when_asked() -> None:
    assert {spec.key.replace(".", "/"): spec.name for spec in SHELF} == MODEL_KEYS
    assert {name for name, spec in models().items() if not spec.standard} == NOT_STANDARD


def test_the_jobs_share_out_every_check_and_every_asset_but_the_archives(definitions: dg.Definitions) -> None:
    assets: dict[str, set[str]] = {}
    checks: dict[str, dict[str, set[str]]] = {}
    for name in ("market_job", "horizon_job", "all_models_job"):
        job = definitions.resolve_job_def(name)
        layer = job.asset_layer
        assets[name] = {k.to_user_string() for k in layer.selected_asset_keys}
        # What the steps of the job yield, not what the graph around them knows of.
        yielded = {k for h in job.graph.iterate_node_handles() for k in layer.get_selected_entity_keys_for_node(h)}
        checks[name] = named({k for k in yielded if isinstance(k, dg.AssetCheckKey)})
    expected = {n: BLOCKING.get(n, set()) | NOT_BLOCKING.get(n, set()) for n in {*BLOCKING, *NOT_BLOCKING}}
    assert assets["horizon_job"] == STANDARD
    assert assets["all_models_job"] == PER_HORIZON
    assert assets["market_job"] == set(GROUPS) - PER_HORIZON - WHEN_ASKED
    assert checks["horizon_job"] == {n: c for n, c in expected.items() if n in STANDARD}
    assert checks["all_models_job"] == {n: c for n, c in expected.items() if n in PER_HORIZON}
    assert checks["market_job"] == {n: c for n, c in expected.items() if n not in PER_HORIZON | FULL_OR_EVIDENCE}
    for name in ("horizon_job", "all_models_job"):
        partitions = definitions.resolve_job_def(name).partitions_def
        assert partitions is not None
        assert partitions.get_partition_keys() == list(HORIZONS)
    assert definitions.resolve_job_def("market_job").partitions_def is None


def test_whatever_writes_the_warehouse_waits_in_its_pool(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    pools = {key.to_user_string(): graph.get(key).pools for key in graph.get_all_asset_keys()}
    others = {*MODEL_KEYS, CLASSIFIER, "archive/shims", "monitoring/family_impact"}
    assert {name for name, pool in pools.items() if pool == {"warehouse"}} == set(GROUPS) - others
    assert not graph.get(dg.AssetKey(["archive", "shims"])).is_materializable, "the command line alone writes it"
    assert {key for key in (*MODEL_KEYS, CLASSIFIER) if pools[key]} == set(), (
        "fitting must not keep others from writing"
    )


def test_the_instance_takes_the_configuration(instance: dg.DagsterInstance) -> None:
    assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
    assert instance.run_monitoring_enabled
    assert not instance.telemetry_enabled
    queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    assert queue.max_concurrent_runs == 2


def test_the_home_keeps_the_configuration_of_the_project(instance: dg.DagsterInstance) -> None:
    copied = Path(instance.root_directory) / "dagster.yaml"
    wanted = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    wanted["event_log_storage"]["config"]["base_dir"] = str(copied.parent / "history")
    assert yaml.safe_load(copied.read_text()) == wanted


def test_a_home_may_have_any_name(tmp_path: Path) -> None:
    home = tmp_path / 'a "home" of \\ mine: #1'
    with open_instance(Settings(home=home)):
        assert (home / "dagster" / "history" / "event_log.db").is_file()


def test_the_workspace_names_the_definitions() -> None:
    workspace = yaml.safe_load((PROJECT / "workspace.yaml").read_text())
    assert workspace == {"load_from": [{"python_module": "zl_assets.definitions"}]}


def test_definitions_validate_with_no_variable_set(tmp_path: Path) -> None:
    ours = ("ZL_", "DAGSTER_", "DATABENTO_", "PYTHONWARNINGS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(PROJECT / "workspace.yaml")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "All code locations passed validation" in done.stdout
    assert list(tmp_path.iterdir()) == []
