"""The proofs of the surfaces as checks: a planted leak or an invented value is told by the column's name."""

from datetime import date, time

import polars as pl
import pytest

from zl_assets.assets.full_surface import FULL_MATRIX
from zl_assets.checks.surfaces import (
    COMPARED_SESSIONS,
    NO_LOOK_AHEAD,
    REPORTED,
    full_look_ahead,
    look_ahead,
    matrix_look_ahead,
)
from zl_assets.checks.training import evaluate_no_target_twin, feature_names
from zl_assets.core.features import base
from zl_assets.core.features.audit import held_limits
from zl_assets.core.features.family import STANDS, Inputs
from zl_assets.core.features.full_surface import SURFACE_SYMBOLS, full_family
from zl_assets.core.features.lookahead import lookahead_columns, random_moments
from zl_assets.core.features.matrix import build_matrix, inputs_of, instrument_rows
from zl_assets.core.features.registry import FAMILIES, families
from zl_assets.core.features.wide_matrix import build_wide_matrix
from zl_assets.core.instruments import INSTRUMENTS, MATRIX_SYMBOLS
from zl_assets.settings import Settings
from zl_assets.warehouse.contracts import contract
from zl_assets.warehouse.surfaces import listed_features
from zl_assets_tests.core.features import made_series
from zl_assets_tests.core.features.made_markets import made_sessions
from zl_assets_tests.real_bars import MATRIX_SCHEMA, NOW

AT = time(13, 30)
SETTINGS = Settings(decision_time=AT)
RETURN_SCHEMA = {c: MATRIX_SCHEMA[c] for c in ("symbol", "data_date", "session_number", "return_1d")}
World = tuple[pl.DataFrame, pl.DataFrame, dict[str, pl.DataFrame]]


@pytest.fixture(scope="module")
def world() -> World:
    """The matrix of a made market of both instruments, its sessions, and every raw series."""
    days = made_series.sessions()["trade_date"]
    sessions = made_sessions([s for s in INSTRUMENTS if s != "CPO"], days.min(), days.max())
    sessions = sessions.with_columns(source=pl.lit("databento"))
    series = dict(made_series.series())
    return build_matrix(sessions, MATRIX_SCHEMA, NOW, series=series, at=AT), sessions, series


def ahead(column: str) -> pl.Expr:
    """The column's value of the next session in place of its own."""
    return pl.col(column).shift(-1).over("symbol").alias(column)


class TestNoLookAhead:
    def test_the_matrix_of_both_instruments_is_what_was_known_at_the_time(self, world: World) -> None:
        assert set(world[0]["symbol"]) == set(MATRIX_SYMBOLS)
        assert matrix_look_ahead(*world, SETTINGS).is_empty()

    def test_a_leaking_column_is_caught_by_name(self, world: World) -> None:
        matrix, sessions, series = world
        pivots = pl.col("pivots").struct.with_fields(P=pl.field("P").shift(-1))
        leaking = matrix.with_columns(ahead("rsi_14_adjusted"), ahead("vix_change_5"), pivots)
        found = matrix_look_ahead(leaking, sessions, series, SETTINGS)
        assert set(found["feature"]) == {"rsi_14_adjusted", "vix_change_5", "pivots.P"}
        verdict = NO_LOOK_AHEAD.evaluate(found)
        assert not verdict.passed
        assert NO_LOOK_AHEAD.blocking

    @pytest.mark.parametrize("weekday", range(1, 6))
    def test_a_leak_of_one_weekday_is_caught(self, world: World, weekday: int) -> None:
        matrix, sessions, series = world
        tomorrow = pl.col("return_1d").shift(-1).over("symbol")
        on_that_day = pl.col("data_date").dt.weekday() == weekday
        leaking = matrix.with_columns(return_1d=pl.when(on_that_day).then(tomorrow).otherwise("return_1d"))
        inputs = inputs_of(sessions, series, AT, ["ZL"])[0]

        def build(past: Inputs, since: int) -> pl.DataFrame:
            rows = instrument_rows(past, RETURN_SCHEMA, NOW, [base.FAMILY])
            later = rows["return_1d"].shift(-1)
            there = pl.col("data_date").dt.weekday() == weekday
            leak = rows.with_columns(return_1d=pl.when(there).then(later).otherwise("return_1d"))
            return leak.filter(pl.col("session_number") >= since).drop("session_number")

        stored = leaking.filter(pl.col("symbol") == "ZL").select("symbol", "data_date", "return_1d")
        assert set(look_ahead(stored, build, inputs)["feature"]) == {"return_1d"}

    def test_every_column_is_the_same_without_either_future(self, world: World) -> None:
        _, sessions, series = world
        [inputs] = inputs_of(sessions, series, AT, ["ZL"])
        found = lookahead_columns(
            lambda given: instrument_rows(given, MATRIX_SCHEMA, NOW),
            inputs,
            random_moments(inputs, 2, seed=29),
        )
        assert found.is_empty()

    def test_the_full_surface_is_what_was_known_and_a_leak_is_named(self) -> None:
        made = made_sessions(SURFACE_SYMBOLS, date(2021, 6, 1), date(2023, 8, 1))
        sessions = made.with_columns(source=pl.lit("databento"))
        matrix = build_matrix(sessions, MATRIX_SCHEMA, NOW, ["ZL"], at=AT)
        wide = build_wide_matrix(matrix, sessions, contract(FULL_MATRIX).polars_schema(), NOW, AT)
        assert full_look_ahead(wide, sessions, SETTINGS).is_empty()
        leaking = wide.with_columns(ahead("cl__rsi_14"), ahead("gc__return_5d__x__vol_high"))
        found = full_look_ahead(leaking, sessions, SETTINGS)
        assert set(found["feature"]) == {"cl__rsi_14", "gc__return_5d__x__vol_high"}
        assert (found["moment"] - found["data_date"]).dt.total_days().max() < 2 * COMPARED_SESSIONS


def told(rows: pl.DataFrame, limits: dict[str, int]) -> dict[str, set[str]]:
    """By check, the columns it reports."""
    verdicts = {check.name: check.evaluate(rows, rows.columns[1:], limits) for check in REPORTED}
    assert all(verdict.offenders is not None for verdict in verdicts.values())
    return {
        name: set(v.offenders["feature"]) for name, v in verdicts.items() if not v.passed and v.offenders is not None
    }


class TestNothingInvented:
    def test_each_fault_is_reported_by_its_own_check_and_blocks_nothing(self) -> None:
        days = pl.date_range(date(2024, 1, 1), date(2024, 4, 9), eager=True)
        moving = [((n * 37) % 101) / 7 for n in range(100)]
        rows = pl.DataFrame(
            {
                "data_date": days,
                "moving": moving,
                "constant": [4.5] * 100,
                "twin": [2 * value - 1 for value in moving],
                "hole": [value if n < 40 else None for n, value in enumerate(moving)],
                "absent": pl.Series([None] * 100, dtype=pl.Float64),
                "filled": [value**2 if n < 70 else moving[70] ** 2 for n, value in enumerate(moving)],
            }
        )
        assert told(rows, {"moving": 10, "filled": 10}) == {
            "not_constant": {"constant"},
            "not_mostly_null": {"hole"},
            "not_duplicated": {"twin", "hole"},
            "not_held": {"filled"},
        }
        assert not any(check.blocking for check in REPORTED)

    def test_a_slow_series_may_stand_as_long_as_its_family_says(self) -> None:
        names = [f.feature for f in listed_features()]
        limits = held_limits(FAMILIES, names)
        assert limits["return_5d"] == STANDS.days / 7 * 5
        assert limits["fed_rate_change_63"] > limits["cpi_yoy"] > limits["return_5d"]
        assert "vix_above_25" not in limits
        assert families()["macro"].may_stand("dgs10") == STANDS
        generated = full_family(SURFACE_SYMBOLS)
        assert held_limits([generated], ["cl__max_return_21"])["cl__max_return_21"] > 21


class TestTargetTwin:
    def test_a_feature_that_knows_the_outcome_fails(self) -> None:
        target = [((n * 7919) % 1009) / 1009 - 0.5 for n in range(900)]
        view = pl.DataFrame(
            {
                "data_date": pl.date_range(date(2020, 1, 1), date(2022, 6, 18), eager=True),
                "session_number": range(900),
                "is_usable": [n % 7 != 0 for n in range(900)],
                "close": target,
                "honest": [((n * 104729) % 1013) / 1013 for n in range(900)],
                "leak": [t if n % 7 else 0.0 for n, t in enumerate(target)],
                "target_1w": target,
            }
        )
        assert feature_names(view) == ["honest", "leak"]
        verdict = evaluate_no_target_twin(view, feature_names(view), "1w")
        assert not verdict.passed
        assert verdict.offenders is not None
        assert set(verdict.offenders["feature"]) == {"leak"}
        assert evaluate_no_target_twin(view, ["honest"], "1w").passed
