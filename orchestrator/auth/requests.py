"""Sends what a provider asks for: to issuers, which may be slow, down, or say too much."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

import anyio
import httpx2

from orchestrator.documents.text import cut, quoted
from orchestrator.transport.authorization import NotAuthorizedError
from orchestrator.transport.http_client import tls

# For one answer. No more of it is read than that.
ANSWER_S = 20.0
MAX_BYTES = 1_000_000
MAX_SAID = 300

NewClient = Callable[[], httpx2.AsyncClient]
Send = Callable[[httpx2.Request], Awaitable[httpx2.Response]]


def new_client() -> httpx2.AsyncClient:
    """A client for issuers: through the proxies that the environment names."""
    return httpx2.AsyncClient(timeout=ANSWER_S, verify=tls())


async def sent(client: httpx2.AsyncClient, url: str, request: httpx2.Request) -> httpx2.Response:
    """The answer to a request, read whole; redirects are not followed.

    Args:
        client: Sends it.
        url: That of the server; over HTTPS, secrets are sent over HTTPS only.
        request: What to send.

    Raises:
        NotAuthorizedError: There is none, or it is too long, or the request is not for HTTPS.
    """
    where = f"{request.url.scheme}://{request.url.netloc.decode()}{request.url.path}"
    if request.url.scheme != "https" and url.startswith("https:") and not is_here(request.url.host):
        what = f"the server names {quoted(where, MAX_SAID)} for its logins, which is not HTTPS"
        raise NotAuthorizedError(what)
    try:
        with anyio.fail_after(ANSWER_S):
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                body = await _body(response)
            finally:
                await response.aclose()
    except (httpx2.RequestError, TimeoutError) as failure:
        said = cut(f"{type(failure).__name__}: {failure}".rstrip(": "), MAX_SAID)
        what = f"{quoted(where, MAX_SAID)} cannot be reached: {said}"
        raise NotAuthorizedError(what, retryable=True) from None
    if body is None:
        raise NotAuthorizedError(f"{quoted(where, MAX_SAID)} answered with too much")
    if response.status_code >= 500 or response.status_code == 429:
        what = f"{quoted(where, MAX_SAID)} answered HTTP {response.status_code}"
        raise NotAuthorizedError(what, retryable=True)
    headers = {
        name: value
        for name, value in response.headers.multi_items()
        if name.lower() in ("content-type", "location", "www-authenticate")
    }
    read = httpx2.Response(response.status_code, headers=headers, content=body, request=request)
    read.next_request = response.next_request
    return read


def is_here(host: str) -> bool:
    """Whether a host is this machine."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


async def _body(response: httpx2.Response) -> bytes | None:
    body = b""
    async with aclosing(response.aiter_bytes()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_BYTES:
                return None
    return body
