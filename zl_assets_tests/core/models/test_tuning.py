from pathlib import Path
from typing import Self

import numpy as np
import optuna
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zl_assets.core.models import tuning
from zl_assets.core.models.base import CONTRIBUTION_SCHEMA, Floats, labelled_rows
from zl_assets.core.models.lightgbm_model import LightGBMForecaster
from zl_assets.core.models.trees import TreeConfig
from zl_assets.core.models.tuning import Tuning, inner_split, tune
from zl_assets.errors import InputError
from zl_assets_tests.core.models.training_frames import random_walk, training_frame


class Recorder:
    """Forecasts a width that depends on one parameter and is too great by default; remembers every frame it saw."""

    columns_used = ()
    lookback = 0

    def __init__(self, config: TreeConfig, seen: list[pl.DataFrame], gain: float) -> None:
        self.width = 0.2 * (config.learning_rate / 0.02) ** gain
        self.seen = seen

    def fit(self, frame: pl.DataFrame, target: Floats, weights: Floats) -> Self:
        assert target.tolist() == frame["target"].to_list()
        assert weights.tolist() == frame["sample_weight"].to_list()
        self.seen.append(frame)
        return self

    def predict_quantiles(self, frame: pl.DataFrame) -> Floats:
        self.seen.append(frame)
        return np.tile(np.linspace(-1, 1, 7) * self.width, (frame.height, 1))

    def save(self, directory: Path) -> None: ...

    @classmethod
    def load(cls, directory: Path) -> Self:
        raise NotImplementedError

    def explain(self, frame: pl.DataFrame) -> pl.DataFrame:
        self.seen.append(frame)
        return pl.DataFrame(schema=CONTRIBUTION_SCHEMA)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return labelled_rows(training_frame(random_walk(900, 3), 5, missing=(5600, 5601, 5730)))


def _tune(rows: pl.DataFrame, *, gain: float, trials: int = 8, horizon: int = 5) -> tuple[Tuning, list[pl.DataFrame]]:
    seen: list[pl.DataFrame] = []
    found = tune(
        lambda config: Recorder(config, seen, gain),
        rows,
        rows["target"].to_numpy(),
        rows["sample_weight"].cast(pl.Float64).to_numpy(),
        horizon_sessions=horizon,
        trials=trials,
    )
    return found, seen


def test_a_clearly_better_width_is_chosen_and_two_searches_find_the_same(rows: pl.DataFrame) -> None:
    found, _ = _tune(rows, gain=1.0)
    assert found.trials == len(found.losses) == 8
    assert found.chosen.learning_rate != TreeConfig().learning_rate
    assert min(found.losses) < found.losses[0]
    assert _tune(rows, gain=1.0)[0] == found


def test_where_the_parameters_change_next_to_nothing_the_defaults_stay(rows: pl.DataFrame) -> None:
    found, _ = _tune(rows, gain=0.0)
    assert found.chosen == TreeConfig()
    assert len(set(found.losses)) == 1


def test_a_gain_within_chance_changes_nothing(rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_clearly_lower", lambda *_: False)
    found, _ = _tune(rows, gain=1.0)
    assert min(found.losses) < found.losses[0]
    assert found.chosen == TreeConfig()


def test_the_defaults_of_the_caller_are_the_first_trial(rows: pl.DataFrame) -> None:
    configs: list[TreeConfig] = []

    def build(config: TreeConfig) -> Recorder:
        configs.append(config)
        return Recorder(config, [], 0.0)

    default = TreeConfig(learning_rate=0.9, num_leaves=2, lambda_l2=1e5)
    target, weights = rows["target"].to_numpy(), rows["sample_weight"].cast(pl.Float64).to_numpy()
    found = tune(build, rows, target, weights, horizon_sessions=5, trials=6, default=default)
    assert configs[0] == found.chosen == default
    assert len(set(configs)) == 6
    assert all(c.num_leaves >= 2 and c.n_estimators == default.n_estimators for c in configs)


def test_a_gain_has_to_exceed_its_standard_error(rows: pl.DataFrame) -> None:
    noise = np.random.default_rng(0).normal(0, 1, 200)
    noise -= noise.mean()
    error = noise.std(ddof=1) / np.sqrt(200 / 5)
    assert tuning._clearly_lower(noise - 1.01 * error, np.zeros(200), 5)
    assert not tuning._clearly_lower(noise - 0.99 * error, np.zeros(200), 5)
    assert not tuning._clearly_lower(noise - 1.01 * error, np.zeros(200), 6)


@pytest.mark.parametrize(("trials", "horizon", "n"), [(0, 5, 800), (1, 5, 800), (8, 21, 800), (8, 5, 160), (8, 5, 0)])
def test_without_trials_or_without_enough_label_windows_nothing_is_tried(
    trials: int, horizon: int, n: int, rows: pl.DataFrame
) -> None:
    found, seen = _tune(rows.head(n), gain=1.0, trials=trials, horizon=horizon)
    assert found == Tuning(0, TreeConfig(), ())
    assert seen == []


def test_no_outcome_learnt_from_lies_beyond_the_first_session_of_the_tail(rows: pl.DataFrame) -> None:
    _, seen = _tune(rows, gain=1.0)
    for learnt, judged in zip(seen[::2], seen[1::2], strict=True):
        assert learnt["session_number"].max() + 5 <= judged["session_number"].min()
        assert judged["data_date"].to_list() == rows["data_date"].tail(judged.height).to_list()
        assert judged.height == round(0.2 * rows.height)


def test_purged_rows_touch_nothing(rows: pl.DataFrame) -> None:
    learn, tail = inner_split(rows["session_number"].to_numpy(), 5)
    row = pl.int_range(pl.len())
    purged = (row > learn[-1]) & (row < tail[0])
    wild = rows.with_columns(
        pl.when(purged).then(9.0).otherwise(c).alias(c) for c in ("target", "return_1d", "rsi_14", "ewma_volatility")
    )
    assert wild.filter(purged).height > 0
    weights = np.ones(rows.height)
    small = TreeConfig(n_estimators=5, learning_rate=0.2)

    def of(frame: pl.DataFrame) -> Tuning:
        target = frame["target"].to_numpy()
        return tune(LightGBMForecaster, frame, target, weights, horizon_sessions=5, trials=3, default=small)

    assert of(wild) == of(rows)
    assert of(rows).losses[0] != of(rows).losses[1]


def test_sessions_have_to_be_known(rows: pl.DataFrame) -> None:
    with pytest.raises(InputError, match="missing columns: session_number"):
        _tune(rows.drop("session_number"), gain=1.0)


def test_the_search_is_quiet_and_leaves_optuna_as_it_was(rows: pl.DataFrame, capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    _tune(rows, gain=1.0, trials=2)
    assert optuna.logging.get_verbosity() == before == optuna.logging.INFO
    assert capfd.readouterr() == ("", "")


@given(st.lists(st.integers(1, 4), min_size=0, max_size=300), st.integers(1, 60))
def test_the_inner_split_is_purged_by_sessions(steps: list[int], horizon: int) -> None:
    sessions = np.cumsum(np.array(steps, dtype=np.int64))
    learn, tail = inner_split(sessions, horizon)
    assert tail.tolist() == list(range(sessions.size - tail.size, sessions.size))
    assert abs(tail.size - 0.2 * sessions.size) <= 0.5
    if tail.size:
        first = sessions[tail[0]]
        assert learn.tolist() == [i for i, s in enumerate(sessions) if s + horizon <= first]
