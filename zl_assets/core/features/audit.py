"""What is wrong with a wide frame of features, by its values alone.

Belongs here: columns that say nothing, say the same twice, stand still for too long, or know the outcome. Whether a
value depends on the future is asked by computing it again, in `lookahead`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from math import atanh, ceil, pi, sin, sqrt, tanh
from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zl_assets.core.features.family import SESSIONS_A_WEEK, Family, Treatment
from zl_assets.core.horizons import HORIZONS

MOST_NULLS = 0.5
"""Share of nulls beyond which a column is mostly null."""

SAME_WITHIN = 1e-12
"""Two columns are one where their correlation is this close to 1 or -1."""

LEAST_COMMON_ROWS = 30
"""Fewest rows two columns must share before they are called the same."""

HONEST_HIT_RATE = 0.65
"""How often one feature alone may tell the direction, in a simulated market with a planted rule, too."""

HONEST_CORRELATION = sin(pi * (HONEST_HIT_RATE - 0.5))
"""Correlation with the outcome that no honest feature has in truth: 0.454.

Two jointly Gaussian values agree in sign with probability 1/2 + asin(r) / pi (Sheppard 1899): r is that of
HONEST_HIT_RATE.
"""

FALSE_ALARMS = 0.01
"""Probability that any of a frame's honest columns is accused by chance."""

_CANDIDATE = 1e-9
"""How close to 1 the fast correlation must be for the exact one to be computed: it is right to about 1e-11."""

Floats = NDArray[np.float64]


def flattened(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with each STRUCT in columns of its own, named struct.field."""
    parts: list[pl.Expr] = []
    for name, dtype in frame.schema.items():
        if isinstance(dtype, pl.Struct):
            parts += [pl.col(name).struct.field(f.name).alias(f"{name}.{f.name}") for f in dtype.fields]
        else:
            parts.append(pl.col(name))
    return frame.select(parts)


def feature_columns(frame: pl.DataFrame) -> list[str]:
    """Columns of a flat frame that hold numbers or Booleans."""
    return [c for c, dtype in frame.schema.items() if dtype.is_numeric() or dtype == pl.Boolean]


def constant_columns(frame: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    """Columns with one single value besides nulls; one without any value is mostly null, not constant."""
    counts = _numbers(frame, columns).select(pl.all().drop_nulls().n_unique()).row(0, named=True)
    return [c for c in columns if counts[c] == 1]


def mostly_null_columns(frame: pl.DataFrame, columns: Sequence[str], most: float = MOST_NULLS) -> pl.DataFrame:
    """Columns with a larger share of nulls (NaN among them) than `most`: feature, null_share; worst first."""
    shares = _numbers(frame, columns).select(pl.all().is_null().mean()).row(0)
    table = pl.DataFrame({"feature": list(columns), "null_share": shares}, schema_overrides={"null_share": pl.Float64})
    return table.filter(pl.col("null_share") > most).sort("null_share", "feature", descending=[True, False])


def duplicated_columns(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Columns that say what an earlier one says: equal bit for bit, or a linear function of it where both have a value.

    Equal columns are found by their bytes. For the others, the sums behind every pair's correlation come from one
    matrix product over standardised columns and one per pattern of holes; the few pairs near 1 are computed exactly.

    Args:
        frame: any rows, the same for every column.
        columns: numeric or Boolean columns; constant and empty ones are nobody's duplicate.

    Returns:
        feature, same_as (the first column it repeats), correlation (1 or -1 within SAME_WITHIN), common_rows.
    """
    values = _matrix(frame, columns)
    moving = [n for n in range(len(columns)) if _spread(values[:, n]) > 0]
    firsts: dict[bytes, int] = {}
    found: list[tuple[int, int, float, int]] = []
    for n in moving:
        first = firsts.setdefault(values[:, n].tobytes(), n)
        if first != n:
            found.append((n, first, 1.0, int(np.isfinite(values[:, n]).sum())))
    different = list(firsts.values())
    taken: set[int] = set()
    for a, b in _near_pairs(values[:, different]):
        later, first = different[b], different[a]
        correlation, common = _exact_correlation(values[:, first], values[:, later])
        if later not in taken and abs(abs(correlation) - 1) <= SAME_WITHIN:
            taken.add(later)
            found.append((later, first, correlation, common))
    rows = [(columns[n], columns[first], r, common) for n, first, r, common in sorted(found)]
    schema = {"feature": pl.String, "same_as": pl.String, "correlation": pl.Float64, "common_rows": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def held_beyond_limit(frame: pl.DataFrame, limits: Mapping[str, int]) -> pl.DataFrame:
    """Columns in which one value stands for more rows on end than its series may be carried forward.

    Zero is no value held: differences from a rate that rests, or from an extreme that is reached, come to rest there.

    Args:
        frame: data_date and the columns, of one instrument, ascending.
        limits: most rows one value may stand for, by column.

    Returns:
        feature, limit, longest_run (rows), first_date and last_date of the longest run.
    """
    columns = list(limits)
    values = _matrix(frame, columns)
    same = np.zeros(values.shape, dtype=bool)
    same[1:] = (values[1:] == values[:-1]) & (values[1:] != 0)
    row = np.arange(len(values))[:, None]
    started = np.maximum.accumulate(np.where(same, 0, row), axis=0) if len(values) else row
    runs = np.where(np.isfinite(values), row - started + 1, 0)
    dates = frame["data_date"]
    held: list[dict[str, object]] = []
    for n, column in enumerate(columns):
        last = int(runs[:, n].argmax()) if len(values) else 0
        longest = int(runs[last, n]) if len(values) else 0
        if longest > limits[column]:
            ends = {"first_date": dates[last - longest + 1], "last_date": dates[last]}
            held.append({"feature": column, "limit": limits[column], "longest_run": longest, **ends})
    schema = {"feature": pl.String, "limit": pl.Int64, "longest_run": pl.Int64}
    return pl.DataFrame(held, schema={**schema, "first_date": pl.Date, "last_date": pl.Date})


def may_stand_still(treatment: Treatment) -> bool:
    """Whether a column of this kind stands at one value for long by its nature: states, counts, ranks at their end."""
    return treatment in ("flag", "count", "band", "season", "persistence", "percentile")


def held_limits(families: Iterable[Family], columns: Collection[str]) -> dict[str, int]:
    """Sessions that one value may stand for, by column; those that may stand still are left out."""
    return {
        feature.name: ceil(family.may_stand(feature.name) / timedelta(days=7) * SESSIONS_A_WEEK)
        for family in families
        for feature in family.features
        if feature.name in columns and not may_stand_still(feature.treatment)
    }


def highest_honest_correlation(n_independent: int, comparisons: int) -> float:
    """Largest absolute correlation with an outcome that is not yet a leak.

    An honest feature correlates with the outcome by HONEST_CORRELATION at most. What is measured lies around that with
    a standard error of 1 / sqrt(n - 3) in Fisher's (1915) transformation, n being the outcomes that do not overlap:
    hundreds at a week, fifteen at a year, where a slow column correlates by chance with almost anything. The bound lies
    so far above that none of `comparisons` honest correlations exceeds it, but with probability FALSE_ALARMS.
    On three outcomes and fewer, only a copy of the outcome exceeds it.
    """
    copy = 1 - 1e-9
    if n_independent <= 3:
        return copy
    z = NormalDist().inv_cdf(1 - FALSE_ALARMS / (2 * max(comparisons, 1)))
    return min(tanh(atanh(HONEST_CORRELATION) + z / sqrt(n_independent - 3)), copy)


def target_correlated(frame: pl.DataFrame, columns: Sequence[str], targets: Mapping[str, str]) -> pl.DataFrame:
    """Columns that correlate with an outcome as no honest feature does: they know it.

    Args:
        frame: columns and targets, one row a session.
        columns: numeric or Boolean feature columns.
        targets: column of the outcome by code of the horizon.

    Returns:
        feature, horizon, pearson, spearman (ties at their mean rank), n_rows, n_independent, bound; one row for each
        pair where either exceeds `highest_honest_correlation`, strongest first. Rows where either is null do not count.
    """
    values = _matrix(frame, columns)
    patterns, pattern_of = _patterns(values)
    found: list[dict[str, object]] = []
    for code, target in targets.items():
        outcome = _matrix(frame, [target])[:, 0]
        for k, present in enumerate(patterns.T):
            rows = present & np.isfinite(outcome)
            members = np.flatnonzero(pattern_of == k)
            n_rows = int(rows.sum())
            independent = n_rows // HORIZONS[code].sessions
            if n_rows < LEAST_COMMON_ROWS:
                continue
            bound = highest_honest_correlation(independent, 2 * len(columns) * len(targets))
            block, known = values[np.ix_(rows, members)], outcome[rows, None]
            pearson, spearman = _correlations(block, known), _correlations(_ranks(block), _ranks(known))
            figures = {"horizon": code, "n_rows": n_rows, "n_independent": independent, "bound": bound}
            for m in np.flatnonzero(np.maximum(np.abs(pearson), np.abs(spearman)) > bound):
                name = {"feature": columns[members[m]], "pearson": float(pearson[m]), "spearman": float(spearman[m])}
                found.append({**name, **figures})
    order = ("feature", "horizon", "pearson", "spearman", "n_rows", "n_independent", "bound")
    types = (pl.String, pl.String, pl.Float64, pl.Float64, pl.Int64, pl.Int64, pl.Float64)
    table = pl.DataFrame(found, schema=dict(zip(order, types, strict=True)))
    strength = pl.max_horizontal(pl.col("pearson", "spearman").abs())
    return table.sort(strength, "feature", "horizon", descending=[True, False, False])


def _numbers(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The columns as Float64, NaN as null."""
    return frame.select(pl.col(list(columns)).cast(pl.Float64).fill_nan(None))


def _matrix(frame: pl.DataFrame, columns: Sequence[str]) -> Floats:
    """Shape (rows, columns), column by column in memory, nulls as one NaN and no negative zero."""
    values = np.asfortranarray(_numbers(frame, columns).fill_null(float("nan")).to_numpy(), dtype=np.float64)
    values = np.where(np.isfinite(values), values + 0.0, np.nan)
    return np.asfortranarray(values)


def _spread(column: Floats) -> float:
    present = column[np.isfinite(column)]
    return float(np.ptp(present)) if present.size else 0.0


def _patterns(values: Floats) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Distinct patterns of rows with a value, shape (rows, patterns), and the pattern of each column."""
    number: dict[bytes, int] = {}
    present = np.isfinite(values)
    of_column = np.array([number.setdefault(p.tobytes(), len(number)) for p in present.T], dtype=np.intp)
    firsts = [int(np.flatnonzero(of_column == k)[0]) for k in range(len(number))]
    return present[:, firsts], of_column


def _near_pairs(values: Floats) -> list[tuple[int, int]]:
    """Pairs (a, b), a before b, whose correlation over common rows is within _CANDIDATE of 1 or -1."""
    if values.shape[1] < 2:
        return []
    patterns, of_column = _patterns(values)
    masks = patterns.astype(np.float64)
    z = np.nan_to_num((values - np.nanmean(values, axis=0)) / np.nanstd(values, axis=0))
    common = (masks.T @ masks)[np.ix_(of_column, of_column)]
    sums = (z.T @ masks)[:, of_column]
    squares = (np.square(z).T @ masks)[:, of_column]
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = z.T @ z - sums * sums.T / common
        variance = squares - np.square(sums) / common
        correlation = covariance / np.sqrt(variance * variance.T)
    near = (np.abs(correlation) > 1 - _CANDIDATE) & (common >= LEAST_COMMON_ROWS)
    a, b = np.nonzero(np.triu(near, 1))
    return list(zip(a.tolist(), b.tolist(), strict=True))


def _exact_correlation(a: Floats, b: Floats) -> tuple[float, int]:
    """Correlation over common rows, means taken off first, and the rows; 0 where either stands still there."""
    rows = np.isfinite(a) & np.isfinite(b)
    x, y = a[rows] - a[rows].mean(), b[rows] - b[rows].mean()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return (float(x @ y) / norm if norm > 0 else 0.0), int(rows.sum())


def _correlations(block: Floats, outcome: Floats) -> Floats:
    """Correlation of each column of shape (rows, columns) with the one of shape (rows, 1); 0 where either is still."""
    x, y = block - block.mean(axis=0), outcome - outcome.mean(axis=0)
    norm = np.linalg.norm(x, axis=0) * np.linalg.norm(y)
    still = (np.ptp(block, axis=0) == 0) | (norm == 0)
    return np.where(still, 0.0, (x.T @ y)[:, 0] / np.where(still, 1.0, norm))


def _ranks(block: Floats) -> Floats:
    return pl.from_numpy(block).select(pl.all().rank("average")).to_numpy()
