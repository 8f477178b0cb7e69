from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from zl_assets.core.models.regime_classifier import (
    LOOKBACK,
    STATES,
    RegimeClassifier,
    penalised_logistic,
    regime_state,
    states_ahead,
)
from zl_assets.errors import InputError, NotEnoughHistory

MONTH = 21


def _market(returns: np.ndarray, *, vix_band: np.ndarray | None = None) -> pl.DataFrame:
    """One row a session with a close, its return and, if given, the band of the VIX."""
    n = returns.size
    close = 40 * np.cumprod(1 + returns)
    frame = pl.DataFrame(
        {
            "data_date": [date(2010, 1, 1) + timedelta(days=k) for k in range(n)],
            "session_number": np.arange(100, 100 + n),
            "is_suspect": False,
            "close": close,
            "return_1d": [None, *(close[1:] / close[:-1] - 1)],
        }
    )
    return frame if vix_band is None else frame.with_columns(vix_band=pl.Series(vix_band))


def _lasting_states(n: int, seed: int) -> np.ndarray:
    """Daily returns whose volatility stays calm or wild for about half a year."""
    rng = np.random.default_rng(seed)
    wild = np.cumsum(rng.random(n) < 1 / 120) % 2
    return rng.normal(0, np.where(wild == 1, 0.032, 0.008))


def _ones(frame: pl.DataFrame) -> np.ndarray:
    return np.ones(frame.height)


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    returns = _lasting_states(1500, 3)
    return _market(returns, vix_band=np.random.default_rng(0).integers(0, 4, 1500).astype(float))


@pytest.fixture(scope="module")
def fitted(frame: pl.DataFrame) -> RegimeClassifier:
    return RegimeClassifier(MONTH).fit(frame, _ones(frame))


def _state_by_hand(frame: pl.DataFrame, row: int) -> str | None:
    """The rule, told once more with loops over sessions."""
    rows = {r["session_number"]: r for r in frame.to_dicts()}
    now = frame["session_number"][row]
    sound = {s for s, r in rows.items() if not r["is_suspect"]}
    first = next((s for s in range(now - 30, now - 34, -1) if s in sound), None)
    moves = [rows[s]["return_1d"] for s in range(now - 29, now + 1) if s in sound and s - 1 in sound]
    if now not in sound or first is None or len(moves) < 25:
        return None
    change = rows[now]["close"] / rows[first]["close"] - 1
    volatility = np.std(moves, ddof=1) * np.sqrt(252)
    if volatility > 0.4 or rows[now].get("vix_band") == 3:
        return "crisis"
    if change > 0.1 and volatility < 0.25:
        return "bull"
    if change < -0.1 or (volatility > 0.3 and change < 0):
        return "bear"
    return "normal"


class TestRegimeState:
    @settings(max_examples=15)
    @given(
        seed=st.integers(0, 10_000), size=st.sampled_from([0.004, 0.012, 0.02, 0.03]), drift=st.floats(-0.006, 0.006)
    )
    def test_it_is_the_rule_told_by_hand(self, seed: int, size: float, drift: float) -> None:
        rng = np.random.default_rng(seed)
        frame = _market(rng.normal(drift, size, 120), vix_band=rng.integers(0, 4, 120).astype(float))
        frame = frame.with_columns(is_suspect=pl.Series(rng.random(120) < 0.02)).filter(
            pl.Series(rng.random(120) > 0.02)
        )
        assert regime_state(frame).to_list() == [_state_by_hand(frame, row) for row in range(frame.height)]

    def test_every_state_is_met(self, frame: pl.DataFrame) -> None:
        assert set(regime_state(frame).drop_nulls()) == set(STATES)

    def test_nothing_later_changes_it(self, frame: pl.DataFrame) -> None:
        assert regime_state(frame.head(200)).equals(regime_state(frame).head(200))

    def test_it_reads_no_more_rows_than_the_lookback(self, frame: pl.DataFrame) -> None:
        holes = frame.filter(~pl.col("session_number").is_in([170, 180, 181]))
        whole = regime_state(holes)
        for row in range(LOOKBACK, 130):
            assert regime_state(holes[row - LOOKBACK : row + 1])[-1] == whole[row]

    def test_without_a_vix_the_volatility_alone_decides(self, frame: pl.DataFrame) -> None:
        unknown = frame.with_columns(vix_band=pl.lit(None, dtype=pl.Float64))
        calm = frame.with_columns(vix_band=pl.lit(0.0))
        assert regime_state(frame.drop("vix_band")).equals(regime_state(calm))
        assert regime_state(unknown).equals(regime_state(calm))
        assert not regime_state(frame).equals(regime_state(calm))

    def test_the_first_thirty_sessions_have_none(self, frame: pl.DataFrame) -> None:
        assert regime_state(frame).is_null().to_list() == [True] * 30 + [False] * (frame.height - 30)

    def test_a_first_close_of_long_before_is_none(self, frame: pl.DataFrame) -> None:
        """At session 200 the first close is that of session 170: one of session 167 will do, one of 166 will not."""
        for last_there, known in ((167, True), (166, False)):
            gone = pl.col("session_number").is_between(last_there + 1, 170)
            rows = frame.filter(~gone & (pl.col("session_number") <= 200))
            assert regime_state(rows).is_not_null()[-1] == known

    def test_a_missing_column_is_refused_by_name(self, frame: pl.DataFrame) -> None:
        with pytest.raises(InputError, match="missing columns: return_1d"):
            regime_state(frame.drop("return_1d"))

    def test_the_state_ahead_is_counted_in_sessions_and_not_in_rows(self, frame: pl.DataFrame) -> None:
        holes = frame.filter(~pl.col("session_number").is_in([300, 301, 500]))
        by_session = dict(zip(holes["session_number"], regime_state(holes), strict=True))
        assert states_ahead(holes, MONTH).to_list() == [by_session.get(s + MONTH) for s in holes["session_number"]]


class TestPenalisedLogistic:
    def test_it_is_scikit_learns_where_all_states_are_as_likely(self) -> None:
        rng = np.random.default_rng(5)
        inputs, label, share = rng.normal(size=(300, 3)), rng.integers(0, 4, 300), rng.uniform(0.5, 2, 300)
        inputs[:, 0] += label
        peer = LogisticRegression(C=1 / 7.0, fit_intercept=False, tol=1e-10, max_iter=10_000)
        peer.fit(inputs, label, sample_weight=share)
        found = penalised_logistic(inputs, label, share, np.full(4, np.log(0.25)), 7.0)
        assert np.allclose(found, peer.coef_.T, atol=1e-5)

    def test_an_endless_penalty_leaves_the_offset(self) -> None:
        rng = np.random.default_rng(5)
        inputs, label = rng.normal(size=(300, 3)), rng.integers(0, 4, 300)
        assert np.abs(penalised_logistic(inputs, label, np.ones(300), np.zeros(4), 1e9)).max() < 1e-6


class TestRegimeClassifier:
    def test_probabilities_sum_to_one_and_are_missing_where_the_state_is(
        self, fitted: RegimeClassifier, frame: pl.DataFrame
    ) -> None:
        p = fitted.predict_probabilities(frame)
        known = regime_state(frame).is_not_null().to_numpy()
        assert p.shape == (frame.height, len(STATES))
        assert np.allclose(p[known].sum(axis=1), 1.0)
        assert (p[known] > 0).all()
        assert np.isnan(p[~known]).all()

    def test_lasting_states_are_forecast_better_than_by_their_frequencies(self) -> None:
        frame = _market(_lasting_states(3000, 1))
        train, test = frame.head(2000), frame[2000 - LOOKBACK :]
        model = RegimeClassifier(5).fit(train, _ones(train))
        code = states_ahead(test, 5).cast(pl.Enum(STATES)).to_physical()
        p = model.predict_probabilities(test)
        scored = np.isfinite(p[:, 0]) & code.is_not_null().to_numpy()
        label = code.to_numpy()[scored].astype(int)
        ours = -np.log(p[scored][np.arange(label.size), label]).mean()
        assert ours < 0.8 * -np.log(model.frequencies[label]).mean()

    def test_where_nothing_lasts_it_stays_near_the_frequencies(self) -> None:
        frame = _market(np.random.default_rng(2).normal(0, 0.018, 2000))
        model = RegimeClassifier(252).fit(frame, _ones(frame))
        p = model.predict_probabilities(frame)
        assert np.nanmean(np.abs(p - model.frequencies)) < 0.01

    def test_the_frequencies_are_those_of_the_labels_and_one_even_window(self, frame: pl.DataFrame) -> None:
        model = RegimeClassifier(MONTH).fit(frame, _ones(frame))
        state, ahead = regime_state(frame), states_ahead(frame, MONTH)
        labels = ahead.filter(state.is_not_null()).drop_nulls().to_list()
        expected = [(labels.count(s) + MONTH / 4) / (len(labels) + MONTH) for s in STATES]
        assert np.allclose(model.frequencies, expected)

    def test_a_state_never_seen_is_not_impossible(self) -> None:
        frame = _market(np.random.default_rng(4).normal(0, 0.004, 600))
        assert set(regime_state(frame).drop_nulls()) == {"normal"}
        p = RegimeClassifier(5).fit(frame, _ones(frame)).predict_probabilities(frame.tail(LOOKBACK + 1))[-1]
        assert p[STATES.index("crisis")] > 1e-4
        assert p[STATES.index("normal")] > 0.95

    def test_many_rows_at_once_and_one_by_one_agree(self, fitted: RegimeClassifier, frame: pl.DataFrame) -> None:
        whole = fitted.predict_probabilities(frame)
        for row in (LOOKBACK, 100, 777, frame.height - 1):
            alone = fitted.predict_probabilities(frame[row - fitted.lookback : row + 1])[-1]
            # Rolling deviations are updated from row to row, which moves their last bits.
            assert np.allclose(alone, whole[row], rtol=1e-10, atol=0)

    def test_rows_after_those_to_learn_from_touch_nothing(self, frame: pl.DataFrame) -> None:
        later = frame.with_columns(close=pl.when(pl.int_range(pl.len()) < 1000).then("close").otherwise(1.0))
        one = RegimeClassifier(MONTH).fit(frame.head(1000), np.ones(1000)).predict_probabilities(frame)
        two = RegimeClassifier(MONTH).fit(later.head(1000), np.ones(1000)).predict_probabilities(later)
        assert one[:1000].tobytes() == two[:1000].tobytes()

    def test_the_last_window_is_only_there_to_be_learnt_about(self, frame: pl.DataFrame) -> None:
        known = frame.head(1000)
        heavy_end = np.ones(1000)
        heavy_end[-MONTH:] = 50.0
        one = RegimeClassifier(MONTH).fit(known, np.ones(1000)).predict_probabilities(frame)
        two = RegimeClassifier(MONTH).fit(known, heavy_end).predict_probabilities(frame)
        assert one.tobytes() == two.tobytes()

    def test_two_fits_give_the_same_bits(self, fitted: RegimeClassifier, frame: pl.DataFrame) -> None:
        again = RegimeClassifier(MONTH).fit(frame, _ones(frame))
        assert again.predict_probabilities(frame).tobytes() == fitted.predict_probabilities(frame).tobytes()

    def test_the_scale_of_the_weights_does_not_matter_but_their_ratio_does(
        self, fitted: RegimeClassifier, frame: pl.DataFrame
    ) -> None:
        plain = fitted.predict_probabilities(frame[LOOKBACK:])[LOOKBACK:]
        scaled = RegimeClassifier(MONTH).fit(frame, 1000 * _ones(frame)).predict_probabilities(frame[LOOKBACK:])
        tilted = RegimeClassifier(MONTH).fit(frame, 1 + np.arange(frame.height) / 100.0)
        assert np.allclose(scaled[LOOKBACK:], plain, atol=1e-6)
        assert not np.allclose(tilted.predict_probabilities(frame[LOOKBACK:])[LOOKBACK:], plain, atol=1e-3)

    def test_the_vix_is_used_where_it_says_something(self, fitted: RegimeClassifier, frame: pl.DataFrame) -> None:
        assert fitted.vix_used
        assert fitted.columns_used[-1] == "vix_band"
        for poor in (frame.drop("vix_band"), frame.with_columns(vix_band=pl.lit(None, dtype=pl.Float64))):
            without = RegimeClassifier(MONTH).fit(poor, _ones(poor))
            assert not without.vix_used
            assert "vix_band" not in without.columns_used

    def test_a_row_without_a_vix_is_forecast_as_one_of_a_mean_vix(self, frame: pl.DataFrame) -> None:
        poor = frame.with_columns(vix_band=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.col("vix_band")))
        model = RegimeClassifier(MONTH).fit(poor, _ones(poor))
        assert model.vix_used
        assert np.isfinite(model.predict_probabilities(poor)[LOOKBACK:]).all()

    @pytest.mark.parametrize("vix", [True, False])
    def test_a_stored_classifier_gives_the_same_bits(self, vix: bool, frame: pl.DataFrame, tmp_path: Path) -> None:
        rows = frame if vix else frame.drop("vix_band")
        model = RegimeClassifier(MONTH).fit(rows, _ones(rows))
        model.save(tmp_path)
        loaded = RegimeClassifier.load(tmp_path)
        assert loaded.predict_probabilities(rows).tobytes() == model.predict_probabilities(rows).tobytes()
        assert (loaded.horizon_sessions, loaded.vix_used) == (MONTH, vix)
        assert loaded.columns_used == model.columns_used

    def test_missing_columns_are_refused_by_name(self, fitted: RegimeClassifier, frame: pl.DataFrame) -> None:
        with pytest.raises(InputError, match=r"missing columns: close \[regime classifier, rows to learn from\]"):
            RegimeClassifier(MONTH).fit(frame.drop("close"), _ones(frame))
        with pytest.raises(InputError, match=r"missing columns: vix_band \[regime classifier, rows to forecast\]"):
            fitted.predict_probabilities(frame.drop("vix_band"))

    def test_unusable_weights_and_too_few_rows_are_refused(self, frame: pl.DataFrame) -> None:
        with pytest.raises(InputError, match="every row needs a weight"):
            RegimeClassifier(MONTH).fit(frame, np.ones(3))
        with pytest.raises(InputError, match="positive finite"):
            RegimeClassifier(MONTH).fit(frame, 0 * _ones(frame))
        with pytest.raises(NotEnoughHistory, match="125 sessions have a known state now and 21 sessions ahead, 126"):
            RegimeClassifier(MONTH).fit(frame.head(30 + MONTH + 125), np.ones(30 + MONTH + 125))

    def test_an_unfitted_classifier_says_so(self, frame: pl.DataFrame, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="not fitted"):
            RegimeClassifier(MONTH).predict_probabilities(frame)
        with pytest.raises(InputError, match="not fitted"):
            RegimeClassifier(MONTH).save(tmp_path)

    @pytest.mark.parametrize(
        ("written", "by"),
        [
            (None, None),
            ("regime_classifier", "no_change"),
            ('"mean": [', '"mean": [1.0,'),
            ('"scale"', '"size"'),
            ("}", ""),
        ],
    )
    def test_a_damaged_file_is_refused(
        self, written: str | None, by: str | None, fitted: RegimeClassifier, tmp_path: Path
    ) -> None:
        fitted.save(tmp_path)
        path = tmp_path / "regime_classifier.json"
        if written is None or by is None:
            path.unlink()
        else:
            path.write_text(path.read_text().replace(written, by))
        with pytest.raises(InputError, match="cannot be read"):
            RegimeClassifier.load(tmp_path)
