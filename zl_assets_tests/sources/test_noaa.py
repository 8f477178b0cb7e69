"""GHCN-Daily, against a local server whose answers are written by us in the shape of the NCEI's access data service."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from zl_assets.errors import ServiceError
from zl_assets.sources.noaa import Noaa
from zl_assets_tests.sources.vendor_server import Answer, FakeVendor, plain, says

DES_MOINES, EZEIZA = "USW00014933", "ARM00087576"


def day(station: str, when: str, **elements: str) -> dict[str, str]:
    """A record as the service sends it: padded text, elements without a value left out."""
    return {"DATE": when, "STATION": station, **elements}


STORED = {
    DES_MOINES: [
        day(DES_MOINES, "2025-11-09", TMAX="   12.8", TMIN="   -1.7", PRCP="    0.3"),
        day(DES_MOINES, "2025-11-10", TMAX="    4.4", PRCP="    0.0"),
        day(DES_MOINES, "2025-11-11"),
    ],
    EZEIZA: [day(EZEIZA, "2025-11-09", TMAX="25.1", TMIN="14.0", TAVG="19.2")],
}


@pytest.fixture
def source(vendor: FakeVendor, tmp_path: Path) -> Noaa:
    vendor.answering = lambda call: says(STORED.get(call.params["stations"], []))
    return Noaa(vendor.endpoint(tmp_path), stations=(DES_MOINES, EZEIZA))


COLUMNS = ("station_id", "observed_date", "region", "tmin_c", "tmax_c", "tavg_c", "precip_mm", "available_at")


def test_days_become_rows_and_missing_elements_stay_missing(source: Noaa, vendor: FakeVendor) -> None:
    table = source.fetch({}, vendor.lines.append).rows["weather_daily"]

    assert plain(table, *COLUMNS) == [
        ("GHCND:ARM00087576", date(2025, 11, 9), "Argentina", 14.0, 25.1, 19.2, None, None),
        ("GHCND:USW00014933", date(2025, 11, 9), "US_Midwest", -1.7, 12.8, None, 0.3, None),
        ("GHCND:USW00014933", date(2025, 11, 10), "US_Midwest", None, 4.4, None, 0.0, None),
    ]


def test_degrees_and_millimetres_are_asked_for(source: Noaa, vendor: FakeVendor) -> None:
    source.fetch({}, vendor.lines.append)
    source.fetch({"weather_daily": date(2025, 11, 10)}, vendor.lines.append)

    asked = [c.params for c in vendor.calls]
    assert {(p["units"], p["dataset"], p["format"]) for p in asked} == {("metric", "daily-summaries", "json")}
    assert [p["startDate"] for p in asked] == ["2005-01-01"] * 2 + ["2025-09-11"] * 2
    assert {p["endDate"] for p in asked} == {"2025-11-14"}


def test_a_silent_station_is_counted_and_all_silent_ones_are_an_error(vendor: FakeVendor, source: Noaa) -> None:
    quiet = Noaa(source.endpoint, stations=(DES_MOINES, "USW00094846"))
    delivery = quiet.fetch({}, vendor.lines.append)
    assert delivery.notes == {"USW00094846: no day": 1}
    assert len(delivery.rows["weather_daily"]) == 2

    with pytest.raises(ServiceError, match=r"has no day of any station.*USW00094846"):
        Noaa(source.endpoint, stations=("USW00094846",)).fetch({}, vendor.lines.append)


def test_a_corrected_day_is_delivered(source: Noaa, vendor: FakeVendor) -> None:
    source.fetch({}, vendor.lines.append)
    vendor.first(says([day(DES_MOINES, "2025-11-09", TMAX="13.0")]))
    table = source.fetch({}, vendor.lines.append).rows["weather_daily"]

    assert plain(table.filter(station_id="GHCND:USW00014933"), "tmax_c", "tmin_c") == [(13.0, None)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ([day(DES_MOINES, "2025-11-09", TMAX="128")], "`TMAX` is 128, which is not degrees Celsius"),
        ([day(EZEIZA, "2025-11-09", TMAX="12.8")], "`STATION` is not USW00014933"),
        ([day(DES_MOINES, "2025-11-09", MAX="12.8")], "no record has any of TMIN, TMAX, TAVG, PRCP"),
        ([{"DATE": "2025-11-09", "TMAX": "1"}], "no `STATION`"),
        ([day(DES_MOINES, "11/09/2025", TMAX="12.8")], "`DATE` holds '11/09/2025'"),
        ([day(DES_MOINES, "2025-11-09", TMAX="12,8")], "`TMAX` holds '12,8'"),
        ({"errorMessage": "no"}, "it is not a list of records"),
    ],
)
def test_a_changed_shape_names_the_field(source: Noaa, vendor: FakeVendor, changed: Any, said: str) -> None:
    vendor.first(says(changed))

    with pytest.raises(ServiceError) as raised:
        source.fetch({}, vendor.lines.append)
    assert said in raised.value.what
    assert "stations=USW00014933" in raised.value.where


def test_a_service_that_stays_down_is_given_up(source: Noaa, vendor: FakeVendor) -> None:
    vendor.answering = lambda _: Answer(503, b"Service Unavailable")

    with pytest.raises(ServiceError, match="HTTP 503"):
        source.fetch({}, vendor.lines.append)
    assert len(vendor.calls) == 4
