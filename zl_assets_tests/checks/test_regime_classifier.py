"""Checks of the classifier of market states: what is sound, and what each of them finds wrong."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from zl_assets.checks import regime_classifier as checks
from zl_assets.checks.common import evaluated
from zl_assets.checks.regime_classifier import (
    CHECKS,
    evaluate_every_session,
    evaluate_not_worse,
    evaluate_probabilities_sound,
    evaluate_trained,
    regime_classifier_checks,
)
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.regime_classifier import STATES
from zl_assets.core.models.regime_training import train_classifier
from zl_assets.core.models.shelf import CLASSIFIER
from zl_assets.regime_artifacts import StoredClassifier, read_classifier, write_classifier
from zl_assets.settings import Settings
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

H = HORIZONS["1w"]
FRAME = training_frame(random_walk(700, 3), 5)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def stored(home: Path) -> StoredClassifier:
    return read_classifier(write_classifier(home, train_classifier(FRAME, H), run_id="run", simulated=True))


def part_of(stored: StoredClassifier, **changed: Any) -> Any:
    """What the checks read of a stored classifier, some of it changed."""
    names = ("version", "newest", "oof", "metrics", "classifier")
    return SimpleNamespace(**{name: getattr(stored, name) for name in names} | changed)


def judged(stored: StoredClassifier, **changed: Any) -> Any:
    """The classifier with other scores."""
    return part_of(stored, metrics={"out_of_fold": stored.metrics["out_of_fold"] | changed})


class TestTrained:
    def test_one_that_says_what_it_did_passes(self, stored: StoredClassifier) -> None:
        verdict = evaluate_trained(stored, FRAME)
        assert verdict.passed
        assert verdict.numbers == {"model_version": stored.version, "largest_difference": 0.0}

    def test_one_that_says_something_else_fails(self, stored: StoredClassifier) -> None:
        other = part_of(stored, newest=stored.newest.with_columns(pl.col("crisis") + 1e-6))
        verdict = evaluate_trained(other, FRAME)
        assert not verdict.passed
        assert verdict.numbers["largest_difference"] == pytest.approx(1e-6)

    def test_one_whose_session_is_no_longer_there_fails(self, stored: StoredClassifier) -> None:
        verdict = evaluate_trained(stored, FRAME.head(-1))
        assert not verdict.passed
        assert np.isnan(verdict.numbers["largest_difference"])


class TestProbabilitiesSound:
    def test_those_of_a_classifier_pass(self, stored: StoredClassifier) -> None:
        verdict = evaluate_probabilities_sound(stored.oof)
        assert verdict.passed
        assert verdict.numbers["sessions"] == stored.oof.height

    @pytest.mark.parametrize(
        "told",
        [
            (0.5, 0.5, 0.5, -0.5),
            (1.5, 0.0, 0.0, -0.5),
            (0.3, 0.3, 0.3, 0.0),
            (0.5, 0.5, 0.0, None),
            (float("nan"),) * 4,
        ],
        ids=["negative", "above_1", "no_sum_of_1", "unknown", "not_a_number"],
    )
    def test_any_other_fails_and_is_shown(self, stored: StoredClassifier, told: tuple[float | None, ...]) -> None:
        row = pl.col("session_number") == stored.oof["session_number"][7]
        changed = stored.oof.with_columns(
            pl.when(row).then(pl.lit(value, pl.Float64)).otherwise(state).alias(state)
            for state, value in zip(STATES, told, strict=True)
        )
        verdict = evaluate_probabilities_sound(changed)
        assert not verdict.passed
        assert verdict.offenders is not None
        assert verdict.offenders["data_date"].to_list() == [stored.oof["data_date"][7]]


class TestEverySession:
    def test_one_row_a_session_passes(self, stored: StoredClassifier) -> None:
        verdict = evaluate_every_session(stored.oof, FRAME, H)
        assert verdict.passed
        assert verdict.numbers["sessions"] == stored.oof.height

    @pytest.mark.parametrize("place", [0, 100, -1], ids=["the_first", "one_between", "the_newest"])
    def test_a_session_without_a_row_fails_and_is_named(self, stored: StoredClassifier, place: int) -> None:
        gone = stored.oof["session_number"][place]
        verdict = evaluate_every_session(stored.oof.filter(pl.col("session_number") != gone), FRAME, H)
        assert not verdict.passed
        assert verdict.offenders is not None
        assert verdict.offenders["session_number"].to_list() == [gone]

    def test_two_rows_of_a_session_fail(self, stored: StoredClassifier) -> None:
        assert not evaluate_every_session(pl.concat([stored.oof, stored.oof[3]]), FRAME, H).passed

    def test_a_session_with_a_suspect_price_has_no_row(self, stored: StoredClassifier) -> None:
        session = stored.oof["session_number"][-1]
        suspect = FRAME.with_columns(is_suspect=pl.col("session_number") == session)
        assert not evaluate_every_session(stored.oof, suspect, H).passed
        assert evaluate_every_session(stored.oof.head(-1), suspect, H).passed


class TestNotWorse:
    @pytest.mark.parametrize("p_value", [0.05, 0.99, None], ids=["within_noise", "better", "not_testable"])
    def test_what_noise_explains_passes(self, stored: StoredClassifier, p_value: float | None) -> None:
        verdict = evaluate_not_worse(judged(stored, climatology_log_loss=0.9, p_value_worse=p_value))
        assert verdict.passed
        assert verdict.numbers["climatology"] == 0.9
        assert verdict.numbers["p_value_worse"] == ("not testable" if p_value is None else p_value)

    def test_a_loss_above_climatology_beyond_noise_is_told(self, stored: StoredClassifier) -> None:
        assert not evaluate_not_worse(judged(stored, log_loss=1.2, p_value_worse=0.049)).passed

    def test_one_that_could_not_be_judged_says_so(self, stored: StoredClassifier) -> None:
        verdict = evaluate_not_worse(part_of(stored, metrics={"out_of_fold": None}))
        assert verdict.passed
        assert verdict.numbers == {"sessions_judged": 0}

    def test_it_warns_and_the_others_block(self) -> None:
        assert [check.name for check in CHECKS if not check.blocking] == ["not_worse_than_climatology"]


def test_each_check_reads_its_part_of_the_artifact(stored: StoredClassifier) -> None:
    sound = judged(stored, p_value_worse=0.9)
    changes: dict[str, Any] = {
        "trained": {"newest": stored.newest.with_columns(pl.col("bull") + 0.1)},
        "probabilities_sound": {"oof": stored.oof.with_columns(pl.col("bull") + 0.1)},
        "every_session": {"oof": stored.oof.head(-1)},
        "not_worse_than_climatology": {"metrics": judged(stored, p_value_worse=0.01).metrics},
    }
    assert changes.keys() == {check.name for check in CHECKS}
    for name, changed in changes.items():
        broken = part_of(stored, **{"metrics": sound.metrics} | changed)
        results = list(evaluated(CLASSIFIER.key, CHECKS, broken, FRAME, H))
        assert [r.check_name for r in results if not r.passed] == [name]


def test_the_shell_reads_the_latest_classifier_of_its_partition(
    home: Path, stored: StoredClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "training_rows", lambda _, horizon: FRAME if horizon is H else None)
    context = SimpleNamespace(partition_key="1w")
    results = list(regime_classifier_checks.op.compute_fn.decorated_fn(context, None, Settings(home=home)))
    assert {r.check_name: r.passed for r in results if r.severity.value == "ERROR"} == {
        "trained": True,
        "probabilities_sound": True,
        "every_session": True,
    }
    assert [r.check_name for r in results if r.severity.value == "WARN"] == ["not_worse_than_climatology"]
