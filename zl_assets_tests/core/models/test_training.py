"""The training run that is the same for every model: what each fit learns from, what it is shown, and its version."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.checks.evaluation import evaluate_not_too_good
from zl_assets.core.evaluation.calibration import calibrated
from zl_assets.core.evaluation.judgement import judge
from zl_assets.core.evaluation.leaderboard import EvaluationContext, Provenance, evaluation_rows
from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS, QUANTILE_LEVELS
from zl_assets.core.horizons import HORIZONS, Horizon
from zl_assets.core.models import shelf
from zl_assets.core.models.base import Floats, Forecaster, contributions, floats, labelled_rows
from zl_assets.core.models.benchmarks import Drift
from zl_assets.core.models.importance import feature_importance
from zl_assets.core.models.lightgbm_model import LightGBMForecaster
from zl_assets.core.models.shelf import ModelSpec, models
from zl_assets.core.models.training import (
    FOLD_SCHEMA,
    OOF_SCHEMA,
    TrainedModel,
    TrainingConfig,
    fold_errors,
    forecast_of,
    newest_usable_row,
    readable_rows,
    train,
    training_data,
    tuned,
    version_of,
)
from zl_assets.core.models.trees import TreeConfig
from zl_assets.errors import InputError, NotEnoughHistory
from zl_assets_tests.core.models.training_frames import planted_trend, random_walk, training_frame

WEEK = HORIZONS["1w"]
NORMAL = np.array([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645])
NO_CHANGE, DRIFT, LIGHTGBM = (models()[name] for name in ("no_change", "drift", "lightgbm"))
UNTUNED = replace(LIGHTGBM, tuned=False)


class Probe:
    """Forecasts the mean daily return of its row and the `lookback` rows before; keeps what it was given and shown."""

    columns_used = ("return_1d", "ewma_volatility")

    def __init__(self, lookback: int = 0) -> None:
        self.lookback = lookback
        self.learnt: list[tuple[pl.DataFrame, Floats, Floats]] = []
        self.shown: list[pl.DataFrame] = []

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:
        self.learnt.append((frame, target, weights))
        return self

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        self.shown.append(frame)
        point = floats(frame.select(pl.col("return_1d").rolling_mean(self.lookback + 1)), "return_1d")
        return point[:, None] + floats(frame, "ewma_volatility")[:, None] * NORMAL

    def save(self, directory: Path) -> None:
        raise NotImplementedError(directory)

    @classmethod
    def load(cls, directory: Path) -> Self:
        raise NotImplementedError(directory)

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:
        return contributions(["return_1d"], floats(frame, "return_1d")[-1:])


@dataclass(frozen=True)
class ProbeSpec(ModelSpec):
    """A shelf entry that makes what a test hands over."""

    maker_of: Callable[[], Any] = Probe

    def make(self, horizon: Horizon, **given: Any) -> Forecaster:  # noqa: ARG002
        return self.maker_of(**given)


def probe(maker_of: Callable[[], Any] = Probe) -> ProbeSpec:
    return ProbeSpec("probe", "benchmarks", "A probe", "none", "None", maker_of=maker_of)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(1500, 7), 5)


@pytest.fixture(scope="module")
def trained(frame: pl.DataFrame) -> TrainedModel:
    return train(LIGHTGBM, frame, WEEK)


def quantiles(rows: pl.DataFrame) -> np.ndarray:
    return rows.select(QUANTILE_COLUMNS).to_numpy()


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


class TestForecastOf:
    def test_rows_together_and_one_by_one_agree(self, frame: pl.DataFrame) -> None:
        readable = readable_rows(frame)
        wanted = readable[40:80].filter(pl.int_range(pl.len()) % 3 > 0)
        together = forecast_of(Probe(6), readable, wanted)
        one_by_one = pl.concat([forecast_of(Probe(6), readable, wanted[k]) for k in range(wanted.height)])
        assert quantiles(together) == pytest.approx(quantiles(one_by_one), abs=1e-15)
        assert together.drop(QUANTILE_COLUMNS).equals(one_by_one.drop(QUANTILE_COLUMNS))

    @settings(max_examples=30, deadline=None)
    @given(lookback=st.integers(0, 30), place=st.integers(0, 60))
    def test_a_row_is_shown_with_what_the_model_looks_back_at_or_refused(self, lookback: int, place: int) -> None:
        readable = readable_rows(training_frame(random_walk(200, 7), 5))
        used, wanted = Probe(lookback), readable[place]
        if place < lookback:
            with pytest.raises(InputError, match=f"1 of 1 sessions get no forecast.*it looks {lookback} rows back"):
                forecast_of(used, readable, wanted)
            return
        found = forecast_of(used, readable, wanted)
        assert found["q50"][0] == pytest.approx(readable["return_1d"][place - lookback : place + 1].mean())
        assert [s["session_number"][0] for s in used.shown] == [readable["session_number"][place - lookback]]

    def test_suspect_rows_are_looked_past(self, frame: pl.DataFrame) -> None:
        row = pl.int_range(pl.len())
        wild = frame.with_columns(is_suspect=row == 99, return_1d=pl.when(row == 99).then(50.0).otherwise("return_1d"))
        found = forecast_of(Probe(2), readable_rows(wild), wild[100])
        assert found["q50"][0] == pytest.approx(frame["return_1d"].gather([97, 98, 100]).mean())

    def test_a_row_that_cannot_be_read_is_refused_and_not_taken_for_its_neighbour(self, frame: pl.DataFrame) -> None:
        suspect = frame.with_columns(is_suspect=pl.int_range(pl.len()).is_in([99, frame.height - 1]))
        for place in (99, -1):
            session = frame["session_number"][place]
            with pytest.raises(InputError, match=f"1 of 1 sessions cannot be read .session {session}"):
                forecast_of(Probe(), readable_rows(suspect), suspect[place])

    def test_quantiles_that_crossed_are_sorted_and_said_so(self, frame: pl.DataFrame) -> None:
        class Crossing(Probe):
            def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
                out = np.tile(np.array(QUANTILE_LEVELS), (frame.height, 1))
                out[1, [0, 6]] = out[1, [6, 0]]
                return out

        found = forecast_of(Crossing(), frame, frame[10:13])
        assert found["crossed"].to_list() == [False, True, False]
        assert quantiles(found).tolist() == [list(QUANTILE_LEVELS)] * 3

    @pytest.mark.parametrize("wrong", [np.nan, np.inf])
    def test_a_forecast_that_is_no_number_is_refused_with_its_date(self, wrong: float, frame: pl.DataFrame) -> None:
        class Broken(Probe):
            def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
                out = super().predict_quantiles(frame)
                out[[2, 4], 5] = wrong
                return out

        day = frame["data_date"][12]
        with pytest.raises(InputError, match=f"2 of 8 sessions get no forecast .first {day}"):
            forecast_of(Broken(), frame, frame[10:18])

    def test_a_missing_column_is_refused_by_name(self, frame: pl.DataFrame) -> None:
        with pytest.raises(InputError, match="missing columns: target_date, vol_percentile"):
            forecast_of(Probe(), frame, frame[10].drop("target_date", "vol_percentile"))

    def test_a_name_given_in_hindsight_is_not_needed(self, frame: pl.DataFrame) -> None:
        assert forecast_of(Probe(), frame, frame[10].drop("regime_name"))["regime_name"].to_list() == [None]


class TestReadableRows:
    def test_they_are_sorted_and_have_a_price_that_is_not_suspect(self, frame: pl.DataFrame) -> None:
        row = pl.int_range(pl.len())
        bad = frame.with_columns(
            is_suspect=row == 3, close=pl.when(row == 5).then(0.0).when(row == 7).then(None).otherwise("close")
        )
        found = readable_rows(bad.reverse())
        assert found["data_date"].is_sorted()
        assert set(frame["session_number"]) - set(found["session_number"]) == {
            frame["session_number"][k] for k in (3, 5, 7)
        }

    def test_without_any_there_is_nothing_to_forecast_from(self, frame: pl.DataFrame) -> None:
        with pytest.raises(InputError, match="no usable row to forecast from"):
            newest_usable_row(frame.with_columns(is_suspect=pl.lit(value=True)))
        with pytest.raises(InputError, match="missing columns: is_suspect"):
            readable_rows(frame.drop("is_suspect"))


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


def changed_at(column: str, row: int = 700) -> pl.Expr:
    value = pl.col(column) * 1.000001 if column != "session_number" else pl.col(column)
    return pl.when(pl.int_range(pl.len()) == row).then(value).otherwise(pl.col(column)).alias(column)


class TestVersion:
    @staticmethod
    def version(frame: pl.DataFrame, **given: Any) -> str:
        """Version of the drift, or of what is given."""
        rows = labelled_rows(frame)
        values: dict[str, Any] = {"spec": DRIFT, "forecaster": Drift(), "config": TrainingConfig(), "horizon": WEEK}
        return version_of(**{**values, "rows": rows, **given})

    def test_the_same_input_has_the_same_version(self, trained: TrainedModel, frame: pl.DataFrame) -> None:
        again = train(LIGHTGBM, frame.clone(), WEEK)
        assert again.model_version == trained.model_version
        assert len(trained.model_version) == len(trained.training_data) == 12
        assert set(trained.model_version + trained.training_data) <= set("0123456789abcdef")

    def test_rows_nobody_learns_from_and_columns_nobody_reads_do_not_enter(self, frame: pl.DataFrame) -> None:
        newest = pl.when(pl.col("target").is_null()).then(0.0).otherwise("ewma_volatility")
        changed = frame.with_columns(ewma_volatility=newest, ma_63=pl.lit(1.0), rsi_14=pl.lit(1.0))
        assert self.version(changed) == self.version(frame)

    @pytest.mark.parametrize("column", ["target", "ewma_volatility", "sample_weight", "close"])
    def test_one_changed_training_value_changes_it(self, column: str, frame: pl.DataFrame) -> None:
        assert self.version(frame.with_columns(changed_at(column))) != self.version(frame)

    def test_one_session_less_or_moved_changes_it(self, frame: pl.DataFrame) -> None:
        moved = frame.with_columns(pl.col("session_number") + (pl.int_range(pl.len()) > 900).cast(pl.Int64))
        assert len({self.version(f) for f in (frame, moved, frame[1:])}) == 3

    def test_everything_that_may_change_the_figures_enters(self, frame: pl.DataFrame) -> None:
        read = LightGBMForecaster()
        read._columns = ("rsi_14",)
        tuning = tuned(LIGHTGBM, labelled_rows(frame).head(50), WEEK)
        versions = [
            self.version(frame),
            self.version(frame, config=TrainingConfig(embargo_sessions=1)),
            self.version(frame, config=TrainingConfig(mode="rolling")),
            self.version(frame, spec=NO_CHANGE),
            self.version(frame, spec=replace(DRIFT, arguments=(("a", 1),))),
            self.version(frame, spec=replace(DRIFT, package="polars")),
            self.version(frame, horizon=HORIZONS["1m"]),
            self.version(frame, forecaster=read),
            self.version(frame, tuning=tuning),
            self.version(frame, tuning=replace(tuning, chosen=replace(tuning.chosen, num_leaves=3))),
        ]
        assert len(set(versions)) == len(versions)

    def test_what_a_value_is_missing_as_and_the_sign_of_zero_do_not_enter(self, frame: pl.DataFrame) -> None:
        def version(value: float | None) -> str:
            row = pl.int_range(pl.len()) == 700
            other = pl.when(row).then(pl.lit(value, pl.Float64)).otherwise("ewma_volatility")
            return self.version(frame.with_columns(ewma_volatility=other))

        assert version(None) == version(float("nan")) != version(0.0) == version(-0.0)

    def test_training_data_is_what_every_model_of_the_horizon_learns_from(self, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame)
        assert training_data(rows.with_columns(rsi_14=pl.lit(0.0))) == training_data(rows)
        others = [rows.with_columns(changed_at(c)) for c in ("target", "close", "sample_weight")]
        assert len({training_data(r) for r in (rows, rows[1:], *others)}) == 5

    def test_a_package_that_is_not_installed_has_no_version_to_enter(
        self, frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = replace(DRIFT, package="polars")
        before = self.version(frame, spec=spec)
        monkeypatch.setattr(shelf, "version", lambda _: "99.0")
        assert self.version(frame, spec=spec) != before


class TestTwoWorlds:
    @staticmethod
    def comparison(frame: pl.DataFrame, horizon: Horizon) -> pl.DataFrame:
        """The rows that are stored of no-change and LightGBM."""
        raw = {spec.name: train(spec, frame, horizon).oof for spec in (NO_CHANGE, UNTUNED)}
        after = {name: calibrated(rows, horizon.sessions) for name, rows in raw.items()}
        origins = {name: Provenance("1", "run", 100.0) for name in raw}
        context = EvaluationContext(date(2020, 1, 1), is_simulated=True, created_at=datetime(2020, 1, 2, tzinfo=UTC))
        return evaluation_rows(judge(raw, after, horizon), after, origins, context)

    @staticmethod
    def of_lightgbm(rows: pl.DataFrame, column: str) -> Any:
        """What is stored of LightGBM."""
        return rows.filter(model="lightgbm")[column].item()

    def test_where_nothing_can_be_predicted_no_change_is_published(self) -> None:
        found = [self.comparison(training_frame(random_walk(1300, 100 + s), 5), WEEK) for s in range(8)]
        assert sum(self.of_lightgbm(rows, "is_champion") for rows in found) <= 1
        assert all(evaluate_not_too_good(rows).passed for rows in found)

    @pytest.mark.parametrize("code", ["1w", "1m"])
    def test_a_planted_signal_is_found(self, code: str) -> None:
        horizon = HORIZONS[code]
        frames = [training_frame(planted_trend(1800, 200 + s), horizon.sessions) for s in range(3)]
        found = [self.comparison(f, horizon) for f in frames]
        assert sum(self.of_lightgbm(rows, "is_champion") for rows in found) >= 2
        assert np.mean([self.of_lightgbm(rows, "crps_vs_no_change") for rows in found]) < 0.97

    def test_a_feature_that_knows_the_outcome_is_flagged(self, frame: pl.DataFrame) -> None:
        leak = frame.with_columns(rsi_14=pl.col("target").fill_null(0.0) * 100)
        assert not evaluate_not_too_good(self.comparison(leak, WEEK)).passed


def test_a_history_may_end_on_any_day() -> None:
    found = train(NO_CHANGE, training_frame(random_walk(900, 2), 5, last=date(2022, 6, 30)), WEEK)
    assert found.newest["data_date"].to_list() == [date(2022, 6, 30)]
