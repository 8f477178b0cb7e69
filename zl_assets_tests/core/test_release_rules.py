"""When the public could know a value: worked dates, each from the publisher's own calendar or an announcement."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zl_assets.core.release_rules import federal_closures, public_by, published_ahead, with_available_at
from zl_assets.core.releases import DELAYS, RELEASES
from zl_assets.warehouse.contracts import contract, contracts

TABLES = sorted({rule.table for rule in RELEASES})
MOMENT = pl.Datetime("us", "UTC")


def rows(table: str, days: list[date], **columns: str) -> pl.DataFrame:
    """Rows of a table without a moment."""
    schema = contract(f"raw_intelligence.{table}").polars_schema()
    filled = {name: "x" for name, kind in schema.items() if kind == pl.String} | {"frequency": "D"} | columns
    frame = pl.DataFrame({"observed_date": days}, schema={"observed_date": pl.Date})
    return frame.with_columns(
        *[pl.lit(v).alias(n) for n, v in filled.items()], pl.lit(None, MOMENT).alias("available_at")
    )


def moment(table: str, day: str, **columns: str) -> str:
    """New York time of a release, to the minute; empty where there is none."""
    found = with_available_at(table, rows(table, [date.fromisoformat(day)], **columns))["available_at"].item()
    return found.astimezone(ZoneInfo("America/New_York")).strftime("%Y-%m-%d %H:%M") if found else ""


@pytest.mark.parametrize(
    ("table", "day", "columns", "expected"),
    [
        ("volatility_daily", "2024-03-08", {}, "2024-03-08 16:15"),
        ("treasury_daily", "2024-03-08", {"source": "fred_DGS10"}, "2024-03-11 16:15"),
        ("treasury_daily", "2024-03-08", {"source": "yahoo_^TNX"}, "2024-03-08 16:15"),
        ("treasury_daily", "2024-03-08", {"source": "simulated:yahoo_^TNX"}, "2024-03-08 16:15"),
        ("fred_economic", "2024-08-30", {"series_id": "DGS10"}, "2024-09-03 16:15"),  # Labor Day between
        ("fred_economic", "2024-05-20", {"series_id": "DTWEXBGS"}, "2024-05-28 16:15"),  # Monday, then Memorial Day
        ("fred_economic", "2024-05-17", {"series_id": "DEXBZUS"}, "2024-05-20 16:15"),
        ("fred_economic", "2024-05-10", {"series_id": "DCOILWTICO"}, "2024-05-20 16:15"),
        ("fred_economic", "2024-08-01", {"series_id": "FEDFUNDS", "frequency": "M"}, "2024-09-03 16:15"),
        ("fred_economic", "2024-05-01", {"series_id": "CPIAUCSL", "frequency": "M"}, "2024-06-17 08:30"),
        ("fred_economic", "2015-01-01", {"series_id": "CPIAUCSL", "frequency": "M"}, "2015-02-27 08:30"),
        ("fred_economic", "2025-09-01", {"series_id": "CPIAUCSL", "frequency": "M"}, "2025-10-24 08:30"),
        ("fred_economic", "2024-05-01", {"series_id": "UNRATE", "frequency": "M"}, "2024-06-10 08:30"),
        ("fred_economic", "2013-09-01", {"series_id": "UNRATE", "frequency": "M"}, "2013-10-22 08:30"),
        ("fred_economic", "2024-01-01", {"series_id": "GDPC1", "frequency": "Q"}, "2024-04-30 08:30"),
        ("fred_economic", "2024-05-02", {"series_id": "DFEDTARU"}, "2024-05-02 14:00"),
        ("fred_economic", "2024-05-02", {"series_id": "NEVER_HEARD_OF"}, "2024-05-10 16:15"),
        ("vendor_prices_daily", "2024-05-02", {"symbol": "ZL=F", "source": "yahoo"}, "2024-05-02 15:00"),
        ("vendor_prices_daily", "2024-05-02", {"symbol": "DBA", "source": "yahoo"}, "2024-05-02 17:15"),
        ("vendor_prices_daily", "2024-05-24", {"symbol": "ZLZ25", "source": "barchart"}, "2024-05-28 10:00"),
        ("weather_daily", "2024-05-02", {"station_id": "GHCND:USW00014933"}, "2024-05-05 12:00"),
        ("weather_daily", "2024-05-02", {"station_id": "GHCND:AR000875850"}, "2024-05-12 12:00"),
        ("weather_daily", "2024-05-02", {"source": "open_meteo_era5"}, "2024-05-08 12:00"),
        ("usda_crop_progress", "2024-05-19", {}, "2024-05-20 16:00"),
        ("usda_crop_progress", "2024-05-26", {}, "2024-05-28 16:00"),
        ("usda_export_sales", "2024-05-16", {}, "2024-05-23 08:30"),
        ("usda_export_sales", "2024-05-23", {}, "2024-05-31 08:30"),
        ("usda_export_sales", "2013-10-03", {}, "2013-10-24 08:30"),
        ("biofuel", "2024-01-01", {"item": "soybean_oil_for_biofuel"}, "2024-04-01 16:15"),
        ("biofuel", "2015-01-01", {"item": "rfs_mandate_total"}, "2015-11-30 17:00"),
        ("biofuel", "2020-01-01", {"item": "rfs_mandate_total"}, "2022-06-03 17:00"),
        ("biofuel", "2025-01-01", {"item": "rfs_mandate_total"}, "2023-06-21 17:00"),
        ("biofuel", "2009-01-01", {"item": "rfs_mandate_total"}, ""),
        ("biofuel", "2031-01-01", {"item": "rfs_mandate_total"}, ""),
        ("policy_events", "2025-04-03", {}, "2025-04-03 08:45"),
    ],
)
def test_a_release_is_at_its_moment(table: str, day: str, columns: dict[str, str], expected: str) -> None:
    assert moment(table, day, **columns) == expected


CFTC_RELEASED = {
    "2024-06-11": "2024-06-14",
    "2024-06-18": "2024-06-24",
    "2024-07-02": "2024-07-08",
    "2024-11-26": "2024-12-02",
    "2024-05-28": "2024-05-31",
    "2025-09-30": "2025-11-19",
    "2025-12-30": "2026-01-13",
    "2018-12-24": "2019-02-01",
    "2023-01-31": "2023-02-24",
}


@pytest.mark.parametrize("tuesday", CFTC_RELEASED)
def test_positions_come_out_when_the_commission_said(tuesday: str) -> None:
    assert moment("cftc_positioning", tuesday) == f"{CFTC_RELEASED[tuesday]} 15:30"


def test_positions_taken_on_a_monday_wait_as_those_of_the_tuesday() -> None:
    # A Tuesday holiday: 25 December 2012, with Christmas Eve closed too. Never before the usual Friday.
    assert moment("cftc_positioning", "2012-12-24") >= "2012-12-28 15:30"


def test_winter_and_summer_time_differ_by_an_hour_in_utc() -> None:
    found = with_available_at("volatility_daily", rows("volatility_daily", [date(2024, 1, 5), date(2024, 7, 5)]))
    assert [t.hour for t in found["available_at"].to_list()] == [21, 20]


def test_what_the_vendor_says_stands() -> None:
    said = datetime(2030, 1, 1, tzinfo=UTC)
    frame = rows("volatility_daily", [date(2024, 1, 5)]).with_columns(available_at=pl.lit(said, MOMENT))
    assert with_available_at("volatility_daily", frame)["available_at"].item() == said


def test_every_raw_table_has_a_rule_that_fits_every_row() -> None:
    raw = {n.split(".")[1] for n in contracts() if n.startswith("raw_intelligence.")} - {"quarantine"}
    assert set(TABLES) == raw
    last = {rule.table: rule for rule in RELEASES}
    assert all(rule.where == () for rule in last.values())
    assert {d.table for d in DELAYS} <= raw
    with pytest.raises(ValueError, match="nonsense"):
        with_available_at("nonsense", rows("volatility_daily", []))


@given(day=st.dates(date(1990, 1, 1), date(2035, 12, 31)), table=st.sampled_from(TABLES))
def test_nothing_is_public_before_the_day_it_is_about(day: date, table: str) -> None:
    found = with_available_at(table, rows(table, [day, date(2020, 1, 1)]))
    assert found["available_at"].dt.date()[0] >= day
    # A rule sees a row alone: others beside it change nothing.
    assert found["available_at"][0] == with_available_at(table, rows(table, [day]))["available_at"][0]


@given(day=st.dates(date(2000, 1, 1), date(2029, 12, 31)))
def test_government_reports_come_on_days_it_works(day: date) -> None:
    closed = set(federal_closures().to_list())
    for table, columns in (
        ("fred_economic", {"series_id": "DGS10"}),
        ("cftc_positioning", {}),
        ("usda_export_sales", {}),
    ):
        released = date.fromisoformat(moment(table, day.isoformat(), **columns)[:10])
        assert released.weekday() < 5
        assert released not in closed


def test_what_is_not_public_yet_waits_and_what_has_no_date_is_told_apart() -> None:
    now = datetime(2024, 5, 6, 21, 0, tzinfo=UTC)
    vix = rows("volatility_daily", [date(2024, 5, 3), date(2024, 5, 6), date(2024, 5, 7)])
    public, unknown, waiting = public_by("volatility_daily", vix, now)
    assert (public["observed_date"].to_list(), unknown.height, waiting) == ([date(2024, 5, 3), date(2024, 5, 6)], 0, 1)
    mandates = rows("biofuel", [date(2009, 1, 1), date(2024, 1, 1)], item="rfs_mandate_total")
    public, unknown, waiting = public_by("biofuel", mandates, now)
    assert (public.height, unknown["observed_date"].to_list(), waiting) == (1, [date(2009, 1, 1)], 0)


def test_only_mandates_are_published_ahead() -> None:
    frame = pl.concat([rows("biofuel", [date(2024, 1, 1)], item=i) for i in ("rfs_mandate_total", "other")])
    assert frame.select(ahead=published_ahead("biofuel"))["ahead"].to_list() == [True, False]
    assert (
        not rows("volatility_daily", [date(2024, 1, 1)]).select(published_ahead("volatility_daily")).to_series().any()
    )
