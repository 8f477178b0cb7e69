import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression
from statsmodels.tsa.regime_switching.markov_switching import MarkovSwitchingResults

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.models import markov_switching
from zl_assets.core.models.base import Forecaster
from zl_assets.core.models.markov_switching import LOOKBACK, MarkovSwitching, filtered_probabilities, wild_sessions
from zl_assets.errors import InputError, NotEnoughHistory

VARIANCES = np.array([0.0001, 0.0006])
TRANSITION = np.array([[0.98, 0.02], [0.05, 0.95]])
chances = st.floats(0.01, 0.99)


def _walk(n: int, seed: int, transition: np.ndarray = TRANSITION) -> tuple[np.ndarray, np.ndarray]:
    """States and log returns of a market that switches as `transition` says."""
    rng = np.random.default_rng(seed)
    states = np.zeros(n, dtype=int)
    for t in range(1, n):
        states[t] = rng.random() < transition[states[t - 1], 1]
    return states, rng.normal(0, np.sqrt(VARIANCES[states]))


def _frame(moves: np.ndarray) -> pl.DataFrame:
    n = moves.size
    returns = pl.Series(np.expm1(moves))
    return pl.DataFrame({"session_number": np.arange(n), "is_suspect": [False] * n, "return_1d": returns})


def _known(horizon: int) -> MarkovSwitching:
    """A model whose parameters are the market's own."""
    model = MarkovSwitching(horizon)
    model.variances, model.transition = VARIANCES, TRANSITION
    return model


def _fit(frame: pl.DataFrame, horizon: int = 21, scale: float = 1.0) -> MarkovSwitching:
    return MarkovSwitching(horizon).fit(frame, np.zeros(frame.height), np.full(frame.height, scale))


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return _frame(_walk(1500, 8)[1])


@pytest.fixture(scope="module")
def fitted(frame: pl.DataFrame) -> MarkovSwitching:
    return _fit(frame)


def _peer(moves: np.ndarray, variances: np.ndarray, transition: np.ndarray) -> np.ndarray:
    """Filtered probabilities by statsmodels, shape (steps, 2)."""
    model = MarkovRegression(moves, k_regimes=2, trend="n", switching_variance=True)
    result: MarkovSwitchingResults = model.filter([*transition[:, 0], *variances])
    return np.asarray(result.filtered_marginal_probabilities)


class TestFilter:
    def test_it_is_the_filter_of_statsmodels(self) -> None:
        moves = _walk(120, 1)[1] * 100
        variances = VARIANCES * 1e4
        peer = _peer(moves, variances, TRANSITION)
        for step in (1, 2, 7, 60, 120):
            ours = filtered_probabilities(moves[None, :step], variances, TRANSITION)
            assert np.allclose(ours[0], peer[step - 1], atol=1e-10)

    @given(stay=chances, calm_down=chances, steps=st.integers(0, 20))
    def test_missing_returns_move_the_chain_and_tell_nothing(self, stay: float, calm_down: float, steps: int) -> None:
        transition = np.array([[stay, 1 - stay], [calm_down, 1 - calm_down]])
        moves = _walk(30, 2)[1]
        now = filtered_probabilities(moves[None], VARIANCES, transition)
        later = filtered_probabilities(np.concatenate([moves, np.full(steps, np.nan)])[None], VARIANCES, transition)
        assert np.allclose(later, now @ np.linalg.matrix_power(transition, steps), atol=1e-9)

    def test_a_return_of_a_wreck_does_not_break_it(self) -> None:
        moves = np.array([[0.0, 0.0, 3.0], [0.0, 0.0, -3.0]])
        assert np.allclose(filtered_probabilities(moves, VARIANCES, TRANSITION), [[0, 1], [0, 1]])

    def test_a_year_later_the_start_is_forgotten(self) -> None:
        moves = _walk(1200, 3)[1]
        whole = filtered_probabilities(moves[None], VARIANCES, TRANSITION)
        assert np.allclose(filtered_probabilities(moves[None, -LOOKBACK:], VARIANCES, TRANSITION), whole, atol=1e-8)


class TestWildSessions:
    @given(stay=chances, calm_down=chances, sessions=st.integers(1, 60))
    def test_their_mean_is_that_of_the_powers_of_the_matrix(self, stay: float, calm_down: float, sessions: int) -> None:
        transition = np.array([[stay, 1 - stay], [calm_down, 1 - calm_down]])
        chance = wild_sessions(transition, sessions)
        assert np.allclose(chance.sum(axis=1), 1.0)
        powers = sum(np.linalg.matrix_power(transition, k)[:, 1] for k in range(1, sessions + 1))
        assert np.allclose(chance @ np.arange(sessions + 1), powers)

    def test_independent_sessions_are_binomial(self) -> None:
        chance = wild_sessions(np.array([[0.7, 0.3], [0.7, 0.3]]), 12)
        assert np.allclose(chance, stats.binom.pmf(np.arange(13), 12, 0.3))


class TestMarkovSwitching:
    def test_it_is_a_forecaster(self) -> None:
        assert isinstance(MarkovSwitching(5), Forecaster)

    def test_it_finds_the_parameters_of_a_switching_market(self) -> None:
        model = _fit(_frame(_walk(4000, 4)[1]))
        assert np.allclose(model.variances, VARIANCES, rtol=0.15)
        assert np.allclose(model.transition, TRANSITION, atol=0.02)

    def test_no_other_parameters_are_likelier(self, frame: pl.DataFrame, fitted: MarkovSwitching) -> None:
        moves = np.log1p(frame["return_1d"].to_numpy())[1:] * 100
        peer = MarkovRegression(moves, k_regimes=2, trend="n", switching_variance=True)
        best = peer.loglike([*fitted.transition[:, 0], *(fitted.variances * 1e4)])
        for wrong in ([0.97, 0.05, 1, 6], [0.98, 0.06, 1, 6], [0.98, 0.05, 1.1, 6], [0.98, 0.05, 1, 7]):
            assert peer.loglike(wrong) < best

    def test_its_states_are_those_the_market_was_in(self) -> None:
        states, moves = _walk(1500, 5)
        p = _known(5).state_probabilities(_frame(moves))[LOOKBACK:]
        guess = p.argmax(axis=1)
        assert (guess == states[LOOKBACK:]).mean() > 0.85
        # A calibrated filter is right as often as it says.
        sure = p[:, 1] > 0.8
        assert states[LOOKBACK:][sure].mean() == pytest.approx(p[sure, 1].mean(), abs=0.05)

    def test_states_ahead_are_moved_on_by_the_matrix(self, frame: pl.DataFrame) -> None:
        now, ahead = _known(5).state_probabilities(frame), _known(5).state_probabilities(frame, 13)
        assert np.allclose(ahead[LOOKBACK:], now[LOOKBACK:] @ np.linalg.matrix_power(TRANSITION, 13))

    @pytest.mark.parametrize("horizon", [1, 21, 252])
    def test_its_quantiles_are_those_of_simulated_paths(self, horizon: int, frame: pl.DataFrame) -> None:
        model = _known(horizon)
        told = model.predict_quantiles(frame)[-1]
        rng = np.random.default_rng(0)
        n = 100_000
        state = (rng.random(n) < model.state_probabilities(frame)[-1, 1]).astype(int)
        variance = np.zeros(n)
        for _ in range(horizon):
            state = (rng.random(n) < TRANSITION[state, 1]).astype(int)
            variance += VARIANCES[state]
        # Given the path, the distribution is known: no draw of the return itself, and far less noise.
        below = stats.norm.cdf(np.log1p(told)[:, None] / np.sqrt(variance)).mean(axis=1)
        assert np.allclose(below, QUANTILE_LEVELS, atol=0.001)

    def test_its_median_is_no_change_and_the_log_return_is_symmetric(self, frame: pl.DataFrame) -> None:
        told = np.log1p(_known(21).predict_quantiles(frame)[LOOKBACK:])
        assert not told[:, 3].any()
        assert np.allclose(told, -told[:, ::-1])
        assert (np.diff(told, axis=1) > 0).all()

    def test_a_wild_market_is_told_wider(self) -> None:
        moves = np.concatenate([np.tile([0.01, -0.01], 150), np.tile([0.04, -0.04], 10)])
        width = np.ptp(_known(5).predict_quantiles(_frame(moves)), axis=1)
        assert width[-1] > 1.5 * width[295]

    def test_many_rows_at_once_and_one_by_one_agree_to_the_bit(self, frame: pl.DataFrame) -> None:
        model = _known(21)
        whole = model.predict_quantiles(frame)
        assert np.isnan(whole[:LOOKBACK]).all()
        for row in (LOOKBACK, 700, frame.height - 1):
            assert model.predict_quantiles(frame[row - LOOKBACK : row + 1])[-1].tobytes() == whole[row].tobytes()
        assert np.isnan(model.predict_quantiles(frame.tail(LOOKBACK))).all()
        assert model.predict_quantiles(frame.clear()).shape == (0, 7)

    def test_a_return_from_or_to_a_suspect_close_counts_for_nothing(self, frame: pl.DataFrame) -> None:
        row = frame.height - 5
        at = pl.int_range(pl.len())
        spoilt = frame.with_columns(
            is_suspect=at == row,
            return_1d=pl.when(at.is_in([row, row + 1])).then(0.5).otherwise(pl.col("return_1d")),
        )
        missing = frame.with_columns(return_1d=pl.when(~at.is_in([row, row + 1])).then(pl.col("return_1d")))
        ours, peer = _known(5).state_probabilities(spoilt), _known(5).state_probabilities(missing)
        assert np.allclose(ours[LOOKBACK:], peer[LOOKBACK:], atol=1e-12)
        # Where the suspect row is left out of the frame, the hole in the session numbers tells.
        without = _known(5).state_probabilities(spoilt.filter(at != row))
        assert np.isfinite(without[-1]).all()
        assert without[-1, 1] == pytest.approx(peer[-1, 1], abs=0.1)

    def test_two_fits_give_the_same_bits_and_weights_and_targets_touch_nothing(
        self, frame: pl.DataFrame, fitted: MarkovSwitching
    ) -> None:
        again = MarkovSwitching(21).fit(frame, np.full(frame.height, 0.3), np.full(frame.height, 7.0))
        assert again.predict_quantiles(frame).tobytes() == fitted.predict_quantiles(frame).tobytes()

    def test_rows_after_those_to_learn_from_touch_nothing(self, frame: pl.DataFrame, fitted: MarkovSwitching) -> None:
        longer = pl.concat([frame, _frame(_walk(200, 9)[1] * 5).with_columns(pl.col("session_number") + frame.height)])
        assert _fit(longer.head(frame.height)).variances.tobytes() == fitted.variances.tobytes()
        assert fitted.predict_quantiles(longer)[: frame.height].tobytes() == fitted.predict_quantiles(frame).tobytes()

    def test_no_feature_explains_it(self, fitted: MarkovSwitching, frame: pl.DataFrame) -> None:
        assert fitted.explain(frame).is_empty()

    def test_a_search_that_does_not_converge_goes_on_from_another_start(
        self, frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, fitted: MarkovSwitching
    ) -> None:
        real, asked = MarkovRegression.fit, []

        def reluctant(self: MarkovRegression, start: np.ndarray, **how: object) -> object:
            asked.append(tuple(start))
            return real(self, start, **{**how, "maxiter": 1 if len(asked) == 1 else how["maxiter"]})

        monkeypatch.setattr(MarkovRegression, "fit", reluctant)
        assert np.allclose(_fit(frame).variances, fitted.variances, rtol=1e-2)
        assert asked == list(markov_switching.STARTS[:2])

    def test_a_search_that_never_converges_is_an_error(
        self, frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = MarkovRegression.fit
        monkeypatch.setattr(
            MarkovRegression, "fit", lambda self, start, **how: real(self, start, **{**how, "maxiter": 1})
        )
        with pytest.raises(InputError, match="converged from none of 4 starts"):
            _fit(frame)

    def test_what_nothing_can_be_learnt_from_is_refused(self, frame: pl.DataFrame) -> None:
        with pytest.raises(NotEnoughHistory, match="251 known daily returns, 252 are needed"):
            _fit(frame.head(252))
        with pytest.raises(InputError, match="never moved"):
            _fit(frame.with_columns(return_1d=pl.lit(0.0)))
        with pytest.raises(InputError, match="finite targets"):
            MarkovSwitching(5).fit(frame, np.full(frame.height, np.nan), np.ones(frame.height))

    def test_missing_columns_are_refused_by_name(self, frame: pl.DataFrame, fitted: MarkovSwitching) -> None:
        with pytest.raises(InputError, match=r"missing columns: return_1d \[markov_switching, rows to learn from\]"):
            _fit(frame.drop("return_1d"))
        with pytest.raises(InputError, match=r"missing columns: is_suspect \[markov_switching, rows to forecast\]"):
            fitted.predict_quantiles(frame.drop("is_suspect"))

    def test_an_unfitted_model_says_so(self, frame: pl.DataFrame, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="not fitted"):
            MarkovSwitching(5).predict_quantiles(frame)
        with pytest.raises(InputError, match="not fitted"):
            MarkovSwitching(5).save(tmp_path)

    def test_a_stored_model_gives_the_same_bits(
        self, frame: pl.DataFrame, fitted: MarkovSwitching, tmp_path: Path
    ) -> None:
        fitted.save(tmp_path)
        loaded = MarkovSwitching.load(tmp_path)
        assert loaded.predict_quantiles(frame).tobytes() == fitted.predict_quantiles(frame).tobytes()
        assert loaded.horizon_sessions == 21

    @pytest.mark.parametrize(
        "damage",
        [
            {"model": "no_change"},
            {"variances": [1e-4]},
            {"variances": [1e-4, -1e-4]},
            {"variances": [1e-4, float("nan")]},
            {"transition": [[0.9, 0.3], [0.1, 0.9]]},
            {"transition": "none"},
            {"horizon_sessions": None},
        ],
    )
    def test_a_damaged_file_is_refused(
        self, damage: dict[str, object], fitted: MarkovSwitching, tmp_path: Path
    ) -> None:
        fitted.save(tmp_path)
        path = tmp_path / "markov_switching.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
        with pytest.raises(InputError, match="cannot be read"):
            MarkovSwitching.load(tmp_path)

    def test_a_missing_or_cut_file_is_refused(self, fitted: MarkovSwitching, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot be read"):
            MarkovSwitching.load(tmp_path)
        fitted.save(tmp_path)
        path = tmp_path / "markov_switching.json"
        path.write_text(path.read_text()[:40])
        with pytest.raises(InputError, match="cannot be read"):
            MarkovSwitching.load(tmp_path)
