import numpy as np
import polars as pl
import pytest

from zl_assets.core.evaluation.selection import beats_no_change, choose_champion, fold_errors
from zl_assets.errors import InputError


def _oof(n: int, skill: float, seed: int = 0, folds: int = 8) -> pl.DataFrame:
    """Out-of-fold rows whose forecast explains a share of the outcome, or with skill 0 only adds noise."""
    rng = np.random.default_rng(seed)
    actual = rng.normal(0, 0.03, n)
    return pl.DataFrame(
        {
            "fold": np.arange(n) * folds // n,
            "actual_return": actual,
            "predicted_return": skill * actual + rng.normal(0, 0.003, n),
        }
    )


def test_the_figures_are_those_of_the_paired_differences() -> None:
    verdict = beats_no_change([0.9, 1.1, 1.0, 0.8], [1.0, 1.0, 1.2, 1.1])
    gains = [0.1, -0.1, 0.2, 0.3]
    mean = sum(gains) / 4
    error = (sum((g - mean) ** 2 for g in gains) / 3) ** 0.5 / 4**0.5
    assert verdict.mean_gain == pytest.approx(mean)
    assert verdict.standard_error == pytest.approx(error)
    assert verdict.accepted
    assert verdict.n_folds == 4


def test_a_gain_within_one_standard_error_is_not_accepted() -> None:
    assert not beats_no_change([0.5, 1.0, 1.2], [1.0, 1.0, 1.0]).accepted
    assert beats_no_change([0.5, 0.9, 1.0], [1.0, 1.0, 1.0]).accepted


def test_equal_forecasts_leave_the_simpler_one() -> None:
    assert not beats_no_change([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]).accepted


def test_a_common_level_of_the_folds_cancels_out() -> None:
    level = np.array([0.0, 5.0, 50.0, 0.3])
    model, no_change = np.array([0.9, 0.8, 0.95, 0.9]), np.ones(4)
    plain, shifted = beats_no_change(model, no_change), beats_no_change(model + level, no_change + level)
    assert shifted.standard_error == pytest.approx(plain.standard_error)


def test_noise_is_rarely_accepted_and_skill_nearly_always() -> None:
    noise = sum(choose_champion(_oof(1600, 0.0, s), 5).model == "lightgbm" for s in range(100))
    skill = sum(choose_champion(_oof(1600, 0.1, s), 5).model == "lightgbm" for s in range(100))
    assert noise <= 20
    assert skill >= 95


@pytest.mark.parametrize(("model", "no_change"), [([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([1, 2, np.nan], [1, 2, 3])])
def test_what_cannot_be_compared_is_refused(model: list[float], no_change: list[float]) -> None:
    with pytest.raises(InputError, match="at least 3"):
        beats_no_change(model, no_change)


def test_fold_errors_agree_with_pandas() -> None:
    oof = _oof(200, 0.0)
    rows = oof.to_pandas()
    expected = rows.assign(
        mae_model=(rows.actual_return - rows.predicted_return).abs(), mae_no_change=rows.actual_return.abs()
    ).groupby("fold")[["mae_model", "mae_no_change"]]
    errors = fold_errors(oof)
    assert errors["mae_model"].to_list() == pytest.approx(expected.mean()["mae_model"].to_list())
    assert errors["mae_no_change"].to_list() == pytest.approx(expected.mean()["mae_no_change"].to_list())
    assert errors["n_test"].to_list() == [25] * 8


def test_the_reason_says_what_decided() -> None:
    assert choose_champion(_oof(1600, 0.2), 5).reason.startswith("skill found: mean absolute error 0.00")
    champion = choose_champion(_oof(1600, 0.0), 5)
    assert champion.reason.startswith("no skill found: ")
    assert champion.reason.endswith("8 folds, 320 independent windows")


def test_fewer_than_three_independent_windows_prove_nothing() -> None:
    champion = choose_champion(_oof(700, 0.9), 252)
    assert champion.verdict.accepted
    assert champion.model == "no_change"
    assert champion.reason.startswith("no test possible: ")
