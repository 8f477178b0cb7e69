"""A run computes the rows that can have changed, and the table is then the one that a build of everything gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from zl_assets.assets.features import MATRIX, daily_ml_matrix, sessions_and_series
from zl_assets.assets.full_surface import FULL_MATRIX, daily_ml_matrix_full
from zl_assets.assets.incremental import LAST_BUILD
from zl_assets.assets.market_data import SESSIONS
from zl_assets.core.features.matrix import build_matrix
from zl_assets.core.features.wide_matrix import build_wide_matrix
from zl_assets.core.point_in_time import decision_times
from zl_assets.settings import Settings
from zl_assets.warehouse.base import MergeResult, Warehouse
from zl_assets.warehouse.contracts import contract, full_contracts
from zl_assets.warehouse.duckdb_engine import DuckDBWarehouse
from zl_assets_tests.core.features import made_series
from zl_assets_tests.core.features.made_markets import made_sessions
from zl_assets_tests.stores import Place, empty_warehouse
from zl_assets_tests.warehouse.rows import MORNING, rows_of

AT = time(13, 30)
MARKETS = ("CL", "MES", "ZL")
BUILT = datetime(2018, 10, 17, 23, tzinfo=UTC)
"""When the table was first built. The next block of sessions begins in June 2018."""
LATER = BUILT + timedelta(days=30)
FEW = ("fx_daily", "policy_events", "volatility_daily")
COMPUTED = {MATRIX: daily_ml_matrix, FULL_MATRIX: daily_ml_matrix_full}
Told = Mapping[str, Any]


def known(table: str, since: datetime, until: datetime) -> pl.DataFrame:
    """Made rows of an input that became public after one moment and up to another, in all columns of the table."""
    if table == SESSIONS:
        rows = made_sessions(MARKETS, date(2018, 1, 2), date(2018, 12, 31))
    else:
        rows = made_series.series()[table.split(".")[1]].filter(
            pl.col("available_at") > datetime(2017, 6, 1, tzinfo=UTC)
        )
    wanted = rows.filter((pl.col("available_at") > since) & (pl.col("available_at") <= until))
    return filled(table, wanted)


def filled(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with a value in every column that the table cannot do without."""
    example = rows_of(table, 1)
    missing = [c for c in example.columns if c not in rows.columns or rows[c].null_count() == rows.height]
    return rows.with_columns(pl.lit(example[c].item()).cast(example.schema[c]).alias(c) for c in missing).select(
        example.columns
    )


def deliver(warehouse: Warehouse, since: datetime, until: datetime) -> None:
    """Store what became public in between."""
    for table in (SESSIONS, *(f"raw_intelligence.{t}" for t in FEW)):
        warehouse.merge(table, known(table, since, until))


@dataclass
class History:
    """The runs of an asset on one warehouse, in an instance that remembers the last one.

    Attributes:
        warehouse: the store.
        table: which asset.
        told: metadata of the last run; None where there was none.
    """

    warehouse: Warehouse
    table: str = MATRIX
    told: Told | None = None

    def run(self, at: time = AT) -> Told:
        """Metadata of one more run."""
        key = dg.AssetKey(self.table.split("."))
        with dg.DagsterInstance.ephemeral() as instance:
            if self.told is not None:
                instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=self.told))
            result = dg.materialize(
                [COMPUTED[self.table]],
                resources={"warehouse": self.warehouse, "settings": Settings(decision_time=at)},
                instance=instance,
            )
        [made] = result.get_asset_materialization_events()
        self.told = made.materialization.metadata
        return {name: value.value for name, value in self.told.items()}

    def stored(self) -> pl.DataFrame:
        rows = self.warehouse.read(f"SELECT * FROM {self.table} ORDER BY symbol, data_date")
        return rows.drop("ingestion_ts")

    def from_scratch(self, at: time = AT) -> pl.DataFrame:
        """What a build of every row gives."""
        sessions, series = sessions_and_series(self.warehouse)
        schema = contract(self.table).polars_schema()
        if self.table == MATRIX:
            rows = build_matrix(sessions, schema, MORNING, series=series, at=at)
        else:
            matrix = self.warehouse.read(f"SELECT * FROM {MATRIX} WHERE symbol = 'ZL'")
            rows = build_wide_matrix(matrix, sessions, schema, MORNING, at)
        return contract(self.table).validated(rows).sort("symbol", "data_date").drop("ingestion_ts")

    def decided_since(self, day: date, symbols: tuple[str, ...] = ("ZL", "MES")) -> int:
        """Sessions whose decision comes at a day's midnight (UTC) or later."""
        sessions = self.warehouse.read(f"SELECT * FROM {SESSIONS}").filter(pl.col("symbol").is_in(list(symbols)))
        moments = decision_times(sessions, AT)["decision_time"]
        return int((moments >= datetime(day.year, day.month, day.day, tzinfo=UTC)).sum())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> History:
    """A first build of the matrix on the embedded warehouse; read only."""
    warehouse = empty_warehouse(Settings(home=tmp_path_factory.mktemp("first")).warehouse_file)
    deliver(warehouse, datetime(2000, 1, 1, tzinfo=UTC), BUILT)
    history = History(warehouse)
    told = history.run()
    assert told["rebuilt_from"] == "all: no build is recorded here"
    assert told["rows_rebuilt"] == told["rows_inserted"] == told["dagster/row_count"] > 350
    return history


@pytest.fixture
def history(first: History, new_place: Callable[[], Place]) -> History:
    """The same on either engine, to go on with."""
    assert isinstance(first.warehouse, DuckDBWarehouse)
    place = new_place().with_copy_of(first.warehouse.path.parent)
    return History(place.warehouse, told=first.told)


@pytest.fixture
def embedded(first: History, tmp_path: Path) -> History:
    """The same on the embedded engine."""
    assert isinstance(first.warehouse, DuckDBWarehouse)
    return History(DuckDBWarehouse(Path(shutil.copy(first.warehouse.path, tmp_path))), told=first.told)


def assert_about_the_table(told: Told, stored: pl.DataFrame) -> None:
    """Metadata describe the whole table and not what was computed."""
    assert told["dagster/row_count"] == stored.height
    assert told["first_date"] == str(stored["data_date"].min())
    assert told["last_date"] == str(stored["data_date"].max())
    assert told["suspect_rows"] == stored["is_suspect"].sum() > 0
    for symbol, rows in stored.group_by("symbol").len().iter_rows():
        assert f"| {symbol} | {rows:,} |" in told["rows_by_symbol"]
    for family in ("| base | 10 |", "| golden_zone | 7 |", "| palm | 0 |"):
        assert family in told["families"]


def test_a_month_of_bars_and_series_recomputes_that_month_and_nothing_else(history: History) -> None:
    deliver(history.warehouse, BUILT, LATER)
    told = history.run()
    assert told["rebuilt_from"] == "2018-10-01"
    assert told["rows_rebuilt"] == history.decided_since(date(2018, 10, 1)) < told["dagster/row_count"] / 4
    assert told["rows_inserted"] > 30
    stored = history.stored()
    assert stored.equals(history.from_scratch())
    assert_about_the_table(told, stored)


def test_day_after_day_gives_the_table_of_one_build(embedded: History) -> None:
    days = [BUILT + timedelta(days=n) for n in (0, 1, 2, 15)]
    for since, until in pairwise(days):
        deliver(embedded.warehouse, since, until)
        told = embedded.run()
        assert told["rebuilt_from"] == f"{since.replace(day=1):%Y-%m-%d}"
        assert 0 < told["rows_rebuilt"] < 60
    assert embedded.stored().equals(embedded.from_scratch())


@pytest.mark.slow_on_bigquery
def test_nothing_new_computes_nothing_and_writes_nothing(history: History) -> None:
    before = history.warehouse.read(f"SELECT * FROM {MATRIX} ORDER BY symbol, data_date")
    for _ in range(2):
        told = history.run()
        assert (told["rebuilt_from"], told["rows_rebuilt"]) == ("nothing changed", 0)
        assert told["dagster/row_count"] == before.height
    assert history.warehouse.read(f"SELECT * FROM {MATRIX} ORDER BY symbol, data_date").equals(before)


def test_a_row_that_only_got_here_another_way_is_nothing_new(embedded: History) -> None:
    rows = embedded.warehouse.read(f"SELECT * FROM {SESSIONS}")
    embedded.warehouse.delete(SESSIONS, "symbol = @symbol", {"symbol": "ZL"})
    embedded.warehouse.merge(SESSIONS, rows.with_columns(provenance_uuid=pl.lit("again"), ingest_timestamp=BUILT))
    assert embedded.run()["rebuilt_from"] == "nothing changed"


def test_a_correction_of_an_old_bar_recomputes_from_its_month_on(embedded: History) -> None:
    bar = embedded.warehouse.read(f"SELECT * FROM {SESSIONS} WHERE symbol = 'ZL' AND trade_date = '2018-03-14'")
    embedded.warehouse.merge(SESSIONS, bar.with_columns(pl.col("high") * 1.01))
    told = embedded.run()
    assert told["rebuilt_from"] == "2018-03-01"
    assert told["rows_rebuilt"] == embedded.decided_since(date(2018, 3, 1))
    assert told["rows_updated"] > 0
    assert embedded.stored().equals(embedded.from_scratch())


def test_a_value_that_is_published_late_counts_from_when_it_was_public(embedded: History) -> None:
    table = "raw_intelligence.volatility_daily"
    late = known(table, datetime(2018, 5, 14, tzinfo=UTC), datetime(2018, 5, 15, tzinfo=UTC)).with_columns(
        pl.col("close") * 1.5, available_at=datetime(2018, 8, 20, 21, tzinfo=UTC), observed_date=date(2018, 8, 17)
    )
    assert embedded.warehouse.merge(table, late).inserted == 1
    told = embedded.run()
    assert told["rebuilt_from"] == "2018-08-01"
    assert told["rows_rebuilt"] == embedded.decided_since(date(2018, 8, 1))
    assert embedded.stored().equals(embedded.from_scratch())


def test_a_row_that_is_gone_recomputes_from_its_month_on(embedded: History) -> None:
    gone = "available_at BETWEEN '2018-07-10' AND '2018-07-20'"
    assert embedded.warehouse.delete("raw_intelligence.fx_daily", gone, {}) > 0
    assert embedded.run()["rebuilt_from"] == "2018-07-01"
    assert embedded.stored().equals(embedded.from_scratch())


def test_another_decision_time_recomputes_everything(embedded: History) -> None:
    told = embedded.run(time(16, 0))
    assert told["rebuilt_from"].startswith("all: code, settings or columns")
    assert told["rows_rebuilt"] == told["dagster/row_count"]
    assert embedded.stored().equals(embedded.from_scratch(time(16, 0)))
    assert embedded.run(time(16, 0))["rebuilt_from"] == "nothing changed"


def test_the_first_rows_of_a_table_recompute_everything(embedded: History) -> None:
    """A family without its table is null; once there is a row, its counts are 0 long before that row."""
    table = "raw_intelligence.weather_daily"
    embedded.warehouse.merge(table, known(table, datetime(2018, 9, 1, tzinfo=UTC), BUILT))
    assert embedded.run()["rebuilt_from"].startswith("all: ")
    assert embedded.stored().equals(embedded.from_scratch())


def told_before(**changes: Any) -> Callable[[Told], Told]:
    """The metadata of a run with something else in what it says of the build."""
    return lambda told: {**told, LAST_BUILD: dg.MetadataValue.json({**told[LAST_BUILD].value, **changes})}


@pytest.mark.parametrize(
    "odd",
    [
        told_before(fingerprint="of another code"),
        told_before(fingerprint=None),
        told_before(digests={"the 5th": "x"}),
        told_before(digests=["2018-01"]),
        told_before(held=None),
        lambda told: {**told, LAST_BUILD: dg.MetadataValue.text("nothing changed")},
        lambda told: {name: value for name, value in told.items() if name != LAST_BUILD},
    ],
)
def test_another_code_or_odd_metadata_recompute_everything(
    first: History, monkeypatch: pytest.MonkeyPatch, odd: Callable[[Told], Told]
) -> None:
    assert first.told is not None
    monkeypatch.setattr(DuckDBWarehouse, "merge", lambda *_: MergeResult(0, 0, 0))
    monkeypatch.setattr("zl_assets.core.features.matrix.build_matrix", lambda *_, **given: since.append(given["since"]))
    since: list[date | None] = []
    assert History(first.warehouse, told=odd(first.told)).run()["rebuilt_from"].startswith("all: ")
    assert since == [None]


class TestAnotherHand:
    """What somebody else did to the stored table is found out, and everything is computed again."""

    @staticmethod
    def mended(history: History) -> None:
        told = history.run()
        assert told["rebuilt_from"] == "all: the table is not as the last build left it"
        assert told["dagster/row_count"] == history.stored().height
        assert history.stored().equals(history.from_scratch())
        assert history.run()["rebuilt_from"] == "nothing changed"

    def test_deleted_rows(self, embedded: History) -> None:
        deleted = embedded.warehouse.delete(MATRIX, "symbol = 'ZL' AND data_date < '2018-06-01'", {})
        assert deleted > 50
        self.mended(embedded)

    def test_an_empty_table(self, embedded: History) -> None:
        embedded.warehouse.delete(MATRIX, "TRUE", {})
        self.mended(embedded)

    def test_rows_of_a_run_that_was_not_recorded(self, embedded: History) -> None:
        recorded = embedded.told
        deliver(embedded.warehouse, BUILT, LATER)
        embedded.run()
        embedded.told = recorded
        self.mended(embedded)

    def test_a_row_that_another_run_stored_before_this_ones_was_recorded(self, embedded: History) -> None:
        deliver(embedded.warehouse, BUILT, LATER)
        embedded.run()
        # Stamped before this run's rows, as by a run that began before it, but stored after them.
        stale = embedded.warehouse.read(f"SELECT * FROM {MATRIX} WHERE symbol = 'ZL' AND data_date = '2018-11-01'")
        embedded.warehouse.merge(MATRIX, stale.with_columns(rsi_14=pl.lit(50.0), ingestion_ts=BUILT))
        self.mended(embedded)

    def test_rows_that_are_stored_while_a_run_computes(
        self, embedded: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        merge = DuckDBWarehouse.merge

        def after_another(self: DuckDBWarehouse, table: str, frame: pl.DataFrame) -> MergeResult:
            """Somebody changes an old row between this run's reading and its writing."""
            old = self.read(f"SELECT * FROM {MATRIX} WHERE symbol = 'ZL' AND data_date = '2018-01-10'")
            merge(self, table, old.with_columns(rsi_14=pl.lit(50.0), ingestion_ts=datetime.now(UTC)))
            return merge(self, table, frame)

        with monkeypatch.context() as during:
            during.setattr(DuckDBWarehouse, "merge", after_another)
            assert embedded.run()["rebuilt_from"] == "nothing changed"
        self.mended(embedded)


class TestFullSurface:
    @pytest.fixture
    def wide(self, embedded: History) -> History:
        """The wide matrix beside the matrix, of a few months."""
        embedded.warehouse.delete(SESSIONS, "trade_date < '2018-06-01'", {})
        embedded.warehouse.delete(MATRIX, "data_date < '2018-06-01'", {})
        embedded.warehouse.ensure(full_contracts().values())
        history = History(embedded.warehouse, FULL_MATRIX)
        told = history.run()
        assert told["rows_rebuilt"] == told["rows_inserted"] == told["dagster/row_count"] > 50
        assert history.run()["rebuilt_from"] == "nothing changed"
        return history

    def test_a_month_recomputes_that_month_and_nothing_else(self, wide: History) -> None:
        deliver(wide.warehouse, BUILT, LATER)
        History(wide.warehouse).run()
        before = wide.run()
        assert before["rebuilt_from"].startswith("2018-")
        bar = wide.warehouse.read(f"SELECT * FROM {SESSIONS} WHERE symbol = 'ZL' AND trade_date = '2018-11-05'")
        wide.warehouse.merge(SESSIONS, bar.with_columns(pl.col("high") * 1.01))
        told = wide.run()
        assert told["rebuilt_from"] == "2018-11-01"
        assert told["rows_rebuilt"] == wide.decided_since(date(2018, 11, 1), ("ZL",)) < 20
        assert told["dagster/row_count"] == before["dagster/row_count"]
        assert wide.stored().equals(wide.from_scratch())

    def test_a_changed_row_of_the_matrix_recomputes_from_its_month_on(self, wide: History) -> None:
        row = wide.warehouse.read(f"SELECT * FROM {MATRIX} WHERE symbol = 'ZL' AND data_date = '2018-09-12'")
        wide.warehouse.merge(MATRIX, row.with_columns(rsi_14=pl.lit(50.0)))
        told = wide.run()
        assert told["rebuilt_from"] == "2018-09-01"
        assert wide.stored().filter(pl.col("data_date") == date(2018, 9, 12))["rsi_14"].item() == 50.0
