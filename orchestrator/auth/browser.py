"""A person logs in with a browser on this machine, which comes back to a port that we listen on.

The link has what could log them in to the account of somebody else (the state, and what the code
that comes back is bound to), and other users see the arguments of a browser's process. So it is
opened by an address of that port that leads there once.
"""

from __future__ import annotations

import secrets
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urljoin, urlsplit

import anyio
from anyio.abc import SocketAttribute, SocketStream
from mcp.shared.auth import AuthorizationCodeResult

from orchestrator.auth.store import in_thread
from orchestrator.documents.text import cut, visible
from orchestrator.transport.authorization import NotAuthorizedError

PATH = "/callback"
LINK_PATH = "/login/"
MAX_HEAD_BYTES = 16_384
HEAD_S = 10.0
MAX_SAID = 300
_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, TimeoutError)
_PAGE = (
    '<!doctype html><meta charset="utf-8"><title>orchestrator</title>'
    '<body style="font: 16px system-ui; margin: 4em auto; max-width: 32em"><p>{}</p>'
)
DONE = "Close this page and go back to the terminal: it says whether you are logged in."
NOT_OURS = "This is not the answer that orchestrator waits for."
NOT_PASTED = "this is not the URL that this login ends at: paste all of it"
ReadLine = Callable[[], Awaitable[str]]
USED = (
    "This address is good once, and was used. If it was not you, end orchestrator login with "
    "Ctrl-C and start it again; otherwise follow the link in the terminal."
)


class PortInUseError(NotAuthorizedError):
    """The port that the browser is to come back to is not free."""


def open_browser(link: str) -> bool:
    """Open a link; whether there is a browser."""
    try:
        return webbrowser.open(link)
    except (OSError, webbrowser.Error):
        return False


def result_of(url: str) -> AuthorizationCodeResult:
    """What the URL says that a browser was sent back to.

    Raises:
        NotAuthorizedError: It says that the login was refused, or has no code.
    """
    given = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    if (error := given.get("error")) is not None:
        told = given.get("error_description", "")
        said = visible(cut(f"{error}: {told}" if told else error, MAX_SAID))
        what = "it was refused" if error == "access_denied" else "the issuer refused it"
        raise NotAuthorizedError(f"{what} ({said})")
    if "code" not in given:
        raise NotAuthorizedError("expected a URL with a code in it, as the browser shows it")
    return AuthorizationCodeResult(
        code=given["code"], state=given.get("state"), iss=given.get("iss")
    )


def state_of(url: str) -> str:
    """The state in a link, or in the URL that follows it: it tells which login it belongs to."""
    return next(iter(parse_qs(urlsplit(url).query).get("state", [])), "")


class Browser:
    """Listens on this machine for what a browser brings back.

    Args:
        redirect_url: Where the browser comes back to.
        show: Receives what a person should know: at first the link.
        read: The next line of a terminal, where they may paste the URL that a browser on another
            machine ends at; empty at its end. None: there is none.

    Attributes:
        redirect_url: Where the browser comes back to.
    """

    def __init__(
        self, redirect_url: str, show: Callable[[str], None], read: ReadLine | None = None
    ) -> None:
        self.redirect_url = redirect_url
        self._show, self._read = show, read
        self._state = self._link = ""
        self._link_path = LINK_PATH + secrets.token_urlsafe()
        self._answer: str | None = None
        self._answered = anyio.Event()

    @classmethod
    @asynccontextmanager
    async def listening(
        cls,
        redirect_url: str | None,
        show: Callable[[str], None],
        read: ReadLine | None = None,
    ) -> AsyncIterator[Browser]:
        """Listen while the block lasts.

        Args:
            redirect_url: Where the browser is to come back to; None: to any port that is free.
            show: Receives the link before a browser opens it.
            read: The next line of a terminal; None without one.

        Raises:
            PortInUseError: The port is not free.
        """
        where = urlsplit(redirect_url or "http://127.0.0.1:0")
        try:
            listener = await anyio.create_tcp_listener(
                local_host=where.hostname, local_port=where.port or 0
            )
        except OSError as error:
            what = f"the browser cannot come back to {redirect_url}: {error.strerror or error}"
            raise PortInUseError(what) from None
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610  # no Django
        made = cls(redirect_url or f"http://127.0.0.1:{port}{PATH}", show, read)
        failure: Exception | None = None
        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, made._serve)
            try:
                yield made
            except Exception as raised:
                failure = raised  # not for the group: it would come out in an exception group
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def open(self, link: str) -> None:
        """Have a person follow a link."""
        self._state, self._link = state_of(link), link
        self._show(link)
        await in_thread(open_browser, urljoin(self.redirect_url, self._link_path))

    async def answer(self) -> AuthorizationCodeResult:
        """What the browser has brought back.

        Raises:
            NotAuthorizedError: The login was refused.
        """
        async with anyio.create_task_group() as group:
            if self._read is not None:
                group.start_soon(self._take_pasted, self._read)
            await self._answered.wait()
            group.cancel_scope.cancel()
        assert self._answer is not None
        return result_of(self._answer)

    async def _take_pasted(self, read: ReadLine) -> None:
        """Take the URL that a browser ends at which cannot come back here."""
        while line := await read():
            if self._is_ours(pasted := line.strip()):
                self._take(pasted)
            elif pasted:
                self._show(NOT_PASTED)

    def _take(self, answer: str) -> None:
        """Take the first answer."""
        self._answer = self._answer or answer
        self._answered.set()

    async def _serve(self, stream: SocketStream) -> None:
        async with stream:
            with suppress(*_BROKEN):
                with anyio.fail_after(HEAD_S):
                    target = await _target(stream)
                if self._is_link(target):
                    await stream.send(self._lead())
                    return
                is_ours = self._is_ours(target)
                said = ("200 OK", DONE) if is_ours else ("404 Not Found", NOT_OURS)
                await stream.send(_page(*said))
                if is_ours:
                    self._take(target)

    def _is_link(self, target: str) -> bool:
        return secrets.compare_digest(target.encode(), self._link_path.encode())

    def _lead(self) -> bytes:
        """To the link, but once."""
        link, self._link = self._link, ""
        return _page("302 Found", "", f"location: {link}\r\n") if link else _page("410 Gone", USED)

    def _is_ours(self, target: str) -> bool:
        """Whether a request answers our link: any page can send a browser to this port."""
        is_path = urlsplit(target).path == (urlsplit(self.redirect_url).path or "/")
        return (
            is_path
            and bool(self._state)
            and secrets.compare_digest(state_of(target).encode(), self._state.encode())
        )


def _page(status: str, said: str, more: str = "") -> bytes:
    body = _PAGE.format(said).encode()
    head = (
        f"HTTP/1.1 {status}\r\n{more}"
        "content-type: text/html; charset=utf-8\r\ncache-control: no-store\r\n"
        "content-security-policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
        f"referrer-policy: no-referrer\r\ncontent-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body


async def _target(stream: SocketStream) -> str:
    """The path and query of a request."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive()
        if len(head) > MAX_HEAD_BYTES:
            raise anyio.EndOfStream
    words = head.split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ")
    if words[0] != "GET" or len(words) != 3:
        raise anyio.EndOfStream
    return words[1]
