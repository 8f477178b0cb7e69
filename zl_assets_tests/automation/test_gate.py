"""`zl gate` behind the command: what is read, stored and returned."""

from collections.abc import Sequence
from datetime import date

import dagster as dg
import polars as pl
import pytest

from zl_assets.assets import monitoring
from zl_assets.assets.monitoring import IMPACT, GatedFamilies, GateRequest, judge
from zl_assets.automation.gate import gate_families
from zl_assets.checks import monitoring as monitoring_checks
from zl_assets.core.evaluation.family_gate import QUICK, gate
from zl_assets.core.evaluation.family_impact import summary
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.training_frame import training_frame
from zl_assets.errors import InputError
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets_tests.automation.gate_rows import FAMILIES, GATED, store, training_rows
from zl_assets_tests.stores import Place, empty_warehouse

OF_THE_RUN = ("run_id", "created_at")


@pytest.fixture
def embedded(tmp_path) -> DuckDBWarehouse:
    """An embedded warehouse with a week's training rows."""
    warehouse = empty_warehouse(tmp_path / "home" / "warehouse.duckdb")
    store(warehouse, "1w")
    return warehouse


def stored(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.read(f"SELECT * FROM {IMPACT} ORDER BY horizon, family")


def test_every_family_is_judged_and_stored_on_either_engine(place: Place) -> None:
    store(place.warehouse, "1w")
    told: list[str] = []
    rows = gate_families(place.settings, GATED, ["1w"], told.append, quick=True)
    assert rows["family"].to_list() == list(FAMILIES)
    assert [t.strip().split(":")[0] for t in told] == ["horizon 1w", *FAMILIES]
    assert stored(place.warehouse).sort("family").drop("created_at").equals(rows.sort("family").drop("created_at"))


def test_the_rows_are_those_of_the_plain_function(embedded: DuckDBWarehouse) -> None:
    rows, _ = judge(embedded, GATED, GateRequest(HORIZONS["1w"], "run", quick=True, seed=5), lambda _: None)
    frame = training_frame(training_rows("1w"), HORIZONS["1w"])
    expected = gate(frame, HORIZONS["1w"], FAMILIES, ("return_1d",), seed=5, config=QUICK)
    assert rows["mean_difference"].to_list() == [e.mean_difference for e in expected]
    assert rows["interval_low"].to_list() == [e.interval and e.interval.low for e in expected]
    assert set(rows["as_of_date"]) == {date(2025, 8, 29)}
    assert set(rows["surface"]) == {"prod"}
    assert not rows["is_simulated"].any()


def test_a_repeat_stores_no_second_row_and_one_family_has_the_level_of_all(embedded: DuckDBWarehouse) -> None:
    judge(embedded, GATED, GateRequest(HORIZONS["1w"], "one", quick=True), lambda _: None)
    first = stored(embedded)
    alone, result = judge(embedded, GATED, GateRequest(HORIZONS["1w"], "two", "rsi", quick=True), lambda _: None)
    assert (alone.height, result.inserted, result.updated) == (1, 0, 1)
    assert stored(embedded).drop(OF_THE_RUN).equals(first.drop(OF_THE_RUN))
    assert alone["level"].item() == pytest.approx(1 - 0.05 / 2)


def test_a_simulated_market_marks_its_rows(tmp_path) -> None:
    warehouse = empty_warehouse(tmp_path / "warehouse.duckdb")
    store(warehouse, "1w", "simulated")
    rows, _ = judge(warehouse, GATED, GateRequest(HORIZONS["1w"], "run", "rsi", quick=True), lambda _: None)
    assert rows["is_simulated"].all()


def test_what_cannot_be_judged_is_refused(embedded: DuckDBWarehouse) -> None:
    def asked(gated: GatedFamilies, horizon: str = "1w", family: str | None = None) -> None:
        judge(embedded, gated, GateRequest(HORIZONS[horizon], "run", family), lambda _: None)

    with pytest.raises(
        InputError,
        match=r"the surface of 1w has no column of such a feature family \[weather\] -> choose one of momentum, rsi",
    ):
        asked(GATED, family="weather")
    with pytest.raises(InputError, match="allhistory_1m holds no row to learn from -> run `zl run --horizon 1m`"):
        asked(GATED, "1m")
    with pytest.raises(InputError, match="missing columns: boho"):
        asked(GatedFamilies(lambda _: {"crush": ("boho",)}, lambda: ("return_1d",)))
    assert stored(embedded).is_empty()


def test_a_horizon_without_the_family_is_left_out_and_said(tmp_path) -> None:
    place = Place(tmp_path / "home", {}).with_tables()
    store(place.warehouse, "1w")
    gated = GatedFamilies(lambda code: FAMILIES if code == "1w" else {"rsi": ("rsi_14",)}, lambda: ("return_1d",))
    told: list[str] = []
    rows = gate_families(place.settings, gated, ["1w", "1m"], told.append, family="momentum", quick=True)
    assert set(rows["horizon"]) == {"1w"}
    assert "horizon 1m: its surface has no column of momentum" in told
    with pytest.raises(InputError, match="the surface of 1m has no column of such a feature family"):
        gate_families(place.settings, gated, ["1m"], told.append, family="momentum", quick=True)


class TestInTheGraph:
    @staticmethod
    def run(warehouse: DuckDBWarehouse, gated: GatedFamilies) -> dg.ExecuteInProcessResult:
        definitions = dg.Definitions(
            assets=dg.load_assets_from_modules([monitoring]),
            asset_checks=dg.load_asset_checks_from_modules([monitoring_checks]),
            jobs=[dg.define_asset_job("gate", dg.AssetSelection.groups("monitoring"))],
            resources={"warehouse": warehouse, "families": gated},
            executor=dg.in_process_executor,
        )
        config = {"ops": {"monitoring__family_impact": {"config": {"quick": True}}}}
        return definitions.resolve_job_def("gate").execute_in_process(partition_key="1w", run_config=config)

    @staticmethod
    def failed(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
        return {c.check_name: c.passed for c in result.get_asset_check_evaluations()}

    def test_the_asset_stores_the_rows_and_its_checks_pass(self, embedded: DuckDBWarehouse) -> None:
        result = self.run(embedded, GATED)
        assert result.success
        assert self.failed(result) == {"every_family_judged": True, "none_to_investigate": True}
        rows = stored(embedded)
        assert rows["family"].to_list() == sorted(FAMILIES)
        assert set(rows["run_id"]) == {result.run_id}
        [made] = result.asset_materializations_for_node("monitoring__family_impact")
        assert made.asset_key.to_user_string() == "monitoring/family_impact"
        assert made.metadata["dagster/row_count"].value == 2

    def test_a_leak_warns_and_stops_nothing(self, embedded: DuckDBWarehouse) -> None:
        table = "training.zl_training_prod_allhistory_1w"
        leaking = embedded.read(f"SELECT * FROM {table}").with_columns(rsi_14=pl.col("target_1w").fill_null(0.0))
        embedded.merge(table, leaking)
        result = self.run(embedded, GATED)
        assert result.success
        assert self.failed(result) == {"every_family_judged": True, "none_to_investigate": False}


class TestChecks:
    @staticmethod
    def rows(**verdicts: str) -> pl.DataFrame:
        figures = {"as_of_date": date(2026, 1, 1), "mean_difference": 0.1, "loss_without": 0.2}
        return pl.DataFrame([{"family": f, "verdict": v, **figures} for f, v in verdicts.items()])

    def test_a_family_without_a_verdict_is_named(self) -> None:
        verdict = monitoring_checks.evaluate_every_family_judged(self.rows(a="keep"), ("a", "b"))
        assert not verdict.passed
        assert verdict.offenders is not None
        assert verdict.offenders["family"].to_list() == ["b"]
        assert monitoring_checks.evaluate_every_family_judged(self.rows(a="keep", old="keep"), ("a",)).passed

    def test_a_family_to_investigate_is_named_while_it_is_in_the_registry(self) -> None:
        rows = self.rows(a="keep", b="investigate", c="not testable", d="no effect")
        verdict = monitoring_checks.evaluate_none_to_investigate(rows, ("a", "b", "c", "d"))
        assert not verdict.passed
        assert verdict.offenders is not None
        assert verdict.offenders["family"].to_list() == ["b"]
        assert monitoring_checks.evaluate_none_to_investigate(rows, ("a", "c", "d")).passed

    def test_none_blocks(self) -> None:
        assert not any(c.blocking for c in monitoring_checks.CHECKS)
        assert all(c.action for c in monitoring_checks.CHECKS)


def test_the_summary_is_that_of_a_plain_search() -> None:
    def row(family: str, horizon: str, verdict: str, change: float, day: int = 1, surface: str = "prod") -> dict:
        figures = {"n_columns": 3, "mean_difference": change, "loss_without": 0.5, "as_of_date": date(2026, 1, day)}
        return {"surface": surface, "family": family, "horizon": horizon, "verdict": verdict, **figures}

    given = [
        row("fx", "1m", "keep", -0.01, day=2),
        row("fx", "1m", "investigate", -0.4, day=1),
        row("fx", "1w", "keep", -0.02),
        row("fx", "12m", "not testable", 0.1),
        row("cot", "1w", "no effect", 0.005),
        row("cot", "6m", "investigate", 0.02),
        row("news", "12m", "not testable", 0.01),
        row("news", "1w", "no effect", 0.03, surface="full"),
    ]
    expected = []
    for surface, family in sorted({(r["surface"], r["family"]) for r in given}):
        newest: dict[str, dict] = {}
        for r in sorted(given, key=lambda r: r["as_of_date"]):
            if (r["surface"], r["family"]) == (surface, family):
                newest[r["horizon"]] = r
        ordered: Sequence[dict] = [newest[h] for h in HORIZONS if h in newest]
        verdicts = [r["verdict"] for r in ordered]
        expected.append(
            {
                "surface": surface,
                "family": family,
                "n_columns": 3,
                "verdict": next(v for v in ("investigate", "keep", "no effect", "not testable") if v in verdicts),
                "kept_at": ", ".join(r["horizon"] for r in ordered if r["verdict"] == "keep"),
                "investigate_at": ", ".join(r["horizon"] for r in ordered if r["verdict"] == "investigate"),
                "best_change_pct": pytest.approx(min(100 * r["mean_difference"] / 0.5 for r in ordered)),
                "judged_on": min(r["as_of_date"] for r in ordered),
            }
        )
    assert summary(pl.DataFrame(given)).to_dicts() == expected
    assert [e["verdict"] for e in expected] == ["no effect", "investigate", "keep", "not testable"]
