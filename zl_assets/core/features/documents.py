"""Published documents, as two families read them: which were public at a moment, and whether the feed was alive.

A count is null until the feed has been stored for the whole window, and while nothing new has come for so long that the
feed itself must be doubted: no document stored is not the same as no document published.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

MAX_SILENCE = timedelta(days=45)
"""Without a document for so long, the feed counts as broken."""

WINDOWS = (7, 30, 90)
"""Days over which documents are counted."""

TOPICS: dict[str, str] = {
    "tariff": r"(?i)\b(tariffs?|duty|duties|reciprocal|trade|imports?|section (232|301))\b",
    "china": r"(?i)\b(china|chinese|prc|xi jinping|beijing)\b",
    "biofuel": r"(?i)\b(biofuels?|biodiesel|renewable (fuel|diesel)|rfs|ethanol|rins?)\b",
}
"""Topic -> pattern of titles. A title can have several."""


def documents(table: pl.DataFrame) -> pl.DataFrame:
    """Rows of raw_intelligence.policy_events, each document once as first published, in the order of publication.

    Returns:
        The columns of the table, and is_{topic} for each of `TOPICS` and for agriculture (which the vendor scores).
    """
    first = table.sort("available_at", "event_id").unique(["event_id", "source"], keep="first", maintain_order=True)
    return first.with_columns(
        **{f"is_{topic}": pl.col("title").str.contains(pattern) for topic, pattern in TOPICS.items()},
        is_agriculture=(pl.col("agricultural_impact") > 0).fill_null(value=False),
    )


def published(events: pl.DataFrame, times: pl.Series) -> pl.Series:
    """How many documents were public at each moment."""
    moments = events["available_at"].cast(times.dtype).to_physical()
    return moments.search_sorted(times.to_physical(), side="right").cast(pl.Int64)


def in_window(times: pl.Series, events: pl.DataFrame, days: int, feed: pl.DataFrame | None = None) -> pl.Series:
    """Documents of the days before each moment; null where the feed had not been stored for so long."""
    window = timedelta(days=days)
    count = published(events, times) - published(events, times - window)
    stored = published(events if feed is None else feed, times - window) > 0
    return pl.select(pl.when(stored).then(count)).to_series()


def is_alive(times: pl.Series, events: pl.DataFrame) -> pl.Series:
    """Whether a document came lately enough to trust that the feed runs."""
    return published(events, times) > published(events, times - MAX_SILENCE)
