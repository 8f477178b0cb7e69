"""QuickStats, against a local server whose answers are written by us in the shape it documents."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from zl_assets.errors import MissingCredential, ServiceError
from zl_assets.sources.usda_nass import STATISTICS, UsdaNass
from zl_assets_tests.sources.vendor_server import KEY, Answer, Call, FakeVendor, key, plain, says


def week(state: str, unit: str, day: str, value: str) -> dict[str, Any]:
    return {
        "commodity_desc": "SOYBEANS",
        "statisticcat_desc": STATISTICS[unit][0],
        "unit_desc": unit,
        "state_name": state,
        "agg_level_desc": "NATIONAL" if state == "US TOTAL" else "STATE",
        "week_ending": day,
        "Value": value,
        "load_time": "2025-10-06 15:01:00.000",
    }


STORED = [
    week("IOWA", "PCT PLANTED", "2025-05-11", "64"),
    week("ILLINOIS", "PCT PLANTED", "2025-05-11", "(D)"),
    week("US TOTAL", "PCT PLANTED", "2025-05-11", "48"),
    week("IOWA", "PCT HARVESTED", "2025-10-05", " 52"),
    week("IOWA", "PCT GOOD", "2025-07-06", "61"),
]


@pytest.fixture
def source(vendor: FakeVendor, tmp_path: Path) -> UsdaNass:
    def answer(call: Call) -> Answer:
        p = call.params
        if p.get("key") != KEY:
            return says({"error": ["unauthorized"]}, 401)
        assert call.path == "/api/api_GET/"
        fits = [r for r in STORED if all(r[f] == p[f] for f in ("unit_desc", "agg_level_desc", "statisticcat_desc"))]
        return says({"data": fits})

    vendor.answering = answer
    return UsdaNass(vendor.endpoint(tmp_path, key("parameter", "key")))


def test_weeks_become_rows(source: UsdaNass, vendor: FakeVendor) -> None:
    delivery = source.fetch({}, vendor.lines.append)

    table = delivery.rows["usda_crop_progress"]
    assert plain(table, "state", "statistic", "observed_date", "value_pct", "vintage", "available_at") == [
        ("IOWA", "soybeans_condition_good", date(2025, 7, 6), 61.0, None, None),
        ("IOWA", "soybeans_harvested", date(2025, 10, 5), 52.0, None, None),
        ("IOWA", "soybeans_planted", date(2025, 5, 11), 64.0, None, None),
        ("US TOTAL", "soybeans_planted", date(2025, 5, 11), 48.0, None, None),
    ]
    assert delivery.notes == {"soybeans_planted: withheld by the vendor": 1}


def test_each_statistic_is_asked_for_by_itself(source: UsdaNass, vendor: FakeVendor) -> None:
    source.fetch({}, vendor.lines.append)

    asked = [(c.params["unit_desc"], c.params["agg_level_desc"]) for c in vendor.calls]
    assert sorted(asked) == sorted((unit, level) for unit in STATISTICS for level in ("STATE", "NATIONAL"))
    assert {c.params["commodity_desc"] for c in vendor.calls} == {"SOYBEANS"}


def test_a_corrected_week_is_delivered(source: UsdaNass, vendor: FakeVendor) -> None:
    source.fetch({}, vendor.lines.append)
    vendor.first(says({"data": [week("IOWA", "PCT PLANTED", "2025-05-11", "63")]}))
    table = source.fetch({}, vendor.lines.append).rows["usda_crop_progress"]

    planted = table.filter(statistic="soybeans_planted", state="IOWA")
    assert plain(planted, "value_pct") == [(63.0,)]


IOWA = STORED[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rows": []}, "there is no `data`"),
        ({"data": [{**IOWA, "unit_desc": "ACRES"}]}, "`unit_desc` is 'ACRES' instead of 'PCT PLANTED'"),
        ({"data": [{**IOWA, "Value": "105"}]}, "`Value` is 105 percent"),
        ({"data": [{**IOWA, "Value": "half"}]}, "`Value` holds 'half'"),
        ({"data": [{**IOWA, "week_ending": ""}]}, "`week_ending` holds ''"),
        ({"data": [{k: v for k, v in IOWA.items() if k != "state_name"}]}, "no `state_name`"),
    ],
)
def test_a_changed_shape_names_the_field(source: UsdaNass, vendor: FakeVendor, changed: Any, said: str) -> None:
    vendor.first(says(changed))

    with pytest.raises(ServiceError) as raised:
        source.fetch({}, vendor.lines.append)
    assert said in raised.value.what
    assert "unit_desc=PCT PLANTED" in raised.value.where


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (says({"error": ["bad request - invalid query"]}, 400), "HTTP 400: .*invalid query"),
        (says({"error": ["exceeds limit=50000"]}, 413), "HTTP 413: .*exceeds limit"),
    ],
)
def test_a_refused_query_is_not_repeated(source: UsdaNass, vendor: FakeVendor, answer: Answer, said: str) -> None:
    vendor.first(answer)

    with pytest.raises(ServiceError, match=said):
        source.fetch({}, vendor.lines.append)
    assert vendor.waits == []


def test_an_unknown_key_names_its_variable(vendor: FakeVendor, source: UsdaNass, tmp_path: Path) -> None:
    with pytest.raises(MissingCredential, match=r"HTTP 401.*unauthorized.*check VENDOR_API_KEY"):
        UsdaNass(vendor.endpoint(tmp_path, key("parameter", "key", "wrong"))).fetch({}, vendor.lines.append)
