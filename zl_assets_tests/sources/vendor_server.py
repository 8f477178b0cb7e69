"""A local server that stands in for any vendor of raw series, and a clock that never sleeps.

The answers are written by us in the shape each vendor documents, with invented values; none is a recording. Every
answer can be replaced, in order, to act out the faults of a service.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import polars as pl
from pydantic import SecretStr

from zl_assets.sources.http import Clock, Endpoint, Key

KEY = "invented-key-0123456789abcdef"
NOW = datetime(2025, 11, 14, 18, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `cut`: how many of the body's bytes are sent before the connection is dropped."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass(frozen=True)
class Call:
    """A request as it arrived."""

    path: str
    params: dict[str, str]
    pairs: list[tuple[str, str]]
    headers: dict[str, str]


def says(value: Any, status: int = 200, **headers: str) -> Answer:
    """A JSON answer with the validator that belongs to its body."""
    body = json.dumps(value).encode()
    validator = {"ETag": f'"{hashlib.sha256(body).hexdigest()[:12]}"'} if status == 200 else {}
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, body, {"Content-Type": "application/json", **validator, **named})


class FakeVendor:
    """State of the server: how it answers, answers to come first, calls so far."""

    def __init__(self) -> None:
        self.address = ""
        self.calls: list[Call] = []
        self.waits: list[float] = []
        self.sent: list[int] = []
        self.lines: list[str] = []
        self.answering: Callable[[Call], Answer] = lambda call: says({"path": call.path})
        self._first: deque[Answer] = deque()
        self._at = 0.0
        self._now = NOW

    def first(self, *answers: Answer) -> None:
        """Give these answers before any other."""
        self._first.extend(answers)

    def answer(self, call: Call) -> Answer:
        """The answer to a call; 304 where the caller holds the same body already."""
        answer = self._first.popleft() if self._first else self.answering(call)
        tag = answer.headers.get("ETag")
        return Answer(304, headers={"ETag": tag}) if tag and tag == call.headers.get("if-none-match") else answer

    @property
    def clock(self) -> Clock:
        """Time that passes only by being slept, without anybody waiting."""

        def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            self._at += seconds
            self._now += timedelta(seconds=seconds)

        return Clock(sleep=sleep, monotonic=lambda: self._at, now=lambda: self._now)

    def endpoint(self, cache: Path, key: Key | None = None, **changes: Any) -> Endpoint:
        """This server as an endpoint that allows requests without a pause."""
        given = {"vendor": "Vendor", "setting": "ZL_VENDOR_GATEWAY", "per_minute": float("inf"), **changes}
        return Endpoint(address=self.address, cache=cache, key=key, clock=self.clock, **given)


def key(place: str = "parameter", name: str = "api_key", value: str | None = KEY) -> Key:
    """A key of the vendor."""
    assert place in {"parameter", "header"}
    secret = None if value is None else SecretStr(value)
    return Key("VENDOR_API_KEY", secret, "parameter" if place == "parameter" else "header", name)


def plain(table: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """The rows, of some columns."""
    return table.select(columns).rows()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: FakeVendor) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = fake


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        fake = self.server.fake
        parts = urlsplit(self.path)
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(unquote(parts.path), dict(pairs), pairs, headers)
        fake.calls.append(call)
        answer = fake.answer(call)
        fake.sent.append(answer.status)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body if answer.cut is None else answer.body[: answer.cut])
        self.close_connection = answer.cut is not None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def running() -> Iterator[FakeVendor]:
    """A server on a free port of this machine, stopped and closed at the end."""
    fake = FakeVendor()
    server = _Server(fake)
    fake.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
