"""A local server that speaks the part of Databento's historical API the project uses, with real DBN bodies.

The bars are invented (round prices, made-up instrument ids): they show what arrives, never what the market did.
Every answer can be replaced, in order, to act out the faults of the service.
"""

import base64
import json
import threading
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import zstandard
from databento_dbn import Metadata, OHLCVMsg, Schema, SType

KEY = "db-invented-key-0123456789abcdef"
NS_PER_S = 1_000_000_000
RECORD_TYPE = {"ohlcv-1d": 35, "ohlcv-1h": 34}


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. `cut`: how many of the body's bytes are sent before the connection is dropped."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    chunked: bool = False


@dataclass(frozen=True)
class Call:
    """A request as it arrived."""

    endpoint: str
    method: str
    params: dict[str, str]
    user: str
    password: str


@dataclass(frozen=True)
class Bar:
    """An invented bar; prices in the vendor's fixed point of 1e-9."""

    symbol: str
    ts_event: datetime
    open: int = 50_000_000_000
    high: int = 51_000_000_000
    low: int = 49_000_000_000
    close: int = 50_500_000_000
    volume: int = 40_000


def refusal(status: int, case: str, message: str, **headers: str) -> Answer:
    """An error in the shape the vendor documents: an object with case, message, status and documentation link."""
    detail = {
        "case": case,
        "message": message,
        "status_code": status,
        "docs": "https://databento.com/docs",
        "payload": None,
    }
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps({"detail": detail}).encode(), {"Content-Type": "application/json", **fields})


def json_answer(value: object, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


def instrument_id(symbol: str) -> int:
    """Invented id of a symbol's contract."""
    return 1000 + sum(symbol.encode())


def day_ns(day: date) -> int:
    """Nanoseconds since the epoch of a UTC midnight."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NS_PER_S


@dataclass
class _Interval:
    start_date: date
    end_date: date
    symbol: str


@dataclass
class _Mapping:
    raw_symbol: str
    intervals: list[_Interval]


def dbn(
    bars: Sequence[Bar],
    *,
    schema: str,
    symbols: Sequence[str],
    start: date,
    end: date,
    record_type: int | None = None,
    dataset: str = "GLBX.MDP3",
) -> bytes:
    """Uncompressed DBN: metadata with the mappings of continuous symbols, then one record a bar."""
    metadata = Metadata(
        dataset=dataset,
        start=day_ns(start),
        end=day_ns(end),
        stype_in=SType.CONTINUOUS,
        stype_out=SType.INSTRUMENT_ID,
        schema=Schema.from_str(schema),
        symbols=list(symbols),
        partial=[],
        not_found=[],
        mappings=[_Mapping(s, [_Interval(start, end, str(instrument_id(s)))]) for s in symbols],
    )
    records = [
        OHLCVMsg(
            record_type or RECORD_TYPE[schema],
            1,
            instrument_id(b.symbol),
            int(b.ts_event.timestamp()) * NS_PER_S,
            b.open,
            b.high,
            b.low,
            b.close,
            b.volume,
        )
        for b in bars
    ]
    return bytes(metadata) + b"".join(bytes(r) for r in records)


def zstd(plain: bytes, *, frame_bytes: int | None = None) -> bytes:
    """The bytes compressed in one frame, or in several as the vendor does: the metadata first, then the records."""
    compressor = zstandard.ZstdCompressor()
    if frame_bytes is None:
        return compressor.compress(plain)
    head = 8 + int.from_bytes(plain[4:8], "little")
    records = [plain[i : i + frame_bytes] for i in range(head, len(plain), frame_bytes)]
    return b"".join(compressor.compress(frame) for frame in (plain[:head], *records))


class FakeDatabento:
    """State of the server: bars for sale, answers to come, calls so far."""

    def __init__(self) -> None:
        self.gateway = ""
        self.calls: list[Call] = []
        self.cost_usd: dict[str, float] = {"ohlcv-1d": 0.25, "ohlcv-1h": 1.5}
        self.available: dict[str, Any] = {
            "start": "2010-06-06T00:00:00.000000000Z",
            "end": "2030-01-01T00:00:00.000000000Z",
            "schema": {},
        }
        self.closed_days: set[date] = set()
        self._scripted: dict[str, deque[Answer]] = defaultdict(deque)
        self._always: dict[str, Answer] = {}

    def next_answers(self, endpoint: str, *answers: Answer) -> None:
        """Give these answers first."""
        self._scripted[endpoint].extend(answers)

    def always_answer(self, endpoint: str, answer: Answer) -> None:
        """Give this answer whenever none is queued."""
        self._always[endpoint] = answer

    def calls_to(self, endpoint: str) -> list[Call]:
        """Requests that reached an endpoint."""
        return [c for c in self.calls if c.endpoint == endpoint]

    def bars(self, params: dict[str, str]) -> list[Bar]:
        """One bar for every symbol and day (at 00:00) or trading hour (three of them) of the requested range."""
        start, end = date.fromisoformat(params["start"]), date.fromisoformat(params["end"])
        days = [start + timedelta(days=i) for i in range((end - start).days)]
        hours = (0,) if params["schema"] == "ohlcv-1d" else (14, 15, 16)
        return [
            Bar(symbol, datetime(day.year, day.month, day.day, hour, tzinfo=UTC), volume=40_000 + day.day * 100 + hour)
            for day in days
            if day not in self.closed_days
            for hour in hours
            for symbol in params["symbols"].split(",")
        ]

    def delivery(self, params: dict[str, str], **changes: Any) -> bytes:
        """Uncompressed DBN for a request."""
        asked: dict[str, Any] = {
            "schema": params["schema"],
            "symbols": params["symbols"].split(","),
            "start": date.fromisoformat(params["start"]),
            "end": date.fromisoformat(params["end"]),
        }
        return dbn(changes.pop("bars", None) or self.bars(params), **{**asked, **changes})

    def answer(self, call: Call) -> Answer:
        """The answer to a call."""
        if self._scripted[call.endpoint]:
            return self._scripted[call.endpoint].popleft()
        if call.endpoint in self._always:
            return self._always[call.endpoint]
        if call.user != KEY:
            return refusal(401, "auth_authentication_failed", "Authentication failed.")
        if call.endpoint == "metadata.get_dataset_range":
            return json_answer(self.available)
        if call.endpoint == "metadata.get_cost":
            return json_answer(self.cost_usd[call.params["schema"]])
        if call.endpoint == "timeseries.get_range":
            return self._range(call.params)
        return refusal(404, "not_found", f"no endpoint {call.endpoint}")

    def _range(self, params: dict[str, str]) -> Answer:
        headers = {"Content-Type": "application/octet-stream"}
        if not self.bars(params):
            headers["X-Warning"] = json.dumps(["Warning: No data found for the request you submitted."])
        return Answer(200, zstd(self.delivery(params), frame_bytes=200), headers, chunked=True)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, fake: FakeDatabento) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = fake


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve(urlsplit(self.path).query)

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def _serve(self, form: str) -> None:
        assert isinstance(self.server, _Server)
        fake = self.server.fake
        user, _, password = self._credentials().partition(":")
        endpoint = urlsplit(self.path).path.removeprefix("/v0/")
        call = Call(endpoint, self.command, dict(parse_qsl(form)), user, password)
        fake.calls.append(call)
        self._send(fake.answer(call))

    def _credentials(self) -> str:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        return base64.b64decode(value).decode() if scheme == "Basic" else ""

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        sent = answer.body if answer.cut is None else answer.body[: answer.cut]
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._send_chunks(sent, complete=answer.cut is None)
        else:
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(sent)
        self.close_connection = answer.cut is not None

    def _send_chunks(self, sent: bytes, *, complete: bool) -> None:
        for i in range(0, len(sent), 100):
            piece = sent[i : i + 100]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if complete:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def running() -> Iterator[FakeDatabento]:
    """A server on a free port of this machine, stopped and closed at the end."""
    fake = FakeDatabento()
    server = _Server(fake)
    fake.gateway = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
