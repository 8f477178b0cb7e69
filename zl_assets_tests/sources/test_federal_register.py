"""The Federal Register, against a local server whose answers are written by us in the shape it documents."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from zl_assets.errors import ServiceError
from zl_assets.sources.federal_register import QUERIES, FederalRegister
from zl_assets_tests.sources.vendor_server import Answer, Call, FakeVendor, plain, says


def document(number: str, day: str, title: str = "A title") -> dict[str, str]:
    return {"document_number": number, "title": title, "publication_date": day}


ORDERS = [
    document("2024-00001", "2024-12-30"),
    document("2025-06462", "2025-04-07", "Regulating Imports With a Reciprocal Tariff"),
    document("2025-06463", "2025-04-08"),
    document("2025-20001", "2025-11-07"),
]
NOTICES = [document("2025-30001", "2025-07-01", "Renewable Fuel Standards"), document("2025-06463", "2025-04-08")]


@pytest.fixture
def source(vendor: FakeVendor, tmp_path: Path) -> FederalRegister:
    def answer(call: Call) -> Answer:
        p = call.params
        assert call.path == "/api/v1/documents.json"
        stored = ORDERS if p["conditions[type][]"] == "PRESDOCU" else NOTICES
        first, last = p["conditions[publication_date][gte]"], p["conditions[publication_date][lte]"]
        fits = [d for d in stored if first <= d["publication_date"] <= last]
        if not fits:
            return says({"count": 0, "description": "Documents published"})
        size, number = int(p["per_page"]), int(p["page"])
        listed = fits[(number - 1) * size : number * size]
        return says({"count": len(fits), "total_pages": -(-len(fits) // size), "results": listed})

    vendor.answering = answer
    orders, biodiesel = QUERIES[0], next(q for q in QUERIES if q.category == "notice")
    return FederalRegister(vendor.endpoint(tmp_path), queries=(orders, biodiesel), page=2)


STORED = {"policy_events": date(2025, 1, 20)}


def test_documents_of_all_pages_and_years_become_rows_once(source: FederalRegister, vendor: FakeVendor) -> None:
    table = source.fetch(STORED, vendor.lines.append).rows["policy_events"]

    columns = ("event_id", "observed_date", "category", "title", "available_at")
    assert plain(table, *columns) == [
        ("2024-00001", date(2024, 12, 30), "executive_order", "A title", datetime(2024, 12, 30, 13, 45, tzinfo=UTC)),
        (
            "2025-06462",
            date(2025, 4, 7),
            "executive_order",
            "Regulating Imports With a Reciprocal Tariff",
            datetime(2025, 4, 7, 12, 45, tzinfo=UTC),
        ),
        ("2025-06463", date(2025, 4, 8), "executive_order", "A title", datetime(2025, 4, 8, 12, 45, tzinfo=UTC)),
        ("2025-20001", date(2025, 11, 7), "executive_order", "A title", datetime(2025, 11, 7, 13, 45, tzinfo=UTC)),
        (
            "2025-30001",
            date(2025, 7, 1),
            "notice",
            "Renewable Fuel Standards",
            datetime(2025, 7, 1, 12, 45, tzinfo=UTC),
        ),
    ]
    asked = [(c.params["conditions[publication_date][gte]"], c.params["page"]) for c in vendor.calls]
    assert asked == [
        *[("2024-12-21", "1"), ("2025-01-01", "1"), ("2025-01-01", "2")],
        *[("2024-12-21", "1"), ("2025-01-01", "1")],
    ]


def test_no_score_is_made_up(source: FederalRegister, vendor: FakeVendor) -> None:
    table = source.fetch(STORED, vendor.lines.append).rows["policy_events"]

    assert set(plain(table, "agricultural_impact", "soybean_relevance", "priority")) == {(None, None, None)}


def test_the_queries_cover_orders_rules_and_notices_on_the_subject() -> None:
    assert {q.category for q in QUERIES} == {"executive_order", "proclamation", "rule", "proposed_rule", "notice"}
    terms = {q.conditions.get("conditions[term]", "") for q in QUERIES}
    assert {"biodiesel", "soybean", "tariff", '"renewable fuel standard"'} <= terms
    assert [q for q in QUERIES if q.category == "executive_order" and "conditions[term]" in q.conditions] == []


def test_a_changed_title_is_delivered(source: FederalRegister, vendor: FakeVendor) -> None:
    before = source.fetch(STORED, vendor.lines.append).rows["policy_events"]
    vendor.first(says({"count": 1, "results": [document("2024-00001", "2024-12-30", "Corrected")]}))
    after = source.fetch(STORED, vendor.lines.append).rows["policy_events"]

    assert (before["title"][0], after["title"][0]) == ("A title", "Corrected")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"results": []}, "there is no `count`"),
        ({"count": 1}, "there is no `results`"),
        ({"count": 3, "results": []}, "0 of 3 documents were delivered"),
        ({"count": 1, "results": [{"number": "1"}]}, "no `document_number`"),
        ({"count": 1, "results": [document("1", "April 7")]}, "`publication_date` holds 'April 7'"),
        ({"count": 1, "results": [{**document("1", "2025-04-07"), "title": 3}]}, "`title` is a int"),
    ],
)
def test_a_changed_shape_names_the_field(source: FederalRegister, vendor: FakeVendor, changed: Any, said: str) -> None:
    vendor.first(says(changed))

    with pytest.raises(ServiceError) as raised:
        source.fetch(STORED, vendor.lines.append)
    assert said in raised.value.what
    assert "/api/v1/documents.json" in raised.value.where


def test_an_unknown_condition_is_named_by_the_vendor(source: FederalRegister, vendor: FakeVendor) -> None:
    vendor.first(says({"errors": {"conditions": "presidential_document_type is not valid"}}, 400))

    with pytest.raises(ServiceError, match=r"HTTP 400: .*presidential_document_type is not valid"):
        source.fetch(STORED, vendor.lines.append)
