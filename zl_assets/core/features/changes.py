"""Since when the inputs of features have changed, and which rows that can reach.

A row depends on sessions up to its day and on what was public at its decision (`lookahead` tests it). So where every
month before some month holds what it held at the last build, the rows of decisions before that month are what they
were. A month is one of UTC, and a digest tells whether it holds the same rows; two different months with one digest are
as likely as a chance of 1 in 2**64.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime
from hashlib import sha256

import polars as pl

from zl_assets.core.features.audit import flattened

_KNOWN_FROM = ("trade_date", "data_date", "available_at")
"""Columns that say from when on a row can enter a feature; of several the earliest counts."""


def digests(tables: Mapping[str, pl.DataFrame], leaving_out: Collection[str] = ()) -> dict[str, str]:
    """One digest for each calendar month in which something became known, whatever the order of the rows.

    Args:
        tables: by name, frames with at least one of `trade_date`, `data_date` (Date) and `available_at` (Datetime), all
            without a null. A row belongs to the month of the earliest of them, in UTC.
        leaving_out: columns that do not count as values.

    Returns:
        16 hexadecimal digits by month ("2024-07"), ascending; they hold for one version of Polars.
    """
    sums = [_sums(rows.drop(leaving_out, strict=False), name) for name, rows in tables.items() if not rows.is_empty()]
    if not sums:
        return {}
    together = pl.concat(sums).sort("month", "table").group_by("month", maintain_order=True)
    lines = together.agg(pl.format("{} {} {} {}", "table", "rows", "high", "low").str.join("\n").alias("text"))
    return {month: sha256(text.encode()).hexdigest()[:16] for month, text in lines.iter_rows()}


def first_changed(before: Mapping[str, str], after: Mapping[str, str]) -> date | None:
    """First day of the first month whose digest is another, or that only one of the two has; None where all agree."""
    months = [month for month in {*before, *after} if before.get(month) != after.get(month)]
    return date.fromisoformat(f"{min(months)}-01") if months else None


def first_session(decisions: pl.DataFrame, changed: date) -> int | None:
    """The session from which on decisions can see what became known on a day or after it.

    The moment of a decision counts and not its day: one made after midnight UTC, as on bars of UTC days, already sees
    what became public on the next day, which may be in the next month.

    Args:
        decisions: `session_number` and `decision_time` (Datetime, UTC), ascending.
        changed: the day, in UTC.

    Returns:
        Its session number; None where every decision lies before.
    """
    midnight = datetime(changed.year, changed.month, changed.day, tzinfo=UTC)
    first = decisions.filter(pl.col("decision_time") >= midnight)["session_number"].min()
    assert first is None or isinstance(first, int)
    return first


def _sums(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    """By month, the number of rows and the sum of their hashes.

    The halves of the hashes are added up apart, so that no sum overflows.
    """
    flat = flattened(rows)
    known = [_utc_date(pl.col(c), flat.schema[c]) for c in _KNOWN_FROM if c in flat.columns]
    months = flat.select(pl.min_horizontal(known).dt.strftime("%Y-%m").alias("month"), row=flat.hash_rows())
    return months.group_by("month").agg(
        pl.lit(name).alias("table"),
        pl.len().alias("rows"),
        (pl.col("row") // 2**32).sum().alias("high"),
        (pl.col("row") % 2**32).sum().alias("low"),
    )


def _utc_date(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return column if dtype == pl.Date else column.dt.convert_time_zone("UTC").dt.date()
