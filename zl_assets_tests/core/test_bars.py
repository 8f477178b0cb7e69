"""The rules of a single vendor bar, and how deliveries become one bar a period."""

import json
import math
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.bars import (
    BAR_SCHEMA,
    DAILY,
    HOURLY,
    VALUES,
    daily_bars,
    quarantine_rows,
    sort_out,
    without_conflicts,
)
from zl_assets_tests.made_bars import NOW, accepted, bar, calm_days, day, hour, vendor
from zl_assets_tests.real_bars import real_zl

TUESDAY = day(2015, 3, 10)
NAN, INFINITE = math.nan, math.inf

BROKEN = {
    "unknown_symbol": {"vendor_symbol": "QQQ.v.0"},
    "unknown_record_type": {"rtype": 33},
    "no_utc_timestamp": {"ts_event": None},
    "not_a_number": {"close": None},
    "infinite_price": {"high": INFINITE},
    "price_not_positive": {"open": 0.0, "high": 40.0, "low": 0.0, "close": 39.0},
    "volume_not_positive": {"volume": 0},
    "high_below_low": {"high": 39.0, "low": 41.0},
    "open_or_close_outside_range": {"high": 39.9, "low": 39.0},
    "before_1990": {"ts_event": day(1989, 12, 29)},
    "in_the_future": {"ts_event": NOW},
    "not_at_utc_midnight": {"ts_event": TUESDAY + timedelta(hours=1)},
    "not_on_the_hour": {"rtype": HOURLY, "ts_event": TUESDAY + timedelta(minutes=30)},
    "no_contract_id": {"instrument_id": None},
}


def reasons(*rows: dict) -> list[str]:
    return sort_out(vendor(list(rows)), NOW).rejected["reason"].to_list()


@pytest.mark.parametrize("reason", BROKEN)
def test_a_bar_that_breaks_a_rule_is_rejected_by_its_name_and_the_others_go_on(reason: str) -> None:
    sorted_out = sort_out(vendor([bar(day(2015, 3, 9)), bar(TUESDAY) | BROKEN[reason]]), NOW)
    assert sorted_out.rejected["reason"].to_list() == [reason]
    assert sorted_out.bars["ts_event"].to_list() == [day(2015, 3, 9)]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"vendor_symbol": None}, "unknown_symbol"),
        ({"vendor_symbol": "ZL"}, "unknown_symbol"),
        ({"vendor_symbol": "ZLZ5"}, "unknown_symbol"),
        ({"vendor_symbol": ""}, "unknown_symbol"),
        ({"rtype": None}, "unknown_record_type"),
        ({"volume": None}, "not_a_number"),
        ({"open": NAN}, "not_a_number"),
        ({"low": -1.0, "open": 1.0}, "price_not_positive"),
        ({"low": -INFINITE}, "infinite_price"),
        ({"volume": -5}, "volume_not_positive"),
        ({"low": 40.1}, "open_or_close_outside_range"),
        ({"publisher_id": None}, "no_contract_id"),
    ],
)
def test_variants_of_a_broken_rule(values: dict, reason: str) -> None:
    assert reasons(bar(TUESDAY) | values) == [reason]


def test_a_bar_that_is_not_over_yet_is_from_the_future() -> None:
    now = datetime(2015, 3, 10, 12, tzinfo=UTC)
    bars = vendor([bar(TUESDAY), hour(TUESDAY + timedelta(hours=11)), hour(TUESDAY + timedelta(hours=12))])
    sorted_out = sort_out(bars, now)
    assert sorted_out.bars["ts_event"].to_list() == [TUESDAY + timedelta(hours=11)]
    assert set(sorted_out.rejected["reason"]) == {"in_the_future"}


def test_products_and_roll_rules_that_nobody_reads_are_counted_and_not_rejected() -> None:
    rows = [bar(TUESDAY), bar(TUESDAY, vendor_symbol="ZL.c.0"), bar(TUESDAY, vendor_symbol="YM.v.0")]
    sorted_out = sort_out(vendor([*rows, rows[-1]]), NOW)
    assert sorted_out.not_followed == {"YM.v.0": 2, "ZL.c.0": 1}
    assert sorted_out.rejected.is_empty()
    assert sorted_out.bars["symbol"].to_list() == ["ZL"]


def test_identical_repeats_of_overlapping_files_count_once() -> None:
    sorted_out = sort_out(vendor([bar(TUESDAY), bar(TUESDAY, source_file="other.csv", provenance_uuid="o")]), NOW)
    assert sorted_out.bars.height == 1
    assert sorted_out.rejected.is_empty()


def test_two_different_bars_of_one_period_are_both_rejected() -> None:
    sorted_out = sort_out(vendor([bar(TUESDAY), bar(TUESDAY, volume=39_999), bar(day(2015, 3, 11))]), NOW)
    assert sorted_out.rejected["reason"].to_list() == ["two_different_bars"] * 2
    assert sorted_out.bars["ts_event"].to_list() == [day(2015, 3, 11)]


def test_the_publisher_tells_simulated_bars_from_real_ones() -> None:
    bars = accepted([bar(TUESDAY), bar(TUESDAY, vendor_symbol="ZS.v.0", publisher_id=0)])
    assert dict(bars.select("symbol", "source").iter_rows()) == {"ZL": "databento", "ZS": "simulated"}


rows_of_any_kind = st.lists(
    st.fixed_dictionaries(
        {
            "ts_event": st.sampled_from([None, TUESDAY, day(2015, 3, 11), TUESDAY + timedelta(hours=5), NOW]),
            "rtype": st.sampled_from([DAILY, HOURLY, 1, None]),
            "publisher_id": st.sampled_from([0, 1, None]),
            "volume": st.sampled_from([1, 500, 0, None]),
            "close": st.sampled_from([40.0, 40.2, 0.0, NAN, None, INFINITE]),
            "vendor_symbol": st.sampled_from(["ZL.v.0", "ZS.v.0", "ZL.n.0", "YM.v.0", "ZL", None]),
        }
    ),
    max_size=12,
)


@given(rows=rows_of_any_kind, data=st.data())
@settings(max_examples=60)
def test_every_row_is_accepted_repeated_rejected_or_unwanted_in_any_order(
    rows: list[dict], data: st.DataObject
) -> None:
    frame = vendor([bar(TUESDAY) | row for row in rows])
    once = sort_out(frame, NOW)
    accounted = once.rejected.height + sum(once.not_followed.values())
    repeats = frame.height - accounted - once.bars.height
    distinct = once.bars.unique(["symbol", "rtype", "ts_event"]).height
    assert distinct == once.bars.height
    assert 0 <= repeats <= frame.height
    assert (once.bars["high"] >= once.bars["low"]).all()

    order = data.draw(st.permutations(range(frame.height)))
    again = sort_out(frame[list(order)], NOW)
    values = ["symbol", "rtype", "ts_event", *VALUES]
    assert again.bars.select(values).equals(once.bars.select(values))
    assert sorted(again.rejected["reason"]) == sorted(once.rejected["reason"])

    settled = sort_out(once.bars.select(list(BAR_SCHEMA)), NOW)
    assert settled.bars.equals(once.bars)
    assert settled.rejected.is_empty()


def test_hours_become_the_bar_of_their_utc_day() -> None:
    hours = accepted(
        [
            hour(TUESDAY, 40.0, open=39.0, low=38.0, volume=5),
            hour(TUESDAY + timedelta(hours=23), 42.0, close=41.75, high=43.0, volume=7),
            hour(TUESDAY + timedelta(hours=24), 50.0, volume=9),
        ]
    )
    built = daily_bars(hours).select("ts_event", "open", "high", "low", "close", "volume", "rtype", "built_from")
    assert built.rows() == [
        (TUESDAY, 39.0, 43.0, 38.0, 41.75, 12, DAILY, "1h"),
        (day(2015, 3, 11), 50.0, 50.5, 49.5, 50.0, 9, DAILY, "1h"),
    ]


def test_a_delivered_daily_bar_stands_before_an_aggregated_one() -> None:
    built = daily_bars(accepted([bar(TUESDAY, 40.0), hour(TUESDAY, 41.0), hour(TUESDAY, 9.0, vendor_symbol="ZS.v.0")]))
    assert built.select("symbol", "close", "built_from").rows() == [("ZL", 40.0, "1d"), ("ZS", 9.0, "1h")]


@pytest.mark.parametrize("column", VALUES)
def test_a_new_bar_that_differs_from_the_stored_one_in_any_value_is_set_aside(column: str) -> None:
    stored = accepted(calm_days(TUESDAY.date(), 2))
    changed = stored.with_columns(pl.when(pl.int_range(pl.len()) == 1).then(pl.col(column) + 1).otherwise(column))
    kept, conflicting = without_conflicts(changed, stored.select("symbol", "ts_event", *VALUES))
    assert kept["ts_event"].to_list() == [TUESDAY]
    assert conflicting.select("ts_event", "reason").rows() == [(day(2015, 3, 11), "contradicts_stored_bar")]


def test_new_periods_and_repeats_do_not_contradict() -> None:
    new = accepted(calm_days(TUESDAY.date(), 3))
    kept, conflicting = without_conflicts(new, new.head(1).select("symbol", "ts_event", *VALUES))
    assert kept.equals(new)
    assert conflicting.is_empty()


def test_a_quarantined_row_carries_its_reason_and_the_original() -> None:
    delivered = '{"close":"abc"}'
    rejected = sort_out(vendor([bar(TUESDAY, close=None, original=delivered), bar(TUESDAY, volume=0)]), NOW).rejected
    rows = quarantine_rows(rejected, "vendor_bars", NOW)
    assert rows["reason"].to_list() == ["not_a_number", "volume_not_positive"]
    assert rows["original"][0] == delivered
    typed = json.loads(rows["original"][1])
    assert (typed["volume"], typed["close"], typed["vendor_symbol"]) == (0, 40.0, "ZL.v.0")
    assert rows["observed_date"].to_list() == [TUESDAY.date()] * 2
    assert rows["quarantine_id"].is_unique().all()


def test_a_row_rejected_twice_is_one_row_in_quarantine() -> None:
    rejected = sort_out(vendor([bar(TUESDAY, volume=0)]), NOW).rejected
    assert quarantine_rows(pl.concat([rejected, rejected]), "vendor_bars", NOW).height == 1


@pytest.mark.realdata
def test_the_daily_file_is_the_hourly_file_by_utc_day(real_data) -> None:
    zl = real_zl(real_data)
    values = ["symbol", "ts_event", *VALUES]
    assert daily_bars(zl.hourly).select(values).equals(zl.daily.select(values))
    assert zl.daily.height == 3944
