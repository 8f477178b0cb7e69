from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest

from zl_assets.core.forecasts import (
    FORECAST_SCHEMA,
    QUANTILE_COLUMNS,
    ForecastContext,
    forecast_rows,
    newest_usable_row,
)
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import TrainedModel
from zl_assets.core.models.lightgbm_model import train_and_evaluate
from zl_assets.errors import InputError
from zl_assets_tests.core.models.training_frames import planted_trend, random_walk, training_frame

CREATED = datetime(2025, 8, 29, 20, 0, tzinfo=timezone(timedelta(hours=-5)))
CONTEXT = ForecastContext(HORIZONS["1w"], date(2025, 9, 8), "run-1", is_simulated=True, created_at=CREATED)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return training_frame(random_walk(900, 4), 5)


@pytest.fixture(scope="module")
def trained(frame: pl.DataFrame) -> TrainedModel:
    return train_and_evaluate(frame, HORIZONS["1w"])


def _forecast(trained: TrainedModel, row: pl.DataFrame, context: ForecastContext = CONTEXT) -> pl.DataFrame:
    return forecast_rows(
        row, forecaster=trained.forecaster, model_version=trained.model_version, oof=trained.oof, context=context
    )


def test_the_columns_are_in_the_published_order(trained: TrainedModel, frame: pl.DataFrame) -> None:
    out = _forecast(trained, newest_usable_row(frame))
    assert dict(out.schema) == FORECAST_SCHEMA
    assert list(FORECAST_SCHEMA)[11:18] == ["q05", "q10", "q25", "q50", "q75", "q90", "q95"]
    assert out.drop("skill_vs_no_change").null_count().sum_horizontal().item() == 0


def test_every_figure_of_the_model_row_by_hand(trained: TrainedModel, frame: pl.DataFrame) -> None:
    newest = newest_usable_row(frame)
    row = _forecast(trained, newest).row(0, named=True)
    current, r = newest["close"][0], trained.forecaster.predict(newest)[0]
    actual, predicted = trained.oof["actual_return"].to_numpy(), trained.oof["predicted_return"].to_numpy()

    assert (row["model"], row["model_version"]) == ("lightgbm", trained.model_version)
    assert row["as_of_date"] == row["data_as_of"] == newest["data_date"][0] == date(2025, 8, 29)
    assert (row["horizon"], row["target_date"], row["surface"]) == ("1w", date(2025, 9, 8), "prod")
    assert row["current_price"] == current
    assert row["predicted_return"] == r
    assert row["predicted_price"] == pytest.approx(current * (1 + r))
    residuals = pl.Series(actual - predicted)
    for name, level in zip(QUANTILE_COLUMNS, (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95), strict=True):
        # The definitions of a quantile differ by less than one step between neighbouring residuals.
        low, high = residuals.quantile(level - 0.003), residuals.quantile(level + 0.003)
        assert current * (1 + r + low) <= row[name] <= current * (1 + r + high)
    assert row["model_mae"] == pytest.approx(np.abs(actual - predicted).mean())
    assert row["no_change_mae"] == pytest.approx(np.abs(actual).mean())
    assert row["skill_vs_no_change"] == pytest.approx(1 - row["model_mae"] / row["no_change_mae"])
    assert row["n_independent"] == len(actual) // 5
    assert row["is_simulated"] is True
    assert row["created_at"] == datetime(2025, 8, 30, 1, 0, tzinfo=UTC)


def test_the_no_change_row_keeps_the_price_and_spreads_by_what_happened(
    trained: TrainedModel, frame: pl.DataFrame
) -> None:
    newest = newest_usable_row(frame)
    row = _forecast(trained, newest).row(1, named=True)
    assert (row["model"], row["model_version"], row["predicted_return"]) == ("no_change", "v0", 0.0)
    assert row["predicted_price"] == row["current_price"] == newest["close"][0]
    assert row["model_mae"] == row["no_change_mae"]
    assert row["skill_vs_no_change"] == 0.0
    inside = trained.oof["actual_return"].is_between(
        row["q05"] / row["current_price"] - 1, row["q95"] / row["current_price"] - 1
    )
    assert inside.mean() == pytest.approx(0.9, abs=0.01)


def test_quantiles_never_cross(trained: TrainedModel, frame: pl.DataFrame) -> None:
    for row in _forecast(trained, newest_usable_row(frame)).select(QUANTILE_COLUMNS).iter_rows():
        assert list(row) == sorted(row)


def test_exactly_one_row_is_the_champion_and_both_say_why(trained: TrainedModel, frame: pl.DataFrame) -> None:
    out = _forecast(trained, newest_usable_row(frame))
    assert out["is_champion"].sum() == 1
    assert out.filter("is_champion")["model"].item() == trained.champion.model == "no_change"
    assert out["champion_reason"].to_list() == [trained.champion.reason] * 2
    assert out["champion_reason"][0].startswith("no skill found: ")


def test_a_model_with_skill_is_the_champion() -> None:
    frame = training_frame(planted_trend(1800, 200), 5)
    trained = train_and_evaluate(frame, HORIZONS["1w"])
    champion = _forecast(trained, newest_usable_row(frame)).filter("is_champion").row(0, named=True)
    assert champion["model"] == "lightgbm"
    assert champion["skill_vs_no_change"] > 0
    assert champion["champion_reason"].startswith("skill found: ")


def test_the_newest_usable_row_skips_suspect_prices_and_needs_no_outcome(frame: pl.DataFrame) -> None:
    assert newest_usable_row(frame)["target"].item() is None
    last_two = frame["data_date"].tail(2)
    suspect = frame.with_columns(is_suspect=pl.col("data_date") == last_two[1])
    assert newest_usable_row(suspect.reverse())["data_date"].item() == last_two[0]
    with pytest.raises(InputError, match="no usable row"):
        newest_usable_row(frame.with_columns(is_suspect=True))


def test_older_features_than_data_are_told_apart(trained: TrainedModel, frame: pl.DataFrame) -> None:
    context = ForecastContext(
        HORIZONS["1w"], date(2025, 9, 5), "r", is_simulated=False, created_at=CREATED, data_as_of=date(2025, 8, 29)
    )
    out = _forecast(trained, frame[-2], context)
    assert out["as_of_date"].unique().to_list() == [date(2025, 8, 28)]
    assert out["data_as_of"].unique().to_list() == [date(2025, 8, 29)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.clear(), "one row, not 0"),
        (lambda row: pl.concat([row, row]), "one row, not 2"),
        (lambda row: row.with_columns(close=pl.lit(None, dtype=pl.Float64)), "current price is None"),
        (lambda row: row.with_columns(close=-1.0), "current price is -1.0"),
        (lambda row: row.with_columns(data_date=date(2025, 9, 8)), "not after"),
        (lambda row: row.drop("rsi_14"), "missing columns: rsi_14"),
    ],
)
def test_a_row_that_cannot_be_forecast_from_is_refused(
    change, message: str, trained: TrainedModel, frame: pl.DataFrame
) -> None:
    with pytest.raises(InputError, match=message):
        _forecast(trained, change(newest_usable_row(frame)))


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(InputError, match="no time zone"):
        ForecastContext(
            HORIZONS["1w"], date(2025, 9, 8), "r", is_simulated=False, created_at=CREATED.replace(tzinfo=None)
        )
