"""Prophet behind the protocol: what of its curve is forecast, and how wide its interval is."""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from zl_assets.core.exchange_calendar import session_after
from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Forecaster, labelled_rows
from zl_assets.core.models.interval import StudentInterval
from zl_assets.core.models.prophet_model import Prophet
from zl_assets.errors import InputError, MissingDependency, NotEnoughHistory
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

CLOSES = 200


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(420, 7), 21)


@pytest.fixture(scope="module")
def rows(frame: pl.DataFrame) -> pl.DataFrame:
    return labelled_rows(frame)[:280]


@pytest.fixture(scope="module")
def fitted(rows: pl.DataFrame) -> Prophet:
    return _fit(rows)


def _fit(rows: pl.DataFrame, scale: float = 1.0) -> Prophet:
    weights = rows["sample_weight"].cast(pl.Float64).to_numpy() * scale
    return Prophet(21, closes=CLOSES).fit(rows, rows["target"].to_numpy(), weights)


def test_it_offers_what_a_forecaster_must(fitted: Prophet, frame: pl.DataFrame) -> None:
    assert isinstance(fitted, Forecaster)
    assert (fitted.columns_used, fitted.lookback) == (("data_date", "ewma_volatility"), 0)
    assert fitted.explain(frame).schema == CONTRIBUTION_SCHEMA
    assert fitted.explain(frame).is_empty()
    assert fitted.predict_quantiles(frame.clear()).shape == (0, 7)


def test_the_median_is_the_change_of_the_curve_to_the_target_date(
    fitted: Prophet, rows: pl.DataFrame, frame: pl.DataFrame
) -> None:
    import pandas as pd
    import prophet

    latest = rows.tail(CLOSES)
    data = pd.DataFrame({"ds": pd.to_datetime(latest["data_date"].to_list()), "y": np.log(latest["close"].to_numpy())})
    curve = prophet.Prophet(yearly_seasonality=True, weekly_seasonality=False, daily_seasonality=False)
    curve.fit(data)
    row = frame.filter(pl.col("data_date").is_in([session_after("grains", frame["data_date"][300], 1)]))
    dates = [row["data_date"].item(), session_after("grains", row["data_date"].item(), 21)]
    here, there = curve.predict(pd.DataFrame({"ds": pd.to_datetime(dates)}))["yhat"]
    assert fitted.predict_quantiles(row)[0, 3] == pytest.approx(np.expm1(there - here), rel=1e-6)


def test_the_interval_is_of_closes_that_its_curve_has_not_seen(rows: pl.DataFrame, fitted: Prophet) -> None:
    late = rows.tail(63)
    earlier = rows.tail(CLOSES).head(CLOSES - 63)
    blind = Prophet(21, closes=CLOSES - 63)
    blind.fit(earlier, earlier["target"].to_numpy(), np.ones(earlier.height))
    point = blind.predict_quantiles(late)[:, 3]
    assert fitted._interval is not None
    expected = StudentInterval.fit(late["target"].to_numpy(), point, late["ewma_volatility"].to_numpy())
    assert fitted._interval.scale == pytest.approx(expected.scale, rel=1e-6)
    assert fitted._interval.degrees == pytest.approx(expected.degrees, rel=1e-4)


def test_two_fits_predict_the_same_bits_and_weights_and_older_rows_change_nothing(
    rows: pl.DataFrame, fitted: Prophet, frame: pl.DataFrame
) -> None:
    older = pl.int_range(pl.len()) < rows.height - CLOSES
    again = _fit(rows.with_columns(close=pl.when(older).then(1.0).otherwise("close")), scale=1000.0)
    assert again.predict_quantiles(frame).tobytes() == fitted.predict_quantiles(frame).tobytes()


def test_many_rows_at_once_are_one_by_one_and_no_price_is_read(fitted: Prophet, frame: pl.DataFrame) -> None:
    at_once = fitted.predict_quantiles(frame.select(fitted.columns_used))
    for k in (0, 100, frame.height - 1):
        assert fitted.predict_quantiles(frame[k : k + 1])[0] == pytest.approx(at_once[k], abs=1e-12)


def test_suspect_training_rows_are_not_learnt_from(rows: pl.DataFrame, frame: pl.DataFrame) -> None:
    bad = pl.int_range(pl.len()).is_in([150, 270])
    wild = rows.with_columns(is_suspect=bad, close=pl.when(bad).then(1e-3).otherwise("close"))
    expected = _fit(rows.filter(~bad)).predict_quantiles(frame)
    assert _fit(wild).predict_quantiles(frame).tobytes() == expected.tobytes()


def test_a_stored_model_predicts_the_same_and_holds_no_price(
    fitted: Prophet, frame: pl.DataFrame, tmp_path: Path
) -> None:
    fitted.save(tmp_path)
    loaded = Prophet.load(tmp_path)
    assert loaded.horizon_sessions == 21
    assert loaded.predict_quantiles(frame) == pytest.approx(fitted.predict_quantiles(frame), abs=1e-12)
    history = json.loads(json.loads((tmp_path / "curve.json").read_text())["history"])
    assert len(history["data"]) == 1


@pytest.mark.parametrize("damage", ["missing", "cut", "other", "word", "empty"])
def test_a_damaged_file_is_refused(damage: str, fitted: Prophet, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    curve, parameters = tmp_path / "curve.json", tmp_path / "parameters.json"
    held = json.loads(parameters.read_text())
    match damage:
        case "missing":
            curve.unlink()
        case "cut":
            curve.write_text(curve.read_text()[:2000])
        case "other":
            parameters.write_text(json.dumps({**held, "model": "drift"}))
        case "word":
            parameters.write_text(json.dumps({**held, "interval": {"scale": "wide", "degrees": 5.0}}))
        case _:
            curve.write_text("{}")
    with pytest.raises(InputError, match="train this horizon again"):
        Prophet.load(tmp_path)


def test_what_nothing_can_be_learnt_from_is_refused(rows: pl.DataFrame, frame: pl.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing columns: ewma_volatility, close \[prophet, rows to learn from\]"):
        _fit(rows.drop("close", "ewma_volatility"))
    with pytest.raises(NotEnoughHistory, match="125 sound closes, at least 126 are needed"):
        _fit(rows.head(125))
    with pytest.raises(InputError, match="as many finite targets"):
        Prophet(21).fit(rows, rows["target"].to_numpy()[1:], np.ones(rows.height))
    for asked in (lambda: Prophet(21).predict_quantiles(frame), lambda: Prophet(21).save(tmp_path)):
        with pytest.raises(InputError, match="not fitted"):
            asked()


def test_columns_are_named_and_the_calendar_ends(fitted: Prophet, frame: pl.DataFrame) -> None:
    with pytest.raises(InputError, match=r"missing columns: data_date \[prophet, rows to forecast\]"):
        fitted.predict_quantiles(frame.drop("data_date"))
    late = frame.tail(1).with_columns(data_date=pl.date(2035, 12, 20))
    with pytest.raises(InputError, match="the calendar ends"):
        fitted.predict_quantiles(late)


def test_a_missing_package_is_named(rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prophet", None)
    with pytest.raises(MissingDependency, match=r"zl-assets\[prophet\]"):
        _fit(rows)


def test_fitting_says_nothing(
    rows: pl.DataFrame, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    _fit(rows)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert not logging.getLogger("cmdstanpy").disabled
