"""Who gets an answer: the browser that opened the printed link, and no other page in it.

A page of another site, of another port, or under another name for this machine is refused; and what
is answered can neither be framed, nor read by others, nor run what a document says. The cookie is
not enough: a browser sends it to whatever listens on another port of this machine, too. So what the
page asks for needs a key as well, which the page alone keeps.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[bytes, bytes] = {
    b"content-security-policy": POLICY.encode(),
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"x-frame-options": b"DENY",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}
READS, WRITES = ("GET", "HEAD"), ("POST",)
MAX_BODY = 4_000_000
DATA = "/api/"  # the paths of all that is about runs
KEY_HEADER = b"x-orchestrator-key"


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens the page of a port.

    Attributes:
        port: The port.
        token: Is in the printed link.
        once: Is in the link that the command opens itself: others see the arguments of a browser's
            process, so it is good for one exchange.
        session: Is in the cookie that the link is exchanged for.
        key: The page gets it with the cookie, keeps it where no other page reads it, and sends it
            with each request.
    """

    port: int
    token: str = field(default_factory=secrets.token_urlsafe, repr=False)
    session: str = field(default_factory=secrets.token_urlsafe, repr=False)
    key: str = field(default_factory=secrets.token_urlsafe, repr=False)
    once: str = field(default_factory=secrets.token_urlsafe, repr=False)

    @property
    def link(self) -> str:
        """What the user opens."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    @property
    def link_once(self) -> str:
        """What the command opens."""
        return f"http://127.0.0.1:{self.port}/?token={self.once}"

    @property
    def cookie(self) -> str:
        """The name of the cookie. Cookies ignore ports, so it has the port in its name."""
        return f"orchestrator-{self.port}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets no answer."""

    status: int
    reason: str


class Guard:
    """Passes on the requests that may be answered, and sets the headers of each answer."""

    def __init__(self, app: App, keys: Keys) -> None:
        self._app, self._keys = app, keys
        self._hosts = [f"{name}:{keys.port}" for name in ("127.0.0.1", "localhost")]
        self._tokens = [keys.token, keys.once]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        guarded = _with_headers(send)
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value.decode("latin-1"))
        if (refusal := self._foreign(scope["method"], headers)) is not None:
            await _say(guarded, refusal)
        elif (query := self._without_token(scope)) is not None:
            where = scope["path"] + (f"?{query}" if query else "") + f"#key={self._keys.key}"
            await _redirect(guarded, where, f"{self._keys.cookie}={self._keys.session}")
        elif not self._has_cookie(headers) or not self._has_key(scope, headers):
            await _say(guarded, NOT_OPENED)
        else:
            await self._app(scope, receive, guarded)

    def _foreign(self, method: str, headers: Mapping[bytes, list[str]]) -> Refusal | None:
        """Why a request does not come from the page itself, or from the user."""
        hosts = headers.get(b"host", [])
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return Refusal(403, "this page has another address")
        if any(origin != f"http://{hosts[0]}" for origin in headers.get(b"origin", ())):
            return Refusal(403, "another page has asked for it")
        if not set(headers.get(b"sec-fetch-site", ())) <= {"none", "same-origin"}:
            return Refusal(403, "another page has asked for it")
        if method not in (*READS, *WRITES):
            return Refusal(405, "expected GET, HEAD or POST")
        if method in WRITES and headers.get(b"content-type") != ["application/json"]:
            return Refusal(415, "expected application/json")
        if method in WRITES and not _is_short(headers.get(b"content-length", [])):
            return Refusal(413, f"expected at most {MAX_BODY:,} bytes, of a known length")
        return None

    def _without_token(self, scope: Scope) -> str | None:
        """The query without the token, if it has the right one; else None."""
        if scope["method"] != "GET":
            return None
        pairs = _query(scope)
        given = [value for name, value in pairs if name == "token"]
        good = [token for token in self._tokens if len(given) == 1 and _equal(given[0], token)]
        if not good:
            return None
        self._tokens = [
            token for token in self._tokens if token != self._keys.once or token not in good
        ]
        return urlencode([(name, value) for name, value in pairs if name != "token"])

    def _has_key(self, scope: Scope, headers: Mapping[bytes, list[str]]) -> bool:
        """Whether the page asks; streams and downloads have the key in their address."""
        if not scope["path"].startswith(DATA):  # what everybody may see, without any run
            return True
        given = headers.get(KEY_HEADER) or [value for name, value in _query(scope) if name == "key"]
        return len(given) == 1 and _equal(given[0], self._keys.key)

    def _has_cookie(self, headers: Mapping[bytes, list[str]]) -> bool:
        cookies = (each for line in headers.get(b"cookie", ()) for each in line.split(";"))
        given = [each.strip().partition("=") for each in cookies]
        values = [value for name, _, value in given if name == self._keys.cookie]
        return any(_equal(value, self._keys.session) for value in values)


NOT_OPENED = Refusal(401, 'open the link that "orchestrator ui" has printed')


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _is_short(lengths: list[str]) -> bool:
    return len(lengths) == 1 and lengths[0].isdecimal() and int(lengths[0]) <= MAX_BODY


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            own = [pair for pair in message.get("headers", ()) if pair[0].lower() not in HEADERS]
            message = {**message, "headers": [*own, *HEADERS.items()]}
        await send(message)

    return sending


async def _say(send: Send, refusal: Refusal) -> None:
    body = f"{refusal.reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _redirect(send: Send, where: str, cookie: str) -> None:
    value = f"{cookie}; Path=/; HttpOnly; SameSite=Strict"
    headers = [(b"location", _local(where).encode("ascii", "replace"))]
    headers += [(b"set-cookie", value.encode()), (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _local(where: str) -> str:
    """A path of this server: `//host` would be another one."""
    return "/" + where.lstrip("/\\")
