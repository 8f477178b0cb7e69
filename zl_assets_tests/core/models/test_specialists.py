import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from zl_assets.core.evaluation.metrics import kish_effective_size
from zl_assets.core.models.base import STATIONARY_FEATURES, Forecaster, labelled_rows
from zl_assets.core.models.benchmarks import NoChange
from zl_assets.core.models.regime_classifier import regime_state
from zl_assets.core.models.specialists import (
    FITTED,
    Specialist,
    SpecialistCrisis,
    SpecialistInflation,
    SpecialistTradeWar,
)
from zl_assets.errors import InputError
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

ALL = (SpecialistCrisis, SpecialistTradeWar, SpecialistInflation)
WEEK = 5


def _between(first: date, last: date) -> pl.Expr:
    return pl.col("data_date").is_between(first, last)


INFLATION = _between(date(2021, 1, 1), date(2022, 12, 31))
TRADE_WAR = _between(date(2017, 1, 1), date(2019, 12, 31))


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Ten years, 2015 to 2025, of a week ahead; early 2020 is wild, and each regime has an effect of its own.

    A high RSI goes before a rise in the years of inflation, before a fall in the trade war, and before nothing else.
    """
    closes = random_walk(2700, 11)
    moves = np.diff(np.log(closes), prepend=np.log(closes[0]))
    moves[1150:1450] *= 2.5
    rows = labelled_rows(training_frame(40 * np.exp(np.cumsum(moves)), WEEK))
    effect = 0.04 * (pl.col("rsi_14") > 50).cast(pl.Float64) - 0.02
    planted = pl.when(INFLATION).then(effect).when(TRADE_WAR).then(-effect).otherwise(0.0)
    return rows.with_columns(target=pl.col("target") + planted)


def _fit(model: Specialist, rows: pl.DataFrame, scale: float = 1.0) -> Specialist:
    weights = rows["sample_weight"].cast(pl.Float64).to_numpy() * scale
    return model.fit(rows, rows["target"].to_numpy(), weights)


@pytest.fixture(scope="module")
def fitted(rows: pl.DataFrame) -> Specialist:
    return _fit(SpecialistInflation(WEEK), rows)


@pytest.mark.parametrize("kind", ALL)
class TestEvery:
    def test_it_is_a_forecaster_that_learns_from_its_regime(self, kind: type[Specialist], rows: pl.DataFrame) -> None:
        model = _fit(kind(WEEK), rows)
        assert isinstance(model, Forecaster)
        assert model.state == FITTED
        assert set(model.columns_used) <= {*STATIONARY_FEATURES, "data_date", "ewma_volatility"}
        assert not np.allclose(model.predict_quantiles(rows)[:, 3], 0, atol=1e-5)

    def test_it_keeps_what_it_learnt_on_disk(self, kind: type[Specialist], rows: pl.DataFrame, tmp_path: Path) -> None:
        model = _fit(kind(WEEK), rows)
        model.save(tmp_path)
        loaded = kind.load(tmp_path)
        assert loaded.predict_quantiles(rows).tobytes() == model.predict_quantiles(rows).tobytes()
        assert (loaded.state, loaded.effective_sample_size) == (model.state, model.effective_sample_size)
        assert (loaded.columns_used, loaded.horizon_sessions) == (model.columns_used, WEEK)
        assert loaded.explain(rows).equals(model.explain(rows))

    def test_with_too_few_windows_it_forecasts_no_change_and_says_so(
        self, kind: type[Specialist], rows: pl.DataFrame, tmp_path: Path
    ) -> None:
        model = _fit(kind(252), rows)
        assert model.state.startswith("not enough rows: ")
        assert model.effective_sample_size < 10
        peer = NoChange().fit(rows, rows["target"].to_numpy(), np.ones(rows.height)).predict_quantiles(rows)
        assert model.predict_quantiles(rows).tobytes() == peer.tobytes()
        assert model.explain(rows).is_empty()
        model.save(tmp_path)
        loaded = kind.load(tmp_path)
        assert loaded.state == model.state
        assert loaded.predict_quantiles(rows).tobytes() == peer.tobytes()

    def test_rows_outside_its_regime_touch_only_the_interval(self, kind: type[Specialist], rows: pl.DataFrame) -> None:
        inside = {
            SpecialistCrisis: (regime_state(rows) == "crisis").fill_null(False),
            SpecialistTradeWar: rows.select(TRADE_WAR).to_series(),
            SpecialistInflation: rows.select(INFLATION).to_series(),
        }[kind]
        other = rows.with_columns(
            rsi_14=pl.when(inside).then("rsi_14").otherwise(100 - pl.col("rsi_14")),
            target=pl.when(inside).then("target").otherwise(-pl.col("target") / 2),
            sample_weight=pl.when(inside).then("sample_weight").otherwise(7),
        )
        ours, theirs = _fit(kind(WEEK), rows), _fit(kind(WEEK), other)
        assert ours.predict_quantiles(rows)[:, 3].tobytes() == theirs.predict_quantiles(rows)[:, 3].tobytes()
        assert ours.effective_sample_size == theirs.effective_sample_size
        weights = rows["sample_weight"].filter(inside).to_numpy()
        assert ours.effective_sample_size == pytest.approx(kish_effective_size(weights) / WEEK)

    def test_a_name_given_in_hindsight_is_no_feature(self, kind: type[Specialist], rows: pl.DataFrame) -> None:
        model = _fit(kind(WEEK), rows)
        renamed = rows.with_columns(regime_name=pl.lit("another"))
        plain = model.predict_quantiles(rows)
        assert _fit(kind(WEEK), renamed).predict_quantiles(renamed).tobytes() == plain.tobytes()
        # The date itself is no feature either: a forecast of the same row of another year is the same.
        moved = rows.with_columns(pl.col("data_date").dt.offset_by("-20y"))
        assert model.predict_quantiles(moved).tobytes() == plain.tobytes()

    def test_missing_columns_are_refused_by_name(self, kind: type[Specialist], rows: pl.DataFrame) -> None:
        with pytest.raises(InputError, match=rf"missing columns: k_vol \[{kind.name}, rows to learn from\]"):
            _fit(kind(WEEK), rows.drop("k_vol"))
        with pytest.raises(InputError, match=rf"missing columns: k_vol \[{kind.name}, rows to forecast\]"):
            _fit(kind(WEEK), rows).predict_quantiles(rows.drop("k_vol"))
        with pytest.raises(InputError, match=f"missing columns: {kind.fit_columns[0]}"):
            _fit(kind(WEEK), rows.drop(kind.fit_columns[0]))

    def test_an_unfitted_model_says_so(self, kind: type[Specialist], rows: pl.DataFrame, tmp_path: Path) -> None:
        for asked in (kind(WEEK).predict_quantiles, kind(WEEK).explain):
            with pytest.raises(InputError, match=rf"not fitted \[{kind.name}\]"):
                asked(rows)
        with pytest.raises(InputError, match="not fitted"):
            kind(WEEK).save(tmp_path)


class TestSpecialist:
    def test_it_learns_the_effect_of_its_own_regime(self, rows: pl.DataFrame) -> None:
        high = rows["rsi_14"].to_numpy() > 50
        by_kind = {kind: _fit(kind(WEEK), rows).predict_quantiles(rows)[:, 3] for kind in ALL[1:]}
        gap = {kind: median[high].mean() - median[~high].mean() for kind, median in by_kind.items()}
        assert gap[SpecialistInflation] > 0.01
        assert gap[SpecialistTradeWar] < -0.01

    def test_the_interval_is_that_of_no_change_moved_with_the_price(
        self, fitted: Specialist, rows: pl.DataFrame
    ) -> None:
        around = NoChange().fit(rows, rows["target"].to_numpy(), np.ones(rows.height)).predict_quantiles(rows)
        told = fitted.predict_quantiles(rows)
        assert np.allclose((1 + told) / (1 + told[:, 3:4]), 1 + around)

    def test_what_moves_the_forecast_adds_up_to_it(self, fitted: Specialist, rows: pl.DataFrame) -> None:
        # What the trees say on average is left over, and the same for every row.
        left = [
            fitted.predict_quantiles(rows[: n + 1])[-1, 3] - fitted.explain(rows[: n + 1])["contribution"].sum()
            for n in (10, 500, 2000)
        ]
        assert np.allclose(left, left[0], atol=1e-9)
        top = fitted.explain(rows)
        assert top["feature"][0] == "rsi_14"
        assert top["contribution"].abs().is_sorted(descending=True)
        assert fitted.explain(rows.clear()).is_empty()

    def test_two_fits_give_the_same_bits(self, fitted: Specialist, rows: pl.DataFrame) -> None:
        again = _fit(SpecialistInflation(WEEK), rows)
        assert again.predict_quantiles(rows).tobytes() == fitted.predict_quantiles(rows).tobytes()

    def test_the_scale_of_the_weights_does_not_matter(self, fitted: Specialist, rows: pl.DataFrame) -> None:
        scaled = _fit(SpecialistInflation(WEEK), rows, scale=1000.0)
        assert np.allclose(scaled.predict_quantiles(rows), fitted.predict_quantiles(rows), atol=1e-9)
        assert scaled.effective_sample_size == pytest.approx(fitted.effective_sample_size)

    def test_many_rows_at_once_and_one_by_one_agree_to_the_bit(self, fitted: Specialist, rows: pl.DataFrame) -> None:
        whole = fitted.predict_quantiles(rows)
        for row in (0, 1000, rows.height - 1):
            assert fitted.predict_quantiles(rows[row : row + 1]).tobytes() == whole[row].tobytes()
        assert fitted.predict_quantiles(rows.clear()).shape == (0, 7)

    def test_before_its_regime_it_has_nothing_to_say_and_rows_to_come_do_not_help(self, rows: pl.DataFrame) -> None:
        early = rows.filter(pl.col("data_date") < date(2021, 1, 1))
        model = _fit(SpecialistInflation(WEEK), early)
        assert model.state == (
            "not enough rows: 0 of the regime hold 0.0 independent windows, 126 rows and 10 windows are needed"
        )
        assert model.effective_sample_size == 0
        assert not model.predict_quantiles(rows)[:, 3].any()

    def test_half_a_year_of_rows_is_asked_for_too(self, rows: pl.DataFrame) -> None:
        """So few rows may hold ten windows of a week, and a shape of errors could not be told by them."""
        first = rows.filter(INFLATION)["session_number"][0]
        for n, state in ((125, "not enough rows: 125"), (126, FITTED)):
            model = _fit(SpecialistInflation(WEEK), rows.filter(pl.col("session_number") < first + n))
            assert model.state.startswith(state)

    def test_the_same_rows_say_less_where_their_windows_are_longer(
        self, fitted: Specialist, rows: pl.DataFrame
    ) -> None:
        longer = _fit(SpecialistInflation(4 * WEEK), rows)
        assert longer.state == FITTED
        assert np.ptp(longer.predict_quantiles(rows)[:, 3]) < 0.8 * np.ptp(fitted.predict_quantiles(rows)[:, 3])

    def test_a_later_fit_forgets_the_earlier_one(self, rows: pl.DataFrame) -> None:
        model = _fit(SpecialistInflation(WEEK), rows)
        _fit(model, rows.filter(pl.col("data_date") < date(2021, 1, 1)))
        assert not model.predict_quantiles(rows)[:, 3].any()

    @pytest.mark.parametrize("name", ["specialist.json", "parameters.json", "model.txt"])
    @pytest.mark.parametrize("damage", ["missing", "cut"])
    def test_a_damaged_file_is_refused(self, name: str, damage: str, fitted: Specialist, tmp_path: Path) -> None:
        fitted.save(tmp_path)
        path = tmp_path / name
        if damage == "cut":
            path.write_text(path.read_text()[: len(path.read_text()) // 2])
        else:
            path.unlink()
        with pytest.raises(InputError, match=r"the model (cannot be read|is cut short)"):
            SpecialistInflation.load(tmp_path)

    def test_the_file_of_another_specialist_is_refused(self, fitted: Specialist, tmp_path: Path) -> None:
        fitted.save(tmp_path)
        with pytest.raises(InputError, match="it is of specialist_inflation"):
            SpecialistTradeWar.load(tmp_path)
        path = tmp_path / "specialist.json"
        path.write_text(json.dumps({"model": "specialist_inflation", "state": FITTED}))
        with pytest.raises(InputError, match="cannot be read"):
            SpecialistInflation.load(tmp_path)
