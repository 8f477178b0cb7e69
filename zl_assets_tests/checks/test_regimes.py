"""Checks of the regime sets and the calendar."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from zl_assets.assets.regimes import CALENDAR, WEIGHTS
from zl_assets.checks.regimes import (
    evaluate_calendar_whole,
    evaluate_v0_contiguous,
    evaluate_weights_positive,
    regime_checks,
)
from zl_assets.core.regimes import regime_calendar, regime_weights
from zl_assets.warehouse.base import Warehouse

NOW = datetime(2025, 9, 1, tzinfo=UTC)
REGIMES = regime_weights(NOW)
DAYS = regime_calendar(date(1992, 1, 1), NOW)


def changed(regime: str, **values: object) -> pl.DataFrame:
    here = (pl.col("regime") == regime) & (pl.col("regime_set") == "v0")
    return REGIMES.with_columns(pl.when(here).then(pl.lit(v)).otherwise(c).alias(c) for c, v in values.items())


def test_the_real_sets_pass() -> None:
    verdict = evaluate_v0_contiguous(REGIMES)
    assert verdict.passed
    assert verdict.numbers == {"regimes": 7, "from": "2010-01-01", "to": "2029-12-31"}
    assert evaluate_weights_positive(REGIMES).passed


@pytest.mark.parametrize(
    ("weights", "offenders"),
    [
        (REGIMES.filter(pl.col("regime") != "covid_crash"), ["covid_recovery"]),
        (REGIMES.filter(pl.col("regime") != "trump_term"), []),
        (changed("trade_war", end_date=date(2019, 12, 30)), ["covid_crash"]),
        (changed("trade_war", end_date=date(2020, 1, 1)), ["covid_crash"]),
        (changed("pre_trade_war", start_date=date(2010, 1, 2)), []),
        (changed("trump_term", end_date=date(2029, 12, 30)), []),
        (changed("trump_term", end_date=date(2024, 12, 31)), ["trump_term"]),
        (REGIMES.filter(pl.col("regime_set") != "v0"), []),
        (pl.concat([REGIMES, REGIMES.filter(pl.col("regime") == "covid_crash")]), ["covid_crash"]),
    ],
    ids=["six", "last_gone", "gap", "overlap", "late_start", "early_end", "ends_before_start", "none", "twice"],
)
def test_a_set_that_is_not_seven_contiguous_regimes_fails(weights: pl.DataFrame, offenders: list[str]) -> None:
    verdict = evaluate_v0_contiguous(weights)
    assert not verdict.passed
    assert verdict.offenders["regime"].to_list() == offenders


@pytest.mark.parametrize("weight", [0, -100])
def test_a_weight_that_is_not_positive_fails(weight: int) -> None:
    verdict = evaluate_weights_positive(changed("inflation", weight=weight))
    assert not verdict.passed
    assert verdict.offenders["regime"].to_list() == ["inflation"]


def test_a_whole_calendar_passes_in_any_order() -> None:
    assert evaluate_calendar_whole(DAYS.sample(fraction=1, shuffle=True, seed=1)).passed


@pytest.mark.parametrize(
    "calendar",
    [
        DAYS.filter(pl.col("calendar_date") != date(1991, 5, 5)),
        pl.concat([DAYS, DAYS[[10]]]),
        DAYS[1:],
        DAYS.clear(),
    ],
    ids=["gap", "overlap", "late_start", "empty"],
)
def test_a_calendar_with_a_hole_or_a_day_twice_fails(calendar: pl.DataFrame) -> None:
    assert not evaluate_calendar_whole(calendar).passed


def test_the_checks_read_what_is_stored(warehouse: Warehouse) -> None:
    warehouse.merge(WEIGHTS, REGIMES)
    warehouse.merge(CALENDAR, DAYS)
    assert [(r.check_name, r.passed) for r in regime_checks(warehouse=warehouse)] == [
        ("v0_contiguous", True),
        ("weights_positive", True),
        ("whole", True),
    ]
    warehouse.delete(CALENDAR, "calendar_date = @day", {"day": DAYS["calendar_date"][0] + timedelta(days=9)})
    assert [r.check_name for r in regime_checks(warehouse=warehouse) if not r.passed] == ["whole"]
