"""FRED and ALFRED, against a local server whose answers are written by us in the shape FRED documents.

The server computes what a real-time period holds from a list of invented publications, as FRED does: values published
before the period begin with it.
"""

from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zl_assets.errors import MissingCredential, ServiceError
from zl_assets.sources import fred
from zl_assets.sources.fred import Fred
from zl_assets_tests.sources.vendor_server import KEY, Answer, Call, FakeVendor, key, plain, says

PUBLISHED = {
    # series: (day of publication, day it is about, value)
    "GDPC1": [
        ("2025-04-30", "2025-01-01", "100.0"),
        ("2025-05-29", "2025-01-01", "100.5"),
        ("2025-07-30", "2025-04-01", "101.0"),
        ("2025-08-28", "2025-04-01", "101.3"),
        ("2025-08-28", "2025-01-01", "100.4"),
    ],
    "DGS10": [
        ("2025-01-06", "2025-01-02", "4.57"),
        ("2025-01-06", "2025-01-03", "4.60"),
        ("2025-01-07", "2025-01-06", "4.62"),
        ("2025-01-08", "2025-01-01", "."),
        ("2025-01-09", "2025-01-06", "4.63"),
    ],
}


def fred_api(call: Call, publications: dict[str, list[tuple[str, str, str]]]) -> Answer:
    p = call.params
    if p.get("api_key") != KEY:
        return says({"error_code": 400, "error_message": "Bad Request.  The value for api_key is not registered."}, 400)
    listed = publications.get(p["series_id"])
    if listed is None:
        return says({"error_code": 400, "error_message": "Bad Request.  The series does not exist."}, 400)
    limit, offset = int(p["limit"]), int(p["offset"])
    frame = {"realtime_start": p["realtime_start"], "realtime_end": p["realtime_end"], "limit": limit, "offset": offset}
    if call.path == "/fred/series/vintagedates":
        days = sorted({published for published, _, _ in listed})
        return says({**frame, "count": len(days), "vintage_dates": days[offset : offset + limit]})
    assert call.path == "/fred/series/observations"
    held = in_period(listed, p["realtime_start"], p["realtime_end"], p["observation_start"])
    if p["output_type"] == "4":
        held = list({row["date"]: row for row in reversed(held)}.values())[::-1]
    return says({**frame, "units": "lin", "count": len(held), "observations": held[offset : offset + limit]})


def in_period(listed: list[tuple[str, str, str]], start: str, end: str, first: str) -> list[dict[str, str]]:
    """Rows of a real-time period, as FRED cuts them: by day observed, then by real time."""
    rows = []
    for day in sorted({d for _, d, _ in listed if d >= first}):
        of_day = sorted((p, v) for p, d, v in listed if d == day)
        ends = [p for p, _ in of_day[1:]] + ["9999-12-31"]
        rows += [
            {"realtime_start": max(p, start), "realtime_end": min(until, end), "date": day, "value": v}
            for (p, v), until in zip(of_day, ends, strict=True)
            if p <= end and until > start
        ]
    return rows


@pytest.fixture
def source(vendor: FakeVendor, tmp_path: Path) -> Fred:
    vendor.answering = lambda call: fred_api(call, PUBLISHED)
    return Fred(vendor.endpoint(tmp_path, key()), series=("GDPC1", "DGS10"))


def fetched(source: Fred, vendor: FakeVendor) -> dict[str, list[tuple[Any, ...]]]:
    table = source.fetch({}, vendor.lines.append).rows["fred_economic"]
    columns = ("observed_date", "value", "vintage", "available_at", "frequency")
    return {s: plain(table.filter(series_id=s), *columns) for s in source.series}


def at(month: int, day: int, hour: int) -> datetime:
    return datetime(2025, month, day, hour, tzinfo=UTC)


GDP = [
    (date(2025, 1, 1), 100.0, date(2025, 4, 30), at(5, 1, 5), "Q"),
    (date(2025, 1, 1), 100.5, date(2025, 5, 29), at(5, 30, 5), "Q"),
    (date(2025, 1, 1), 100.4, date(2025, 8, 28), at(8, 29, 5), "Q"),
    (date(2025, 4, 1), 101.0, date(2025, 7, 30), at(7, 31, 5), "Q"),
    (date(2025, 4, 1), 101.3, date(2025, 8, 28), at(8, 29, 5), "Q"),
]
YIELDS = [
    (date(2025, 1, 2), 4.57, None, None, "D"),
    (date(2025, 1, 3), 4.60, None, None, "D"),
    (date(2025, 1, 6), 4.62, date(2025, 1, 7), at(1, 8, 6), "D"),
    (date(2025, 1, 6), 4.63, date(2025, 1, 9), at(1, 10, 6), "D"),
]
"""The first archived vintage of a market's rate does not say when it was published; a day without a value is none."""


def by_vintage(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=lambda row: (row[0], row[2] or date.min))


@pytest.mark.parametrize(("vintages", "page"), [(1999, 100_000), (2, 100_000), (1, 2), (3, 1)])
def test_every_vintage_is_a_row_however_the_answer_is_cut(
    source: Fred, vendor: FakeVendor, monkeypatch: pytest.MonkeyPatch, vintages: int, page: int
) -> None:
    monkeypatch.setattr(fred, "VINTAGES", vintages)
    monkeypatch.setattr(fred, "PAGE", page)
    monkeypatch.setattr(fred, "PAGE_OF_VINTAGES", page)
    got = fetched(source, vendor)

    assert by_vintage(got["GDPC1"]) == by_vintage(GDP)
    assert by_vintage(got["DGS10"]) == YIELDS


def test_days_without_a_value_are_counted_and_yields_are_treasuries(source: Fred, vendor: FakeVendor) -> None:
    delivery = source.fetch({}, vendor.lines.append)

    assert delivery.notes == {"DGS10: no value on the day": 1}
    treasury = delivery.rows["treasury_daily"]
    assert by_vintage(plain(treasury, "observed_date", "close", "vintage")) == [row[:3] for row in YIELDS]
    assert set(plain(treasury, "tenor", "source", "open")) == {("10Y", "fred", None)}
    assert vendor.lines == ["GDPC1: 5 values of 4 vintages", "DGS10: 4 values of 4 vintages"]


def test_only_the_real_time_periods_that_fred_allows_are_asked_for(source: Fred, vendor: FakeVendor) -> None:
    many = [(str(date.fromordinal(730_000 + i)), "2005-01-03", f"{i}.0") for i in range(4500)]
    vendor.answering = lambda call: fred_api(call, {"UNRATE": many})
    table = Fred(source.endpoint, series=("UNRATE",)).fetch({}, vendor.lines.append).rows["fred_economic"]

    assert sorted(table["value"]) == [float(i) for i in range(4500)]
    asked = [c.params for c in vendor.calls if c.path.endswith("observations")]
    periods = [(p["realtime_start"], p["realtime_end"]) for p in asked]
    assert periods == [(many[0][0], many[1998][0]), (many[1999][0], many[3997][0]), (many[3998][0], "9999-12-31")]


publications = st.lists(
    st.tuples(
        st.dates(date(2025, 1, 1), date(2025, 1, 20)).map(str),
        st.dates(date(2024, 12, 1), date(2024, 12, 5)).map(str),
        st.sampled_from(["1.0", "2.0", "."]),
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda p: p[:2],
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(listed=publications, vintages=st.integers(1, 6))
def test_windows_neither_lose_nor_add_a_vintage(
    source: Fred, vendor: FakeVendor, listed: list[tuple[str, str, str]], vintages: int
) -> None:
    vendor.answering = lambda call: fred_api(call, {"GDPC1": listed})
    expected = set()
    for day in {d for _, d, _ in listed}:
        known = [(p, v) for p, d, v in sorted(listed) if d == day and v != "."]
        new = [(p, v) for (_, before), (p, v) in pairwise([("", ""), *known]) if v != before]
        expected |= {(date.fromisoformat(day), float(v), date.fromisoformat(p)) for p, v in new}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fred, "VINTAGES", vintages)
        table = Fred(source.endpoint, series=("GDPC1",)).fetch({}, vendor.lines.append).rows["fred_economic"]

    got = plain(table, "observed_date", "value", "vintage")
    assert len(got) == len(set(got))
    assert set(got) == expected


def test_a_series_estimated_anew_every_week_keeps_its_first_releases(source: Fred, vendor: FakeVendor) -> None:
    weekly = [("2025-01-08", "2025-01-03", "-0.51"), ("2025-01-15", "2025-01-03", "-0.52")]
    weekly += [("2025-01-15", "2025-01-10", "-0.50"), ("2025-01-22", "2025-01-10", "-0.49")]
    vendor.answering = lambda call: fred_api(call, {"NFCI": weekly})
    table = Fred(source.endpoint, series=("NFCI",)).fetch({}, vendor.lines.append).rows["fred_economic"]

    assert plain(table, "observed_date", "value", "vintage", "frequency") == [
        (date(2025, 1, 3), -0.51, date(2025, 1, 8), "W"),
        (date(2025, 1, 10), -0.5, date(2025, 1, 15), "W"),
    ]


def test_a_changed_historical_value_is_delivered_again(source: Fred, vendor: FakeVendor) -> None:
    before = fetched(source, vendor)["GDPC1"]
    revised = {**PUBLISHED, "GDPC1": [*PUBLISHED["GDPC1"], ("2025-09-25", "2025-01-01", "99.9")]}
    vendor.answering = lambda call: fred_api(call, revised)
    after = fetched(source, vendor)["GDPC1"]

    assert set(after) - set(before) == {(date(2025, 1, 1), 99.9, date(2025, 9, 25), at(9, 26, 5), "Q")}
    assert set(before) - set(after) == set()


def test_an_unchanged_history_is_not_sent_again(source: Fred, vendor: FakeVendor) -> None:
    before = source.fetch({}, vendor.lines.append).rows["fred_economic"]
    after = source.fetch({}, vendor.lines.append).rows["fred_economic"]

    assert before.equals(after)
    assert vendor.sent == [200] * 4 + [304] * 4


def test_a_wrong_key_and_a_missing_one_name_the_variable(source: Fred, vendor: FakeVendor, tmp_path: Path) -> None:
    for value, said in (("wrong", "refuses the API key .HTTP 400"), (None, "VENDOR_API_KEY is not set")):
        wrong = Fred(vendor.endpoint(tmp_path, key(value=value)))
        with pytest.raises(MissingCredential, match=said):
            wrong.fetch({}, vendor.lines.append)
    assert (wrong.state(), source.state()) == ("not configured: VENDOR_API_KEY", "configured")


def test_a_series_that_is_gone_is_named(source: Fred, vendor: FakeVendor) -> None:
    with pytest.raises(ServiceError, match=r"HTTP 400: .*series does not exist.*series_id=GONE"):
        Fred(source.endpoint, series=("GONE",)).fetch({}, vendor.lines.append)


OBSERVATION = {"realtime_start": "2025-01-06", "realtime_end": "9999-12-31", "date": "2025-01-02", "value": "4.57"}


@pytest.mark.parametrize(
    ("observations", "said"),
    [
        ({"count": 1, "obs": [OBSERVATION]}, "there is no `observations`"),
        ({"count": 1, "observations": [{**OBSERVATION, "value": "n/a"}]}, "`value` holds 'n/a'"),
        ({"count": 1, "observations": [{"value": "1", "date": "2025-01-02"}]}, "have no `realtime_start`"),
        ({"count": 2, "observations": []}, "0 of 2 observations were delivered"),
        ({"count": "1", "observations": [OBSERVATION]}, "`count` is a str instead of a int"),
    ],
)
def test_a_changed_shape_names_the_field(source: Fred, vendor: FakeVendor, observations: Any, said: str) -> None:
    vendor.first(says({"count": 1, "vintage_dates": ["2025-01-06"]}), says(observations))

    with pytest.raises(ServiceError) as raised:
        source.fetch({}, vendor.lines.append)
    assert said in raised.value.what
    assert "series_id=GDPC1" in raised.value.where


def test_a_busy_service_is_waited_for(source: Fred, vendor: FakeVendor) -> None:
    vendor.first(Answer(429, b'{"error_code":429}', {"Retry-After": "20"}), Answer(500))

    assert len(fetched(source, vendor)["GDPC1"]) == 5
    assert vendor.waits == [20.0, 8.0]
