"""Adding deliveries to the stored bars: nothing is lost, nothing is mixed, what is stored stays."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.bars import daily_bars, sort_out
from zl_assets.core.sessions import build_sessions
from zl_assets.errors import InputError, VendorFileError
from zl_assets.sources.stored_bars import StoredBars, StoreOutcome
from zl_assets.warehouse.base import MergeResult, Warehouse
from zl_assets.warehouse.contracts import contract
from zl_assets_tests.made_bars import NOW, accepted, bar, calm_days, day, delivered, hour, vendor
from zl_assets_tests.stores import examples

DAILY = "market_data.databento_futures_ohlcv_1d"
HOURLY = "market_data.databento_futures_ohlcv_1h"
SESSIONS = "market_data.futures_sessions_1d"
QUARANTINE = "raw_intelligence.quarantine"
TUESDAY = day(2015, 3, 10)
LATER = NOW + timedelta(days=1)
NOTHING = MergeResult(0, 0, 0)


@pytest.fixture
def stored(warehouse: Warehouse) -> StoredBars:
    return StoredBars(warehouse)


def at(hours: int, price: float = 40.0, **values: Any) -> dict[str, Any]:
    """An hour of the Tuesday."""
    return hour(TUESDAY + timedelta(hours=hours), price, **values)


def simulated(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"publisher_id": 0}


def add(stored: StoredBars, *rows: dict[str, Any], now: datetime = NOW, corrections: bool = False) -> StoreOutcome:
    return stored.store(sort_out(vendor(list(rows)), NOW), now, accept_corrections=corrections)


def days(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    sql = f"SELECT symbol, bar_date, open, high, low, close, volume, built_from FROM {DAILY} ORDER BY symbol, bar_date"
    return warehouse.read(sql).rows()


def reasons(warehouse: Warehouse) -> list[str]:
    return warehouse.read(f"SELECT reason FROM {QUARANTINE} ORDER BY reason")["reason"].to_list()


class TestHourlyDeliveries:
    def test_a_day_delivered_in_parts_is_the_day_of_all_its_hours(
        self, stored: StoredBars, warehouse: Warehouse
    ) -> None:
        first = add(stored, at(1, 40.0), at(2, 41.0))
        assert days(warehouse) == [("ZL", TUESDAY.date(), 40.0, 41.5, 39.5, 41.0, 4_000, "1h")]
        # The second delivery repeats an hour of the first one.
        second = add(stored, at(2, 41.0), at(15, 44.0), at(16, 38.0))
        assert days(warehouse) == [("ZL", TUESDAY.date(), 40.0, 44.5, 37.5, 38.0, 8_000, "1h")]
        assert (first.hourly, first.daily) == (MergeResult(2, 0, 0), MergeResult(1, 0, 0))
        assert (second.hourly, second.daily) == (MergeResult(2, 0, 1), MergeResult(0, 1, 0))
        assert second.rejected == {}

    @pytest.mark.slow_on_bigquery
    def test_earlier_hours_that_come_later_count_too(self, stored: StoredBars, warehouse: Warehouse) -> None:
        add(stored, at(15, 44.0))
        add(stored, at(1, 40.0))
        assert days(warehouse) == [("ZL", TUESDAY.date(), 40.0, 44.5, 39.5, 44.0, 4_000, "1h")]

    @pytest.mark.slow_on_bigquery
    def test_the_same_delivery_again_changes_nothing(self, stored: StoredBars, warehouse: Warehouse) -> None:
        rows = [at(1), at(2), *calm_days(TUESDAY.date(), 3)]
        add(stored, *rows)
        before = warehouse.read(f"SELECT * FROM {DAILY} ORDER BY bar_date")
        again = add(stored, *rows, now=LATER)
        assert (again.daily, again.hourly) == (MergeResult(0, 0, 3), MergeResult(0, 0, 2))
        assert warehouse.read(f"SELECT * FROM {DAILY} ORDER BY bar_date").equals(before)

    @pytest.mark.slow_on_bigquery
    def test_hours_know_when_they_are_over(self, stored: StoredBars, warehouse: Warehouse) -> None:
        add(stored, at(1), bar(TUESDAY))
        assert warehouse.read(f"SELECT available_at FROM {HOURLY}").item() == TUESDAY + timedelta(hours=2)
        assert warehouse.read(f"SELECT available_at FROM {DAILY}").item() == TUESDAY + timedelta(days=1)

    @pytest.mark.slow_on_bigquery
    def test_in_whatever_parts_hours_arrive_the_days_are_those_of_all_of_them(
        self, warehouse: Warehouse, engine: str
    ) -> None:
        @settings(max_examples=examples(engine, 5))
        @given(cuts=st.lists(st.sets(st.integers(0, 47), min_size=1), min_size=1, max_size=4), data=st.data())
        def check(cuts: list[set[int]], data: st.DataObject) -> None:
            self.assert_days_of_all_hours(warehouse, cuts, data)

        check()

    @staticmethod
    def assert_days_of_all_hours(warehouse: Warehouse, cuts: list[set[int]], data: st.DataObject) -> None:
        stored = StoredBars(warehouse)
        warehouse.delete(DAILY, "TRUE", {})
        warehouse.delete(HOURLY, "TRUE", {})
        for cut in cuts:
            add(stored, *[at(h, 40.0 + h % 7) for h in data.draw(st.permutations(sorted(cut)))])
        together = daily_bars(accepted([at(h, 40.0 + h % 7) for h in sorted(set().union(*cuts))]))
        columns = ["symbol", "ts_event", "open", "high", "low", "close", "volume", "built_from"]
        got = warehouse.read(f"SELECT {', '.join(columns)} FROM {DAILY} ORDER BY ts_event")
        assert got.equals(together.select(columns))


class TestDailyAndHourly:
    EXPECTED = ("ZL", TUESDAY.date(), 50.0, 50.5, 49.5, 50.0, 40_000, "1d")

    @pytest.mark.slow_on_bigquery
    def test_together_the_delivered_day_wins(self, stored: StoredBars, warehouse: Warehouse) -> None:
        add(stored, bar(TUESDAY, 50.0), at(1))
        assert days(warehouse) == [self.EXPECTED]

    def test_a_day_delivered_after_its_hours_replaces_the_aggregated_one(
        self, stored: StoredBars, warehouse: Warehouse
    ) -> None:
        add(stored, at(1))
        outcome = add(stored, bar(TUESDAY, 50.0))
        assert outcome.daily == MergeResult(0, 1, 0)
        assert outcome.rejected == {}
        assert days(warehouse) == [self.EXPECTED]

    @pytest.mark.slow_on_bigquery
    def test_hours_delivered_after_their_day_leave_it(self, stored: StoredBars, warehouse: Warehouse) -> None:
        add(stored, bar(TUESDAY, 50.0))
        outcome = add(stored, at(1), at(2))
        assert (outcome.daily, outcome.hourly) == (NOTHING, MergeResult(2, 0, 0))
        assert days(warehouse) == [self.EXPECTED]

    def test_what_is_read_back_gives_the_sessions_of_what_was_delivered(self, stored: StoredBars) -> None:
        rows = [*calm_days(TUESDAY.date(), 5), at(1), at(15), bar(TUESDAY, 900.0, vendor_symbol="ZS.v.0")]
        add(stored, *rows)
        bars = accepted(rows)
        expected = build_sessions(bars, daily_bars(bars)).sessions
        assert build_sessions(stored.hourly(), stored.daily()).sessions.equals(expected)


class TestCorrections:
    """A delivered bar that says otherwise than the stored one, once corrections are accepted."""

    def test_the_delivered_day_stands_and_the_replaced_one_is_quarantined(
        self, stored: StoredBars, warehouse: Warehouse
    ) -> None:
        add(stored, bar(TUESDAY, 4_000.0), bar(TUESDAY + timedelta(days=1), 41.0))
        outcome = add(stored, bar(TUESDAY, 40.0), bar(TUESDAY + timedelta(days=1), 41.0), corrections=True)
        assert outcome.daily == MergeResult(0, 1, 1)
        assert outcome.rejected == {"replaced_by_correction": 1}
        assert [row[2] for row in days(warehouse)] == [40.0, 41.0]
        (original,) = warehouse.read(f"SELECT original FROM {QUARANTINE}")["original"].to_list()
        assert '"close":4000.0' in original

    @pytest.mark.slow_on_bigquery
    def test_the_day_of_a_corrected_hour_is_aggregated_anew(self, stored: StoredBars, warehouse: Warehouse) -> None:
        add(stored, at(1, 40.0), at(2, 4_100.0))
        outcome = add(stored, at(2, 41.0), corrections=True)
        assert (outcome.hourly, outcome.daily) == (MergeResult(0, 1, 0), MergeResult(0, 1, 0))
        assert days(warehouse) == [("ZL", TUESDAY.date(), 40.0, 41.5, 39.5, 41.0, 4_000, "1h")]
        assert reasons(warehouse) == ["replaced_by_correction"]

    @pytest.mark.slow_on_bigquery
    def test_a_correction_of_a_correction_keeps_both_replaced_bars(
        self, stored: StoredBars, warehouse: Warehouse
    ) -> None:
        for price in (4_000.0, 400.0, 40.0):
            add(stored, bar(TUESDAY, price, provenance_uuid=f"file of {price}"), corrections=True)
        assert [row[2] for row in days(warehouse)] == [40.0]
        assert reasons(warehouse) == ["replaced_by_correction"] * 2

    @pytest.mark.slow_on_bigquery
    def test_bars_that_agree_are_left_alone(self, stored: StoredBars) -> None:
        add(stored, *calm_days(TUESDAY.date(), 3), at(1))
        outcome = add(stored, *calm_days(TUESDAY.date(), 3), at(1), now=LATER, corrections=True)
        assert (outcome.daily, outcome.hourly, outcome.quarantine) == (
            MergeResult(0, 0, 3),
            MergeResult(0, 0, 1),
            NOTHING,
        )


class TestContradictions:
    def test_a_daily_bar_that_contradicts_the_stored_one_is_quarantined_and_the_stored_one_stays(
        self, stored: StoredBars, warehouse: Warehouse
    ) -> None:
        add(stored, bar(TUESDAY, 50.0))
        before = days(warehouse)
        outcome = add(stored, bar(TUESDAY, 51.0, provenance_uuid="other"), bar(day(2015, 3, 11), 52.0))
        assert outcome.rejected == {"contradicts_stored_bar": 1}
        assert days(warehouse)[:1] == before
        assert len(days(warehouse)) == 2
        assert reasons(warehouse) == ["contradicts_stored_bar"]

    @pytest.mark.slow_on_bigquery
    def test_so_is_an_hour_and_the_day_is_built_without_it(self, stored: StoredBars, warehouse: Warehouse) -> None:
        add(stored, at(1, 40.0), at(2, 41.0))
        outcome = add(stored, at(2, 70.0), at(3, 42.0))
        assert outcome.rejected == {"contradicts_stored_bar": 1}
        assert days(warehouse) == [("ZL", TUESDAY.date(), 40.0, 42.5, 39.5, 42.0, 6_000, "1h")]

    @pytest.mark.slow_on_bigquery
    def test_rejected_rows_are_kept_once_with_their_reason(self, stored: StoredBars, warehouse: Warehouse) -> None:
        rows = [bar(TUESDAY), bar(TUESDAY, vendor_symbol="ZS.v.0", volume=0), bar(TUESDAY, vendor_symbol="YM.v.0")]
        first, again = add(stored, *rows), add(stored, *rows, now=LATER)
        assert first.rejected == again.rejected == {"volume_not_positive": 1}
        assert first.not_followed == {"YM.v.0": 1}
        kept = warehouse.read(f"SELECT symbol, stage, ingest_timestamp FROM {QUARANTINE}")
        assert kept.rows() == [("ZS.v.0", "vendor_bars", NOW)]


class TestTwoWorlds:
    @pytest.mark.slow_on_bigquery
    def test_simulated_bars_are_refused_where_real_ones_are_stored(
        self, stored: StoredBars, warehouse: Warehouse
    ) -> None:
        add(stored, bar(TUESDAY, 50.0))
        before = days(warehouse)
        with pytest.raises(InputError, match="holds real bars"):
            add(stored, *[simulated(b) for b in calm_days(TUESDAY.date(), 3)])
        assert days(warehouse) == before
        assert stored.has_real_bars()

    def test_real_bars_replace_everything_that_was_simulated(self, stored: StoredBars, warehouse: Warehouse) -> None:
        rows = [simulated(b) for b in [*calm_days(TUESDAY.date(), 30, 99.0), at(1, 99.0)]]
        zs = simulated(bar(TUESDAY, 900.0, vendor_symbol="ZS.v.0", volume=0))
        add(stored, *rows, zs)
        assert not stored.has_real_bars()
        sessions = build_sessions(stored.hourly(), stored.daily()).sessions
        warehouse.merge(SESSIONS, sessions.with_columns(ingest_timestamp=pl.lit(NOW)))
        assert reasons(warehouse) == ["volume_not_positive"]

        add(stored, bar(TUESDAY, 50.0))
        assert days(warehouse) == [("ZL", TUESDAY.date(), 50.0, 50.5, 49.5, 50.0, 40_000, "1d")]
        for table in (DAILY, HOURLY, SESSIONS, QUARANTINE):
            sql = f"SELECT COUNT(*) AS n FROM {table} WHERE source = 'simulated'"
            assert warehouse.read(sql).item() == 0, table
        assert stored.has_real_bars()

    def test_tables_that_hold_market_rows_say_from_which_world(self) -> None:
        downstream = ["features.daily_ml_matrix", "predictions.zl_forecasts", SESSIONS, DAILY, HOURLY, QUARANTINE]
        downstream += [f"training.zl_training_prod_allhistory_{h}" for h in ("1w", "12m")]
        for name in downstream:
            assert {"source", "is_simulated"} & {c.name for c in contract(name).columns}, name

    @pytest.mark.slow_on_bigquery
    def test_a_delivery_of_both_worlds_is_refused(self, stored: StoredBars, warehouse: Warehouse) -> None:
        with pytest.raises(InputError, match="mixes simulated and real"):
            add(stored, bar(TUESDAY), simulated(bar(day(2015, 3, 11))))
        assert days(warehouse) == []

    @pytest.mark.slow_on_bigquery
    def test_a_real_delivery_without_zl_is_refused_and_the_simulated_market_stays(
        self, stored: StoredBars, warehouse: Warehouse
    ) -> None:
        add(stored, *[simulated(b) for b in calm_days(TUESDAY.date(), 3)])
        before = days(warehouse)
        with pytest.raises(VendorFileError, match=r"no usable bar of ZL \(1 rows volume_not_positive\)"):
            add(stored, bar(TUESDAY, vendor_symbol="ZS.v.0"), bar(TUESDAY, volume=0))
        assert days(warehouse) == before
        assert reasons(warehouse) == ["volume_not_positive"]


class TestNewest:
    def test_the_newest_zl_bar_of_the_vendor_by_kind(self, stored: StoredBars) -> None:
        assert stored.newest() == {}
        add(stored, bar(TUESDAY), bar(day(2015, 3, 12), vendor_symbol="ZS.v.0"))
        assert stored.newest() == {"ohlcv-1d": TUESDAY.date()}
        add(stored, hour(datetime(2015, 3, 11, 4, tzinfo=UTC)))
        assert stored.newest()["ohlcv-1h"] == day(2015, 3, 11).date()

    @pytest.mark.slow_on_bigquery
    def test_simulated_bars_do_not_count(self, stored: StoredBars) -> None:
        add(stored, simulated(bar(TUESDAY)))
        assert stored.newest() == {}


@pytest.mark.slow_on_bigquery
def test_no_delivery_changes_nothing(stored: StoredBars, warehouse: Warehouse) -> None:
    stored.store(delivered([bar(TUESDAY)]), NOW)
    before = days(warehouse)
    assert stored.store(None, LATER) == StoreOutcome()
    assert days(warehouse) == before
