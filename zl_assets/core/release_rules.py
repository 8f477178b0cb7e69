"""When the public could know a value: the moments that the table of `releases` gives.

What a vendor says about its own publication stands before any rule.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import cache

import polars as pl

from zl_assets.core.releases import DELAYS, EXTRA_CLOSURES, RELEASES, Release

NEW_YORK = "America/New_York"

UNKNOWN_PUBLICATION = "publication_date_unknown"
"""Reason for rejecting a row that has no moment: nobody says when it became public."""

_MOMENT = pl.Datetime("us", "UTC")
_FIRST_YEAR, _LAST_YEAR = 1940, 2040


@cache
def federal_closures() -> pl.Series:
    """Federal holidays as observed, and the days closed by order: Date, ascending, from 1940 to 2040."""
    from pandas.tseries.holiday import USFederalHolidayCalendar  # pyright: ignore[reportMissingTypeStubs]

    found: list[datetime] = list(USFederalHolidayCalendar().holidays(f"{_FIRST_YEAR}-01-01", f"{_LAST_YEAR}-12-31"))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    days: set[date] = {stamp.date() for stamp in found} | set(EXTRA_CLOSURES)
    return pl.Series("closed", sorted(days), dtype=pl.Date)


def with_available_at(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with `available_at` filled in where it is null.

    Args:
        table: raw_intelligence table without the dataset.
        frame: rows of it: `observed_date`, the columns its rules look at, and `available_at` (Datetime, UTC), null
            where the vendor does not say when a value was published.

    Returns:
        The same rows in the same order. What still lacks a moment has no known date of publication.

    Raises:
        ValueError: no rule speaks of the table.
    """
    rules = [rule for rule in RELEASES if rule.table == table]
    if not rules:
        raise ValueError(f"no release rule for the table {table}")
    day, at = pl.lit(None, pl.Date), pl.lit(None, pl.Time)
    for rule in reversed(rules):
        fits = _fits(rule.where)
        day = pl.when(fits).then(_day(rule)).otherwise(day)
        at = pl.when(fits).then(pl.lit(rule.at)).otherwise(at)
    late = [
        pl.when(_fits(d.where) & pl.col("observed_date").is_between(d.first, d.last)).then(pl.lit(d.released))
        for d in DELAYS
        if d.table == table
    ]
    known = pl.max_horizontal(day, *late).dt.combine(at).dt.replace_time_zone(NEW_YORK).dt.convert_time_zone("UTC")
    return frame.with_columns(pl.coalesce("available_at", known.cast(_MOMENT)).alias("available_at"))


def published_ahead(table: str) -> pl.Expr:
    """Whether a row may be public before the date it is about."""
    rules = [rule for rule in RELEASES if rule.table == table and rule.ahead]
    return pl.any_horizontal([pl.lit(value=False), *(_fits(rule.where) for rule in rules)])


def _fits(where: tuple[tuple[str, str], ...]) -> pl.Expr:
    """Whether every column matches its pattern; no pattern fits every row."""
    unmarked = {c: pl.col(c).cast(pl.String).str.strip_prefix("simulated:") for c, _ in where}
    return pl.all_horizontal([pl.lit(value=True), *(unmarked[c].str.contains(f"^(?:{p})$") for c, p in where)])


def _day(rule: Release) -> pl.Expr:
    """New York day of a release by its rule; null where a year has none."""
    observed = pl.col("observed_date")
    if rule.by_year:
        years = observed.dt.year()
        return years.replace_strict(dict(rule.by_year), default=None, return_dtype=pl.Date)
    start = observed if rule.months is None else observed.dt.truncate("1mo").dt.offset_by(f"{rule.months}mo")
    day = start.dt.offset_by(f"{rule.days}d")
    if rule.weekday is not None:
        day = day + pl.duration(days=(rule.weekday - day.dt.weekday().cast(pl.Int64)) % 7)
    if rule.business_days is None:
        return day
    return day.dt.add_business_days(rule.business_days, holidays=pl.lit(federal_closures().implode()), roll="forward")


def public_by(table: str, frame: pl.DataFrame, now: datetime) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Rows with a moment that has come, rows whose publication is unknown, and how many are not public yet.

    Args:
        table: raw_intelligence table without the dataset.
        frame: as in `with_available_at`.
        now: the present (UTC).

    Returns:
        The public rows; the rows without a moment; the number of rows left alone, which come again once they are
        public. A rule may be later than the real release: live and past rows wait alike.
    """
    filled = with_available_at(table, frame)
    known = filled.filter(pl.col("available_at").is_not_null())
    public = known.filter(pl.col("available_at") <= now)
    return public, filled.filter(pl.col("available_at").is_null()), known.height - public.height
