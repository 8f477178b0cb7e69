"""The training run that is the same for every model: what each fit learns from, and what it is shown."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import floats, labelled_rows
from zl_assets.core.models.importance import feature_importance
from zl_assets.core.models.lightgbm_model import LightGBMForecaster
from zl_assets.core.models.shelf import ModelSpec, models
from zl_assets.core.models.training import (
    FOLD_SCHEMA,
    OOF_SCHEMA,
    TrainedModel,
    TrainingConfig,
    fold_errors,
    readable_rows,
    train,
    tuned,
)
from zl_assets.core.models.trees import TreeConfig
from zl_assets.errors import InputError, NotEnoughHistory
from zl_assets_tests.core.models.probes import Probe, probe, quantiles
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

WEEK = HORIZONS["1w"]
NO_CHANGE, DRIFT, LIGHTGBM = (models()[name] for name in ("no_change", "drift", "lightgbm"))
UNTUNED = replace(LIGHTGBM, tuned=False)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(1500, 7), 5)


@pytest.fixture(scope="module")
def trained(frame: pl.DataFrame) -> TrainedModel:
    return train(LIGHTGBM, frame, WEEK)


def lightgbm(trained: TrainedModel, rows: pl.DataFrame) -> LightGBMForecaster:
    config = TreeConfig(**trained.training_config["tuning"]["chosen"])
    model = LightGBMForecaster(config, horizon_sessions=trained.horizon.sessions)
    return model.fit(rows, floats(rows, "target"), floats(rows, "sample_weight"))


class TestOutOfFold:
    def test_rows_cover_every_test_fold_once(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        oof, rows = trained.oof, labelled_rows(frame)
        assert oof.schema == pl.Schema(OOF_SCHEMA)
        tail = rows.tail(oof.height)
        for name in ("data_date", "session_number", "target_date", "close", "vol_percentile", "regime_name"):
            assert oof[name].to_list() == tail[name].to_list(), name
        assert oof["actual_return"].to_list() == tail["target"].to_list()
        assert oof["fold"].unique().sort().to_list() == trained.folds["fold"].to_list()
        assert oof["fold"].is_sorted()

    def test_a_fold_is_a_fit_on_its_own_training_rows(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        fold = trained.folds.row(2, named=True)
        rows = labelled_rows(frame)
        learnt = rows.filter(pl.col("data_date").is_between(fold["train_first"], fold["train_last"]))
        test = rows.filter(pl.col("data_date").is_between(fold["test_first"], fold["test_last"]))
        assert (learnt["target_date"] <= fold["test_first"]).all()
        by_hand = lightgbm(trained, learnt).predict_quantiles(test)
        assert quantiles(trained.oof.filter(fold=2)).tobytes() == by_hand.tobytes()
        actual = test["target"].to_numpy()
        assert (fold["n_train"], fold["n_test"]) == (learnt.height, test.height)
        assert fold["mae_model"] == pytest.approx(np.abs(by_hand[:, 3] - actual).mean())
        assert fold["mae_no_change"] == pytest.approx(np.abs(actual).mean())
        assert fold["relative_mae"] == pytest.approx(fold["mae_model"] / fold["mae_no_change"])
        assert trained.folds.schema == pl.Schema(FOLD_SCHEMA)

    @pytest.mark.parametrize("code", ["1w", "3m"])
    def test_no_fit_sees_an_outcome_unknown_at_its_first_forecast_and_none_a_later_row(self, code: str) -> None:
        horizon, made = HORIZONS[code], list[Probe]()
        frame = training_frame(random_walk(1400, 3), horizon.sessions, missing=(5600, 5601, 5900))

        def maker() -> Probe:
            made.append(Probe(lookback=4))
            return made[-1]

        found = train(probe(maker), frame, horizon)
        by_fold = [p for p in made if p.learnt][: found.folds.height]
        assert len(by_fold) == found.folds.height
        for number, used in enumerate(by_fold):
            [(learnt, target, weights)] = used.learnt
            test = found.oof.filter(fold=number)["session_number"]
            assert learnt["session_number"][-1] + horizon.sessions <= test[0]
            assert target.tolist() == learnt["target"].to_list()
            assert weights.tolist() == learnt["sample_weight"].cast(pl.Float64).to_list()
            shown = used.shown[0]["session_number"].to_list()
            readable = readable_rows(frame)["session_number"].to_list()
            first = readable.index(test[0])
            assert shown == readable[first - 4 : readable.index(test[-1]) + 1]

    @pytest.mark.parametrize("spec", [DRIFT, UNTUNED], ids=lambda s: s.name)
    def test_what_comes_later_changes_no_earlier_fold(self, spec: ModelSpec, frame: pl.DataFrame) -> None:
        plain = train(spec, frame, WEEK)
        start = plain.folds["test_first"][4]
        session = frame.filter(data_date=start)["session_number"][0]
        late, unknown = pl.col("session_number") >= session, pl.col("session_number") + 5 > session
        random = pl.Series(np.random.default_rng(1).normal(0, 0.1, frame.height))
        features = ("return_1d", "return_5d", "return_21d", "rsi_14", "vol_percentile", "k_vol", "volatility_21d")
        changed = frame.with_columns(
            *(pl.when(late).then(pl.col(c) + random).otherwise(c).alias(c) for c in features),
            target=pl.when(unknown & pl.col("target").is_not_null()).then(random).otherwise("target"),
            sample_weight=pl.when(late).then(7).otherwise("sample_weight"),
        )
        other = train(spec, changed, WEEK)
        early = pl.col("fold") < 4
        assert quantiles(other.oof.filter(early)).tobytes() == quantiles(plain.oof.filter(early)).tobytes()
        assert quantiles(other.oof.filter(~early)).tobytes() != quantiles(plain.oof.filter(~early)).tobytes()

    def test_bad_rows_change_nothing(self, frame: pl.DataFrame) -> None:
        row = pl.int_range(pl.len())
        bad = row.is_in([100, 101, 700, 1300])
        clean = frame.with_columns(usable=~bad, is_suspect=row.is_in([101, 700]))
        wild = clean.with_columns(
            pl.when(bad).then(pl.col(c) * 99 + 7).otherwise(c).alias(c)
            for c in ("target", "close", "return_1d", "rsi_14")
        )
        a, b = (train(UNTUNED, f, WEEK) for f in (clean, wild))
        assert a.oof.equals(b.oof)
        assert a.newest.equals(b.newest)
        assert (a.model_version, a.training_data, a.n_rows) == (b.model_version, b.training_data, b.n_rows)

    def test_sessions_without_a_row_are_counted(self) -> None:
        frame = training_frame(random_walk(1200, 1), 21, missing=(5500, 5501, 5800))
        number = dict(frame.select("data_date", "session_number").iter_rows())
        for fold in train(NO_CHANGE, frame, HORIZONS["1m"]).folds.iter_rows(named=True):
            assert number[fold["train_last"]] + 21 <= number[fold["test_first"]]

    def test_an_embargo_and_a_rolling_window_are_kept(self, frame: pl.DataFrame) -> None:
        number = dict(frame.select("data_date", "session_number").iter_rows())
        config = TrainingConfig(embargo_sessions=30, mode="rolling")
        found = train(NO_CHANGE, frame, WEEK, config=config)
        for fold in found.folds.iter_rows(named=True):
            assert number[fold["train_last"]] + 5 + 30 <= number[fold["test_first"]]
        assert found.folds["n_train"].n_unique() == 1
        assert found.training_config["config"] == asdict(config)

    def test_rows_in_any_order_give_the_same(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        shuffled = train(LIGHTGBM, frame.sample(fraction=1.0, shuffle=True, seed=1), WEEK)
        assert shuffled.model_version == trained.model_version
        assert shuffled.oof.equals(trained.oof)
        assert shuffled.newest.equals(trained.newest)
        assert shuffled.feature_importance.equals(trained.feature_importance)

    def test_errors_of_a_fold_whose_price_never_moved_have_no_ratio(self) -> None:
        oof = pl.DataFrame({"fold": [0, 0, 1], "actual_return": [0.0, 0.0, -0.1], "q50": [0.1, -0.3, 0.1]})
        assert fold_errors(oof).to_dicts() == [
            {"fold": 0, "n_test": 2, "mae_model": pytest.approx(0.2), "mae_no_change": 0.0, "relative_mae": None},
            {"fold": 1, "n_test": 1, "mae_model": 0.2, "mae_no_change": 0.1, "relative_mae": pytest.approx(2.0)},
        ]


class TestFinalModel:
    def test_it_learns_from_every_labelled_row(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame)
        by_hand = lightgbm(trained, rows).predict_quantiles(frame)
        assert trained.forecaster.predict_quantiles(frame).tobytes() == by_hand.tobytes()
        assert trained.n_rows == rows.height
        w = rows["sample_weight"].to_numpy().astype(float)
        assert trained.n_effective == pytest.approx(w.sum() ** 2 / (w**2).sum())
        assert (trained.trained_first, trained.trained_last) == (rows["data_date"][0], rows["data_date"][-1])

    def test_it_forecasts_the_newest_session(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        newest = trained.newest
        assert newest.schema == pl.Schema(OOF_SCHEMA)
        assert newest["data_date"].to_list() == [frame["data_date"][-1]]
        assert (newest["actual_return"][0], newest["fold"][0], newest["target_date"][0]) == (None, None, None)
        assert quantiles(newest).tobytes() == trained.forecaster.predict_quantiles(frame.tail(1)).tobytes()

    def test_it_says_what_moved_that_forecast(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        assert trained.drivers.equals(trained.forecaster.explain(frame))
        assert trained.drivers.height == 7

    def test_a_suspect_newest_session_is_passed_over(self, frame: pl.DataFrame) -> None:
        row = pl.int_range(pl.len())
        suspect = frame.with_columns(is_suspect=row == frame.height - 1)
        found = train(probe(), suspect, WEEK)
        assert found.newest["data_date"].to_list() == [frame["data_date"][-2]]
        assert found.drivers["contribution"].to_list() == [frame["return_1d"][-2]]

    def test_its_importances_are_its_gains_and_what_the_last_fold_loses_by_a_shuffle(
        self, trained: TrainedModel, frame: pl.DataFrame
    ) -> None:
        rows, last = labelled_rows(frame), trained.folds.row(-1, named=True)
        learnt = rows.filter(pl.col("data_date") <= last["train_last"])
        unseen = rows.filter(pl.col("data_date") >= last["test_first"])
        final, earlier = lightgbm(trained, rows), lightgbm(trained, learnt)
        expected = feature_importance(final, earlier, readable_rows(frame), unseen)
        assert trained.feature_importance.equals(expected)
        assert set(expected["feature"]) == set(trained.forecaster.columns_used)

    def test_what_is_needed_to_repeat_the_run_can_be_written_as_json(self, trained: TrainedModel) -> None:
        told = json.loads(json.dumps(trained.training_config))
        assert (told["model"], told["family"], told["horizon"], told["horizon_sessions"]) == (
            "lightgbm",
            "trees",
            "1w",
            5,
        )
        assert (told["n_rows"], told["trained_last"]) == (trained.n_rows, trained.trained_last.isoformat())
        assert told["walk_forward"]["horizon_sessions"] == 5


class TestTuning:
    def test_it_is_done_on_the_training_rows_of_the_first_fold(
        self, trained: TrainedModel, frame: pl.DataFrame
    ) -> None:
        first = trained.folds.row(0, named=True)
        rows = labelled_rows(frame).filter(pl.col("target_date") <= first["test_first"])
        assert rows.height == first["n_train"]
        assert trained.training_config["tuning"] == asdict(tuned(LIGHTGBM, rows, WEEK))
        assert trained.training_config["tuning"]["trials"] == 12

    def test_what_the_first_fold_is_judged_by_touches_no_parameter(
        self, trained: TrainedModel, frame: pl.DataFrame
    ) -> None:
        judged = pl.col("data_date") >= trained.folds["test_first"][0]
        other = pl.when(judged).then(pl.col("rsi_14").reverse()).otherwise("rsi_14")
        target = pl.when(judged).then(-3 * pl.col("target")).otherwise("target")
        changed = train(LIGHTGBM, frame.with_columns(rsi_14=other, target=target), WEEK)
        assert changed.training_config["tuning"] == trained.training_config["tuning"]
        assert changed.model_version != trained.model_version

    def test_a_model_that_is_not_tuned_has_none(self, frame: pl.DataFrame) -> None:
        assert "tuning" not in train(NO_CHANGE, frame, WEEK).training_config


class TestHistory:
    def test_too_short_a_history_is_refused_with_numbers(self) -> None:
        with pytest.raises(
            NotEnoughHistory, match="185 labelled sessions, at least 441 are needed at 252 sessions ahead"
        ):
            train(NO_CHANGE, training_frame(random_walk(500, 2), 252), HORIZONS["12m"])

    @pytest.mark.parametrize("code", list(HORIZONS))
    def test_a_short_history_trains_every_horizon(self, code: str) -> None:
        horizon = HORIZONS[code]
        frame = training_frame(random_walk(900, 3), horizon.sessions)
        for spec in (NO_CHANGE, LIGHTGBM):
            found = train(spec, frame, horizon)
            assert found.folds.height >= 3
            assert found.newest.height == 1
            assert np.isfinite(quantiles(found.oof)).all()

    def test_models_of_a_horizon_are_judged_on_the_same_rows(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        other = train(NO_CHANGE, frame, WEEK)
        context = ["data_date", "session_number", "target_date", "close", "fold", "actual_return"]
        assert other.oof.select(context).equals(trained.oof.select(context))
        assert other.training_data == trained.training_data

    def test_a_market_that_stood_still_is_refused(self, frame: pl.DataFrame) -> None:
        with pytest.raises(InputError, match="no forecast was ever wrong"):
            train(NO_CHANGE, frame.with_columns(target=pl.col("target") * 0), WEEK)

    def test_missing_columns_are_named(self, frame: pl.DataFrame) -> None:
        with pytest.raises(InputError, match="missing columns: usable"):
            train(NO_CHANGE, frame.drop("usable"), WEEK)


def test_a_history_may_end_on_any_day() -> None:
    found = train(NO_CHANGE, training_frame(random_walk(900, 2), 5, last=date(2022, 6, 30)), WEEK)
    assert found.newest["data_date"].to_list() == [date(2022, 6, 30)]
