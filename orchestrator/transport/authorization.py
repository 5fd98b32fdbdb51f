"""Proves who we are to one origin, and asks for a better proof when that is refused.

The requests that the SDK made, and that errors and logs may show, never have a token: what is sent
is a copy. A request that leads to another origin, by a redirect or otherwise, is sent as it is.
"""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import AnyStr, Protocol

import httpx2

from orchestrator.transport.http_wire import OF_BODIES

# Of a refusal: what is read of it, to use the connection again.
MAX_REFUSAL_BYTES = 100_000
# A refused request is sent again with a new token, and once more with one of more scopes.
MAX_RENEWALS = 2
_MORE_SCOPES = re.compile(r"insufficient_scope", re.I)


class NotAuthorizedError(Exception):
    """A request cannot be authorized.

    Attributes:
        needs_login: A person has to log in.
        retryable: The same may succeed later without a person.
        refusal: What the server said to the request; None if it was not sent.
    """

    refusal: httpx2.Response | None = None

    def __init__(self, why: str, *, needs_login: bool = False, retryable: bool = False) -> None:
        super().__init__(why)
        self.needs_login, self.retryable = needs_login, retryable


class Authorization(Protocol):
    """Has the tokens of one server."""

    async def token(self) -> str | None:
        """The token to send; None to send none.

        Raises:
            NotAuthorizedError: The one that there was has expired, and there is no other.
        """

    async def renewed(self, sent: str | None, refusal: httpx2.Response) -> str:
        """A token in place of one that was refused, or where none was sent.

        Raises:
            NotAuthorizedError: There is none.
        """

    def hide(self, said: AnyStr) -> AnyStr:
        """What the server sent, without the tokens that were sent to it."""


class AuthorizedTransport(httpx2.AsyncBaseTransport):
    """Sends the requests to the origin of a URL with a token.

    Args:
        inner: Sends them. It is not closed here.
        url: That of the server.
        authorization: Has the tokens.
    """

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, url: str, authorization: Authorization
    ) -> None:
        self._inner, self._authorization = inner, authorization
        self._url = httpx2.URL(url)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; one that is refused for want of a token again, with a new one.

        Raises:
            NotAuthorizedError: It was refused, or not sent, and there is no other token.
        """
        if not within(request.url, self._url):
            return await self._inner.handle_async_request(request)
        await request.aread()  # it may be sent again
        token = await self._authorization.token()
        for _ in range(MAX_RENEWALS):
            response = await self._send(request, token)
            if not _asks_for_token(response):
                return response
            refusal = await _read(response)
            refusal.request = request
            try:
                token = await self._authorization.renewed(token, refusal)
            except NotAuthorizedError as error:
                error.refusal = refusal
                raise
        return await self._send(request, token)

    async def _send(self, request: httpx2.Request, token: str | None) -> httpx2.Response:
        if token is None:
            return await self._inner.handle_async_request(request)
        headers = httpx2.Headers(request.headers)
        headers["Authorization"] = f"Bearer {token}"
        copy = httpx2.Request(
            request.method,
            request.url,
            headers=headers,
            content=request.content,
            extensions=request.extensions,
        )
        return await self._inner.handle_async_request(copy)


def within(url: httpx2.URL, of: httpx2.URL) -> bool:
    """Whether a URL has the origin of another one."""
    return (url.scheme, url.host, url.port) == (of.scheme, of.host, of.port)


def _asks_for_token(response: httpx2.Response) -> bool:
    if response.status_code == 403:
        return _MORE_SCOPES.search(response.headers.get("www-authenticate", "")) is not None
    return response.status_code == 401


async def _read(response: httpx2.Response) -> httpx2.Response:
    """A refusal with its body, or the beginning of it."""
    body = b""
    try:
        async with aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > MAX_REFUSAL_BYTES:
                    break
    finally:
        await response.aclose()
    named = response.headers.multi_items()
    headers = [(name, value) for name, value in named if name.lower() not in OF_BODIES]
    reason = {"reason_phrase": response.reason_phrase.encode("ascii", "replace")}
    return httpx2.Response(response.status_code, headers=headers, content=body, extensions=reason)
