"""Which forecast is published, in made worlds in which it is known who has skill."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from zl_assets.checks.evaluation import evaluate_not_too_good
from zl_assets.core.evaluation.judgement import SIGNIFICANCE, Judgement, judge
from zl_assets.core.evaluation.leaderboard import EvaluationContext, Provenance, evaluation_rows
from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS, QUANTILE_LEVELS
from zl_assets.core.evaluation.scores import crps, score
from zl_assets.core.evaluation.significance import compare_losses, fixed_smoothing, standard_error
from zl_assets.core.horizons import HORIZONS
from zl_assets.errors import InputError

WEEK = HORIZONS["1w"]
NORMAL = stats.norm.ppf(QUANTILE_LEVELS)
NOISE = 0.01
SIGNAL = 0.005
LUCKY = 10
"""Seed of a world in which the first model of `lucky` looks skilled by itself."""

OTHERS = ("drift", "seasonal_naive", "theta", "ets", "arima", "lightgbm", "xgboost")


def rows_of(actual: np.ndarray, point: np.ndarray, width: float) -> pl.DataFrame:
    n = actual.size
    days = [date(2010, 1, 1) + timedelta(days=d) for d in range(n)]
    quantiles = point[:, None] + width * NORMAL
    return pl.DataFrame(
        {
            "data_date": days,
            "session_number": np.arange(1000, 1000 + n),
            "target_date": [d + timedelta(days=WEEK.sessions) for d in days],
            "close": 40.0,
            "actual_return": actual,
            **{name: quantiles[:, k] for k, name in enumerate(QUANTILE_COLUMNS)},
            "crossed": False,
        }
    )


def world(shares: Mapping[str, float], n: int = 1500, seed: int = 1, noise: float = 0.004) -> dict[str, pl.DataFrame]:
    """Forecasts of overlapping returns, of which a part can be known beforehand.

    Each model knows a share of that part, and adds noise of its own where it knows nothing.
    """
    rng = np.random.default_rng(seed)
    h = WEEK.sessions
    moves = rng.normal(0, NOISE, n + h)
    signal = rng.normal(0, SIGNAL, n)
    actual = signal + np.array([moves[t + 1 : t + 1 + h].sum() for t in range(n)])
    whole = float(np.hypot(NOISE * np.sqrt(h), SIGNAL))
    made = {"no_change": rows_of(actual, np.zeros(n), whole)}
    for name, share in shares.items():
        left = float(np.hypot(NOISE * np.sqrt(h), (1 - share) * SIGNAL))
        point = share * signal + (rng.normal(0, noise, n) if share == 0 else 0.0)
        made[name] = rows_of(actual, point, left)
    return made


def judged(forecasts: Mapping[str, pl.DataFrame]) -> Judgement:
    return judge(forecasts, forecasts, WEEK)


def losses(rows: pl.DataFrame) -> np.ndarray:
    return crps(rows["actual_return"].to_numpy(), rows.select(QUANTILE_COLUMNS).to_numpy())


def lucky(models: range, seed: int, n: int = 1500) -> dict[str, pl.DataFrame]:
    """Models that say no-change but for a little noise, so that on average they are neither better nor worse."""
    rng = np.random.default_rng(seed)
    made = world({}, n=n, seed=seed)
    actual = made["no_change"]["actual_return"].to_numpy()
    width = float(np.hypot(NOISE * np.sqrt(WEEK.sessions), SIGNAL))
    return made | {OTHERS[k]: rows_of(actual, rng.normal(0, 1e-5, n), width) for k in models}


class TestChampion:
    def test_where_none_has_skill_no_change_is_published(self) -> None:
        found = judged(world(dict.fromkeys(OTHERS, 0.0)))
        assert (found.champion, found.skill_found) == ("no_change", False)
        best = next(s for s in found.standings if s.model != "no_change")
        assert found.reason.startswith(f"no skill found: the best of the others is {best.model}, CRPS 1.0")
        assert "among 7 models, 300 independent windows" in found.reason

    def test_one_that_has_skill_is_published(self) -> None:
        found = judged(world({"drift": 0.0, "lightgbm": 1.0, "xgboost": 0.0}))
        assert (found.champion, found.skill_found) == ("lightgbm", True)
        assert found.reason.startswith("skill found: lightgbm, CRPS 0.9")

    def test_the_simplest_within_one_standard_error_of_the_best_is_published(self) -> None:
        forecasts = world({"lightgbm": 1.0, "ets": 0.8, "theta": 0.3}, seed=2)
        found = judged(forecasts)
        best = losses(forecasts["lightgbm"])
        behind = {m: losses(forecasts[m]) - best for m in ("ets", "theta")}
        errors = {m: standard_error(d, WEEK.sessions) for m, d in behind.items()}
        assert found.standings[0].model == "lightgbm"
        assert 0 < behind["ets"].mean() < errors["ets"]
        assert errors["theta"] < behind["theta"].mean()
        assert found.of("theta").p_value is not None
        assert found.of("theta").p_value < SIGNIFICANCE
        assert found.champion == "ets"

    def test_a_less_simple_one_that_is_near_does_not_take_the_place_of_the_best(self) -> None:
        assert judged(world({"lightgbm": 0.93, "ets": 1.0})).champion == "ets"

    def test_one_that_is_near_the_best_and_shows_no_skill_itself_is_not_published(self) -> None:
        forecasts = world({"lightgbm": 0.15}, n=900, seed=3)
        best = forecasts["lightgbm"]
        blurred = best["q50"].to_numpy() + np.random.default_rng(3).normal(0, 0.002, best.height)
        width = float(np.hypot(NOISE * np.sqrt(WEEK.sessions), 0.85 * SIGNAL))
        forecasts["drift"] = rows_of(best["actual_return"].to_numpy(), blurred, width)
        found = judged(forecasts)
        behind = losses(forecasts["drift"]) - losses(best)
        assert 0 < behind.mean() < standard_error(behind, WEEK.sessions)
        assert found.of("drift").p_value > 0.1
        assert found.champion == "lightgbm"

    def test_of_two_that_say_the_same_the_simpler_is_published(self) -> None:
        forecasts = world({"xgboost": 1.0})
        assert judged({**forecasts, "lightgbm": forecasts["xgboost"]}).champion == "lightgbm"

    def test_on_fewer_than_ten_independent_windows_nothing_is_tested(self) -> None:
        few, enough = (judged(world({"lightgbm": 1.0}, n=n)) for n in (49, 50))
        assert (few.champion, few.of("lightgbm").p_value) == ("no_change", None)
        assert few.reason.startswith("no test possible: the best of the others is lightgbm")
        assert few.reason.endswith("not testable, 9 independent windows")
        assert enough.of("lightgbm").p_value is not None

    def test_a_model_that_says_what_no_change_says_is_not_testable_and_not_published(self) -> None:
        forecasts = world({})
        found = judged({**forecasts, "specialist_crisis": forecasts["no_change"]})
        assert (found.champion, found.of("specialist_crisis").p_value) == ("no_change", None)

    def test_alone_no_change_is_published(self) -> None:
        found = judged(world({}))
        assert (found.champion, found.skill_found, len(found.standings)) == ("no_change", False, 1)
        assert found.reason == "no skill found: no other model was trained, 300 independent windows"

    def test_what_the_gate_says_follows_from_calibrated_and_not_from_raw_forecasts(self) -> None:
        skilled, noise = world({"lightgbm": 1.0}), world({"lightgbm": 0.0})
        assert judge(noise, skilled, WEEK).champion == "lightgbm"
        assert judge(skilled, noise, WEEK).champion == "no_change"


class TestManyModels:
    def test_p_values_are_adjusted_by_holm(self) -> None:
        forecasts = world({"drift": 0.0, "theta": 0.15, "ets": 0.1, "lightgbm": 0.3}, seed=4)
        found = judged(forecasts)
        losses = {
            m: crps(rows["actual_return"].to_numpy(), rows.select(QUANTILE_COLUMNS).to_numpy())
            for m, rows in forecasts.items()
        }
        alone = {
            s.model: max(
                s.against_no_change.p_one_sided,
                fixed_smoothing(losses[s.model] - losses["no_change"], WEEK.sessions).p_one_sided,
            )
            for s in found.standings
            if s.against_no_change
        }
        ascending = sorted(alone, key=lambda m: alone[m])
        largest = 0.0
        for rank, model in enumerate(ascending):
            largest = max(largest, min(1.0, alone[model] * (len(alone) - rank)))
            assert found.of(model).p_value == pytest.approx(largest)
        assert len(alone) == 4

    def test_luck_that_would_do_for_one_model_does_not_for_the_best_of_seven(self) -> None:
        forecasts = lucky(range(7), seed=LUCKY)
        alone = judged({m: forecasts[m] for m in ("no_change", "drift")})
        together = judged(forecasts)
        assert alone.champion == "drift"
        assert together.of("drift").p_value == pytest.approx(7 * alone.of("drift").p_value)
        assert together.champion == "no_change"

    def test_worlds_without_skill_hardly_ever_have_a_champion(self) -> None:
        champions = [judged(lucky(range(4), seed=100 + seed, n=400)).champion for seed in range(60)]
        # At one in twenty, eight of sixty have a probability of 1 %.
        assert sum(c != "no_change" for c in champions) < 8


class TestStandings:
    def test_the_lowest_crps_comes_first_with_the_scores_of_both_kinds(self) -> None:
        forecasts = world({"drift": 0.0, "lightgbm": 1.0, "ets": 0.5})
        wide = {m: rows_of(r["actual_return"].to_numpy(), r["q50"].to_numpy(), 0.05) for m, r in forecasts.items()}
        found = judge(wide, forecasts, WEEK)
        assert [s.model for s in found.standings] == ["lightgbm", "ets", "no_change", "drift"]
        for s in found.standings:
            assert s.scores == score(forecasts[s.model], 5, benchmark=forecasts["no_change"])
            assert s.raw == score(wide[s.model], 5, benchmark=wide["no_change"])
            assert s.raw.crps / s.raw.crps_vs_no_change == pytest.approx(losses(wide["no_change"]).mean())

    def test_no_change_is_not_tested_against_itself(self) -> None:
        found = judged(world({"ets": 0.0}))
        assert (found.of("no_change").against_no_change, found.of("no_change").p_value) == (None, None)

    def test_each_model_is_compared_with_the_ensemble_where_there_is_one(self) -> None:
        forecasts = world({"ensemble": 0.5, "lightgbm": 1.0})
        found = judged(forecasts)
        assert found.of("ensemble").against_ensemble is None
        for model, sign in (("lightgbm", -1), ("no_change", 1)):
            expected = compare_losses(losses(forecasts[model]) - losses(forecasts["ensemble"]), 5)
            told = found.of(model).against_ensemble
            assert told is not None
            assert told.p_one_sided == pytest.approx(expected.p_one_sided)
            assert np.sign(told.statistic) == sign
        del forecasts["ensemble"]
        assert all(s.against_ensemble is None for s in judged(forecasts).standings)


class TestTooGood:
    @staticmethod
    def flagged(forecasts: Mapping[str, pl.DataFrame]) -> bool:
        """Whether the rows of the comparison fail the check."""
        origins = {model: Provenance("1", "run", 100.0) for model in forecasts}
        context = EvaluationContext(date(2020, 1, 1), is_simulated=True, created_at=datetime(2020, 1, 2, tzinfo=UTC))
        return not evaluate_not_too_good(evaluation_rows(judged(forecasts), forecasts, origins, context)).passed

    def found(self, share: float, width: float, n: int = 600) -> bool:
        """A model that knows a share of the outcome itself."""
        forecasts = world({}, n=n)
        actual = forecasts["no_change"]["actual_return"].to_numpy()
        return self.flagged({**forecasts, "lightgbm": rows_of(actual, share * actual, width)})

    def test_a_crps_far_below_no_change_is(self) -> None:
        assert self.found(0.5, 0.013)
        assert self.found(0.5, 0.013, n=60)

    def test_a_hit_rate_far_above_half_is_where_the_windows_are_many(self) -> None:
        # The direction is always known and hardly told: no gain in the score.
        assert self.found(0.01, 0.025)
        assert not self.found(0.01, 0.025, n=149)
        assert self.found(0.01, 0.025, n=150)

    def test_honest_skill_is_not_and_no_change_never_is(self) -> None:
        assert not self.flagged(world({"lightgbm": 0.3, "drift": 0.0}))


class TestRefused:
    def test_without_no_change(self) -> None:
        forecasts = world({"lightgbm": 0.0})
        del forecasts["no_change"]
        with pytest.raises(InputError, match="beside no-change"):
            judged(forecasts)

    def test_models_that_were_not_calibrated(self) -> None:
        forecasts = world({"lightgbm": 0.0})
        with pytest.raises(InputError, match="before and after calibration"):
            judge(forecasts, {"no_change": forecasts["no_change"]}, WEEK)

    @pytest.mark.parametrize("kind", ["raw", "calibrated"])
    def test_models_judged_on_other_rows(self, kind: str) -> None:
        forecasts = world({"lightgbm": 0.0})
        fewer = {**forecasts, "lightgbm": forecasts["lightgbm"].tail(1499)}
        other = {**forecasts, "lightgbm": forecasts["lightgbm"].with_columns(pl.col("actual_return") + 0.01)}
        for changed in (fewer, other):
            raw, made = (changed, forecasts) if kind == "raw" else (forecasts, changed)
            with pytest.raises(InputError, match="the benchmark was judged on other rows"):
                judge(raw, made, WEEK)
