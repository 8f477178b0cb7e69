"""What every warehouse does, on each engine: merges, replacements, reads, views, lists, refusals."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from zl_assets.core.horizons import HORIZONS
from zl_assets.errors import ContractBroken, QueryRefused, ZlError
from zl_assets.warehouse.base import MergeResult, Stored, TableInfo, Warehouse
from zl_assets.warehouse.contracts import FOREIGN_DATASETS, OUR_DATASETS, contract, contracts, view_sql
from zl_assets_tests.stores import Place, examples
from zl_assets_tests.warehouse.rows import CALENDAR, EVENING, FIRST, MORNING, THREE_DAYS, calendar, rows_of, stored

MATRIX, HOURS = "features.daily_ml_matrix", "market_data.databento_futures_ohlcv_1h"
RATES = "raw_intelligence.fx_daily"


class TestEnsure:
    def test_before_it_there_is_no_table_and_reading_says_so(self, new_place: Callable[[], Place]) -> None:
        store = new_place().warehouse
        assert store.tables() == []
        with pytest.raises(ZlError, match=r"zl (run|status)"):
            store.read(f"SELECT * FROM {CALENDAR}")

    def test_it_creates_every_table(self, warehouse: Warehouse) -> None:
        assert [t.name for t in warehouse.tables()] == sorted(contracts())

    def test_a_second_time_keeps_what_is_stored(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        warehouse.ensure()
        assert stored(warehouse) == {0: (1, MORNING)}


class TestDatasets:
    def test_all_are_listed_and_only_tables_of_ours_are(self, place: Place) -> None:
        assert set(place.warehouse.datasets()) == set(OUR_DATASETS)
        place.make_dataset(FOREIGN_DATASETS[0])
        place.make_dataset("somebodys")
        assert set(place.warehouse.datasets()) == {*OUR_DATASETS, FOREIGN_DATASETS[0], "somebodys"}
        assert [t.name for t in place.warehouse.tables()] == sorted(contracts())

    def test_a_new_store_has_none(self, new_place: Callable[[], Place]) -> None:
        assert new_place().warehouse.datasets() == []


class TestMerge:
    def test_new_changed_and_equal_rows_are_counted_and_others_stay(self, warehouse: Warehouse) -> None:
        assert warehouse.merge(CALENDAR, calendar({0: 10, 1: 11, 2: 12})) == MergeResult(3, 0, 0)
        assert warehouse.merge(CALENDAR, calendar({1: 11, 2: 99, 3: 13}, EVENING)) == MergeResult(1, 1, 1)
        assert stored(warehouse) == {0: (10, MORNING), 1: (11, MORNING), 2: (99, EVENING), 3: (13, EVENING)}

    def test_changes_far_apart_are_all_made_and_what_lies_between_stays(self, warehouse: Warehouse) -> None:
        days = dict.fromkeys(range(0, 400, 10), 1)
        warehouse.merge(CALENDAR, calendar(days))
        assert warehouse.merge(CALENDAR, calendar(days | {20: 2, 390: 3, 395: 4}, EVENING)) == MergeResult(1, 2, 38)
        assert {d: w for d, (w, c) in stored(warehouse).items() if c == EVENING} == {20: 2, 390: 3, 395: 4}

    def test_a_value_that_turns_null_or_comes_from_null_is_a_change(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: None, 1: 1, 2: None}))
        assert warehouse.merge(CALENDAR, calendar({0: 5, 1: None, 2: None}, EVENING)) == MergeResult(0, 2, 1)
        assert stored(warehouse) == {0: (5, EVENING), 1: (None, EVENING), 2: (None, MORNING)}

    def test_an_empty_frame_changes_nothing(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        assert warehouse.merge(CALENDAR, calendar({})) == MergeResult(0, 0, 0)

    def test_not_a_number_equals_itself(self, warehouse: Warehouse) -> None:
        frame = rows_of(RATES, 1).with_columns(rate=pl.lit(float("nan")))
        warehouse.merge(RATES, frame)
        assert warehouse.merge(RATES, frame) == MergeResult(0, 0, 1)

    def test_one_field_of_a_struct_is_a_change(self, warehouse: Warehouse) -> None:
        rows = rows_of(MATRIX, 3)
        warehouse.merge(MATRIX, rows)
        close = pl.when(pl.int_range(pl.len()) == 1).then(1.5).otherwise(pl.col("market_data").struct.field("close"))
        changed = rows.with_columns(pl.col("market_data").struct.with_fields(close=close))
        assert warehouse.merge(MATRIX, changed) == MergeResult(0, 1, 2)
        assert warehouse.read(f"SELECT market_data.close FROM {MATRIX} ORDER BY data_date")["close"][1] == 1.5

    @pytest.mark.slow_on_bigquery
    def test_a_struct_that_comes_changes_in_part_or_goes_is_a_change(self, warehouse: Warehouse) -> None:
        for pivots, written in [
            (None, MergeResult(1, 0, 0)),
            ({"P": 40.0}, MergeResult(0, 1, 0)),
            ({"P": 40.0}, MergeResult(0, 0, 1)),
            ({"P": 40.0, "price_above_P": False}, MergeResult(0, 1, 0)),
            (None, MergeResult(0, 1, 0)),
        ]:
            assert warehouse.merge(MATRIX, matrix_row(pivots)) == written
            found = warehouse.read(f"SELECT pivots.P AS p, market_data.close AS close FROM {MATRIX}")
            assert found.row(0) == (pivots["P"] if pivots else None, 1.0)

    def test_a_table_is_a_mapping_that_each_merge_updates(self, warehouse: Warehouse, engine: str) -> None:
        rows = st.dictionaries(st.integers(0, 5), st.none() | st.integers(0, 2), max_size=6)

        @settings(max_examples=examples(engine, 15))
        @given(merges=st.lists(rows, max_size=4))
        def check(merges: list[dict[int, int | None]]) -> None:
            assert_mapping(warehouse, merges)

        check()

    def test_a_frame_that_breaks_the_contract_leaves_the_table_alone(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        with pytest.raises(ContractBroken):
            warehouse.merge(CALENDAR, pl.concat([calendar({0: 7}), calendar({0: 8})]))
        assert stored(warehouse) == {0: (1, MORNING)}


def matrix_row(pivots: dict[str, float] | None) -> pl.DataFrame:
    row = {
        "data_date": FIRST,
        "symbol": "ZL",
        "session_number": 1,
        "is_suspect": False,
        "market_data": {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1},
        "pivots": pivots,
        "regime": {"name": "r", "weight": 1},
        "source": "databento",
        "ingestion_ts": MORNING,
    }
    return pl.DataFrame([row], schema=contract(MATRIX).polars_schema())


def assert_mapping(warehouse: Warehouse, merges: list[dict[int, int | None]]) -> None:
    """Each merge counts and does to a table what an update does to a dictionary."""
    warehouse.delete(CALENDAR, "TRUE", {})
    expected: dict[int, int | None] = {}
    for rows in merges:
        inserted = len(rows.keys() - expected.keys())
        updated = sum(k in expected and expected[k] != v for k, v in rows.items())
        unchanged = len(rows) - inserted - updated
        assert warehouse.merge(CALENDAR, calendar(rows)) == MergeResult(inserted, updated, unchanged)
        expected |= rows
    assert {k: v for k, (v, _) in stored(warehouse).items()} == expected


@pytest.mark.parametrize("table", sorted({n for n in contracts() if not n.endswith(("_1m", "_3m", "_6m", "_12m"))}))
def test_every_table_gives_back_the_values_and_types_it_took(warehouse: Warehouse, table: str) -> None:
    rows = rows_of(table, 40)
    assert warehouse.merge(table, rows) == MergeResult(40, 0, 0)
    back = warehouse.read(f"SELECT * FROM {table} ORDER BY {', '.join(contract(table).keys)}")
    assert_frame_equal(back, rows.sort(contract(table).keys), check_exact=True)
    assert warehouse.merge(table, back) == MergeResult(0, 0, 40)


class TestReplace:
    def test_it_leaves_exactly_the_selected_rows(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 1: 2, 2: 7, 500: 3}))
        assert warehouse.replace(CALENDAR, THREE_DAYS.format(weight_v0="7")) == 3
        assert stored(warehouse) == dict.fromkeys((1, 2, 3), (7, MORNING))

    def test_by_the_same_rows_changes_nothing(self, warehouse: Warehouse) -> None:
        for _ in range(2):
            assert warehouse.replace(CALENDAR, THREE_DAYS.format(weight_v0="7")) == 3
        assert stored(warehouse) == dict.fromkeys((1, 2, 3), (7, MORNING))

    def test_by_no_row_empties_the_table(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        assert warehouse.replace(CALENDAR, f"{THREE_DAYS.format(weight_v0='7')} WHERE FALSE") == 0
        assert stored(warehouse) == {}


class TestRewrite:
    def test_a_row_that_differs_only_in_its_bookkeeping_is_rewritten_too(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 1: 7, 2: 7, 500: 3}, EVENING))
        assert warehouse.rewrite(CALENDAR, THREE_DAYS.format(weight_v0="7")) == 3
        assert stored(warehouse) == dict.fromkeys((1, 2, 3), (7, MORNING))

    def test_a_table_may_be_made_of_its_own_rows(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 1: 2}))
        assert warehouse.rewrite(CALENDAR, f"SELECT * FROM {CALENDAR} WHERE weight_v0 = 2") == 1
        assert stored(warehouse) == {1: (2, MORNING)}

    def test_by_no_row_empties_the_table(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        assert warehouse.rewrite(CALENDAR, f"SELECT * FROM {CALENDAR} WHERE FALSE") == 0
        assert stored(warehouse) == {}


class TestTablesWithoutAContract:
    def test_one_that_exists_stays_unless_it_is_to_be_replaced(self, warehouse: Warehouse) -> None:
        for select, replace, expected in (("1 AS a", False, 1), ("2 AS a", False, 1), ("3 AS a", True, 3)):
            warehouse.create_table("archive.group", f"SELECT {select}", replace=replace)
            assert warehouse.read("SELECT * FROM `archive`.`group`").item() == expected

    def test_a_select_that_fails_leaves_nothing(self, warehouse: Warehouse) -> None:
        with pytest.raises(Exception, match="made by the test"):
            warehouse.create_table("archive.t", "SELECT 1 AS n UNION ALL SELECT ERROR('made by the test')")
        assert warehouse.describe("archive.t") is None

    def test_a_dataset_is_made_once(self, warehouse: Warehouse) -> None:
        for _ in range(2):
            warehouse.ensure_dataset("models_v4")
        warehouse.create_table("models_v4.t", "SELECT 1 AS n")
        warehouse.ensure_dataset("models_v4")
        assert warehouse.read("SELECT n FROM models_v4.t").item() == 1


class TestDescribe:
    @pytest.mark.parametrize("table", [CALENDAR, MATRIX, "predictions.zl_forecasts"])
    def test_a_table_has_the_columns_of_its_contract(self, warehouse: Warehouse, table: str) -> None:
        columns = {c.name: c.full_type for c in contract(table).columns}
        assert warehouse.describe(table) == Stored(table, columns)

    def test_a_view_has_its_definition_however_it_was_written(self, warehouse: Warehouse) -> None:
        warehouse.create_view(f"CREATE OR REPLACE VIEW training.v AS\nselect  weight, `regime`\nfrom {CALENDAR} -- two")
        found = warehouse.describe("training.v")
        columns = {"weight": "INT64", "regime": "STRING"}
        assert found == Stored("training.v", columns, f"SELECT weight, regime FROM {CALENDAR}")

    def test_types_that_no_contract_has_are_told(self, warehouse: Warehouse) -> None:
        warehouse.create_table("archive.t", "SELECT [1] AS a, [STRUCT('x' AS b, [DATE '2020-01-01'] AS c)] AS d")
        found = warehouse.describe("archive.t")
        assert found is not None
        assert found.columns == {"a": "ARRAY<INT64>", "d": "ARRAY<STRUCT<b STRING, c ARRAY<DATE>>>"}

    @pytest.mark.parametrize("name", ["training.nothing", "nothing.nothing", "training.x' OR '1'='1"])
    def test_what_is_not_there_is_none(self, warehouse: Warehouse, name: str) -> None:
        assert warehouse.describe(name) is None

    def test_a_dropped_view_is_gone_and_a_table_cannot_be_dropped_so(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        warehouse.create_view(f"CREATE OR REPLACE VIEW training.v AS SELECT * FROM {CALENDAR}")
        for _ in range(2):
            warehouse.drop_view("training.v")
            assert warehouse.describe("training.v") is None
        with pytest.raises(Exception, match="type Table"):
            warehouse.drop_view(CALENDAR)
        assert stored(warehouse) == {0: (1, MORNING)}


class TestRead:
    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("regime", "r"),
            ("weight", 1),
            ("calendar_date", FIRST),
            ("created_at", MORNING),
            ("weight / 2", 0.5),
            ("(weight = 1)", True),
        ],
    )
    def test_a_value_of_any_type_is_bound(
        self, warehouse: Warehouse, column: str, value: str | float | date | datetime
    ) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        found = warehouse.read(f"SELECT COUNT(*) AS n FROM {CALENDAR} WHERE {column} = @value", {"value": value})
        assert found.rows() == [(1,)]
        assert found.schema == {"n": pl.Int64()}

    def test_a_bound_value_is_never_part_of_the_statement(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        sql = f"SELECT COUNT(*) AS n FROM {CALENDAR} WHERE regime = @regime"
        assert warehouse.read(sql, {"regime": "x' OR '1'='1"}).item() == 0

    def test_moments_come_back_in_utc(self, warehouse: Warehouse) -> None:
        elsewhere = pl.lit(MORNING).dt.convert_time_zone("America/Chicago")
        warehouse.merge(CALENDAR, calendar({0: 1}).with_columns(created_at=elsewhere))
        rows = warehouse.read(f"SELECT created_at FROM {CALENDAR}")
        assert rows.schema == {"created_at": pl.Datetime("us", "UTC")}
        assert rows.item() == MORNING.astimezone(UTC)

    @pytest.mark.parametrize(
        ("sql", "message"),
        [
            ("SELECT * FROM training.nothing", "nothing"),
            (f"SELECT nothing FROM {CALENDAR}", "nothing"),
            (f"SELECT CAST(regime AS INT64) FROM {CALENDAR}", "r"),
            (f"SELECT SUM(regime) FROM {CALENDAR}", "(?i)sum"),
            ("SELECT 9223372036854775807 + 1", "verflow"),
            ("SELECT SQRT(-1)", "square root"),
            ("SELECT REGEXP_CONTAINS('a', '(')", "missing"),
            ("SELECT @unbound", "unbound"),
        ],
    )
    def test_a_query_that_cannot_be_answered_is_refused_with_the_reason(
        self, warehouse: Warehouse, sql: str, message: str
    ) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        with pytest.raises(QueryRefused, match=message):
            warehouse.read(sql)

    @pytest.mark.parametrize(
        "sql",
        [
            f"DELETE FROM {CALENDAR} WHERE TRUE",
            f"DROP TABLE {CALENDAR}",
            "CREATE TABLE training.x (a INT64)",
            f"UPDATE {CALENDAR} SET weight = 0 WHERE TRUE",
        ],
    )
    def test_nothing_can_be_written(self, warehouse: Warehouse, sql: str) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1}))
        with pytest.raises(QueryRefused):
            warehouse.read(sql)
        assert stored(warehouse) == {0: (1, MORNING)}


class TestStream:
    def test_it_gives_every_row_in_order(self, warehouse: Warehouse) -> None:
        rows = rows_of(MATRIX, 40)
        warehouse.merge(MATRIX, rows)
        frames = list(warehouse.stream(f"SELECT * FROM {MATRIX} WHERE symbol != @x ORDER BY data_date", {"x": "?"}))
        assert_frame_equal(pl.concat(frames), rows, check_exact=True)

    def test_no_row_is_an_empty_frame_with_the_types(self, warehouse: Warehouse) -> None:
        [frame] = warehouse.stream(f"SELECT * FROM {MATRIX}")
        assert frame.is_empty()
        assert frame.schema == contract(MATRIX).polars_schema()

    def test_a_value_that_cannot_be_read_among_many_is_refused(self, warehouse: Warehouse) -> None:
        late = "SELECT CAST(IF(n = 90000, 'x', '1') AS INT64) AS v FROM UNNEST(GENERATE_ARRAY(1, 90000)) AS n"
        with pytest.raises(QueryRefused, match="x"):
            list(warehouse.stream(late))

    def test_a_statement_that_writes_is_refused(self, warehouse: Warehouse) -> None:
        with pytest.raises(QueryRefused):
            list(warehouse.stream(f"DROP TABLE {MATRIX}"))


class TestOtherActions:
    def test_delete_takes_the_rows_of_the_condition_and_counts_them(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 1: 2, 2: 3}))
        assert warehouse.delete(CALENDAR, "weight_v0 >= @least", {"least": 2}) == 2
        assert stored(warehouse) == {0: (1, MORNING)}
        assert warehouse.delete(CALENDAR, "weight_v0 > 100", {}) == 0

    def test_tables_and_views_are_listed_with_their_rows_and_newest_day(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 5: 2}))
        warehouse.create_view(f"CREATE OR REPLACE VIEW training.v AS SELECT weight FROM {CALENDAR}")
        late = datetime(FIRST.year, FIRST.month, FIRST.day, 23, tzinfo=UTC)
        warehouse.merge(HOURS, rows_of(HOURS, 1).with_columns(ts_event=pl.lit(late)))
        listed = {t.name: t for t in warehouse.tables()}
        assert listed[CALENDAR] == TableInfo(CALENDAR, 2, "2020-01-06")
        assert listed["training.v"] == TableInfo("training.v", 2, None)
        assert listed[MATRIX] == TableInfo(MATRIX, 0, None)
        assert listed[HOURS] == TableInfo(HOURS, 1, FIRST.isoformat()), "without a date column the time tells the day"
        assert warehouse.row_count(CALENDAR) == 2

    def test_a_view_that_fails_and_a_table_with_an_odd_name_do_not_hide_the_others(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 5: 2}))
        warehouse.create_table("archive.odd-name", "SELECT 1 AS n")
        warehouse.create_table("archive.gone", "SELECT 1 AS n")
        warehouse.create_view("CREATE OR REPLACE VIEW archive.broken AS SELECT n FROM archive.gone")
        warehouse.create_table("archive.gone", "SELECT 2 AS other", replace=True)
        listed = {t.name: t for t in warehouse.tables()}
        assert listed["archive.broken"] == TableInfo("archive.broken", None, None)
        assert listed["archive.odd-name"] == TableInfo("archive.odd-name", 1, None)
        assert listed[CALENDAR].rows == 2
        assert warehouse.listed() == sorted(listed)

    def test_a_view_that_exists_is_replaced(self, warehouse: Warehouse) -> None:
        warehouse.merge(CALENDAR, calendar({0: 1, 5: 2}))
        for count in (1, 2):
            warehouse.create_view(f"CREATE OR REPLACE VIEW training.v AS SELECT {count} AS n")
            assert warehouse.read("SELECT n FROM training.v").item() == count


@pytest.fixture(scope="module")
def with_matrix(new_place: Callable[[], Place]) -> Warehouse:
    """A warehouse with 300 sessions of ZL; tests make views in it and change no row."""
    store = new_place().with_tables().warehouse
    zl = rows_of(MATRIX, 300).with_columns(symbol=pl.lit("ZL"), session_number=pl.int_range(300))
    store.merge(MATRIX, zl.with_columns(pl.col("market_data").struct.with_fields(close=40.0)))
    return store


@pytest.mark.parametrize("horizon", HORIZONS)
def test_every_view_of_the_project_can_be_made_and_read(with_matrix: Warehouse, horizon: str) -> None:
    for view in ("training.vw_flat", "predictions.vw_zl_latest"):
        with_matrix.create_view(view_sql(view, horizon))
    rows = with_matrix.read(f"SELECT * FROM training.vw_zl_{horizon}_flat ORDER BY data_date")
    assert rows[f"target_{horizon}"].count() == 300 - HORIZONS[horizon].sessions
    assert rows["target_date"][0] == FIRST + timedelta(days=HORIZONS[horizon].sessions)
    assert with_matrix.read(f"SELECT * FROM predictions.vw_zl_{horizon}_latest").is_empty()
