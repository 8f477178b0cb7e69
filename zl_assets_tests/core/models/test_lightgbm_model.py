from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from zl_assets.core.evaluation.metrics import evaluate_returns
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import STATIONARY_FEATURES, TrainedModel, labelled_rows
from zl_assets.core.models.lightgbm_model import (
    LightGBMConfig,
    LightGBMForecaster,
    TrainingConfig,
    train_and_evaluate,
)
from zl_assets.errors import InputError, NotEnoughHistory
from zl_assets_tests.core.models.training_frames import planted_trend, random_walk, training_frame

WEEK = HORIZONS["1w"]


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(1500, 7), 5)


@pytest.fixture(scope="module")
def trained(frame: pl.DataFrame) -> TrainedModel:
    return train_and_evaluate(frame, WEEK)


def _fit(rows: pl.DataFrame, config: LightGBMConfig | None = None, scale: float = 1.0) -> LightGBMForecaster:
    weights = rows["sample_weight"].cast(pl.Float64).to_numpy() * scale
    return LightGBMForecaster(config).fit(rows, rows["target"].to_numpy(), weights)


class TestForecaster:
    def test_two_fits_predict_the_same_bits(self, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame)
        assert _fit(rows).predict(frame).tobytes() == _fit(rows).predict(frame).tobytes()

    def test_a_stored_model_predicts_the_same_bits(self, frame: pl.DataFrame, tmp_path: Path) -> None:
        fitted = _fit(labelled_rows(frame))
        fitted.save(tmp_path)
        loaded = LightGBMForecaster.load(tmp_path)
        assert loaded.predict(frame).tobytes() == fitted.predict(frame).tobytes()
        assert loaded.columns_used == fitted.columns_used
        assert loaded.feature_importance().equals(fitted.feature_importance())

    def test_the_scale_of_the_weights_does_not_matter_but_their_ratio_does(self, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame)
        plain = _fit(rows).predict(frame)
        assert np.allclose(_fit(rows, scale=1000.0).predict(frame), plain, rtol=1e-6, atol=1e-9)
        assert not np.allclose(_fit(rows.with_columns(sample_weight=1)).predict(frame), plain, rtol=1e-6, atol=1e-9)

    def test_a_stronger_penalty_pulls_towards_no_change(self, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame)
        sizes = [float(np.abs(_fit(rows, LightGBMConfig(lambda_l2=p)).predict(rows)).mean()) for p in (0, 1e3, 1e6)]
        assert sizes[0] > sizes[1] > sizes[2]
        assert sizes[2] < 1e-5

    def test_the_drift_of_the_training_rows_is_not_carried_forward(self, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame)
        drifting = rows.with_columns(pl.col("target") + 0.05)
        assert np.allclose(_fit(drifting).predict(frame), _fit(rows).predict(frame), atol=1e-7)
        weights = rows["sample_weight"].to_numpy()
        assert np.average(_fit(drifting).predict(rows), weights=weights) == pytest.approx(0, abs=1e-3)

    def test_trees_that_find_nothing_forecast_exactly_no_change(self, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame).with_columns(target=pl.lit(0.05))
        assert not _fit(rows).predict(rows).any()

    def test_constant_and_empty_columns_are_left_out_by_name(self, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame).with_columns(rsi_14=pl.lit(50.0), k_vol=pl.lit(None, dtype=pl.Float64))
        fitted = _fit(rows)
        assert fitted.dropped_columns == ("rsi_14", "k_vol")
        kept = tuple(c for c in STATIONARY_FEATURES if c not in {"rsi_14", "k_vol"})
        assert fitted.columns_used == (*kept, "ewma_volatility")
        assert fitted.predict(rows.drop("rsi_14", "k_vol")).shape == (rows.height,)

    def test_rows_without_any_varying_feature_are_refused(self, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame).with_columns(pl.lit(1.0).alias(c) for c in STATIONARY_FEATURES)
        with pytest.raises(InputError, match="every feature is constant"):
            _fit(rows)

    def test_a_missing_column_is_refused_by_name(self, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame)
        with pytest.raises(InputError, match=r"missing columns: rsi_14 \[LightGBM, rows to learn from\]"):
            _fit(rows.drop("rsi_14"))
        with pytest.raises(InputError, match=r"missing columns: return_5d, k_vol \[LightGBM, rows to forecast\]"):
            _fit(rows).predict(rows.drop("return_5d", "k_vol"))

    @pytest.mark.parametrize(
        ("target", "weights"), [([0.1], [1, 1]), ([0.1, np.nan], [1, 1]), ([0.1, 0.2], [1, 0]), ([0.1, 0.2], [1])]
    )
    def test_unusable_targets_and_weights_are_refused(
        self, target: list[float], weights: list[float], frame: pl.DataFrame
    ) -> None:
        with pytest.raises(InputError):
            LightGBMForecaster().fit(labelled_rows(frame).head(2), np.array(target), np.array(weights, dtype=float))

    def test_an_unfitted_model_says_so(self, frame: pl.DataFrame, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="not fitted"):
            LightGBMForecaster().predict(frame)
        with pytest.raises(InputError, match="not fitted"):
            LightGBMForecaster().save(tmp_path)

    def test_no_rows_give_no_forecasts(self, frame: pl.DataFrame) -> None:
        assert _fit(labelled_rows(frame)).predict(frame.clear()).shape == (0,)

    @pytest.mark.parametrize("damage", ["missing", "cut", "noise", "binary"])
    def test_a_damaged_file_is_refused(self, damage: str, frame: pl.DataFrame, tmp_path: Path) -> None:
        _fit(labelled_rows(frame)).save(tmp_path)
        path = tmp_path / "model.txt"
        text = path.read_text()
        match damage:
            case "missing":
                path.unlink()
            case "cut":
                path.write_text(text[: len(text) // 2])
            case "noise":
                path.write_text("hello\nend of trees\n")
            case _:
                path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InputError, match="train this horizon again"):
            LightGBMForecaster.load(tmp_path)


class TestTraining:
    def test_out_of_fold_rows_cover_every_test_fold_once(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        oof, rows = trained.oof, labelled_rows(frame)
        assert oof["data_date"].is_sorted()
        assert oof["data_date"].is_unique().all()
        assert oof["data_date"].to_list() == rows["data_date"].tail(oof.height).to_list()
        assert oof["actual_return"].to_list() == rows["target"].tail(oof.height).to_list()
        assert oof["close"].to_list() == rows["close"].tail(oof.height).to_list()
        assert oof["no_change_return"].unique().to_list() == [0.0]
        assert oof["fold"].unique().sort().to_list() == trained.folds["fold"].to_list()

    def test_a_fold_is_a_fit_on_its_own_training_rows(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        fold = trained.folds.row(2, named=True)
        rows = labelled_rows(frame)
        train = rows.filter(pl.col("data_date").is_between(fold["train_first"], fold["train_last"]))
        test = rows.filter(pl.col("data_date").is_between(fold["test_first"], fold["test_last"]))
        assert (train["target_date"] <= fold["test_first"]).all()
        by_hand = _fit(train, LightGBMConfig(**trained.training_config["model"])).predict(test)
        assert trained.oof.filter(pl.col("fold") == 2)["predicted_return"].to_list() == by_hand.tolist()
        assert fold["mae_model"] == pytest.approx(np.abs(by_hand - test["target"].to_numpy()).mean())
        assert fold["relative_mae"] == pytest.approx(fold["mae_model"] / fold["mae_no_change"])
        assert fold["mae_no_change"] == pytest.approx(np.abs(test["target"].to_numpy()).mean())

    def test_the_split_metrics_learn_from_train_and_score_test_only(
        self, trained: TrainedModel, frame: pl.DataFrame
    ) -> None:
        rows = labelled_rows(frame)
        train, test = rows.filter(split="train"), rows.filter(split="test")
        by_hand = _fit(train, LightGBMConfig(**trained.training_config["model"])).predict(test)
        assert trained.test_metrics == evaluate_returns(test["target"].to_numpy(), by_hand, 5)
        assert trained.test_predictions["data_date"].to_list() == test["data_date"].to_list()

    def test_purged_rows_change_the_split_metrics_in_nothing(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        target = pl.when(pl.col("split") == "purged").then(pl.col("target") + 0.5).otherwise("target")
        assert train_and_evaluate(frame.with_columns(target=target), WEEK).test_metrics == trained.test_metrics

    def test_the_final_model_learns_from_every_labelled_row(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame)
        by_hand = _fit(rows, LightGBMConfig(**trained.training_config["model"]))
        assert trained.forecaster.predict(frame).tobytes() == by_hand.predict(frame).tobytes()
        assert trained.n_rows == rows.height
        w = rows["sample_weight"].to_numpy().astype(float)
        assert trained.n_effective == pytest.approx(w.sum() ** 2 / (w**2).sum())
        assert (trained.trained_first, trained.trained_last) == (rows["data_date"][0], rows["data_date"][-1])

    def test_bad_rows_change_nothing(self, frame: pl.DataFrame) -> None:
        row = pl.int_range(pl.len())
        bad = row.is_in([100, 101, 700, 1300])
        clean = frame.with_columns(usable=~bad, is_suspect=row.is_in([101, 700]))
        wild = clean.with_columns(
            pl.when(bad).then(pl.col(c) * 99 + 7).otherwise(c).alias(c)
            for c in ("target", "close", "return_1d", "rsi_14")
        )
        a, b = train_and_evaluate(clean, WEEK), train_and_evaluate(wild, WEEK)
        assert a.oof.equals(b.oof)
        assert a.model_version == b.model_version
        assert a.oof_metrics == b.oof_metrics

    def test_sessions_without_a_row_are_counted(self) -> None:
        frame = training_frame(random_walk(1200, 1), 21, missing=(5500, 5501, 5800))
        result = train_and_evaluate(frame, HORIZONS["1m"])
        number = dict(frame.select("data_date", "session_number").iter_rows())
        for fold in result.folds.iter_rows(named=True):
            assert number[fold["train_last"]] + 21 <= number[fold["test_first"]]

    def test_importances_are_shares_of_the_final_model(self, trained: TrainedModel) -> None:
        table = trained.feature_importance
        assert {*table["feature"], "ewma_volatility"} == set(trained.columns_used)
        assert table["gain_share"].sum() == pytest.approx(1)
        assert table["gain_share"].is_sorted(descending=True)
        assert table["splits"].sum() <= 100 * 6

    def test_a_market_that_stood_still_trains_without_a_split(self, frame: pl.DataFrame) -> None:
        result = train_and_evaluate(frame.with_columns(target=pl.col("target") * 0), WEEK)
        assert result.feature_importance["gain_share"].to_list() == [0.0] * len(STATIONARY_FEATURES)
        assert result.champion.model == "no_change"
        assert result.oof["predicted_return"].unique().to_list() == [0.0]

    def test_a_train_row_that_reaches_the_test_period_is_refused(self, frame: pl.DataFrame) -> None:
        leaking = frame.with_columns(split=pl.col("split").replace("purged", "train"))
        with pytest.raises(InputError, match="4 rows of split 'train' have an outcome inside the test period"):
            train_and_evaluate(leaking, WEEK)

    def test_a_history_that_ends_before_the_split_has_no_split_metrics(self) -> None:
        from datetime import date

        result = train_and_evaluate(training_frame(random_walk(900, 2), 5, last=date(2022, 6, 30)), WEEK)
        assert result.test_metrics is None
        assert result.test_predictions.is_empty()
        assert result.test_predictions.schema["predicted_return"] == pl.Float64

    def test_too_short_a_history_is_refused_with_numbers(self) -> None:
        with pytest.raises(
            NotEnoughHistory, match="185 labelled sessions, at least 441 are needed at 252 sessions ahead"
        ):
            train_and_evaluate(training_frame(random_walk(500, 2), 252), HORIZONS["12m"])

    @pytest.mark.parametrize("code", list(HORIZONS))
    def test_a_short_history_trains_every_horizon(self, code: str) -> None:
        h = HORIZONS[code]
        result = train_and_evaluate(training_frame(random_walk(900, 3), h.sessions), h)
        assert result.folds.height >= 3
        assert result.champion.n_independent == result.oof.height // h.sessions

    def test_rows_in_any_order_give_the_same_result(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        shuffled = train_and_evaluate(frame.sample(fraction=1.0, shuffle=True, seed=1), WEEK)
        assert shuffled.model_version == trained.model_version
        assert shuffled.oof.equals(trained.oof)


class TestVersion:
    def test_the_same_input_has_the_same_version(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        assert train_and_evaluate(frame.clone(), WEEK).model_version == trained.model_version
        assert len(trained.model_version) == 12

    def test_rows_nobody_learns_from_do_not_enter(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        newest = pl.when(pl.col("target").is_null()).then(0.0).otherwise("return_1d")
        changed = frame.with_columns(return_1d=newest, ma_63=pl.lit(1.0))
        assert train_and_evaluate(changed, WEEK).model_version == trained.model_version

    @pytest.mark.parametrize("column", ["target", "return_1d", "sample_weight", "close"])
    def test_one_changed_training_value_changes_it(
        self, column: str, trained: TrainedModel, frame: pl.DataFrame
    ) -> None:
        value = (
            pl.when(pl.int_range(pl.len()) == 700)
            .then(pl.col(column) * 1.000001)
            .otherwise(pl.col(column))
            .alias(column)
        )
        assert train_and_evaluate(frame.with_columns(value), WEEK).model_version != trained.model_version

    def test_configuration_and_columns_enter(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        seeded = TrainingConfig(model=replace(LightGBMConfig(), seed=1))
        fewer = TrainingConfig(features=STATIONARY_FEATURES[:3])
        versions = {train_and_evaluate(frame, WEEK, config=c).model_version for c in (seeded, fewer)}
        assert len(versions | {trained.model_version}) == 3


class TestTwoWorlds:
    def test_where_nothing_can_be_predicted_no_change_is_published(self) -> None:
        found = [
            train_and_evaluate(training_frame(random_walk(1300, 100 + s), 5), WEEK).champion.model == "lightgbm"
            for s in range(12)
        ]
        assert sum(found) <= 3

    @pytest.mark.parametrize("code", ["1w", "1m"])
    def test_a_planted_signal_is_found(self, code: str) -> None:
        h = HORIZONS[code]
        results = [train_and_evaluate(training_frame(planted_trend(1800, 200 + s), h.sessions), h) for s in range(5)]
        assert sum(r.champion.model == "lightgbm" for r in results) >= 4
        assert np.mean([r.oof_metrics.mae / r.oof_metrics.no_change_mae for r in results]) < 0.97

    def test_a_feature_that_knows_the_outcome_is_flagged_and_honest_ones_are_not(
        self, trained: TrainedModel, frame: pl.DataFrame
    ) -> None:
        leak = frame.with_columns(rsi_14=pl.col("target").fill_null(0.0) * 100)
        assert train_and_evaluate(leak, WEEK).suspiciously_good
        assert not trained.suspiciously_good
