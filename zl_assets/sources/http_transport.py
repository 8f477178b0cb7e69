"""What lies between the cache and a vendor of raw series: the key goes in here, and comes out of what is sent back."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from zl_assets.errors import ConfigurationError, MissingCredential

if TYPE_CHECKING:
    import httpx

    from zl_assets.sources.http import Endpoint

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ABOUT_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})


class UnusableError(Exception):
    """An answer that is not what the vendor would send: never cached."""


class TooLongError(Exception):
    """An answer above the limit."""


def vendor_transport(endpoint: Endpoint, address: str) -> httpx.BaseTransport:
    """What lies below the cache: adds the key, reads the answer within its limit, and lets only whole JSON through."""
    import httpx

    key = _checked_key(endpoint)
    # At DEBUG it prints every header that arrives: a vendor that repeats the key in one would put it in the log.
    logging.getLogger("httpcore").setLevel(logging.INFO)

    class VendorTransport(httpx.BaseTransport):
        def __init__(self) -> None:
            self._inner = httpx.HTTPTransport(proxy=_proxy(address))

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            with_key = httpx.Request("GET", request.url, headers=request.headers, extensions=request.extensions)
            if endpoint.key and endpoint.key.place == "parameter":
                with_key.url = request.url.copy_add_param(endpoint.key.field, key)
            elif endpoint.key:
                with_key.headers[endpoint.key.field] = key
            response = self._inner.handle_request(with_key)
            try:
                body = _read(response, endpoint.max_bytes)
            finally:
                response.close()
            body = _without(key, body)
            if response.status_code == 200:
                _require_json(body)
            kept = [(k, v) for k, v in response.headers.multi_items() if k not in _ABOUT_THE_BODY]
            kept = [(k, _without(key, v.encode()).decode()) for k, v in kept]
            return httpx.Response(response.status_code, headers=kept, content=body, request=request)

        def close(self) -> None:
            self._inner.close()

    return VendorTransport()


def _read(response: httpx.Response, max_bytes: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > max_bytes:
            raise TooLongError
    return bytes(body)


def _without(key: str, text: bytes) -> bytes:
    """What a vendor sent, should it have repeated the key."""
    for form in {key, quote(key, safe="")} - {""}:
        text = text.replace(form.encode(), b"<key>")
    return text


def _require_json(body: bytes) -> None:
    if not body.strip():
        raise UnusableError("it is empty")

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(body, parse_constant=refuse)
    except ValueError:
        kind = "a web page" if body.lstrip()[:1] == b"<" else "broken off, or not JSON"
        raise UnusableError(f"it is {kind}") from None


def checked_address(endpoint: Endpoint) -> str:
    """The address without a slash at its end; raises ConfigurationError if it is none, or would show the key."""
    try:
        parts = urlsplit(endpoint.address)
        scheme, host = parts.scheme, parts.hostname or ""
    except ValueError:
        scheme, host = "", ""
    if not host or scheme not in {"http", "https"}:
        what, action = f"the address of {endpoint.vendor} is none", f"set {endpoint.setting} to an https:// address"
        raise ConfigurationError(what, where=endpoint.setting, action=action)
    if scheme == "http" and endpoint.key and host not in _LOOPBACK:
        what = f"the address of {endpoint.vendor} must be https; plain http would send the key in the clear"
        raise ConfigurationError(what, where=host, action=f"set {endpoint.setting} to an https:// address")
    return endpoint.address.rstrip("/")


def _checked_key(endpoint: Endpoint) -> str:
    if endpoint.key is None:
        return ""
    key = endpoint.key.text
    if not key or not (key.isascii() and key.isprintable()) or " " in key:
        state = "does not hold a key" if key else "is not set"
        what = f"{endpoint.vendor} needs an API key, and {endpoint.key.variable} {state}"
        raise MissingCredential(what, action=f"set {endpoint.key.variable} to a key of the vendor, or do without it")
    return key


def _proxy(address: str) -> str | None:
    """The proxy of the environment, as httpx reads it for a client without a transport of its own.

    This machine is never asked through one: it may be addressed in the clear, which must not leave it with a key.
    """
    parts = urlsplit(address)
    host = parts.hostname or ""
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or host in _LOOPBACK or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
