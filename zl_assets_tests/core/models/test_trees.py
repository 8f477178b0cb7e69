"""What holds for every boosted tree model, of either library, of the mean and of the quantiles."""

import json
import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import STATIONARY_FEATURES, Forecaster, labelled_rows
from zl_assets.core.models.interval import StudentInterval
from zl_assets.core.models.lightgbm_model import LightGBMForecaster
from zl_assets.core.models.lightgbm_quantile import LightGBMQuantileForecaster
from zl_assets.core.models.trees import PointTrees, QuantileTrees, TreeConfig, rows_needed
from zl_assets.core.models.xgboost_model import XGBoostForecaster, XGBoostQuantileForecaster
from zl_assets.errors import InputError
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

Trees = PointTrees | QuantileTrees
Fitted = Callable[[type[Trees]], Trees]
POINT = (LightGBMForecaster, XGBoostForecaster)
QUANTILE = (LightGBMQuantileForecaster, XGBoostQuantileForecaster)
SMALL = TreeConfig(n_estimators=15, learning_rate=0.1, lambda_l2=1.0)
LEARNT = 700

every_model = pytest.mark.parametrize("model", [*POINT, *QUANTILE])


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return labelled_rows(training_frame(random_walk(1000, 7), 5))


@pytest.fixture(scope="module")
def fitted(rows: pl.DataFrame) -> Fitted:
    known: dict[type[Trees], Trees] = {}

    def of(model: type[Trees]) -> Trees:
        if model not in known:
            known[model] = _fit(model, rows.head(LEARNT))
        return known[model]

    return of


def _fit(model: type[Trees], rows: pl.DataFrame) -> Trees:
    weights = rows["sample_weight"].cast(pl.Float64).to_numpy()
    return model(SMALL, horizon_sessions=5).fit(rows, rows["target"].to_numpy(), weights)


@every_model
class TestEveryModel:
    def test_it_is_a_forecaster_of_single_rows(self, model: type[Trees], fitted: Fitted) -> None:
        forecaster: Forecaster = fitted(model)
        assert isinstance(forecaster, Forecaster)
        assert forecaster.lookback == 0
        assert forecaster.columns_used == (*STATIONARY_FEATURES, "ewma_volatility")

    def test_two_fits_predict_the_same_bits(self, model: type[Trees], rows: pl.DataFrame, fitted: Fitted) -> None:
        again = _fit(model, rows.head(LEARNT))
        assert again.predict_quantiles(rows).tobytes() == fitted(model).predict_quantiles(rows).tobytes()

    def test_a_stored_model_says_the_same(
        self, model: type[Trees], rows: pl.DataFrame, fitted: Fitted, tmp_path: Path
    ) -> None:
        fitted(model).save(tmp_path)
        loaded = model.load(tmp_path)
        assert loaded.predict_quantiles(rows).tobytes() == fitted(model).predict_quantiles(rows).tobytes()
        assert loaded.explain(rows).equals(fitted(model).explain(rows))
        assert loaded.columns_used == fitted(model).columns_used

    def test_a_forecast_reads_its_own_row_only(self, model: type[Trees], rows: pl.DataFrame, fitted: Fitted) -> None:
        together = fitted(model).predict_quantiles(rows.tail(20))
        alone = [fitted(model).predict_quantiles(rows.tail(20)[k])[0] for k in range(20)]
        assert together.tobytes() == np.array(alone).tobytes()

    def test_rows_to_forecast_need_no_outcome_and_no_weight(
        self, model: type[Trees], rows: pl.DataFrame, fitted: Fitted
    ) -> None:
        plain = fitted(model).predict_quantiles(rows.select(*STATIONARY_FEATURES, "ewma_volatility"))
        assert plain.tobytes() == fitted(model).predict_quantiles(rows).tobytes()

    def test_the_scale_of_the_weights_does_not_matter_but_their_ratio_does(
        self, model: type[Trees], rows: pl.DataFrame, fitted: Fitted
    ) -> None:
        learnt = rows.head(LEARNT)
        plain = fitted(model).predict_quantiles(rows)
        scaled = _fit(model, learnt.with_columns(pl.col("sample_weight") * 1000))
        assert np.allclose(scaled.predict_quantiles(rows), plain, rtol=1e-5, atol=1e-8)
        equal = _fit(model, learnt.with_columns(sample_weight=1))
        assert not np.allclose(equal.predict_quantiles(rows), plain, rtol=1e-5, atol=1e-8)

    def test_missing_columns_are_refused_by_name(self, model: type[Trees], rows: pl.DataFrame, fitted: Fitted) -> None:
        with pytest.raises(InputError, match=r"missing columns: rsi_14, ewma_volatility \[.*, rows to learn from\]"):
            _fit(model, rows.drop("rsi_14", "ewma_volatility"))
        for ask in (fitted(model).predict_quantiles, fitted(model).explain):
            with pytest.raises(InputError, match=r"missing columns: k_vol, ewma_volatility \[.*, rows to forecast\]"):
                ask(rows.drop("k_vol", "ewma_volatility"))

    def test_it_says_when_it_is_not_fitted(self, model: type[Trees], rows: pl.DataFrame, tmp_path: Path) -> None:
        for ask in (model().predict_quantiles, model().explain):
            with pytest.raises(InputError, match="the model is not fitted"):
                ask(rows)
        with pytest.raises(InputError, match="the model is not fitted"):
            model().save(tmp_path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise", "binary"])
    def test_a_damaged_file_is_refused(self, damage: str, model: type[Trees], fitted: Fitted, tmp_path: Path) -> None:
        fitted(model).save(tmp_path)
        for path in sorted(tmp_path.iterdir()):
            whole = path.read_bytes()
            path.unlink()
            match damage:
                case "missing":
                    pass
                case "cut":
                    path.write_bytes(whole[: len(whole) // 2])
                case "noise":
                    path.write_bytes(b'{"scale": "wide", "model": 3, "start": [1, "a"], "sha256": 5}\nend of trees\n')
                case _:
                    path.write_bytes(b"" if damage == "empty" else b"\xff\xfe\x00")
            with pytest.raises(InputError, match="train this horizon again"):
                model.load(tmp_path)
            path.write_bytes(whole)
        model.load(tmp_path)

    def test_a_row_without_a_volatility_has_no_forecast(
        self, model: type[Trees], rows: pl.DataFrame, fitted: Fitted
    ) -> None:
        blind = rows.tail(3).with_columns(ewma_volatility=pl.Series([0.01, None, 0.01]))
        assert np.isnan(fitted(model).predict_quantiles(blind)).all(axis=1).tolist() == [False, True, False]

    def test_no_rows_give_no_forecasts_and_no_explanation(
        self, model: type[Trees], rows: pl.DataFrame, fitted: Fitted
    ) -> None:
        assert fitted(model).predict_quantiles(rows.clear()).shape == (0, 7)
        assert fitted(model).explain(rows.clear()).is_empty()

    def test_missing_features_are_learnt_from_and_constant_ones_left_out(
        self, model: type[Trees], rows: pl.DataFrame
    ) -> None:
        some = pl.when(pl.int_range(pl.len()) % 7 > 0).then("return_1d")
        empty = pl.lit(None, pl.Float64)
        holes = rows.head(LEARNT).with_columns(rsi_14=pl.lit(50.0), k_vol=empty, return_1d=some)
        learnt = _fit(model, holes)
        assert learnt.dropped_columns == ("rsi_14", "k_vol")
        assert np.isfinite(learnt.predict_quantiles(holes.drop("rsi_14", "k_vol"))).all()

    def test_what_moves_the_median_adds_up(self, model: type[Trees], rows: pl.DataFrame, fitted: Fitted) -> None:
        one, other = rows.head(800), rows.head(801)
        volatility = other["ewma_volatility"].tail(2).to_numpy() if issubclass(model, QuantileTrees) else np.ones(2)
        medians = fitted(model).predict_quantiles(other.tail(2))[:, 3] / volatility
        moved = [fitted(model).explain(r)["contribution"].sum() for r in (one, other)] / volatility
        assert medians[0] != medians[1]
        assert moved[1] - moved[0] == pytest.approx(medians[1] - medians[0], rel=1e-4, abs=1e-7)
        table = fitted(model).explain(one)
        assert set(table["feature"]) == set(STATIONARY_FEATURES)
        assert table["contribution"].abs().is_sorted(descending=True)

    def test_a_longer_horizon_is_shrunk_further(self, model: type[Trees], rows: pl.DataFrame) -> None:
        learnt = rows.head(LEARNT)

        def spread(sessions: int) -> float:
            forecaster = model(TreeConfig(n_estimators=15, learning_rate=0.1), horizon_sessions=sessions)
            forecaster.fit(learnt, learnt["target"].to_numpy(), np.ones(LEARNT))
            scaled = forecaster.predict_quantiles(learnt)[:, 3] / learnt["ewma_volatility"].to_numpy()
            return float(scaled.std())

        assert spread(5) > 1.5 * spread(252) > 0


@pytest.mark.parametrize("model", POINT)
class TestPointTrees:
    def test_the_interval_is_that_of_the_errors_on_the_training_rows(
        self, model: type[PointTrees], rows: pl.DataFrame, fitted: Fitted
    ) -> None:
        learnt = rows.head(LEARNT)
        forecaster = fitted(model)
        assert isinstance(forecaster, PointTrees)
        volatility = learnt["ewma_volatility"].to_numpy()
        interval = StudentInterval.fit(learnt["target"].to_numpy(), forecaster.predict(learnt), volatility)
        by_hand = interval.quantiles(forecaster.predict(learnt), volatility)
        assert np.array_equal(forecaster.predict_quantiles(learnt), by_hand)

    def test_rows_without_a_volatility_shape_the_point_alone(self, model: type[PointTrees], rows: pl.DataFrame) -> None:
        known = pl.int_range(pl.len()) % 5 > 0
        learnt = rows.head(LEARNT)
        blind = _fit(model, learnt.with_columns(ewma_volatility=pl.when(known).then("ewma_volatility")))
        assert isinstance(blind, PointTrees)
        seeing = learnt.filter(known)
        actual, volatility = seeing["target"].to_numpy(), seeing["ewma_volatility"].to_numpy()
        assert blind.interval == StudentInterval.fit(actual, blind.predict(seeing), volatility)
        assert blind.predict(learnt).tobytes() == _fit(model, learnt).predict(learnt).tobytes()  # type: ignore[union-attr]

    def test_the_drift_of_the_training_rows_is_not_carried_forward(
        self, model: type[PointTrees], rows: pl.DataFrame, fitted: Fitted
    ) -> None:
        drifting = _fit(model, rows.head(LEARNT).with_columns(pl.col("target") + 0.05))
        medians = drifting.predict_quantiles(rows)[:, 3]
        assert np.allclose(medians, fitted(model).predict_quantiles(rows)[:, 3], atol=1e-6)

    def test_a_market_that_stood_still_has_points_and_no_interval(
        self, model: type[PointTrees], rows: pl.DataFrame, tmp_path: Path
    ) -> None:
        still = _fit(model, rows.with_columns(target=pl.lit(0.0)))
        assert isinstance(still, PointTrees)
        assert not still.predict(rows).any()
        for ask in (lambda: still.predict_quantiles(rows), lambda: still.save(tmp_path)):
            with pytest.raises(InputError, match="no forecast was ever wrong"):
                ask()

    def test_a_planted_step_is_found(self, model: type[PointTrees], rows: pl.DataFrame) -> None:
        up = rows["rsi_14"].to_numpy() > 55
        moves = np.where(up, 0.03, -0.01)
        eager = TreeConfig(learning_rate=0.2, lambda_l2=0.0, min_rows_in_leaf=20, feature_fraction=1.0)
        point = model(eager).fit(rows, moves, np.ones(rows.height)).predict(rows)
        # A threshold between two of the library's bins leaves a few rows next to it on the wrong side.
        assert (np.abs(point - (moves - moves.mean())) < 0.002).mean() > 0.97


@pytest.mark.parametrize("model", QUANTILE)
class TestQuantileTrees:
    def test_trees_that_find_nothing_are_as_wide_as_the_past_in_units_of_the_volatility(
        self, model: type[QuantileTrees], rows: pl.DataFrame
    ) -> None:
        z = (rows["target"] / rows["ewma_volatility"]).to_numpy()
        expected = np.quantile(np.concatenate([z, -z]), QUANTILE_LEVELS, method="hazen")
        dull = model(TreeConfig(n_estimators=5, lambda_l2=1e12)).fit(rows, rows["target"].to_numpy(), np.ones(len(z)))
        by_hand = expected * rows["ewma_volatility"].to_numpy()[:, None]
        assert np.allclose(dull.predict_quantiles(rows), by_hand, atol=1e-8)
        assert expected[3] == pytest.approx(0, abs=0.02)
        assert expected[0] == pytest.approx(-expected[-1])

    def test_the_drift_of_the_training_rows_is_not_carried_forward(
        self, model: type[QuantileTrees], rows: pl.DataFrame, fitted: Fitted
    ) -> None:
        drifting = _fit(model, rows.head(LEARNT).with_columns(pl.col("target") + pl.col("ewma_volatility") / 2))
        medians = drifting.predict_quantiles(rows)[:, 3] - fitted(model).predict_quantiles(rows)[:, 3]
        assert np.abs(medians / rows["ewma_volatility"].to_numpy()).mean() < 0.02

    def test_rows_without_a_volatility_teach_nothing(self, model: type[QuantileTrees], rows: pl.DataFrame) -> None:
        known = pl.int_range(pl.len()) % 5 > 0
        learnt = rows.head(LEARNT)
        blind = _fit(model, learnt.with_columns(ewma_volatility=pl.when(known).then("ewma_volatility")))
        seeing = _fit(model, learnt.filter(known))
        assert np.allclose(blind.predict_quantiles(rows), seeing.predict_quantiles(rows), rtol=1e-5, atol=1e-9)

    def test_too_few_rows_with_a_volatility_are_refused(self, model: type[QuantileTrees], rows: pl.DataFrame) -> None:
        seen = pl.when(pl.int_range(pl.len()) < 62).then("ewma_volatility")
        with pytest.raises(InputError, match="62 rows have a volatility, 63 are needed"):
            _fit(model, rows.with_columns(ewma_volatility=seen))

    def test_a_planted_width_is_found(self, model: type[QuantileTrees], rows: pl.DataFrame) -> None:
        wide = rows["rsi_14"].to_numpy() > rows["rsi_14"].median()
        volatility = rows["ewma_volatility"].to_numpy()
        z = np.random.default_rng(1).normal(size=rows.height) * np.where(wide, 3, 1)
        eager = TreeConfig(learning_rate=0.2, num_leaves=2, lambda_l2=0.0, feature_fraction=1.0)
        found = (
            model(eager).fit(rows, z * volatility, np.ones(rows.height)).predict_quantiles(rows) / volatility[:, None]
        )
        for group, scale in ((wide, 3), (~wide, 1)):
            expected = scale * stats.norm.ppf(QUANTILE_LEVELS)
            assert np.allclose(np.median(found[group], axis=0), expected, atol=0.35 * scale)


# Importing shap sets up the colours of its plots in a way Matplotlib is about to give up.
@pytest.mark.filterwarnings("ignore:The set_.* function will be deprecated:PendingDeprecationWarning")
def test_explanations_of_lightgbm_are_those_of_shap(rows: pl.DataFrame, fitted: Fitted, tmp_path: Path) -> None:
    import lightgbm
    import shap

    features = rows.select(STATIONARY_FEATURES).to_numpy()[-1:]
    last = rows["ewma_volatility"][-1]
    cases = ((LightGBMForecaster, "model.txt", 1.0), (LightGBMQuantileForecaster, "quantile_50.txt", last))
    for model, file, scale in cases:
        fitted(model).save(tmp_path)
        values = shap.TreeExplainer(lightgbm.Booster(model_file=str(tmp_path / file))).shap_values(features)[0]
        explained = dict(fitted(model).explain(rows).iter_rows())
        assert [explained[c] for c in STATIONARY_FEATURES] == pytest.approx((values * scale).tolist(), rel=1e-6)


@pytest.mark.parametrize("model", [XGBoostForecaster, XGBoostQuantileForecaster])
def test_explanations_of_xgboost_are_shapley_values(
    model: type[Trees], rows: pl.DataFrame, fitted: Fitted, tmp_path: Path
) -> None:
    import xgboost

    fitted(model).save(tmp_path)
    booster = xgboost.Booster(model_file=str(tmp_path / "model.ubj"))
    trees = [json.loads(t) for t in booster.get_dump(dump_format="json", with_stats=True)]
    if model is XGBoostQuantileForecaster:
        trees = trees[3::7]
    last = rows.select(STATIONARY_FEATURES).row(-1, named=True)
    scale = 1.0 if model is XGBoostForecaster else rows["ewma_volatility"][-1]
    by_hand = [_shapley(trees, last, c) * scale for c in STATIONARY_FEATURES]
    explained = dict(fitted(model).explain(rows).iter_rows())
    assert [explained[c] for c in STATIONARY_FEATURES] == pytest.approx(by_hand, rel=1e-3, abs=1e-7)


def _shapley(trees: list[dict], row: dict[str, float], feature: str) -> float:
    """Shapley's definition over all subsets of the other features (1953)."""
    others = [c for c in STATIONARY_FEATURES if c != feature]
    total = 0.0
    for size in range(len(others) + 1):
        for known in combinations(others, size):
            share = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(others) + 1)
            total += share * sum(_expected(t, row, {*known, feature}) - _expected(t, row, set(known)) for t in trees)
    return total


def _expected(node: dict, row: dict[str, float], known: set[str]) -> float:
    """What a tree says where some features are known, its branches weighted by their training rows elsewhere."""
    if "leaf" in node:
        return node["leaf"]
    yes, no = sorted(node["children"], key=lambda child: child["nodeid"] != node["yes"])
    if node["split"] in known:
        below = np.float32(row[node["split"]]) < np.float32(node["split_condition"])
        return _expected(yes if below else no, row, known)
    whole = yes["cover"] + no["cover"]
    return (yes["cover"] * _expected(yes, row, known) + no["cover"] * _expected(no, row, known)) / whole


@pytest.mark.parametrize("start", ["[1, 2]", "[1, 2, 3, 4, 5, 6, NaN]", "[[1, 2], 3]", '"wide"', "null"])
def test_quantiles_to_start_from_are_seven_numbers(start: str, fitted: Fitted, tmp_path: Path) -> None:
    fitted(LightGBMQuantileForecaster).save(tmp_path)
    (tmp_path / "quantiles.json").write_text(f'{{"start": {start}}}')
    with pytest.raises(InputError, match="train this horizon again"):
        LightGBMQuantileForecaster.load(tmp_path)


def test_one_changed_byte_of_a_binary_model_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    fitted(XGBoostForecaster).save(tmp_path)
    content = bytearray((tmp_path / "model.ubj").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "model.ubj").write_bytes(content)
    with pytest.raises(InputError, match=r"differs from what model\.json says"):
        XGBoostForecaster.load(tmp_path)


@pytest.mark.parametrize(("model", "other"), [POINT, POINT[::-1], QUANTILE, QUANTILE[::-1], (POINT[1], QUANTILE[1])])
def test_the_directory_of_another_model_is_refused(
    model: type[Trees], other: type[Trees], fitted: Fitted, tmp_path: Path
) -> None:
    fitted(model).save(tmp_path)
    with pytest.raises(InputError, match="train this horizon again"):
        other.load(tmp_path)


def test_the_parameters_of_a_horizon_count_label_windows() -> None:
    for horizon in HORIZONS.values():
        scaled = TreeConfig(min_rows_in_leaf=100, lambda_l2=10.0).for_horizon(horizon.sessions)
        assert scaled.lambda_l2 == 10 * horizon.sessions
        assert scaled.min_rows_in_leaf == max(100, 2 * horizon.sessions)
    assert TreeConfig().for_horizon(1) == TreeConfig()


def test_the_parameters_of_a_level_keep_what_the_penalty_keeps_of_a_mean() -> None:
    config = TreeConfig(learning_rate=0.02, num_leaves=4, lambda_l2=100.0, min_rows_in_leaf=50).for_level(0.5, 1000)
    need = math.pi / 2
    assert config.lambda_l2 == pytest.approx(100 * need)
    assert config.min_rows_in_leaf == round(50 * need)
    assert config.learning_rate == pytest.approx(0.02 * 250 / (250 + 100 * need))


@pytest.mark.parametrize("level", QUANTILE_LEVELS)
def test_a_quantile_needs_as_many_rows_as_its_variance_says(level: float) -> None:
    density = stats.norm.pdf(stats.norm.ppf(level))
    assert rows_needed(level) == pytest.approx(level * (1 - level) / density**2)
    assert rows_needed(level) == pytest.approx(rows_needed(1 - level))
