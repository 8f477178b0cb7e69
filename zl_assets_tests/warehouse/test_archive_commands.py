"""`zl archive`, `zl restore` and `zl shims` as a user types them, the asset of the archive, and what a run says."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from zl_assets.assets import archive as archive_assets
from zl_assets.assets.archive import SnapshotConfig, legacy_snapshots
from zl_assets.automation.runner import run_graph
from zl_assets.build import build_definitions, build_warehouse
from zl_assets.settings import Settings
from zl_assets.warehouse.bigquery import BigQueryWarehouse
from zl_assets.warehouse.shims import RENAMED, create_shims
from zl_assets_tests.command import zl
from zl_assets_tests.stores import Place, in_new_project
from zl_assets_tests.vendor_files import Row, write
from zl_assets_tests.warehouse.rows import calendar, rows_of

CALENDAR, BARS = "training.regime_calendar", "market_data.databento_futures_ohlcv_1d"
LEGACY, TARGET = "models_v4.production_training_data_1w", "training.zl_training_prod_allhistory_1w"


def snapshot_of(table: str) -> str:
    return f"archive.legacy_{datetime.now(UTC):%Y%m%d}__{table.replace('.', '__')}"


def count(home: Path, table: str) -> int:
    return zl("query", f"SELECT COUNT(*) AS n FROM {table}", "--home", home, "--format", "json").json[0]["n"]


def count_in(place: Place, table: str) -> int:
    [row] = place.rows(f"SELECT COUNT(*) AS n FROM {table}")
    return row["n"]


@pytest.fixture
def made_place(place: Place) -> Place:
    """A home with three rows of one table, and of a simulated market."""
    return filled(place)


@pytest.fixture
def made_home(tmp_path: Path) -> Path:
    """The same on the embedded engine alone: what is refused is refused before an engine is asked."""
    return filled(Place(tmp_path / "home", {}).with_tables()).home


def filled(place: Place) -> Place:
    place.warehouse.merge(CALENDAR, calendar({0: 1, 1: 2, 2: 3}))
    place.warehouse.merge(BARS, rows_of(BARS, 2).with_columns(source=pl.lit("simulated")))
    return place


class TestArchiveAndRestore:
    def test_there_and_back(self, made_place: Place) -> None:
        done = made_place.zl("archive", CALENDAR, "--json")
        assert (done.code, len(done.json)) == (0, 1)
        [made] = done.json
        checksum = made.pop("checksum")
        assert len(checksum) == 16
        assert made == {"table": CALENDAR, "snapshot": snapshot_of(CALENDAR), "rows": 3, "simulated": False}
        refused = made_place.zl("restore", CALENDAR)
        assert (refused.code, refused.out) == (2, "")
        assert "holds 3 rows" in refused.error
        back = made_place.zl("restore", CALENDAR, "--replace", "--json")
        assert (back.code, back.json[0]["rows"], back.json[0]["checksum"]) == (0, 3, checksum)
        today = f"{datetime.now(UTC):%Y-%m-%d}"
        assert made_place.zl("restore", CALENDAR, "--date", today, "--replace").code == 0

    def test_the_same_day_twice_needs_replace(self, made_home: Path) -> None:
        assert zl("archive", CALENDAR, "--home", made_home).code == 0
        refused = zl("archive", CALENDAR, "--home", made_home)
        assert refused.code == 2
        assert "--replace" in refused.error
        assert zl("archive", CALENDAR, "--home", made_home, "--replace").code == 0

    def test_simulated_rows_say_so_on_the_way_there_and_back(self, made_home: Path) -> None:
        there = zl("archive", BARS, CALENDAR, "--home", made_home)
        assert "SIMULATED" in there.out
        assert "SIMULATED" in there.err
        back = zl("restore", BARS, "--home", made_home, "--replace")
        assert "SIMULATED" in back.out
        as_json = zl("restore", BARS, "--home", made_home, "--replace", "--json").json
        assert [r["simulated"] for r in as_json] == [True]
        alone = zl("archive", CALENDAR, "--home", made_home, "--replace")
        assert "SIMULATED" not in alone.out + alone.err

    @pytest.mark.parametrize(
        "arguments",
        [
            ("archive", "training.nothing"),
            ("archive", f"{CALENDAR}; DROP TABLE {CALENDAR}"),
            ("archive", "calendar"),
            ("archive", CALENDAR, "information_schema.tables"),
            ("restore", CALENDAR),
            ("restore", "archive.legacy_20200101__training__regime_calendar"),
            ("restore", "x' OR '1'='1"),
            ("restore", CALENDAR, "--date", "2020-01-01"),
            ("shims", "create", "models_v4.nothing"),
            ("shims", "drop", LEGACY),
            ("shims", "list", LEGACY),
        ],
    )
    def test_bad_input_is_one_message_and_changes_nothing(self, made_home: Path, arguments: tuple[str, ...]) -> None:
        ended = zl(*arguments, "--home", made_home, "--replace") if arguments[0] != "shims" else None
        ended = ended or zl(*arguments, "--home", made_home)
        assert (ended.code, ended.out) == (2, "")
        assert " -> " in ended.error
        tables = [t["name"] for t in zl("status", "--home", made_home, "--json").json["tables"]]
        assert not any(name.startswith(("archive.legacy_", "models_v4.")) for name in tables)
        assert count(made_home, CALENDAR) == 3

    @pytest.mark.parametrize(
        "arguments",
        [("archive",), ("restore",), ("restore", CALENDAR, "--date", "yesterday"), ("shims", "extend")],
    )
    def test_bad_usage_ends_with_2(self, made_home: Path, arguments: tuple[str, ...]) -> None:
        assert zl(*arguments, "--home", made_home).code == 2

    @pytest.mark.parametrize(
        "arguments", [("archive", CALENDAR), ("restore", CALENDAR), ("shims",), ("shims", "create"), ("shims", "drop")]
    )
    def test_a_home_that_does_not_exist_is_not_made(self, tmp_path: Path, arguments: tuple[str, ...]) -> None:
        ended = zl(*arguments, "--home", tmp_path / "new")
        assert ended.code == 2
        assert "zl run" in ended.error
        assert not (tmp_path / "new").exists()


class TestShims:
    def test_create_list_and_drop(self, made_place: Place) -> None:
        assert made_place.zl("shims", "--json").json == []
        assert "shims: none" in made_place.zl("shims").out
        made = made_place.zl("shims", "create", LEGACY)
        assert made.code == 0
        assert LEGACY in made.out
        [listed] = made_place.zl("shims", "--json").json
        assert (listed["legacy_name"], listed["target"], listed["days_left"]) == (LEGACY, TARGET, 30)
        assert (listed["state"], listed["view"]) == ("in grace", "present")
        assert count_in(made_place, LEGACY) == 0
        assert len(made_place.zl("shims", "create", "--json").json) == len(RENAMED)
        assert len(made_place.zl("shims", "drop", "--json").json) == len(RENAMED)
        assert made_place.zl("shims", "list", "--json").json == []

    def test_a_run_tells_what_is_over_and_goes_on_and_a_dropped_shim_is_forgotten(
        self, home: Path, tmp_path: Path, zl_rows: list[Row]
    ) -> None:
        data = write(tmp_path / "data", [r for r in zl_rows if r["ts_event"] < "2022"])
        settings = Settings(home=home, data=data)

        def results() -> list[tuple[bool, str]]:
            found = zl("status", "--home", home, "--json").json["checks"]
            return [(c["passed"], c["severity"]) for c in found if c["asset"] == "archive/shims"]

        def create(days: int) -> None:
            zl("shims", "drop", "--home", home)
            create_shims(build_warehouse(settings), [LEGACY], datetime.now(UTC) - timedelta(days=days))

        assert [p for p, _ in results()] == [True], "the run of the fixture had no shim"
        create(31)
        ended = zl("run", "--home", home, "--data", data, "--horizon", "1w")
        assert ended.code == 0, ended.err
        [told] = [line for line in ended.err.splitlines() if "archive/shims" in line]
        assert told.startswith("failed check: ")
        assert LEGACY in told
        assert results() == [(False, "ERROR")]
        for days, passed in ((22, True), (23, False)):
            create(days)
            warnings = run_graph(settings, [], print).warnings
            assert [w.severity for w in warnings if w.asset == "archive/shims"] == ["WARN"] * (not passed)
            assert [p for p, _ in results()] == [passed]
        zl("shims", "drop", "--home", home)
        run_graph(settings, [], print)
        assert [p for p, _ in results()] == [True]


class TestAsset:
    def test_it_archives_what_the_configuration_names(self, made_place: Place) -> None:
        config = {"ops": {"archive__legacy_snapshots": {"config": {"tables": [CALENDAR, BARS]}}}}
        ended = self.materialised(made_place.settings, config)
        assert ended.success
        [made] = ended.asset_materializations_for_node("archive__legacy_snapshots")
        assert made.metadata["dagster/row_count"].value == 5
        assert made.metadata["simulated"].value is True
        assert snapshot_of(CALENDAR) in str(made.metadata["snapshots"].value)
        assert count_in(made_place, snapshot_of(CALENDAR)) == 3

    def test_without_a_table_it_makes_and_reports_nothing(self, made_home: Path) -> None:
        ended = self.materialised(Settings(home=made_home), {})
        assert ended.success
        assert ended.asset_materializations_for_node("archive__legacy_snapshots") == []

    def test_it_refuses_what_the_command_refuses(self, made_home: Path) -> None:
        assert zl("archive", CALENDAR, "--home", made_home).code == 0
        config = {"ops": {"archive__legacy_snapshots": {"config": {"tables": [CALENDAR]}}}}
        ended = self.materialised(Settings(home=made_home), config)
        assert not ended.success
        failure = ended.failure_data_for_node("archive__legacy_snapshots")
        assert failure is not None
        assert "archived on that day already" in str(failure.error)
        config["ops"]["archive__legacy_snapshots"]["config"]["replace"] = True  # pyright: ignore[reportArgumentType]
        assert self.materialised(Settings(home=made_home), config).success

    def materialised(self, settings: Settings, config: dict) -> dg.ExecuteInProcessResult:
        resources = build_definitions(settings).resources
        with dg.DagsterInstance.ephemeral() as instance:
            return dg.materialize(
                [legacy_snapshots],
                instance=instance,
                resources={"warehouse": (resources or {})["warehouse"]},
                run_config=config,
                raise_on_error=False,
            )

    def test_its_configuration_is_described(self) -> None:
        assert all(f.description for f in SnapshotConfig.model_fields.values())
        assert archive_assets.SNAPSHOTS == "archive.legacy_snapshots"


@pytest.mark.bigquery
def test_the_commands_work_on_bigquery(bigquery_address: str, tmp_path: Path) -> None:
    store = in_new_project(bigquery_address)
    assert isinstance(store, BigQueryWarehouse)
    store.ensure()
    store.merge(CALENDAR, calendar({0: 1, 1: 2}))
    place = ("--home", tmp_path / "home", "--warehouse", "bigquery")
    variables = {"ZL_BIGQUERY_PROJECT": str(store.jobs.project), "ZL_BIGQUERY_API_ENDPOINT": bigquery_address}
    [made] = zl("archive", CALENDAR, *place, "--json", **variables).json
    assert (made["snapshot"], made["rows"]) == (snapshot_of(CALENDAR), 2)
    refused = zl("restore", made["snapshot"], *place, **variables)
    assert (refused.code, "holds 2 rows" in refused.error) == (2, True)
    [back] = zl("restore", made["snapshot"], *place, "--replace", "--json", **variables).json
    assert back == made
    assert len(zl("shims", "create", *place, "--json", **variables).json) == len(RENAMED)
    assert {s["view"] for s in zl("shims", *place, "--json", **variables).json} == {"present"}
    assert zl("shims", "drop", *place, **variables).code == 0
    assert zl("shims", *place, "--json", **variables).json == []
