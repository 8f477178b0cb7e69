"""`zl shims` on both engines: views under legacy names, 30 days, and nobody else's table or view touched."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from zl_assets.automation.push import push
from zl_assets.core.horizons import HORIZONS
from zl_assets.errors import InputError
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import FOREIGN_DATASETS, LEGACY_DATASETS, OUR_DATASETS, contract
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets.warehouse.shims import (
    RENAMED,
    SHIMS,
    Shim,
    create_shims,
    drop_shims,
    list_shims,
    recorded_shims,
    state_of,
)
from zl_assets_tests.stores import Place, empty_warehouse, in_new_project
from zl_assets_tests.warehouse.rows import rows_of

LEGACY, OTHER = "models_v4.production_training_data_1m", "models_v4.production_training_data_1w"
TARGET = "training.zl_training_prod_allhistory_1m"
NOW = datetime(2026, 1, 2, 23, 59, tzinfo=UTC)
TODAY = NOW.date()


def after(days: int) -> date:
    return TODAY + timedelta(days=days)


def shim(days_left: int = 30, **changed: str) -> Shim:
    known = {"state": state_of(days_left), "view": "present", **changed}
    return Shim(LEGACY, TARGET, TODAY, date(2026, 2, 1), days_left, **known)


class TestCreate:
    def test_a_renamed_table_is_read_under_both_names(self, warehouse: Warehouse) -> None:
        assert create_shims(warehouse, [LEGACY], NOW) == [shim()]
        rows = rows_of(TARGET, 3)
        warehouse.merge(TARGET, rows)
        assert warehouse.read(f"SELECT * FROM {LEGACY} ORDER BY data_date").equals(rows)
        assert recorded_shims(warehouse).rows() == [(LEGACY, TARGET, TODAY, date(2026, 2, 1), NOW)]
        assert warehouse.describe(OTHER) is None

    def test_without_a_name_every_horizon_has_its_own(self, warehouse: Warehouse) -> None:
        made = create_shims(warehouse, [], NOW)
        expected = {
            f"models_v4.production_training_data_{h}": f"training.zl_training_prod_allhistory_{h}" for h in HORIZONS
        }
        assert {s.legacy_name: s.target for s in made} == expected == RENAMED
        for horizon in HORIZONS:
            columns = warehouse.read(f"SELECT * FROM models_v4.production_training_data_{horizon}").columns
            assert f"target_{horizon}" in columns
        assert [s.view for s in list_shims(warehouse, [], TODAY)] == ["present"] * len(HORIZONS)

    def test_again_does_not_extend_the_grace(self, warehouse: Warehouse) -> None:
        create_shims(warehouse, [LEGACY], NOW)
        for days in (10, 40):
            assert create_shims(warehouse, [LEGACY], NOW + timedelta(days=days)) == [shim(30 - days)]
        assert recorded_shims(warehouse).rows() == [(LEGACY, TARGET, TODAY, date(2026, 2, 1), NOW)]
        create_shims(warehouse, [LEGACY, OTHER], NOW + timedelta(days=10))
        assert recorded_shims(warehouse)["created_on"].to_list() == [TODAY, after(10)]

    def test_a_view_that_is_gone_is_made_again(self, warehouse: Warehouse) -> None:
        create_shims(warehouse, [LEGACY], NOW)
        warehouse.drop_view(LEGACY)
        assert list_shims(warehouse, [], TODAY) == [shim(view="missing")]
        create_shims(warehouse, [LEGACY], NOW)
        assert list_shims(warehouse, [], TODAY) == [shim()]

    @pytest.mark.parametrize("recorded", [False, True])
    @pytest.mark.parametrize("kind", ["table", "view", "view like a shim"])
    def test_what_somebody_else_has_there_is_never_touched(
        self, warehouse: Warehouse, kind: str, recorded: bool
    ) -> None:
        if recorded:
            create_shims(warehouse, [LEGACY], NOW)
            warehouse.drop_view(LEGACY)
        warehouse.ensure_dataset("models_v4")
        if kind == "table":
            warehouse.create_table(LEGACY, "SELECT 1 AS mine")
        elif kind == "view" or recorded:
            warehouse.create_view(f"CREATE OR REPLACE VIEW {LEGACY} AS SELECT 1 AS mine")
        else:
            warehouse.create_view(f"CREATE OR REPLACE VIEW {LEGACY} AS SELECT * FROM {TARGET}")
        before = warehouse.describe(LEGACY)
        with pytest.raises(InputError, match="not overwritten") as raised:
            create_shims(warehouse, [OTHER, LEGACY], NOW)
        assert raised.value.where == LEGACY
        assert warehouse.describe(OTHER) is None, "nothing is made where one name is refused"
        if recorded:
            assert drop_shims(warehouse, [], TODAY) == [shim(view="not ours")]
        assert recorded_shims(warehouse).is_empty()
        assert warehouse.describe(LEGACY) == before is not None

    @pytest.mark.parametrize("name", [TARGET, "models_v4.nothing", f"{LEGACY}; DROP TABLE {TARGET}", ""])
    def test_any_other_name_is_refused(self, warehouse: Warehouse, name: str) -> None:
        with pytest.raises(InputError, match="not a legacy name") as raised:
            create_shims(warehouse, [LEGACY, name], NOW)
        assert LEGACY in raised.value.action
        assert recorded_shims(warehouse).is_empty()

    def test_without_the_renamed_table_there_is_no_view(self, new_place: Callable[[], Place], engine: str) -> None:
        store: Any = new_place().warehouse
        store.ensure_dataset("training") if engine == "bigquery" else duckdb_file(store)
        with pytest.raises(InputError, match="does not exist"):
            create_shims(store, [LEGACY], NOW)

    def test_a_shim_that_was_killed_before_its_view_is_finished_by_the_next(
        self, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(type(warehouse), "create_view", killed)
            with pytest.raises(KeyboardInterrupt):
                create_shims(warehouse, [LEGACY], NOW)
        assert list_shims(warehouse, [], TODAY) == [shim(view="missing")]
        assert create_shims(warehouse, [LEGACY], NOW + timedelta(days=1)) == [shim(29)]


def duckdb_file(store: DuckDBWarehouse) -> None:
    store.path.parent.mkdir(parents=True, exist_ok=True)
    duckdb.connect(str(store.path)).close()


class TestListAndDrop:
    def test_a_warehouse_without_shims_lists_none_and_drops_none(self, warehouse: Warehouse) -> None:
        assert list_shims(warehouse, [], TODAY) == drop_shims(warehouse, [], TODAY) == []

    @pytest.mark.parametrize(("days", "state"), [(22, "in grace"), (23, "ends soon"), (30, "ends soon"), (31, "over")])
    def test_the_days_that_are_left_are_told(self, warehouse: Warehouse, days: int, state: str) -> None:
        create_shims(warehouse, [LEGACY], NOW)
        assert list_shims(warehouse, [], after(days)) == [shim(30 - days, state=state)]

    def test_a_dropped_shim_leaves_neither_view_nor_record_and_may_begin_anew(self, warehouse: Warehouse) -> None:
        create_shims(warehouse, [LEGACY, OTHER], NOW)
        assert drop_shims(warehouse, [LEGACY], TODAY) == [shim()]
        assert warehouse.describe(LEGACY) is None
        assert [s.legacy_name for s in list_shims(warehouse, [], TODAY)] == [OTHER]
        assert warehouse.describe(TARGET) is not None
        [again] = create_shims(warehouse, [LEGACY], NOW + timedelta(days=40))
        assert (again.created_on, again.days_left) == (after(40), 30)

    def test_a_name_that_is_not_recorded_is_refused(self, warehouse: Warehouse) -> None:
        create_shims(warehouse, [OTHER], NOW)
        for act in (list_shims, drop_shims):
            with pytest.raises(InputError, match="no shim of that name") as raised:
                act(warehouse, [OTHER, LEGACY], TODAY)
            assert OTHER in raised.value.action
        assert warehouse.describe(OTHER) is not None

    def test_a_warehouse_of_an_earlier_release_has_no_shims(self, tmp_path: Path) -> None:
        store = DuckDBWarehouse(tmp_path / "zl.duckdb")
        duckdb_file(store)
        assert recorded_shims(store).is_empty()
        assert recorded_shims(store).schema == contract(SHIMS).polars_schema()


def test_the_legacy_datasets_are_neither_ours_nor_listed_as_foreign() -> None:
    assert {n.split(".")[0] for n in RENAMED} == set(LEGACY_DATASETS)
    assert not set(LEGACY_DATASETS) & {*OUR_DATASETS, *FOREIGN_DATASETS}
    assert all(contract(target) for target in RENAMED.values())


@pytest.mark.bigquery
def test_a_push_leaves_shims_where_they_are(tmp_path: Path, bigquery_address: str) -> None:
    source, target = empty_warehouse(tmp_path / "zl.duckdb"), in_new_project(bigquery_address)
    source.merge("training.regime_calendar", rows_of("training.regime_calendar", 1))
    create_shims(source, [], NOW)
    assert [p.table for p in push(source, target, lambda _: None)] == ["training.regime_calendar"]
    assert recorded_shims(target).is_empty()
