"""The statistical forecasters against statsforecast's own one-series methods, and against the protocol."""

import json
import math
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Forecaster, labelled_rows
from zl_assets.core.models.recursions import ArimaRecursion, EtsRecursion, Recursion, ThetaRecursion
from zl_assets.core.models.statistical import LEAST_CLOSES, SPARE, Arima, Ets, StatisticalForecaster, Theta
from zl_assets.errors import InputError, NotEnoughHistory
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

ALL = (Arima, Ets, Theta)
NORMAL_95 = 1.6448536269514722


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(700, 7), 21)


def _fit(kind: type[StatisticalForecaster], rows: pl.DataFrame, scale: float = 1.0) -> StatisticalForecaster:
    weights = rows["sample_weight"].cast(pl.Float64).to_numpy() * scale
    return kind(21, closes=300).fit(rows, rows["target"].to_numpy(), weights)


def _made(kind: type[StatisticalForecaster], frame: pl.DataFrame) -> StatisticalForecaster:
    """Fitted, then with parameters that depend on the whole window, so that any close in it counts."""
    model = _fit(kind, labelled_rows(frame))
    model._recursion = {
        "arima": ArimaRecursion((0.4,), (-0.95,), 1, 0.0004, 0.015),
        "ets": EtsRecursion(0.05, 0.002, 0.99, 0.0005, 0.015),
        "theta": ThetaRecursion(0.1, 3.0, True, 0.015),
    }[kind.name]
    return model


def _walk(n: int, seed: int) -> np.ndarray:
    return 3.5 + np.cumsum(np.random.default_rng(seed).normal(0, 0.015, n))


class TestRecursions:
    @pytest.mark.parametrize("steps", [1, 5, 252])
    @pytest.mark.parametrize(
        ("order", "constant"),
        [
            ((0, 1, 0), False),
            ((0, 1, 0), True),
            ((2, 1, 2), False),
            ((1, 1, 1), True),
            ((3, 1, 0), False),
            ((0, 2, 1), False),
            ((1, 0, 1), True),
        ],
    )
    def test_arima_forecasts_what_statsforecast_does(
        self, order: tuple[int, int, int], constant: bool, steps: int
    ) -> None:
        from statsforecast.models import ARIMA

        closes = _walk(400, 3)
        model = ARIMA(order=order, include_drift=constant and order[1] == 1, include_mean=constant)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about how the oracle's own search ended
            found = model.fit(closes).model_
        coefficients = {k: float(v) for k, v in found["coef"].items()}
        made = ArimaRecursion(
            tuple(coefficients[f"ar{i + 1}"] for i in range(order[0])),
            tuple(coefficients[f"ma{i + 1}"] for i in range(order[2])),
            order[1],
            coefficients.get("drift", coefficients.get("intercept", 0.0)),
            math.sqrt(found["sigma2"]),
        )
        forecasts = made.forecast(closes, 350, steps)
        assert forecasts.shape == (51,)
        for window in (0, 50):
            oracle = model.forward(closes[window : window + 350], h=steps)
            # The library starts with a variance of a million where ours starts exactly: a difference of 1e-6.
            assert forecasts[window] == pytest.approx(oracle["mean"][-1], abs=2e-5 if order[1] == 2 else 1e-6)
        if order[1] < 2:
            interval = model.predict(h=steps, level=[90])
            deviation = (np.asarray(interval["hi-90"])[-1] - interval["mean"][-1]) / NORMAL_95
            assert made.deviation(400, steps) == pytest.approx(deviation, rel=1e-3)

    @pytest.mark.parametrize("steps", [1, 5, 252])
    @pytest.mark.parametrize(("kind", "damped"), [("ANN", False), ("AAN", False), ("AAN", True)])
    def test_ets_forecasts_what_statsforecast_does(self, kind: str, damped: bool, steps: int) -> None:
        from statsforecast.models import AutoETS

        closes = _walk(400, 4)
        model = AutoETS(season_length=1, model=kind, damped=damped).fit(closes)
        par = np.array(model.model_["par"])
        par[:2] = (0.3, 0.01) if kind == "AAN" else (0.3, np.nan)
        trend = par[5] if kind == "AAN" else 0.0
        phi = par[3] if damped else 1.0
        made = EtsRecursion(0.3, 0.01 if trend else 0.0, phi, trend, math.sqrt(model.model_["sigma2"]))
        forecasts = made.forecast(closes, 300, steps)
        for window in (0, 100):
            past = closes[window : window + 300]
            par[4] = past[0] - phi * trend  # a level from which the first close is no surprise
            model.model_ = {**model.model_, "par": par}
            # statsforecast 2.1 counts phi twice in a damped forecast of two steps and more.
            if steps == 1 or not damped:
                oracle = model.forward(past, h=steps)["mean"][-1]
                assert forecasts[window] == pytest.approx(oracle, abs=1e-9)
            assert forecasts[window] == pytest.approx(_other_ets(made, past, par[4], steps), abs=1e-9)
        interval = model.predict(h=steps, level=[90])
        deviation = (interval["hi-90"][-1] - interval["mean"][-1]) / NORMAL_95
        assert made.deviation(300, steps) == pytest.approx(deviation, rel=1e-6)

    @pytest.mark.parametrize("steps", [1, 5, 252])
    @pytest.mark.parametrize("kind", ["STM", "OTM", "DSTM", "DOTM"])
    def test_theta_forecasts_what_statsforecast_does(self, kind: str, steps: int) -> None:
        from statsforecast.models import AutoTheta

        closes = _walk(400, 5) + 0.001 * np.arange(400)
        model = AutoTheta(season_length=1, model=kind).fit(closes)
        par = model.model_["par"]
        par["alpha"], par["theta"] = 0.2, 2.0 if kind.endswith("STM") else 3.5
        made = ThetaRecursion(par["alpha"], par["theta"], kind.startswith("D"), 0.015)
        forecasts = made.forecast(closes, 300, steps)
        for window in (0, 100):
            oracle = model.forward(closes[window : window + 300], h=steps)["mean"][-1]
            assert forecasts[window] == pytest.approx(oracle, abs=1e-9)

    @pytest.mark.parametrize("dynamic", [False, True])
    def test_theta_deviates_as_its_simulated_paths_do(self, dynamic: bool) -> None:
        made = ThetaRecursion(0.6, 2.0, dynamic, 0.02)
        window, steps, paths = 100, 60, 10_000
        past = np.repeat(_walk(window, 6)[:, None], paths, axis=1)
        ends = _simulated_theta(made, past, steps, np.random.default_rng(1))
        assert made.deviation(window, steps) == pytest.approx(ends.std(), rel=0.03)
        assert made.forecast(past[:, 0], window, steps)[0] == pytest.approx(ends.mean(), abs=5 * ends.std() / 100)

    def test_what_is_fitted_at_the_last_close_is_what_the_library_predicts(self) -> None:
        from statsforecast.models import AutoARIMA, AutoETS, AutoTheta

        closes = np.log(random_walk(600, 11))
        arima = AutoARIMA(season_length=1, max_d=1, approximation=True)
        ets, theta = AutoETS(season_length=1, model="AZN"), AutoTheta(season_length=1)
        pairs: list[tuple[Recursion, object]] = [
            (ArimaRecursion.fit(closes), arima),
            (EtsRecursion.fit(closes), ets),
            (ThetaRecursion.fit(closes), theta),
        ]
        for made, model in pairs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                interval = model.fit(closes).predict(h=21, level=[90])
            assert made.forecast(closes, 600, 21)[-1] == pytest.approx(interval["mean"][-1], abs=2e-3)
            deviation = (np.asarray(interval["hi-90"])[-1] - np.asarray(interval["lo-90"])[-1]) / 2 / NORMAL_95
            # The library draws 200 paths for theta.
            assert made.deviation(600, 21) == pytest.approx(deviation, rel=0.15 if model is theta else 1e-4)

    @given(
        st.lists(st.floats(-0.1, 0.1), min_size=40, max_size=60),
        st.integers(20, 30),
        st.integers(1, 30),
        st.sampled_from(
            [
                ArimaRecursion((0.5, -0.2), (0.3,), 1, 0.001, 0.01),
                EtsRecursion(0.8, 0.1, 0.95, 0.001, 0.01),
                ThetaRecursion(0.5, 2.0, False, 0.01),
                ThetaRecursion(0.5, 2.5, True, 0.01),
            ]
        ),
    )
    def test_every_window_stands_alone_and_a_shift_of_the_price_shifts_its_forecast(
        self, moves: list[float], window: int, steps: int, made: Recursion
    ) -> None:
        closes = 3.0 + np.cumsum(moves)
        forecasts = made.forecast(closes, window, steps)
        alone = [made.forecast(closes[k : k + window], window, steps)[0] for k in range(closes.size - window + 1)]
        assert forecasts.tolist() == alone
        if not isinstance(made, ThetaRecursion):  # whose level starts off the line, which 20 steps do not mend
            assert np.allclose(made.forecast(closes + 1, window, steps), forecasts + 1, atol=1e-9)
        assert made.deviation(window, steps) >= made.deviation(window, 1) == 0.01


def _other_ets(made: EtsRecursion, closes: np.ndarray, level: float, steps: int) -> float:
    """The same forecast by statsmodels."""
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    has_trend = made.trend != 0
    start = {"initial_level": level, **({"initial_trend": made.trend} if has_trend else {})}
    model = ETSModel(
        closes,
        trend="add" if has_trend else None,
        damped_trend=made.phi < 1,
        initialization_method="known",
        **start,
    )
    damping = [made.phi] if made.phi < 1 else []
    smoothed = model.smooth([made.alpha, *([made.beta, *damping] if has_trend else [])])
    return float(smoothed.forecast(steps)[-1])


def _simulated_theta(made: ThetaRecursion, past: np.ndarray, steps: int, rng: np.random.Generator) -> np.ndarray:
    """Ends of simulated paths, the line of the dynamic model fitted again by its definition at every step."""
    n = past.shape[0]
    times = np.arange(1, n + steps + 1)
    level, path = past[0], past
    slope, intercept = np.polyfit(times[:n], past[:, 0], 1)
    for t in range(1, n + steps):
        if made.dynamic:
            x, y = times[:t] - times[:t].mean(), path[:t]
            slope = (x[:, None] * y).sum(axis=0) / max((x**2).sum(), 1e-300)
            intercept = y.mean(axis=0) - slope * times[:t].mean()
        weights = made.alpha * (1 - made.alpha) ** np.arange(t + 1)
        # The line's part that smoothing has not caught up with: its drift over the steps smoothed so far.
        drift = intercept * (1 - made.alpha) ** t + slope * weights.sum() / made.alpha
        expected = level + (1 - 1 / made.theta) * drift
        if t >= n:
            path = np.vstack([path, expected + rng.normal(0, made.sigma, path.shape[1])])
        level = made.alpha * path[t] + (1 - made.alpha) * level
    return path[-1]


@pytest.mark.parametrize("kind", ALL)
class TestForecaster:
    def test_it_offers_what_a_forecaster_must(self, kind: type[StatisticalForecaster], frame: pl.DataFrame) -> None:
        model = _fit(kind, labelled_rows(frame))
        assert isinstance(model, Forecaster)
        assert model.columns_used == ("close", "is_suspect")
        assert model.explain(frame).schema == CONTRIBUTION_SCHEMA
        assert model.explain(frame).is_empty()
        assert (kind(21, closes=300).lookback, model.lookback) == (299, 299)
        assert _fit(kind, labelled_rows(frame).head(200)).lookback == 199

    def test_the_quantiles_are_normal_in_the_log_price(
        self, kind: type[StatisticalForecaster], frame: pl.DataFrame
    ) -> None:
        from scipy import stats

        model = _made(kind, frame)
        found = np.log1p(model.predict_quantiles(frame)[-1])
        closes = np.log(frame["close"].to_numpy())[-(300 - SPARE) :]
        assert model._recursion is not None
        mean = model._recursion.forecast(closes, closes.size, 21)[0] - closes[-1]
        deviation = model._recursion.deviation(closes.size, 21)
        assert found == pytest.approx(stats.norm.ppf(QUANTILE_LEVELS, mean, deviation), abs=1e-12)

    def test_two_fits_predict_the_same_bits_and_weights_and_targets_change_nothing(
        self, kind: type[StatisticalForecaster], frame: pl.DataFrame
    ) -> None:
        rows = labelled_rows(frame)
        first = _fit(kind, rows).predict_quantiles(frame)
        again = _fit(kind, rows.with_columns(pl.col("target") * 2), scale=1000.0).predict_quantiles(frame)
        assert first.tobytes() == again.tobytes()

    def test_only_the_latest_closes_of_the_training_rows_are_learnt_from(
        self, kind: type[StatisticalForecaster], frame: pl.DataFrame
    ) -> None:
        rows = labelled_rows(frame).head(400)
        row = pl.int_range(pl.len())
        older = rows.with_columns(close=pl.when(row < 100).then(1.0).otherwise("close"))
        newer = rows.with_columns(close=pl.when(row < 101).then(1.0).otherwise("close"))
        assert _fit(kind, older)._recursion == _fit(kind, rows)._recursion
        assert _fit(kind, newer)._recursion != _fit(kind, rows)._recursion

    def test_many_rows_at_once_are_one_by_one(self, kind: type[StatisticalForecaster], frame: pl.DataFrame) -> None:
        wild = (pl.int_range(pl.len()) % 37 == 5).alias("is_suspect")
        rows = frame.with_columns(wild, close=pl.when(wild).then(9e9).otherwise("close"))
        model = _made(kind, frame)
        at_once = model.predict_quantiles(rows)
        assert np.isfinite(at_once).all(axis=1).sum() > 300
        for k in (*range(model.lookback, model.lookback + 60), rows.height - 1):
            alone = model.predict_quantiles(rows[k - model.lookback : k + 1])
            assert np.isnan(alone[:-1]).all()
            assert alone[-1].tobytes() == at_once[k].tobytes()

    def test_rows_without_the_look_back_are_nan_and_the_first_with_it_is_not(
        self, kind: type[StatisticalForecaster], frame: pl.DataFrame
    ) -> None:
        model = _made(kind, frame)
        known = np.isfinite(model.predict_quantiles(frame)).all(axis=1)
        assert np.flatnonzero(known).tolist() == list(range(model.lookback, frame.height))
        assert model.predict_quantiles(frame.clear()).shape == (0, 7)

    def test_rows_after_a_row_do_not_touch_its_forecast(
        self, kind: type[StatisticalForecaster], frame: pl.DataFrame
    ) -> None:
        rows = labelled_rows(frame)
        later = pl.int_range(pl.len()) >= 500
        wild = frame.with_columns(close=pl.when(later).then(pl.col("close") * 3).otherwise("close"))
        head = _fit(kind, rows.head(450)).predict_quantiles(frame)[:500]
        assert _fit(kind, rows[:450]).predict_quantiles(wild)[:500].tobytes() == head.tobytes()

    def test_a_suspect_close_has_no_forecast_and_enters_none(
        self, kind: type[StatisticalForecaster], frame: pl.DataFrame
    ) -> None:
        model = _made(kind, frame)
        bad = pl.int_range(pl.len()).is_in([500, 510, 511])
        marked = frame.with_columns(is_suspect=bad)
        quantiles = model.predict_quantiles(marked)
        assert np.flatnonzero(np.isnan(quantiles).any(axis=1)).tolist() == [*range(model.lookback), 500, 510, 511]
        wild = marked.with_columns(close=pl.when(bad).then(float("nan")).otherwise("close"))
        assert model.predict_quantiles(wild).tobytes() == quantiles.tobytes()
        sound = model.predict_quantiles(marked.filter(~bad))
        assert sound[-1].tobytes() == quantiles[-1].tobytes()

    def test_more_suspect_closes_than_it_can_pass_over_leave_no_forecast(
        self, kind: type[StatisticalForecaster], frame: pl.DataFrame
    ) -> None:
        model = _made(kind, frame)
        last = frame.height - 1
        for count, known in ((SPARE, True), (SPARE + 1, False)):
            bad = pl.int_range(pl.len()).is_between(400, 400 + count - 1)
            quantiles = model.predict_quantiles(frame.with_columns(is_suspect=bad))
            assert np.isfinite(quantiles[last]).all() == known

    def test_suspect_training_rows_are_not_learnt_from(
        self, kind: type[StatisticalForecaster], frame: pl.DataFrame
    ) -> None:
        rows = labelled_rows(frame)
        bad = pl.int_range(pl.len()).is_in([420, 430])
        wild = rows.with_columns(is_suspect=bad, close=pl.when(bad).then(1e-3).otherwise("close"))
        assert _fit(kind, wild)._recursion == _fit(kind, rows.filter(~bad))._recursion

    def test_a_stored_model_predicts_the_same_bits(
        self, kind: type[StatisticalForecaster], frame: pl.DataFrame, tmp_path: Path
    ) -> None:
        for model in (_fit(kind, labelled_rows(frame)), _made(kind, frame)):
            model.save(tmp_path)
            loaded = kind.load(tmp_path)
            assert (loaded.horizon_sessions, loaded.lookback) == (21, 299)
            assert loaded.predict_quantiles(frame).tobytes() == model.predict_quantiles(frame).tobytes()

    def test_a_missing_column_is_refused_by_name(self, kind: type[StatisticalForecaster], frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame)
        with pytest.raises(InputError, match=rf"missing columns: close \[{kind.name}, rows to learn from\]"):
            _fit(kind, rows.drop("close"))
        with pytest.raises(InputError, match=rf"missing columns: is_suspect \[{kind.name}, rows to forecast\]"):
            _fit(kind, rows).predict_quantiles(rows.drop("is_suspect"))

    def test_what_nothing_can_be_learnt_from_is_refused(
        self, kind: type[StatisticalForecaster], frame: pl.DataFrame, tmp_path: Path
    ) -> None:
        rows = labelled_rows(frame)
        with pytest.raises(NotEnoughHistory, match="83 sound closes, at least 84 are needed"):
            _fit(kind, rows.head(LEAST_CLOSES - 1))
        with pytest.raises(InputError, match="the price never moved"):
            _fit(kind, rows.with_columns(close=pl.lit(30.0)))
        with pytest.raises(InputError, match="as many finite targets"):
            kind(21).fit(rows, rows["target"].to_numpy()[1:], np.ones(rows.height))
        with pytest.raises(InputError, match="not positive"):
            kind(21).fit(rows, rows["target"].to_numpy(), np.zeros(rows.height))
        for asked in (lambda: kind(21).predict_quantiles(frame), lambda: kind(21).save(tmp_path)):
            with pytest.raises(InputError, match="not fitted"):
                asked()
        for wrong in ((0, 1260), (5, LEAST_CLOSES - 1)):
            with pytest.raises(InputError, match="at least 1 session"):
                kind(*wrong)

    @pytest.mark.parametrize("damage", ["missing", "cut", "other", "word", "window", "infinite", "unknown"])
    def test_a_damaged_file_is_refused(
        self, damage: str, kind: type[StatisticalForecaster], frame: pl.DataFrame, tmp_path: Path
    ) -> None:
        _made(kind, frame).save(tmp_path)
        path = tmp_path / "parameters.json"
        text = path.read_text()
        held = json.loads(text)
        match damage:
            case "missing":
                path.unlink()
            case "cut":
                path.write_text(text[: len(text) // 2])
            case "other":
                path.write_text(json.dumps({**held, "model": "drift"}))
            case "window":
                path.write_text(json.dumps({**held, "window": None}))
            case _:
                value = {"word": "high", "infinite": math.inf}.get(damage, 1.0)
                key = "other" if damage == "unknown" else "sigma"
                path.write_text(json.dumps({**held, "parameters": {**held["parameters"], key: value}}))
        with pytest.raises(InputError, match="train this horizon again"):
            kind.load(tmp_path)


@pytest.mark.parametrize("kind", ALL)
def test_a_trend_that_lasts_is_found_and_none_is_made_of_noise(kind: type[StatisticalForecaster]) -> None:
    rising = training_frame(40 * np.exp(0.004 * np.arange(500) + np.random.default_rng(2).normal(0, 0.01, 500)), 21)
    model = _fit(kind, labelled_rows(rising))
    medians = model.predict_quantiles(rising)[model.lookback :, 3]
    assert medians.mean() == pytest.approx(math.expm1(0.004 * 21), rel=0.6)
    noise = training_frame(random_walk(500, 5), 21)
    model = _fit(kind, labelled_rows(noise))
    assert np.abs(model.predict_quantiles(noise)[model.lookback :, 3]).mean() < 0.03
