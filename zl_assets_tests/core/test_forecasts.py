"""Rows of the forecasts: each figure by hand, one champion, and nothing where a model refuses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import polars as pl
import pytest

from zl_assets.core.direction import calibrated_direction, direction_probability
from zl_assets.core.evaluation.calibration import calibrated
from zl_assets.core.evaluation.significance import compare_losses, holm
from zl_assets.core.forecasts import (
    FORECAST_SCHEMA,
    QUANTILE_COLUMNS,
    TRUST_COLUMNS,
    ForecastContext,
    MarketState,
    ModelForecast,
    Publication,
    publish,
    superseded,
    told_drivers,
)
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import CONTRIBUTION_SCHEMA
from zl_assets.errors import InputError
from zl_assets.warehouse.contracts import contract
from zl_assets_tests.core.models.made_forecasts import NO_DRIVERS, WEEK, forecast, market, split

CREATED = datetime(2025, 8, 29, 20, 0, tzinfo=timezone(timedelta(hours=-5)))
N = 900
ROWS = market(N)
AS_OF = ROWS["data_date"][-1]
CONTEXT = ForecastContext(HORIZONS["1w"], AS_OF + timedelta(days=7), is_simulated=True, created_at=CREATED)
DRIVERS = pl.DataFrame({"feature": ["rsi_14", "k_vol"], "contribution": [0.01, -0.002]}, schema=CONTRIBUTION_SCHEMA)
FIGURES = ("predicted_return", "predicted_price", *QUANTILE_COLUMNS, "direction_probability", *TRUST_COLUMNS)
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def said(name: str, median: float | np.ndarray = 0.0, width: float = 0.033, **changed: Any) -> ModelForecast:
    oof, newest = split(forecast(ROWS, median, width))
    return replace(ModelForecast(name, f"{name}-1", f"run of {name}", oof, newest, NO_DRIVERS), **changed)


def skilled(share: float) -> np.ndarray:
    """Medians that know a share of what comes, and some noise."""
    actual = ROWS["actual_return"].fill_null(0.02).to_numpy()
    return share * actual + np.random.default_rng(3).normal(0, 0.005, N)


def noise() -> np.ndarray:
    return np.random.default_rng(4).normal(0, 0.01, N)


def state(**changed: Any) -> MarketState:
    number = np.arange(N)
    storm = 0.5 + 0.4 * np.sin(number / 50)
    columns = {
        "session_number": ROWS["session_number"],
        "storm": storm,
        "calm": 1 - storm,
        "vix": 22 + 8 * np.cos(number / 40),
        "annual_volatility": np.full(N, 0.3),
    }
    return MarketState(("storm", "calm"), pl.DataFrame({**columns, **changed}))


NO_SKILL = (said("no_change"), said("lightgbm", noise(), drivers=DRIVERS), said("ensemble", noise() / 2))


@pytest.fixture(scope="module")
def published() -> Publication:
    return publish(NO_SKILL, state(), CONTEXT)


def row_of(found: Publication, model: str) -> dict[str, Any]:
    return found.rows.filter(pl.col("model") == model).row(0, named=True)


def test_the_rows_fit_their_contract(published: Publication) -> None:
    promised = contract("predictions.zl_forecasts")
    assert [c.name for c in promised.columns] == list(FORECAST_SCHEMA)
    assert dict(published.rows.schema) == FORECAST_SCHEMA
    assert promised.validated(published.rows).equals(published.rows)
    assert published.rows["model"].to_list() == ["no_change", "lightgbm", "ensemble"]


def test_what_a_row_says_of_itself(published: Publication) -> None:
    row = row_of(published, "lightgbm")
    assert (row["model_version"], row["run_id"], row["state"]) == ("lightgbm-1", "run of lightgbm", "ok")
    assert row["as_of_date"] == row["data_as_of"] == AS_OF
    assert (row["horizon"], row["target_date"], row["surface"]) == ("1w", AS_OF + timedelta(days=7), "prod")
    assert row["is_simulated"] is True
    assert row["created_at"] == datetime(2025, 8, 30, 1, 0, tzinfo=UTC)


def test_prices_by_hand(published: Publication) -> None:
    row, model = row_of(published, "lightgbm"), NO_SKILL[1]
    close = model.newest["close"].item()
    returns = calibrated(pl.concat([model.oof, model.newest]), WEEK).row(-1, named=True)
    assert row["current_price"] == close
    assert row["predicted_return"] == returns["q50"] == model.newest["q50"].item()
    assert row["predicted_price"] == row["q50"] == pytest.approx(close * (1 + returns["q50"]))
    for name in QUANTILE_COLUMNS:
        assert row[name] == pytest.approx(close * (1 + returns[name]))
    assert returns["q05"] != model.newest["q05"].item(), "the quantiles are those after calibration"


def test_direction_and_conviction_by_hand(published: Publication) -> None:
    row, model = row_of(published, "lightgbm"), NO_SKILL[1]
    whole = calibrated(pl.concat([model.oof, model.newest]), WEEK)
    quantiles = whole.select(QUANTILE_COLUMNS).to_numpy()
    chances = calibrated_direction(
        direction_probability(quantiles),
        whole["actual_return"].cast(pl.Float64).to_numpy(),
        whole["session_number"].to_numpy(),
        WEEK,
    )
    assert row["direction_probability"] == pytest.approx(chances[-1])
    last = state().rows.row(-1, named=True)
    crisis = min(max(5 * (last["vix"] - 15), 0), 100)
    signal = 100 * min(abs(quantiles[-1, 3]) / ((quantiles[-1, 5] - quantiles[-1, 1]) / 2), 1)
    certainty = 100 * (max(last["storm"], last["calm"]) - 0.5) / 0.5
    assert row["crisis_intensity"] == pytest.approx(crisis)
    assert row["signal_strength"] == pytest.approx(signal)
    assert row["regime_certainty"] == pytest.approx(certainty)
    assert row["conviction"] == pytest.approx(0.4 * crisis + 0.3 * signal + 0.3 * certainty)
    assert row["regime"] == ("storm" if last["storm"] > last["calm"] else "calm")


def test_confidence_by_hand(published: Publication) -> None:
    """Ranks of the interval's width and of the models' disagreement among all earlier forecasts."""
    row = row_of(published, "lightgbm")
    whole = {m.model: calibrated(pl.concat([m.oof, m.newest]), WEEK) for m in NO_SKILL}
    width = (whole["lightgbm"]["q90"] - whole["lightgbm"]["q10"]).to_numpy()
    spread = np.column_stack([rows["q50"].to_numpy() for rows in whole.values()]).std(axis=1, ddof=1)

    def rank(values: np.ndarray) -> float:
        earlier, last = values[:-1], values[-1]
        return 100 * float(((earlier < last) + 0.5 * (earlier == last)).mean())

    assert row["confidence"] == pytest.approx(100 - (rank(width) + rank(spread)) / 2)


def test_skill_by_hand(published: Publication) -> None:
    def losses(model: ModelForecast) -> np.ndarray:
        rows = calibrated(pl.concat([model.oof, model.newest]), WEEK).head(-1)
        q, actual = rows.select(QUANTILE_COLUMNS).to_numpy(), rows["actual_return"].to_numpy()
        weights = (0.075, 0.1, 0.2, 0.25, 0.2, 0.1, 0.075)
        each = [np.maximum(p * (actual - q[:, i]), (p - 1) * (actual - q[:, i])) for i, p in enumerate(LEVELS)]
        return 2 * sum((w * loss for w, loss in zip(weights, each, strict=True)), np.zeros(len(actual)))

    benchmark, *others = NO_SKILL
    tests = {m.model: compare_losses(losses(m) - losses(benchmark), WEEK) for m in others}
    adjusted = holm({name: t.p_one_sided for name, t in tests.items() if t})
    actual = benchmark.oof["actual_return"].to_numpy()
    for model in others:
        row = row_of(published, model.model)
        assert row["skill_vs_no_change"] == pytest.approx(1 - losses(model).mean() / losses(benchmark).mean())
        assert row["skill_p_value"] == pytest.approx(adjusted[model.model])
        assert row["model_mae"] == pytest.approx(np.abs(actual - model.oof["q50"].to_numpy()).mean())
        assert row["no_change_mae"] == pytest.approx(np.abs(actual).mean())
        assert row["n_independent"] == (N - WEEK) // WEEK
    row = row_of(published, "no_change")
    assert (row["skill_vs_no_change"], row["skill_p_value"]) == (0.0, None)
    assert row["model_mae"] == row["no_change_mae"]
    assert row["predicted_price"] == row["current_price"]


def test_quantiles_never_cross(published: Publication) -> None:
    for row in published.rows.select(QUANTILE_COLUMNS).iter_rows():
        assert list(row) == sorted(row)


def test_without_skill_no_change_is_the_champion_and_every_row_says_why(published: Publication) -> None:
    assert published.rows.filter("is_champion")["model"].to_list() == ["no_change"]
    [reason] = published.rows["champion_reason"].unique()
    assert reason == published.judgement.reason
    assert reason.startswith("no skill found: ")
    assert published.champion["q50"].unique().to_list() == [0.0]
    assert published.champion.height == published.trust.height == N - WEEK + 1


def test_a_model_with_skill_is_the_champion() -> None:
    found = publish([said("no_change"), said("lightgbm", skilled(0.5), 0.025)], state(), CONTEXT)
    champion = found.rows.filter("is_champion").row(0, named=True)
    assert champion["model"] == "lightgbm"
    assert champion["skill_vs_no_change"] > 0
    assert champion["skill_p_value"] < 0.05
    assert champion["champion_reason"].startswith("skill found: lightgbm")
    assert found.champion["q50"].to_list() == pytest.approx(skilled(0.5)[[*range(N - WEEK), -1]].tolist())


class TestRefusal:
    REASON = "refused: newest session 2020-01-02 is 9 sessions old (limit 5)"

    def test_every_figure_is_null_and_the_row_says_why(self) -> None:
        models = [said("no_change"), said("lightgbm", noise(), drivers=DRIVERS, refusal=self.REASON)]
        found = publish(models, state(), CONTEXT)
        row = row_of(found, "lightgbm")
        assert row["state"] == self.REASON
        assert {row[name] for name in (*FIGURES, "regime", "drivers")} == {None}
        # How it did before is known all the same.
        assert row["model_mae"] > 0
        assert row["current_price"] == ROWS["close"][-1]
        assert contract("predictions.zl_forecasts").validated(found.rows).height == 2
        assert row_of(found, "no_change")["state"] == "ok"
        assert row_of(found, "no_change")["q05"] is not None

    def test_a_champion_that_refuses_stays_the_champion(self) -> None:
        models = [said("no_change"), said("lightgbm", skilled(0.5), 0.025, refusal=self.REASON)]
        champion = publish(models, state(), CONTEXT).rows.filter("is_champion").row(0, named=True)
        assert (champion["model"], champion["state"]) == ("lightgbm", self.REASON)
        assert champion["predicted_price"] is None

    def test_what_it_would_have_said_is_no_part_of_how_far_the_others_agree(self) -> None:
        def confidence(refusing_median: float) -> float:
            medians = noise()
            medians[-1] = refusing_median
            models = [*NO_SKILL[:2], said("xgboost", medians, refusal=self.REASON)]
            return row_of(publish(models, state(), CONTEXT), "lightgbm")["confidence"]

        without = row_of(publish(NO_SKILL[:2], state(), CONTEXT), "lightgbm")["confidence"]
        assert confidence(0.0) == confidence(0.4) == without


class TestUnknown:
    """What is not known is null, and never NaN."""

    def test_a_session_without_market_state_has_no_conviction(self) -> None:
        around = state()
        found = publish(NO_SKILL, replace(around, rows=around.rows.head(-1)), CONTEXT)
        row = row_of(found, "lightgbm")
        nulls = ("conviction", "crisis_intensity", "regime_certainty", "regime")
        assert {row[name] for name in nulls} == {None}
        assert row["confidence"] is not None
        assert no_nan(found.rows)

    def test_a_probability_that_is_nan_is_null(self) -> None:
        unknown = np.full(N, np.nan)
        found = publish(NO_SKILL, state(storm=unknown, calm=unknown), CONTEXT)
        assert found.rows["conviction"].null_count() == 3
        assert found.rows["regime"].null_count() == 3
        assert no_nan(found.rows)

    def test_states_that_are_all_alike_name_none(self) -> None:
        alike = np.full(N, 0.5)
        found = publish(NO_SKILL, state(storm=alike, calm=alike), CONTEXT)
        assert found.rows["regime"].null_count() == 3
        assert found.rows["regime_certainty"].null_count() == 0

    def test_without_a_vix_volatility_stands_in(self) -> None:
        found = publish(NO_SKILL, state(vix=pl.Series([None] * N, dtype=pl.Float64)), CONTEXT)
        assert found.rows["crisis_intensity"].to_list() == pytest.approx([5 * (75 * 0.3 - 15)] * 3)

    def test_a_direction_that_is_nan_is_null(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("zl_assets.core.forecasts.calibrated_direction", lambda *_: np.array([np.nan]))
        assert publish(NO_SKILL, state(), CONTEXT).rows["direction_probability"].to_list() == [None] * 3

    def test_a_short_history_has_no_percentile_and_so_no_confidence(self) -> None:
        short = [replace(m, oof=m.oof.tail(200)) for m in NO_SKILL]
        found = publish(short, state(), CONTEXT)
        assert found.rows["confidence"].null_count() == 3
        assert found.rows["conviction"].null_count() == 0


def no_nan(rows: pl.DataFrame) -> bool:
    return not rows.select(pl.selectors.float().is_nan().any()).transpose().to_series().any()


class TestDrivers:
    def test_they_are_told_in_cents_the_largest_first(self, published: Publication) -> None:
        close = ROWS["close"][-1]
        assert row_of(published, "lightgbm")["drivers"] == f"rsi_14 {0.01 * close:+.2f}, k_vol {-0.002 * close:+.2f}"
        assert row_of(published, "no_change")["drivers"] is None

    def test_at_most_five_and_none_that_moves_nothing(self) -> None:
        many = pl.DataFrame({"feature": list("abcdefg"), "contribution": [0.07, 0.06, 0.05, 0.04, 0.03, 0.02, 0.01]})
        assert told_drivers(many, 50.0) == "a +3.50, b +3.00, c +2.50, d +2.00, e +1.50"
        still = pl.DataFrame({"feature": ["a", "b"], "contribution": [-0.01, 0.0]})
        assert told_drivers(still, 50.0) == "a -0.50"
        assert told_drivers(still.tail(1), 50.0) is None


def test_older_features_than_data_are_told_apart() -> None:
    newer = AS_OF + timedelta(days=2)
    found = publish(NO_SKILL, state(), replace(CONTEXT, data_as_of=newer))
    assert found.rows["as_of_date"].unique().to_list() == [AS_OF]
    assert found.rows["data_as_of"].unique().to_list() == [newer]


@pytest.mark.parametrize("close", [None, -1.0, 0.0, float("inf"), float("nan")])
def test_a_price_that_is_none_is_refused(close: float | None) -> None:
    models = [replace(m, newest=m.newest.with_columns(close=pl.lit(close, pl.Float64))) for m in NO_SKILL]
    with pytest.raises(InputError, match="the current price is"):
        publish(models, state(), CONTEXT)


def test_a_target_that_is_not_later_is_refused() -> None:
    with pytest.raises(InputError, match="is not after the forecast's"):
        publish(NO_SKILL, state(), replace(CONTEXT, target_date=AS_OF))


def test_without_no_change_nothing_is_published() -> None:
    with pytest.raises(InputError, match="beside no-change"):
        publish(NO_SKILL[1:], state(), CONTEXT)


def test_models_of_other_rows_are_refused() -> None:
    other = replace(NO_SKILL[1], oof=NO_SKILL[1].oof.tail(-3))
    with pytest.raises(InputError, match="other rows"):
        publish([NO_SKILL[0], other], state(), CONTEXT)


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(InputError, match="no time zone"):
        ForecastContext(HORIZONS["1w"], date(2025, 9, 8), is_simulated=False, created_at=CREATED.replace(tzinfo=None))


def test_a_session_forecast_again_has_the_newest_champion_alone(published: Publication) -> None:
    before = published.rows.with_columns(model_version=pl.lit("of-other-prices"))
    left = superseded(before, published.rows)
    assert left.filter("is_champion").is_empty()
    assert left["model"].to_list() == before.filter("is_champion")["model"].to_list()
    assert left.schema == published.rows.schema
    other_day = before.with_columns(pl.col("as_of_date").dt.offset_by("-1d"))
    other_horizon = before.with_columns(horizon=pl.lit("12m"))
    assert superseded(pl.concat([other_day, other_horizon, published.rows]), published.rows).is_empty()
