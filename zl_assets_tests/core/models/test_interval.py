"""The interval around a point: its fit against simulated errors and its own likelihood, its quantiles against the
distribution they are quantiles of."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.models.interval import DEGREES, LEAST_ERRORS, StudentInterval, weighted_quantiles
from zl_assets.errors import InputError

intervals = st.builds(StudentInterval, st.floats(0.1, 20), st.floats(*DEGREES))
points = st.floats(-0.5, 1.0)
volatilities = st.floats(0.001, 0.1)


def made(n: int, scale: float, degrees: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcomes, points and volatilities whose errors in logarithms are Student's t."""
    rng = np.random.default_rng(seed)
    volatility = rng.uniform(0.005, 0.03, n)
    point = rng.normal(0, 0.02, n)
    errors = volatility * scale * rng.standard_t(degrees, n)
    return np.expm1(np.log1p(point) + errors), point, volatility


class TestFit:
    def test_it_finds_what_errors_were_drawn_from(self) -> None:
        found = StudentInterval.fit(*made(20_000, 2.2, 5.0))
        assert found.scale == pytest.approx(2.2, rel=0.03)
        assert found.degrees == pytest.approx(5.0, rel=0.1)

    @pytest.mark.parametrize("degrees", [3.0, 12.0])
    def test_no_parameters_beside_it_are_likelier(self, degrees: float) -> None:
        actual, point, volatility = made(1000, 2.2, degrees)
        found = StudentInterval.fit(actual, point, volatility)
        units = (np.log1p(actual) - np.log1p(point)) / volatility

        def likelihood(scale: float, degrees: float) -> float:
            return float(stats.t.logpdf(units, degrees, scale=scale).sum())

        best = likelihood(found.scale, found.degrees)
        for a in (0.98, 1.0, 1.02):
            for b in (0.95, 1.0, 1.05):
                assert likelihood(found.scale * a, found.degrees * b) <= best + 1e-6

    @pytest.mark.parametrize(("drawn", "bound"), [(1.2, DEGREES[0]), (1e6, DEGREES[1])])
    def test_tails_stay_within_their_bounds_with_the_scale_that_fits_them(self, drawn: float, bound: float) -> None:
        actual, point, volatility = made(800, 1.0, drawn, seed=3)
        found = StudentInterval.fit(actual, point, volatility)
        units = (np.log1p(actual) - np.log1p(point)) / volatility
        assert found.degrees == bound
        sums = [stats.t.logpdf(units, bound, scale=found.scale * a).sum() for a in (0.98, 1.0, 1.02)]
        assert max(sums) == sums[1]

    def test_errors_and_volatilities_in_another_unit_give_the_same_shape(self) -> None:
        actual, point, volatility = made(300, 2.0, 4.0)
        plain = StudentInterval.fit(actual, point, volatility)
        half = StudentInterval.fit(np.expm1(0.5 * np.log1p(actual)), np.expm1(0.5 * np.log1p(point)), 0.5 * volatility)
        assert (half.scale, half.degrees) == pytest.approx((plain.scale, plain.degrees), rel=1e-3)

    def test_it_holds_what_it_promises_on_outcomes_it_has_not_seen(self) -> None:
        actual, point, volatility = made(6000, 2.2, 4.0)
        quantiles = StudentInterval.fit(actual[:2000], point[:2000], volatility[:2000]).quantiles(point, volatility)
        below = (actual[2000:, None] <= quantiles[2000:]).mean(axis=0)
        assert below == pytest.approx(np.array(QUANTILE_LEVELS), abs=0.025)

    @pytest.mark.parametrize(
        "damage",
        [
            {"actual": np.nan},
            {"actual": -1.0},
            {"point": -1.5},
            {"volatility": 0.0},
            {"volatility": -0.01},
            {"volatility": np.nan},
            {"volatility": np.inf},
        ],
    )
    def test_an_error_that_is_no_number_is_refused(self, damage: dict[str, float]) -> None:
        given = dict(zip(("actual", "point", "volatility"), made(100, 1.0, 5.0), strict=True))
        for name, value in damage.items():
            given[name][7] = value
        with pytest.raises(InputError, match=f"{LEAST_ERRORS} finite errors with a positive volatility"):
            StudentInterval.fit(**given)

    def test_too_few_errors_are_refused_and_just_enough_are_not(self) -> None:
        actual, point, volatility = made(LEAST_ERRORS, 1.0, 5.0)
        assert StudentInterval.fit(actual, point, volatility).scale > 0
        with pytest.raises(InputError, match=f"{LEAST_ERRORS - 1} errors"):
            StudentInterval.fit(actual[1:], point[1:], volatility[1:])
        with pytest.raises(InputError, match="finite errors"):
            StudentInterval.fit(actual, point, volatility[1:])

    def test_forecasts_that_were_never_wrong_are_refused(self) -> None:
        _, point, volatility = made(100, 1.0, 5.0)
        with pytest.raises(InputError, match="no forecast was ever wrong"):
            StudentInterval.fit(point, point, volatility)


class TestQuantiles:
    @settings(max_examples=50)
    @given(interval=intervals, point=points, volatility=volatilities)
    def test_each_holds_its_share_of_the_distribution(
        self, interval: StudentInterval, point: float, volatility: float
    ) -> None:
        [quantiles] = interval.quantiles(np.array([point]), np.array([volatility]))
        z = (np.log1p(quantiles) - np.log1p(point)) / (volatility * interval.scale)
        assert stats.t.cdf(z, interval.degrees) == pytest.approx(np.array(QUANTILE_LEVELS), abs=1e-9)

    @settings(max_examples=50)
    @given(interval=intervals, rows=st.lists(st.tuples(points, volatilities), min_size=1, max_size=5))
    def test_they_ascend_around_the_point_and_no_price_is_negative(
        self, interval: StudentInterval, rows: list[tuple[float, float]]
    ) -> None:
        point, volatility = np.array(rows).T
        quantiles = interval.quantiles(point, volatility)
        assert quantiles.shape == (len(rows), 7)
        assert (np.diff(quantiles, axis=1) > 0).all()
        assert (quantiles > -1).all()
        assert quantiles[:, 3] == pytest.approx(point, abs=1e-12)

    def test_a_row_without_a_volatility_has_none(self) -> None:
        quantiles = StudentInterval(1.0, 5.0).quantiles(np.zeros(2), np.array([np.nan, 0.01]))
        assert np.isnan(quantiles[0]).all()
        assert np.isfinite(quantiles[1]).all()


class TestNumbers:
    def test_those_that_were_written_are_read_back(self) -> None:
        interval = StudentInterval(0.1, 4.5)
        assert StudentInterval.of(json.loads(json.dumps(asdict(interval)))) == interval

    @pytest.mark.parametrize("wrong", [float("inf"), float("nan"), "wide", None, []])
    @pytest.mark.parametrize("name", ["scale", "degrees"])
    def test_one_that_is_missing_or_not_finite_is_refused(self, name: str, wrong: object) -> None:
        whole = {"scale": 1.0, "degrees": 5.0}
        with pytest.raises((TypeError, ValueError)):
            StudentInterval.of({**whole, name: wrong})
        with pytest.raises(KeyError, match=name):
            StudentInterval.of({n: v for n, v in whole.items() if n != name})


class TestWeightedQuantiles:
    def test_equal_weights_give_the_quantiles_of_numpy(self) -> None:
        values = np.random.default_rng(1).normal(size=301)
        levels = (0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95)
        assert np.allclose(weighted_quantiles(values, np.full(301, 7.0)), np.quantile(values, levels, method="hazen"))

    def test_weights_count_as_so_many_rows_and_only_their_ratio_matters(self) -> None:
        rng = np.random.default_rng(2)
        values, weights = rng.normal(size=3000), rng.integers(1, 6, 3000).astype(float)
        weighted = weighted_quantiles(values, weights)
        assert np.allclose(
            weighted, weighted_quantiles(np.repeat(values, weights.astype(int)), np.ones(int(weights.sum()))), atol=0.01
        )
        assert np.allclose(weighted, weighted_quantiles(values, weights * 1e4), rtol=1e-12)
        assert not np.allclose(weighted, weighted_quantiles(values, np.ones(3000)), atol=1e-4)

    @given(
        st.lists(st.tuples(st.floats(-5, 5), st.integers(1, 6)), min_size=1, max_size=60),
        st.floats(1e-3, 1e3),
    )
    def test_they_ascend_lie_inside_and_ignore_the_scale_of_weights(
        self, pairs: list[tuple[float, int]], scale: float
    ) -> None:
        values, weights = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
        found = weighted_quantiles(values, weights)
        assert (np.diff(found) >= -1e-12).all()
        assert values.min() <= found.min()
        assert found.max() <= values.max()
        assert np.allclose(weighted_quantiles(values, weights * scale), found, atol=1e-9)
        equal = weighted_quantiles(values, np.ones_like(values))
        assert np.allclose(equal, np.quantile(values, QUANTILE_LEVELS, method="hazen"), atol=1e-9)
