"""Open-Meteo's archive, against a local server whose answers are written by us in the shape it documents."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from zl_assets.errors import ServiceError
from zl_assets.sources.open_meteo import POINTS, OpenMeteo
from zl_assets_tests.sources.vendor_server import Answer, FakeVendor, plain, says

UNITS = {
    "time": "iso8601",
    "temperature_2m_min": "°C",
    "temperature_2m_max": "°C",
    "temperature_2m_mean": "°C",
    "precipitation_sum": "mm",
}
DAILY = {
    "time": ["2025-11-06", "2025-11-07", "2025-11-08"],
    "temperature_2m_min": [21.5, 22.0, None],
    "temperature_2m_max": [33.1, 31.9, None],
    "temperature_2m_mean": [26.4, None, None],
    "precipitation_sum": [0.0, 12.6, None],
}
WHOLE = {"latitude": -12.5, "longitude": -55.7, "timezone": "America/Cuiaba", "daily_units": UNITS, "daily": DAILY}


@pytest.fixture
def source(vendor: FakeVendor, tmp_path: Path) -> OpenMeteo:
    vendor.answering = lambda _: says(WHOLE)
    return OpenMeteo(vendor.endpoint(tmp_path), points=POINTS[:1])


def test_days_the_reanalysis_has_reached_become_rows(source: OpenMeteo, vendor: FakeVendor) -> None:
    table = source.fetch({}, vendor.lines.append).rows["weather_daily"]

    columns = ("station_id", "observed_date", "region", "tmin_c", "tmax_c", "tavg_c", "precip_mm", "available_at")
    assert plain(table, *columns) == [
        ("ERA5:sorriso_mato_grosso", date(2025, 11, 6), "Brazil", 21.5, 33.1, 26.4, 0.0, None),
        ("ERA5:sorriso_mato_grosso", date(2025, 11, 7), "Brazil", 22.0, 31.9, None, 12.6, None),
    ]


def test_local_days_up_to_the_delay_are_asked_for(source: OpenMeteo, vendor: FakeVendor) -> None:
    source.fetch({"weather_daily": date(2025, 11, 7)}, vendor.lines.append)

    asked = vendor.calls[0].params
    assert (asked["start_date"], asked["end_date"]) == ("2025-07-10", "2025-11-08")
    assert (asked["timezone"], asked["models"]) == ("America/Cuiaba", "era5")
    assert (asked["latitude"], asked["longitude"]) == ("-12.55", "-55.71")


def test_every_region_has_a_point_and_a_long_request_takes_its_share_of_the_allowance(
    vendor: FakeVendor, source: OpenMeteo, tmp_path: Path
) -> None:
    OpenMeteo(vendor.endpoint(tmp_path, per_minute=500)).fetch({}, vendor.lines.append)

    assert {p.region for p in POINTS} == {"Brazil", "Argentina", "US_Midwest"}
    days = (date(2025, 11, 8) - date(2005, 1, 1)).days
    assert vendor.waits[:1] == [pytest.approx(days / 14 * 60 / 500)]
    assert len(vendor.waits) == len(POINTS) - 1


def test_a_final_value_replaces_a_preliminary_one(source: OpenMeteo, vendor: FakeVendor) -> None:
    source.fetch({}, vendor.lines.append)
    vendor.first(says({**WHOLE, "daily": {**DAILY, "precipitation_sum": [0.4, 12.6, None]}}))
    table = source.fetch({}, vendor.lines.append).rows["weather_daily"]

    assert plain(table, "precip_mm") == [(0.4,), (12.6,)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({**WHOLE, "daily_units": {**UNITS, "precipitation_sum": "inch"}}, "`precipitation_sum` is in 'inch'"),
        ({**WHOLE, "daily_units": {}}, "there is no `daily_units.temperature_2m_min`"),
        ({"daily_units": UNITS}, "there is no `daily`"),
        ({**WHOLE, "daily": {**DAILY, "precipitation_sum": [0.0]}}, "`precipitation_sum` has 1 values for 3 days"),
        ({**WHOLE, "daily": {k: v for k, v in DAILY.items() if k != "temperature_2m_max"}}, "no `temperature_2m_max`"),
        ({**WHOLE, "daily": {**DAILY, "temperature_2m_max": [[1], 2, 3]}}, "is a list instead of a number"),
        ([WHOLE], "there is no `daily`"),
    ],
)
def test_a_changed_shape_names_the_field(source: OpenMeteo, vendor: FakeVendor, changed: Any, said: str) -> None:
    vendor.first(says(changed))

    with pytest.raises(ServiceError) as raised:
        source.fetch({}, vendor.lines.append)
    assert said in raised.value.what
    assert "latitude=-12.55" in raised.value.where


def test_the_minutely_limit_is_waited_for(source: OpenMeteo, vendor: FakeVendor) -> None:
    limit = {"error": True, "reason": "Minutely API request limit exceeded. Please try again in one minute."}
    vendor.first(says(limit, 429), says(limit, 429), Answer(200, b""))

    assert len(source.fetch({}, vendor.lines.append).rows["weather_daily"]) == 2
    assert vendor.waits == [2.0, 8.0, 32.0]
