"""Yahoo's charts, against a local server whose answers are written by us in the shape seen of the undocumented API."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from zl_assets.errors import ServiceError
from zl_assets.sources.yahoo import PAIRS, SYMBOLS, Yahoo
from zl_assets_tests.sources.vendor_server import Answer, Call, FakeVendor, plain, says

LONDON, NEW_YORK = "Europe/London", "America/New_York"


def instant(zone: str, *when: int) -> int:
    return int(datetime(*when, tzinfo=ZoneInfo(zone)).timestamp())  # pyright: ignore[reportArgumentType]


def chart(symbol: str, zone: str, days: list[tuple[int, float | None]], **meta: str) -> dict[str, Any]:
    """A chart whose high and low lie one above and below the close."""
    closes = [close for _, close in days]
    quote = {
        "open": closes,
        "high": [None if c is None else c + 1 for c in closes],
        "low": [None if c is None else c - 1 for c in closes],
        "close": closes,
        "volume": [None if c is None else 100 for c in closes],
    }
    named = {"symbol": symbol, "exchangeTimezoneName": zone, "dataGranularity": "1d", **meta}
    result = {"meta": named, "timestamp": [t for t, _ in days], "indicators": {"quote": [quote]}}
    return {"chart": {"result": [result], "error": None}}


CHARTS = {
    "^VIX": chart(
        "^VIX",
        NEW_YORK,
        [
            (instant(NEW_YORK, 2025, 11, 12, 9, 30), 17.5),
            (instant(NEW_YORK, 2025, 11, 13, 9, 30), 20.0),
            (instant(NEW_YORK, 2025, 11, 14, 9, 30), 21.0),
        ],
    ),
    # Monday in British summer time begins on Sunday in UTC; in winter it does not.
    "BRL=X": chart(
        "BRL=X",
        LONDON,
        [
            (instant(LONDON, 2025, 7, 7), 5.45),
            (instant(LONDON, 2025, 7, 8), None),
            (instant(LONDON, 2025, 11, 10), 5.3),
        ],
    ),
    "CPO=F": chart("CPO=F", NEW_YORK, [(instant(NEW_YORK, 2025, 11, 12), 1010.5)], currency="USD"),
}


@pytest.fixture
def source(vendor: FakeVendor, tmp_path: Path) -> Yahoo:
    def answer(call: Call) -> Answer:
        symbol = call.path.removeprefix("/v8/finance/chart/")
        if symbol in CHARTS:
            return says(CHARTS[symbol])
        gone = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
        return says({"chart": {"result": None, "error": gone}}, 404)

    vendor.answering = answer
    return Yahoo(vendor.endpoint(tmp_path), symbols=tuple(CHARTS))


def test_finished_days_become_rows_of_three_tables(source: Yahoo, vendor: FakeVendor) -> None:
    delivery = source.fetch({}, vendor.lines.append)

    vix, fx, palm = (delivery.rows[t] for t in source.tables)
    assert plain(vix, "series_id", "observed_date", "open", "high", "low", "close", "available_at") == [
        ("VIX", date(2025, 11, 12), 17.5, 18.5, 16.5, 17.5, None),
        ("VIX", date(2025, 11, 13), 20.0, 21.0, 19.0, 20.0, None),
    ]
    assert plain(palm, "symbol", "observed_date", "close", "volume") == [("CPO=F", date(2025, 11, 12), 1010.5, 100)]
    assert plain(fx, "pair", "observed_date", "rate", "source") == [
        ("USDBRL", date(2025, 7, 7), 5.45, "yahoo"),
        ("USDBRL", date(2025, 11, 10), 5.3, "yahoo"),
    ]
    assert delivery.notes == {"BRL=X: day without a close": 1}


def test_no_cross_changes_its_day_with_summer_time(source: Yahoo, vendor: FakeVendor) -> None:
    stamps = CHARTS["BRL=X"]["chart"]["result"][0]["timestamp"]
    utc = [datetime.fromtimestamp(t, UTC).date() for t in stamps]
    assert utc[0] == date(2025, 7, 6)

    fx = source.fetch({}, vendor.lines.append).rows["fx_daily"]
    assert {day.isoweekday() for day in fx["observed_date"]} == {1}


def test_every_symbol_is_asked_for_by_day(vendor: FakeVendor, tmp_path: Path) -> None:
    vendor.answering = lambda call: says(chart(call.path[len("/v8/finance/chart/") :], LONDON, [], currency="USD"))
    delivery = Yahoo(vendor.endpoint(tmp_path)).fetch({}, vendor.lines.append)

    assert [c.path.removeprefix("/v8/finance/chart/") for c in vendor.calls] == list(SYMBOLS)
    assert {c.params["interval"] for c in vendor.calls} == {"1d"}
    assert [len(t) for t in delivery.rows.values()] == [0, 0, 0]
    assert {"USDBRL", "USDCNY", "USDARS", "DXY"} <= set(PAIRS.values())


def test_a_changed_close_is_delivered(source: Yahoo, vendor: FakeVendor) -> None:
    source.fetch({}, vendor.lines.append)
    vendor.first(says(chart("^VIX", NEW_YORK, [(instant(NEW_YORK, 2025, 11, 12, 9, 30), 17.6)])))
    vix = source.fetch({}, vendor.lines.append).rows["volatility_daily"]

    assert plain(vix, "close") == [(17.6,)]


ONE = [(instant(NEW_YORK, 2025, 11, 12, 9, 30), 17.5)]


def without(*path: Any) -> dict[str, Any]:
    """The chart with something left out."""
    whole = chart("^VIX", NEW_YORK, ONE)
    inner: Any = whole
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return whole


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"finance": {}}, "there is no `chart.result`"),
        ({"chart": {"result": [], "error": None}}, "holds 0 charts"),
        (without("chart", "result", 0, "timestamp"), "there is no `timestamp`"),
        (without("chart", "result", 0, "meta", "exchangeTimezoneName"), "no `meta.exchangeTimezoneName`"),
        (without("chart", "result", 0, "indicators", "quote", 0, "close"), "there is no `close`"),
        (chart("^VIX", "Mars/Olympus", ONE), "`exchangeTimezoneName` is 'Mars/Olympus', which is no time zone"),
        (chart("^VIX3M", NEW_YORK, ONE), "`symbol` is '^VIX3M' instead of '^VIX'"),
        (chart("^VIX", NEW_YORK, ONE, dataGranularity="1mo"), "`dataGranularity` is '1mo' instead of '1d'"),
        (chart("^VIX", NEW_YORK, [*ONE, (ONE[0][0] + 3600, 18.0)]), "two values for one key"),
    ],
)
def test_a_changed_shape_names_the_field(source: Yahoo, vendor: FakeVendor, changed: Any, said: str) -> None:
    vendor.first(says(changed))

    with pytest.raises(ServiceError) as raised:
        source.fetch({}, vendor.lines.append)
    assert said in raised.value.what


def test_palm_oil_in_another_currency_is_refused(source: Yahoo, vendor: FakeVendor) -> None:
    vendor.first(says(chart("CPO=F", NEW_YORK, ONE, currency="MYR")))

    with pytest.raises(ServiceError, match="`currency` is 'MYR' instead of 'USD'"):
        Yahoo(source.endpoint, symbols=("CPO=F",)).fetch({}, vendor.lines.append)


def test_a_price_that_is_short_is_named(source: Yahoo, vendor: FakeVendor) -> None:
    cut = chart("^VIX", NEW_YORK, ONE)
    cut["chart"]["result"][0]["indicators"]["quote"][0]["low"] = []
    vendor.first(says(cut))

    with pytest.raises(ServiceError, match="`low` has 0 values for 1 days"):
        source.fetch({}, vendor.lines.append)


def test_a_symbol_that_is_gone_is_named(source: Yahoo, vendor: FakeVendor) -> None:
    with pytest.raises(ServiceError, match=r"HTTP 404: .*may be delisted.*/v8/finance/chart/GONE"):
        Yahoo(source.endpoint, symbols=("GONE",)).fetch({}, vendor.lines.append)


def test_being_turned_away_is_waited_for(source: Yahoo, vendor: FakeVendor) -> None:
    vendor.first(Answer(429, b"Too Many Requests"))

    assert len(source.fetch({}, vendor.lines.append).rows["volatility_daily"]) == 2
    assert vendor.waits == [2.0]
