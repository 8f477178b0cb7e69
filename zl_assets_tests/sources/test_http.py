"""The HTTP layer of the series' vendors, against a local server whose answers are written by us."""

import gzip
import json
import logging
import traceback
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from zl_assets.errors import ConfigurationError, MissingCredential, ServiceError, ZlError
from zl_assets.sources.http import Answer as Got
from zl_assets.sources.http import Endpoint
from zl_assets.sources.http_faults import LONGEST_WAIT_S
from zl_assets_tests.sources.vendor_server import KEY, NOW, Answer, FakeVendor, key, says

WHOLE = {"rows": [1, 2, 3]}
PAGE = Answer(200, b"<!DOCTYPE html><html>Please wait</html>", {"Content-Type": "text/html"})
CUT = Answer(200, json.dumps(WHOLE).encode(), {"ETag": '"cut"'}, cut=8)


@pytest.fixture
def ask(vendor: FakeVendor, tmp_path: Path) -> Callable[..., Got]:
    def one(path: str = "/data", params: dict[str, Any] | None = None, **changes: Any) -> Got:
        with vendor.endpoint(tmp_path / "cache", **changes).open(vendor.lines.append) as connection:
            return connection.json(path, params or {"id": "a"})

    return one


def test_answer_is_the_json_and_where_it_came_from(vendor: FakeVendor, ask: Callable[..., Got]) -> None:
    vendor.answering = lambda _: says(WHOLE)
    got = ask("/data", {"id": "a", "many": ["x", "y"]})

    assert got.value == WHOLE
    assert got.where == "Vendor /data (id=a, many=x|y)"
    [call] = vendor.calls
    assert (call.path, call.pairs) == ("/data", [("id", "a"), ("many", "x"), ("many", "y")])
    assert (call.headers["user-agent"], call.headers["accept"]) == ("zl_assets", "application/json")
    assert (vendor.waits, vendor.lines) == ([], [])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_fault_that_passes_is_met_by_another_attempt(
    vendor: FakeVendor, ask: Callable[..., Got], status: int
) -> None:
    vendor.first(Answer(status, b"busy"), Answer(status, b"busy"))

    assert ask().value == {"path": "/data"}
    assert vendor.waits == [2.0, 8.0]
    assert vendor.lines == [
        f"Vendor answered HTTP {status}: busy; attempt 2 of 4 in 2 s",
        f"Vendor answered HTTP {status}: busy; attempt 3 of 4 in 8 s",
    ]


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("7", 7.0),
        ("0", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("soon", 2.0),
        ("-5", 2.0),
    ],
)
def test_retry_after_is_honoured_in_seconds_and_as_a_date(
    vendor: FakeVendor, ask: Callable[..., Got], asked: str, waited: float
) -> None:
    vendor.first(Answer(429, b"slow down", {"Retry-After": asked}))
    ask()

    assert vendor.waits == [waited]


def test_a_longer_wait_than_a_run_should_take_ends_it(vendor: FakeVendor, ask: Callable[..., Got]) -> None:
    vendor.first(Answer(429, b"tomorrow", {"Retry-After": str(int(LONGEST_WAIT_S) + 1)}))

    with pytest.raises(ServiceError, match=r"it asks to wait 121 s .*run again after that time"):
        ask()
    assert (len(vendor.calls), vendor.waits) == (1, [])


@pytest.mark.parametrize(
    ("endless", "said"),
    [
        (Answer(503, b"down"), "answered HTTP 503: down"),
        (Answer(200, b""), "unusable: it is empty"),
        (Answer(200, b" \n"), "unusable: it is empty"),
        (PAGE, "unusable: it is a web page"),
        (Answer(200, b'{"rows": [1, 2'), "unusable: it is broken off, or not JSON"),
        (Answer(200, b'{"rows": [NaN]}'), "unusable: it is broken off, or not JSON"),
        (CUT, "unusable: it broke off"),
        (Answer(200, b"[1]", {"Content-Encoding": "gzip"}), "unusable: it broke off"),
    ],
)
def test_endless_faults_end_in_one_error(
    vendor: FakeVendor, ask: Callable[..., Got], endless: Answer, said: str
) -> None:
    vendor.answering = lambda _: endless

    with pytest.raises(ServiceError) as raised:
        ask()
    assert said in raised.value.what
    assert raised.value.where == "Vendor /data (id=a)"
    assert (len(vendor.calls), vendor.waits) == (4, [2.0, 8.0, 32.0])


@pytest.mark.parametrize("broken", [Answer(200, b"", {"ETag": '"e"'}), PAGE, CUT])
def test_a_broken_answer_is_not_kept(vendor: FakeVendor, ask: Callable[..., Got], broken: Answer) -> None:
    vendor.answering = lambda _: says(WHOLE)
    vendor.first(broken)

    assert ask().value == WHOLE
    assert "if-none-match" not in vendor.calls[1].headers


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_a_fault_that_stays_is_an_error_at_once(vendor: FakeVendor, ask: Callable[..., Got], status: int) -> None:
    vendor.first(says({"error": "no such series"}, status))

    with pytest.raises(ServiceError, match=f"HTTP {status}: .*no such series"):
        ask(key=key())
    assert (len(vendor.calls), vendor.waits) == (1, [])


@pytest.mark.parametrize(
    "refusal",
    [
        says({"error": ["unauthorized"]}, 401),
        says({"error": {"code": "API_KEY_INVALID"}}, 403),
        says({"error_message": "Bad Request.  The value for variable api_key is not registered."}, 400),
    ],
)
def test_a_refused_key_names_its_variable(vendor: FakeVendor, ask: Callable[..., Got], refusal: Answer) -> None:
    vendor.first(refusal)

    with pytest.raises(MissingCredential, match="check VENDOR_API_KEY"):
        ask(key=key())
    assert len(vendor.calls) == 1


def test_a_refusal_without_a_key_blames_no_key(vendor: FakeVendor, ask: Callable[..., Got]) -> None:
    vendor.first(Answer(403, b"blocked"))

    with pytest.raises(ServiceError, match="HTTP 403: blocked"):
        ask()


@pytest.mark.parametrize("value", [None, "", "  ", "two words", "schlüssel"])
def test_no_request_is_made_without_a_usable_key(
    vendor: FakeVendor, ask: Callable[..., Got], value: str | None
) -> None:
    with pytest.raises(MissingCredential, match="set VENDOR_API_KEY"):
        ask(key=key(value=value))
    assert vendor.calls == []


def test_a_redirect_is_not_followed(vendor: FakeVendor, ask: Callable[..., Got]) -> None:
    vendor.first(Answer(301, b"", {"Location": "https://elsewhere.example/data?api_key=" + KEY}))

    with pytest.raises(ServiceError, match=r"HTTP 301.*set ZL_VENDOR_GATEWAY .*elsewhere\.example") as raised:
        ask(key=key())
    assert KEY not in str(raised.value)
    assert len(vendor.calls) == 1


# The cache


def test_an_unchanged_answer_is_not_sent_again(vendor: FakeVendor, ask: Callable[..., Got]) -> None:
    vendor.answering = lambda _: says(WHOLE)
    before, after = ask(), ask()

    assert before == after
    assert vendor.sent == [200, 304]


def test_an_answer_that_may_still_be_fresh_is_asked_about_all_the_same(
    vendor: FakeVendor, ask: Callable[..., Got]
) -> None:
    old = {"Last-Modified": "Mon, 01 Jan 2018 00:00:00 GMT", "Cache-Control": "max-age=86400"}
    vendor.first(Answer(200, b"[1]", old), Answer(304, headers=old), Answer(200, b"[2]", old))

    assert [ask().value for _ in range(3)] == [[1], [1], [2]]
    assert [c.headers.get("if-modified-since") for c in vendor.calls] == [None, *[old["Last-Modified"]] * 2]


def test_a_changed_value_replaces_the_kept_one(vendor: FakeVendor, ask: Callable[..., Got]) -> None:
    vendor.first(says({"value": 1}), says({"value": 2}))
    before, after = ask(), ask()

    assert (before.value, after.value) == ({"value": 1}, {"value": 2})
    assert before.provenance != after.provenance
    assert ask(params={"id": "b"}).value == {"path": "/data"}


def test_an_answer_without_a_validator_is_sent_again(vendor: FakeVendor, ask: Callable[..., Got]) -> None:
    vendor.answering = lambda _: Answer(200, b"[1]")
    ask()
    ask()

    assert vendor.sent == [200, 200]


def test_an_unusable_cache_is_named_and_done_without(
    vendor: FakeVendor, ask: Callable[..., Got], tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "vendor.v2.db").write_bytes(b"this is no database" * 100)

    assert ask().value == ask().value == {"path": "/data"}
    assert vendor.sent == [200, 200]
    [first, _] = vendor.lines
    assert first.startswith("the cache of Vendor's answers cannot be used: file is not a database; asking without it")
    assert str(tmp_path / "cache" / "vendor.v2.db") in first


# Limits


def test_an_endless_answer_is_not_read_to_its_end(vendor: FakeVendor, ask: Callable[..., Got]) -> None:
    body = gzip.compress(b"[" + b"1, " * 100_000 + b"1]")
    assert len(body) < 10_000
    vendor.answering = lambda _: Answer(200, body, {"Content-Encoding": "gzip"})

    assert len(ask().value) == 100_001
    with pytest.raises(ServiceError, match="longer than 10000 bytes"):
        ask(params={"id": "again"}, max_bytes=10_000)


def test_requests_keep_the_vendors_pace(vendor: FakeVendor, tmp_path: Path) -> None:
    with vendor.endpoint(tmp_path, per_minute=120).open(vendor.lines.append) as connection:
        connection.json("/a")
        connection.json("/b", cost=10)
        connection.json("/c")

    assert vendor.waits == [0.5, 5.0]


def test_repeated_attempts_keep_the_pace_too(vendor: FakeVendor, ask: Callable[..., Got]) -> None:
    vendor.first(Answer(503), Answer(503, b"", {"Retry-After": "0"}))
    ask(per_minute=6)

    assert vendor.waits == [2.0, 8.0, 0.0, 10.0]


# The key


@pytest.mark.parametrize("place", ["parameter", "header"])
def test_the_key_reaches_the_vendor_and_nobody_else(
    vendor: FakeVendor, ask: Callable[..., Got], place: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    vendor.answering = lambda call: says({"request": call.params, "headers": call.headers})
    vendor.first(Answer(503, f"no: {KEY}".encode(), {"Location": KEY}))
    got = ask(key=key(place, "x-key"))

    call = vendor.calls[-1]
    assert KEY in (call.params if place == "parameter" else call.headers).values()
    assert "<key>" in json.dumps(got.value)
    assert KEY not in repr(got) + repr(vendor.lines) + caplog.text
    kept = list((tmp_path / "cache").iterdir())
    assert kept
    assert all(KEY.encode() not in file.read_bytes() and KEY not in file.name for file in kept)


@pytest.mark.parametrize(
    "fault",
    [
        Answer(400, f"bad api_key {KEY}".encode()),
        Answer(404, f"nothing for {KEY}".encode()),
        Answer(503, KEY.encode()),
        Answer(200, KEY.encode()),
        Answer(200, b"[1, 2, 3]", cut=2),
    ],
)
def test_no_error_shows_the_key(vendor: FakeVendor, ask: Callable[..., Got], fault: Answer) -> None:
    vendor.answering = lambda _: fault

    with pytest.raises(ZlError) as raised:
        ask(key=key())
    shown = "".join(traceback.format_exception(raised.value))
    assert KEY not in shown + repr(raised.value.__context__) + repr(vendor.lines)


def test_a_key_that_needs_quoting_is_hidden_in_either_form(vendor: FakeVendor, ask: Callable[..., Got]) -> None:
    secret = "a+b/c=="
    vendor.first(Answer(404, b"/data?api_key=a%2Bb%2Fc%3D%3D and a+b/c=="))

    with pytest.raises(ServiceError) as raised:
        ask(key=key(value=secret))
    assert "/data?api_key=<key> and <key>" in str(raised.value)
    assert vendor.calls[0].params["api_key"] == secret


def test_a_key_is_not_sent_in_the_clear_to_another_machine(tmp_path: Path) -> None:
    endpoint = Endpoint("Vendor", "http://vendor.example", "ZL_VENDOR_GATEWAY", tmp_path, 60, key())

    with pytest.raises(ConfigurationError, match=r"must be https.*set ZL_VENDOR_GATEWAY"):
        endpoint.open(lambda _: None)


@pytest.mark.parametrize("address", ["", "vendor.example", "ftp://vendor.example", "https://", "http://[::1"])
def test_an_address_that_is_none_is_named(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"the address of Vendor is none.*set ZL_VENDOR_GATEWAY"):
        Endpoint("Vendor", address, "ZL_VENDOR_GATEWAY", tmp_path, 60).open(lambda _: None)


# The way there


def test_a_vendor_that_cannot_be_reached_is_tried_again(vendor: FakeVendor, tmp_path: Path) -> None:
    endpoint = Endpoint("Vendor", "http://127.0.0.1:9", "ZL_VENDOR_GATEWAY", tmp_path, 1e9, clock=vendor.clock)

    with (
        endpoint.open(vendor.lines.append) as connection,
        pytest.raises(ServiceError, match=r"cannot be reached \(ConnectError\).*check the network"),
    ):
        connection.json("/data")
    assert [round(w) for w in vendor.waits] == [2, 8, 32]


def test_the_environments_proxy_is_used(vendor: FakeVendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", vendor.address)
    vendor.answering = lambda call: says({"through": call.headers["host"]})
    endpoint = Endpoint("Vendor", "http://vendor.invalid", "ZL_VENDOR_GATEWAY", tmp_path, 60, clock=vendor.clock)

    with endpoint.open(vendor.lines.append) as connection:
        assert connection.json("/data").value == {"through": "vendor.invalid"}


def test_this_machine_is_not_asked_through_a_proxy(
    vendor: FakeVendor, ask: Callable[..., Got], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert ask(key=key()).value == {"path": "/data"}
