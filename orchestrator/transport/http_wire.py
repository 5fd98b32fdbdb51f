"""What is sent and read over HTTP, through which proxy, and how often a stream is opened again.

The SDK follows redirects within the origin of a server, and reads their bodies without a limit. It
opens a stream of events again as soon as the server says, which can be at once, and without end.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx2

from orchestrator.transport.framing import MAX_CONTAINERS, containers
from orchestrator.transport.parameters import Notify, nothing

# How long after the end of one stream of events the next is opened, at the least; twice as long for
# each stream that ends sooner than the longest pause.
REOPEN_S = 1.0
LONGEST_REOPEN_S = 8.0
# For the rest of a body that nobody reads, so that the connection can be used again.
DRAIN_S = 0.1
LONGEST_RETRY_AFTER_S = 86_400.0
# Statuses that a proxy answers with, rather than the server behind it.
_OF_PROXIES = (407, 502, 503, 504)
OF_BODIES = ("content-encoding", "content-length", "transfer-encoding")


class WireTransport(httpx2.AsyncBaseTransport):
    """Sends the requests of one session.

    Args:
        inner: Sends them. It is not closed here.
        proxy: The proxy that `inner` uses, for messages; empty for none.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, proxy: str = "") -> None:
        self._inner = inner
        self._through = f" (through the proxy {proxy})" if proxy else ""
        self._pause_s = REOPEN_S
        self._ended_at: float | None = None  # when a stream ended last

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            await self._wait_to_reopen()
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.RequestError as failure:
            failure.args = (f"{failure}{self._through}",)
            raise
        if self._through and response.status_code in _OF_PROXIES:
            reason = f"{response.reason_phrase}{self._through}"
            response.extensions["reason_phrase"] = reason.encode("ascii", "replace")
        if response.has_redirect_location:
            return await _redirect(request, response)
        if request.method == "DELETE":  # nobody wants to know what it says
            return await without_body(response)
        if request.method == "GET":
            assert isinstance(response.stream, httpx2.AsyncByteStream)
            response.stream = _Reopened(response.stream, self)
        return response

    async def _wait_to_reopen(self) -> None:
        if self._ended_at is not None:
            await anyio.sleep(max(0.0, self._ended_at + self._pause_s - anyio.current_time()))

    def note_end(self, began_at: float) -> None:
        """A stream of events has ended."""
        now = anyio.current_time()
        # One that lasted is not opened again and again.
        lasted = now - began_at >= LONGEST_REOPEN_S
        again = self._ended_at is not None
        longer_s = min(2 * self._pause_s, LONGEST_REOPEN_S) if again else REOPEN_S
        self._pause_s, self._ended_at = REOPEN_S if lasted else longer_s, now


class _Reopened(httpx2.AsyncByteStream):
    """A stream of events whose end is noted."""

    def __init__(self, inner: httpx2.AsyncByteStream, wire: WireTransport) -> None:
        self._inner = inner
        self._wire: WireTransport | None = wire
        self._began_at = anyio.current_time()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            yield chunk

    async def aclose(self) -> None:
        if self._wire is not None:
            self._wire.note_end(self._began_at)
            self._wire = None
        await self._inner.aclose()


async def _redirect(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
    """A redirect to a URL that can be read, without its body.

    Raises:
        RemoteProtocolError: It cannot be read: raised by the client, it would end the session.
    """
    redirect = await without_body(response)
    try:
        url = request.url.join(redirect.headers["location"])
        if not url.host:
            raise httpx2.InvalidURL("it has no host")
    except httpx2.InvalidURL as error:
        what = f"HTTP {response.status_code} redirects to no URL: {error}"
        raise httpx2.RemoteProtocolError(what, request=request) from None
    redirect.headers["location"] = str(url)
    return redirect


def within_origin(response: httpx2.Response) -> httpx2.URL | None:
    """Where a redirect leads that keeps the method and the origin of its request; else None."""
    request = response.request
    keeps = response.status_code in (307, 308) or request.method == "GET"
    if not (response.has_redirect_location and keeps):
        return None
    url = request.url.join(response.headers["location"])
    same = (url.scheme, url.netloc) == (request.url.scheme, request.url.netloc)
    return url if same and not url.userinfo else None


async def without_body(response: httpx2.Response) -> httpx2.Response:
    """A response without its body, which is read so that the connection can be used again."""
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    try:
        with anyio.move_on_after(DRAIN_S), suppress(httpx2.TransportError):
            async for _ in response.stream:
                pass
    finally:
        await response.stream.aclose()
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name.lower() not in OF_BODIES
    ]
    return httpx2.Response(response.status_code, headers=headers)


def proxy_for(url: str) -> httpx2.Proxy | None:
    """The proxy that the environment names for a URL, as curl reads it: HTTP_PROXY and so on.

    Raises:
        ProxyError: It is no proxy. The message does not show it, since it may hold a password.
    """
    target, proxies = httpx2.URL(url), getproxies()
    scheme = target.scheme if proxies.get(target.scheme) else "all"
    given = proxies.get(scheme)
    if not given or _is_exempt(target, proxies.get("no", "")):
        return None
    try:
        proxy = httpx2.Proxy(given if "://" in given else f"http://{given}")
        if not proxy.url.host:
            raise ValueError
    except (ValueError, httpx2.InvalidURL):
        what = f'the variable {scheme.upper()}_PROXY: expected a URL like "http://HOST:PORT"'
        raise httpx2.ProxyError(what) from None
    return proxy


def _is_exempt(target: httpx2.URL, exempt: str) -> bool:
    host = target.host
    port = target.port or {"http": 80, "https": 443}[target.scheme]
    if proxy_bypass(host) or proxy_bypass(f"{host}:{port}"):
        return True
    with suppress(ValueError):  # a name, which no network contains
        address = ipaddress.ip_address(host)
        return any(address in network for network in _networks(exempt))
    return False


def _networks(exempt: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """The addresses and networks in NO_PROXY, which `urllib` compares as names."""
    found = []
    for entry in exempt.split(","):
        with suppress(ValueError):
            found.append(ipaddress.ip_network(entry.strip().strip("[]"), strict=False))
    return found


async def read_whole(
    response: httpx2.Response, limit: int, heard: Notify = nothing
) -> tuple[bytes, int]:
    """The decoded body and its size; of one over a limit, a part and the least it can be."""
    headers = response.headers
    announced = headers.get("content-length", "")
    parts: list[bytes] = []
    size = held = 0
    try:
        if "content-encoding" not in headers and announced.isdecimal() and int(announced) > limit:
            return b"", int(announced)
        async with aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                heard()
                parts.append(chunk)
                size += len(chunk)
                held += containers(chunk)
                if size > limit or held > MAX_CONTAINERS:
                    break
    finally:
        await response.aclose()
    return b"".join(parts), size


def retry_after_s(value: str, now: datetime) -> float | None:
    """`Retry-After` (RFC 9110, section 10.2.3) as seconds from now; None if it is none."""
    if value.strip().isdecimal():
        return min(float(value), LONGEST_RETRY_AFTER_S)
    with suppress(ValueError, OverflowError):
        at = parsedate_to_datetime(value)
        wait_s = (at if at.tzinfo else at.replace(tzinfo=UTC)) - now
        return min(max(0.0, wait_s.total_seconds()), LONGEST_RETRY_AFTER_S)
    return None
