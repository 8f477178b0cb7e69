"""How every vendor of raw series is asked over HTTP: politely, once, and without telling anybody the key.

Belongs here: limits, retries, the cache, the key, and what a failed request means for the run. What to ask for and how
to read it belongs to the vendor's own module.

The layers, from the outside in: attempts (tenacity: its waits are handed to a sleep of our choice, which stamina's are
not), the cache (hishel: RFC 9111 on SQLite, BSD, kept up), the vendor's transport (httpx). The key is added below the
cache and taken out of answers there, so no stored entry, no log line of a library and no message has ever seen it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zl_assets.sources.http_faults import SAID_CHARS, Fault, failed, incomplete, refused, unreachable, wait_s
from zl_assets.sources.http_transport import TooLongError, UnusableError, checked_address, vendor_transport

if TYPE_CHECKING:
    from pydantic import SecretStr
    from tenacity import RetryCallState

ATTEMPTS = 4
TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
CACHE_BYTES = 256 * 2**20

Report = Callable[[str], None]
Params = Mapping[str, "str | list[str]"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Clock:
    """Time as the requests see it; a test hands in one of its own."""

    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _utc_now


@dataclass(frozen=True)
class Key:
    """A vendor's key and where it goes.

    Attributes:
        variable: what the user sets, e.g. FRED_API_KEY.
        value: the key, or None where it is not set.
        place: whether it travels as a query parameter or a header.
        field: name of the parameter or header.
    """

    variable: str
    value: SecretStr | None
    place: Literal["parameter", "header"]
    field: str

    @property
    def text(self) -> str:
        """The key, or nothing."""
        return self.value.get_secret_value().strip() if self.value else ""


@dataclass(frozen=True)
class Endpoint:
    """A vendor's API: where it is, what it allows, and whether the user asked for it.

    Attributes:
        vendor: name in messages.
        address: base address; http only without a key, or on this machine.
        setting: variable that moves the address.
        cache: directory of the stored answers.
        per_minute: requests, or units of cost, the vendor allows.
        key: None where the vendor needs none.
        asked: whether a vendor without a key is to be asked at all.
        switch: what to set to have it asked.
        max_bytes: longest answer that is read.
        user_agent: how requests introduce themselves.
        clock: time.
    """

    vendor: str
    address: str
    setting: str
    cache: Path
    per_minute: float
    key: Key | None = None
    asked: bool = True
    switch: str = ""
    max_bytes: int = 64 * 2**20
    user_agent: str = "zl_assets"
    clock: Clock = field(default_factory=Clock)

    def state(self) -> str:
        """`configured`, or `not configured: ` and what to set."""
        if self.key:
            return "configured" if self.key.text else f"not configured: {self.key.variable}"
        return "configured" if self.asked else f"not configured: {self.switch}"

    def open(self, report: Report) -> Connection:
        """A connection, to be closed.

        Raises:
            MissingCredential: the key is missing or cannot be one.
            ConfigurationError: the address would send a key in the clear, or is none.
        """
        return Connection(self, report)


@dataclass(frozen=True)
class Answer:
    """A vendor's answer.

    Attributes:
        value: the JSON value.
        provenance: identifies the answer's content.
        where: what was asked, for messages; never holds a key.
    """

    value: Any
    provenance: str
    where: str


class Connection:
    """Requests to one vendor, one after the other."""

    def __init__(self, endpoint: Endpoint, report: Report) -> None:
        import httpx
        from hishel import CacheOptions, SqliteStorage
        from hishel.httpx import CacheTransport

        self._endpoint = endpoint
        self._report = report
        self._next_free = -float("inf")
        address = checked_address(endpoint)
        self._trouble = _CacheTrouble(endpoint, report)
        storage = SqliteStorage(database_path=_cache_file(endpoint), max_size=CACHE_BYTES)
        self._client = httpx.Client(
            base_url=address,
            transport=CacheTransport(vendor_transport(endpoint, address), storage, rfc=CacheOptions(shared=False)),
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            # Freshness is the vendor's to say each time: a guess from Last-Modified would hide a revision for weeks.
            headers={"Cache-Control": "no-cache", "Accept": "application/json", "User-Agent": endpoint.user_agent},
        )

    def __enter__(self) -> Connection:
        _CACHE_LOG.addHandler(self._trouble)
        return self

    def __exit__(self, *_: object) -> None:
        _CACHE_LOG.removeHandler(self._trouble)
        self._client.close()

    def json(self, path: str, params: Params | None = None, *, cost: float = 1.0) -> Answer:
        """The JSON answer to a GET.

        Args:
            path: below the endpoint's address.
            params: query parameters; a list repeats its name.
            cost: how much of the vendor's allowance it takes.

        Raises:
            MissingCredential: the vendor does not accept the key.
            ServiceError: the vendor refuses, still fails at the last attempt, or its answer is not whole JSON.
        """
        from tenacity import Retrying, retry_if_result, stop_after_attempt

        attempts = Retrying(
            sleep=self._endpoint.clock.sleep,
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_s,
            retry=retry_if_result(lambda outcome: isinstance(outcome, Fault) and outcome.retry),
            before_sleep=self._announce,
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        outcome = attempts(self._attempt, path, dict(params or {}), cost)
        if isinstance(outcome, Fault):
            raise outcome.error
        return outcome

    def _announce(self, state: RetryCallState) -> None:
        fault = state.outcome.result() if state.outcome else None
        what = fault.error.what if isinstance(fault, Fault) else "no answer"
        self._report(f"{what}; attempt {state.attempt_number + 1} of {ATTEMPTS} in {wait_s(state):g} s")

    def _attempt(self, path: str, params: dict[str, str | list[str]], cost: float) -> Answer | Fault:
        """One attempt. Errors are handed back: raised from in here they would carry the client's, with the address."""
        import httpx

        self._keep_the_pace(cost)
        where = _where(self._endpoint, path, params)
        try:
            response = self._client.get(path, params=params)
        except TooLongError:
            what = f"{self._endpoint.vendor}'s answer is longer than {self._endpoint.max_bytes} bytes"
            return failed(what, where, "report this: the request should be split")
        except UnusableError as error:
            return incomplete(self._endpoint, where, str(error))
        except httpx.TimeoutException as error:
            return unreachable(self._endpoint, where, f"did not answer in time ({type(error).__name__})")
        except (httpx.RemoteProtocolError, httpx.DecodingError):
            return incomplete(self._endpoint, where, "it broke off")
        except httpx.TransportError as error:
            return unreachable(self._endpoint, where, f"cannot be reached ({type(error).__name__})")
        if response.status_code != 200:
            return refused(self._endpoint, where, response)
        digest = hashlib.sha256(response.content).hexdigest()
        return Answer(json.loads(response.content), str(uuid.uuid5(uuid.NAMESPACE_OID, digest)), where)

    def _keep_the_pace(self, cost: float) -> None:
        clock = self._endpoint.clock
        wait_s = self._next_free - clock.monotonic()
        if wait_s > 0:
            clock.sleep(wait_s)
        self._next_free = clock.monotonic() + cost * 60.0 / self._endpoint.per_minute


def _cache_file(endpoint: Endpoint) -> Path:
    slug = "".join(c if c.isalnum() else "_" for c in endpoint.vendor.lower())
    # The layout of the file is hishel 2's: another one needs another name.
    return endpoint.cache / f"{slug}.v2.db"


def _where(endpoint: Endpoint, path: str, params: Params) -> str:
    asked = ", ".join(f"{k}={v if isinstance(v, str) else '|'.join(v)}" for k, v in params.items())
    return f"{endpoint.vendor} {path}{f' ({asked})' if asked else ''}"[:SAID_CHARS]


class _CacheTrouble(logging.Handler):
    """Says once that the cache cannot be used. hishel logs it and goes on without: so does the run."""

    def __init__(self, endpoint: Endpoint, report: Report) -> None:
        super().__init__(logging.ERROR)
        self._line = f"the cache of {endpoint.vendor}'s answers cannot be used"
        self._file = _cache_file(endpoint)
        self._report = report
        self._said = False

    def emit(self, record: logging.LogRecord) -> None:
        """Report the first trouble."""
        if not self._said:
            self._said = True
            error = record.exc_info[1] if record.exc_info else record.getMessage()
            self._report(f"{self._line}: {error}; asking without it [{self._file}] -> delete the file, or make room")


_CACHE_LOG = logging.getLogger("hishel")
