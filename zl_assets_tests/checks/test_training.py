"""Checks of the training view and the frozen table, on the view's own rows and on planted defects."""

from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from zl_assets.assets.features import MATRIX
from zl_assets.assets.market_data import SESSIONS
from zl_assets.assets.training import FLAT, table_name, view_name
from zl_assets.checks.training import (
    TABLE_CHECKS,
    VIEW_CHECKS,
    evaluate_enough_targets,
    evaluate_frozen,
    evaluate_no_join,
    evaluate_no_null_target,
    evaluate_split,
    evaluate_target_recomputed,
    vw_zl_flat_checks,
    zl_training_checks,
)
from zl_assets.core.features.matrix import build_matrix
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.sessions import build_sessions
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import view_sql
from zl_assets_tests.made_bars import accepted, calm_days
from zl_assets_tests.real_bars import MATRIX_SCHEMA, NOW, real_zl
from zl_assets_tests.stores import Place

SUSPECT = 100


def made_sessions() -> pl.DataFrame:
    """Sessions from July 2022 to April 2023, each at its own price that nothing foretells, one of them thin."""
    days = calm_days(date(2022, 7, 1), 200)
    moves = np.random.default_rng(3).normal(0, 0.01, len(days))
    for row, price in zip(days, 40 * np.exp(np.cumsum(moves)), strict=True):
        row |= dict.fromkeys(("open", "high", "low", "close"), float(price))
    days[SUSPECT]["volume"] = 3
    bars = accepted(days)
    return build_sessions(bars.clear(), bars.with_columns(built_from=pl.lit("1d"))).sessions


def filled(place: Place, sessions: pl.DataFrame, horizons: Iterable[str] = HORIZONS) -> Warehouse:
    warehouse = place.with_tables().warehouse
    warehouse.merge(SESSIONS, sessions.with_columns(ingest_timestamp=pl.lit(NOW)))
    warehouse.merge(MATRIX, build_matrix(sessions, MATRIX_SCHEMA, NOW))
    for horizon in horizons:
        warehouse.create_view(view_sql(FLAT, horizon))
        warehouse.replace(table_name(horizon), f"SELECT * FROM {view_name(horizon)}")
    return warehouse


@pytest.fixture(scope="module")
def sessions() -> pl.DataFrame:
    return made_sessions()


@pytest.fixture(scope="module")
def warehouse(sessions: pl.DataFrame, new_place: Callable[[], Place]) -> Warehouse:
    return filled(new_place(), sessions)


@pytest.fixture(scope="module")
def view(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.read(f"SELECT * FROM {view_name('1w')} ORDER BY data_date")


def with_row(frame: pl.DataFrame, row: int, **values: Any) -> pl.DataFrame:
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(here).then(pl.lit(v, dtype=frame.schema[c])).otherwise(c).alias(c) for c, v in values.items()
    )


def first(view: pl.DataFrame, split: str) -> int:
    """Position of the first row of a split whose windows are whole."""
    return view.select(((pl.col("split") == split) & pl.col("ma_63").is_not_null()).arg_max()).item()


@pytest.mark.slow_on_bigquery
class TestSplit:
    def test_the_views_own_split_passes_and_is_counted(self, view: pl.DataFrame) -> None:
        verdict = evaluate_split(view)
        assert verdict.passed
        assert set(verdict.numbers) == {"train", "purged", "test", "offending_rows"}

    @pytest.mark.parametrize(
        ("split", "values"),
        [
            ("train", {"target_date": date(2023, 1, 3)}),
            ("train", {"target_date": None}),
            ("train", {"data_date": date(2023, 1, 3)}),
            ("train", {"is_suspect": True, "is_usable": False}),
            ("train", {"is_usable": False}),
            ("train", {"ma_63": None}),
            ("train", {"split": "purged"}),
            ("train", {"split": "test"}),
            ("train", {"split": "validation"}),
            ("train", {"split": None}),
            ("test", {"split": "train"}),
            ("test", {"split": "purged"}),
            ("test", {"ma_63": None}),
            ("test", {"data_date": date(2022, 12, 30)}),
        ],
        ids=[
            "train_reaches_2023",
            "train_without_outcome",
            "train_in_2023",
            "train_suspect",
            "train_unusable",
            "train_incomplete",
            "purged_without_reason",
            "test_before_2023",
            "unknown_split",
            "no_split",
            "train_after_2023",
            "test_purged_without_reason",
            "test_incomplete",
            "test_dated_before_2023",
        ],
    )
    def test_a_row_in_the_wrong_place_fails_and_is_named(
        self, view: pl.DataFrame, split: str, values: dict[str, Any]
    ) -> None:
        row = first(view, split)
        verdict = evaluate_split(with_row(view, row, **values))
        assert not verdict.passed
        assert verdict.offenders["data_date"].to_list() == [values.get("data_date", view["data_date"][row])]

    def test_the_suspect_session_and_the_rows_that_end_in_it_may_be_purged(self, view: pl.DataFrame) -> None:
        assert view[[SUSPECT - 5, SUSPECT]]["split"].to_list() == ["purged", "purged"]


@pytest.mark.slow_on_bigquery
class TestTarget:
    @pytest.mark.parametrize("horizon", HORIZONS)
    def test_the_views_target_is_the_recomputed_one(
        self, warehouse: Warehouse, sessions: pl.DataFrame, horizon: str
    ) -> None:
        rows = warehouse.read(f"SELECT * FROM {view_name(horizon)}")
        verdict = evaluate_target_recomputed(rows, sessions, horizon)
        assert verdict.passed
        assert verdict.numbers["compared"] == 200

    @pytest.mark.parametrize("off", [-1, 1])
    def test_a_target_one_session_off_fails(self, view: pl.DataFrame, sessions: pl.DataFrame, off: int) -> None:
        shifted = view.with_columns(pl.col("target_1w").shift(off))
        assert not evaluate_target_recomputed(shifted, sessions, "1w").passed

    def test_one_target_off_by_a_hair_fails_and_shows_both_values(
        self, view: pl.DataFrame, sessions: pl.DataFrame
    ) -> None:
        verdict = evaluate_target_recomputed(with_row(view, 30, target_1w=view["target_1w"][30] + 1e-6), sessions, "1w")
        assert not verdict.passed
        assert verdict.offenders.columns == ["data_date", "session_number", "target_1w", "expected"]
        assert verdict.offenders["data_date"].to_list() == [view["data_date"][30]]

    def test_a_target_where_no_outcome_exists_fails(self, view: pl.DataFrame, sessions: pl.DataFrame) -> None:
        assert not evaluate_target_recomputed(with_row(view, 199, target_1w=0.0), sessions, "1w").passed

    def test_a_target_that_is_missing_where_the_outcome_exists_fails(
        self, view: pl.DataFrame, sessions: pl.DataFrame
    ) -> None:
        assert not evaluate_target_recomputed(with_row(view, 30, target_1w=None), sessions, "1w").passed

    def test_a_neighbours_close_in_place_of_a_missing_session_fails(
        self, view: pl.DataFrame, sessions: pl.DataFrame
    ) -> None:
        without = sessions.filter(pl.col("session_number") != sessions["session_number"][35])
        rows = view.filter(pl.col("session_number") != sessions["session_number"][35])
        wrong = evaluate_target_recomputed(rows, without, "1w")
        assert wrong.offenders["session_number"].to_list() == [sessions["session_number"][30]]

    def test_a_row_that_the_view_lost_fails(self, view: pl.DataFrame, sessions: pl.DataFrame) -> None:
        assert not evaluate_target_recomputed(view[1:], sessions, "1w").passed

    def test_targets_of_training_rows_are_there(self, view: pl.DataFrame) -> None:
        assert evaluate_no_null_target(view, "1w").passed

    @pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
    def test_a_training_row_without_a_target_fails(self, view: pl.DataFrame, value: float | None) -> None:
        row = first(view, "train")
        verdict = evaluate_no_null_target(with_row(view, row, target_1w=value), "1w")
        assert not verdict.passed
        assert verdict.offenders["data_date"].to_list() == [view["data_date"][row]]

    def test_a_test_row_may_lack_it(self, view: pl.DataFrame) -> None:
        assert view["target_1w"][199] is None
        assert view["split"][199] == "test"
        assert evaluate_no_null_target(view, "1w").passed


@pytest.mark.slow_on_bigquery
class TestEnoughTargets:
    @staticmethod
    def full(labelled: int) -> pl.DataFrame:
        days = pl.date_range(date(2010, 6, 7), date(2025, 8, 29), "1d", eager=True)
        rows = pl.DataFrame({"data_date": [days[0], *days[-3_833:]], "session_number": range(3_834)})
        return rows.with_columns(
            pl.when(pl.int_range(pl.len()) < labelled).then(0.1).alias(f"target_{h}") for h in HORIZONS
        )

    @pytest.mark.parametrize(("horizon", "needed"), [("1w", 3_600), ("1m", 3_600), ("3m", 3_558), ("12m", 3_369)])
    def test_the_full_history_needs_3600_and_less_for_longer_horizons(self, horizon: str, needed: int) -> None:
        assert evaluate_enough_targets(self.full(needed), horizon).passed
        verdict = evaluate_enough_targets(self.full(needed - 1), horizon)
        assert not verdict.passed
        assert verdict.numbers == {"rows_with_target": needed - 1, "needed": needed}

    def test_a_shorter_history_needs_nearly_all_it_can_have(self, view: pl.DataFrame) -> None:
        assert evaluate_enough_targets(view, "1w").passed
        few = view.with_columns(target_1w=pl.when(pl.int_range(pl.len()) > 5).then("target_1w"))
        assert not evaluate_enough_targets(few, "1w").passed

    def test_an_empty_view_fails(self, view: pl.DataFrame) -> None:
        assert not evaluate_enough_targets(view.clear(), "1w").passed


class TestNoJoin:
    @pytest.mark.parametrize("horizon", HORIZONS)
    def test_the_projects_views_pass(self, horizon: str) -> None:
        assert evaluate_no_join(view_sql(FLAT, horizon)).passed

    def test_the_word_in_a_comment_or_a_text_passes(self) -> None:
        assert evaluate_no_join("SELECT 'a JOIN b' AS x FROM t -- JOIN u\n/* CROSS JOIN v */").passed

    @pytest.mark.parametrize(
        "sql",
        [
            "CREATE OR REPLACE VIEW v AS SELECT * FROM a JOIN b USING (x)",
            "CREATE OR REPLACE VIEW v AS SELECT * FROM a, b",
            "CREATE OR REPLACE VIEW v AS WITH c AS (SELECT * FROM a LEFT JOIN b ON a.x = b.x) SELECT * FROM c",
        ],
        ids=["plain", "comma", "in_a_cte"],
    )
    def test_a_join_fails_and_is_shown(self, sql: str) -> None:
        verdict = evaluate_no_join(sql)
        assert not verdict.passed
        assert verdict.numbers["joins"] == 1
        assert "JOIN" in verdict.numbers["found"]


@pytest.mark.slow_on_bigquery
class TestFrozen:
    def test_the_views_rows_in_any_order_pass(self, view: pl.DataFrame) -> None:
        assert evaluate_frozen(view.reverse(), view).passed

    @pytest.mark.parametrize("change", ["value", "row", "null"])
    def test_a_difference_fails(self, view: pl.DataFrame, change: str) -> None:
        frozen = {
            "value": with_row(view, 80, rsi_14=1.0),
            "row": view[1:],
            "null": with_row(view, 80, ma_5=None),
        }[change]
        assert not evaluate_frozen(frozen, view).passed


def shown(warehouse: Warehouse, horizon: str) -> list[dg.AssetCheckResult]:
    """The results of both shells for a horizon; Dagster builds no check context with a partition by itself."""
    context = SimpleNamespace(partition_key=horizon)
    shells = (vw_zl_flat_checks, zl_training_checks)
    return [r for shell in shells for r in shell.op.compute_fn.decorated_fn(context, warehouse)]


class TestShells:
    @pytest.mark.slow_on_bigquery
    @pytest.mark.parametrize("horizon", HORIZONS)
    def test_a_sound_warehouse_passes_for_each_horizon(self, warehouse: Warehouse, horizon: str) -> None:
        results = shown(warehouse, horizon)
        assert [r.check_name for r in results] == [c.name for c in (*VIEW_CHECKS, *TABLE_CHECKS)]
        # 200 sessions hold no whole year: the longest horizon has no target, and says so.
        assert [r.check_name for r in results if not r.passed] == (["enough_targets"] if horizon == "12m" else [])

    @pytest.mark.slow_on_bigquery
    def test_a_stored_close_that_changed_after_the_matrix_was_built_fails(self, new_place: Callable[[], Place]) -> None:
        sessions = made_sessions()
        store = filled(new_place(), sessions, ["1w"])
        changed = with_row(sessions.with_columns(ingest_timestamp=pl.lit(NOW)), 50, close=39.0)
        store.merge(SESSIONS, changed)
        assert [r.check_name for r in shown(store, "1w") if not r.passed] == ["target_recomputed"]

    def test_a_frozen_table_from_before_the_last_view_fails(self, new_place: Callable[[], Place]) -> None:
        store = filled(new_place(), made_sessions(), ["1w"])
        store.delete(table_name("1w"), "session_number > 0 AND split = @split", {"split": "test"})
        assert [r.check_name for r in shown(store, "1w") if not r.passed] == ["equals_view"]

    @pytest.mark.realdata
    @pytest.mark.slow_on_bigquery
    def test_the_real_history_passes(self, real_data: Path, new_place: Callable[[], Place], engine: str) -> None:
        # One horizon is enough on the local server, which takes seconds for each; the views are compared on all.
        horizons = list(HORIZONS) if engine == "duckdb" else ["1m"]
        store = filled(new_place(), real_zl(real_data).from_hourly.sessions, horizons)
        assert {h: [r.check_name for r in shown(store, h) if not r.passed] for h in horizons} == {
            h: [] for h in horizons
        }
