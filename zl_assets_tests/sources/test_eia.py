"""The EIA's API, version 2, against a local server whose answers are written by us in the shape it documents."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from zl_assets.errors import MissingCredential, ServiceError
from zl_assets.sources.eia import Eia
from zl_assets_tests.sources.vendor_server import KEY, Answer, Call, FakeVendor, key, plain, says

FEEDSTOCK, SPOT = "/v2/petroleum/pnp/feedbiofuel/data/", "/v2/petroleum/pri/spt/data/"


def feedstock(period: str, product: str, value: Any, units: str = "MMLB") -> dict[str, Any]:
    return {
        "period": period,
        "duoarea": "NUS",
        "product": product,
        "product-name": "Soybean Oil",
        "process": "YIFBP",
        "series": f"M_{product}_YIFBP_NUS_MMLB",
        "value": value,
        "units": units,
    }


def spot(period: str, value: Any) -> dict[str, Any]:
    return {"period": period, "series": "EER_EPD2DXL0_PF4_Y35NY_DPG", "value": value, "units": "$/GAL"}


STORED = {
    FEEDSTOCK: [
        feedstock("2025-07", "EPOOBDSO", "1100"),
        feedstock("2025-07", "EPOOBDSOR", None),
        feedstock("2025-08", "EPOOBDSO", 1224),
    ],
    SPOT: [spot("2025-11-10", "2.391"), spot("2025-11-12", "2.405")],
}


def page(listed: list[dict[str, Any]], total: Any, call: Call | None = None) -> Answer:
    """An answer, with the request in it as the API repeats it."""
    request = {"command": "/v2", "params": dict(call.params) if call else {}}
    return says({"response": {"total": total, "frequency": "monthly", "data": listed}, "request": request})


@pytest.fixture
def source(vendor: FakeVendor, tmp_path: Path) -> Eia:
    def answer(call: Call) -> Answer:
        if call.params.get("api_key") != KEY:
            return says({"error": {"code": "API_KEY_INVALID", "message": "An invalid api_key was supplied."}}, 403)
        start, length = int(call.params["offset"]), int(call.params["length"])
        return page(STORED[call.path][start : start + length], str(len(STORED[call.path])), call)

    vendor.answering = answer
    return Eia(vendor.endpoint(tmp_path, key()), page=2)


def test_values_of_all_pages_become_rows(source: Eia, vendor: FakeVendor) -> None:
    delivery = source.fetch({}, vendor.lines.append)

    assert plain(delivery.rows["biofuel"], "item", "observed_date", "value", "unit", "vintage", "available_at") == [
        ("soybean_oil_for_biofuel", date(2025, 7, 1), 1100.0, "million lb", None, None),
        ("soybean_oil_for_biofuel", date(2025, 8, 1), 1224.0, "million lb", None, None),
        ("ulsd_spot_new_york_harbor", date(2025, 11, 10), 2.391, "USD/gal", None, None),
        ("ulsd_spot_new_york_harbor", date(2025, 11, 12), 2.405, "USD/gal", None, None),
    ]
    assert delivery.notes == {"petroleum/pnp/feedbiofuel: withheld by the vendor": 1}
    assert [(c.path, c.params["offset"]) for c in vendor.calls] == [(FEEDSTOCK, "0"), (FEEDSTOCK, "2"), (SPOT, "0")]


def test_the_nation_is_asked_for_by_product(source: Eia, vendor: FakeVendor) -> None:
    source.fetch({}, vendor.lines.append)

    feed, _, diesel = vendor.calls
    assert ("facets[duoarea][]", "NUS") in feed.pairs
    assert {v for n, v in feed.pairs if n == "facets[product][]"} >= {"EPOOBDSO", "EPOOBDSOR"}
    assert (feed.params["data[0]"], feed.params["frequency"]) == ("value", "monthly")
    assert len([n for n, _ in diesel.pairs if n == "facets[series][]"]) == 2


def test_a_revised_month_is_delivered(source: Eia, vendor: FakeVendor) -> None:
    source.fetch({}, vendor.lines.append)
    vendor.first(page([feedstock("2025-07", "EPOOBDSO", "1090")], "1"))
    table = source.fetch({"biofuel": date(2025, 11, 12)}, vendor.lines.append).rows["biofuel"]

    assert plain(table.filter(item="soybean_oil_for_biofuel"), "observed_date", "value") == [(date(2025, 7, 1), 1090.0)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data": []}, "there is no `response`"),
        ({"response": {"total": "1", "rows": []}}, "there is no `data`"),
        ({"response": {"data": []}}, "no `total`"),
        ({"response": {"total": "3", "data": []}}, "0 of 3 rows were delivered"),
        ({"response": {"total": "0", "data": []}}, "0 of 0 rows were delivered"),
        ({"response": {"total": 1, "data": [feedstock("2025-07", "EPOOBDSO", "1", "MBBL")]}}, "`units` holds 'MBBL'"),
        ({"response": {"total": 1, "data": [feedstock("2025-07", "OTHER", "1")]}}, "holds 'OTHER'"),
        ({"response": {"total": 1, "data": [feedstock("2025-07", "EPOOBDSO", "w")]}}, "`value` holds 'w'"),
        ({"response": {"total": 1, "data": [feedstock("2025-Q3", "EPOOBDSO", "1")]}}, "`period` holds '2025-Q3'"),
    ],
)
def test_a_changed_shape_names_the_field(source: Eia, vendor: FakeVendor, changed: Any, said: str) -> None:
    vendor.first(says(changed))

    with pytest.raises(ServiceError) as raised:
        source.fetch({}, vendor.lines.append)
    assert said in raised.value.what
    assert FEEDSTOCK in raised.value.where


def test_a_key_that_is_not_accepted_names_its_variable(vendor: FakeVendor, source: Eia, tmp_path: Path) -> None:
    with pytest.raises(MissingCredential, match=r"HTTP 403.*API_KEY_INVALID.*check VENDOR_API_KEY"):
        Eia(vendor.endpoint(tmp_path, key(value="wrong"))).fetch({}, vendor.lines.append)
    assert len(vendor.calls) == 1


def test_a_page_of_html_is_not_taken_for_data(source: Eia, vendor: FakeVendor) -> None:
    vendor.answering = lambda _: Answer(200, b"<html>maintenance</html>")

    with pytest.raises(ServiceError, match="unusable: it is a web page"):
        source.fetch({}, vendor.lines.append)
