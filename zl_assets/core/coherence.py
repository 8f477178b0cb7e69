"""Whether the forecasts of one session agree across horizons.

Belongs here: the comparison of each horizon with its neighbours. What is done about a contradiction is not.

The neighbours of a horizon say what they expect of it by interpolation between their quantiles, level by level, on a
straight line in the square root of time, as the spread of a random walk grows. Today, with a return of 0 for sure, is
the left neighbour of the shortest horizon. The longest has no right neighbour: the line from today through its left one
goes on. A horizon without a forecast is passed over, and those on either side of it are neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from zl_assets.core.evaluation.metrics import QUANTILE_LEVELS
from zl_assets.core.horizons import HORIZONS
from zl_assets.core.models.base import Floats
from zl_assets.errors import InputError

CONTRADICTION_SCHEMA: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "horizon": pl.String(),
    "median": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "neighbours": pl.String(),
    "excess": pl.Float64(),
}
"""One contradiction a row: the forecast's median beside both ends of the 80 % interval that the neighbours expect, as
returns. `excess` says how far it lies beyond the nearer end, in half widths of that interval."""

_LOW, _MEDIAN, _HIGH = (QUANTILE_LEVELS.index(level) for level in (0.10, 0.50, 0.90))


def contradictions(quantiles: Mapping[str, Floats]) -> pl.DataFrame:
    """Forecasts whose median lies outside the 80 % interval that their neighbours expect: rows of CONTRADICTION_SCHEMA.

    With fewer than two horizons in a row nothing can be compared, and there is no contradiction. A row reads no other.

    Args:
        quantiles: returns at QUANTILE_LEVELS by horizon code, each of shape (rows, 7), rows of one session each; NaN
            where there is no forecast. Crossing ones are put in order.

    Raises:
        InputError: an unknown horizon, or shapes that differ.
    """
    unknown = [code for code in quantiles if code not in HORIZONS]
    shapes = {values.shape for values in quantiles.values()}
    if unknown or len(shapes) > 1 or any(len(s) != 2 or s[1] != len(QUANTILE_LEVELS) for s in shapes):
        raise InputError(
            "horizons are compared by seven quantiles each, for the same rows",
            where=f"unknown horizons: {', '.join(unknown) or 'none'}, shapes: {sorted(shapes)}",
            action=f"pass arrays of shape (rows, 7) for horizons among {', '.join(HORIZONS)}",
        )
    codes = [code for code in HORIZONS if code in quantiles]
    found: list[dict[str, object]] = []
    for row in range(next(iter(shapes), (0, 7))[0]):
        forecasts = {code: np.sort(quantiles[code][row]) for code in codes}
        known = {code: values for code, values in forecasts.items() if not np.isnan(values).any()}
        found += [{"row": row, **figures} for figures in _of_one_session(known)]
    return pl.DataFrame(found, schema=CONTRADICTION_SCHEMA)


def _of_one_session(known: Mapping[str, Floats]) -> list[dict[str, object]]:
    """Contradictions among forecasts by horizon, shortest first."""
    if len(known) < 2:
        return []
    codes = list(known)
    found: list[dict[str, object]] = []
    for position, code in enumerate(codes):
        beside = codes[max(position - 1, 0) : position + 2]
        neighbours = [c for c in beside if c != code]
        expected = _expected(code, neighbours, known)
        median, low, high = known[code][_MEDIAN], expected[_LOW], expected[_HIGH]
        beyond = max(low - median, median - high)
        if beyond > 0:
            half = (high - low) / 2
            figures: dict[str, object] = {
                "horizon": code,
                "median": float(median),
                "low": float(low),
                "high": float(high),
                "neighbours": ", ".join(neighbours),
                "excess": float(beyond / half) if half > 0 else float("inf"),
            }
            found.append(figures)
    return found


def _expected(code: str, neighbours: list[str], known: Mapping[str, Floats]) -> Floats:
    """Quantiles of a horizon on the line through those of its two neighbours, or through today's and its only one's."""
    at = _root_of_time(code)
    left = (0.0, np.zeros(len(QUANTILE_LEVELS)))
    if len(neighbours) == 2:
        left = (_root_of_time(neighbours[0]), known[neighbours[0]])
    right = (_root_of_time(neighbours[-1]), known[neighbours[-1]])
    share = (at - left[0]) / (right[0] - left[0])
    return left[1] + share * (right[1] - left[1])


def _root_of_time(code: str) -> float:
    return HORIZONS[code].sessions ** 0.5
