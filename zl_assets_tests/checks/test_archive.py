"""The check of the shim views' grace: passed without shims, a warning from day 23, an error from day 31."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import polars as pl
import pytest

from zl_assets.checks import archive as checks
from zl_assets.checks.archive import evaluate_within_grace, shim_checks
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import contract
from zl_assets.warehouse.shims import SHIMS, create_shims, drop_shims

NAME = "models_v4.production_training_data_{}"
CREATED = date(2026, 1, 2)


def shims(*ages: int, today: date = CREATED) -> pl.DataFrame:
    """Shims that were created so many days before a day, which is the day of creation where the age is 0."""
    days = [today - timedelta(days=age) for age in ages]
    rows = {
        "legacy_name": [NAME.format(n) for n in range(len(days))],
        "target": "training.t",
        "created_on": days,
        "expires_on": [d + timedelta(days=30) for d in days],
        "created_at": datetime(2026, 1, 2, tzinfo=UTC),
    }
    return pl.DataFrame(rows, schema=contract(SHIMS).polars_schema())


@pytest.mark.parametrize(
    ("day", "passed", "severity", "ending", "over"),
    [
        (0, True, "warning", 0, 0),
        (22, True, "warning", 0, 0),
        (23, False, "warning", 1, 0),
        (30, False, "warning", 1, 0),
        (31, False, "error", 0, 1),
        (400, False, "error", 0, 1),
    ],
)
def test_the_day_decides(day: int, passed: bool, severity: str, ending: int, over: int) -> None:
    verdict = evaluate_within_grace(shims(day), CREATED)
    assert (verdict.passed, verdict.severity) == (passed, severity)
    assert verdict.numbers == {"shims": 1, "ending": ending, "over": over}
    assert verdict.offenders is not None
    assert verdict.offenders["days_left"].to_list() == ([] if passed else [30 - day])


def test_the_worst_shim_decides_and_comes_first() -> None:
    verdict = evaluate_within_grace(shims(1, 25, 31, 23), CREATED)
    assert (verdict.passed, verdict.severity) == (False, "error")
    assert verdict.numbers == {"shims": 4, "ending": 2, "over": 1}
    assert verdict.offenders["days_left"].to_list() == [-1, 5, 7]


def results(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, day: int) -> list[dg.AssetCheckResult]:
    moment = datetime(2026, 1, 2, 0, 5, tzinfo=UTC) + timedelta(days=day)
    monkeypatch.setattr(checks, "utc_now", lambda: moment)
    return list(shim_checks(warehouse=warehouse))


def test_the_check_reads_what_is_stored_and_counts_days_in_utc(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    [none] = results(warehouse, monkeypatch, 0)
    assert none.passed
    create_shims(warehouse, [], datetime(2026, 1, 2, 23, 59, tzinfo=UTC))
    found = {day: results(warehouse, monkeypatch, day)[0] for day in (0, 22, 23, 30, 31)}
    assert {d: r.passed for d, r in found.items()} == {0: True, 22: True, 23: False, 30: False, 31: False}
    assert {d: r.severity.value for d, r in found.items() if not r.passed} == {23: "WARN", 30: "WARN", 31: "ERROR"}
    assert "over = 5" in str(found[31].description)
    assert NAME.format("1m") in str(found[23].description)
    drop_shims(warehouse, [], date(2026, 2, 2))
    assert all(r.passed for r in results(warehouse, monkeypatch, 31))
