"""The CFTC's reports, against a local server whose answers are written by us in the shape of its Socrata API."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from zl_assets.errors import ServiceError
from zl_assets.sources.cftc import CONTRACTS, Cftc
from zl_assets_tests.sources.vendor_server import Answer, Call, FakeVendor, plain, says

LEGACY, DISAGGREGATED = "/resource/jun7-fc8e.json", "/resource/kh3c-gbw2.json"


def report(code: str, day: str, **numbers: int) -> dict[str, str]:
    """A record as Socrata sends it: numbers as text, the day with a time, empty fields left out."""
    head = {"cftc_contract_market_code": code, "report_date_as_yyyy_mm_dd": f"{day}T00:00:00.000"}
    return head | {name: str(value) for name, value in numbers.items()}


def legacy(code: str, day: str, at: int) -> dict[str, str]:
    numbers = {
        "open_interest_all": at,
        "comm_positions_long_all": at + 1,
        "comm_positions_short_all": at + 2,
        "noncomm_positions_long_all": at + 3,
        "noncomm_positions_short_all": at + 4,
    }
    return report(code, day, **numbers)


def managed(code: str, day: str, at: int) -> dict[str, str]:
    return report(
        code, day, open_interest_all=at, m_money_positions_long_all=at + 1, m_money_positions_short_all=at + 2
    )


STORED = {
    LEGACY: [
        legacy("007601", "2025-11-04", 1000),
        legacy("005602", "2025-11-04", 2000),
        legacy("007601", "2025-11-10", 3000),
    ],
    DISAGGREGATED: [managed("007601", "2025-11-04", 5000)],
}


@pytest.fixture
def source(vendor: FakeVendor, tmp_path: Path) -> Cftc:
    def answer(call: Call) -> Answer:
        start, limit = int(call.params["$offset"]), int(call.params["$limit"])
        return says(STORED[call.path][start : start + limit])

    vendor.answering = answer
    return Cftc(vendor.endpoint(tmp_path), page=2)


COLUMNS = (
    "contract_code",
    "report",
    "observed_date",
    "commodity",
    "open_interest",
    "commercial_long",
    "commercial_short",
    "noncommercial_long",
    "noncommercial_short",
    "managed_money_long",
    "managed_money_short",
)


def test_reports_of_all_pages_become_rows(source: Cftc, vendor: FakeVendor) -> None:
    table = source.fetch({}, vendor.lines.append).rows["cftc_positioning"]

    tuesday, monday = date(2025, 11, 4), date(2025, 11, 10)
    assert plain(table, *COLUMNS) == [
        ("005602", "legacy_combined", tuesday, "soybeans", 2000, 2001, 2002, 2003, 2004, None, None),
        ("007601", "disaggregated_combined", tuesday, "soybean_oil", 5000, None, None, None, None, 5001, 5002),
        ("007601", "legacy_combined", tuesday, "soybean_oil", 1000, 1001, 1002, 1003, 1004, None, None),
        ("007601", "legacy_combined", monday, "soybean_oil", 3000, 3001, 3002, 3003, 3004, None, None),
    ]
    assert set(plain(table, "source", "vintage", "available_at")) == {("cftc", None, None)}
    assert [(c.path, c.params["$offset"]) for c in vendor.calls] == [
        (LEGACY, "0"),
        (LEGACY, "2"),
        (DISAGGREGATED, "0"),
    ]


def test_every_contract_is_asked_for_in_an_order_that_pages_keep(source: Cftc, vendor: FakeVendor) -> None:
    source.fetch({}, vendor.lines.append)

    asked = vendor.calls[0].params
    assert all(f"'{code}'" in asked["$where"] for code in CONTRACTS)
    assert asked["$order"].endswith(":id")


def test_a_position_that_is_left_out_is_null(source: Cftc, vendor: FakeVendor) -> None:
    short = {k: v for k, v in legacy("005602", "2025-11-04", 1).items() if k != "comm_positions_long_all"}
    vendor.first(says([legacy("007601", "2025-11-04", 7), short]), says([]))
    table = source.fetch({}, vendor.lines.append).rows["cftc_positioning"]

    of_report = table.filter(report="legacy_combined")
    assert plain(of_report, "contract_code", "commercial_long") == [("005602", None), ("007601", 8.0)]


def test_a_corrected_report_is_delivered(source: Cftc, vendor: FakeVendor) -> None:
    source.fetch({}, vendor.lines.append)
    vendor.first(says([legacy("007601", "2025-11-04", 1500)]))
    table = source.fetch({"cftc_positioning": date(2025, 11, 10)}, vendor.lines.append).rows["cftc_positioning"]

    assert plain(table.filter(report="legacy_combined"), "open_interest") == [(1500,)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ([report("007601", "2025-11-04", open_interest=1)], "no `open_interest_all`"),
        ([{**legacy("007601", "2025-11-04", 1), "comm_positions_long_all": ["1"]}], "is a list instead of a number"),
        ([{**legacy("007601", "2025-11-04", 1), "open_interest_all": "many"}], "`open_interest_all` holds 'many'"),
        ([legacy("999999", "2025-11-04", 1)], "holds '999999', which was not asked for"),
        ({"rows": []}, "it is not a list of records"),
    ],
)
def test_a_changed_shape_names_the_field(source: Cftc, vendor: FakeVendor, changed: Any, said: str) -> None:
    vendor.first(says(changed))

    with pytest.raises(ServiceError) as raised:
        source.fetch({}, vendor.lines.append)
    assert said in raised.value.what
    assert LEGACY in raised.value.where


def test_a_column_that_is_gone_is_named_by_the_vendor(source: Cftc, vendor: FakeVendor) -> None:
    gone = {"code": "query.soql.no-such-column", "message": "No such column: comm_positions_long_all"}
    vendor.first(says(gone, 400))

    with pytest.raises(ServiceError, match=r"HTTP 400: .*No such column: comm_positions_long_all"):
        source.fetch({}, vendor.lines.append)


def test_a_page_that_breaks_off_is_asked_for_again(source: Cftc, vendor: FakeVendor) -> None:
    vendor.first(Answer(200, b'[{"cftc_contract_market_code": "0076', cut=20))

    assert len(source.fetch({}, vendor.lines.append).rows["cftc_positioning"]) == 4
    assert vendor.waits == [2.0]
