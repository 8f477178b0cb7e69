"""Checks of the forecasts and of the published row."""

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from zl_assets.assets.predictions import FORECASTS, LATEST
from zl_assets.checks.predictions import (
    evaluate_coherent,
    evaluate_one_row,
    evaluate_quantiles_ordered,
    evaluate_trust_in_range,
    evaluate_unique_forecasts,
    vw_zl_latest_checks,
    zl_forecasts_checks,
)
from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS
from zl_assets.core.forecasts import FORECAST_SCHEMA, TRUST_COLUMNS
from zl_assets.warehouse.base import Warehouse
from zl_assets.warehouse.contracts import view_sql

OLD, NEW = date(2025, 8, 28), date(2025, 8, 29)


def forecast(**values: Any) -> dict[str, Any]:
    row: dict[str, Any] = {name: 0.03 for name, dtype in FORECAST_SCHEMA.items() if dtype == pl.Float64()}
    row |= {f"q{level:02d}": 50.0 + level / 10 for level in (5, 10, 25, 50, 75, 90, 95)}
    row |= {
        "as_of_date": NEW,
        "data_as_of": NEW,
        "horizon": "1w",
        "target_date": date(2025, 9, 8),
        "model": "no_change",
        "model_version": "v0",
        "run_id": "run",
        "surface": "prod",
        "current_price": 55.0,
        "state": "ok",
        "predicted_price": 55.0,
        "n_independent": 10,
        "is_champion": True,
        "champion_reason": "why",
        "is_simulated": False,
        "created_at": datetime(2025, 8, 30, tzinfo=UTC),
    }
    return row | values


REFUSED = "refused: the data are 9 sessions old"
FIGURES = (*QUANTILE_COLUMNS, *TRUST_COLUMNS, "predicted_price", "predicted_return", "direction_probability")


def refusal(**values: Any) -> dict[str, Any]:
    """A row that says why there is no forecast."""
    return forecast(**dict.fromkeys(FIGURES) | {"state": REFUSED} | values)


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=FORECAST_SCHEMA)


class TestUnique:
    def test_one_row_a_key_passes(self) -> None:
        assert evaluate_unique_forecasts(frame(forecast(), forecast(model="lightgbm"), forecast(as_of_date=OLD))).passed

    def test_the_same_key_twice_fails(self) -> None:
        verdict = evaluate_unique_forecasts(frame(forecast(), forecast(predicted_price=1.0)))
        assert not verdict.passed
        assert verdict.offenders["len"].to_list() == [2]


class TestQuantiles:
    def test_rising_quantiles_pass_and_so_do_equal_ones(self) -> None:
        assert evaluate_quantiles_ordered(frame(forecast(), forecast(as_of_date=OLD, q05=51.0, q10=51.0))).passed

    @pytest.mark.parametrize(
        "values",
        [
            {"q05": 51.1},
            {"q50": 60.0},
            {"q95": 58.9},
            {"q05": 0.0},
            {"q05": -3.0},
            {"predicted_price": 0.0},
            {"current_price": float("nan")},
            {"q95": float("inf")},
            {"q25": None},
        ],
        ids=["first", "middle", "last", "zero", "negative", "price_zero", "price_nan", "infinite", "null"],
    )
    def test_falling_or_unsound_ones_fail(self, values: dict[str, float | None]) -> None:
        verdict = evaluate_quantiles_ordered(frame(forecast(as_of_date=OLD), forecast(**values)))
        assert not verdict.passed
        assert verdict.offenders["as_of_date"].to_list() == [NEW]

    def test_a_forecast_from_before_there_were_states_is_looked_at(self) -> None:
        assert evaluate_quantiles_ordered(frame(forecast(state=None))).passed
        assert not evaluate_quantiles_ordered(frame(forecast(state=None, q05=60.0))).passed

    def test_a_refusal_without_figures_passes_and_is_counted(self) -> None:
        verdict = evaluate_quantiles_ordered(frame(forecast(), refusal()))
        assert verdict.passed
        assert verdict.numbers["refused"] == 1

    @pytest.mark.parametrize("name", [*QUANTILE_COLUMNS, "predicted_price", "predicted_return"])
    def test_a_refusal_with_a_figure_fails(self, name: str) -> None:
        verdict = evaluate_quantiles_ordered(frame(forecast(as_of_date=OLD), refusal(**{name: 55.0})))
        assert not verdict.passed
        assert verdict.offenders["state"].to_list() == [REFUSED]


class TestTrustInRange:
    def test_scores_at_the_ends_of_their_range_pass_and_so_does_a_refusal(self) -> None:
        least = dict.fromkeys((*TRUST_COLUMNS, "direction_probability"), 0.0)
        most = dict.fromkeys(TRUST_COLUMNS, 100.0) | {"direction_probability": 1.0}
        assert evaluate_trust_in_range(frame(forecast(**least), forecast(**most), refusal())).passed

    @pytest.mark.parametrize("name", [*TRUST_COLUMNS, "direction_probability"])
    @pytest.mark.parametrize("value", [-0.01, 100.01, float("nan")])
    def test_a_score_outside_fails(self, name: str, value: float) -> None:
        verdict = evaluate_trust_in_range(frame(forecast(as_of_date=OLD), forecast(**{name: value})))
        assert not verdict.passed
        assert verdict.offenders["as_of_date"].to_list() == [NEW]


class TestCoherent:
    """Forecasts of a price of 55: intervals grow with the root of time, as those of a random walk do."""

    @staticmethod
    def published(horizon: str, sessions: int, median: float, **values: Any) -> dict[str, Any]:
        spread = 0.3 * sessions**0.5
        quantiles = dict(zip(QUANTILE_COLUMNS, (median + spread * z for z in (-3, -2, -1, 0, 1, 2, 3)), strict=True))
        return forecast(horizon=horizon, **quantiles, **values)

    def test_horizons_that_agree_pass(self) -> None:
        rows = [self.published("1m", 21, 55.2), self.published("3m", 63, 55.5), self.published("6m", 126, 55.6)]
        assert evaluate_coherent(frame(*rows)).passed

    def test_one_that_says_the_opposite_of_its_neighbours_is_named(self) -> None:
        rows = [self.published("1m", 21, 57.0), self.published("3m", 63, 45.0), self.published("6m", 126, 59.0)]
        verdict = evaluate_coherent(frame(*rows))
        assert not verdict.passed
        assert "3m" in verdict.offenders["horizon"].to_list()

    def test_a_refusal_is_passed_over(self) -> None:
        rows = [self.published("1m", 21, 55.2), refusal(horizon="3m"), self.published("6m", 126, 55.6)]
        verdict = evaluate_coherent(frame(*rows))
        assert verdict.passed
        assert verdict.numbers["horizons"] == 2


class TestOneRow:
    ROWS = frame(forecast(), forecast(model="lightgbm", is_champion=False), forecast(as_of_date=OLD)).with_columns(
        newest=NEW
    )

    def test_the_newest_champion_alone_passes(self) -> None:
        assert evaluate_one_row(self.ROWS[[0]]).passed

    @pytest.mark.parametrize(
        "latest",
        [[0, 2], [1], [2]],
        ids=["two", "no_champion", "an_older_one"],
    )
    def test_anything_else_fails(self, latest: list[int]) -> None:
        verdict = evaluate_one_row(self.ROWS[latest])
        assert not verdict.passed
        assert verdict.numbers == {"rows": len(latest), "newest_as_of": "2025-08-29"}

    def test_no_row_fails(self) -> None:
        verdict = evaluate_one_row(self.ROWS.clear())
        assert not verdict.passed
        assert verdict.numbers == {"rows": 0, "newest_as_of": "no row to tell"}


def test_the_shells_read_the_horizon_of_their_partition(warehouse: Warehouse) -> None:
    for horizon in ("1w", "1m"):
        warehouse.create_view(view_sql(LATEST, horizon))
    # The 1m horizon has a falling quantile and no champion on its newest day.
    bad = forecast(horizon="1m", q05=60.0, is_champion=False)
    warehouse.merge(FORECASTS, frame(forecast(), forecast(horizon="1m", as_of_date=OLD), bad))

    def broken(horizon: str) -> list[str]:
        context = SimpleNamespace(partition_key=horizon)
        shells = (zl_forecasts_checks, vw_zl_latest_checks)
        results = [r for shell in shells for r in shell.op.compute_fn.decorated_fn(context, warehouse)]
        assert len(results) == 5
        return [r.check_name for r in results if not r.passed]

    assert broken("1w") == []
    assert broken("1m") == ["quantiles_ordered", "one_row"]
