"""How a family reads raw series: which rows, from which vendor, and as they were known at each decision.

Two ways. `at_decisions` takes the newest value public at each decision and rolls over sessions: for what moves daily.
`over_history` looks, at each decision, at all observations of a span as they were known then, revisions included: for
reports whose own rhythm matters. Rows that become public later change nothing in either.

Vendors are never mixed inside a window: every column is computed from each vendor's rows alone, and the first vendor
in the family's order that gives a value is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product

import polars as pl

from zl_assets.core.features.family import Inputs
from zl_assets.core.point_in_time import as_of

SIMULATED = "simulated:"
"""Stands in front of a vendor's name for a simulated market."""

SESSION_AGE = timedelta(days=7)
"""A close of another market that is older than this counts as missing."""

POUNDS_PER_TONNE = 2204.62
USD_PER_TONNE = POUNDS_PER_TONNE / 100
"""USD/t of one US cent per lb (DOMAIN section 5)."""


@dataclass(frozen=True)
class RawSeries:
    """Rows of one raw_intelligence table that make one series.

    Attributes:
        table: without the dataset.
        where: column -> value that tells its rows apart.
        max_age: an observation further back than this before a decision counts as missing.
        values: name in the expressions -> column; a daily series has one column, and the name is not used.
        sources: vendors in the order they are preferred; others come after them, by name.
    """

    table: str
    where: Mapping[str, str]
    max_age: timedelta
    values: Mapping[str, str] = field(default_factory=lambda: {"value": "value"})
    sources: tuple[str, ...] = ()


def by_source(inputs: Inputs, series: RawSeries) -> list[pl.DataFrame]:
    """The rows of a series, one frame a vendor, in the order of preference; empty where nothing is stored."""
    table = inputs.series.get(series.table)
    if table is None:
        return []
    rows = table.filter(*[pl.col(column) == value for column, value in series.where.items()])

    def rank(source: str) -> tuple[int, str]:
        name = source.removeprefix(SIMULATED)
        return (series.sources.index(name) if name in series.sources else len(series.sources), name)

    names: list[str] = rows["source"].unique().to_list()
    if len(names) <= 1:
        return [rows] if names else []
    return [rows.filter(pl.col("source") == name) for name in sorted(names, key=rank)]


def at_decisions(
    inputs: Inputs,
    wanted: Mapping[str, Sequence[RawSeries]],
    columns: Mapping[str, pl.Expr],
    beside: Sequence[pl.DataFrame] = (),
    shared: Mapping[str, pl.Expr] | None = None,
) -> pl.DataFrame:
    """Columns computed over sessions from daily series, each taken as known at every decision.

    Args:
        inputs: see `Inputs`.
        wanted: name -> the series that can stand for it, in order of preference.
        columns: name -> expression over one row per decision in which each series is a column of its name, beside
            `<name>_age`, the days since its observation.
        beside: frames of one row per decision whose columns the expressions may use.
        shared: name -> expression over the same row that `columns` may use as a column of that name. A score or a
            correlation reads its series many times over, and an expression nested in it is computed each time.

    Returns:
        One row per decision, in order: `columns`. Of every combination of vendors the first that gives a value counts.
    """
    read = [_options(inputs, name, options) for name, options in wanted.items()]
    expressions = [expression.alias(name) for name, expression in columns.items()]
    rows = [_beside([*combination, *beside]) for combination in product(*read)]
    return _first_value([row.with_columns(**(shared or {})).select(expressions) for row in rows])


def _options(inputs: Inputs, name: str, options: Sequence[RawSeries]) -> list[pl.DataFrame]:
    """One frame per series and vendor, or one of nulls where nothing is stored."""
    names = [name, f"{name}_age"]
    found = [_named(frame, names) for series in options for frame in _newest(inputs, series)]
    return found or [_nothing(inputs, names)]


def _newest(inputs: Inputs, series: RawSeries) -> list[pl.DataFrame]:
    """The newest value and its age at every decision, one frame a vendor."""
    (value,) = series.values.values()

    def read(whole: Inputs) -> list[pl.DataFrame]:
        found = [as_of(r, whole.decisions, [value], max_age=series.max_age) for r in by_source(whole, series)]
        return [_in_order(whole, frame, [value, "age_days"]) for frame in found]

    key = (series.table, *series.where.items(), value, series.max_age, series.sources)
    return inputs.read_once(key, read)


def over_history(
    inputs: Inputs,
    options: Sequence[RawSeries],
    span: timedelta,
    columns: Mapping[str, pl.Expr],
    key: Sequence[str] = (),
) -> pl.DataFrame:
    """Columns computed, at every decision, over the observations of a span as they were known then.

    Args:
        inputs: see `Inputs`.
        options: the series, in order of preference.
        span: how far back from the newest observation the history reaches.
        columns: name -> aggregation over the history, ascending by `observed_date`; `days_back` counts the days from
            each observation to the newest one.
        key: columns that tell several rows of a date and vendor apart.

    Returns:
        One row per decision, in order: `columns`. Null where the newest observation is too old.
    """
    built = [
        _known(rows, series, inputs.decisions, span, columns, key)
        for series in options
        for rows in by_source(inputs, series)
    ]
    return _first_value(built) if built else _nothing(inputs, list(columns))


def closes(inputs: Inputs, symbol: str, name: str) -> pl.DataFrame:
    """A market's close as known at every decision.

    Args:
        inputs: see `Inputs`.
        symbol: exchange root; its own sessions or another's.
        name: prefix of the columns.

    Returns:
        One row per decision, in order: `<name>` the close in the instrument's unit, `<name>_adjusted` the close without
        roll gaps, for returns alone. Suspect sessions are left out: their bar is no price of the traded market.
    """
    values = ["close", "close_roll_adjusted"]

    def read(whole: Inputs) -> list[pl.DataFrame]:
        sound = whole.sessions.filter((pl.col("symbol") == symbol) & ~pl.col("is_suspect"))
        observed = sound.rename({"trade_date": "observed_date"})
        return [_in_order(whole, as_of(observed, whole.decisions, values, max_age=SESSION_AGE), values)]

    [found] = inputs.read_once(("close", symbol), read)
    return _named(found, [name, f"{name}_adjusted"])


def finished(inputs: Inputs, names: Sequence[str], frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """A family's table: symbol, data_date and the named Float64 columns of the frames; what is not finite is null."""
    columns = _beside(frames).select(_finite(pl.col(name)).alias(name) for name in names)
    return _beside([inputs.decisions.select("symbol", "data_date"), columns])


def _named(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame([column.alias(name) for column, name in zip(frame.get_columns(), names, strict=True)])


def _beside(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The frames' columns in one frame."""
    return pl.DataFrame([column for frame in frames for column in frame.get_columns()])


def _in_order(inputs: Inputs, found: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    dates = inputs.decisions.select("data_date")
    return dates.join(found, on="data_date", how="left", maintain_order="left").select(columns)


def _nothing(inputs: Inputs, columns: Sequence[str]) -> pl.DataFrame:
    """Nulls, one row per decision."""
    return pl.DataFrame(
        {name: [None] * inputs.decisions.height for name in columns}, schema=dict.fromkeys(columns, pl.Float64)
    )


def _first_value(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Column by column and row by row, the value of the first frame that has one."""
    names = frames[0].columns
    if len(frames) == 1:
        return frames[0].select(_finite(pl.col(name)).alias(name) for name in names)
    together = _beside([_named(frame, [f"{name}:{i}" for name in names]) for i, frame in enumerate(frames)])
    return together.select(
        pl.coalesce(_finite(pl.col(f"{name}:{i}")) for i in range(len(frames))).alias(name) for name in names
    )


def _finite(column: pl.Expr) -> pl.Expr:
    """The column as Float64, null where it is not a number."""
    number = column.cast(pl.Float64)
    return pl.when(number.is_finite()).then(number)


def _known(
    rows: pl.DataFrame,
    series: RawSeries,
    decisions: pl.DataFrame,
    span: timedelta,
    columns: Mapping[str, pl.Expr],
    key: Sequence[str],
) -> pl.DataFrame:
    """The aggregates of one vendor's history at every decision.

    Decisions between two publications see the same history, so it is laid out once for each of them.
    """
    times = decisions.select("data_date", "decision_time").with_columns(
        pl.col("decision_time").cast(rows.schema["available_at"])
    )
    published = rows.select(pl.col("available_at").alias("moment")).unique().sort("moment")
    states = times.join_asof(published, left_on="decision_time", right_on="moment", check_sortedness=False)
    history = _histories(rows, series, states["moment"].drop_nulls().unique().sort(), span, key)
    found = history.group_by("moment", maintain_order=True).agg(
        pl.col("newest").first(), *[expression.alias(name) for name, expression in columns.items()]
    )
    age = pl.col("data_date") - pl.col("newest")
    return states.join(found, on="moment", how="left", maintain_order="left").select(
        pl.when(age <= series.max_age).then(pl.col(name)).alias(name) for name in columns
    )


def _histories(
    rows: pl.DataFrame, series: RawSeries, moments: pl.Series, span: timedelta, key: Sequence[str]
) -> pl.DataFrame:
    """Every observation of the span before the newest one as known at each moment, ascending by observed date."""
    of_date = ["observed_date", *key]
    ordered = rows.select(*of_date, "available_at", **series.values).sort(*of_date, "available_at")
    has_newer_version = [pl.col(column).shift(-1).eq_missing(pl.col(column)) for column in of_date]
    versions = ordered.with_columns(replaced_at=pl.when(*has_newer_version).then(pl.col("available_at").shift(-1)))
    if not moments.is_empty():
        # Nothing older than the span before what was newest at the first moment can be part of any history.
        newest = versions.filter(pl.col("available_at") <= moments[0])["observed_date"].max()
        replaced = pl.col("replaced_at") <= moments[0]
        versions = versions.filter(
            pl.col("available_at") <= moments[-1],
            pl.col("observed_date") > pl.lit(newest) - span,
            replaced.is_null() | ~replaced,
        )
    dates = versions.sort("available_at").select("available_at", newest=pl.col("observed_date").cum_max())
    states = (
        moments.alias("moment")
        .to_frame()
        .join_asof(dates, left_on="moment", right_on="available_at")
        .drop("available_at")
    )
    # A product by moment of what is sorted by date is sorted by both: groups are then slices.
    known = states.join(versions, how="cross").filter(
        pl.col("available_at") <= pl.col("moment"),
        pl.col("replaced_at").is_null() | (pl.col("replaced_at") > pl.col("moment")),
        pl.col("newest") - pl.col("observed_date") < span,
    )
    back = (pl.col("newest") - pl.col("observed_date")).dt.total_days()
    return known.with_columns(days_back=back).set_sorted("moment")
