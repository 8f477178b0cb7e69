"""Which rows can be forecast, and what a model is shown of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS, QUANTILE_LEVELS
from zl_assets.core.models.base import Floats
from zl_assets.core.models.training import (
    forecast_of,
    newest_usable_row,
    readable_rows,
)
from zl_assets.errors import InputError
from zl_assets_tests.core.models.probes import Probe, quantiles
from zl_assets_tests.core.models.training_frames import random_walk, training_frame


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(1500, 7), 5)


class TestForecastOf:
    def test_rows_together_and_one_by_one_agree(self, frame: pl.DataFrame) -> None:
        readable = readable_rows(frame)
        wanted = readable[40:80].filter(pl.int_range(pl.len()) % 3 > 0)
        together = forecast_of(Probe(6), readable, wanted)
        one_by_one = pl.concat([forecast_of(Probe(6), readable, wanted[k]) for k in range(wanted.height)])
        assert quantiles(together) == pytest.approx(quantiles(one_by_one), abs=1e-15)
        assert together.drop(QUANTILE_COLUMNS).equals(one_by_one.drop(QUANTILE_COLUMNS))

    @settings(max_examples=30)
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
