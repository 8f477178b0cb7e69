"""A proxy between Google's client and the local server: it records every request, and fails those it is told to."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """One request as the client sent it; `body` is its JSON, else empty."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> dict[str, Any]:
        try:
            return json.loads(self.content)
        except (ValueError, UnicodeDecodeError):
            return {}

    @property
    def job(self) -> dict[str, Any]:
        """Configuration of the job that the request starts."""
        return self.body.get("configuration", {})

    @property
    def sql(self) -> str:
        return self.job.get("query", {}).get("query", "")


@dataclass(frozen=True)
class Answer:
    """What the client gets; a status of 0 resets the connection instead."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


RESET = Answer(0, b"")


def error(status: int, reason: str, message: str = "made by the test") -> Answer:
    """An error as BigQuery's API tells it."""
    details = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return Answer(status, json.dumps({"error": details}).encode())


@dataclass
class Fault:
    """What to do with the requests that match, and how often.

    Attributes:
        matches: which requests.
        answer: in place of the server's; RESET breaks the connection.
        times: how many of them; None for all.
        after: the server does what it was asked first, and its answer is lost.
    """

    matches: Callable[[Request], bool]
    answer: Answer
    times: int | None = 1
    after: bool = False
    happened: int = 0

    def takes(self, request: Request) -> bool:
        if (self.times is not None and self.happened >= self.times) or not self.matches(request):
            return False
        self.happened += 1
        return True


@dataclass
class Proxy:
    """The proxy's state.

    Attributes:
        address: where it listens.
        requests: what it has seen, in order.
        faults: what it does next; the first that matches.
        rewrite: changes answers of the server, by request.
        change: changes what the server gets to see of a request.
        hold: called with each request before it goes on.
    """

    address: str = ""
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    rewrite: Callable[[Request, bytes], bytes] = lambda _, body: body
    change: Callable[[Request], bytes] = lambda request: request.content
    hold: Callable[[Request], None] = lambda _: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, matches: Callable[[Request], bool], answer: Answer, **how: Any) -> Fault:
        """Add a fault."""
        fault = Fault(matches, answer, **how)
        self.faults.append(fault)
        return fault

    def statements(self) -> list[str]:
        """The SQL of the jobs that were started, dry runs left out."""
        return [r.sql for r in self.requests if r.sql and not r.job.get("dryRun")]


def kill_at(proxy: Proxy, pattern: str, script: str, *arguments: str) -> None:
    """Run a script and kill it (SIGKILL) when it sends the statement that matches; that one is never passed on."""
    reached, release = threading.Event(), threading.Event()

    def hold(request: Request) -> None:
        if starts_query(pattern)(request):
            reached.set()
            release.wait(30)

    proxy.hold = hold
    proxy.fail(starts_query(pattern), RESET)
    process = subprocess.Popen([sys.executable, "-c", script, *arguments])
    try:
        assert reached.wait(60)
    finally:
        process.kill()
        process.wait()
        release.set()


def starts_query(pattern: str) -> Callable[[Request], bool]:
    """Requests that start a job, not a dry run, whose SQL matches."""
    return lambda r: r.method == "POST" and not r.job.get("dryRun") and bool(re.search(pattern, r.sql))


def touches(method: str, pattern: str) -> Callable[[Request], bool]:
    """Requests by method and path."""
    return lambda r: r.method == method and bool(re.search(pattern, r.path))


@contextmanager
def between(server: str) -> Iterator[Proxy]:
    """A proxy before a server, for the length of the block."""
    proxy = Proxy()
    upstream = urlsplit(server)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers), content)
            with proxy.lock:
                proxy.requests.append(request)
                fault = next((f for f in proxy.faults if f.takes(request)), None)
            proxy.hold(request)
            if fault and not fault.after:
                return self.reply(fault.answer)
            answer = _forwarded(upstream.netloc, request, proxy.change(request))
            return self.reply(fault.answer if fault else replace(answer, body=proxy.rewrite(request, answer.body)))

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815

        def reply(self, answer: Answer) -> None:
            if answer.status == 0:
                # Lingering for no time makes closing a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def finish(self) -> None:
            # The client may have gone, or the connection been reset.
            with contextlib.suppress(OSError, ValueError):
                super().finish()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    proxy.address = f"http://127.0.0.1:{listener.server_port}"
    try:
        yield proxy
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def _forwarded(netloc: str, request: Request, content: bytes) -> Answer:
    connection = http.client.HTTPConnection(netloc, timeout=60)
    try:
        connection.request(request.method, request.path, content, request.headers)
        response = connection.getresponse()
        dropped = {"content-length", "transfer-encoding", "connection", "date", "server"}
        kept = tuple((n, v) for n, v in response.getheaders() if n.lower() not in dropped)
        return Answer(response.status, response.read(), kept)
    finally:
        connection.close()
