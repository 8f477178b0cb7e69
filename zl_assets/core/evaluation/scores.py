"""How good a model's out-of-fold forecasts are: their quantiles, their median, their direction.

Belongs here: figures of one model, some of them beside a benchmark's on the same rows. Whether a difference is more
than luck is in `significance`; error measures of a point forecast by itself are in `metrics`.

Rows are out-of-fold forecasts, one a session, in order. Returns, quantiles, widths and scores are fractions of the
price; the point forecast is the median, q50.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from zl_assets.core.evaluation.metrics import QUANTILE_COLUMNS, QUANTILE_LEVELS, ReturnMetrics, evaluate_returns
from zl_assets.core.evaluation.significance import standard_error
from zl_assets.errors import InputError

Floats = NDArray[np.float64]
Grouping = Literal["year", "regime_name"]

OOF_COLUMNS: tuple[str, ...] = (
    "data_date",
    "session_number",
    "target_date",
    "close",
    "actual_return",
    *QUANTILE_COLUMNS,
    "crossed",
)
"""Columns that are read; `regime_name` only to group by it."""

ROW_COLUMNS: tuple[str, ...] = ("data_date", "session_number", "target_date", "close", "actual_return")
"""Columns in which two models' frames agree when they were judged on the same rows."""

INTERVALS: dict[int, tuple[str, str]] = {50: ("q25", "q75"), 80: ("q10", "q90"), 90: ("q05", "q95")}
"""Central intervals by the percentage they are meant to hold."""

SESSIONS_PER_YEAR = 252

_LEVELS = np.array(QUANTILE_LEVELS)
LEVEL_WEIGHTS: Floats = np.diff(np.concatenate([[0.0], (_LEVELS[1:] + _LEVELS[:-1]) / 2, [1.0]]))
"""Share of all levels that lie nearest to each of QUANTILE_LEVELS."""

GROUP_SCHEMA: dict[str, pl.DataType] = {
    "n": pl.Int64(),
    "n_independent": pl.Int64(),
    "crps": pl.Float64(),
    "crps_vs_no_change": pl.Float64(),
    "mae_vs_no_change": pl.Float64(),
    **{f"coverage_{level}": pl.Float64() for level in INTERVALS},
}
"""Columns of `scores_by` after the group's own; see `Scores`."""


@dataclass(frozen=True)
class Scores(ReturnMetrics):
    """Figures of one model at one horizon; errors and direction are of the median.

    Attributes:
        crps: mean of `crps`; lower is better.
        crps_vs_no_change: `crps` over the benchmark's; below 1 is better. None without a benchmark.
        rmse_vs_no_change: `rmse` over that of a return of 0; None where no price moved.
        mae_vs_no_change: `mae` over that of a return of 0; None where no price moved.
        coverage_50: share of outcomes within q25 to q75, ends included; 0.5 is right.
        coverage_80: share within q10 to q90.
        coverage_90: share within q05 to q95.
        width_50: mean of q75 - q25.
        width_80: mean of q90 - q10.
        width_90: mean of q95 - q05.
        winkler_80: mean interval score of q10 to q90; lower is better.
        winkler_90: mean interval score of q05 to q95.
        crossing_rate: share of rows whose quantiles had crossed before they were sorted.
        always_same_rate: share of the moved rows that went where the latest outcome known at their time had gone, among
            those with such an outcome; None where there is none.
        sharpe: of holding the sign of q50 for the horizon, a year; None on fewer than two independent windows, or where
            such a position never gains or loses differently.
        sharpe_standard_error: of `sharpe`, with the overlap of the holdings taken into account; None as before.
    """

    crps: float
    crps_vs_no_change: float | None
    rmse_vs_no_change: float | None
    mae_vs_no_change: float | None
    coverage_50: float
    coverage_80: float
    coverage_90: float
    width_50: float
    width_80: float
    width_90: float
    winkler_80: float
    winkler_90: float
    crossing_rate: float
    always_same_rate: float | None
    sharpe: float | None
    sharpe_standard_error: float | None


def pinball(actual: ArrayLike, quantiles: ArrayLike) -> Floats:
    """Quantile losses max(level * (y - q), (level - 1) * (y - q)) (Koenker and Bassett 1978), shape (rows, 7).

    Each is lowest in expectation where q is the true quantile.

    Args:
        actual: shape (rows,).
        quantiles: at QUANTILE_LEVELS, shape (rows, 7).

    Raises:
        InputError: shapes that do not fit, or a value that is not finite.
    """
    y = np.asarray(actual, dtype=np.float64)
    q = np.asarray(quantiles, dtype=np.float64)
    if y.ndim != 1 or q.shape != (y.size, len(QUANTILE_LEVELS)) or not (np.isfinite(y).all() and np.isfinite(q).all()):
        raise InputError(
            f"quantile losses need finite outcomes and {len(QUANTILE_LEVELS)} finite quantiles each",
            where=f"{y.shape} outcomes, {int((~np.isfinite(y)).sum())} not finite; {q.shape} quantiles, "
            f"{int((~np.isfinite(q)).sum())} not finite",
            action="score rows that have a forecast and an outcome",
        )
    above = y[:, None] - q
    levels = np.array(QUANTILE_LEVELS)
    return np.maximum(levels * above, (levels - 1) * above)


def crps(actual: ArrayLike, quantiles: ArrayLike) -> Floats:
    """Continuous ranked probability score of forecasts known at seven levels, in units of the outcome, shape (rows,).

    The CRPS is twice the integral of the quantile loss over all levels (Laio and Tamea 2007; Gneiting and Ranjan 2011).
    Here each of the seven losses stands for the levels nearest to its own: 2 * sum(w * pinball), w = .075, .10, .20,
    .25, .20, .10, .075. A weighted sum of quantile losses, it is a proper score of the seven quantiles by itself; as an
    estimate of the integral it lies 1 to 2 % low for bell-shaped forecasts, much alike for every model. It is the
    absolute error where all quantiles are one point.

    Args:
        actual: shape (rows,).
        quantiles: at QUANTILE_LEVELS, shape (rows, 7).

    Raises:
        InputError: as `pinball`.
    """
    return 2 * pinball(actual, quantiles) @ LEVEL_WEIGHTS


def interval_score(actual: Floats, low: Floats, high: Floats, level: float) -> Floats:
    """Winkler's (1972) score of central intervals: width, and 2 / (1 - level) times what an outcome lies outside.

    Args:
        actual: shape (rows,).
        low: lower ends, shape (rows,).
        high: upper ends, shape (rows,).
        level: share of outcomes the interval is meant to hold.
    """
    outside = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
    return high - low + 2 / (1 - level) * outside


def score(oof: pl.DataFrame, horizon_sessions: int, benchmark: pl.DataFrame | None = None) -> Scores:
    """Every figure of one model's out-of-fold forecasts.

    Args:
        oof: rows with OOF_COLUMNS in order of their sessions.
        horizon_sessions: sessions between forecast and outcome.
        benchmark: the same of no-change.

    Raises:
        InputError: no row, a column is missing by name, sessions out of order, a forecast or outcome that is not
            finite, quantiles out of order, or a benchmark on other rows, with the first difference.
    """
    actual, quantiles = _checked(oof, horizon_sessions)
    metrics = evaluate_returns(actual, oof["q50"], horizon_sessions)
    mean_crps = float(crps(actual, quantiles).mean())
    coverage, width, winkler = _intervals(actual, oof)
    sharpe, error = _sharpe(np.sign(oof["q50"].to_numpy()) * actual, horizon_sessions)
    return Scores(
        **asdict(metrics),
        crps=mean_crps,
        crps_vs_no_change=_ratio(mean_crps, None if benchmark is None else float(_crps_of(benchmark, oof).mean())),
        rmse_vs_no_change=_ratio(metrics.rmse, metrics.no_change_rmse),
        mae_vs_no_change=_ratio(metrics.mae, metrics.no_change_mae),
        coverage_50=coverage[50],
        coverage_80=coverage[80],
        coverage_90=coverage[90],
        width_50=width[50],
        width_80=width[80],
        width_90=width[90],
        winkler_80=winkler[80],
        winkler_90=winkler[90],
        crossing_rate=float(oof["crossed"].to_numpy().mean()),
        always_same_rate=_always_same_rate(oof, horizon_sessions),
        sharpe=sharpe,
        sharpe_standard_error=error,
    )


def scores_by(
    oof: pl.DataFrame, horizon_sessions: int, by: Grouping, benchmark: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Scores of the rows of each year, or of each regime, in order of their first session.

    Args:
        oof: as for `score`, with regime_name where that is grouped by.
        horizon_sessions: sessions between forecast and outcome.
        by: `year` of data_date, or `regime_name`; rows without a name are a group of their own.
        benchmark: as for `score`.

    Returns:
        The group's year (Int64) or regime_name, and GROUP_SCHEMA; crps_vs_no_change is null without a benchmark.

    Raises:
        InputError: as `score`.
    """
    actual, quantiles = _checked(oof, horizon_sessions, *([by] if by == "regime_name" else []))
    inside = {f"coverage_{level}": pl.col("actual_return").is_between(*ends) for level, ends in INTERVALS.items()}
    reference = None if benchmark is None else pl.Series(_crps_of(benchmark, oof))
    rows = oof.with_columns(
        pl.col("data_date").dt.year().cast(pl.Int64).alias("year"),
        pl.Series("crps", crps(actual, quantiles)),
        pl.lit(reference, pl.Float64).alias("crps_no_change"),
        error=(pl.col("actual_return") - pl.col("q50")).abs(),
        move=pl.col("actual_return").abs(),
        **inside,
    )
    groups = rows.group_by(by, maintain_order=True).agg(
        pl.len().alias("n"),
        (pl.len() // horizon_sessions).alias("n_independent"),
        pl.col("crps").mean(),
        _mean_ratio("crps", "crps_no_change").alias("crps_vs_no_change"),
        _mean_ratio("error", "move").alias("mae_vs_no_change"),
        *(pl.col(name).mean() for name in inside),
    )
    return groups.select(by, *(pl.col(name).cast(dtype) for name, dtype in GROUP_SCHEMA.items()))


def _intervals(actual: Floats, oof: pl.DataFrame) -> tuple[dict[int, float], dict[int, float], dict[int, float]]:
    """Coverage, mean width and mean interval score by percentage."""
    coverage: dict[int, float] = {}
    width: dict[int, float] = {}
    winkler: dict[int, float] = {}
    for level, ends in INTERVALS.items():
        low, high = (oof[name].to_numpy() for name in ends)
        coverage[level] = float(((low <= actual) & (actual <= high)).mean())
        width[level] = float((high - low).mean())
        winkler[level] = float(interval_score(actual, low, high, level / 100).mean())
    return coverage, width, winkler


def _sharpe(gains: Floats, h: int) -> tuple[float | None, float | None]:
    """Sharpe ratio a year of holdings that overlap, and its standard error.

    Mean over standard deviation of all n holdings, times sqrt(252 / h): a year holds 252 / h of them one after the
    other. By the delta method (Lo 2002), its error is that of the mean of z - S/2 * (z^2 - 1), z the standardised gains
    and S their ratio; `standard_error` takes the overlap into account.
    """
    deviation = float(gains.std())
    if gains.size // h < 2 or deviation <= 1e-12 * float(np.abs(gains).max()):
        return None, None
    ratio = float(gains.mean()) / deviation
    z = (gains - gains.mean()) / deviation
    influence = z - ratio / 2 * (np.square(z) - 1)
    a_year = sqrt(SESSIONS_PER_YEAR / h)
    # Gains of two sizes can have no influence on their ratio to first order; then nothing is known of its error.
    known = float(np.ptp(influence)) > 1e-9
    return a_year * ratio, a_year * standard_error(influence, h) if known else None


def _always_same_rate(oof: pl.DataFrame, h: int) -> float | None:
    """Hit rate of repeating the direction of the latest outcome decided by the session of the forecast."""
    known = oof.select(pl.col("session_number") + h, pl.col("actual_return").sign().alias("before"))
    rows = oof.join_asof(known, on="session_number", strategy="backward")
    moved = rows.filter(pl.col("before").is_not_null() & (pl.col("actual_return") != 0))
    return float((moved["before"] == moved["actual_return"].sign()).to_numpy().mean()) if moved.height else None


def _crps_of(benchmark: pl.DataFrame, oof: pl.DataFrame) -> Floats:
    """Scores of a benchmark, once its rows are found to be those of `oof`."""
    _require_columns(benchmark)
    for name in ROW_COLUMNS:
        ours, theirs = oof[name], benchmark[name]
        both = min(ours.len(), theirs.len())
        differs = ours.head(both).ne_missing(theirs.head(both)).arg_true()
        if differs.len() or ours.len() != theirs.len():
            place = int(differs[0]) if differs.len() else both
            ours_there, theirs_there = (s[place] if place < s.len() else "no row" for s in (ours, theirs))
            raise InputError(
                f"the benchmark was judged on other rows: {name} is {theirs_there} and not {ours_there}",
                where=f"row {place} of {ours.len()}, the benchmark has {theirs.len()}",
                action="train both on one walk-forward split",
            )
    return crps(*_numbers(benchmark))


def _checked(oof: pl.DataFrame, horizon_sessions: int, *also: str) -> tuple[Floats, Floats]:
    """Outcomes and quantiles, once the frame is found fit to be scored; `pinball` and `metrics` check the numbers."""
    _require_columns(oof, *also)
    actual, quantiles = _numbers(oof)
    # A comparison with NaN is false: such a row is refused for what it is, and not for its order.
    crossing = np.any(quantiles[:, 1:] < quantiles[:, :-1], axis=1)
    disorder = crossing | (oof["session_number"].diff() <= 0).fill_null(value=False).to_numpy()
    if horizon_sessions < 1 or oof.is_empty() or disorder.any():
        at = f", {oof['data_date'][int(disorder.argmax())]} is out of order" if disorder.any() else ""
        raise InputError(
            "scores need rows with ascending sessions and ascending quantiles, and a horizon of at least one session",
            where=f"{oof.height} rows, horizon {horizon_sessions}{at}",
            action="score the out-of-fold rows of one training run",
        )
    return actual, quantiles


def _require_columns(oof: pl.DataFrame, *also: str) -> None:
    problems = {
        "missing columns": [c for c in (*OOF_COLUMNS, *also) if c not in oof.columns],
        "columns with missing values": [c for c in OOF_COLUMNS if c in oof.columns and oof[c].null_count()],
    }
    for problem, columns in problems.items():
        if columns:
            raise InputError(
                f"{problem}: {', '.join(columns)}",
                where="out-of-fold rows",
                action="score rows that have a forecast and an outcome",
            )


def _numbers(oof: pl.DataFrame) -> tuple[Floats, Floats]:
    table = oof.select(pl.col("actual_return", *QUANTILE_COLUMNS).cast(pl.Float64)).to_numpy()
    return table[:, 0], table[:, 1:]


def _mean_ratio(name: str, reference: str) -> pl.Expr:
    """Ratio of two means; null where the reference is zero or missing."""
    return pl.when(pl.col(reference).mean() > 0).then(pl.col(name).mean() / pl.col(reference).mean())


def _ratio(value: float, reference: float | None) -> float | None:
    return value / reference if reference else None
