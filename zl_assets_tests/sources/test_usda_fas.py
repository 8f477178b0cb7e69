"""The USDA's export sales, against a local server whose answers are written by us in the shape of its ESR data."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from zl_assets.errors import MissingCredential, ServiceError
from zl_assets.sources.usda_fas import UsdaFas
from zl_assets_tests.sources.vendor_server import KEY, Answer, Call, FakeVendor, key, plain, says

COUNTRIES = [
    {"countryCode": 5700, "countryName": "CHINA     ", "countryDescription": "CHINA, PEOPLES REPUBLIC OF"},
    {"countryCode": 2010, "countryName": "MEXICO    ", "countryDescription": "MEXICO"},
]
COMMODITIES = [
    {"commodityCode": 801, "commodityName": "Soybeans", "unitId": 1},
    {"commodityCode": 901, "commodityName": "Soybean cake & meal", "unitId": 1},
    {"commodityCode": 902, "commodityName": "Soybean Oil", "unitId": 1},
]
STORED_YEAR = {"usda_export_sales": date(2025, 11, 6)}


def sale(code: int, country: int, week: str, net: float, shipped: float, outstanding: float) -> dict[str, Any]:
    return {
        "commodityCode": code,
        "countryCode": country,
        "weeklyExports": shipped,
        "accumulatedExports": 10 * shipped,
        "outstandingSales": outstanding,
        "grossNewSales": net + 5,
        "currentMYNetSales": net,
        "currentMYTotalCommitment": 10 * shipped + outstanding,
        "nextMYOutstandingSales": 3,
        "nextMYNetSales": 1,
        "unitId": 1,
        "weekEndingDate": f"{week}T00:00:00",
    }


SALES = {
    (801, 2026): [
        sale(801, 5700, "2025-11-06", 120_000, 40_000, 900_000),
        sale(801, 2010, "2025-11-06", -20_000, 10_000, 300_000),
        sale(801, 5700, "2025-11-13", 50_000, 30_000, 920_000),
    ],
    (801, 2025): [sale(801, 2010, "2025-08-28", 5, 6, 7)],
    (902, 2026): [sale(902, 2010, "2025-11-06", 800, 300, 4000)],
}


@pytest.fixture
def source(vendor: FakeVendor, tmp_path: Path) -> UsdaFas:
    def answer(call: Call) -> Answer:
        if call.headers.get("x-api-key") != KEY:
            return says({"error": {"code": "API_KEY_INVALID"}}, 403)
        if call.path == "/api/esr/countries":
            return says(COUNTRIES)
        if call.path == "/api/esr/commodities":
            return says(COMMODITIES)
        parts = call.path.split("/")
        return says(SALES.get((int(parts[5]), int(parts[8])), []))

    vendor.answering = answer
    return UsdaFas(vendor.endpoint(tmp_path, key("header", "X-Api-Key")))


def sales_asked(vendor: FakeVendor) -> list[tuple[int, int]]:
    paths = [c.path.split("/") for c in vendor.calls if "/exports/" in c.path]
    return [(int(p[5]), int(p[8])) for p in paths]


COLUMNS = (
    "commodity",
    "country",
    "observed_date",
    "marketing_year",
    "net_sales_t",
    "exports_t",
    "outstanding_t",
    "available_at",
)


def test_sales_become_rows_with_their_totals(source: UsdaFas, vendor: FakeVendor) -> None:
    table = source.fetch(STORED_YEAR, vendor.lines.append).rows["usda_export_sales"]

    first, second, old = date(2025, 11, 6), date(2025, 11, 13), date(2025, 8, 28)
    assert plain(table, *COLUMNS) == [
        ("soybean_oil", "ALL", first, 2025, 800, 300, 4000, None),
        ("soybean_oil", "MEXICO", first, 2025, 800, 300, 4000, None),
        ("soybeans", "ALL", old, 2024, 5, 6, 7, None),
        ("soybeans", "ALL", first, 2025, 100_000, 50_000, 1_200_000, None),
        ("soybeans", "ALL", second, 2025, 50_000, 30_000, 920_000, None),
        ("soybeans", "CHINA", first, 2025, 120_000, 40_000, 900_000, None),
        ("soybeans", "CHINA", second, 2025, 50_000, 30_000, 920_000, None),
        ("soybeans", "MEXICO", old, 2024, 5, 6, 7, None),
        ("soybeans", "MEXICO", first, 2025, -20_000, 10_000, 300_000, None),
    ]


def test_the_years_that_may_have_changed_are_asked_for(source: UsdaFas, vendor: FakeVendor) -> None:
    source.fetch(STORED_YEAR, vendor.lines.append)
    assert sales_asked(vendor) == [(801, 2025), (801, 2026), (901, 2025), (901, 2026), (902, 2025), (902, 2026)]

    vendor.calls.clear()
    source.fetch({}, vendor.lines.append)
    assert sales_asked(vendor) == [(code, year) for code in (801, 901, 902) for year in range(2006, 2027)]


def test_a_corrected_week_is_delivered(source: UsdaFas, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    source.fetch(STORED_YEAR, vendor.lines.append)
    monkeypatch.setitem(SALES, (902, 2026), [sale(902, 2010, "2025-11-06", 750, 300, 4000)])
    table = source.fetch(STORED_YEAR, vendor.lines.append).rows["usda_export_sales"]

    assert plain(table.filter(commodity="soybean_oil"), "country", "net_sales_t") == [("ALL", 750), ("MEXICO", 750)]


WEEK = sale(801, 5700, "2025-03-06", 1, 2, 3)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ([{**WEEK, "unitId": 2}], "`unitId` is 2, not 1"),
        ([{**WEEK, "commodityCode": 401}], "`commodityCode` is 401, not 801"),
        ([{**WEEK, "weekEndingDate": "2024-03-07T00:00:00"}], "`weekEndingDate` 2024-03-07 lies outside the marketing"),
        ([{**WEEK, "countryCode": 1}], "`countryCode` 1 has no name"),
        ([{**WEEK, "currentMYNetSales": None}], "no `currentMYNetSales`"),
        ([{"week": 1}], "no `commodityCode`"),
        ({"sales": []}, "it is not a list of records"),
    ],
)
def test_a_changed_shape_names_the_field(source: UsdaFas, vendor: FakeVendor, changed: Any, said: str) -> None:
    vendor.first(says(COUNTRIES), says(COMMODITIES), says(changed))

    with pytest.raises(ServiceError) as raised:
        source.fetch(STORED_YEAR, vendor.lines.append)
    assert said in raised.value.what
    assert "marketYear/2025" in raised.value.where


@pytest.mark.parametrize(
    "named",
    [[*COMMODITIES[:2], {"commodityCode": 902, "commodityName": "Sunflowerseed Oil"}], COMMODITIES[:2]],
)
def test_a_code_that_means_something_else_stops_the_source(
    source: UsdaFas, vendor: FakeVendor, named: list[dict[str, Any]]
) -> None:
    vendor.first(says(COUNTRIES), says(named))

    with pytest.raises(ServiceError, match=r"`commodityCode` 902 is .* instead of soybean_oil"):
        source.fetch(STORED_YEAR, vendor.lines.append)


def test_the_key_travels_in_its_header(source: UsdaFas, vendor: FakeVendor, tmp_path: Path) -> None:
    source.fetch(STORED_YEAR, vendor.lines.append)
    assert all(KEY not in c.params.values() for c in vendor.calls)

    wrong = UsdaFas(vendor.endpoint(tmp_path, key("header", "X-Api-Key", "wrong")))
    with pytest.raises(MissingCredential, match="HTTP 403"):
        wrong.fetch({}, vendor.lines.append)
