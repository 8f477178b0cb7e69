"""Executive orders, tariff proclamations, and rules and notices on biofuels, soybeans and tariffs, as published.

No client library of it is kept up. https://www.federalregister.gov/developers/documentation/api/v1: `documents.json`
asks for no key and hands out 1,000 documents a page and 2,000 a query, so queries are by year. It holds no scores, so
none are delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, time, timedelta

import polars as pl

from zl_assets.sources.http import Connection, Endpoint
from zl_assets.sources.series_source import SeriesDelivery
from zl_assets.sources.vendor_json import Field, drift, member, records, rows

FIRST_DAY = date(2009, 1, 1)
REVISED = timedelta(days=30)
PAGE = 1000
PUBLISHED_AT = time(8, 45)
"""New York time by which the day's issue is out; it appears on the site at 6:00."""
TIMEZONE = "America/New_York"


@dataclass(frozen=True)
class _Query:
    """What to ask for, and the category of what it finds."""

    category: str
    conditions: Mapping[str, str]


_RULES = (("rule", "RULE"), ("proposed_rule", "PRORULE"), ("notice", "NOTICE"))
_TOPICS = (
    {"conditions[term]": '"renewable fuel standard"', "conditions[agencies][]": "environmental-protection-agency"},
    {"conditions[term]": "biodiesel"},
    {"conditions[term]": "soybean", "conditions[agencies][]": "agriculture-department"},
    {"conditions[term]": "tariff", "conditions[agencies][]": "trade-representative-office-of-united-states"},
)
"""Terms in the full text. Those that stand in unrelated documents by the thousand are asked for from one agency."""

QUERIES = (
    _Query(
        "executive_order",
        {"conditions[type][]": "PRESDOCU", "conditions[presidential_document_type][]": "executive_order"},
    ),
    _Query(
        "proclamation",
        {
            "conditions[type][]": "PRESDOCU",
            "conditions[presidential_document_type][]": "proclamation",
            "conditions[term]": "tariff",
        },
    ),
    *(_Query(name, {"conditions[type][]": code, **topic}) for name, code in _RULES for topic in _TOPICS),
)

_FIELDS = {"document_number": Field("text"), "title": Field("text"), "publication_date": Field("day")}


@dataclass(frozen=True)
class FederalRegister:
    """The Federal Register as a source of raw series."""

    endpoint: Endpoint
    queries: tuple[_Query, ...] = QUERIES
    page: int = PAGE
    name: str = "federal_register"
    tables: tuple[str, ...] = ("policy_events",)

    def state(self) -> str:
        """Whether the user asked for it; it needs no key."""
        return self.endpoint.state()

    def fetch(self, newest: Mapping[str, date], report: Callable[[str], None]) -> SeriesDelivery:
        """Documents since shortly before the newest stored one; every document where nothing is stored.

        Returns:
            policy_events, a document once however many queries find it. `available_at` is the morning of its
            publication. An executive order is known from its signing, days before: that is not in the Register.
        """
        stored = newest.get("policy_events")
        start = FIRST_DAY if stored is None else max(FIRST_DAY, stored - REVISED)
        today = self.endpoint.clock.now().date()
        with self.endpoint.open(report) as connection:
            frames = [
                _documents(connection, query, first, last, self.page)
                for query in self.queries
                for first, last in _years(start, today)
            ]
        found = pl.concat(frames).unique("event_id", keep="first", maintain_order=True)
        report(f"{len(found)} documents")
        events = rows("policy_events", found, source=self.name, where=self.endpoint.vendor)
        return SeriesDelivery({"policy_events": events})


def _years(start: date, end: date) -> list[tuple[date, date]]:
    """First and last day of each calendar year between two days, both included."""
    years = range(start.year, end.year + 1)
    return [(max(start, date(y, 1, 1)), min(end, date(y, 12, 31))) for y in years]


def _documents(connection: Connection, query: _Query, first: date, last: date, size: int) -> pl.DataFrame:
    pages: list[pl.DataFrame] = []
    delivered, count, where = 0, 1, ""
    while delivered < count:
        answer = connection.json(
            "/api/v1/documents.json",
            {
                **query.conditions,
                "conditions[publication_date][gte]": str(first),
                "conditions[publication_date][lte]": str(last),
                "fields[]": list(_FIELDS),
                "order": "oldest",
                "per_page": str(size),
                "page": str(len(pages) + 1),
            },
        )
        where = answer.where
        count = member(answer.value, int, "count", where=where)
        # Where nothing fits, the API leaves the list out.
        listed = member(answer.value, list, "results", where=where) if count else []
        page = records(listed, _FIELDS, where)
        pages.append(page.with_columns(pl.lit(answer.provenance).alias("provenance_uuid")))
        delivered += len(page)
        if page.is_empty() and delivered < count:
            raise drift(f"{delivered} of {count} documents were delivered", where)
    table = pl.concat(pages)
    published = pl.col("publication_date").dt.combine(pl.lit(PUBLISHED_AT)).dt.replace_time_zone(TIMEZONE)
    return table.select(
        pl.col("document_number").alias("event_id"),
        pl.col("publication_date").alias("observed_date"),
        pl.lit(query.category).alias("category"),
        "title",
        published.dt.convert_time_zone("UTC").alias("available_at"),
        "provenance_uuid",
    )
