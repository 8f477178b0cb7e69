"""When a forecast is refused: each reason where it holds and where it does not, and the index against plain loops."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zl_assets.core.dissimilarity import KEPT_SHARE, RANGE_FILE, ApplicabilityRange, refusal
from zl_assets.core.evaluation.splits import plan_walk_forward
from zl_assets.core.models.base import STATIONARY_FEATURES, matrix
from zl_assets.errors import InputError
from zl_assets_tests.core.models.training_frames import random_walk, training_frame

LAST = date(2025, 8, 29)
H = 21


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    made = training_frame(random_walk(1200, 1), H, last=LAST)
    return made.with_columns(pl.col(STATIONARY_FEATURES).fill_nan(None)).drop_nulls(STATIONARY_FEATURES)


@pytest.fixture(scope="module")
def learnt(frame: pl.DataFrame) -> ApplicabilityRange:
    return ApplicabilityRange.fit(frame[:-H], STATIONARY_FEATURES, H)


def changed(frame: pl.DataFrame, **values: float | None) -> pl.DataFrame:
    """The frame with other values in its last row."""
    last = pl.int_range(pl.len()) == pl.len() - 1
    return frame.with_columns(pl.when(last).then(v).otherwise(pl.col(c)).alias(c) for c, v in values.items())


def asked(frame: pl.DataFrame, learnt: ApplicabilityRange | None, as_of: date = LAST) -> str | None:
    return refusal(frame, as_of=as_of, columns=STATIONARY_FEATURES, applicability=learnt)


def test_a_typical_row_is_forecast(frame: pl.DataFrame, learnt: ApplicabilityRange) -> None:
    assert asked(frame, learnt) is None
    assert asked(frame, None) is None


def test_data_are_refused_when_they_are_older_than_the_limit(frame: pl.DataFrame) -> None:
    assert asked(frame, None, date(2025, 9, 8)) is None  # Labor Day and a weekend lie between: five sessions
    assert asked(frame, None, date(2025, 9, 9)) == "refused: newest session 2025-08-29 is 6 sessions old (limit 5)"
    old = refusal(frame, as_of=date(2025, 9, 9), columns=(), applicability=None, oldest_sessions=6)
    assert old is None


def test_data_from_after_the_day_asked_about_are_refused(frame: pl.DataFrame) -> None:
    day_before = LAST - timedelta(days=1)
    assert asked(frame, None, day_before) == "refused: newest session 2025-08-29 lies after 2025-08-28"


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_feature_without_a_value_is_refused_by_name(
    frame: pl.DataFrame, learnt: ApplicabilityRange, value: float | None
) -> None:
    gap = changed(frame, rsi_14=value, k_vol=value)
    assert asked(gap, learnt) == "refused: missing features: rsi_14, k_vol"
    assert refusal(gap, as_of=LAST, columns=(), applicability=learnt) == "refused: missing features: rsi_14, k_vol"


def test_a_column_that_is_not_there_is_refused_by_name(frame: pl.DataFrame, learnt: ApplicabilityRange) -> None:
    assert asked(frame.drop("rsi_14"), learnt) == "refused: missing features: rsi_14"
    assert refusal(frame.drop("rsi_14"), as_of=LAST, columns=(), applicability=learnt) is not None


def test_a_gap_in_an_earlier_row_does_not_matter(frame: pl.DataFrame, learnt: ApplicabilityRange) -> None:
    gap = frame.with_columns(rsi_14=pl.when(pl.int_range(pl.len()) == pl.len() - 1).then("rsi_14"))
    assert asked(gap, learnt) is None


def test_a_row_unlike_any_is_refused_with_what_is_farthest(frame: pl.DataFrame, learnt: ApplicabilityRange) -> None:
    said = asked(changed(frame, k_vol=9.0), learnt)
    assert said is not None
    assert said.startswith("refused: features outside the training range: dissimilarity ")
    assert said.endswith(f"above {learnt.threshold:.2g}, farthest: k_vol")


def test_age_comes_before_features_and_features_before_the_range(
    frame: pl.DataFrame, learnt: ApplicabilityRange
) -> None:
    broken = changed(frame, k_vol=9.0, rsi_14=None)
    assert "sessions old" in str(asked(broken, learnt, date(2025, 10, 1)))
    assert "missing features" in str(asked(broken, learnt))


def test_without_any_row_there_is_nothing_to_refuse(frame: pl.DataFrame) -> None:
    with pytest.raises(InputError, match="no row"):
        asked(frame.clear(), None)


def test_index_and_threshold_are_those_of_plain_loops(frame: pl.DataFrame) -> None:
    train, h = frame[:120], 10
    weights = dict(zip(STATIONARY_FEATURES, (1.0, 2.0, 0.5, 3.0, 1.0, 1.0, 0.25), strict=True))
    found = ApplicabilityRange.fit(train, STATIONARY_FEATURES, h, weights)
    x = matrix(train, STATIONARY_FEATURES)
    z = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1) * list(weights.values())
    apart = [[float(np.sqrt(((a - b) ** 2).sum())) for b in z] for a in z]
    mean = sum(map(sum, apart)) / (120 * 119)
    others = [min(apart[i][j] for j in range(120) if abs(i - j) >= h) / mean for i in range(120)]
    assert found.threshold == pytest.approx(np.quantile(others, KEPT_SHARE))
    asked_x = (matrix(frame[300:320], STATIONARY_FEATURES) - x.mean(axis=0)) / x.std(axis=0, ddof=1)
    asked_z = asked_x * list(weights.values())
    nearest = [min(float(np.sqrt(((a - b) ** 2).sum())) for b in z) / mean for a in asked_z]
    assert found.index(frame[300:320]) == pytest.approx(nearest)
    assert found.index(train) == pytest.approx(np.zeros(120), abs=1e-9)


@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10), share=st.floats(0.1, 10))
def test_units_of_a_column_and_of_its_importance_do_not_matter(scale: float, shift: float, share: float) -> None:
    made = pl.DataFrame(np.random.default_rng(2).normal(size=(200, 2)), schema=["a", "b"])
    numbered = made.with_columns(session_number=pl.int_range(200))
    other = numbered.with_columns(a=pl.col("a") * scale + shift)
    plain = ApplicabilityRange.fit(numbered[:150], ["a", "b"], 5, {"a": 1, "b": 2})
    moved = ApplicabilityRange.fit(other[:150], ["a", "b"], 5, {"a": share, "b": 2 * share})
    assert moved.threshold == pytest.approx(plain.threshold)
    assert moved.index(other[150:]) == pytest.approx(plain.index(numbered[150:]))


def test_rows_after_the_training_rows_touch_nothing_and_rows_are_judged_one_by_one(frame: pl.DataFrame) -> None:
    changed_later = frame.with_columns(
        pl.when(pl.int_range(pl.len()) < 500).then(c).otherwise(pl.col(c) * 7).alias(c) for c in STATIONARY_FEATURES
    )
    one, two = (ApplicabilityRange.fit(f[:500], STATIONARY_FEATURES, H) for f in (frame, changed_later))
    at_once = one.index(frame[500:560])
    assert (at_once == two.index(frame[500:560])).all()
    assert [float(one.index(frame[r : r + 1])[0]) for r in range(500, 560)] == at_once.tolist()


def test_rows_of_the_past_and_future_of_a_random_walk_are_rarely_outside(frame: pl.DataFrame) -> None:
    sessions = frame["session_number"].to_numpy()
    outside: list[float] = []
    for fold in plan_walk_forward(sessions, H).split(sessions):
        learnt = ApplicabilityRange.fit(frame[fold.train], STATIONARY_FEATURES, H)
        outside += (learnt.index(frame[fold.test]) > learnt.threshold).tolist()
    assert len(outside) > 300
    assert np.mean(outside) < 0.1


def test_neighbours_nearer_than_the_horizon_do_not_count(frame: pl.DataFrame) -> None:
    near, far = (ApplicabilityRange.fit(frame, STATIONARY_FEATURES, h) for h in (1, 252))
    assert near.threshold < far.threshold
    assert near.mean_distance == far.mean_distance


def test_a_column_that_says_nothing_takes_no_part(frame: pl.DataFrame) -> None:
    flat = frame.with_columns(flat=pl.lit(3.0))
    weights = dict.fromkeys((*STATIONARY_FEATURES, "flat"), 1.0) | {"rsi_14": 0.0}
    found = ApplicabilityRange.fit(flat, (*STATIONARY_FEATURES, "flat"), H, weights)
    assert found.columns == tuple(c for c in STATIONARY_FEATURES if c != "rsi_14")


def test_training_rows_with_a_gap_are_left_out_and_asked_ones_have_no_index(frame: pl.DataFrame) -> None:
    gap = frame.with_columns(k_vol=pl.when(pl.int_range(pl.len()) >= 100).then("k_vol"))
    found = ApplicabilityRange.fit(gap, STATIONARY_FEATURES, H)
    whole = ApplicabilityRange.fit(frame[100:], STATIONARY_FEATURES, H)
    assert (found.index(frame) == whole.index(frame)).all()
    assert np.flatnonzero(np.isnan(found.index(gap))).tolist() == list(range(100))
    assert found.farthest(gap)[99:101] != [None, None]
    assert found.farthest(gap)[0] is None


def test_it_is_read_back_as_it_was(frame: pl.DataFrame, learnt: ApplicabilityRange, tmp_path: Path) -> None:
    learnt.save(tmp_path)
    loaded = ApplicabilityRange.load(tmp_path)
    assert (loaded.threshold, loaded.horizon_sessions, loaded.columns) == (learnt.threshold, H, learnt.columns)
    assert (loaded.index(frame) == learnt.index(frame)).all()


@pytest.mark.parametrize("damage", ["missing", "cut", "key", "shape", "value", "list"])
def test_a_damaged_file_is_refused(learnt: ApplicabilityRange, tmp_path: Path, damage: str) -> None:
    learnt.save(tmp_path)
    path = tmp_path / RANGE_FILE
    text = path.read_text()
    held = json.loads(text)
    damaged = {
        "cut": text[:-100],
        "key": json.dumps({k: v for k, v in held.items() if k != "threshold"}),
        "shape": json.dumps(held | {"centre": held["centre"][:-1]}),
        "value": text.replace(f'"threshold": {held["threshold"]}', '"threshold": NaN'),
        "list": "[]",
    }
    if damage == "missing":
        path.unlink()
    else:
        path.write_text(damaged[damage])
    with pytest.raises(InputError, match="cannot be read"):
        ApplicabilityRange.load(tmp_path)


@pytest.mark.parametrize("wrong", ["column", "order", "short", "flat", "importance", "negative"])
def test_rows_it_cannot_learn_from_are_refused(frame: pl.DataFrame, wrong: str) -> None:
    columns = STATIONARY_FEATURES
    alike = dict.fromkeys(columns, 1.0)
    cases = {
        "column": (frame.drop("rsi_14"), None, "rsi_14"),
        "order": (frame.reverse(), None, "in order"),
        "short": (frame[:H], None, "21 sessions apart"),
        "flat": (frame.with_columns(pl.lit(1.0).alias(c) for c in columns), None, "no column varies"),
        "importance": (frame, {c: 1.0 for c in columns if c != "rsi_14"}, "rsi_14"),
        "negative": (frame, alike | {"rsi_14": -1.0}, "not negative"),
    }
    rows, importance, message = cases[wrong]
    with pytest.raises(InputError, match=message):
        ApplicabilityRange.fit(rows, columns, H, importance)


def test_a_missing_column_is_named(frame: pl.DataFrame, learnt: ApplicabilityRange) -> None:
    with pytest.raises(InputError, match="vol_percentile"):
        learnt.index(frame.drop("vol_percentile"))
