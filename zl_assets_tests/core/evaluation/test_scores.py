"""Scores of out-of-fold forecasts: against scoringrules, plain loops, and distributions whose scores are known."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
import scoringrules
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.integrate import quad

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS, QUANTILE_LEVELS, evaluate_returns
from zl_assets.core.evaluation.scores import crps, interval_score, pinball, score, scores_by
from zl_assets.errors import InputError

LEVELS = np.array(QUANTILE_LEVELS)

returns = st.floats(-0.5, 0.5)
forecasts = hnp.arrays(np.float64, (7,), elements=returns).map(np.sort)


def made_oof(n: int = 600, h: int = 5, seed: int = 1, *, missing: tuple[int, ...] = ()) -> pl.DataFrame:
    """Overlapping returns of a random walk, forecast by a normal distribution around a weak signal."""
    rng = np.random.default_rng(seed)
    closes = 40 * np.cumprod(1 + rng.normal(0, 0.015, n + h))
    actual = closes[h:] / closes[:-h] - 1
    point = 0.1 * actual + rng.normal(0, 0.01, n)
    scale = 0.015 * np.sqrt(h) * rng.uniform(0.5, 1.5, n)
    quantiles = point[:, None] + scale[:, None] * stats.norm.ppf(LEVELS)
    days = [date(2018, 1, 1) + timedelta(days=d) for d in range(n + h)]
    frame = pl.DataFrame(
        {
            "data_date": days[:n],
            "session_number": np.arange(1000, 1000 + n),
            "target_date": days[h:],
            "fold": np.arange(n) // 100,
            "close": closes[:n],
            "actual_return": actual,
            **{name: quantiles[:, i] for i, name in enumerate(QUANTILE_COLUMNS)},
            "crossed": rng.random(n) < 0.1,
            "regime_name": np.where(np.arange(n) % 200 < 120, "calm", "wild"),
        }
    )
    return frame.filter(~pl.col("session_number").is_in(missing))


def no_change_of(oof: pl.DataFrame, h: int = 5) -> pl.DataFrame:
    return oof.with_columns(
        pl.lit(0.015 * np.sqrt(h) * stats.norm.ppf(v)).alias(c) for v, c in zip(LEVELS, QUANTILE_COLUMNS, strict=True)
    )


def test_quantile_losses_and_interval_scores_are_those_of_another_library() -> None:
    oof = made_oof()
    actual, quantiles = oof["actual_return"].to_numpy(), oof.select(QUANTILE_COLUMNS).to_numpy()
    for i, level in enumerate(QUANTILE_LEVELS):
        expected = scoringrules.quantile_score(actual, quantiles[:, i], level)
        assert pinball(actual, quantiles)[:, i] == pytest.approx(expected, abs=1e-15)
    found = score(oof, 5)
    for low, high, level, name in (("q10", "q90", 0.8, "winkler_80"), ("q05", "q95", 0.9, "winkler_90")):
        expected = scoringrules.interval_score(actual, oof[low].to_numpy(), oof[high].to_numpy(), 1 - level)
        assert interval_score(actual, oof[low].to_numpy(), oof[high].to_numpy(), level) == pytest.approx(expected)
        assert asdict(found)[name] == pytest.approx(expected.mean())


def test_each_level_stands_for_the_levels_nearest_to_it() -> None:
    grid = (np.arange(100_000) + 0.5) / 100_000
    weights = np.bincount(np.abs(grid[:, None] - LEVELS).argmin(axis=1)) / grid.size
    assert weights == pytest.approx([0.075, 0.1, 0.2, 0.25, 0.2, 0.1, 0.075], abs=1e-5)
    oof = made_oof(50)
    actual, quantiles = oof["actual_return"].to_numpy(), oof.select(QUANTILE_COLUMNS).to_numpy()
    expected = [
        2
        * sum(w * (v * (y - q) if y >= q else (1 - v) * (q - y)) for w, v, q in zip(weights, LEVELS, row, strict=True))
        for y, row in zip(actual, quantiles, strict=True)
    ]
    assert crps(actual, quantiles) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("truth", [stats.norm(0.01, 0.05), stats.t(4, 0, 0.03), stats.laplace(0, 0.04)])
def test_it_is_close_to_the_exact_integral(truth) -> None:
    drawn = truth.rvs(100_000, random_state=np.random.default_rng(3))
    found = crps(drawn, np.tile(truth.ppf(LEVELS), (drawn.size, 1))).mean()
    exact, _ = quad(lambda x: truth.cdf(x) * truth.sf(x), -2, 2, points=[0], limit=200)
    assert 0.98 < found / exact < 0.995


def test_forecasts_of_normal_distributions_rank_as_by_their_exact_score() -> None:
    actual = np.random.default_rng(4).normal(0, 0.05, 20_000)
    parameters = [(0.0, 0.05), (0.0, 0.04), (0.01, 0.05), (0.0, 0.07), (0.02, 0.03), (0.0, 0.15), (0.05, 0.05)]
    ours = [crps(actual, np.tile(stats.norm(m, s).ppf(LEVELS), (actual.size, 1))).mean() for m, s in parameters]
    exact = [scoringrules.crps_normal(actual, m, s).mean() for m, s in parameters]
    assert (np.argsort(ours) == np.argsort(exact)).all()


@given(st.floats(-0.05, 0.05), st.floats(0.5, 2), st.integers(0, 6), st.floats(-0.03, 0.03))
def test_nothing_scores_better_in_expectation_than_the_true_quantiles(
    shift: float, scale: float, which: int, nudge: float
) -> None:
    truth = stats.t(4, 0, 0.04)
    actual = truth.ppf((np.arange(4000) + 0.5) / 4000)
    other = shift + scale * truth.ppf(LEVELS)
    other[which] += nudge
    # The sample's own quantiles are the truth here, up to the width of its grid.
    best, tried = (crps(actual, np.tile(q, (actual.size, 1))).mean() for q in (truth.ppf(LEVELS), other))
    assert best <= tried + 1e-7


@given(returns, forecasts)
def test_a_score_is_never_negative_and_zero_only_on_the_spot(actual: float, forecast: np.ndarray) -> None:
    [found] = crps([actual], [forecast])
    assert found >= 0
    if (np.abs(forecast - actual) > 1e-9).any():
        assert found > 0


@given(returns, returns)
def test_a_forecast_of_one_point_scores_its_absolute_error(actual: float, point: float) -> None:
    assert crps([actual], [[point] * 7])[0] == pytest.approx(abs(actual - point))


@given(returns, forecasts, st.floats(-1, 1), st.floats(0.01, 100))
def test_a_score_is_in_units_of_the_outcome(actual: float, forecast: np.ndarray, shift: float, scale: float) -> None:
    moved = crps([shift + scale * actual], [shift + scale * forecast])
    assert moved == pytest.approx(scale * crps([actual], [forecast]), rel=1e-6, abs=1e-9)


@given(st.floats(0, 0.1))
def test_wider_intervals_hold_more_and_cost_what_they_widen(added: float) -> None:
    oof = made_oof(120)
    sides = np.sign(LEVELS - 0.5)
    wider = oof.with_columns(pl.col(c) + s * added for c, s in zip(QUANTILE_COLUMNS, sides, strict=True))
    before, after = score(oof, 5), score(wider, 5)
    for level in ("50", "80", "90"):
        assert asdict(after)[f"coverage_{level}"] >= asdict(before)[f"coverage_{level}"]
        assert asdict(after)[f"width_{level}"] == pytest.approx(asdict(before)[f"width_{level}"] + 2 * added)
    assert after.winkler_80 <= before.winkler_80 + 2 * added + 1e-12
    assert (after.rmse, after.sharpe, after.crossing_rate) == (before.rmse, before.sharpe, before.crossing_rate)


def test_intervals_hold_what_a_loop_counts() -> None:
    oof = made_oof()
    rows = oof.to_dicts()
    rows[3]["actual_return"] = rows[3]["q90"]  # an end belongs to the interval
    found = score(pl.DataFrame(rows, schema=oof.schema), 5)
    for level, low, high in ((50, "q25", "q75"), (80, "q10", "q90"), (90, "q05", "q95")):
        held = sum(r[low] <= r["actual_return"] <= r[high] for r in rows) / len(rows)
        assert asdict(found)[f"coverage_{level}"] == pytest.approx(held)
        assert asdict(found)[f"width_{level}"] == pytest.approx(sum(r[high] - r[low] for r in rows) / len(rows))
    assert found.crossing_rate == pytest.approx(sum(r["crossed"] for r in rows) / len(rows))


def test_errors_of_the_median_are_those_of_a_point_forecast() -> None:
    oof = made_oof()
    found, point = score(oof, 5), evaluate_returns(oof["actual_return"], oof["q50"], 5)
    assert {k: v for k, v in asdict(found).items() if k in asdict(point)} == asdict(point)
    assert found.rmse_vs_no_change == pytest.approx(point.rmse / point.no_change_rmse)
    assert found.mae_vs_no_change == pytest.approx(point.mae / point.no_change_mae)
    assert found.skill_vs_no_change == point.skill_vs_no_change
    assert found.crps_vs_no_change is None


def test_a_leak_shows() -> None:
    oof = made_oof()
    leaked = oof.with_columns(pl.col("actual_return").alias(c) for c in QUANTILE_COLUMNS)
    found = score(leaked, 5, no_change_of(oof))
    assert (found.rmse_vs_no_change, found.crps_vs_no_change, found.hit_rate) == (0, 0, 1)


def test_repeating_the_latest_known_direction_reads_nothing_undecided() -> None:
    h = 5
    oof = made_oof(300, h, missing=(1007, 1050, 1051, 1052))
    rows = oof.to_dicts()
    rows[20]["actual_return"] = 0.0
    hits: list[bool] = []
    for now in rows:
        decided = [r for r in rows if r["session_number"] + h <= now["session_number"]]
        if decided and now["actual_return"] != 0:
            hits.append(bool(np.sign(decided[-1]["actual_return"]) == np.sign(now["actual_return"])))
    found = score(pl.DataFrame(rows, schema=oof.schema), h)
    assert 0 < len(hits) < len(rows)
    assert found.always_same_rate == pytest.approx(np.mean(hits))
    assert score(oof.head(h), h).always_same_rate is None


def test_without_overlap_the_sharpe_ratio_is_the_textbook_s() -> None:
    oof = made_oof(2000, 1)
    oof = oof.with_columns(q50=pl.when(pl.col("fold") == 2).then(0.0).otherwise("q50")).with_columns(
        pl.min_horizontal(c, "q50") if c < "q50" else pl.max_horizontal(c, "q50") for c in QUANTILE_COLUMNS
    )
    gains = [np.sign(r["q50"]) * r["actual_return"] for r in oof.to_dicts()]
    ratio = np.mean(gains) / np.std(gains)
    found = score(oof, 1)
    assert gains.count(0.0) >= 100
    assert found.sharpe == pytest.approx(ratio * 252**0.5)
    # Lo (2002), equation 9, with the skewness and kurtosis that normal returns do not have (Mertens 2002).
    third, fourth = stats.skew(gains), stats.kurtosis(gains, fisher=False)
    variance = (1 - third * ratio + (fourth - 1) / 4 * ratio**2) / len(gains)
    assert found.sharpe_standard_error == pytest.approx((252 * variance) ** 0.5, rel=1e-3)


@pytest.mark.parametrize("h", [5, 63])
def test_the_error_of_a_sharpe_ratio_is_its_spread_between_markets_and_knows_of_the_overlap(h: int) -> None:
    always_up = dict.fromkeys(QUANTILE_COLUMNS, pl.lit(0.01))
    found = [score(made_oof(1500, h, seed).with_columns(**always_up), h) for seed in range(250)]
    spread = np.std([f.sharpe for f in found])
    assert np.mean([f.sharpe_standard_error for f in found]) == pytest.approx(spread, rel=0.12)
    assert spread > 1.5 * (252 / h / 1500) ** 0.5, "as if no holding overlapped"


def test_a_position_never_taken_has_no_sharpe_ratio_and_few_windows_have_none() -> None:
    oof = made_oof()
    found = score(no_change_of(oof), 5)
    assert (found.sharpe, found.sharpe_standard_error) == (None, None)
    assert (found.rmse_vs_no_change, found.mae_vs_no_change, found.hit_rate) == (1, 1, 0)
    assert score(oof.head(9), 5).sharpe is None
    assert score(oof.head(10), 5).sharpe is not None


def test_the_benchmark_scores_one_against_itself() -> None:
    oof = made_oof()
    reference = no_change_of(oof)
    assert score(reference, 5, reference).crps_vs_no_change == 1
    found = score(oof, 5, reference)
    assert found.crps_vs_no_change == pytest.approx(found.crps / score(reference, 5).crps)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (pl.col("actual_return") + 1e-9, "actual_return is"),
        (pl.col("target_date") + timedelta(days=1), "target_date is 2018-01-07 and not 2018-01-06"),
        (pl.col("close") * 2, "close is"),
        (pl.col("session_number") + 1, "session_number is 1001 and not 1000"),
    ],
)
def test_a_benchmark_on_other_rows_is_refused_by_the_first_difference(other: pl.Expr, message: str) -> None:
    oof = made_oof()
    with pytest.raises(InputError, match=f"judged on other rows: {message}"):
        score(oof, 5, no_change_of(oof).with_columns(other))
    one_row = no_change_of(oof).with_columns(
        pl.when(pl.col("fold") == 3).then(other).otherwise(pl.col(other.meta.root_names()[0]))
    )
    with pytest.raises(InputError, match="row 300 of 600"):
        scores_by(oof, 5, "year", one_row)


def test_a_benchmark_with_fewer_rows_is_refused_by_the_first_missing_one() -> None:
    oof = made_oof()
    reference = no_change_of(oof)
    with pytest.raises(InputError, match="data_date is no row and not 2019-08-23"):
        score(oof, 5, reference.head(599))
    with pytest.raises(InputError, match="data_date is 2018-01-01 and not 2018-01-02"):
        score(oof.slice(1), 5, reference)


@pytest.mark.parametrize("by", ["year", "regime_name"])
def test_a_group_scores_what_its_rows_score_alone(by) -> None:
    oof = made_oof()
    reference = no_change_of(oof)
    found = scores_by(oof, 5, by, reference)
    groups = oof.with_columns(year=pl.col("data_date").dt.year().cast(pl.Int64))
    assert found[by].to_list() == groups[by].unique(maintain_order=True).to_list()
    assert found["n"].sum() == oof.height
    for row in found.to_dicts():
        mine = groups[by] == row[by]
        alone = asdict(score(oof.filter(mine), 5, reference.filter(mine)))
        assert row == pytest.approx({by: row[by]} | {k: alone[k] for k in row if k != by})


def test_groups_without_a_benchmark_or_a_name_are_kept() -> None:
    oof = made_oof().with_columns(regime_name=pl.when(pl.col("regime_name") == "calm").then("regime_name"))
    found = scores_by(oof, 5, "regime_name")
    assert found["regime_name"].to_list() == ["calm", None]
    assert found["crps_vs_no_change"].to_list() == [None, None]
    assert found["n"].to_list() == [360, 240]


def test_the_order_of_columns_and_further_columns_do_not_matter() -> None:
    oof = made_oof()
    other = oof.select(reversed(oof.columns)).with_columns(vol_percentile=pl.lit(None))
    assert score(oof, 5, no_change_of(oof)) == score(other, 5, no_change_of(other))


def changed(row: int, **values: object) -> pl.DataFrame:
    rows = made_oof(60).to_dicts()
    rows[row].update(values)
    return pl.DataFrame(rows, schema=made_oof(60).schema)


@pytest.mark.parametrize(
    ("oof", "message"),
    [
        (made_oof(60).drop("q25", "crossed"), "missing columns: q25, crossed"),
        (changed(4, actual_return=None), "columns with missing values: actual_return"),
        (changed(4, actual_return=float("nan")), "59 usable outcomes and 60 usable forecasts"),
        (changed(4, q90=float("inf"), q95=float("inf")), "2 not finite"),
        (changed(4, q05=0.4), "2018-01-05 is out of order"),
        (changed(4, session_number=1003), "2018-01-05 is out of order"),
        (changed(4, actual_return=-1.0), "not a return"),
        (made_oof(60).clear(), "0 rows"),
    ],
)
def test_what_cannot_be_scored_is_refused(oof: pl.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        score(oof, 5)


def test_a_regime_cannot_be_grouped_by_where_there_is_none() -> None:
    with pytest.raises(InputError, match="missing columns: regime_name"):
        scores_by(made_oof(60).drop("regime_name"), 5, "regime_name")
    with pytest.raises(InputError, match="horizon 0"):
        score(made_oof(60), 0)


@pytest.mark.parametrize(
    ("actual", "quantiles"), [([0.1], [[0.1] * 6]), ([0.1, 0.2], [[0.1] * 7]), ([[0.1]], [[0.1] * 7])]
)
def test_quantiles_of_another_shape_are_refused(actual, quantiles) -> None:
    with pytest.raises(InputError, match="7 finite quantiles each"):
        pinball(actual, quantiles)
