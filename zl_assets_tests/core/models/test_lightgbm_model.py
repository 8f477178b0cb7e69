from pathlib import Path

import numpy as np
import polars as pl
import pytest

from zl_assets.core.models.base import STATIONARY_FEATURES, labelled_rows
from zl_assets.core.models.lightgbm_model import LightGBMForecaster
from zl_assets.core.models.trees import TreeConfig
from zl_assets.errors import InputError
from zl_assets_tests.core.models.training_frames import random_walk, training_frame


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(1500, 7), 5)


def _fit(rows: pl.DataFrame, config: TreeConfig | None = None, scale: float = 1.0) -> LightGBMForecaster:
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
        sizes = [float(np.abs(_fit(rows, TreeConfig(lambda_l2=p)).predict(rows)).mean()) for p in (0, 1e3, 1e6)]
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

    def test_gains_are_shares_of_the_trees_and_those_that_never_split_have_none(self, frame: pl.DataFrame) -> None:
        rows = labelled_rows(frame)
        fitted = _fit(rows)
        table = fitted.feature_importance()
        assert {*table["feature"], "ewma_volatility"} == set(fitted.columns_used)
        assert table["gain_share"].sum() == pytest.approx(1)
        assert table["gain_share"].is_sorted(descending=True)
        assert 0 < table["splits"].sum() <= fitted.config.n_estimators * (fitted.config.num_leaves - 1)
        still = _fit(rows.with_columns(target=pl.lit(0.05))).feature_importance()
        assert still["gain_share"].to_list() == [0.0] * len(STATIONARY_FEATURES)
