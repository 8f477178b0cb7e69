"""Rows of raw series: what is rejected, what waits, what is a revision; and nothing depends on what comes later."""

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.raw_series import SHAPES, quarantine_rows, revisions, sort_out, without_foreign_range
from zl_assets.warehouse.contracts import contract, contracts

NOW = datetime(2024, 6, 28, 22, tzinfo=UTC)
MOMENT = pl.Datetime("us", "UTC")
START = date(2024, 1, 1)


def frame(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Delivered rows: text is filled in, and what is not said is null."""
    schema = dict(contract(f"raw_intelligence.{table}").polars_schema())
    del schema["ingest_timestamp"]
    text = {n: "x" for n, k in schema.items() if k == pl.String} | {"frequency": "D", "harvest_year": 2024}
    given_text = {n: v for n, v in text.items() if n in schema}
    return pl.DataFrame([dict.fromkeys(schema) | given_text | row for row in rows], schema=schema)


def rates(values: list[float], first: date = START, **more: Any) -> pl.DataFrame:
    """Rates of one pair, one a calendar day."""
    days = [{"observed_date": first + timedelta(days=n), "rate": v} for n, v in enumerate(values)]
    return frame("fx_daily", [{"pair": "USDMYR", "source": "bulk_csv", **row, **more} for row in days])


def reasons(table: str, row: dict[str, Any]) -> list[str]:
    """Why a row is rejected, if it is."""
    return sort_out(table, frame(table, [{"observed_date": date(2024, 5, 1), **row}]), NOW).rejected["reason"].to_list()


def test_every_table_of_raw_series_has_a_shape_of_its_contract() -> None:
    raw = {n.split(".")[1]: c for n, c in contracts().items() if n.startswith("raw_intelligence.")}
    assert set(SHAPES) == set(raw) - {"quarantine"}
    for table, shape in SHAPES.items():
        names = {c.name for c in raw[table].columns}
        known = {*shape.series, *shape.values, "observed_date", "available_at", "vintage"}
        assert known | {"ingest_timestamp", "provenance_uuid"} == names, table
        assert {*shape.series, "observed_date", "available_at"} == set(raw[table].keys), table


@pytest.mark.parametrize(
    ("table", "row", "reason"),
    [
        ("fx_daily", {"rate": 0.0}, "not_positive"),
        ("fx_daily", {"rate": math.nan}, "not_finite"),
        ("fx_daily", {"rate": math.inf}, "not_finite"),
        ("fx_daily", {"rate": 1.0, "pair": None}, "no_date_or_name"),
        ("fx_daily", {"rate": 1.0, "observed_date": None}, "no_date_or_name"),
        ("fx_daily", {"rate": 1.0, "observed_date": date(2024, 7, 1)}, "in_the_future"),
        ("treasury_daily", {"close": -5.5}, "out_of_bounds"),
        ("fred_economic", {"series_id": "DGS10", "value": -6.0}, "out_of_bounds"),
        ("fred_economic", {"series_id": "CPIAUCSL", "value": 3215.0}, "out_of_bounds"),
        ("fred_economic", {"series_id": "VIXCLS", "value": 450.0}, "out_of_bounds"),
        ("fred_economic", {"series_id": "DGS10", "value": 42.5}, "out_of_bounds"),
        ("fred_economic", {"series_id": "UNRATE", "value": 42.0}, "out_of_bounds"),
        ("fred_economic", {"series_id": "DCOILWTICO", "value": 6400.0}, "out_of_bounds"),
        ("volatility_daily", {"series_id": "VIX", "close": 450.0}, "out_of_bounds"),
        ("cftc_positioning", {"open_interest": 400e3, "commercial_long": 4e6}, "position_above_open_interest"),
        ("cftc_positioning", {"open_interest": 400e3, "managed_money_short": 401e3}, "position_above_open_interest"),
        ("weather_daily", {"tmin_c": 9.0, "tmax_c": 8.0}, "minimum_above_maximum"),
        ("weather_daily", {"precip_mm": -0.1}, "out_of_bounds"),
        ("usda_crop_progress", {"value_pct": 100.5}, "out_of_bounds"),
        ("cftc_positioning", {"open_interest": -1.0}, "out_of_bounds"),
        ("vendor_prices_daily", {"symbol": "ZL=F", "close": -1.0}, "not_positive"),
        ("vendor_prices_daily", {"symbol": "ZL=F", "high": 1.0, "low": 2.0, "close": 1.5}, "high_below_low"),
        ("biofuel", {"item": "rfs_mandate_total", "observed_date": date(2009, 1, 1), "value": 1.0},
         "publication_date_unknown"),
        ("policy_events", {"soybean_relevance": -1.0}, "out_of_bounds"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_rejected_with_its_reason(table: str, row: dict[str, Any], reason: str) -> None:
    assert reasons(table, row) == [reason]


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("treasury_daily", {"close": -0.3}),
        ("fred_economic", {"series_id": "DCOILWTICO", "value": -36.98}),
        ("fred_economic", {"series_id": "A_SERIES_OF_ONES_OWN", "value": -1e12}),
        ("volatility_daily", {"series_id": "VIX", "close": 82.69}),
        ("cftc_positioning", {"open_interest": 400e3, "commercial_long": 400e3, "commercial_short": 0.0}),
        ("cftc_positioning", {"commercial_long": 4e3}),
        ("vendor_prices_daily", {"symbol": "CL=F", "close": -37.63}),
        ("weather_daily", {"tmin_c": -30.0, "tmax_c": -30.0, "precip_mm": 0.0}),
        ("usda_crop_progress", {"value_pct": 100.0}),
        ("biofuel", {"item": "rfs_mandate_total", "observed_date": date(2025, 1, 1), "value": 1.0}),
    ],
)
def test_what_looks_odd_and_is_real_stays(table: str, row: dict[str, Any]) -> None:
    done = sort_out(table, frame(table, [{"observed_date": date(2024, 5, 1), **row}]), NOW)
    assert (done.rows.height, done.rejected.height, done.left_alone) == (1, 0, {})


def test_a_row_without_a_value_is_no_row_and_one_not_public_yet_waits() -> None:
    done = sort_out("fx_daily", pl.concat([rates([1.0]), rates([1.0], NOW.date() + timedelta(0), rate=None)]), NOW)
    assert (done.rows.height, done.left_alone) == (1, {"no_value": 1})
    early = NOW.replace(hour=20)
    waiting = sort_out("fx_daily", rates([1.0], NOW.date()), early)
    assert (waiting.rows.height, waiting.left_alone) == (0, {"not_public_yet": 1})


def test_repeats_count_once_and_contradictions_are_both_rejected() -> None:
    once = sort_out("fx_daily", pl.concat([rates([4.0]), rates([4.0])]), NOW)
    assert (once.rows.height, once.rejected.height) == (1, 0)
    both = sort_out("fx_daily", pl.concat([rates([4.0]), rates([4.1])]), NOW)
    assert (both.rows.height, both.rejected["reason"].to_list()) == (0, ["two_different_values"] * 2)


CALM = [4.0 + 0.004 * math.sin(n) for n in range(80)]


def test_a_spike_that_is_undone_is_rejected_and_leaves_a_hole() -> None:
    done = sort_out("fx_daily", rates([*CALM, 4.3, 4.0, 4.001]), NOW)
    assert done.rejected.select("reason", "rate").rows() == [("spike_undone_by_the_next_value", 4.3)]
    assert START + timedelta(days=80) not in set(done.rows["observed_date"])
    assert done.rows.height == len(CALM) + 2


def test_a_large_move_that_stays_counts_from_the_day_that_confirms_it() -> None:
    done = sort_out("fx_daily", rates([*CALM, 4.3, 4.31]), NOW).rows.sort("observed_date")
    moments = done["available_at"].to_list()
    assert moments[80] == moments[81]
    assert moments[:80] == sorted(set(moments[:80]))


def test_the_newest_large_move_waits_for_the_next_value() -> None:
    done = sort_out("fx_daily", rates([*CALM, 4.3]), NOW)
    assert (done.rows.height, done.rejected.height, done.left_alone) == (80, 0, {"move_not_confirmed_yet": 1})


def test_stored_rows_tell_how_much_a_series_moves() -> None:
    stored = sort_out("fx_daily", rates(CALM), NOW).rows
    new = rates([4.3, 4.0], START + timedelta(days=80))
    assert sort_out("fx_daily", new, NOW).rejected.height == 0
    assert sort_out("fx_daily", new, NOW, stored).rejected["rate"].to_list() == [4.3]


def monthly(series_id: str, values: list[float], first: int = 1, **more: Any) -> pl.DataFrame:
    """Observations of a FRED series, one a month of 2023 from `first` on."""
    days = [{"observed_date": date(2023, first + n, 1), "value": v} for n, v in enumerate(values)]
    return frame("fred_economic", [{"series_id": series_id, "frequency": "M", **d, **more} for d in days])


@pytest.mark.parametrize(
    ("series_id", "values", "leaps"),
    [
        ("CPIAUCSL", [300.0, 301.0, 361.0, 302.0, 303.0], [361.0]),
        ("CPIAUCSL", [300.0, 306.0, 300.6], []),
        ("CPIAUCSL", [300.0, 301.0, 3015.0, 302.0], []),
        ("UNRATE", [3.5, 4.4, 14.8, 13.2], []),
        ("UNRATE", [3.5, 34.0, 3.6], [34.0]),
        ("PPOILUSDM", [400.0, 4000.0, 410.0], [4000.0]),
        ("FEDFUNDS", [5.3, 0.53, 5.3], []),
        ("DFEDTARU", [5.5, 20.5], []),
        ("CPIAUCSL", [300.0, 100.0, 100.2, 100.3], [100.0]),
    ],
)
def test_a_leap_of_a_slow_series_leaves_a_hole(series_id: str, values: list[float], leaps: list[float]) -> None:
    done = sort_out("fred_economic", monthly(series_id, values), NOW)
    found = done.rejected.filter(pl.col("reason") == "leap_from_the_value_before")
    assert found["value"].to_list() == leaps
    assert done.rows.height + done.rejected.height == len(values)
    assert 3015.0 not in done.rows["value"].to_list()


def test_a_step_of_a_policy_rate_within_a_day_is_limited() -> None:
    days = [{"observed_date": START + timedelta(days=n), "value": v} for n, v in enumerate([5.5, 4.5, 15.5, 4.5])]
    target = frame("fred_economic", [{"series_id": "DFEDTARU", **d} for d in days])
    assert sort_out("fred_economic", target, NOW).rejected["value"].to_list() == [15.5]


def test_a_leap_from_what_is_stored_is_seen_and_a_hole_widens_what_is_possible() -> None:
    stored = sort_out("fred_economic", monthly("CPIAUCSL", [300.0, 301.0]), NOW).rows
    next_month, later = (monthly("CPIAUCSL", [315.0], month) for month in (3, 5))
    assert sort_out("fred_economic", next_month, NOW).rejected.is_empty()
    assert sort_out("fred_economic", next_month, NOW, stored).rejected["reason"].to_list() == [
        "leap_from_the_value_before"
    ]
    assert sort_out("fred_economic", later, NOW, stored).rejected.is_empty()


def test_an_index_on_a_new_base_is_no_leap() -> None:
    old, new = (
        {"available_at": datetime(2024, month, 1, tzinfo=UTC), "vintage": date(2024, month, 1)} for month in (1, 2)
    )
    first, rebased = [300.0, 301.0, 302.0], [100.0, 100.3, 100.7, 101.0]
    vintages = pl.concat([monthly("CPIAUCSL", first, **old), monthly("CPIAUCSL", rebased, **new)])
    done = sort_out("fred_economic", vintages, NOW)
    assert (done.rows.height, done.rejected.height) == (7, 0)
    stored = sort_out("fred_economic", monthly("CPIAUCSL", first), NOW).rows
    assert sort_out("fred_economic", monthly("CPIAUCSL", rebased), NOW, stored).rejected.is_empty()


def test_shares_may_crash_and_recover() -> None:
    days = [{"observed_date": START + timedelta(days=n), "close": v} for n, v in enumerate([*CALM, 3.6, 4.0])]
    for symbol, rejected in (("^GSPC", 0), ("ZS=F", 1)):
        prices = frame("vendor_prices_daily", [{"symbol": symbol, **d} for d in days])
        assert sort_out("vendor_prices_daily", prices, NOW).rejected.height == rejected


@settings(max_examples=40)
@given(data=st.data())
def test_later_values_never_change_what_was_known(data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.sampled_from([0.001, -0.001, 0.002, -0.002, 0.05, -0.05]), min_size=60, max_size=110))
    values = [4.0 * math.exp(sum(steps[:n])) for n in range(len(steps))]
    cut = data.draw(st.integers(30, len(values)))
    then = datetime.combine(START + timedelta(days=cut), datetime.min.time(), UTC)
    whole = sort_out("fx_daily", rates(values), NOW).rows.filter(pl.col("available_at") <= then)
    assert whole.equals(sort_out("fx_daily", rates(values).filter(pl.col("observed_date") < then.date()), then).rows)


def test_a_range_that_does_not_hold_the_close_is_left_out() -> None:
    row = {"observed_date": START, "open": 10.0, "high": 11.0, "low": 9.0}
    prices = frame("vendor_prices_daily", [{**row, "close": 12.0}, {**row, "close": 11.0}])
    kept = without_foreign_range(prices).select("open", "high", "low", "close").rows()
    assert kept == [(None, None, None, 12.0), (10.0, 11.0, 9.0, 11.0)]


def stored_of(rows: pl.DataFrame) -> pl.DataFrame:
    shape = SHAPES["fx_daily"]
    return rows.select(*shape.series, "observed_date", "available_at", *shape.values)


def test_an_equal_value_is_not_stored_again() -> None:
    first = sort_out("fx_daily", rates([4.0, 4.1]), NOW).rows
    nothing = stored_of(first).clear()
    new = revisions("fx_daily", first, nothing, NOW)
    assert new.drop("ingest_timestamp").equals(first)
    assert new["ingest_timestamp"].to_list() == [NOW] * 2
    assert revisions("fx_daily", first, stored_of(new), NOW + timedelta(days=3)).is_empty()


def test_a_changed_value_is_a_row_of_its_own_from_the_moment_it_came() -> None:
    later, latest = NOW + timedelta(days=3), NOW + timedelta(days=5)
    store = stored_of(sort_out("fx_daily", rates([4.0, 4.1]), NOW).rows)
    changed = revisions("fx_daily", sort_out("fx_daily", rates([4.0, 4.2]), later).rows, store, later)
    assert changed.select("rate", "available_at", "vintage").rows() == [(4.2, later, later.date())]
    store = pl.concat([store, stored_of(changed)])
    assert revisions("fx_daily", sort_out("fx_daily", rates([4.0, 4.2]), latest).rows, store, latest).is_empty()
    back = revisions("fx_daily", sort_out("fx_daily", rates([4.0, 4.1]), latest).rows, store, latest)
    assert back.select("rate", "available_at").rows() == [(4.1, latest)]


def test_a_vintage_of_the_vendor_keeps_its_own_moment() -> None:
    store = stored_of(sort_out("fx_daily", rates([4.0]), NOW).rows)
    said = {"available_at": datetime(2024, 2, 1, tzinfo=UTC), "vintage": date(2024, 2, 1)}
    vintage = rates([4.5], **said)
    new = revisions("fx_daily", vintage, store, NOW)
    assert new.select("rate", "available_at", "vintage").rows() == [(4.5, *said.values())]
    known = pl.concat([store, stored_of(new)])
    assert revisions("fx_daily", vintage, known, NOW).is_empty()
    rewritten = revisions("fx_daily", rates([4.6], **said), known, NOW)
    assert rewritten.select("rate", "available_at").rows() == [(4.6, NOW)]


def test_the_same_rejected_row_has_one_id_whatever_file_it_came_in() -> None:
    ids: set[str] = set()
    for file in ("one", "two"):
        rejected = sort_out("fx_daily", rates([0.0], provenance_uuid=file), NOW).rejected
        [row] = quarantine_rows("fx_daily", rejected, "series_files", NOW).to_dicts()
        assert (row["stage"], row["reason"], row["symbol"]) == ("series", "not_positive", "USDMYR")
        assert '"rate":0.0' in row["original"]
        ids.add(row["quarantine_id"])
    assert len(ids) == 1
    for table in SHAPES:
        nameless = frame(table, [{"observed_date": None, "source": None, SHAPES[table].identity[0]: None}])
        made = quarantine_rows(table, nameless.with_columns(reason=pl.lit("r")), "s", NOW)
        contract("raw_intelligence.quarantine").validated(made)
