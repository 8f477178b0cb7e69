"""How much features matter, for a model whose use of them is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.evaluation.scores import crps
from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Floats, contributions, floats, labelled_rows, matrix
from zl_assets.core.models.benchmarks import NoChange
from zl_assets.core.models.importance import IMPORTANCE_SCHEMA, feature_importance
from zl_assets.core.models.lightgbm_model import LightGBMForecaster
from zl_assets.errors import InputError
from zl_assets_tests.core.models.training_frames import planted_trend, training_frame

WIDTHS = np.linspace(-0.03, 0.03, len(QUANTILE_LEVELS))


class Linear:
    """Forecasts `signal` itself, and looks at nothing else it says it reads; it keeps what it was shown."""

    columns_used = ("data_date", "signal", "idle", "noise")

    def __init__(self, of_noise: float = 0.0, lookback: int = 0) -> None:
        self.of_noise, self.lookback = of_noise, lookback
        self.shown: list[pl.DataFrame] = []

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        self.shown.append(frame)
        point = floats(frame, "signal") + self.of_noise * floats(frame, "noise")
        return point[:, None] + WIDTHS

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:
        return contributions(["signal", "idle", "noise"], matrix(frame, ["signal", "idle", "noise"])[-1])


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    rng = np.random.default_rng(5)
    n = 400
    signal = rng.normal(0, 0.05, n)
    frame = labelled_rows(training_frame(planted_trend(600, 1), 5)).head(n)
    return frame.with_columns(
        signal=pl.Series(signal),
        idle=pl.Series(rng.normal(0, 1, n)),
        noise=pl.Series(rng.normal(0, 0.05, n)),
        target=pl.Series(signal + rng.normal(0, 0.03, n)),
    )


def shares(table: pl.DataFrame) -> dict[str, float]:
    return dict(table.select("feature", "permutation").iter_rows())


def test_a_shuffle_costs_what_any_other_rows_value_costs_on_average(rows: pl.DataFrame) -> None:
    table = feature_importance(Linear(), Linear(), rows, rows)
    actual, signal = floats(rows, "target"), floats(rows, "signal")
    usual = crps(actual, signal[:, None] + WIDTHS).mean()
    any_other = np.mean([crps(actual, np.full(rows.height, s)[:, None] + WIDTHS).mean() for s in signal])
    assert shares(table)["signal"] == pytest.approx(any_other / usual - 1, rel=0.05)
    assert shares(table)["idle"] == 0.0
    assert table["feature"][0] == "signal"
    assert table.schema == pl.Schema(IMPORTANCE_SCHEMA)


def test_noise_that_is_read_loses_nothing_when_shuffled(rows: pl.DataFrame) -> None:
    told = shares(feature_importance(Linear(0.3), Linear(0.3), rows, rows))
    assert abs(told["noise"]) < 0.03 < told["signal"]


def test_a_model_without_splits_has_no_gain_and_dates_are_no_feature(rows: pl.DataFrame) -> None:
    table = feature_importance(Linear(), Linear(), rows, rows)
    assert table["gain"].null_count() == table["gain_share"].null_count() == 3
    assert set(table["feature"]) == {"signal", "idle", "noise"}


def test_a_model_that_no_feature_moves_has_no_importances(rows: pl.DataFrame) -> None:
    found = NoChange().fit(rows, floats(rows, "target"), np.ones(rows.height))
    assert feature_importance(found, found, rows, rows).equals(pl.DataFrame(schema=IMPORTANCE_SCHEMA))
    assert found.explain(rows).schema == pl.Schema(CONTRIBUTION_SCHEMA)


@pytest.mark.parametrize("lookback", [0, 7])
def test_only_unseen_rows_and_those_it_looks_back_at_are_shown_and_only_unseen_ones_judged(
    lookback: int, rows: pl.DataFrame
) -> None:
    unseen = rows[250:350].filter(pl.int_range(pl.len()) % 3 > 0)
    earlier = Linear(lookback=lookback)
    feature_importance(Linear(), earlier, rows, unseen)
    sessions = unseen["session_number"]
    for shown in earlier.shown:
        first = rows["session_number"].index_of(sessions[0])
        assert first is not None
        assert shown["session_number"][0] == rows["session_number"][first - lookback]
        assert shown["session_number"][-1] == sessions[-1]
    other = rows.with_columns(target=pl.when(pl.col("session_number").is_in(sessions.implode())).then("target"))
    assert feature_importance(Linear(), Linear(), other, unseen).equals(
        feature_importance(Linear(), Linear(), rows, unseen)
    )


def test_gains_are_those_of_the_final_model_and_permutation_that_of_the_earlier(rows: pl.DataFrame) -> None:
    features = ("signal", "idle", "noise")
    train, unseen = rows.head(250), rows.tail(100)
    final, earlier = (
        LightGBMForecaster(features=features).fit(r, floats(r, "target"), floats(r, "sample_weight"))
        for r in (rows, train)
    )
    table = feature_importance(final, earlier, rows, unseen)
    gains = final.feature_importance().select("feature", "gain", "gain_share")
    told = table.filter(pl.col("feature") != "ewma_volatility").select("feature", "gain", "gain_share")
    assert told.sort("feature").equals(gains.sort("feature"))
    assert table["gain_share"].drop_nulls().sum() == pytest.approx(1)
    # The width is read from the volatility, which no tree splits on.
    assert table["feature"].to_list()[0] == "signal"
    assert table["feature"].to_list()[-1] == "ewma_volatility"
    of_earlier = shares(feature_importance(earlier, earlier, rows, unseen))
    assert shares(table) == of_earlier
    assert of_earlier["signal"] > 0.02


def test_two_looks_say_the_same(rows: pl.DataFrame) -> None:
    assert feature_importance(Linear(), Linear(0.3), rows, rows).equals(
        feature_importance(Linear(), Linear(0.3), rows, rows)
    )


def test_an_unseen_row_that_cannot_be_read_is_refused_and_not_taken_for_its_neighbour(rows: pl.DataFrame) -> None:
    with pytest.raises(InputError, match="1 of 10 sessions cannot be read"):
        feature_importance(Linear(), Linear(), rows.filter(pl.int_range(pl.len()) != 305), rows[300:310])
