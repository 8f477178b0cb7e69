"""What a failed request to a vendor of raw series means for the run: another attempt, or which error."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from zl_assets.errors import MissingCredential, ServiceError, ZlError

if TYPE_CHECKING:
    import httpx
    from tenacity import RetryCallState

    from zl_assets.sources.http import Endpoint

BACKOFF_S = (2.0, 8.0, 32.0)
"""Seconds before the second, third and fourth attempt, unless the vendor says how long to wait."""
LONGEST_WAIT_S = 120.0
"""A vendor that asks for a longer wait ends the run instead: a scheduler can wait, a run should not."""
SAID_CHARS = 300
"""How much of a vendor's words or of a request goes into a message."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Fault:
    """One failed attempt: the error if it is the last, and whether and when another makes sense."""

    error: ZlError
    retry: bool = False
    wait_s: float | None = None


def wait_s(state: RetryCallState) -> float:
    """Seconds before the next attempt: what the vendor asks for, else the backoff."""
    fault = state.outcome.result() if state.outcome else None
    asked = fault.wait_s if isinstance(fault, Fault) else None
    # Asked after the last attempt too, where nothing is waited for any more.
    return BACKOFF_S[min(state.attempt_number, len(BACKOFF_S)) - 1] if asked is None else asked


def failed(what: str, where: str, action: str, **repeat: Any) -> Fault:
    """The service failed; `repeat` holds the other fields of the fault."""
    return Fault(ServiceError(what, where=where, action=action), **repeat)


def incomplete(endpoint: Endpoint, where: str, what: str) -> Fault:
    """An answer that is not whole, or not JSON."""
    said = f"{endpoint.vendor}'s answer is unusable: {what}"
    return failed(said, where, "run again later; nothing of it was kept", retry=True)


def unreachable(endpoint: Endpoint, where: str, what: str) -> Fault:
    """No connection, or no answer in time."""
    action = f"check the network, the proxy and {endpoint.setting}, then run again"
    return failed(f"{endpoint.vendor} {what}", where, action, retry=True)


def refused(endpoint: Endpoint, where: str, response: httpx.Response) -> Fault:
    """What a status other than 200 means for the run."""
    status = response.status_code
    said = " ".join(response.content[:4096].decode("utf-8", "replace").split())[:SAID_CHARS]
    about_key = status in {401, 403} or (status == 400 and "api_key" in said.lower().replace(" ", "_"))
    if endpoint.key and about_key:
        what = f"{endpoint.vendor} refuses the API key (HTTP {status}): {said}"
        return Fault(MissingCredential(what, where=where, action=f"check {endpoint.key.variable}"))
    what = f"{endpoint.vendor} answered HTTP {status}: {said}"
    if status in _PASSING:
        return _passing(endpoint, what, where, response)
    if 300 <= status < 400:
        action = f"set {endpoint.setting} to the new address if you trust it: {response.headers.get('Location', '?')}"
        return failed(what, where, action)
    return failed(what, where, "asking again will not help: the vendor's API may have changed; report this")


def _passing(endpoint: Endpoint, what: str, where: str, response: httpx.Response) -> Fault:
    """A fault that may pass: wait as long as Retry-After asks, in seconds or until a date, within bounds."""
    wait_s = _retry_after_s(response.headers.get("Retry-After", "").strip(), endpoint.clock.now())
    if wait_s is not None and wait_s > LONGEST_WAIT_S:
        return failed(f"{what}; it asks to wait {wait_s:g} s", where, "run again after that time")
    return failed(what, where, "run again later", retry=True, wait_s=wait_s)


def _retry_after_s(asked: str, now: datetime) -> float | None:
    if asked.isdecimal():
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - now).total_seconds())
