"""The model shelf: its list, and what every model of a plain run must be, whatever it is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Forecaster, floats, labelled_rows
from zl_assets.core.models.shelf import ENSEMBLE, NO_CHANGE, SHELF, ModelSpec, chosen_models, models, require_packages
from zl_assets.errors import InputError, MissingDependency
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

WEEK = HORIZONS["1w"]
STANDARD = [spec for spec in SHELF if spec.standard and spec.name != ENSEMBLE]
by_name = pytest.mark.parametrize("spec", STANDARD, ids=lambda spec: spec.name)


@cache
def frame() -> pl.DataFrame:
    return training_frame(random_walk(700, 5), WEEK.sessions)


@cache
def learnt(spec: ModelSpec, *, scale: float = 1.0) -> Forecaster:
    rows = labelled_rows(frame()).head(480)
    return spec.make(WEEK).fit(rows, floats(rows, "target"), scale * floats(rows, "sample_weight"))


def asked(spec: ModelSpec, n: int = 20) -> pl.DataFrame:
    """Rows of which the last n have a forecast."""
    return frame().tail(n + learnt(spec).lookback)


class TestList:
    def test_names_and_keys_are_unique_and_in_order_of_simplicity(self) -> None:
        assert len({spec.name for spec in SHELF}) == len({spec.key for spec in SHELF}) == len(SHELF)
        assert (SHELF[0].name, SHELF[-1].name) == (NO_CHANGE, ENSEMBLE)
        assert list(models()) == [spec.name for spec in SHELF]
        assert all(spec.key == f"models.{spec.family}.{spec.name}" for spec in SHELF)

    @pytest.mark.parametrize("spec", SHELF[:-1], ids=lambda spec: spec.name)
    def test_every_model_can_be_made_for_every_horizon(self, spec: ModelSpec) -> None:
        for horizon in HORIZONS.values():
            made = spec.make(horizon)
            assert isinstance(made, Forecaster)
            assert isinstance(made, spec.of())
            if spec.takes_horizon:
                assert getattr(made, "horizon_sessions", horizon.sessions) == horizon.sessions

    def test_the_ensemble_is_a_forecaster_of_others(self) -> None:
        made = models()[ENSEMBLE].of()(("no_change", "lightgbm"), ("calm", "wild"), 5)
        assert isinstance(made, Forecaster)

    @pytest.mark.parametrize("spec", SHELF, ids=lambda spec: spec.name)
    def test_a_package_is_named_by_its_distribution(self, spec: ModelSpec) -> None:
        major = spec.package_major()
        assert (major is None) == (spec.package is None)
        assert major is None or major.isdigit()

    def test_a_package_is_found_under_the_name_it_has_on_this_machine(self) -> None:
        import xgboost

        assert models()["xgboost"].package_major() == xgboost.__version__.split(".")[0]

    def test_a_package_that_is_not_installed_has_no_version(self) -> None:
        spec = ModelSpec("a", "trees", "A model", "benchmarks", "NoChange", package="not-a-distribution-of-anyone")
        assert spec.package_major() is None


class TestPackages:
    def test_a_machine_that_has_them_all_is_told_nothing(self) -> None:
        require_packages(SHELF)

    def test_models_whose_packages_are_missing_are_named_with_what_brings_them(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = ModelSpec.package_major
        gone = {"prophet", "tensorflow"}
        monkeypatch.setattr(ModelSpec, "package_major", lambda spec: None if spec.package in gone else known(spec))
        require_packages(chosen_models("standard"))
        with pytest.raises(MissingDependency) as refused:
            require_packages(chosen_models("prophet,lstm,gru,lightgbm"))
        assert str(refused.value) == (
            "packages are missing for prophet, lstm, gru [--models, ZL_MODELS] "
            "-> uv sync --extra prophet --extra neural, or leave these models out"
        )

    def test_what_a_plain_run_trains_needs_no_extra(self) -> None:
        assert not [spec.name for spec in SHELF if spec.standard and spec.extra]


class TestChosen:
    def test_standard_leaves_out_what_takes_long_and_all_nothing(self) -> None:
        assert chosen_models("all") == SHELF
        assert chosen_models("standard") == tuple(spec for spec in SHELF if spec.standard)
        assert {NO_CHANGE, ENSEMBLE, "lightgbm"} <= {spec.name for spec in chosen_models("standard")}

    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("lightgbm", ["no_change", "lightgbm"]),
            (" xgboost , drift,", ["no_change", "drift", "xgboost"]),
            ("no_change", ["no_change"]),
            ("prophet,prophet", ["no_change", "prophet"]),
        ],
    )
    def test_names_come_in_the_order_of_the_shelf_with_no_change(self, text: str, names: list[str]) -> None:
        assert [spec.name for spec in chosen_models(text)] == names

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "lightgbm,crystal_ball,tarot",
                "no such model: crystal_ball, tarot .*choose standard, all, or names",
            ),
            ("", "no such model: an empty list"),
            (" , ", "no such model: an empty list"),
            ("Standard", "no such model: Standard"),
        ],
    )
    def test_strangers_are_refused_by_name(self, text: str, message: str) -> None:
        with pytest.raises(InputError, match=message):
            chosen_models(text)


class TestProtocol:
    """What `Forecaster` asks of every model."""

    @by_name
    def test_forecasts_are_finite_where_it_can_look_back_and_nan_where_not(self, spec: ModelSpec) -> None:
        quantiles = learnt(spec).predict_quantiles(asked(spec))
        assert quantiles.shape == (20 + learnt(spec).lookback, 7)
        assert np.isfinite(quantiles[-20:]).all()
        assert np.isnan(quantiles[:-20]).all()
        assert (np.sort(quantiles[-20:], axis=1)[:, [0, 6]] * [-1, 1] > 0).all()

    @by_name
    def test_two_fits_predict_the_same_bits(self, spec: ModelSpec) -> None:
        again = learnt.__wrapped__(spec).predict_quantiles(asked(spec))
        assert again.tobytes() == learnt(spec).predict_quantiles(asked(spec)).tobytes()

    @by_name
    def test_the_scale_of_the_weights_does_not_matter(self, spec: ModelSpec) -> None:
        other = learnt(spec, scale=64.0).predict_quantiles(asked(spec))
        assert other == pytest.approx(learnt(spec).predict_quantiles(asked(spec)), rel=1e-9, abs=1e-12, nan_ok=True)

    @by_name
    def test_a_stored_model_says_the_same(self, spec: ModelSpec, tmp_path: Path) -> None:
        found = learnt(spec)
        found.save(tmp_path)
        loaded = spec.of().load(tmp_path)
        assert loaded.predict_quantiles(asked(spec)).tobytes() == found.predict_quantiles(asked(spec)).tobytes()
        assert (loaded.columns_used, loaded.lookback) == (found.columns_used, found.lookback)
        assert loaded.explain(asked(spec)).equals(found.explain(asked(spec)))
        assert not [p for p in tmp_path.rglob("*") if p.suffix in {".pkl", ".pickle", ".joblib"}]

    @by_name
    def test_an_empty_directory_is_refused(self, spec: ModelSpec, tmp_path: Path) -> None:
        with pytest.raises(InputError):
            spec.of().load(tmp_path)

    @by_name
    def test_many_rows_at_once_and_one_by_one_agree(self, spec: ModelSpec) -> None:
        found, rows = learnt(spec), asked(spec, 6)
        one_by_one = [found.predict_quantiles(rows[k : k + found.lookback + 1])[-1] for k in range(6)]
        assert found.predict_quantiles(rows)[-6:] == pytest.approx(np.array(one_by_one), abs=1e-12)

    @by_name
    def test_later_rows_and_what_came_of_them_touch_no_forecast(self, spec: ModelSpec) -> None:
        found, rows = learnt(spec), asked(spec)
        later = pl.int_range(pl.len()) >= rows.height - 8
        numbers = [c for c in found.columns_used if rows.schema[c].is_float()]
        wild = rows.with_columns(
            *(pl.when(later).then(pl.col(c) * 1.7).otherwise(c).alias(c) for c in numbers),
            target=pl.lit(None, pl.Float64),
        )
        earlier = found.predict_quantiles(rows)[-20:-8]
        assert found.predict_quantiles(wild)[-20:-8] == pytest.approx(earlier, abs=1e-12)

    @by_name
    def test_no_outcome_weight_or_regime_is_read_to_forecast(self, spec: ModelSpec) -> None:
        told_later = {"target", "target_date", "split", "usable", "sample_weight", "regime_name"}
        assert not told_later & set(learnt(spec).columns_used)
        blind = asked(spec).drop(told_later)
        expected = learnt(spec).predict_quantiles(asked(spec))
        assert learnt(spec).predict_quantiles(blind).tobytes() == expected.tobytes()

    @by_name
    def test_missing_columns_are_refused_by_name(self, spec: ModelSpec) -> None:
        columns = learnt(spec).columns_used
        with pytest.raises(InputError, match=f"missing columns: {', '.join(columns)}"):
            learnt(spec).predict_quantiles(asked(spec).drop(columns))
        rows = labelled_rows(frame()).drop(columns[0])
        with pytest.raises(InputError, match=f"missing columns: .*{columns[0]}"):
            spec.make(WEEK).fit(rows, floats(rows, "target"), floats(rows, "sample_weight"))

    @by_name
    def test_what_moves_the_median_are_columns_it_reads(self, spec: ModelSpec) -> None:
        told = learnt(spec).explain(asked(spec))
        assert told.schema == pl.Schema(CONTRIBUTION_SCHEMA)
        assert set(told["feature"]) <= set(learnt(spec).columns_used)
        assert told["contribution"].abs().is_sorted(descending=True)

    @by_name
    def test_it_says_when_it_has_not_learnt(self, spec: ModelSpec, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="not fitted"):
            spec.make(WEEK).predict_quantiles(frame())
        with pytest.raises(InputError, match="not fitted"):
            spec.make(WEEK).save(tmp_path)
