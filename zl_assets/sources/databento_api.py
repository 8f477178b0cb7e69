"""Bars bought from Databento's historical API, one file per schema, named and shaped as the vendor's batch files are.

Belongs here: what to ask for, what it may cost, how faults of the service are met, and when a delivery counts as whole.
Reading the bars out of the files does not: files bought here and files dropped by hand take the same way in.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from zl_assets.core.bars import DAILY, HOURLY
from zl_assets.core.instruments import INSTRUMENTS, ROLL_RULE
from zl_assets.errors import (
    ConfigurationError,
    CostLimitExceeded,
    InputError,
    MissingCredential,
    ServiceError,
    StorageFull,
    ZlError,
)
from zl_assets.sources.dbn import DamagedError, decompressed, is_compressed, whole_records

if TYPE_CHECKING:
    from databento import DBNStore, Historical
    from databento.common.error import BentoHttpError

Schema = Literal["ohlcv-1d", "ohlcv-1h"]

DATASET = "GLBX.MDP3"
FIRST_DAY = date(2010, 6, 6)
"""First UTC day of the dataset."""

ATTEMPTS = 4
BACKOFF_S = (2.0, 8.0, 32.0)
"""Seconds before the second, third and fourth attempt, unless the vendor says how long to wait."""
LONGEST_WAIT_S = 120.0
"""A vendor that asks for a longer wait ends the run instead: a scheduler can wait, a run should not."""

_RECORD_TYPE: dict[Schema, int] = {"ohlcv-1d": DAILY, "ohlcv-1h": HOURLY}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_COST_SETTING = "ZL_DATABENTO_MAX_COST_USD"
_KEY_SETTING = "DATABENTO_API_KEY"

T = TypeVar("T")
Report = Callable[[str], None]


class _LiveLicenceError(ConfigurationError):
    """The account may not have the newest day yet."""


@dataclass(frozen=True)
class _Request:
    """Bars of one schema for whole UTC days, `start` inclusive and `end` exclusive."""

    schema: Schema
    symbols: tuple[str, ...]
    start: date
    end: date

    @property
    def file_name(self) -> str:
        """The vendor's name for a batch file of these days; both dates in it are inclusive."""
        last = self.end - timedelta(days=1)
        return f"{DATASET.lower().replace('.', '-')}-{self.start:%Y%m%d}-{last:%Y%m%d}.{self.schema}.dbn.zst"

    def arguments(self) -> dict[str, Any]:
        """The request as the official client takes it."""
        return {
            "dataset": DATASET,
            "schema": self.schema,
            "symbols": list(self.symbols),
            "stype_in": "continuous",
            "start": self.start,
            "end": self.end,
        }


@dataclass(frozen=True)
class _Fault:
    """One failed call: the error to raise if it is the last, and whether and when another attempt makes sense."""

    error: ZlError
    retry: bool = False
    wait_s: float | None = None
    billed: bool = False


@dataclass
class _Budget:
    """What the run may cost in USD. A delivery that breaks off is billed, so its repetition counts again."""

    limit_usd: float
    committed_usd: float = 0.0

    def commit(self, usd: float, what: str) -> None:
        """Set aside `usd`; raises CostLimitExceeded if the total is then above the limit, or not a number."""
        total = self.committed_usd + usd
        if not total <= self.limit_usd:
            enough = math.ceil(round(total * 100, 6)) / 100
            raise CostLimitExceeded(
                f"{what} would cost an estimated {total:.2f} USD, above the limit of {self.limit_usd:.2f} USD",
                where=DATASET,
                action=f"set {_COST_SETTING} to at least {enough:.2f}, or ask for fewer symbols or schemas",
            )
        self.committed_usd = total


def download_new_bars(
    *,
    api_key: str,
    destination: Path,
    newest: Mapping[Schema, date],
    today: date,
    max_cost_usd: float,
    gateway: str | None = None,
    symbols: Sequence[str] | None = None,
    schemas: Sequence[Schema] = ("ohlcv-1d", "ohlcv-1h"),
    on_progress: Report | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """Download the bars of every complete UTC day that is not stored yet, one DBN file per schema.

    A returned file decodes from its first to its last byte and holds at least one bar. A delivery that fails leaves
    nothing behind; files completed before it stay, and the next run takes them from disk instead of buying them again.

    Args:
        api_key: the vendor's key. It appears in no message, progress line or log.
        destination: directory of the files; created where missing.
        newest: UTC day of the newest stored bar of each schema; a schema not in it is downloaded from FIRST_DAY.
        today: the current UTC day; it is not over, so it is not requested.
        max_cost_usd: limit of the run's cost in USD by the vendor's own estimate, repeated deliveries included.
        gateway: base address of the API; None for the vendor's. Plain http is accepted on this machine only.
        symbols: exchange roots such as `ZL`; None for every followed instrument.
        schemas: which bars to download.
        on_progress: receives one line for every step, wait and warning of the vendor.
        sleep: waits a number of seconds.

    Returns:
        The files to read, in the order of `schemas`; empty if there is nothing new.

    Raises:
        MissingCredential: no key, or the vendor does not accept it.
        CostLimitExceeded: the estimate is above the limit; nothing was downloaded.
        ConfigurationError: the account may not have these data, or the gateway or the directory is unusable.
        InputError: a symbol is not followed or a schema is not served.
        ServiceError: the vendor rejected the request, or still failed at the last attempt.
        StorageFull: no space left for the file.
    """
    wanted = [
        _Request(schema, _vendor_symbols(symbols), _day_after(newest.get(schema)), today) for schema in _known(schemas)
    ]
    key = _checked_key(api_key)
    if not any(r.start < r.end for r in wanted):
        return []
    vendor = _Vendor(key, gateway, on_progress or (lambda _: None), sleep)
    wanted = vendor.available(wanted)
    try:
        return _buy(vendor, wanted, destination, max_cost_usd)
    except _LiveLicenceError as refusal:
        # The vendor sells the latest 24 hours under another licence; the day before is open to every account.
        vendor.report(f"{refusal.what}; asking for one day less")
    return _buy(vendor, [replace(r, end=r.end - timedelta(days=1)) for r in wanted], destination, max_cost_usd)


def _buy(vendor: _Vendor, wanted: Sequence[_Request], destination: Path, max_cost_usd: float) -> list[Path]:
    """Files for the requests, taken from disk where an earlier run left them, else downloaded within the limit."""
    wanted = [r for r in wanted if r.start < r.end]
    held = {r: path for r in wanted if (path := _on_disk(destination, r))}
    costs = {r: vendor.cost(r) for r in wanted if r not in held}
    budget = _Budget(max_cost_usd)
    budget.commit(math.fsum(costs.values()), "the download")
    files: list[Path] = []
    for request in wanted:
        if request in held:
            vendor.report(f"{held[request].name} is already there")
            files.append(held[request])
            continue
        vendor.report(f"downloading {request.file_name}, estimated at {costs[request]:.2f} USD")
        body, bars = vendor.bars(request, costs[request], budget)
        if bars:
            files.append(_store(destination, request, body))
            vendor.report(f"{files[-1].name}: {bars} bars")
        else:
            vendor.report(f"{request.file_name}: no bar in these days")
    return files


class _Vendor:
    """The official client, its faults turned into the project's errors or met by another attempt."""

    def __init__(self, api_key: str, gateway: str | None, report: Report, sleep: Callable[[float], None]) -> None:
        self._key = api_key
        self._client = _client(self._key, gateway)
        self._sleep = sleep
        self.report = report

    def available(self, wanted: Sequence[_Request]) -> list[_Request]:
        """The requests, cut to the whole days the vendor has for their schema."""

        def ask() -> list[_Request]:
            ranges = self._client.metadata.get_dataset_range(dataset=DATASET)
            return [_within(r, ranges) for r in wanted]

        return self._call("metadata.get_dataset_range", ask)

    def cost(self, request: _Request) -> float:
        """The vendor's estimate in USD. Asking is free."""
        return self._call("metadata.get_cost", lambda: _usd(self._client.metadata.get_cost(**request.arguments())))

    def bars(self, request: _Request, cost_usd: float, budget: _Budget) -> tuple[bytes, int]:
        """A whole delivery and its number of bars. Repeating a broken delivery is taken from the budget."""

        def ask() -> tuple[bytes, int]:
            # In memory: given a path, the client leaves a partial file and its open handle when the body breaks off.
            store = self._client.timeseries.get_range(**request.arguments())
            return store.raw, _count_bars(store, request)

        def again(fault: _Fault) -> None:
            if fault.billed:
                budget.commit(cost_usd, f"repeating a delivery that broke off ({fault.error.what})")

        return self._call("timeseries.get_range", ask, before_repeat=again)

    def _call(self, endpoint: str, ask: Callable[[], T], before_repeat: Callable[[_Fault], None] | None = None) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            outcome = self._attempt(endpoint, ask)
            if not isinstance(outcome, _Fault):
                return outcome
            if not outcome.retry or attempt == ATTEMPTS:
                raise outcome.error
            if before_repeat:
                before_repeat(outcome)
            wait_s = BACKOFF_S[attempt - 1] if outcome.wait_s is None else outcome.wait_s
            self.report(f"{outcome.error.what}; attempt {attempt + 1} of {ATTEMPTS} in {wait_s:g} s")
            self._sleep(wait_s)
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, endpoint: str, ask: Callable[[], T]) -> T | _Fault:
        """One attempt. Errors are handed back: raised from in here they would carry the client's, headers included."""
        from databento.common.error import BentoError, BentoHttpError, BentoWarning
        from databento_dbn import DBNError
        from requests import RequestException

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                outcome = ask()
            except BentoHttpError as error:
                outcome = _refused(endpoint, error, self._said(_vendor_text(error)))
            except RequestException as error:
                outcome = _unreachable(endpoint, error)
            except (BentoError, DBNError, DamagedError) as error:
                outcome = _incomplete(endpoint, self._said(error))
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                # The client reads answers without checking their shape first.
                outcome = _incomplete(endpoint, f"it cannot be read ({type(error).__name__})")
        for warning in caught:
            if issubclass(warning.category, BentoWarning):
                self.report(f"vendor: {self._said(warning.message)}")
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        return outcome

    def _said(self, text: object) -> str:
        """Words of the vendor as one line of bounded length, without the key should the vendor have repeated it."""
        return " ".join(str(text).replace(self._key, "<key>").split())[:400]


def _client(api_key: str, gateway: str | None) -> Historical:
    """The official client. It turns every gateway address into https, which a server on this machine may not speak."""
    import databento
    from databento.historical.api.metadata import MetadataHttpAPI
    from databento.historical.api.timeseries import TimeseriesHttpAPI

    if gateway is None:
        return databento.Historical(api_key)
    scheme, host = _scheme_and_host(gateway)
    if scheme == "https" and host:
        return databento.Historical(api_key, gateway=gateway.rstrip("/"))
    if scheme != "http" or host not in _LOOPBACK:
        raise ConfigurationError(
            "the Databento gateway must be an https address; plain http would send the key in the clear",
            where=host or "gateway",
            action="give an https:// address, or none for the vendor's own",
        )
    client = databento.Historical(api_key)
    client.metadata = MetadataHttpAPI(key=api_key, gateway=gateway.rstrip("/"))
    client.timeseries = TimeseriesHttpAPI(key=api_key, gateway=gateway.rstrip("/"))
    return client


def _scheme_and_host(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        return "", ""
    return parts.scheme, parts.hostname or ""


def _checked_key(api_key: str) -> str:
    key = api_key.strip()
    if not key or not (key.isascii() and key.isprintable()) or " " in key or key == "YOUR_API_KEY":
        state = "does not hold an API key" if key else "is empty"
        raise MissingCredential(
            f"downloading from Databento needs an API key, and {_KEY_SETTING} {state}",
            action=f"set {_KEY_SETTING} to a key from the vendor's portal, or drop the vendor's files by hand",
        )
    return key


def _vendor_symbols(symbols: Sequence[str] | None) -> tuple[str, ...]:
    roots = tuple(INSTRUMENTS) if symbols is None else tuple(dict.fromkeys(symbols))
    unknown = [root for root in roots if root not in INSTRUMENTS]
    if unknown or not roots:
        what = f"not followed: {', '.join(unknown)}" if unknown else "no symbol to download"
        raise InputError(what, where="symbols", action=f"choose from {', '.join(INSTRUMENTS)}")
    return tuple(f"{root}.{ROLL_RULE}.0" for root in roots)


def _known(schemas: Sequence[Schema]) -> Sequence[Schema]:
    served = get_args(Schema)
    unknown = [s for s in schemas if s not in served]
    if unknown:
        raise InputError(
            f"no such bars: {', '.join(unknown)}", where="schemas", action=f"choose from {', '.join(served)}"
        )
    return list(dict.fromkeys(schemas))


def _day_after(newest: date | None) -> date:
    return FIRST_DAY if newest is None else max(FIRST_DAY, newest + timedelta(days=1))


def _within(request: _Request, ranges: Mapping[str, Any]) -> _Request:
    """The request within the vendor's range of its schema: the range of the dataset is wider for some schemas."""
    available = ranges.get("schema", {}).get(request.schema, ranges)
    first, end = (datetime.fromisoformat(available[edge][:19]) for edge in ("start", "end"))
    first_whole_day = (first + timedelta(days=1, microseconds=-1)).date()
    return replace(request, start=max(request.start, first_whole_day), end=min(request.end, end.date()))


def _usd(estimate: object) -> float:
    if isinstance(estimate, bool) or not isinstance(estimate, int | float) or not 0 <= estimate < math.inf:
        raise DamagedError(f"the cost estimate is not an amount: {estimate!r:.60}")
    return float(estimate)


def _count_bars(store: DBNStore, request: _Request) -> int:
    """Number of bars of a delivery; raises DamagedError unless it is whole and holds what was asked for, no more."""
    import numpy as np

    if not is_compressed(store.raw):
        raise DamagedError("it is not zstd data")
    plain = decompressed(store.raw)
    found = (store.dataset, str(store.schema), str(store.stype_in))
    if found != (DATASET, request.schema, "continuous"):
        raise DamagedError(f"the delivery holds {', '.join(found)}")
    missing = set(request.symbols) - set(store.symbols)
    if missing:
        raise DamagedError(f"the delivery was made for other symbols; missing {', '.join(sorted(missing))}")
    bars = whole_records(store, plain)
    if not len(bars):
        return 0
    first, end = (np.datetime64(day, "ns").astype(np.uint64) for day in (request.start, request.end))
    fits = (bars["rtype"] == _RECORD_TYPE[request.schema]) & (bars["ts_event"] >= first) & (bars["ts_event"] < end)
    if not fits.all():
        raise DamagedError(
            f"{int((~fits).sum())} of {len(bars)} records are no {request.schema} bars of the requested days"
        )
    return len(bars)


def _on_disk(destination: Path, request: _Request) -> Path | None:
    """A whole file of an earlier run that answers the request, if there is one."""
    from databento import DBNStore
    from databento.common.error import BentoError
    from databento_dbn import DBNError

    for path in (destination / request.file_name, *sorted(destination.glob(_numbered(request, "*")))):
        with suppress(OSError, ValueError, BentoError, DBNError, DamagedError):
            if _count_bars(DBNStore.from_bytes(path.read_bytes()), request):
                return path
    return None


def _numbered(request: _Request, number: int | str) -> str:
    return request.file_name.replace(".dbn.zst", f".{number}.dbn.zst")


def _store(destination: Path, request: _Request, body: bytes) -> Path:
    """Write a file whole or not at all, under a name that no other file has."""
    path, number = destination / request.file_name, 2
    while path.exists():
        # Same days, other symbols: the vendor's name does not tell them apart, and both were paid for.
        path, number = destination / _numbered(request, number), number + 1
    part = destination / f".{path.name}.{os.getpid()}.part"
    try:
        destination.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        if error.errno in StorageFull.NUMBERS:
            raise StorageFull(
                "no space left for a vendor file", where=str(path), action="free some space and run again"
            ) from error
        raise ConfigurationError(
            f"a vendor file cannot be written: {error.strerror}", where=str(path), action="make the directory writable"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return path


def _failed(what: str, where: str, action: str, **repeat: Any) -> _Fault:
    return _Fault(ServiceError(what, where=where, action=action), **repeat)


def _refused(endpoint: str, error: BentoHttpError, said: str) -> _Fault:
    """What an HTTP status other than success means for the run; `said` is the vendor's explanation."""
    status = error.http_status
    where = f"{endpoint}, request {error.request_id}" if error.request_id else endpoint
    if status == 401:
        what, action = "Databento refuses the API key", f"check {_KEY_SETTING} against the keys in the vendor's portal"
        return _Fault(MissingCredential(f"{what} (HTTP 401): {said}", where=where, action=action))
    if status in {402, 403}:
        kind = _LiveLicenceError if "license_not_found" in said else ConfigurationError
        what = "the Databento account may not do this"
        action = "check the payment details, the licences and the limits of the account in the vendor's portal"
        return _Fault(kind(f"{what} (HTTP {status}): {said}", where=where, action=action))
    what = f"Databento answered HTTP {status}: {said}"
    if status == 429:
        return _rate_limited(what, where, error)
    if status >= 500 or status == 408:
        return _failed(what, where, "run again later; see status.databento.com", retry=True)
    return _failed(what, where, "correct what the message names: asking again will not help")


def _rate_limited(what: str, where: str, error: BentoHttpError) -> _Fault:
    """Wait as long as the Retry-After header asks, in seconds as the vendor documents it, within bounds."""
    asked = str(error.headers.get("Retry-After", "")).strip()
    wait_s = float(asked) if asked.isdecimal() else None
    if wait_s is not None and wait_s > LONGEST_WAIT_S:
        return _failed(f"{what}; it asks to wait {wait_s:g} s", where, "run again after that time")
    return _failed(what, where, "run again later, with nothing else using the key", retry=True, wait_s=wait_s)


def _unreachable(endpoint: str, error: Exception) -> _Fault:
    from requests.exceptions import ChunkedEncodingError, JSONDecodeError, SSLError, Timeout

    if isinstance(error, JSONDecodeError | ChunkedEncodingError):
        return _incomplete(endpoint, "it broke off or is not JSON")
    if isinstance(error, SSLError):
        action = "check the gateway's address, and the clock, proxy and certificates of this machine"
        return _failed("no trusted TLS connection to the Databento gateway", endpoint, action)
    what = "Databento did not answer in time" if isinstance(error, Timeout) else "Databento cannot be reached"
    return _failed(f"{what} ({type(error).__name__})", endpoint, "check the network, then run again", retry=True)


def _incomplete(endpoint: str, what: str) -> _Fault:
    action = "run again later; nothing of it was kept"
    return _failed(f"Databento's answer is unusable: {what}", endpoint, action, retry=True, billed=True)


def _vendor_text(error: BentoHttpError) -> str:
    """The vendor's own words: `detail` is a text, an object with case and message, or a list of objects with msg."""
    detail = error.json_body.get("detail") if isinstance(error.json_body, dict) else None
    if isinstance(detail, dict):
        return f"{detail.get('message', '')} ({detail.get('case', 'no case given')})"
    if isinstance(detail, list):
        return "; ".join(str(d.get("msg", d)) if isinstance(d, dict) else str(d) for d in detail)
    return str(detail or error.message or "no message")
