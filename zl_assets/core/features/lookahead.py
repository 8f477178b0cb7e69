"""Whether a feature looks ahead: it is computed again without the future and compared.

Two futures are taken away in turn: what is about later days (`observed_date`, `trade_date`), and what the public did
not yet know (`available_at`). A value that changes by that has used it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Literal, get_args

import numpy as np
import polars as pl

from zl_assets.core.features.audit import flattened
from zl_assets.core.features.family import Inputs
from zl_assets.core.release_rules import published_ahead
from zl_assets.errors import InputError

Axis = Literal["observed", "available"]
AXES: tuple[Axis, ...] = get_args(Axis)

Build = Callable[[Inputs], pl.DataFrame]
"""From inputs to symbol, data_date and columns, one row per decision."""

BuildSince = Callable[[Inputs, int], pl.DataFrame]
"""From inputs and a session number to symbol, data_date and columns, one row per decision from that session on."""

FOUND_SCHEMA: dict[str, pl.DataType] = {
    "feature": pl.String(),
    "axis": pl.String(),
    "moment": pl.Date(),
    "data_date": pl.Date(),
    "with_future": pl.String(),
    "without_future": pl.String(),
}
_KEYS = ("symbol", "data_date")


def random_moments(inputs: Inputs, count: int, seed: int) -> list[date]:
    """Days of distinct random decisions, ascending; every decision where there are no more."""
    days = inputs.decisions["data_date"]
    chosen = np.random.default_rng(seed).choice(len(days), min(count, len(days)), replace=False)
    return [days[int(n)] for n in np.sort(chosen)]


def moments_of_a_week(inputs: Inputs, seed: int) -> list[date]:
    """A random decision of each weekday, ascending: a leak that shows on some days of the week alone has its day."""
    days = inputs.decisions["data_date"]
    chosen = np.random.default_rng(seed).permutation(len(days))
    found: dict[int, date] = {}
    for day in (days[int(n)] for n in chosen):
        found.setdefault(day.weekday(), day)
    return sorted(found.values())


def without_future(inputs: Inputs, moment: date, axis: Axis) -> Inputs:
    """What there was at one decision. A series without a row by then stays as an empty one.

    Rows that may be public before the day they are about (`published_ahead`), such as volumes laid down for next year,
    are left whole by `observed`.

    Args:
        inputs: everything.
        moment: day of the decision; later ones are gone.
        axis: which future to take away.

    Raises:
        InputError: no decision on that day.
    """
    decisions = inputs.decisions.filter(pl.col("data_date") <= moment)
    if decisions.is_empty() or decisions["data_date"][-1] != moment:
        raise InputError(
            "no decision on this day", where=str(moment), action="choose moments among the days of the decisions"
        )
    known = pl.col("available_at") <= decisions["decision_time"][-1]
    if axis == "available":
        series = {name: rows.filter(known) for name, rows in inputs.series.items()}
        return replace(inputs, decisions=decisions, sessions=inputs.sessions.filter(known), series=series)
    past = pl.col("observed_date") <= moment
    series = {name: rows.filter(past | published_ahead(name)) for name, rows in inputs.series.items()}
    sessions = inputs.sessions.filter(pl.col("trade_date") <= moment)
    return replace(inputs, decisions=decisions, sessions=sessions, series=series)


def lookahead_columns(build: Build, inputs: Inputs, moments: Sequence[date]) -> pl.DataFrame:
    """Columns that use the future, by computing them again without it at some moments.

    Rows up to a moment must be the same bit for bit, in value and in being null. A leak that reaches a few days shows
    only at moments within its reach, so several random ones are needed.

    Args:
        build: computes the columns; called once on everything and twice a moment.
        inputs: what it reads.
        moments: days of decisions, see `random_moments`.

    Returns:
        Rows of FOUND_SCHEMA: for each column and axis the earliest moment that shows it, the first day that differs,
        and both values as text (null where there is none).
    """
    whole = flattened(build(inputs))
    found: dict[tuple[str, str], dict[str, object]] = {}
    for moment in sorted(moments):
        for axis in AXES:
            again = flattened(build(without_future(inputs, moment, axis)))
            for row in _differences(whole.filter(pl.col("data_date") <= moment), again):
                found.setdefault((str(row["feature"]), axis), {**row, "axis": axis, "moment": moment})
    return pl.DataFrame(list(found.values()), schema=FOUND_SCHEMA).sort("feature", "axis")


def differs_from_stored(
    stored: pl.DataFrame, build: BuildSince, inputs: Inputs, moments: Sequence[date], sessions: int
) -> pl.DataFrame:
    """Columns whose stored values are not what they would have been at some moments, both futures taken away at once.

    Cheaper than `lookahead_columns`: the last rows before each moment alone are computed again, once.

    Args:
        stored: symbol, data_date and columns as they are stored.
        build: computes the columns; called once a moment.
        inputs: what it reads.
        moments: days of decisions, see `random_moments`.
        sessions: how many before each moment are compared, the moment's own among them.

    Returns:
        Rows of FOUND_SCHEMA, one a column, by its earliest moment; axis is "both".
    """
    whole = flattened(stored)
    found: dict[str, dict[str, object]] = {}
    for moment in sorted(moments):
        past = without_future(without_future(inputs, moment, "observed"), moment, "available")
        wanted = past.decisions.tail(sessions)
        again = flattened(build(past, int(wanted["session_number"][0])))
        rows = whole.filter(pl.col("data_date").is_between(wanted["data_date"][0], moment))
        for row in _differences(rows, again):
            found.setdefault(str(row["feature"]), {**row, "axis": "both", "moment": moment})
    return pl.DataFrame(list(found.values()), schema=FOUND_SCHEMA).sort("feature")


def _differences(whole: pl.DataFrame, again: pl.DataFrame) -> list[dict[str, object]]:
    """The first differing row of each column. A row that only one of them has differs in each value it has."""
    columns = [c for c in whole.columns if c not in _KEYS]
    absent = [c for c in columns if c not in again.columns]
    other = again.with_columns(pl.lit(None).cast(whole.schema[c]).alias(c) for c in absent)
    both = whole.join(other, on=_KEYS, how="full", coalesce=True, suffix=" again").sort(_KEYS)
    differs = both.select(pl.col(c).ne_missing(pl.col(f"{c} again")).alias(c) for c in columns)
    firsts = differs.select(pl.all().arg_max()).row(0) if both.height else ()
    anywhere = differs.select(pl.all().any()).row(0) if both.height else ()
    return [
        {
            "feature": c,
            "data_date": both["data_date"][first],
            "with_future": _text(both[c][first]),
            "without_future": _text(both[f"{c} again"][first]),
        }
        for c, first, any_row in zip(columns, firsts, anywhere, strict=True)
        if any_row
    ]


def _text(value: object) -> str | None:
    return None if value is None else str(value)
