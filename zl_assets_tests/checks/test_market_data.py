"""Checks of bars, quarantine and sessions, each with data that keeps the rule and data that breaks it.

How any check shows its verdict in Dagster is tested here too.
"""

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import polars as pl
import pytest

from zl_assets.assets.market_data import BARS_1D, QUARANTINE, SESSIONS
from zl_assets.checks.common import SHOWN_OFFENDERS, WHAT_TO_DO, Check, Verdict, evaluated, no_offender, specs
from zl_assets.checks.market_data import (
    BARS_1D_CHECKS,
    BARS_1H_CHECKS,
    QUARANTINE_CHECKS,
    SESSIONS_CHECKS,
    evaluate_consistent_prices,
    evaluate_lineage,
    evaluate_no_mixed_worlds,
    evaluate_no_session_missing,
    evaluate_no_sunday,
    evaluate_nothing_rejected,
    evaluate_unique,
    futures_sessions_1d_checks,
    vendor_bars_checks,
)
from zl_assets.core.bars import sort_out
from zl_assets.core.sessions import build_sessions
from zl_assets.sources.stored_bars import StoredBars
from zl_assets.warehouse.base import Warehouse
from zl_assets_tests.made_bars import NOW, accepted, bar, calm_days, day, vendor
from zl_assets_tests.real_bars import real_zl

LINEAGE = ("source", "available_at", "ingest_timestamp", "provenance_uuid")


def sessions(count: int = 30, first: date = date(2014, 6, 2), without: tuple[int, ...] = ()) -> pl.DataFrame:
    bars = accepted([b for n, b in enumerate(calm_days(first, count)) if n not in without])
    build = build_sessions(bars.clear(), bars.with_columns(built_from=pl.lit("1d")))
    return build.sessions.with_columns(ingest_timestamp=pl.lit(NOW))


def with_value(frame: pl.DataFrame, row: int, **values: Any) -> pl.DataFrame:
    """The frame with other values in one row."""
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(here).then(pl.lit(v, dtype=frame.schema[c])).otherwise(c).alias(c) for c, v in values.items()
    )


class TestUnique:
    def test_distinct_keys_pass(self) -> None:
        assert evaluate_unique(sessions(), ["symbol", "trade_date"]).passed

    def test_a_repeated_key_fails_and_is_named(self) -> None:
        rows = sessions()
        verdict = evaluate_unique(pl.concat([rows, rows[[4]]]), ["symbol", "trade_date"])
        assert not verdict.passed
        assert verdict.offenders.rows() == [("ZL", rows["trade_date"][4], 2)]


class TestLineage:
    def test_filled_columns_pass(self) -> None:
        verdict = evaluate_lineage(sessions())
        assert verdict.passed
        assert set(verdict.numbers) == {f"{c}_filled" for c in LINEAGE} | {"offending_rows"}

    @pytest.mark.parametrize("column", LINEAGE)
    def test_one_hole_fails_and_is_counted(self, column: str) -> None:
        verdict = evaluate_lineage(with_value(sessions(), 3, **{column: None}))
        assert not verdict.passed
        assert verdict.numbers[f"{column}_filled"] == pytest.approx(29 / 30, abs=1e-6)
        assert verdict.numbers["offending_rows"] == 1


class TestConsistentPrices:
    def test_sound_bars_pass(self) -> None:
        assert evaluate_consistent_prices(sessions()).passed

    @pytest.mark.parametrize(
        "values",
        [
            {"low": 0.0},
            {"open": -1.0, "low": -1.0},
            {"high": 39.9},
            {"low": 40.4},
            {"open": 41.0},
            {"close": None},
            {"close": float("nan")},
            {"high": float("inf")},
        ],
        ids=["zero", "negative", "high_below_close", "low_above_close", "open_above_high", "null", "nan", "infinite"],
    )
    def test_a_bar_that_cannot_be_fails(self, values: dict[str, float | None]) -> None:
        verdict = evaluate_consistent_prices(with_value(sessions(), 7, **values))
        assert not verdict.passed
        assert verdict.offenders["trade_date"].to_list() == [sessions()["trade_date"][7]]


class TestNoSessionMissing:
    def test_a_whole_history_passes(self) -> None:
        assert evaluate_no_session_missing(sessions(without=(7,))).passed  # 2014-06-11
        assert evaluate_no_session_missing(sessions(first=date(2015, 3, 2))).passed

    def test_a_known_outage_passes_and_is_counted(self) -> None:
        verdict = evaluate_no_session_missing(sessions(without=(7,)))
        assert verdict.numbers == {"known_outages": 1, "missing_in_other_symbols": 0, "offending_rows": 0}

    @pytest.mark.parametrize("gap", [1, 10])
    def test_a_gap_fails_and_its_days_are_named(self, gap: int) -> None:
        whole = sessions(first=date(2015, 3, 2))
        verdict = evaluate_no_session_missing(sessions(first=date(2015, 3, 2), without=tuple(range(12, 12 + gap))))
        assert not verdict.passed
        assert verdict.offenders["trade_date"].to_list() == whole["trade_date"][12 : 12 + gap].to_list()

    def test_an_instrument_outside_the_matrix_may_have_holes_and_they_are_counted(self) -> None:
        other = sessions(without=(3, 4)).with_columns(symbol=pl.lit("ZS"))
        verdict = evaluate_no_session_missing(pl.concat([sessions(), other]))
        assert verdict.passed
        assert verdict.numbers["missing_in_other_symbols"] == 2

    @pytest.mark.realdata
    def test_the_real_history_passes(self, real_data) -> None:
        verdict = evaluate_no_session_missing(real_zl(real_data).from_hourly.sessions)
        assert verdict.passed
        assert verdict.numbers["known_outages"] == 3


class TestNoSunday:
    def test_weekdays_pass(self) -> None:
        assert evaluate_no_sunday(sessions(), "trade_date").passed

    def test_a_sunday_fails(self) -> None:
        verdict = evaluate_no_sunday(with_value(sessions(), 2, trade_date=date(2014, 8, 31)), "trade_date")
        assert not verdict.passed
        assert verdict.offenders["trade_date"].to_list() == [date(2014, 8, 31)]


class TestNoMixedWorlds:
    @pytest.mark.parametrize("source", ["databento", "simulated"])
    def test_one_world_passes(self, source: str) -> None:
        assert evaluate_no_mixed_worlds(sessions().with_columns(source=pl.lit(source))).passed

    def test_two_worlds_fail(self) -> None:
        verdict = evaluate_no_mixed_worlds(with_value(sessions(), 29, source="simulated"))
        assert not verdict.passed
        assert verdict.numbers == {"sources": "databento, simulated"}


class TestNothingRejected:
    ROWS = pl.DataFrame(
        {
            "reason": ["price_not_positive"],
            "symbol": ["ZL.v.0"],
            "observed_date": [date(2015, 3, 10)],
            "source_file": ["a.csv"],
            "original": ["{}"],
        }
    )

    def test_an_empty_quarantine_passes(self) -> None:
        assert evaluate_nothing_rejected(self.ROWS.clear()).passed

    def test_a_rejected_row_warns_and_does_not_block(self) -> None:
        assert not evaluate_nothing_rejected(self.ROWS).passed
        (result,) = evaluated(QUARANTINE, QUARANTINE_CHECKS, self.ROWS)
        assert result.severity == dg.AssetCheckSeverity.WARN


class TestShownVerdict:
    RULE = Check(
        "positive", "Every n is positive", lambda rows: no_offender(rows.filter(pl.col("n") < 0), rows=rows.height)
    )

    def test_a_passed_check_shows_the_rule_and_its_numbers(self) -> None:
        (result,) = evaluated(SESSIONS, (self.RULE,), pl.DataFrame({"n": [1, 2]}))
        assert result.passed
        assert result.asset_key == dg.AssetKey(SESSIONS.split("."))
        assert result.check_name == "positive"
        assert result.description == "Every n is positive"
        assert {k: v.value for k, v in result.metadata.items()} == {"rows": 2, "offending_rows": 0}

    def test_a_broken_rule_shows_what_was_found_and_the_first_offenders(self) -> None:
        rows = pl.DataFrame({"n": [-k for k in range(1, 31)], "day": [date(2015, 1, k) for k in range(1, 31)]})
        (result,) = evaluated(SESSIONS, (self.RULE,), rows)
        assert not result.passed
        assert result.severity == dg.AssetCheckSeverity.ERROR
        assert result.description.startswith(
            "does not hold: Every n is positive (rows = 30, offending_rows = 30; first: -1 2015-01-01, -2 2015-01-02"
        )
        table = result.metadata["first_offending_rows"].value.splitlines()
        assert table[:3] == ["| n | day |", "|---|---|", "| -1 | 2015-01-01 |"]
        assert len(table) == 2 + SHOWN_OFFENDERS

    def test_a_verdict_without_rows_shows_its_numbers(self) -> None:
        check = Check("n", "A rule", lambda: Verdict(False, {"found": "x"}))
        (result,) = evaluated(SESSIONS, (check,))
        assert result.description == "does not hold: A rule (found = x)"
        assert set(result.metadata) == {"found"}

    def test_advice_comes_with_a_failure_alone(self) -> None:
        check = Check("n", "A rule", lambda fine: Verdict(fine), action="mend it")
        (good,) = evaluated(SESSIONS, (check,), True)
        (bad,) = evaluated(SESSIONS, (check,), False)
        assert WHAT_TO_DO not in good.metadata
        assert bad.metadata[WHAT_TO_DO].value == "mend it"

    def test_blocking_is_part_of_the_spec(self) -> None:
        assert all(s.blocking for s in specs(BARS_1D, BARS_1D_CHECKS))
        assert not any(s.blocking for s in specs(QUARANTINE, QUARANTINE_CHECKS))


@pytest.fixture
def store(warehouse: Warehouse) -> Warehouse:
    """One with sound bars, their sessions and a rejected row."""
    rows = [*calm_days(date(2015, 3, 2), 20), bar(day(2015, 3, 2), vendor_symbol="ZS.v.0", volume=0)]
    StoredBars(warehouse).store(sort_out(vendor(rows), NOW), NOW)
    warehouse.merge(SESSIONS, sessions(20, date(2015, 3, 2)))
    return warehouse


class TestShells:
    """The Dagster side: what is read from the warehouse reaches every check."""

    def test_stored_bars_and_sessions_pass_and_the_rejected_row_warns(self, store: Warehouse) -> None:
        bars = list(vendor_bars_checks(warehouse=store))
        assert len(bars) == len(BARS_1D_CHECKS) + len(BARS_1H_CHECKS) + len(QUARANTINE_CHECKS)
        assert [r.check_name for r in bars if not r.passed] == ["nothing_rejected"]
        assert all(r.passed for r in futures_sessions_1d_checks(warehouse=store))

    def test_a_session_that_is_gone_fails(self, store: Warehouse) -> None:
        store.delete(SESSIONS, "trade_date = @day", {"day": date(2015, 3, 10)})
        results = {r.check_name: r.passed for r in futures_sessions_1d_checks(warehouse=store)}
        assert set(results) == {c.name for c in SESSIONS_CHECKS}
        assert [n for n, passed in results.items() if not passed] == ["no_session_missing"]

    def test_a_simulated_row_among_real_ones_fails(self, store: Warehouse) -> None:
        mixed = store.read(f"SELECT * FROM {BARS_1D} WHERE bar_date = DATE '2015-03-10'")
        stranger = mixed.with_columns(
            source=pl.lit("simulated"), ingest_timestamp=pl.lit(datetime(2025, 1, 1, tzinfo=UTC))
        )
        store.merge(BARS_1D, stranger)
        assert [r.check_name for r in vendor_bars_checks(warehouse=store) if not r.passed] == [
            "one_world",
            "nothing_rejected",
        ]
