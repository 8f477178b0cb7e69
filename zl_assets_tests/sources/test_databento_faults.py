"""The Databento source where the vendor rejects a request, is overrun, breaks off or is not there."""

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from zl_assets.errors import (
    ConfigurationError,
    CostLimitExceeded,
    InputError,
    ServiceError,
)
from zl_assets.sources.databento_api import ATTEMPTS, BACKOFF_S
from zl_assets_tests.sources.databento_server import (
    Answer,
    Bar,
    json_answer,
    refusal,
    zstd,
)
from zl_assets_tests.sources.download import ASKED, BARS, COST, DAILY_FILE, HOURLY_FILE, NEWEST, RANGE, Run

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
