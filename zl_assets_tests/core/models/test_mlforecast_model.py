"""mlforecast behind the protocol: what its trees read, how they walk to the horizon, and how wide the interval is."""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Floats, Forecaster, floats, labelled_rows
from zl_assets.core.models.interval import StudentInterval
from zl_assets.core.models.mlforecast_model import LAGS, SPARE, WINDOW, MLForecastTrees
from zl_assets.errors import InputError, MissingDependency, NotEnoughHistory
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

SESSIONS = 21


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(640, 7), SESSIONS)


@pytest.fixture(scope="module")
def rows(frame: pl.DataFrame) -> pl.DataFrame:
    return labelled_rows(frame)[:480]


@pytest.fixture(scope="module")
def fitted(rows: pl.DataFrame) -> MLForecastTrees:
    return fit(rows)


def fit(rows: pl.DataFrame, scale: float = 1.0) -> MLForecastTrees:
    return MLForecastTrees(SESSIONS).fit(rows, floats(rows, "target"), scale * floats(rows, "sample_weight"))


def walked_by_hand(model: MLForecastTrees, closes: Floats) -> float:
    """The return after SESSIONS steps: each step's features are made of closes and of the steps before."""
    assert model._booster is not None
    path = np.log(closes).tolist()
    for _ in range(SESSIONS):
        moves = np.diff(path)
        rolling = [f(moves[-n:]) for f in (np.mean, lambda x: np.std(x, ddof=1)) for n in (5, 21)]
        features = np.array([[moves[-lag] for lag in LAGS] + rolling])
        path.append(path[-1] + model._booster.predict(features)[0])
    return float(np.expm1(path[-1] - np.log(closes[-1])))


def test_it_offers_what_a_forecaster_must(fitted: MLForecastTrees, frame: pl.DataFrame) -> None:
    assert isinstance(fitted, Forecaster)
    assert fitted.columns_used == ("close", "is_suspect", "ewma_volatility")
    assert fitted.lookback == WINDOW + SPARE - 1
    assert fitted.explain(frame).schema == CONTRIBUTION_SCHEMA
    assert fitted.explain(frame).is_empty()
    assert fitted.predict_quantiles(frame.clear()).shape == (0, 7)


def test_the_median_is_where_the_trees_walk_to(fitted: MLForecastTrees, frame: pl.DataFrame) -> None:
    medians = fitted.predict_quantiles(frame)[:, 3]
    closes = floats(frame, "close")
    assert fitted._booster is not None
    assert fitted._booster.num_trees() > 0
    for row in (120, 500, frame.height - 1):
        expected = walked_by_hand(fitted, closes[row - WINDOW + 1 : row + 1])
        assert expected != 0
        assert medians[row] == pytest.approx(expected, rel=1e-9)


def test_the_interval_is_of_closes_that_its_trees_have_not_seen(rows: pl.DataFrame, fitted: MLForecastTrees) -> None:
    n = rows.height - rows.height // 5
    wild = rows.with_columns(close=pl.when(pl.int_range(pl.len()) < n).then("close").otherwise(pl.col("close") * 3))
    # Trees grown on the first part alone, asked on true closes of the rest.
    blind = MLForecastTrees(SESSIONS)
    blind.fit(rows[:n], floats(rows[:n], "target"), np.ones(n))
    later = rows[n - blind.lookback :]
    point = blind.predict_quantiles(later)[blind.lookback :, 3]
    expected = StudentInterval.fit(floats(rows[n:], "target"), point, floats(rows[n:], "ewma_volatility"))
    assert fitted._interval is not None
    assert fitted._interval.scale == pytest.approx(expected.scale, rel=1e-6)
    assert fit(wild)._interval != fitted._interval


def test_two_fits_predict_the_same_bits_and_weights_change_nothing(
    rows: pl.DataFrame, fitted: MLForecastTrees, frame: pl.DataFrame
) -> None:
    again = fit(rows, scale=1000.0)
    assert again.predict_quantiles(frame).tobytes() == fitted.predict_quantiles(frame).tobytes()


def test_many_rows_at_once_are_one_by_one(fitted: MLForecastTrees, frame: pl.DataFrame) -> None:
    at_once = fitted.predict_quantiles(frame)
    back = fitted.lookback
    assert np.isnan(at_once[:back]).all()
    assert np.isfinite(at_once[back:]).all()
    for k in (back, 300, frame.height - 1):
        assert fitted.predict_quantiles(frame[k - back : k + 1])[-1].tobytes() == at_once[k].tobytes()


def test_suspect_sessions_are_passed_over(fitted: MLForecastTrees, rows: pl.DataFrame, frame: pl.DataFrame) -> None:
    bad = pl.int_range(pl.len()).is_in([400, 560])
    wild = frame.with_columns(is_suspect=bad, close=pl.when(bad).then(1e-3).otherwise("close"))
    told = fitted.predict_quantiles(wild)
    assert np.isnan(told[[400, 560]]).all()
    closes = floats(frame.filter(~bad), "close")
    assert told[570, 3] == pytest.approx(walked_by_hand(fitted, closes[569 - WINDOW : 569]), rel=1e-9)

    bad = pl.int_range(pl.len()) == 300
    learnt = fit(rows.with_columns(is_suspect=bad, close=pl.when(bad).then(1e-3).otherwise("close")))
    expected = fit(rows.filter(~bad))
    assert learnt.predict_quantiles(frame)[:, 3].tobytes() == expected.predict_quantiles(frame)[:, 3].tobytes()


def test_a_stored_model_predicts_the_same_bits(fitted: MLForecastTrees, frame: pl.DataFrame, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    loaded = MLForecastTrees.load(tmp_path)
    assert loaded.horizon_sessions == SESSIONS
    assert loaded.predict_quantiles(frame).tobytes() == fitted.predict_quantiles(frame).tobytes()


@pytest.mark.parametrize("damage", ["missing", "cut", "other", "word"])
def test_a_damaged_file_is_refused(damage: str, fitted: MLForecastTrees, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    trees, parameters = tmp_path / "model.txt", tmp_path / "parameters.json"
    held = json.loads(parameters.read_text())
    match damage:
        case "missing":
            trees.unlink()
        case "cut":
            trees.write_text(trees.read_text()[:500])
        case "other":
            parameters.write_text(json.dumps({**held, "model": "prophet"}))
        case _:
            parameters.write_text(json.dumps({**held, "interval": {"scale": "wide", "degrees": 5.0}}))
    with pytest.raises(InputError):
        MLForecastTrees.load(tmp_path)


def test_what_nothing_can_be_learnt_from_is_refused(rows: pl.DataFrame, frame: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing columns: close \[mlforecast, rows to learn from\]"):
        fit(rows.drop("close"))
    with pytest.raises(InputError, match=r"missing columns: ewma_volatility \[mlforecast, rows to forecast\]"):
        fit(rows).predict_quantiles(frame.drop("ewma_volatility"))
    with pytest.raises(NotEnoughHistory, match="190 sound closes, at least 191 are needed"):
        fit(rows.head(190))
    for use in (lambda: MLForecastTrees(5).predict_quantiles(frame), lambda: MLForecastTrees(5).save(tmp_path)):
        with pytest.raises(InputError, match="not fitted"):
            use()


def test_a_missing_package_is_named(rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlforecast", None)
    with pytest.raises(MissingDependency, match=r"zl-assets\[mlforecast\]"):
        fit(rows)
