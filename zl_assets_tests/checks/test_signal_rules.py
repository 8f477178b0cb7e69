"""The twelve signal rules as checks: a column that breaks one fails the check of its number."""

from datetime import time

import polars as pl
import pytest

from zl_assets.checks.signal_rules import CHECKS, evaluate_rule, violations
from zl_assets.core.features.matrix import build_matrix, inputs_of
from zl_assets.core.features.raw_as_of import raw_as_of
from zl_assets.core.features.signal_rules import Violation
from zl_assets.core.instruments import INSTRUMENTS
from zl_assets.settings import Settings
from zl_assets_tests.core.features import made_series
from zl_assets_tests.core.features.made_markets import made_sessions
from zl_assets_tests.real_bars import MATRIX_SCHEMA, NOW

AT = time(13, 30)


@pytest.fixture(scope="module")
def world() -> tuple[pl.DataFrame, pl.DataFrame, dict[str, pl.DataFrame]]:
    days = made_series.sessions()["trade_date"]
    sessions = made_sessions([s for s in INSTRUMENTS if s not in ("CPO", "MES")], days.min(), days.max())
    sessions = sessions.with_columns(source=pl.lit("databento"))
    series = dict(made_series.series())
    return build_matrix(sessions, MATRIX_SCHEMA, NOW, ["ZL"], series=series, at=AT), sessions, series


def broken(matrix: pl.DataFrame, sessions: pl.DataFrame, series: dict[str, pl.DataFrame]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for violation in violations(matrix, sessions, series, Settings(decision_time=AT)):
        found.setdefault(violation.rule, set()).add(violation.column)
    return found


def test_the_reviewed_surface_breaks_no_rule(world: tuple[pl.DataFrame, pl.DataFrame, dict[str, pl.DataFrame]]) -> None:
    assert broken(*world) == {}


def test_a_raw_series_under_another_name_fails_with_the_rules_number(
    world: tuple[pl.DataFrame, pl.DataFrame, dict[str, pl.DataFrame]],
) -> None:
    matrix, sessions, series = world
    [inputs] = inputs_of(sessions, series, AT, ["ZL"])
    raw = raw_as_of(inputs)
    names = {"vix": 2, "treasury": 1, "palm": 11, "positioning": 9}
    for domain, rule in names.items():
        column = next(c for c in raw.columns if c.startswith(f"{domain}:") and raw[c].drop_nulls().len() > 100)
        leaked = matrix.with_columns(rsi_14=3 * raw[column] + 1)
        assert broken(leaked, sessions, series) == {rule: {"rsi_14"}}


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.name)
def test_each_check_fails_for_its_own_number_alone(check) -> None:
    number = int(check.name.rpartition("_")[2])
    found = [Violation(number, "column", "is wrong", "mend it")]
    assert not check.evaluate(found).passed
    assert all(evaluate_rule(found, n).passed for n in range(1, 13) if n != number)
    assert check.blocking
