"""When no forecast is made: old data, missing features, or a market unlike any the model has learnt from.

Belongs here: the three reasons and the range of what was learnt. What is published instead of a forecast is not.
"""

# SciPy carries no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from zl_assets.core.exchange_calendar import sessions_between
from zl_assets.core.instruments import Market
from zl_assets.core.models.base import Floats, matrix, require_columns
from zl_assets.errors import InputError

RANGE_FILE = "applicability.json"

OLDEST_SESSIONS = 5
"""Sessions that may have passed since the newest row: a week."""

KEPT_SHARE = 0.99
"""Share of the training rows that are not outliers among themselves."""

_BLOCK_ROWS = 512
_RETRAIN = "train this horizon again"


@dataclass(frozen=True, eq=False)
class ApplicabilityRange:
    """Which feature rows are like those a model has learnt from: the area of applicability (Meyer and Pebesma 2021).

    The dissimilarity of a row is its distance to the nearest training row over the mean distance between training rows,
    in columns divided by their standard deviation and multiplied by their importance. Beyond the threshold, the largest
    dissimilarity among the training rows themselves once outliers are removed, the errors measured out of fold say
    nothing about the forecast. The neighbours of a training row lie at least h sessions away, as the newest labelled
    row does from a forecast.

    Outliers are the KEPT_SHARE's remainder. The article's rule, the upper quartile plus 1.5 interquartile ranges, takes
    one in twenty training rows for outliers, since distances in columns of heavy tails are skewed; with yearly refits
    it would refuse one forecast in four since 2016.

    Attributes:
        columns: compared, without those that do not vary in the training rows.
        centre: their means, shape (columns,).
        stretch: importance over standard deviation, shape (columns,).
        points: training rows after both, shape (rows, columns); rows with a missing value are not among them.
        mean_distance: between two of them.
        threshold: dissimilarity above which a row is outside.
        horizon_sessions: h.
    """

    columns: tuple[str, ...]
    centre: Floats
    stretch: Floats
    points: Floats
    mean_distance: float
    threshold: float
    horizon_sessions: int

    @classmethod
    def fit(
        cls,
        frame: pl.DataFrame,
        columns: Sequence[str],
        horizon_sessions: int,
        importance: Mapping[str, float] | None = None,
    ) -> Self:
        """Learn the range from training rows; nothing else is read.

        Args:
            frame: training rows in order, with session_number.
            columns: the features; one that is constant takes no part, as the models drop it.
            horizon_sessions: h.
            importance: of each column, not negative, in any unit; all alike if None.

        Raises:
            InputError: a column or its importance is missing, no column varies or matters, sessions do not ascend, or
                no complete row has another one h sessions away.
        """
        require_columns(frame, ("session_number", *columns), "rows of the applicability range")
        values = matrix(frame, columns)
        complete = np.isfinite(values).all(axis=1)
        values, sessions = values[complete], frame["session_number"].cast(pl.Int64).to_numpy()[complete]
        weight = _importance(columns, importance)
        _require_reach(sessions, horizon_sessions)
        varies = (values.max(axis=0) > values.min(axis=0)) & (weight > 0)
        if not varies.any():
            raise _unusable("no column varies and matters", f"{len(columns)} columns, {len(values)} complete rows")
        values = values[:, varies]
        centre, stretch = values.mean(axis=0), weight[varies] / values.std(axis=0, ddof=1)
        points = (values - centre) * stretch
        total, nearest = _among_themselves(points, sessions, horizon_sessions)
        mean_distance = total / (len(points) * (len(points) - 1))
        used = tuple(c for c, kept in zip(columns, varies.tolist(), strict=True) if kept)
        threshold = float(np.quantile(nearest[np.isfinite(nearest)], KEPT_SHARE)) / mean_distance
        return cls(used, centre, stretch, points, mean_distance, threshold, horizon_sessions)

    def index(self, frame: pl.DataFrame) -> Floats:
        """Dissimilarity of each row, shape (rows,); NaN where a value is missing or not finite.

        Raises:
            InputError: a column is missing by name.
        """
        found, _ = self._nearest(frame)
        return found

    def farthest(self, frame: pl.DataFrame) -> list[str | None]:
        """Column in which each row lies farthest from its nearest training row; None where the index is NaN.

        Raises:
            InputError: a column is missing by name.
        """
        index, apart = self._nearest(frame)
        return [
            None if np.isnan(value) else self.columns[int(np.argmax(moves))]
            for value, moves in zip(index.tolist(), apart, strict=True)
        ]

    def save(self, directory: Path) -> None:
        """Write applicability.json into an existing directory.

        Raises:
            OSError: the file cannot be written.
        """
        held = {
            "columns": self.columns,
            "centre": self.centre.tolist(),
            "stretch": self.stretch.tolist(),
            "points": self.points.tolist(),
            "mean_distance": self.mean_distance,
            "threshold": self.threshold,
            "horizon_sessions": self.horizon_sessions,
        }
        (directory / RANGE_FILE).write_text(json.dumps(held, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read a range that `save` wrote; it gives the same indices.

        Raises:
            InputError: the file is missing or damaged.
        """
        path = directory / RANGE_FILE
        try:
            return cls._of(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"the applicability range cannot be read: {error}", where=str(path), action=_RETRAIN
            ) from error

    @classmethod
    def _of(cls, held: dict[str, Any]) -> Self:
        columns = tuple(str(c) for c in held["columns"])
        centre, stretch, points = (np.array(held[name], dtype=np.float64) for name in ("centre", "stretch", "points"))
        fits = centre.shape == stretch.shape == (len(columns),) and points.shape == (len(points), len(columns))
        numbers = (float(held["mean_distance"]), float(held["threshold"]))
        if not fits or not len(points) or not all(np.isfinite(v).all() for v in (centre, stretch, points, numbers)):
            raise ValueError("its parts do not fit together")
        return cls(columns, centre, stretch, points, *numbers, int(held["horizon_sessions"]))

    def _nearest(self, frame: pl.DataFrame) -> tuple[Floats, Floats]:
        """Index of each row, and how far it is from its nearest training row by column, shape (rows, columns)."""
        from scipy.spatial import KDTree

        require_columns(frame, self.columns, "rows to forecast")
        asked = (matrix(frame, self.columns) - self.centre) * self.stretch
        known = np.isfinite(asked).all(axis=1)
        index, apart = np.full(len(asked), np.nan), np.full(asked.shape, np.nan)
        if known.any():
            distance, position = KDTree(self.points).query(asked[known])
            index[known] = distance / self.mean_distance
            apart[known] = np.abs(asked[known] - self.points[position])
        return index, apart


def refusal(
    frame: pl.DataFrame,
    *,
    as_of: date,
    columns: Sequence[str],
    applicability: ApplicabilityRange | None,
    oldest_sessions: int = OLDEST_SESSIONS,
    market: Market = "grains",
) -> str | None:
    """Why the last row of a frame is not forecast, in one line, or None where it is.

    The reasons in this order: the row is too old, or later than the day asked about; a feature is missing, null or not
    finite; the row is unlike the training rows. Age comes first, since with old data nothing else matters.

    Args:
        frame: rows in order, with data_date.
        as_of: day the forecast is made; every session up to and including it counts as passed.
        columns: features that must be there, beside those of the range.
        applicability: range of the model's training rows; None leaves this reason out, as for a model of no features.
        oldest_sessions: sessions that may have passed since the row.
        market: whose sessions count.

    Raises:
        InputError: no row, or no data_date.
        ValueError: a day outside the exchange calendar.
    """
    require_columns(frame, ("data_date",), "rows to forecast")
    if frame.is_empty():
        raise InputError("no row to forecast from", where="refusal", action="load vendor bars first")
    row = frame.tail(1)
    day: date = row["data_date"][0]
    if day > as_of:
        return f"refused: newest session {day} lies after {as_of}"
    age = sessions_between(market, day, as_of)
    if age > oldest_sessions:
        return f"refused: newest session {day} is {age} sessions old (limit {oldest_sessions})"
    needed = dict.fromkeys((*columns, *(applicability.columns if applicability else ())))
    missing = [c for c in needed if c not in row.columns or not np.isfinite(matrix(row, [c])).all()]
    if missing:
        return f"refused: missing features: {', '.join(missing)}"
    return _unlike(row, applicability) if applicability is not None else None


def _unlike(row: pl.DataFrame, applicability: ApplicabilityRange) -> str | None:
    index, threshold = float(applicability.index(row)[0]), applicability.threshold
    if index <= threshold:
        return None
    return (
        f"refused: features outside the training range: dissimilarity {index:.2g} above {threshold:.2g}, "
        f"farthest: {applicability.farthest(row)[0]}"
    )


def _among_themselves(points: Floats, sessions: NDArray[np.int64], horizon_sessions: int) -> tuple[float, Floats]:
    """Sum of all distances, and each row's to the nearest at least h sessions away, infinite where there is none."""
    from scipy.spatial.distance import cdist

    total, nearest = 0.0, np.full(len(points), np.inf)
    for rows in _blocks(len(points)):
        distances = cdist(points[rows], points)
        total += float(distances.sum())
        near_in_time = np.abs(sessions[rows, None] - sessions[None, :]) < horizon_sessions
        nearest[rows] = np.where(near_in_time, np.inf, distances).min(axis=1)
    return total, nearest


def _blocks(n: int) -> Iterator[slice]:
    """Rows a few hundred at a time, so that memory grows with the rows and not with their square."""
    return (slice(first, first + _BLOCK_ROWS) for first in range(0, n, _BLOCK_ROWS))


def _importance(columns: Sequence[str], importance: Mapping[str, float] | None) -> Floats:
    if importance is None:
        return np.ones(len(columns))
    missing = [c for c in columns if c not in importance]
    weights = np.array([importance.get(c, np.nan) for c in columns], dtype=np.float64)
    if missing or not (np.isfinite(weights) & (weights >= 0)).all():
        raise _unusable("every column needs an importance that is not negative", f"without one: {', '.join(missing)}")
    return weights


def _require_reach(sessions: NDArray[np.int64], horizon_sessions: int) -> None:
    if not (np.diff(sessions) > 0).all() or sessions.size < 2 or sessions[-1] - sessions[0] < horizon_sessions:
        raise _unusable(
            f"complete rows in order are needed, two of them {horizon_sessions} sessions apart",
            f"{sessions.size} complete rows",
        )


def _unusable(what: str, where: str) -> InputError:
    return InputError(what, where=f"applicability range, {where}", action="fit it on the model's training rows")
