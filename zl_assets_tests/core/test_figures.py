"""Figures: PNG bytes whose title says where the market is simulated."""

import json
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
import vl_convert

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS, QUANTILE_LEVELS
from zl_assets.core.evaluation.scores import crps
from zl_assets.core.figures import (
    crps_figure,
    fan_figure,
    importance_figure,
    price_figure,
    reliability_figure,
    state_reliability_figure,
    titled,
    weights_figure,
)
from zl_assets.core.models.ensemble import Blend
from zl_assets_tests.core.models.made_forecasts import WEEK, forecast, market

PNG = b"\x89PNG\r\n\x1a\n"
DAYS = [date(2019, 12, 2) + timedelta(days=n) for n in range(60)]
SHUFFLED = pl.DataFrame(
    {"feature": ["rsi_14", "return_1d"], "gain_share": [None, None], "permutation": [0.02, -0.01]},
    schema_overrides={"gain_share": pl.Float64},
)
IMPORTANCE = pl.DataFrame({"feature": ["rsi_14", "return_1d", "ewma_volatility"], "gain_share": [0.7, 0.3, None]})
MARKET = market(300)
"""Its last week has no outcome yet."""
MADE = {"no_change": forecast(MARKET), "lightgbm": forecast(MARKET, 0.02, 0.05)}

BLEND = Blend(("theta", "ets"), ("storm", "calm"), ((0.75, 0.25), (0.4, 0.6)), 100.0)
TOLD = pl.DataFrame(
    {
        "actual_state": ["calm", "storm", "calm", "calm", None],
        "calm": [0.91, 0.95, 1.0, 0.4, 0.5],
        "storm": [0.09, 0.05, 0.0, 0.6, 0.5],
    }
)


def sessions(source: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "trade_date": DAYS,
            "close": [30.0 + n / 10 for n in range(60)],
            "is_roll": [n == 20 for n in range(60)],
            "is_suspect": [n == 30 for n in range(60)],
            "source": [source] * 60,
        }
    )


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The Vega-Lite specifications handed to the renderer."""
    specs: list[dict[str, Any]] = []
    real = vl_convert.vegalite_to_png

    def render(spec: str, **options: Any) -> bytes:
        specs.append(json.loads(spec))
        return real(spec, **options)

    monkeypatch.setattr(vl_convert, "vegalite_to_png", render)
    return specs


def test_a_simulated_market_is_named_in_every_title(drawn: list[dict[str, Any]]) -> None:
    figures = [
        price_figure(sessions("simulated")),
        importance_figure(IMPORTANCE, "lightgbm, 1w", simulated=True),
        fan_figure(MADE["no_change"], "no_change, 1w", simulated=True),
        reliability_figure(MADE, "1w", simulated=True),
        crps_figure(MADE, "1w", simulated=True),
        weights_figure(BLEND, "1w", simulated=True),
        state_reliability_figure(TOLD, ("calm", "storm"), "1w", simulated=True),
    ]
    assert all(f.startswith(PNG) for f in figures)
    assert len(drawn) == len(figures) == 7
    assert all(spec["title"].startswith("SIMULATED market, not real prices: ") for spec in drawn)


def test_a_real_market_is_not(drawn: list[dict[str, Any]]) -> None:
    price_figure(sessions("databento"))
    assert "SIMULATED" not in drawn[0]["title"]
    assert titled("x", simulated=False) == "x"


def test_the_price_figure_shows_the_regimes_of_its_days_only(drawn: list[dict[str, Any]]) -> None:
    price_figure(sessions("databento"))
    data = drawn[0]["datasets"].values()
    bands = next(rows for rows in data if "regime" in rows[0])
    assert [(b["regime"], b["start"][:10], b["end"][:10]) for b in bands] == [
        ("trade_war", "2019-12-02", "2019-12-31"),
        ("covid_crash", "2020-01-01", "2020-01-30"),
    ]


def test_more_rows_than_a_web_page_may_hold_are_drawn() -> None:
    days = [date(1995, 1, 2) + timedelta(days=n) for n in range(6000)]
    flags = {"is_roll": False, "is_suspect": False, "source": "databento"}
    long = pl.DataFrame({"trade_date": days, "close": [30.0] * 6000}).with_columns(
        **{name: pl.lit(value) for name, value in flags.items()}
    )
    assert price_figure(long).startswith(PNG)


def test_the_fan_shows_every_fifth_forecast_the_one_without_outcome_too(drawn: list[dict[str, Any]]) -> None:
    fan_figure(MADE["lightgbm"].tail(6), "lightgbm, 1w", simulated=False)
    [rows] = drawn[0]["datasets"].values()
    assert [row["data_date"][:10] for row in rows] == [str(day) for day in MARKET["data_date"][[-6, -1]]]
    assert rows[0]["q50"] == rows[1]["q50"] == 0.02
    assert rows[1]["actual_return"] is None
    assert drawn[0]["title"] == "lightgbm, 1w: out-of-fold forecasts and what came"


def test_reliability_is_the_share_of_known_outcomes_at_or_below(drawn: list[dict[str, Any]]) -> None:
    reliability_figure(MADE, "1w", simulated=False)
    shown = next(rows for rows in drawn[0]["datasets"].values() if "model" in rows[0])
    assert len(shown) == 2 * len(QUANTILE_LEVELS)
    known = MADE["lightgbm"].head(-WEEK)
    for quantile, level in zip(QUANTILE_COLUMNS, QUANTILE_LEVELS, strict=True):
        [share] = [r["share"] for r in shown if r["model"] == "lightgbm" and r["level"] == level]
        below = [a <= q for a, q in known.select("actual_return", quantile).iter_rows()]
        assert share == pytest.approx(sum(below) / len(below))


def test_crps_is_that_of_a_quarter_over_no_changes(drawn: list[dict[str, Any]]) -> None:
    crps_figure(MADE, "1w", simulated=False)
    [shown] = drawn[0]["datasets"].values()
    assert {r["ratio"] for r in shown if r["model"] == "no_change"} == {1.0}
    first = MARKET["data_date"].dt.year().eq(2018) & MARKET["data_date"].dt.quarter().eq(1)
    losses = {
        name: crps(rows.filter(first)["actual_return"].to_numpy(), rows.filter(first).select(QUANTILE_COLUMNS)).mean()
        for name, rows in MADE.items()
    }
    [ratio] = [r["ratio"] for r in shown if r["model"] == "lightgbm" and r["quarter"].startswith("2018-01")]
    assert ratio == pytest.approx(losses["lightgbm"] / losses["no_change"])


def test_importance_is_the_share_of_gain_of_what_trees_can_split_on(drawn: list[dict[str, Any]]) -> None:
    importance_figure(IMPORTANCE, "lightgbm, 1w", simulated=False)
    [shown] = drawn[0]["datasets"].values()
    assert {row["feature"]: row["gain_share"] for row in shown} == {"rsi_14": 0.7, "return_1d": 0.3}
    assert drawn[0]["title"] == "lightgbm, 1w: what the trees split on"


def test_a_model_that_counts_no_gain_shows_what_shuffling_costs(drawn: list[dict[str, Any]]) -> None:
    importance_figure(SHUFFLED, "gru, 1w", simulated=False)
    [shown] = drawn[0]["datasets"].values()
    assert {row["feature"]: row["permutation"] for row in shown} == {"rsi_14": 0.02, "return_1d": -0.01}
    assert drawn[0]["title"] == "gru, 1w: what shuffling a feature costs"


def test_the_weight_of_every_member_in_every_state_is_shown(drawn: list[dict[str, Any]]) -> None:
    weights_figure(BLEND, "1w", simulated=False)
    [shown] = drawn[0]["datasets"].values()
    assert {(r["state"], r["model"]): r["weight"] for r in shown} == {
        ("storm", "theta"): 0.75,
        ("storm", "ets"): 0.25,
        ("calm", "theta"): 0.4,
        ("calm", "ets"): 0.6,
    }


def test_a_state_comes_as_often_as_counted_by_hand(drawn: list[dict[str, Any]]) -> None:
    state_reliability_figure(TOLD, ("calm", "storm"), "1w", simulated=False)
    shown = next(rows for rows in drawn[0]["datasets"].values() if "state" in rows[0])
    found = {(r["state"], r["tenth"]): (r["probability"], r["share"], r["sessions"]) for r in shown}
    # A certainty belongs to the highest tenth; the session without an outcome to none.
    assert found == {
        ("calm", 4): (0.4, 1.0, 1),
        ("calm", 9): (pytest.approx((0.91 + 0.95 + 1.0) / 3), pytest.approx(2 / 3), 3),
        ("storm", 0): (pytest.approx((0.09 + 0.05 + 0.0) / 3), pytest.approx(1 / 3), 3),
        ("storm", 6): (0.6, 0.0, 1),
    }
