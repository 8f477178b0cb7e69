import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scoringrules

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.evaluation.scores import LEVEL_WEIGHTS
from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, STATIONARY_FEATURES, Forecaster, labelled_rows
from zl_assets.core.models.interval import weighted_quantiles
from zl_assets.core.models.neural import checkpoint, training
from zl_assets.core.models.neural.architectures import ARCHITECTURES, build
from zl_assets.core.models.neural.checkpoint import Progress
from zl_assets.core.models.neural.forecaster import NeuralForecaster
from zl_assets.core.models.neural.runtime import numpy_1_calls
from zl_assets.core.models.neural.training import Examples, pinball
from zl_assets.core.models.neural.windows import purged_tail
from zl_assets.errors import ConfigurationError, InputError, MissingDependency, NotEnoughHistory
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

SOME = ("lstm", "tcn", "transformer")


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    """A few hundred windows fill hardly a batch of the real size, and a net learns nothing in a dozen steps."""
    with pytest.MonkeyPatch.context() as patch:
        smaller = replace(training.PROFILES["quick"], steps=training.Steps(batch=64), epochs=10)
        patch.setitem(training.PROFILES, "quick", smaller)
        yield


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    """A market whose weekly return follows that of the last month, with gaps in two features."""
    made = training_frame(random_walk(700, 5), 5)
    noise = np.random.default_rng(8).normal(0, 0.02, made.height)
    known = pl.col("target").is_not_null()
    return made.with_columns(target=pl.when(known).then(pl.col("return_21d") * 0.6 + pl.Series(noise)))


@pytest.fixture(scope="module")
def rows(frame: pl.DataFrame) -> pl.DataFrame:
    return labelled_rows(frame)


def _fit(rows: pl.DataFrame, model: NeuralForecaster, scale: float = 1.0) -> NeuralForecaster:
    weights = rows["sample_weight"].cast(pl.Float64).to_numpy() * scale
    return model.fit(rows, rows["target"].to_numpy(), weights)


@pytest.fixture(scope="module", params=SOME)
def fitted(request: pytest.FixtureRequest, rows: pl.DataFrame) -> NeuralForecaster:
    return _fit(rows, NeuralForecaster(request.param, 5))


@pytest.fixture(scope="module")
def gru(rows: pl.DataFrame) -> NeuralForecaster:
    return _fit(rows, NeuralForecaster("gru", 5))


def _unconditional(rows: pl.DataFrame, frame: pl.DataFrame) -> np.ndarray:
    """Quantiles of the outcomes in volatilities, times the volatility of each row."""
    units = (rows["target"] / rows["ewma_volatility"]).to_numpy()
    quantiles = weighted_quantiles(units, rows["sample_weight"].cast(pl.Float64).to_numpy())
    return frame["ewma_volatility"].to_numpy()[:, None] * quantiles


class TestForecasts:
    def test_it_is_a_forecaster_that_finds_what_is_there(
        self, fitted: NeuralForecaster, frame: pl.DataFrame, rows: pl.DataFrame
    ) -> None:
        assert isinstance(fitted, Forecaster)
        assert fitted.columns_used == (*STATIONARY_FEATURES, "ewma_volatility")
        assert fitted.lookback == 41
        forecast = fitted.predict_quantiles(frame)
        assert forecast.shape == (frame.height, 7)
        assert np.isnan(forecast[:41]).all()
        assert np.isfinite(forecast[41:]).all()
        planted = frame["return_21d"].to_numpy()[41:]
        assert np.corrcoef(forecast[41:, 3], planted)[0, 1] > 0.5
        assert not np.allclose(forecast[41:], _unconditional(rows, frame)[41:], rtol=0.02)

    def test_two_fits_predict_the_same_bits(
        self, fitted: NeuralForecaster, frame: pl.DataFrame, rows: pl.DataFrame
    ) -> None:
        again = _fit(rows, NeuralForecaster(fitted.architecture, 5))
        assert again.predict_quantiles(frame).tobytes() == fitted.predict_quantiles(frame).tobytes()

    def test_many_at_once_are_as_one_by_one(self, fitted: NeuralForecaster, frame: pl.DataFrame) -> None:
        many = fitted.predict_quantiles(frame)
        for row in (41, 100, 300, frame.height - 1):
            one = fitted.predict_quantiles(frame[row - fitted.lookback : row + 1])
            assert np.isnan(one[:-1]).all()
            assert np.allclose(one[-1], many[row], rtol=1e-6, atol=1e-9)

    def test_a_stored_model_predicts_the_same_bits(
        self, fitted: NeuralForecaster, frame: pl.DataFrame, tmp_path: Path
    ) -> None:
        fitted.save(tmp_path)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["net_0.keras", "scaling.json"]
        loaded = NeuralForecaster.load(tmp_path)
        assert loaded.predict_quantiles(frame).tobytes() == fitted.predict_quantiles(frame).tobytes()
        assert loaded.columns_used == fitted.columns_used
        assert (loaded.architecture, loaded.horizon_sessions, loaded.profile) == (fitted.architecture, 5, "quick")
        assert loaded.explain(frame).equals(fitted.explain(frame))

    def test_the_feature_that_moves_the_market_explains_the_forecast(
        self, fitted: NeuralForecaster, frame: pl.DataFrame
    ) -> None:
        row = int(frame["return_21d"].to_numpy()[100:].argmax()) + 100
        explained = fitted.explain(frame[: row + 1])
        assert explained.schema == CONTRIBUTION_SCHEMA
        assert set(explained["feature"]) == set(STATIONARY_FEATURES)
        assert explained["contribution"].abs().is_sorted(descending=True)
        assert explained["feature"][0] in {"return_21d", "rsi_14"}
        assert explained.filter(pl.col("feature") == "return_21d")["contribution"].item() > 0

    def test_the_scale_of_the_weights_does_not_matter_but_their_ratio_does(
        self, gru: NeuralForecaster, frame: pl.DataFrame, rows: pl.DataFrame
    ) -> None:
        plain = gru.predict_quantiles(frame)[41:]
        scaled = _fit(rows, NeuralForecaster("gru", 5), 1000.0).predict_quantiles(frame)[41:]
        assert np.allclose(scaled, plain, rtol=1e-4, atol=1e-6)
        equal = _fit(rows.with_columns(sample_weight=1), NeuralForecaster("gru", 5)).predict_quantiles(frame)[41:]
        assert not np.allclose(equal, plain, rtol=1e-4, atol=1e-6)

    def test_later_rows_touch_no_forecast_and_earlier_ones_only_within_the_window(
        self, gru: NeuralForecaster, frame: pl.DataFrame
    ) -> None:
        row = pl.int_range(pl.len())
        outside = (row > 300) | (row < 300 - 41)
        changed = frame.with_columns(pl.when(outside).then(0.5).otherwise(c).alias(c) for c in gru.columns_used)
        assert np.array_equal(gru.predict_quantiles(changed)[300], gru.predict_quantiles(frame)[300])
        oldest = frame.with_columns(return_21d=pl.when(row == 259).then(0.3).otherwise("return_21d"))
        assert not np.array_equal(gru.predict_quantiles(oldest)[300], gru.predict_quantiles(frame)[300])

    def test_a_row_without_a_volatility_has_no_forecast_and_no_other_row_suffers(
        self, gru: NeuralForecaster, frame: pl.DataFrame
    ) -> None:
        gap = pl.int_range(pl.len()) == 300
        missing = frame.with_columns(ewma_volatility=pl.when(gap).then(None).otherwise("ewma_volatility"))
        forecast = gru.predict_quantiles(missing)
        assert np.isnan(forecast[300]).all()
        assert np.isfinite(forecast[301:]).all()

    def test_short_and_empty_frames_have_no_forecast(self, gru: NeuralForecaster, frame: pl.DataFrame) -> None:
        assert gru.predict_quantiles(frame.clear()).shape == (0, 7)
        assert np.isnan(gru.predict_quantiles(frame[:41])).all()
        with pytest.raises(InputError, match="41 rows hold no window of 42"):
            gru.explain(frame[:41])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_net_is_small_and_departs_nowhere_before_it_is_trained(architecture: str) -> None:
    net = build(architecture, 42, 9)
    assert 1000 < net.count_params() < 6000
    windows = np.random.default_rng(0).normal(size=(5, 42, 9)).astype(np.float32)
    assert not np.asarray(net(windows)).any()
    assert not any(type(layer).__name__ == "Lambda" for layer in net.layers)


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a not in {*SOME, "gru"}])
def test_every_net_learns(architecture: str, frame: pl.DataFrame, rows: pl.DataFrame, tmp_path: Path) -> None:
    fitted = _fit(rows, NeuralForecaster(architecture, 5))
    forecast = fitted.predict_quantiles(frame)
    assert np.corrcoef(forecast[41:, 3], frame["return_21d"].to_numpy()[41:])[0, 1] > 0.5
    fitted.save(tmp_path)
    assert np.array_equal(NeuralForecaster.load(tmp_path).predict_quantiles(frame), forecast, equal_nan=True)


class TestLearning:
    def examples(self, sign: float) -> Examples:
        rng = np.random.default_rng(4)
        windows = rng.normal(size=(300, 42, 2)).astype(np.float32)
        outcome = sign * windows[:, -1, :1] + 0.1 * rng.normal(size=(300, 1))
        return Examples(windows, outcome.astype(np.float32) * np.ones((1, 7), np.float32), np.ones(300, np.float32))

    def test_what_does_not_hold_on_the_tail_is_not_forecast(self) -> None:
        learn, settings = self.examples(1.0), training.PROFILES["quick"]
        windows = learn.windows
        model = training.compiled("gru", 42, 2, settings.steps).model
        holds = training.train("gru", learn, self.examples(1.0), settings, 0, None)
        assert np.corrcoef(training.forecast(model, holds, windows)[:, 3], windows[:, -1, 0])[0, 1] > 0.8
        fails = training.train("gru", learn, self.examples(-1.0), settings, 0, None)
        assert not training.forecast(model, fails, windows).any()

    def test_a_net_that_finds_nothing_forecasts_the_unconditional_quantiles(
        self, frame: pl.DataFrame, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(training.PROFILES, "quick", replace(training.PROFILES["quick"], epochs=0))
        forecast = _fit(rows, NeuralForecaster("gru", 5)).predict_quantiles(frame)
        assert np.allclose(forecast[41:], _unconditional(rows, frame)[41:])

    def test_nets_of_another_number_differ_and_full_takes_their_mean(
        self, frame: pl.DataFrame, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shorter = replace(training.PROFILES["quick"], epochs=2, n_nets=3)
        monkeypatch.setitem(training.PROFILES, "full", shorter)
        three = _fit(rows, NeuralForecaster("gru", 5, "full"))
        assert len(three._fitted.nets) == 3
        forecasts = []
        for number in range(3):
            settings = replace(shorter, n_nets=1, seed=shorter.seed + number)
            monkeypatch.setitem(training.PROFILES, "full", settings)
            forecasts.append(_fit(rows, NeuralForecaster("gru", 5, "full")).predict_quantiles(frame))
        assert not np.allclose(forecasts[0], forecasts[1], equal_nan=True, rtol=1e-4)
        assert np.allclose(three.predict_quantiles(frame), np.mean(forecasts, axis=0), equal_nan=True)

    def test_scaling_knows_nothing_of_the_tail_or_the_purged_rows(self, rows: pl.DataFrame) -> None:
        n_learn, first = purged_tail(rows["session_number"].to_numpy(), 5, 42)
        assert first - n_learn == 4
        later = pl.int_range(pl.len()) >= n_learn
        changed = rows.with_columns(pl.when(~later).then(c).otherwise(9.0).alias(c) for c in STATIONARY_FEATURES)
        scalings = [_fit(r, NeuralForecaster("gru", 5))._fitted.scaling for r in (rows, changed)]
        assert scalings[0] == scalings[1]

    def test_the_loss_of_keras_is_the_pinball_loss_which_is_half_the_crps(self) -> None:
        assert np.allclose(LEVEL_WEIGHTS, (0.075, 0.10, 0.20, 0.25, 0.20, 0.10, 0.075))
        rng = np.random.default_rng(6)
        outcome, forecast = rng.normal(size=(50, 1)) * np.ones((1, 7)), np.sort(rng.normal(size=(50, 7)), axis=1)
        weights = rng.uniform(0.5, 2, 50)
        ours = pinball(outcome, forecast, weights)
        theirs = scoringrules.quantile_score(outcome, forecast, np.array(QUANTILE_LEVELS))
        assert ours == pytest.approx(np.average(theirs @ LEVEL_WEIGHTS, weights=weights))
        keras_loss = training._loss(training.load_keras())(outcome.astype(np.float32), forecast.astype(np.float32))
        assert ours == pytest.approx(np.average(np.asarray(keras_loss), weights=weights), rel=1e-5)

    def test_an_epoch_has_whole_batches_of_examples_in_its_own_order(self) -> None:
        first, second = (training.batches(1000, 256, 7, epoch) for epoch in (0, 1))
        assert first.shape == (3, 256)
        assert np.unique(first).size == first.size
        assert not np.array_equal(first, second)
        assert np.array_equal(first, training.batches(1000, 256, 7, 0))

    def test_repeated_fits_hold_no_more_memory(self, rows: pl.DataFrame) -> None:
        for _ in range(2):
            _fit(rows, NeuralForecaster("gru", 5))
        made = training.compiled.cache_info().misses
        models = [_fit(rows, NeuralForecaster("gru", 5)) for _ in range(6)]
        assert training.compiled.cache_info().misses == made
        assert models[0].memory is not None
        assert models[-1].memory is not None
        assert models[-1].memory.after - models[0].memory.before < 20 * 2**20


class Killed(Exception):
    pass


class TestCheckpoint:
    @pytest.fixture
    def written(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Epochs whose checkpoint was written; a fit ends with an error after the one named by the last call."""
        epochs: list[int] = []
        write = checkpoint.write

        def spy(path: Path, progress: Progress) -> None:
            write(path, progress)
            epochs.append(progress.epoch)

        monkeypatch.setattr(checkpoint, "write", spy)
        return epochs

    @pytest.mark.parametrize("architecture", ["gru", "transformer"])
    def test_a_fit_that_was_ended_goes_on_and_gives_the_same_bits(
        self,
        architecture: str,
        rows: pl.DataFrame,
        frame: pl.DataFrame,
        tmp_path: Path,
        written: list[int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        whole = _fit(rows, NeuralForecaster(architecture, 5, checkpoint=tmp_path / "whole"))
        epochs = written.copy()
        assert len(epochs) > 4
        spy = checkpoint.write

        def ending(path: Path, progress: Progress) -> None:
            spy(path, progress)
            if progress.epoch == 3:
                raise Killed

        monkeypatch.setattr(checkpoint, "write", ending)
        written.clear()
        with pytest.raises(Killed):
            _fit(rows, NeuralForecaster(architecture, 5, checkpoint=tmp_path / "ended"))
        monkeypatch.setattr(checkpoint, "write", spy)
        # Another fit in between leaves other weights and another optimizer behind.
        _fit(rows[:400], NeuralForecaster(architecture, 5))
        resumed = _fit(rows, NeuralForecaster(architecture, 5, checkpoint=tmp_path / "ended"))
        assert written == epochs
        assert resumed.predict_quantiles(frame).tobytes() == whole.predict_quantiles(frame).tobytes()

        written.clear()
        _fit(rows, NeuralForecaster(architecture, 5, checkpoint=tmp_path / "ended"))
        assert written == []

    def test_a_fit_on_other_rows_does_not_go_on_from_it(
        self, rows: pl.DataFrame, frame: pl.DataFrame, tmp_path: Path
    ) -> None:
        _fit(rows, NeuralForecaster("gru", 5, checkpoint=tmp_path))
        fewer = _fit(rows[:-1], NeuralForecaster("gru", 5, checkpoint=tmp_path))
        assert len(list(tmp_path.glob("*.npz"))) == 2
        plain = _fit(rows[:-1], NeuralForecaster("gru", 5))
        assert fewer.predict_quantiles(frame).tobytes() == plain.predict_quantiles(frame).tobytes()

    def test_a_damaged_one_is_refused(self, rows: pl.DataFrame, tmp_path: Path) -> None:
        _fit(rows, NeuralForecaster("gru", 5, checkpoint=tmp_path))
        [path] = tmp_path.glob("*.npz")
        for content in (path.read_bytes()[:-200], b"", b"no zip"):
            path.write_bytes(content)
            with pytest.raises(InputError, match=r"checkpoint cannot be read.*delete the file"):
                _fit(rows, NeuralForecaster("gru", 5, checkpoint=tmp_path))

    @pytest.mark.slow
    def test_a_killed_process_is_gone_on_from(self, rows: pl.DataFrame, frame: pl.DataFrame, tmp_path: Path) -> None:
        rows.write_parquet(tmp_path / "rows.parquet")
        code = (
            "import os, signal, polars as pl\n"
            "from pathlib import Path\n"
            "from dataclasses import replace\n"
            "from zl_assets.core.models.neural import checkpoint, training\n"
            "from zl_assets.core.models.neural.forecaster import NeuralForecaster\n"
            "quick = training.PROFILES['quick']\n"
            "training.PROFILES['quick'] = replace(quick, steps=training.Steps(batch=64), epochs=10)\n"
            "write = checkpoint.write\n"
            "def killing(path, progress):\n"
            "    write(path, progress)\n"
            "    if progress.epoch == 4:\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "checkpoint.write = killing\n"
            "rows = pl.read_parquet('rows.parquet')\n"
            "weights = rows['sample_weight'].cast(pl.Float64).to_numpy()\n"
            "model = NeuralForecaster('gru', 5, checkpoint=Path('checkpoint'))\n"
            "model.fit(rows, rows['target'].to_numpy(), weights)\n"
        )
        ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True)
        assert ended.returncode == -9, ended.stderr
        whole = _fit(rows, NeuralForecaster("gru", 5))
        [path] = (tmp_path / "checkpoint").glob("*.npz")
        left = checkpoint.read(path)
        assert left is not None
        assert left.epoch == 4
        resumed = _fit(rows, NeuralForecaster("gru", 5, checkpoint=tmp_path / "checkpoint"))
        assert resumed.predict_quantiles(frame).tobytes() == whole.predict_quantiles(frame).tobytes()


class TestRefusals:
    def test_missing_columns_are_named(self, gru: NeuralForecaster, frame: pl.DataFrame, rows: pl.DataFrame) -> None:
        with pytest.raises(InputError, match="missing columns: session_number, k_vol"):
            _fit(rows.drop("k_vol", "session_number"), NeuralForecaster("gru", 5))
        for ask in (gru.predict_quantiles, gru.explain):
            with pytest.raises(InputError, match="missing columns: rsi_14, ewma_volatility"):
                ask(frame.drop("rsi_14", "ewma_volatility"))

    def test_a_model_that_is_not_fitted_says_so(self, frame: pl.DataFrame, tmp_path: Path) -> None:
        model = NeuralForecaster("gru", 5)
        assert model.columns_used == ()
        for ask in (lambda: model.predict_quantiles(frame), lambda: model.save(tmp_path), lambda: model.explain(frame)):
            with pytest.raises(InputError, match="not fitted"):
                ask()

    @pytest.mark.parametrize("arguments", [("perceptron", 5), ("gru", 0), ("gru", 5, "thorough")])
    def test_what_does_not_exist_is_not_made(self, arguments: tuple[Any, ...]) -> None:
        with pytest.raises(ConfigurationError, match=r"there is no net.*choose from lstm, gru"):
            NeuralForecaster(*arguments)

    def test_rows_that_nothing_can_be_learnt_from(self, rows: pl.DataFrame) -> None:
        with pytest.raises(NotEnoughHistory, match="60 labelled sessions"):
            _fit(rows[:60], NeuralForecaster("gru", 5))
        gap = pl.int_range(pl.len()) == 9
        with pytest.raises(InputError, match="no positive volatility"):
            _fit(rows.with_columns(ewma_volatility=pl.when(~gap).then("ewma_volatility")), NeuralForecaster("gru", 5))
        with pytest.raises(InputError, match="finite targets"):
            _fit(rows.with_columns(target=pl.when(~gap).then("target")), NeuralForecaster("gru", 5))

    @pytest.mark.parametrize("name", ["scaling.json", "net_0.keras"])
    def test_a_missing_or_damaged_file_is_named(self, gru: NeuralForecaster, tmp_path: Path, name: str) -> None:
        gru.save(tmp_path)
        path = tmp_path / name
        sound = path.read_bytes()
        for content in (sound[: len(sound) // 2], b"", b"\xff\xfe", b"{}", b"[]"):
            path.write_bytes(content)
            with pytest.raises(InputError, match=rf"cannot be read.*{name}.*train this horizon again"):
                NeuralForecaster.load(tmp_path)
        path.unlink()
        with pytest.raises(InputError, match=rf"cannot be read.*{name}"):
            NeuralForecaster.load(tmp_path)

    def test_settings_of_another_version_are_refused(self, gru: NeuralForecaster, tmp_path: Path) -> None:
        gru.save(tmp_path)
        path = tmp_path / "scaling.json"
        held = json.loads(path.read_text())
        for change in ({"window": 30}, {"quantile_levels": [0.5]}, {"architecture": "lstm"}, {"profile": "other"}):
            path.write_text(json.dumps(held | change))
            with pytest.raises(InputError, match="cannot be read"):
                NeuralForecaster.load(tmp_path)

    def test_code_in_a_file_is_not_run(self, gru: NeuralForecaster, tmp_path: Path) -> None:
        keras = training.load_keras()
        gru.save(tmp_path)
        inputs = keras.Input((42, 7))
        with numpy_1_calls():
            keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(tmp_path / "net_0.keras")
        with pytest.raises(InputError, match=r"cannot be read.*net_0\.keras"):
            NeuralForecaster.load(tmp_path)

    def test_without_tensorflow_the_extra_is_named(self, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tensorflow", None)
        with pytest.raises(MissingDependency, match=r"zl-assets\[neural\]"):
            _fit(rows, NeuralForecaster("gru", 5))

    def test_another_backend_is_refused(self, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(training.load_keras().config, "backend", lambda: "jax")
        with pytest.raises(ConfigurationError, match="Keras runs on jax"):
            _fit(rows, NeuralForecaster("gru", 5))

    def test_importing_imports_no_tensorflow(self) -> None:
        code = "import sys, zl_assets.core.models.neural.forecaster; print({'tensorflow', 'keras'} & set(sys.modules))"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert run.stdout == "set()\n"
