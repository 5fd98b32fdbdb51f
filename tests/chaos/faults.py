"""Every fault of docs/faults.md, provoked, and how long it took until it was reported.

python -m tests.chaos faults
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import anyio
from anyio.abc import SocketStream

from orchestrator import CallError, Server
from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.timeouts import with_timeout
from orchestrator.engine.events import Event, ServerFailed, ServerReady, ServerToolsChanged
from orchestrator.servers.pool import ServerPool
from tests.http_server import HttpServer, Json, answer
from tests.real_servers import faulty

LIMIT_S = 60.0


@dataclass
class Seen:
    """What became of a call: how long it took, and its error."""

    ms: float
    said: str


class Bench:
    """A pool of one server, and the events it told, with their times."""

    def __init__(self, pool: ServerPool) -> None:
        self.pool = pool
        self.events: list[tuple[float, Event]] = []

    def tell(self, event: Event) -> None:
        """Note an event."""
        self.events.append((time.perf_counter(), event))

    async def call(self, tool: str, limit_s: float = LIMIT_S, **arguments: Any) -> Seen:
        """Call a tool, and say what became of it."""
        began = time.perf_counter()
        said = "answered"
        try:
            call = Call("t", "it", tool, arguments, limit_s)
            await with_timeout(self.pool.call)(call, Attempt())
        except CallError as failure:
            error = failure.error
            told = ("lost", "http_status", "retry_after_s", "failures")
            facts = {name: error.details[name] for name in told if name in error.details}
            said = f"{error.kind} {facts or ''}".strip()
        return Seen((time.perf_counter() - began) * 1000, said)

    async def pid(self) -> int:
        """The process id of the server."""
        answered = await self.pool.call(Call("t", "it", "pid", {}))
        pid: int = answered["pid"]
        return pid

    async def since(self, began: float, kind: type[Event]) -> float:
        """How many milliseconds it took until such an event was told."""
        while not (times := [at for at, event in self.events if isinstance(event, kind)]):
            await anyio.sleep(0.001)
        return (times[0] - began) * 1000


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[Bench]:
    """A bench for a server."""
    async with ServerPool({"it": server}) as pool:
        bench = Bench(pool)
        await pool.open(["it"])
        with pool.subscribe(bench.tell, ["it"]):
            yield bench


Case = Callable[[], Awaitable[str]]


def shown(seen: Seen) -> str:
    """A measured call, for the table."""
    return f"{seen.ms:8.1f} ms  {seen.said}"


async def _call(server: Server, tool: str, **arguments: Any) -> str:
    async with opened(server) as bench:
        first = await bench.call(tool, **arguments)
        second = await bench.call("echo", value=1)
    return f"{shown(first)}; next call {shown(second).strip()}"


async def _start(server: Server) -> str:
    began = time.perf_counter()
    async with opened(server) as bench:
        took_ms = (time.perf_counter() - began) * 1000
        return f"{took_ms:8.1f} ms  start; then {shown(await bench.call('echo', value=1)).strip()}"


async def _close(server: Server) -> str:
    async with opened(server):
        began = time.perf_counter()
    return f"{(time.perf_counter() - began) * 1000:8.1f} ms  to close"


async def _idle() -> str:
    async with opened(faulty()) as bench:
        pid = await bench.pid()
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        failed_ms = await bench.since(began, ServerFailed)
        ready_ms = await bench.since(began, ServerReady)
    return f"{failed_ms:8.1f} ms  told; there again after {ready_ms:.1f} ms"


async def _stopped() -> str:
    async with opened(faulty()) as bench:
        pid = await bench.pid()
        os.kill(pid, signal.SIGSTOP)
        began = time.perf_counter()
        seen = await bench.call("echo", limit_s=0.5, value=1)
        silent_ms = await bench.since(began, ServerFailed)
        ready_ms = await bench.since(began, ServerReady)
    return f"{shown(seen)} (limit 500 ms); given up {silent_ms:.1f} ms, there {ready_ms:.1f} ms"


async def _every_start() -> str:
    needed = Path(mkdtemp()) / "needed"
    needed.touch()
    async with opened(faulty("--needs", str(needed))) as bench:
        pid = await bench.pid()
        needed.unlink()
        os.kill(pid, signal.SIGKILL)
        await bench.since(time.perf_counter(), ServerFailed)
        opens, refused = await bench.call("pid"), await bench.call("pid")
    return f"{shown(opens)}; next call {shown(refused).strip()}"


async def _tools() -> str:
    async with opened(faulty()) as bench:
        began = time.perf_counter()
        await bench.call("change_tools", names=["new"])
        return f"{await bench.since(began, ServerToolsChanged):8.1f} ms  told"


def _legacy(server: HttpServer) -> Server:
    return Server(url=server.url, protocol="legacy")


async def _http(tool: str, session: str | None = None, **arguments: Any) -> str:
    async with HttpServer(session).listen() as server:
        return await _call(_legacy(server), tool, **arguments)


async def _http_gone() -> str:
    async with HttpServer("one").listen() as server, opened(_legacy(server)) as bench:
        server.session = "two"
        return shown(await bench.call("echo", value=1))


async def _http_killed() -> str:
    async with HttpServer().listen() as server, opened(_legacy(server)) as bench:

        async def drop(stream: SocketStream, _: Json) -> None:
            await stream.aclose()

        server.everything = drop
        return shown(await bench.call("echo", value=1))


async def _http_refused() -> str:
    async with HttpServer().listen() as server:
        url = server.url
    return await _start(Server(url=url, protocol="legacy"))


async def _http_start(status: int) -> str:
    async with HttpServer().listen() as server:

        async def refuse(stream: SocketStream, _: Json) -> None:
            await answer(stream, status)

        server.everything = refuse
        return await _start(_legacy(server))


def _status(status: int, **headers: str) -> Case:
    return partial(_http, "status", status=status, headers=headers)


CASES: dict[str, Case] = {
    "killed with a call in flight, stdio": partial(_call, faulty(), "crash"),
    "killed with a call in flight, HTTP": _http_killed,
    "killed while idle": _idle,
    "pipe closed": partial(_call, faulty(), "close_stdout"),
    "SIGSTOP": _stopped,
    "hangs on start (start_timeout_s = 1)": partial(
        _start, faulty("--hang-on-start", start_timeout_s=1)
    ),
    "exits at start": partial(_start, faulty("--exit-on-start", "3")),
    "command missing": partial(_start, Server(command="/nonexistent")),
    "crashes on every start": _every_start,
    "ignores the end of its input": partial(_close, faulty("--ignore-eof")),
    "ignores SIGTERM": partial(_close, faulty("--ignore-eof", "--ignore-sigterm")),
    "floods stderr (5 MB)": partial(_call, faulty(), "stderr_flood", bytes=5_000_000),
    "garbage on stdout": partial(_call, faulty(), "garbage", lines=1000),
    "50 MB result, stdio": partial(_call, faulty(), "huge", bytes=50_000_000),
    "50 MB result, HTTP": partial(_http, "huge", size=50_000_000),
    "over max_result_bytes, stdio": partial(
        _call, faulty(max_result_bytes=1_000_000), "huge", bytes=50_000_000
    ),
    "tools change": _tools,
    "HTTP 401": _status(401),
    "HTTP 403": _status(403),
    "HTTP 404": _status(404),
    "HTTP 429 with Retry-After": _status(429, **{"retry-after": "7"}),
    "HTTP 503": _status(503),
    "HTTP 401 at the start": partial(_http_start, 401),
    "reset in the middle of a body": partial(_http, "broken"),
    "refused": _http_refused,
    "restarted HTTP server, session gone": _http_gone,
}


async def provoke(wanted: Sequence[str]) -> None:
    """Provoke the faults whose names begin with one of these; all by default."""
    for name, case in CASES.items():
        if not wanted or any(name.startswith(each) for each in wanted):
            print(f"{name:40} {await case()}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Provoke the faults that are named, and print what came of each."""
    anyio.run(provoke, sys.argv[1:] if arguments is None else arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
