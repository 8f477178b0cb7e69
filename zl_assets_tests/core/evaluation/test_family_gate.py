"""The gate: its figures recomputed by hand, its verdicts in worlds whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from zlib import crc32

import numpy as np
import polars as pl
import pytest

from zl_assets.core.evaluation.bootstrap import MeanInterval, mean_interval
from zl_assets.core.evaluation.family_gate import QUICK, Evidence, GateConfig, gate
from zl_assets.core.evaluation.splits import plan_walk_forward
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import STATIONARY_FEATURES, labelled_rows
from zl_assets.core.models.lightgbm_model import LightGBMForecaster
from zl_assets.core.models.trees import TreeConfig
from zl_assets.errors import ConfigurationError, InputError, NotEnoughHistory
from zl_assets.sources.simulated import World
from zl_assets_tests.core.models.training_frames import random_walk, training_frame
from zl_assets_tests.world_frames import world_frames

WEEK = HORIZONS["1w"]
FAMILIES = {
    "momentum": ("return_5d", "return_21d"),
    "volatility": ("volatility_21d", "vol_percentile", "k_vol"),
    "rsi": ("rsi_14",),
}
BASE = ("return_1d",)
FAST = GateConfig(noise_draws=2)


@cache
def frame(length: int = 1300, sessions: int = 5) -> pl.DataFrame:
    return training_frame(random_walk(length, 11), sessions)


def by_hand(rows: pl.DataFrame, columns: tuple[str, ...]) -> np.ndarray:
    """Absolute errors out of fold, one plain fit a fold."""
    numbers = rows["session_number"].to_numpy()
    losses: list[np.ndarray] = []
    for fold in plan_walk_forward(numbers, 5).split(numbers):
        train, test = rows[fold.train], rows[fold.test]
        assert train["session_number"].max() + 5 <= test["session_number"].min()
        model = LightGBMForecaster(TreeConfig(), columns, horizon_sessions=5)
        model.fit(train, train["target"].to_numpy(), train["sample_weight"].cast(pl.Float64).to_numpy())
        losses.append(np.abs(model.predict(test) - test["target"].to_numpy()))
    return np.concatenate(losses)


class TestFigures:
    def test_the_difference_is_that_of_plain_fits_on_the_same_purged_folds(self) -> None:
        [found] = gate(frame(), WEEK, {"volatility": FAMILIES["volatility"]}, BASE, seed=1, config=FAST)
        rows = labelled_rows(frame())
        with_it, without = by_hand(rows, BASE + FAMILIES["volatility"]), by_hand(rows, BASE)
        assert found.n_rows == with_it.size
        assert found.loss_with == pytest.approx(with_it.mean(), rel=1e-12)
        assert found.loss_without == pytest.approx(without.mean(), rel=1e-12)
        assert found.mean_difference == pytest.approx((with_it - without).mean(), rel=1e-9)
        stream = [1, crc32(b"volatility"), 0]
        assert found.interval == mean_interval(with_it - without, 5, level=0.95, seed=stream)
        numbers = rows["session_number"].to_numpy()
        sizes = [f.test.size for f in plan_walk_forward(numbers, 5).split(numbers)]
        parts = np.split(with_it - without, np.cumsum(sizes)[:-1])
        assert (found.folds, found.n_independent) == (len(sizes), with_it.size // 5)
        assert found.folds_improved_share == np.mean([p.mean() < 0 for p in parts])

    def test_a_family_of_the_base_is_judged_by_leaving_it_out(self) -> None:
        [found] = gate(frame(), WEEK, {"rsi": ("rsi_14",)}, STATIONARY_FEATURES, seed=1, config=FAST)
        assert found.base == tuple(c for c in STATIONARY_FEATURES if c != "rsi_14")
        [added] = gate(frame(), WEEK, {"rsi": ("rsi_14",)}, found.base, seed=1, config=FAST)
        assert added == found

    def test_a_family_by_itself_is_compared_with_no_change(self) -> None:
        [found] = gate(frame(), WEEK, {"rsi": ("rsi_14",)}, ("rsi_14",), seed=1, config=FAST)
        target = labelled_rows(frame())["target"].tail(found.n_rows)
        assert found.base == ()
        assert found.loss_without == pytest.approx(target.abs().mean(), rel=1e-12)

    def test_a_family_without_any_value_changes_nothing_and_drops_no_row(self) -> None:
        half = pl.when(pl.int_range(pl.len()) > 900).then("rsi_14")
        given = frame().with_columns(late=half, never=pl.lit(None, dtype=pl.Float64))
        late, never = gate(given, WEEK, {"late": ("late",), "never": ("never",)}, BASE, seed=1, config=FAST)
        [whole] = gate(frame(), WEEK, {"rsi": ("rsi_14",)}, BASE, seed=1, config=FAST)
        assert late.n_rows == never.n_rows == whole.n_rows
        assert late.loss_without == never.loss_without == whole.loss_without
        assert (never.mean_difference, never.noise_differences, never.verdict) == (0.0, (0.0, 0.0), "no effect")

    def test_a_family_is_judged_the_same_whichever_others_are(self) -> None:
        together = gate(frame(), WEEK, FAMILIES, BASE, seed=4, config=FAST)
        alone = [
            gate(frame(), WEEK, {n: FAMILIES[n]}, BASE, seed=4, config=replace(FAST, threads=1), comparisons=3)
            for n in FAMILIES
        ]
        assert [e for [e] in alone] == list(together)

    def test_another_seed_changes_noise_and_interval_and_no_loss(self) -> None:
        [a], [b] = (gate(frame(), WEEK, {"rsi": ("rsi_14",)}, BASE, seed=s, config=FAST) for s in (1, 2))
        assert (a.loss_with, a.loss_without) == (b.loss_with, b.loss_without)
        assert a.noise_differences != b.noise_differences
        assert a.interval != b.interval

    def test_fewer_folds_are_the_latest_ones_of_the_same_fits(self) -> None:
        config = replace(FAST, last_folds=3)
        [found] = gate(frame(), WEEK, {"rsi": ("rsi_14",)}, BASE, seed=1, config=config)
        assert found.folds == 3
        losses = by_hand(labelled_rows(frame()), (*BASE, "rsi_14"))[-found.n_rows :]
        assert found.loss_with == pytest.approx(losses.mean(), rel=1e-12)
        assert (QUICK.trees, QUICK.walk) == (GateConfig().trees, GateConfig().walk)

    def test_the_level_spends_the_rate_over_all_comparisons(self) -> None:
        levels = [e.level for e in gate(frame(), WEEK, FAMILIES, BASE, seed=1, config=FAST)]
        assert levels == [pytest.approx(1 - 0.05 / 3)] * 3
        [one] = gate(frame(), WEEK, {"rsi": ("rsi_14",)}, BASE, seed=1, config=FAST, comparisons=25)
        assert one.level == pytest.approx(0.998)

    def test_every_family_is_reported_with_the_fits_so_far(self) -> None:
        told: list[str] = []
        found = gate(frame(), WEEK, FAMILIES, BASE, seed=1, config=FAST, report=told.append)
        fits = [found[0].folds * n for n in (4, 7, 10)]
        assert [t.split(" after ")[1] for t in told] == [f"{n} fits" for n in fits]
        assert [t.split(":")[0] for t in told] == list(FAMILIES)


class TestRefused:
    @pytest.mark.parametrize(
        ("families", "base", "message"),
        [
            ({"a": ("nowhere",)}, BASE, "missing columns: nowhere"),
            ({"a": ("rsi_14",)}, ("nothing",), "missing columns: nothing"),
            ({"a": ("regime_name",)}, BASE, "not a number: regime_name"),
            ({"a": ()}, BASE, "families without a column: a"),
        ],
    )
    def test_columns_that_cannot_be_learnt_from(self, families, base, message: str) -> None:
        with pytest.raises(InputError, match=message):
            gate(frame(), WEEK, families, base, seed=1)

    def test_fewer_comparisons_than_families(self) -> None:
        with pytest.raises(InputError, match="3 families in 2 comparisons"):
            gate(frame(), WEEK, FAMILIES, BASE, seed=1, comparisons=2)

    @pytest.mark.parametrize("wrong", [{"noise_draws": 0}, {"family_wise_error": 1.0}, {"last_folds": 2}])
    def test_a_gate_that_is_not_defined(self, wrong: dict) -> None:
        with pytest.raises(ConfigurationError, match="the gate is not defined"):
            GateConfig(**wrong)

    def test_too_short_a_history(self) -> None:
        with pytest.raises(NotEnoughHistory):
            gate(frame().head(150), WEEK, FAMILIES, BASE, seed=1)


def evidence(mean: float, low: float, high: float, against: tuple[float, float], loss: float = 0.1) -> Evidence:
    def interval(a: float, b: float) -> MeanInterval:
        return MeanInterval((a + b) / 2, a, b, 0.99, 10, 10, 999)

    return Evidence(
        family="f",
        columns=("a",),
        base=(),
        n_rows=500,
        n_independent=100,
        loss_with=loss + mean,
        loss_without=loss,
        mean_difference=mean,
        interval=interval(low, high),
        against_noise=interval(*against),
        level=0.99,
        folds=5,
        folds_improved_share=0.5,
        noise_differences=(-0.001, 0.001),
    )


class TestVerdict:
    @pytest.mark.parametrize(
        ("case", "verdict"),
        [
            (evidence(-0.002, -0.003, -0.001, (-0.003, -0.001)), "keep"),
            (evidence(-0.002, -0.003, 0.0001, (-0.003, -0.001)), "no effect"),
            (evidence(-0.0009, -0.001, -0.0008, (-0.001, 0.0)), "no effect"),
            (evidence(0.002, 0.001, 0.003, (0.001, 0.003)), "investigate"),
            (evidence(0.002, 0.001, 0.003, (-0.001, 0.003)), "no effect"),
            (evidence(0.0009, 0.0008, 0.001, (0.0001, 0.001)), "no effect"),
            (evidence(-0.02, -0.03, -0.01, (-0.03, -0.01)), "investigate"),
            (replace(evidence(-0.002, 0, 0, (0, 0)), interval=None, against_noise=None), "not testable"),
            (replace(evidence(-0.02, 0, 0, (0, 0)), interval=None, against_noise=None), "investigate"),
        ],
        ids=["keep", "unsure", "noise_too", "harmful", "maybe", "harm_of_noise", "leak", "few", "leak_on_few"],
    )
    def test_each_follows_from_its_figures(self, case: Evidence, verdict: str) -> None:
        assert case.verdict == verdict

    def test_below_ten_independent_outcomes_there_is_no_test(self) -> None:
        year = HORIZONS["12m"]
        [found] = gate(frame(2600, 252), year, {"rsi": ("rsi_14",)}, BASE, seed=1, config=FAST)
        assert found.n_independent < 10
        assert (found.interval, found.against_noise, found.verdict) == (None, None, "not testable")

    def test_a_family_that_knows_the_outcome_is_investigated(self) -> None:
        noise = pl.Series(np.random.default_rng(1).normal(0, 0.03, frame().height))
        leaking = frame().with_columns(leak=pl.col("target") + noise)
        [found] = gate(leaking, WEEK, {"leak": ("leak",)}, BASE, seed=1, config=FAST)
        assert found.verdict == "investigate"
        assert found.loss_with < 0.85 * found.loss_without


class TestWorlds:
    """A few seeds; `python -m zl_assets_tests.benchmarks.gate_rates` measures the rate on many."""

    @staticmethod
    def verdicts(world: World, horizon: str, seeds: range) -> list[dict[str, str]]:
        frames = world_frames(world, horizon, seeds)
        found = (gate(f, HORIZONS[horizon], FAMILIES, BASE, seed=3, config=FAST) for f in frames)
        return [{e.family: e.verdict for e in evidence} for evidence in found]

    @pytest.mark.parametrize("horizon", ["1w", "1m"])
    def test_where_there_is_nothing_hardly_a_gate_says_otherwise(self, horizon: str) -> None:
        found = self.verdicts("martingale", horizon, range(300, 306))
        # At the stated rate of one gate in twenty, two of six have a probability of 3 %.
        assert sum(v != dict.fromkeys(FAMILIES, "no effect") for v in found) <= 1, found

    @pytest.mark.parametrize("horizon", ["1w", "1m"])
    def test_the_planted_family_is_kept_where_the_base_lacks_it(self, horizon: str) -> None:
        found = self.verdicts("planted", horizon, range(300, 303))
        assert [f["momentum"] for f in found] == ["keep"] * 3
        assert [f["volatility"] for f in found] == ["no effect"] * 3
