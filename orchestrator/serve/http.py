"""Serves a toolset over streamable HTTP."""

from __future__ import annotations

import hmac
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings

from orchestrator.client import Orchestrator
from orchestrator.serve.server import ToolsetServer

PATH = "/mcp"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MAX_CONNECTIONS, MAX_SESSIONS, IDLE_S = 1000, 1000, 1800
GRACE_S = 0.3  # for answers under way, and again for servers


class Guarded:
    """Lets requests pass that have the token; all others get the same answer.

    Args:
        app: What answers the others.
        token: The token; None lets all pass.
    """

    def __init__(self, app: Any, token: str | None) -> None:
        self._app = app
        self._token = None if token is None else token.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] == "http" and not self._has_token(scope):
            headers = [(b"www-authenticate", b"Bearer"), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)

    def _has_token(self, scope: Any) -> bool:
        if self._token is None:
            return True
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token, self._token)


def allowed(host: str, more: Sequence[str] = ()) -> TransportSecuritySettings:
    """The names under which requests may come, checked for every address that is listened on.

    They are those of this machine, and `more`: a page in a browser must not reach the server by a
    name of its own.
    """
    names = [*LOOPBACK, *_own_names(host), *more]
    hosts = [form for name in names for form in (name, f"{name}:*")]
    origins = [f"{scheme}://{form}" for form in hosts for scheme in ("http", "https")]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins
    )


def _own_names(host: str) -> Iterator[str]:
    if host not in ("0.0.0.0", "::", ""):  # noqa: S104  # compared, not bound
        yield f"[{host}]" if ":" in host else host
        return
    name = socket.gethostname()
    yield name
    try:
        found = socket.getaddrinfo(name, None)
    except OSError:
        return
    for family, *_, address in found:
        text = str(address[0])
        yield f"[{text}]" if family == socket.AF_INET6 else text


def app_of(
    server: ToolsetServer, host: str, token: str | None, names: Sequence[str] = ()
) -> Guarded:
    """The ASGI application that serves it."""
    app = server.mcp.streamable_http_app(
        streamable_http_path=PATH,
        host=host,
        max_sessions=MAX_SESSIONS,
        session_idle_timeout=IDLE_S,
        transport_security=allowed(host, names),
    )
    return Guarded(app, token)


class _Uvicorn(uvicorn.Server):
    """Leaves signals to us: it would send them again, and nothing would be closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve_http(
    engine: Orchestrator,
    make: Callable[[], tuple[ToolsetServer, Guarded]],
    listening: socket.socket,
    ready: Callable[[], None],
) -> None:
    """Serve on a socket until a signal comes.

    `engine` is opened and closed; `make` makes the server and its application when it is open.
    """
    async with anyio.create_task_group() as group:
        http: list[_Uvicorn] = []
        group.start_soon(_watch, engine, http)
        async with engine:
            server, app = make()
            http.append(_Uvicorn(_config(app)))
            async with anyio.create_task_group() as serving:  # it ends before the engine
                serving.start_soon(server.announce)
                ready()
                await http[0].serve(sockets=[listening])
                serving.cancel_scope.cancel()
        group.cancel_scope.cancel()


async def _watch(engine: Orchestrator, http: list[_Uvicorn]) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            break
    for each in http:
        each.should_exit = True
    await anyio.sleep(GRACE_S)
    for each in http:
        each.force_exit = True  # streams stay open as long as their clients want
    await anyio.sleep(GRACE_S)
    engine.kill()


def _config(app: Guarded) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=1,
        server_header=False,
    )
