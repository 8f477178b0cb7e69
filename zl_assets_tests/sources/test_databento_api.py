"""The Databento source: the official client against a local server with real DBN bodies of invented bars."""

import json
import logging
import socket
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import databento
import pytest

from zl_assets.core.instruments import INSTRUMENTS
from zl_assets.errors import (
    ConfigurationError,
    CostLimitExceeded,
    InputError,
    MissingCredential,
    ServiceError,
    StorageFull,
    ZlError,
)
from zl_assets.sources import databento_api
from zl_assets.sources.databento_api import ATTEMPTS, BACKOFF_S, download_new_bars
from zl_assets_tests.sources.databento_server import (
    KEY,
    Answer,
    Bar,
    FakeDatabento,
    instrument_id,
    json_answer,
    refusal,
    running,
    zstd,
)

RANGE, COST, BARS = "metadata.get_dataset_range", "metadata.get_cost", "timeseries.get_range"
NEWEST, TODAY = date(2025, 11, 10), date(2025, 11, 15)
DAILY_FILE = "glbx-mdp3-20251111-20251114.ohlcv-1d.dbn.zst"
HOURLY_FILE = "glbx-mdp3-20251111-20251114.ohlcv-1h.dbn.zst"
ASKED = {"schema": "ohlcv-1d", "symbols": "ZL.v.0,ZS.v.0", "start": "2025-11-11", "end": "2025-11-15"}


@dataclass
class Run:
    """A download with its waits and progress lines recorded instead of slept and printed."""

    server: FakeDatabento
    destination: Path
    waits: list[float] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __call__(self, **changes: Any) -> list[Path]:
        arguments: dict[str, Any] = {
            "api_key": KEY,
            "destination": self.destination,
            "newest": {"ohlcv-1d": NEWEST},
            "today": TODAY,
            "max_cost_usd": 5.0,
            "gateway": self.server.gateway,
            "symbols": ["ZL", "ZS"],
            "schemas": ["ohlcv-1d"],
            "on_progress": self.lines.append,
            "sleep": self.waits.append,
        }
        return download_new_bars(**{**arguments, **changes})

    def fails(self, kind: type[ZlError], **changes: Any) -> ZlError:
        """Run, expect this error, and expect no file and no trace of the key anywhere a person could read it."""
        with pytest.raises(kind) as caught:
            self(**changes)
        assert self.files() == []
        assert KEY not in "".join(traceback.format_exception(caught.value)) + "".join(self.lines)
        return caught.value

    def files(self) -> list[str]:
        return sorted(p.name for p in self.destination.iterdir()) if self.destination.exists() else []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDatabento]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running() as fake:
        yield fake


@pytest.fixture
def run(server: FakeDatabento, tmp_path: Path) -> Run:
    return Run(server, tmp_path / "home" / "vendor" / "databento")


# What is asked for, and what arrives


def test_delivery_is_stored_as_the_vendor_names_and_shapes_it(run: Run) -> None:
    [path] = run()

    assert path == run.destination / DAILY_FILE
    assert run.files() == [DAILY_FILE]
    store = databento.DBNStore.from_file(path)
    bars = store.to_ndarray()
    sold = run.server.bars(ASKED)
    assert len(sold) == 8
    assert [
        (b["instrument_id"], b["ts_event"], b["open"], b["high"], b["low"], b["close"], b["volume"]) for b in bars
    ] == [
        (instrument_id(b.symbol), int(b.ts_event.timestamp()) * 10**9, b.open, b.high, b.low, b.close, b.volume)
        for b in sold
    ]
    assert set(store.mappings) == {"ZL.v.0", "ZS.v.0"}
    store.reader.close()


def test_request_names_dataset_symbology_days_and_carries_the_key(run: Run) -> None:
    run()

    [call] = run.server.calls_to(BARS)
    assert (call.user, call.password) == (KEY, "")
    assert call.params == {
        "dataset": "GLBX.MDP3",
        **ASKED,
        "stype_in": "continuous",
        "stype_out": "instrument_id",
        "encoding": "dbn",
        "compression": "zstd",
    }
    [estimate] = run.server.calls_to(COST)
    assert {k: estimate.params[k] for k in ASKED} == ASKED


def test_every_followed_instrument_and_both_schemas_are_the_default(run: Run) -> None:
    names = [
        p.name
        for p in run(newest={"ohlcv-1d": NEWEST, "ohlcv-1h": NEWEST}, symbols=None, schemas=("ohlcv-1d", "ohlcv-1h"))
    ]

    assert names == [DAILY_FILE, HOURLY_FILE]
    assert run.server.calls_to(BARS)[0].params["symbols"] == ",".join(f"{root}.v.0" for root in INSTRUMENTS)


def test_each_schema_continues_after_its_own_newest_day(run: Run) -> None:
    newest = {"ohlcv-1d": date(2025, 11, 13), "ohlcv-1h": date(2025, 11, 12)}
    paths = run(newest=newest, schemas=("ohlcv-1d", "ohlcv-1h"))

    assert [p.name for p in paths] == [
        "glbx-mdp3-20251114-20251114.ohlcv-1d.dbn.zst",
        "glbx-mdp3-20251113-20251114.ohlcv-1h.dbn.zst",
    ]


def test_empty_history_starts_with_the_dataset(run: Run) -> None:
    run(newest={}, today=date(2010, 6, 10))

    assert run.server.calls_to(BARS)[0].params["start"] == "2010-06-06"


@pytest.mark.parametrize("newest", [date(2025, 11, 14), date(2025, 11, 15), date(2026, 1, 1)])
def test_nothing_new_asks_nothing(run: Run, newest: date) -> None:
    assert run(newest={"ohlcv-1d": newest}) == []
    assert run.server.calls == []


def test_only_days_the_vendor_has_are_asked_for(run: Run) -> None:
    run.server.available["schema"] = {
        "ohlcv-1d": {"start": "2025-11-11T22:00:00.000000000Z", "end": "2025-11-14T13:30:00.000000000Z"}
    }
    run()

    asked = run.server.calls_to(BARS)[0].params
    assert (asked["start"], asked["end"]) == ("2025-11-12", "2025-11-14")


def test_a_vendor_that_is_behind_means_nothing_new(run: Run) -> None:
    run.server.available["end"] = "2025-11-11T00:00:00.000000000Z"

    assert run() == []
    assert [c.endpoint for c in run.server.calls] == [RANGE]


def test_range_without_a_bar_leaves_no_file_and_passes_on_the_vendors_warning(run: Run) -> None:
    run.server.closed_days = {date(2025, 11, 11 + i) for i in range(4)}

    assert run() == []
    assert run.files() == []
    assert any("No data found" in line for line in run.lines)


def test_file_of_an_earlier_run_is_not_bought_again(run: Run) -> None:
    bought = run()
    run.server.calls.clear()

    assert run() == bought
    assert [c.endpoint for c in run.server.calls] == [RANGE]


def test_same_days_of_other_symbols_get_a_file_of_their_own(run: Run) -> None:
    [first] = run(symbols=["ZL"])
    content = first.read_bytes()
    [second] = run(symbols=["ZS"])

    assert second.name == "glbx-mdp3-20251111-20251114.ohlcv-1d.2.dbn.zst"
    assert first.read_bytes() == content
    assert run(symbols=["ZS"]) == [second]


def test_damaged_file_of_the_same_name_is_not_taken_for_a_delivery(run: Run) -> None:
    run.destination.mkdir(parents=True)
    (run.destination / DAILY_FILE).write_bytes(zstd(run.server.delivery(ASKED))[:-5])

    [path] = run()
    assert path.name != DAILY_FILE
    assert len(run.server.calls_to(BARS)) == 1


# Money and credentials


def test_estimate_above_the_limit_downloads_nothing(run: Run) -> None:
    error = run.fails(CostLimitExceeded, newest={}, schemas=("ohlcv-1d", "ohlcv-1h"), max_cost_usd=1.7)

    assert "1.75 USD" in error.what
    assert "1.70 USD" in error.what
    assert "ZL_DATABENTO_MAX_COST_USD to at least 1.75" in error.action
    assert run.server.calls_to(BARS) == []


def test_estimate_at_the_limit_is_bought(run: Run) -> None:
    assert len(run(max_cost_usd=0.25)) == 1


@pytest.mark.parametrize("estimate", ["0.25", None, True, -1, float("nan"), float("inf")])
def test_estimate_that_is_no_amount_downloads_nothing(run: Run, estimate: object) -> None:
    run.server.always_answer(COST, json_answer(estimate))

    run.fails(ServiceError)
    assert run.server.calls_to(BARS) == []


@pytest.mark.parametrize("key", ["", "  \n", "YOUR_API_KEY", "two words", "ключ"])
def test_missing_key_names_the_variable_and_asks_nothing(run: Run, key: str) -> None:
    error = run.fails(MissingCredential, api_key=key)

    assert "DATABENTO_API_KEY" in str(error)
    assert run.server.calls == []


def test_line_end_around_the_key_is_ignored(run: Run) -> None:
    assert len(run(api_key=f" {KEY}\n")) == 1


def test_refused_key_is_not_tried_again(run: Run) -> None:
    wrong = "db-wrong-key"
    error = run.fails(MissingCredential, api_key=wrong)

    assert "401" in error.what
    assert "DATABENTO_API_KEY" in error.action
    assert wrong not in "".join(traceback.format_exception(error))
    assert len(run.server.calls) == 1
    assert run.waits == []


def test_key_repeated_by_the_vendor_is_not_passed_on(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    warned = {"X-Warning": json.dumps([f"Warning: key {KEY} expires soon"])}
    run.server.next_answers(RANGE, Answer(200, json.dumps(run.server.available).encode(), warned))
    run.server.next_answers(BARS, refusal(500, "bad", f"{'x' * 380} {KEY}"))
    with caplog.at_level(logging.DEBUG):
        run.server.always_answer(BARS, refusal(422, "bad", f"key {KEY} may not"))
        run.fails(ServiceError)

    assert any("expires soon" in line for line in run.lines)
    assert KEY[:8] not in caplog.text + "".join(run.lines)


@pytest.mark.parametrize(("status", "case"), [(402, "account_insufficient_funds"), (403, "auth_forbidden")])
def test_account_that_may_not_is_not_asked_again(run: Run, status: int, case: str) -> None:
    run.server.always_answer(COST, refusal(status, case, "Ask your administrator."))

    error = run.fails(ConfigurationError)
    assert "Ask your administrator." in error.what
    assert len(run.server.calls_to(COST)) == 1


@pytest.mark.parametrize("endpoint", [COST, BARS])
def test_account_without_a_live_licence_gets_one_day_less(run: Run, endpoint: str) -> None:
    licence = refusal(403, "license_not_found_unauthorized", "A live data license is required after 2025-11-14T13:00Z.")
    run.server.next_answers(endpoint, licence)

    assert [p.name for p in run()] == ["glbx-mdp3-20251111-20251113.ohlcv-1d.dbn.zst"]
    assert any("live data license" in line for line in run.lines)


def test_account_without_a_licence_at_all_is_told_so(run: Run) -> None:
    run.server.always_answer(COST, refusal(403, "license_not_found_unauthorized", "A license is required."))

    error = run.fails(ConfigurationError)
    assert "A license is required." in error.what
    assert len(run.server.calls_to(COST)) == 2


def test_only_the_newest_day_and_no_live_licence_means_nothing_new(run: Run) -> None:
    run.server.always_answer(COST, refusal(403, "license_not_found_unauthorized", "A license is required."))

    assert run(newest={"ohlcv-1d": date(2025, 11, 13)}) == []


# Requests the vendor rejects


def test_rejected_request_repeats_the_vendors_words_and_is_not_tried_again(run: Run) -> None:
    words = "The dataset GLBX.MDP3 has data available up to '2025-11-14 20:00:00+00:00'."
    run.server.always_answer(BARS, refusal(422, "data_end_after_available_end", words, request_id="r-7"))

    error = run.fails(ServiceError)
    assert error.exit_code == 3
    assert "422" in error.what
    assert words in error.what
    assert "data_end_after_available_end" in error.what
    assert error.where == "timeseries.get_range, request r-7"
    assert len(run.server.calls_to(BARS)) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (json_answer({"detail": "Unknown symbol."}, 404), "Unknown symbol."),
        (
            json_answer({"detail": [{"loc": ["body", "start"], "msg": "not a date", "type": "value_error"}]}, 422),
            "not a date",
        ),
        (json_answer({}, 400), "no message"),
        (Answer(400, b"<html>bad</html>"), "no message"),
    ],
)
def test_other_shapes_of_rejection_are_understood(run: Run, answer: Answer, words: str) -> None:
    run.server.always_answer(BARS, answer)

    error = run.fails(ServiceError)
    assert words in error.what
    assert len(run.server.calls_to(BARS)) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"symbols": ["ZL", "FCPO"]}, "FCPO"), ({"symbols": []}, "no symbol"), ({"schemas": ["trades"]}, "trades")],
)
def test_what_cannot_be_had_is_refused_before_asking(run: Run, changes: dict[str, Any], words: str) -> None:
    assert words in run.fails(InputError, **changes).what
    assert run.server.calls == []


@pytest.mark.parametrize(
    "gateway", ["http://hist.databento.com", "ftp://127.0.0.1", "hist.databento.com", "https://", "http://[", ""]
)
def test_gateway_that_would_show_the_key_is_refused(run: Run, gateway: str) -> None:
    assert "https" in run.fails(ConfigurationError, gateway=gateway).what


# Faults that pass, and faults that stay


def too_many(retry_after: str | None) -> Answer:
    headers = {} if retry_after is None else {"Retry_After": retry_after}
    return refusal(429, "too_many_requests", "Rate limit exceeded.", **headers)


@pytest.mark.parametrize("endpoint", [RANGE, COST, BARS])
def test_rate_limit_waits_exactly_as_long_as_asked(run: Run, endpoint: str) -> None:
    run.server.next_answers(endpoint, too_many("7"))

    assert len(run()) == 1
    assert run.waits == [7.0]


def test_rate_limit_that_stays_ends_after_the_last_attempt(run: Run) -> None:
    run.server.always_answer(BARS, too_many("1"))

    error = run.fails(ServiceError)
    assert "429" in error.what
    assert run.waits == [1.0] * (ATTEMPTS - 1)
    assert len(run.server.calls_to(BARS)) == ATTEMPTS


def test_rate_limit_without_an_end_in_sight_does_not_wait(run: Run) -> None:
    run.server.always_answer(BARS, too_many("3600"))

    assert "3600 s" in run.fails(ServiceError).what
    assert run.waits == []


@pytest.mark.parametrize("retry_after", [None, "soon", "-5"])
def test_rate_limit_without_a_usable_wait_backs_off(run: Run, retry_after: str | None) -> None:
    run.server.next_answers(BARS, too_many(retry_after))

    assert len(run()) == 1
    assert run.waits == [BACKOFF_S[0]]


@pytest.mark.parametrize("endpoint", [RANGE, COST, BARS])
def test_server_errors_that_pass_are_waited_out(run: Run, endpoint: str) -> None:
    run.server.next_answers(endpoint, refusal(500, "internal", "Oops."), Answer(503, b"<html>overloaded</html>"))

    assert len(run()) == 1
    assert run.waits == list(BACKOFF_S[:2])


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_server_errors_that_stay_name_status_endpoint_and_next_step(run: Run, status: int) -> None:
    run.server.always_answer(BARS, Answer(status))

    error = run.fails(ServiceError)
    assert str(status) in error.what
    assert error.where == BARS
    assert error.action
    assert run.waits == list(BACKOFF_S)


def broken_deliveries() -> list[Any]:
    """Answers with status 200 made from the uncompressed DBN of a request, none of them usable."""

    def cut(after: int, *, chunked: bool) -> Callable[[bytes], Answer]:
        return lambda plain: Answer(200, zstd(plain), cut=after, chunked=chunked)

    return [
        pytest.param(cut(0, chunked=False), id="length-cut-at-once"),
        pytest.param(cut(150, chunked=False), id="length-cut"),
        pytest.param(cut(0, chunked=True), id="chunked-cut-at-once"),
        pytest.param(cut(150, chunked=True), id="chunked-cut"),
        pytest.param(lambda plain: Answer(200, zstd(plain)[:-7]), id="only-frame-cut"),
        # The client reads this one without complaint and returns fewer bars.
        pytest.param(lambda plain: Answer(200, zstd(plain, frame_bytes=112)[:-7]), id="last-of-many-frames-cut"),
        pytest.param(lambda plain: Answer(200, zstd(plain)[:40]), id="metadata-cut"),
        pytest.param(lambda plain: Answer(200, zstd(plain) + b"trailing"), id="trailing-bytes"),
        pytest.param(lambda plain: Answer(200, plain), id="not-compressed"),
        pytest.param(lambda _: Answer(200, b""), id="empty"),
        pytest.param(lambda _: Answer(200, b"<html>please log in</html>"), id="html"),
        pytest.param(lambda _: Answer(200, zstd(b"")), id="empty-frame"),
        pytest.param(lambda _: Answer(200, zstd(b"no DBN at all, only text")), id="not-dbn"),
    ]


@pytest.mark.parametrize("broken", broken_deliveries())
def test_broken_delivery_is_asked_for_again(run: Run, broken: Callable[[bytes], Answer]) -> None:
    run.server.next_answers(BARS, broken(run.server.delivery(ASKED)))

    assert [p.name for p in run()] == [DAILY_FILE]
    assert run.waits == [BACKOFF_S[0]]
    assert run.files() == [DAILY_FILE]


@pytest.mark.parametrize("broken", broken_deliveries())
def test_delivery_that_stays_broken_leaves_nothing(run: Run, broken: Callable[[bytes], Answer]) -> None:
    run.server.always_answer(BARS, broken(run.server.delivery(ASKED)))

    error = run.fails(ServiceError)
    assert error.exit_code == 3
    assert error.where == BARS
    assert len(run.server.calls_to(BARS)) == ATTEMPTS


def bar(day: int) -> Bar:
    return Bar("ZL.v.0", datetime(2025, 11, day, tzinfo=UTC))


@pytest.mark.parametrize(
    ("changes", "cut", "words"),
    [
        ({}, 20, "within a bar"),
        ({"schema": "ohlcv-1h"}, 0, "ohlcv-1h"),
        ({"dataset": "XNAS.ITCH"}, 0, "XNAS.ITCH"),
        ({"record_type": 34}, 0, "8 of 8 records"),
        ({"bars": [bar(12), bar(15)]}, 0, "1 of 2 records"),
        ({"bars": [bar(10)]}, 0, "1 of 1 records"),
        ({"symbols": ["ZL.v.0"]}, 0, "ZS.v.0"),
    ],
)
def test_delivery_of_something_else_is_not_kept(run: Run, changes: dict[str, Any], cut: int, words: str) -> None:
    plain = run.server.delivery(ASKED, **changes)
    run.server.always_answer(BARS, Answer(200, zstd(plain[: len(plain) - cut])))

    assert words in run.fails(ServiceError).what


def test_repeating_a_broken_delivery_stays_within_the_limit(run: Run) -> None:
    run.server.always_answer(BARS, Answer(200, zstd(run.server.delivery(ASKED)), cut=150))

    error = run.fails(CostLimitExceeded, max_cost_usd=0.6)
    assert "0.75 USD" in error.what
    assert len(run.server.calls_to(BARS)) == 2


def test_first_file_stays_when_the_second_fails(run: Run) -> None:
    newest = {"ohlcv-1d": NEWEST, "ohlcv-1h": NEWEST}
    run.server.next_answers(BARS, Answer(200, zstd(run.server.delivery(ASKED))), *[Answer(500)] * ATTEMPTS)
    with pytest.raises(ServiceError):
        run(newest=newest, schemas=("ohlcv-1d", "ohlcv-1h"))
    assert run.files() == [DAILY_FILE]
    run.server.calls.clear()

    assert [p.name for p in run(newest=newest, schemas=("ohlcv-1d", "ohlcv-1h"))] == [DAILY_FILE, HOURLY_FILE]
    assert [c.params["schema"] for c in run.server.calls_to(BARS)] == ["ohlcv-1h"]


def test_metadata_that_cannot_be_read_ends_in_an_error(run: Run) -> None:
    for answer in (
        Answer(200, b"<html>"),
        json_answer([]),
        json_answer({"start": "soon", "end": "later"}),
        Answer(500, b"[]"),
    ):
        run.server.always_answer(RANGE, answer)
        assert run.fails(ServiceError).where == RANGE


def test_metadata_cut_off_is_asked_for_again(run: Run) -> None:
    run.server.next_answers(RANGE, Answer(200, json.dumps(run.server.available).encode(), cut=10))

    assert len(run()) == 1
    assert run.waits == [BACKOFF_S[0]]


def test_nobody_listening_ends_in_an_error(run: Run) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    error = run.fails(ServiceError, gateway=f"http://127.0.0.1:{port}")

    assert "cannot be reached" in error.what
    assert "network" in error.action
    assert run.waits == list(BACKOFF_S)


def test_server_that_never_answers_is_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from databento.common.http import BentoHttpAPI

    monkeypatch.setattr(BentoHttpAPI, "TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        error = run.fails(ServiceError, gateway=f"http://127.0.0.1:{deaf.getsockname()[1]}")

    assert "in time" in error.what


def test_server_that_does_not_speak_tls_is_refused_at_once(run: Run) -> None:
    error = run.fails(ServiceError, gateway=run.server.gateway.replace("http:", "https:"))

    assert "TLS" in error.what
    assert run.waits == []


# The disk


def test_full_disk_leaves_no_part_of_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(databento_api.os, "fsync", no_space)

    assert DAILY_FILE in run.fails(StorageFull).where


def test_destination_that_is_a_file_is_refused(run: Run) -> None:
    run.destination.parent.mkdir(parents=True)
    run.destination.write_text("in the way")

    with pytest.raises(ConfigurationError, match="cannot be written"):
        run()
