import numpy as np
import pandas as pd
import pytest

from zl_assets.core.evaluation.metrics import evaluate_returns, kish_effective_size
from zl_assets.errors import InputError


def test_every_measure_agrees_with_prices_worked_out_by_pandas() -> None:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(
        {"close": rng.uniform(25, 80, 300), "a": rng.normal(0, 0.06, 300), "p": rng.normal(0, 0.02, 300)}
    )
    rows.loc[::50, "a"] = 0.0
    future, forecast = rows.close * (1 + rows.a), rows.close * (1 + rows.p)
    moved = rows[rows.a != 0]

    m = evaluate_returns(rows.a, rows.p, 21)

    assert (m.n, m.n_independent, m.n_moved) == (300, 14, len(moved))
    assert m.mae == pytest.approx((rows.p - rows.a).abs().mean())
    assert m.rmse == pytest.approx(((rows.p - rows.a) ** 2).mean() ** 0.5)
    assert m.mape_pct == pytest.approx(((forecast - future).abs() / future).mean() * 100)
    assert m.no_change_mae == pytest.approx(rows.a.abs().mean())
    assert m.no_change_rmse == pytest.approx((rows.a**2).mean() ** 0.5)
    assert m.no_change_mape_pct == pytest.approx(((rows.close - future).abs() / future).mean() * 100)
    assert m.hit_rate == pytest.approx(((moved.p > 0) == (moved.a > 0)).mean())
    assert m.always_up_rate == pytest.approx((moved.a > 0).mean())
    assert m.skill_vs_no_change == pytest.approx(1 - m.mae / m.no_change_mae)


def test_a_forecast_of_exactly_no_move_hits_no_direction() -> None:
    m = evaluate_returns([0.1, -0.1, 0.0], [0.0, -0.2, 0.3], 1)
    assert (m.hit_rate, m.always_up_rate, m.n_moved) == (0.5, 0.5, 2)


def test_a_market_that_never_moved_has_no_direction_and_no_skill() -> None:
    m = evaluate_returns([0.0, 0.0], [0.0, 0.1], 1)
    assert (m.hit_rate, m.always_up_rate, m.skill_vs_no_change) == (None, None, None)


@pytest.mark.parametrize(
    ("actual", "predicted"), [([], []), ([0.1], [0.1, 0.2]), ([np.nan], [0.0]), ([0.0], [np.inf]), ([-1.0], [0.0])]
)
def test_what_cannot_be_scored_is_an_error_and_not_a_nan(actual: list[float], predicted: list[float]) -> None:
    with pytest.raises(InputError):
        evaluate_returns(actual, predicted, 5)


def test_effective_size_counts_equal_weights_in_full_and_ignores_their_scale() -> None:
    assert kish_effective_size([7, 7, 7, 7]) == pytest.approx(4)
    assert kish_effective_size([1, 3]) == pytest.approx(16 / 10)
    assert kish_effective_size([100, 300]) == pytest.approx(16 / 10)


@pytest.mark.parametrize("weights", [[], [1, 0], [1, -1], [1, np.nan]])
def test_weights_that_are_not_positive_are_refused(weights: list[float]) -> None:
    with pytest.raises(InputError, match="positive finite"):
        kish_effective_size(weights)
