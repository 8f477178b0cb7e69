"""Checks of the feature matrix."""

from datetime import date

import polars as pl
import pytest

from zl_assets.assets.features import MATRIX
from zl_assets.checks.features import (
    CHECKS,
    daily_ml_matrix_checks,
    evaluate_between,
    evaluate_enough_rows,
    evaluate_regime_present,
)
from zl_assets.core.exchange_calendar import session_frame
from zl_assets.core.features.matrix import build_matrix
from zl_assets.core.sessions import build_sessions
from zl_assets.warehouse.base import Warehouse
from zl_assets_tests.made_bars import accepted, calm_days
from zl_assets_tests.real_bars import MATRIX_SCHEMA, NOW, RealZl, real_zl

FULL = session_frame("grains").filter(pl.col("trade_date").is_between(date(2010, 6, 7), date(2025, 8, 29)))


def rows(count: int = 100, **values: object) -> pl.DataFrame:
    """Rows as the checks read them; a value given goes into row 50."""
    bars = accepted(calm_days(date(2015, 3, 2), count))
    matrix = build_matrix(
        build_sessions(bars.clear(), bars.with_columns(built_from=pl.lit("1d"))).sessions, MATRIX_SCHEMA, NOW
    )
    flat = matrix.select(
        "data_date",
        "symbol",
        "session_number",
        *[pl.col("market_data").struct.field(c) for c in ("open", "high", "low", "close")],
        pl.col("regime").struct.field("name").alias("regime_name"),
        "rsi_14",
        "volatility_21d",
    )
    here = pl.int_range(pl.len()) == 50
    return flat.with_columns(
        pl.when(here).then(pl.lit(v, dtype=flat.schema[c])).otherwise(c).alias(c) for c, v in values.items()
    )


def broken(frame: pl.DataFrame) -> list[str]:
    return [c.name for c in CHECKS if not c.evaluate(frame).passed]


def full(count: int) -> pl.DataFrame:
    """The full history less some sessions from its middle."""
    gone = FULL.height - count
    kept = pl.concat([FULL.head(1_000), FULL[1_000 + gone :]])
    return kept.select(pl.col("trade_date").alias("data_date"), pl.lit("ZL").alias("symbol"), "session_number")


class TestEnoughRows:
    def test_the_full_history_needs_3800_rows(self) -> None:
        assert evaluate_enough_rows(full(3_800)).passed
        verdict = evaluate_enough_rows(full(3_799))
        assert not verdict.passed
        assert (verdict.numbers["zl_rows"], verdict.numbers["needed"]) == (3_799, 3_800)

    def test_a_shorter_history_needs_nearly_every_session_it_spans(self) -> None:
        whole = rows(100)
        assert evaluate_enough_rows(whole.filter(pl.int_range(pl.len()) != 40)).passed
        assert not evaluate_enough_rows(whole.filter(~pl.int_range(pl.len()).is_between(40, 41))).passed

    def test_no_row_of_zl_fails(self) -> None:
        assert not evaluate_enough_rows(rows().with_columns(symbol=pl.lit("ZS"))).passed
        assert not evaluate_enough_rows(rows().clear()).passed


class TestRegimePresent:
    def test_every_row_with_a_regime_passes(self) -> None:
        assert evaluate_regime_present(rows()).passed

    def test_a_null_regime_fails(self) -> None:
        verdict = evaluate_regime_present(rows(regime_name=None))
        assert not verdict.passed
        assert verdict.offenders.height == 1


class TestBetween:
    @pytest.mark.parametrize(("column", "high"), [("rsi_14", 100.0), ("volatility_21d", 0.5)])
    def test_limits_belong_to_the_range_and_missing_values_are_counted(self, column: str, high: float) -> None:
        verdict = evaluate_between(rows(**{column: high}), column, 0, high)
        assert verdict.passed
        assert verdict.numbers["highest"] == high
        assert verdict.numbers["missing"] == rows()[column].null_count() > 0

    @pytest.mark.parametrize("value", [101.0, -0.1, float("nan"), float("inf")])
    def test_a_value_outside_fails_and_is_shown(self, value: float) -> None:
        verdict = evaluate_between(rows(rsi_14=value), "rsi_14", 0, 100)
        assert not verdict.passed
        assert verdict.offenders.columns == ["data_date", "symbol", "rsi_14"]
        assert verdict.offenders.height == 1


def test_sound_rows_pass_every_check() -> None:
    assert broken(rows()) == []


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"rsi_14": 101.0}, ["rsi_in_range"]),
        ({"volatility_21d": 0.6}, ["volatility_in_range"]),
        ({"close": 0.0}, ["prices_consistent"]),
        ({"close": None}, ["prices_consistent"]),
        ({"high": 39.9}, ["prices_consistent"]),
        ({"low": 40.4}, ["prices_consistent"]),
        ({"regime_name": None}, ["regime_present"]),
        ({"data_date": date(2015, 5, 10)}, ["no_sunday"]),
        ({"data_date": rows()["data_date"][51]}, ["unique"]),
    ],
    ids=["rsi", "volatility", "zero", "null", "high_below_close", "low_above_close", "regime", "sunday", "twice"],
)
def test_each_planted_defect_breaks_its_check_alone(values: dict[str, object], names: list[str]) -> None:
    assert broken(rows(**values)) == names


@pytest.fixture(scope="module")
def zl(real_data) -> RealZl:
    return real_zl(real_data)


@pytest.mark.realdata
@pytest.mark.slow_on_bigquery
@pytest.mark.parametrize("bars", ["from_daily", "from_hourly"])
def test_the_real_matrix_passes(zl: RealZl, bars: str, warehouse: Warehouse) -> None:
    matrix = build_matrix(getattr(zl, bars).sessions, MATRIX_SCHEMA, NOW)
    warehouse.merge(MATRIX, matrix)
    results = list(daily_ml_matrix_checks(warehouse=warehouse))
    assert {r.check_name for r in results} == {c.name for c in CHECKS}
    assert all(r.passed for r in results)

    warehouse.merge(MATRIX, matrix[[2_000]].with_columns(rsi_14=pl.lit(101.0)))
    failed = [r for r in daily_ml_matrix_checks(warehouse=warehouse) if not r.passed]
    assert [r.check_name for r in failed] == ["rsi_in_range"]
    assert str(matrix["data_date"][2_000]) in failed[0].metadata["first_offending_rows"].value
