"""`orchestrator serve`: the engine as an MCP server."""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.diagnostics import complain
from orchestrator.cli.exporting import exporting, prometheus_for
from orchestrator.errors import Problem, WorkflowError

if TYPE_CHECKING:
    from orchestrator.client import Orchestrator
    from orchestrator.serve.http import Guarded
    from orchestrator.serve.server import ToolsetServer

TOKEN = "ORCHESTRATOR_TOKEN"  # noqa: S105  # the name of the variable
SHORTEST_TOKEN = 16


def serve(options: argparse.Namespace) -> int:
    """`orchestrator serve`."""
    # What is wrong with the options is reported before anything slow is imported.
    address = None if options.http is None else _address("--http", options.http)
    metrics = None if options.metrics is None else _address("--metrics", options.metrics)
    token = _token(options)
    _check(options, address, token)
    listening = None if address is None else _listen(*address)

    from orchestrator.cli.journal import journal_for
    from orchestrator.cli.pool import pool_of
    from orchestrator.cli.tool_sources import lock_of, read_servers
    from orchestrator.client import Orchestrator

    servers = read_servers(options)
    with ExitStack() as stack:
        prometheus = None if metrics is None else prometheus_for(address=metrics)
        if prometheus is not None:
            print(f"metrics on {prometheus.url}", file=sys.stderr, flush=True)
        stack.enter_context(exporting(prometheus))
        stack.enter_context(_journal(options))
        journal = journal_for(options, servers)
        engine = Orchestrator(pool_of(options, servers, lock_of(options)), journal=journal)
        leave = partial(_leave, stack)
        if listening is None or address is None:
            _stdio(engine, options, leave)
        else:
            _http(engine, options, listening, address[0], token)
        leave()
    return 0


def _leave(stack: ExitStack) -> None:
    """End the process: to take down all modules would take seconds, and wait for stdin."""
    stack.close()
    sys.stderr.flush()
    os._exit(0)


def _address(option: str, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise _wrong(f'expected {option} HOST:PORT, as in 127.0.0.1:8080, got "{text}"')
    return host, int(port)


def _token(options: argparse.Namespace) -> str | None:
    if options.token_file is None:
        token = os.environ.get(TOKEN)
        where = TOKEN
    else:
        where = str(options.token_file)
        try:
            token = options.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise _wrong(f"--token-file {where} cannot be read: {why}") from None
    if token is None:
        return None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or any(map(str.isspace, token)):
        need = f"at least {SHORTEST_TOKEN} characters of ASCII without blanks"
        how = 'make one with: python -c "import secrets; print(secrets.token_urlsafe())"'
        raise _wrong(f"the token in {where} is no good: expected {need}; {how}")
    return token


def _check(options: argparse.Namespace, address: tuple[str, int] | None, token: str | None) -> None:
    if options.workflows is not None and not options.workflows.is_dir():
        raise _wrong(f"--workflows {options.workflows} is no directory")
    if address is None:
        if options.token_file is not None:
            raise _wrong("--token-file needs --http: over stdio no other program can connect")
        return
    if token is None and not _is_loopback(address[0]):
        how = f"write one to a file and give --token-file FILE, or set {TOKEN}"
        raise _wrong(f"others can reach {address[0]}, so a token is required: {how}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise _wrong(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


def _wrong(message: str) -> WorkflowError:
    return WorkflowError("usage", [Problem("usage", message)])


@contextmanager
def _journal(options: argparse.Namespace) -> Iterator[None]:
    """Without a journal, ids of runs are good as long as the process: it keeps one of its own."""
    if not options.no_journal:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="orchestrator-") as directory:
        options.journal, options.no_journal = Path(directory) / "runs.db", False
        yield


def _server(engine: Orchestrator, options: argparse.Namespace) -> ToolsetServer:
    from importlib.metadata import version

    from orchestrator.serve.server import ToolsetServer
    from orchestrator.serve.toolset import Toolset

    toolset = Toolset(
        engine,
        workflows=options.workflows,
        max_inline_kb=options.max_inline_kb,
        max_tools=options.max_tools,
        single_tools=options.single_tools,
        warn=complain,
    )
    return ToolsetServer(toolset, version("mcp-orchestrator"))


def _stdio(engine: Orchestrator, options: argparse.Namespace, leave: Callable[[], None]) -> None:
    from orchestrator.cli.signals import in_event_loop
    from orchestrator.serve.stdio import serve_stdio

    async def session() -> None:
        await serve_stdio(engine, lambda: _server(engine, options), leave, complain)

    in_event_loop(session)


def _http(
    engine: Orchestrator,
    options: argparse.Namespace,
    listening: socket.socket,
    host: str,
    token: str | None,
) -> None:
    from orchestrator.cli.signals import in_event_loop
    from orchestrator.serve.http import PATH, app_of, serve_http

    def ready() -> None:
        name, port = listening.getsockname()[:2]
        shown = f"[{name}]" if ":" in name else name
        print(f"serving on http://{shown}:{port}{PATH}", file=sys.stderr, flush=True)

    def make() -> tuple[ToolsetServer, Guarded]:
        server = _server(engine, options)
        return server, app_of(server, host, token, options.allow_host)

    async def session() -> None:
        await serve_http(engine, make, listening, ready)

    in_event_loop(session)
