"""What every model has to beat: points against pandas, and what each forecaster must be."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from zl_assets.core.models.base import Forecaster, labelled_rows
from zl_assets.core.models.benchmarks import PARAMETERS_FILE, Benchmark, Drift, NoChange, SeasonalNaive
from zl_assets.core.models.interval import StudentInterval
from zl_assets.errors import InputError
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

ALL = (NoChange, Drift, SeasonalNaive)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return labelled_rows(training_frame(random_walk(1000, 5), 5))


def fitted(model: Benchmark, rows: pl.DataFrame) -> Benchmark:
    weights = rows["sample_weight"].cast(pl.Float64).to_numpy()
    return model.fit(rows, rows["target"].to_numpy(), weights)


def points(model: Benchmark, rows: pl.DataFrame) -> np.ndarray:
    return model.predict_quantiles(rows)[:, 3]


class TestPoints:
    def test_no_change_is_a_return_of_zero(self, rows: pl.DataFrame) -> None:
        assert not points(fitted(NoChange(), rows), rows).any()

    def test_drift_is_the_mean_return(self, rows: pl.DataFrame) -> None:
        train, test = rows.head(600), rows.tail(100)
        assert points(fitted(Drift(), train), test) == pytest.approx(np.full(100, train["target"].mean()))

    def test_seasonal_naive_is_the_mean_return_of_the_same_iso_week(self, rows: pl.DataFrame) -> None:
        train, test = rows.head(600), rows.tail(300)
        pandas = train.select("data_date", "target").to_pandas()
        means = pandas.groupby(pandas["data_date"].dt.isocalendar().week)["target"].mean()
        expected = means.reindex(test.to_pandas()["data_date"].dt.isocalendar().week).to_numpy()
        assert np.isfinite(expected).all()
        assert points(fitted(SeasonalNaive(), train), test) == pytest.approx(expected)

    def test_from_a_week_never_seen_the_price_stays(self, rows: pl.DataFrame) -> None:
        spring = rows.filter(pl.col("data_date").dt.week() < 20)
        found = fitted(SeasonalNaive(), spring)
        later = rows.filter(pl.col("data_date").dt.week() >= 20)
        assert not points(found, later).any()
        assert points(found, spring).any()

    def test_the_53rd_week_has_a_place(self, rows: pl.DataFrame) -> None:
        days = [date(2020, 12, 28) + timedelta(days=d % 5) for d in range(rows.height)]
        last = rows.with_columns(data_date=pl.Series(days))
        assert points(fitted(SeasonalNaive(), last), last) == pytest.approx(np.full(rows.height, rows["target"].mean()))


@pytest.mark.parametrize("kind", ALL)
class TestEvery:
    def test_it_is_a_forecaster_of_single_rows_that_no_feature_explains(
        self, kind: type[Benchmark], rows: pl.DataFrame
    ) -> None:
        found = fitted(kind(), rows)
        assert isinstance(found, Forecaster)
        assert (found.lookback, found.columns_used) == (0, ("data_date", "ewma_volatility"))
        assert found.explain(rows).is_empty()

    def test_its_interval_is_that_of_its_errors_on_the_training_rows(
        self, kind: type[Benchmark], rows: pl.DataFrame
    ) -> None:
        found = fitted(kind(), rows)
        point, volatility = points(found, rows), rows["ewma_volatility"].to_numpy()
        expected = StudentInterval.fit(rows["target"].to_numpy(), point, volatility)
        assert found.predict_quantiles(rows) == pytest.approx(expected.quantiles(point, volatility), rel=1e-6)

    def test_two_fits_give_the_same_bits_and_weights_touch_nothing(
        self, kind: type[Benchmark], rows: pl.DataFrame
    ) -> None:
        found = fitted(kind(), rows).predict_quantiles(rows)
        again = kind().fit(rows, rows["target"].to_numpy(), np.linspace(1, 9, rows.height))
        assert fitted(kind(), rows).predict_quantiles(rows).tobytes() == found.tobytes()
        assert again.predict_quantiles(rows).tobytes() == found.tobytes()

    def test_a_stored_model_gives_the_same_bits(
        self, kind: type[Benchmark], rows: pl.DataFrame, tmp_path: Path
    ) -> None:
        found = fitted(kind(), rows)
        found.save(tmp_path)
        assert kind.load(tmp_path).predict_quantiles(rows).tobytes() == found.predict_quantiles(rows).tobytes()

    def test_many_rows_at_once_are_one_by_one(self, kind: type[Benchmark], rows: pl.DataFrame) -> None:
        found = fitted(kind(), rows)
        one_by_one = np.vstack([found.predict_quantiles(rows[k]) for k in range(60)])
        assert found.predict_quantiles(rows)[:60].tobytes() == one_by_one.tobytes()

    def test_a_row_without_a_volatility_has_no_forecast_and_no_rows_have_none(
        self, kind: type[Benchmark], rows: pl.DataFrame
    ) -> None:
        found = fitted(kind(), rows)
        unknown = rows.head(2).with_columns(ewma_volatility=pl.Series([None, 0.01]))
        assert np.isnan(found.predict_quantiles(unknown)).all(axis=1).tolist() == [True, False]
        assert found.predict_quantiles(rows.clear()).shape == (0, 7)

    def test_missing_columns_are_refused_by_name(self, kind: type[Benchmark], rows: pl.DataFrame) -> None:
        with pytest.raises(InputError, match=rf"missing columns: ewma_volatility \[{kind.name}, rows to learn from\]"):
            fitted(kind(), rows.drop("ewma_volatility"))
        with pytest.raises(InputError, match=rf"missing columns: data_date \[{kind.name}, rows to forecast\]"):
            fitted(kind(), rows).predict_quantiles(rows.drop("data_date"))

    def test_what_nothing_can_be_learnt_from_is_refused(self, kind: type[Benchmark], rows: pl.DataFrame) -> None:
        with pytest.raises(InputError, match="finite targets"):
            kind().fit(rows, rows["target"].to_numpy() * np.nan, np.ones(rows.height))
        with pytest.raises(InputError, match="positive finite"):
            kind().fit(rows, rows["target"].to_numpy(), np.zeros(rows.height))
        with pytest.raises(InputError, match="63 finite errors"):
            fitted(kind(), rows.head(62))

    def test_an_unfitted_model_says_so(self, kind: type[Benchmark], rows: pl.DataFrame, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="not fitted"):
            kind().predict_quantiles(rows)
        with pytest.raises(InputError, match="not fitted"):
            kind().save(tmp_path)

    @pytest.mark.parametrize(
        "damage",
        [
            {"model": "other"},
            {"level": []},
            {"level": [0.0] * 7},
            {"level": "high"},
            {"level": [float("nan")]},
            {"interval": None},
            {"interval": {"scale": 1.0}},
            {"interval": {"scale": None, "degrees": 5.0}},
            {"interval": {"scale": float("inf"), "degrees": 5.0}},
        ],
        ids=str,
    )
    def test_a_damaged_file_is_refused(
        self, kind: type[Benchmark], damage: dict[str, Any], rows: pl.DataFrame, tmp_path: Path
    ) -> None:
        fitted(kind(), rows.head(80)).save(tmp_path)
        path = tmp_path / PARAMETERS_FILE
        path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
        with pytest.raises(InputError, match="train this horizon again"):
            kind.load(tmp_path)

    @pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe"])
    def test_a_file_that_is_missing_or_not_a_models_is_refused(
        self, kind: type[Benchmark], content: bytes | None, tmp_path: Path
    ) -> None:
        if content is not None:
            (tmp_path / PARAMETERS_FILE).write_bytes(content)
        with pytest.raises(InputError, match="train this horizon again"):
            kind.load(tmp_path)
