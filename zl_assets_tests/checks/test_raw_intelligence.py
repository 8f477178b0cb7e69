"""Each check of the raw series, and the rows on which it fails."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from zl_assets.assets.market_data import BARS_1D, QUARANTINE
from zl_assets.checks.raw_intelligence import (
    SERIES_CHECKS,
    checks_of,
    evaluate_fresh,
    evaluate_known_in_time,
    evaluate_no_gap,
    raw_series_checks,
)
from zl_assets.warehouse.base import Warehouse
from zl_assets_tests.warehouse.rows import rows_of

DAY = date(2024, 1, 1)
STORED = datetime(2024, 9, 1, tzinfo=UTC)


def fx(days: list[int], pair: str = "USDBRL") -> pl.DataFrame:
    """Rows of a pair on some days after DAY, public in the evening."""
    observed = [DAY + timedelta(days=n) for n in days]
    return pl.DataFrame(
        {
            "pair": pair,
            "source": "yahoo",
            "observed_date": observed,
            "available_at": [datetime.combine(d, datetime.min.time(), UTC) + timedelta(hours=22) for d in observed],
            "ingest_timestamp": STORED,
            "provenance_uuid": "p",
        },
        schema_overrides={"available_at": pl.Datetime("us", "UTC"), "ingest_timestamp": pl.Datetime("us", "UTC")},
    )


@pytest.mark.parametrize("name", ["lineage_complete", "unique", "known_in_time", "fresh", "no_gap", "nothing_rejected"])
def test_each_check_passes_on_sound_rows_and_on_none(name: str) -> None:
    [check] = [c for c in checks_of("fx_daily") if c.name == name]
    rows = fx(list(range(30)))
    assert check.evaluate(rows, DAY + timedelta(days=35), pl.DataFrame()).passed
    assert check.evaluate(rows.clear(), None, pl.DataFrame()).passed
    assert check.blocking == (name not in ("fresh", "no_gap", "nothing_rejected"))


def test_a_row_without_provenance_fails() -> None:
    [check] = [c for c in checks_of("fx_daily") if c.name == "lineage_complete"]
    rows = fx([1, 2]).with_columns(provenance_uuid=pl.lit(None, pl.String))
    assert not check.evaluate(rows, None, pl.DataFrame()).passed


def test_two_rows_of_one_moment_fail_and_a_revision_does_not() -> None:
    [check] = [c for c in checks_of("fx_daily") if c.name == "unique"]
    revised = fx([1]).with_columns(pl.col("available_at") + timedelta(days=3))
    assert check.evaluate(pl.concat([fx([1]), revised]), None, pl.DataFrame()).passed
    assert check.evaluate(pl.concat([fx([1]), fx([1])]), None, pl.DataFrame()).numbers["offending_rows"] == 1


def test_a_value_public_before_its_day_fails() -> None:
    early = fx([1]).with_columns(pl.col("available_at") - timedelta(days=1))
    verdict = evaluate_known_in_time(pl.concat([early, fx([2])]), "fx_daily")
    assert (verdict.passed, verdict.numbers["before_its_day"], verdict.numbers["after_ingestion"]) == (False, 1, 0)


def test_a_mandate_may_be_public_before_its_year() -> None:
    rows = fx([200]).rename({"pair": "item"}).with_columns(pl.col("available_at") - timedelta(days=300))
    assert evaluate_known_in_time(rows.with_columns(item=pl.lit("rfs_mandate_total")), "biofuel").passed
    assert not evaluate_known_in_time(rows.with_columns(item=pl.lit("soybean_oil_for_biofuel")), "biofuel").passed


def test_a_value_stored_before_it_was_public_fails() -> None:
    rows = fx([1]).with_columns(ingest_timestamp=pl.col("available_at") - timedelta(minutes=1))
    verdict = evaluate_known_in_time(rows, "fx_daily")
    assert (verdict.passed, verdict.numbers["after_ingestion"]) == (False, 1)


def test_only_the_series_that_ceased_is_stale() -> None:
    rows = pl.concat([fx(list(range(100))), fx(list(range(70)), "USDARS")])
    verdict = evaluate_fresh(rows, "fx_daily", DAY + timedelta(days=100))
    assert verdict.offenders is not None
    assert verdict.offenders.select("pair", "age_days").rows() == [("USDARS", 31)]
    assert evaluate_fresh(rows, "fx_daily", DAY + timedelta(days=80)).passed


def test_a_weekly_series_has_more_time_than_a_daily_one() -> None:
    weekly, as_of = fx([7 * n for n in range(20)]), DAY + timedelta(days=133 + 35)
    assert evaluate_fresh(weekly, "fx_daily", as_of).passed
    assert not evaluate_fresh(fx(list(range(134))), "fx_daily", as_of).passed
    assert not evaluate_fresh(weekly, "fx_daily", as_of + timedelta(days=6)).passed


def test_a_contract_month_that_expired_is_not_stale() -> None:
    rows = fx(list(range(30))).rename({"pair": "symbol"})
    for symbol, passed in (("ZLZ25", True), ("ZL=F", False)):
        named = rows.with_columns(symbol=pl.lit(symbol))
        assert evaluate_fresh(named, "vendor_prices_daily", DAY + timedelta(days=365)).passed == passed


def test_a_hole_is_told_with_its_ends() -> None:
    verdict = evaluate_no_gap(fx([*range(30), *range(45, 60)]), "fx_daily")
    assert verdict.offenders is not None
    [hole] = verdict.offenders.to_dicts()
    assert (hole["since"], hole["observed_date"], hole["days"]) == (
        DAY + timedelta(days=29),
        DAY + timedelta(days=45),
        16,
    )


def test_holes_are_of_a_series_and_not_between_two() -> None:
    assert evaluate_no_gap(pl.concat([fx(list(range(10))), fx(list(range(60, 70)), "USDARS")]), "fx_daily").passed


def test_winter_is_no_hole_in_the_progress_of_crops() -> None:
    seasons = fx([7 * n for n in range(15)] + [364 + 7 * n for n in range(15)])
    rows = seasons.rename({"pair": "state"}).with_columns(statistic=pl.lit("unknown"))
    assert evaluate_no_gap(rows, "usda_crop_progress").passed


def test_the_checks_run_on_stored_rows(warehouse: Warehouse) -> None:
    warehouse.merge(BARS_1D, rows_of(BARS_1D, 3))
    warehouse.merge("raw_intelligence.fx_daily", rows_of("raw_intelligence.fx_daily", 3))
    found = list(raw_series_checks(warehouse))  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert len(found) == 6 * len(SERIES_CHECKS)
    named = {(f.asset_key.to_user_string(), f.check_name): f.passed for f in found}
    assert named["raw_intelligence/biofuel", "unique"]
    assert named["raw_intelligence/fx_daily", "nothing_rejected"]
    assert named["raw_intelligence/fx_daily", "unique"]


def test_rejected_rows_of_a_series_warn_at_their_own_table(warehouse: Warehouse) -> None:
    rejected = rows_of(QUARANTINE, 2).with_columns(
        stage=pl.Series(["series", "vendor_bars"]), source_file=pl.lit("series_files: fx_daily")
    )
    warehouse.merge(QUARANTINE, rejected)
    found = list(raw_series_checks(warehouse))  # pyright: ignore[reportCallIssue, reportArgumentType]
    failed = [f for f in found if not f.passed]
    assert [(f.asset_key.path[-1], f.check_name) for f in failed] == [("fx_daily", "nothing_rejected")]
    assert "offending_rows = 1" in str(failed[0].description)
