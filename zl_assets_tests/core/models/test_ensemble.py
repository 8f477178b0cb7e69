"""The blend: weights on the simplex that follow the better member as far as outcomes speak for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.evaluation.scores import crps
from zl_assets.core.models.base import Floats, Forecaster
from zl_assets.core.models.ensemble import (
    PRIOR,
    WEIGHTS_FILE,
    Ensemble,
    member_columns,
    members_frame,
    state_column,
)
from zl_assets.errors import InputError
from zl_assets_tests.core.models.made_forecasts import WEEK, forecast, market, probabilities, split

STATES = ("storm", "calm")


def rows_of(members: dict[str, float | np.ndarray], n: int = 605, *, storm: float | np.ndarray = 0.5) -> pl.DataFrame:
    """What the ensemble learns from: members whose medians are so far from what came, known rows alone."""
    rows = market(n).head(-WEEK)
    actual = rows["actual_return"].to_numpy()
    said = {name: forecast(rows, actual + off) for name, off in members.items()}
    return members_frame(said, probabilities(rows, storm))


def fitted(rows: pl.DataFrame, members: tuple[str, ...] = ("near", "far")) -> Ensemble:
    return Ensemble(members, STATES, WEEK).fit(rows, rows["target"].to_numpy(), np.ones(rows.height))


def weights_of(model: Ensemble) -> Floats:
    return np.array(model.blend.weights)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return rows_of({"near": 0.01, "far": -0.06})


@pytest.fixture(scope="module")
def model(rows: pl.DataFrame) -> Ensemble:
    return fitted(rows)


@settings(max_examples=25)
@given(
    offsets=st.lists(st.floats(-0.3, 0.3), min_size=1, max_size=4),
    n=st.integers(0, 80),
    storm=st.floats(0, 1),
)
def test_weights_lie_on_the_simplex(offsets: list[float], n: int, storm: float) -> None:
    members: dict[str, float | np.ndarray] = {f"m{i}": offset for i, offset in enumerate(offsets)}
    weights = weights_of(fitted(rows_of(members, n + WEEK, storm=storm), tuple(members)))
    assert weights.shape == (2, len(members))
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)


def test_a_much_better_member_gets_more(model: Ensemble) -> None:
    near, far = weights_of(model).T
    assert (near > 0.75).all()
    assert (far > 0).all()


def test_members_that_say_the_same_weigh_the_same() -> None:
    weights = weights_of(fitted(rows_of({"near": 0.02, "far": 0.02})))
    np.testing.assert_allclose(weights, 0.5, atol=1e-12)


def test_without_rows_all_weigh_the_same(rows: pl.DataFrame) -> None:
    blank = fitted(rows.clear())
    assert blank.blend.weights == ((0.5, 0.5), (0.5, 0.5))
    assert blank.blend.windows == 0


def test_the_blend_is_nearly_the_best_one_found_by_another_optimiser() -> None:
    """Without the prior: as many windows as make it vanish."""
    rows = rows_of({"near": 0.02, "far": -0.03})
    actual = rows["target"].to_numpy()
    free = Ensemble(("near", "far"), STATES, 1)
    # A row counts as a window, and 100 copies of each leave the prior next to nothing.
    many = pl.concat([rows] * 100)
    free.fit(many, many["target"].to_numpy(), np.ones(many.height))
    members = np.stack([rows.select(member_columns(m)).to_numpy() for m in ("near", "far")])

    def loss(near: np.ndarray) -> float:
        return float(crps(actual, near[0] * members[0] + (1 - near[0]) * members[1]).mean())

    best = minimize(loss, [0.5], bounds=[(0, 1)], method="Nelder-Mead")
    found = float(crps(actual, free.predict_quantiles(rows)).mean())
    assert best.x[0] == pytest.approx(0.6, abs=0.02)
    assert weights_of(free)[0, 0] == pytest.approx(best.x[0], abs=0.05)
    assert found == pytest.approx(best.fun, rel=0.01)


def test_few_outcomes_hardly_move_the_weights(rows: pl.DataFrame) -> None:
    """The share of what was learnt is windows / (windows + PRIOR)."""
    few, many = fitted(rows.head(2 * WEEK)), fitted(rows)
    assert few.blend.windows == 2
    assert (weights_of(few)[:, 0] < 0.5 + 0.5 * 2 * 2 / (2 + PRIOR)).all()
    assert (weights_of(few)[:, 0] > 0.5).all()
    assert (weights_of(many)[:, 0] > weights_of(few)[:, 0]).all()


def test_each_state_follows_the_member_that_is_good_in_it() -> None:
    storm = np.tile(np.repeat([1.0, 0.0], 50), 6)
    off = 0.06
    rows = rows_of({"near": off * (1 - storm), "far": off * storm}, storm=storm)
    weights = weights_of(fitted(rows))
    assert weights[0, 0] > 0.65 > 0.35 > weights[1, 0]
    forecasts = fitted(rows).weights(rows)
    np.testing.assert_allclose(forecasts[storm == 1.0], np.tile(weights[0], (300, 1)))
    np.testing.assert_allclose(forecasts[storm == 0.0], np.tile(weights[1], (300, 1)))


def test_a_state_never_seen_has_the_weights_of_all() -> None:
    weights = weights_of(fitted(rows_of({"near": 0.01, "far": -0.06}, storm=0.0)))
    common = weights_of(fitted(rows_of({"near": 0.01, "far": -0.06}, storm=0.5)))
    assert (weights[0] > 0).all()
    assert 0.5 < weights[0, 0] < weights[1, 0]
    assert weights[0, 0] < common[0, 0]


def test_a_quantile_is_the_weighted_mean_of_the_members(model: Ensemble, rows: pl.DataFrame) -> None:
    got = model.predict_quantiles(rows)
    assert got.shape == (rows.height, len(QUANTILE_LEVELS))
    row = rows.row(7, named=True)
    chances = [row[state_column(s)] for s in STATES]
    weights = [sum(c * w for c, w in zip(chances, of, strict=True)) for of in zip(*model.blend.weights, strict=True)]
    for level, name in enumerate(("q05", "q10", "q25", "q50", "q75", "q90", "q95")):
        mean = sum(w * row[f"{m}.{name}"] for w, m in zip(weights, model.members, strict=True))
        assert got[7, level] == pytest.approx(mean, abs=1e-15)


def test_many_rows_at_once_and_one_by_one_are_the_same(model: Ensemble, rows: pl.DataFrame) -> None:
    one_by_one = np.vstack([model.predict_quantiles(rows[n]) for n in range(0, rows.height, 50)])
    np.testing.assert_allclose(one_by_one, model.predict_quantiles(rows)[::50], rtol=0, atol=1e-15)


def test_it_is_a_forecaster_whose_fit_is_repeatable_and_reads_no_weight(model: Ensemble, rows: pl.DataFrame) -> None:
    assert isinstance(model, Forecaster)
    again = Ensemble(("near", "far"), STATES, WEEK).fit(rows, rows["target"].to_numpy(), np.linspace(1, 9, rows.height))
    assert again.blend == model.blend


def test_what_comes_after_the_rows_changes_nothing(rows: pl.DataFrame) -> None:
    changed = pl.concat([rows.head(300), rows.tail(-300).with_columns(pl.col("target") * -7)])
    assert fitted(changed.head(300)).blend == fitted(rows.head(300)).blend


def test_shares_of_the_median_add_up_to_it(model: Ensemble, rows: pl.DataFrame) -> None:
    told = model.explain(rows)
    assert set(told["feature"]) == {"near", "far"}
    assert told["contribution"].abs().is_sorted(descending=True)
    median = model.predict_quantiles(rows.tail(1))[0, QUANTILE_LEVELS.index(0.5)]
    assert told["contribution"].sum() == pytest.approx(median, abs=1e-15)


def test_it_is_stored_and_read_back(model: Ensemble, rows: pl.DataFrame, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = Ensemble.load(tmp_path)
    assert loaded.blend == model.blend
    assert loaded.columns_used == model.columns_used
    assert loaded.predict_quantiles(rows).tobytes() == model.predict_quantiles(rows).tobytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda held: held.pop("weights"),
        lambda held: held.pop("horizon_sessions"),
        lambda held: held.update(weights=held["weights"][:1]),
        lambda held: held.update(members=["near"]),
        lambda held: held.update(weights=[[0.5, 0.4], [0.5, 0.5]]),
        lambda held: held.update(weights=[[None, 1], [0.5, 0.5]]),
    ],
)
def test_a_damaged_file_is_refused(damage, model: Ensemble, tmp_path: Path) -> None:
    model.save(tmp_path)
    held = json.loads((tmp_path / WEIGHTS_FILE).read_text())
    damage(held)
    (tmp_path / WEIGHTS_FILE).write_text(json.dumps(held))
    with pytest.raises(InputError, match=r"cannot be read.*weights\.json.*train this horizon again"):
        Ensemble.load(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_a_file_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_FILE).write_text(content)
    with pytest.raises(InputError, match="cannot be read"):
        Ensemble.load(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        Ensemble.load(tmp_path / "nowhere")


def test_missing_columns_are_named_and_an_unfitted_blend_says_so(model: Ensemble, rows: pl.DataFrame) -> None:
    with pytest.raises(InputError, match=r"missing columns: far\.q50"):
        model.predict_quantiles(rows.drop("far.q50"))
    with pytest.raises(InputError, match=r"missing columns: probability\.storm"):
        fitted(rows.drop("probability.storm"))
    blank = Ensemble(("near", "far"), STATES, WEEK)
    for asked in (blank.predict_quantiles, blank.explain):
        with pytest.raises(InputError, match="not fitted"):
            asked(rows)


class TestMembersFrame:
    def test_members_of_other_sessions_are_refused(self) -> None:
        rows = market(60)
        said = {"one": forecast(rows), "two": forecast(rows).tail(-1)}
        with pytest.raises(InputError, match=r"two and one were not forecast on the same sessions.*59 and 60 rows"):
            members_frame({"one": said["one"], "two": said["two"]}, probabilities(rows))

    def test_a_session_without_a_probability_is_refused(self) -> None:
        rows = market(60)
        with pytest.raises(InputError, match="no probability of its market state"):
            members_frame({"one": forecast(rows)}, probabilities(rows.tail(-1)))

    def test_it_holds_each_members_quantiles_beside_the_session(self) -> None:
        rows = market(60)
        said, newest = split(forecast(rows, 0.01))
        wide = members_frame({"one": said, "two": forecast(rows, -0.01).head(-WEEK)}, probabilities(rows))
        assert wide["target"].equals(said["actual_return"].rename("target"))
        assert wide["one.q50"].to_list() == pytest.approx([0.01] * 55)
        assert wide["two.q50"].to_list() == pytest.approx([-0.01] * 55)
        assert set(wide["probability.storm"]) == {0.5}
        assert members_frame({"one": newest}, probabilities(rows))["target"].to_list() == [None]
