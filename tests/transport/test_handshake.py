"""How a server is found out to speak an earlier revision: at which time, and what is asked."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from mcp.client._memory import InMemoryTransport
from mcp.server.mcpserver import MCPServer
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCNotification, JSONRPCRequest, jsonrpc_message_adapter

from orchestrator import Orchestrator, Server
from orchestrator.calls.call import Call
from orchestrator.servers.revisions import Revisions
from orchestrator.servers.session import Session
from orchestrator.transport import handshake
from orchestrator.transport.http_client import HttpConnections
from orchestrator.transport.parameters import HttpParameters
from tests.http_server import HttpServer, Json, answer
from tests.real_servers import TIMEOUT_S, Deaf
from tests.virtual_clock import virtual_clock

pytestmark = pytest.mark.anyio

MODERN: Json = {
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "x", "version": "1"},
    "resultType": "complete",
    "ttlMs": 0,
    "cacheScope": "private",
}
LEGACY: Json = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "x", "version": "1"},
}
TOOLS: Json = {"tools": [{"name": "a", "inputSchema": {}}], "ttlMs": 0, "cacheScope": "private"}
UNKNOWN: Json = {"code": -32601, "message": "Method not found"}
UNSUPPORTED: Json = {
    "code": -32022,
    "message": "Unsupported",
    "data": {"supported": ["2026-07-28"], "requested": "2025-11-25"},
}
virtual = pytest.mark.parametrize(
    "anyio_backend", [virtual_clock("asyncio"), virtual_clock("trio")], ids=["asyncio", "trio"]
)


# For each request of a method in turn: after how long it is answered, and with what, or never.
Answers = list[tuple[float, Json | None]]


class Peer:
    """A server in memory.

    Attributes:
        answers: By methods, with `_` for `/`.
        asked: The methods, and when each came.
    """

    def __init__(self, **answers: Answers) -> None:
        self.answers = {name.replace("_", "/"): list(given) for name, given in answers.items()}
        self.asked: list[tuple[str, float]] = []

    async def __aenter__(self) -> Any:
        self.say, read = anyio.create_memory_object_stream[Any](10)
        write, self.told = anyio.create_memory_object_stream[Any](10)
        self.streams = (self.say, read, write, self.told)
        self.group = anyio.create_task_group()
        await self.group.__aenter__()
        self.group.start_soon(self._serve)
        return read, write

    async def __aexit__(self, *error: Any) -> None:
        self.group.cancel_scope.cancel()
        for stream in self.streams:
            stream.close()
        await self.group.__aexit__(*error)

    def now(self) -> float:
        """The seconds since the session began; a clock of trio begins anywhere."""
        return round(anyio.current_time() - self.began_at, 6)

    async def _serve(self) -> None:
        async for item in self.told:
            if isinstance(item.message, JSONRPCRequest):
                method = item.message.method
                self.asked.append((method, self.now()))
                given = self.answers.get(method, [(0, {"result": TOOLS})])
                after_s, reply = given.pop(0) if len(given) > 1 else given[0]
                if reply is not None:
                    self.group.start_soon(self._reply, after_s, {"id": item.message.id, **reply})

    async def _reply(self, after_s: float, reply: Json) -> None:
        await anyio.sleep(after_s)
        message = jsonrpc_message_adapter.validate_python({"jsonrpc": "2.0", **reply})
        await self.say.send(SessionMessage(message))

    @asynccontextmanager
    async def opened(self, **settings: Any) -> AsyncIterator[Session]:
        """A session with it, or one that has failed."""
        self.began_at = anyio.current_time()
        session = Session(Server(name="it", target=self, **settings), Deaf())
        async with anyio.create_task_group() as group:
            group.start_soon(session.own)
            if not await session.started_within(session.server.start_timeout_s):
                session.give_up()
            yield session
            session.close()


@virtual
@pytest.mark.parametrize(("limit_s", "asked_at"), [(30, 3.0), (9, 3.0), (6, 2.0), (1.5, 0.5)])
async def test_a_silent_probe_costs_a_part_of_the_start_timeout(
    limit_s: float, asked_at: float, caplog: pytest.LogCaptureFixture
) -> None:
    peer = Peer(server_discover=[(0, None)], initialize=[(0, {"result": LEGACY})])
    async with peer.opened(start_timeout_s=limit_s) as session:
        assert (session.usable, session.protocol) == (True, "2025-06-18")
    assert peer.asked == [
        ("server/discover", 0.0),
        ("initialize", asked_at),
        ("tools/list", asked_at),
    ]
    said = f'did not answer "server/discover" within {asked_at:g} s; set protocol = "legacy"'
    assert said in caplog.text


@virtual
async def test_other_messages_of_the_server_do_not_prolong_it() -> None:
    peer = Peer(server_discover=[(0, None)], initialize=[(0, {"result": LEGACY})])
    note = JSONRPCNotification(jsonrpc="2.0", method="notifications/message", params={})

    async def chat() -> None:
        while len(peer.asked) < 2:
            await anyio.sleep(0.7)
            await peer.say.send(SessionMessage(note))

    async with peer.opened() as session, anyio.create_task_group() as group:
        group.start_soon(chat)
        assert session.usable
    assert peer.asked[1] == ("initialize", 3.0)


@virtual
@pytest.mark.parametrize("after_s", [0.0, 2.9, 5.0, 29.0])
async def test_a_legacy_server_is_spoken_to_as_soon_as_it_answers(
    after_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    known: Answers = [(max(0.0, after_s - 3.0) + 0.5, {"result": LEGACY})]
    peer = Peer(server_discover=[(after_s, {"error": UNKNOWN})], initialize=known)
    async with peer.opened() as session:
        assert (session.usable, session.protocol) == (True, "2025-06-18")
    assert peer.asked[-1] == ("tools/list", after_s + 0.5)
    assert "protocol =" not in caplog.text  # it was slow, and not silent


@virtual
@pytest.mark.parametrize(
    "refusal",
    [
        {"error": UNSUPPORTED},
        {"error": UNKNOWN},
        {"error": {"code": -32600, "message": "no"}},
        {"error": {"code": -32022, "message": "no", "data": "odd"}},
        {"result": LEGACY},
        None,
    ],
    ids=["unsupported", "unknown", "invalid", "odd data", "both revisions", "silent"],
)
async def test_a_modern_server_that_boots_slowly_is_spoken_to_as_such(refusal: Json | None) -> None:
    found: Json = {"result": MODERN}
    peer = Peer(server_discover=[(5.0, found), (0, found)], initialize=[(2.5, refusal)])
    async with peer.opened(start_timeout_s=10) as session:
        assert (session.usable, session.protocol) == (True, "2026-07-28")
    assert [method for method, _ in peer.asked] == [
        "server/discover",
        "initialize",
        "server/discover",
        "tools/list",
    ]
    assert peer.asked[-1][1] == 5.0


@virtual
async def test_a_late_answer_that_comes_before_initialize_is_sent_counts_too() -> None:
    watched = handshake.Handshake(6.0)
    send, receive = anyio.create_memory_object_stream[Any](1)

    def request(number: int, method: str) -> JSONRPCRequest:
        return JSONRPCRequest(jsonrpc="2.0", id=number, method=method)

    with send, receive:
        watched.sent(request(1, "server/discover"))
        expired = (await watched.receive(receive)).message
        assert (expired.id, expired.error.code) == (1, -32001)
        watched.answered(expired)
        late = jsonrpc_message_adapter.validate_python(
            {"jsonrpc": "2.0", "id": "1", "result": MODERN}
        )
        assert watched.answered(late) is late  # type: ignore[arg-type]
        watched.sent(request(2, "initialize"))
        again = watched.answered((await watched.receive(receive)).message)
    assert (again.id, watched.is_over, watched.was_ignored) == (2, True, False)


@virtual
@pytest.mark.parametrize("method", ["server_discover", "initialize"])
async def test_an_error_without_an_id_answers_the_first_request(method: str) -> None:
    answers = {
        "server_discover": [(0, {"error": UNKNOWN})],
        "initialize": [(0, {"result": LEGACY})],
    }
    peer = Peer(**{**answers, method: [(0.5, {"id": None, "error": UNKNOWN})]})  # type: ignore[arg-type]
    async with peer.opened() as session:
        assert session.usable == (method == "server_discover")
        assert peer.now() == 0.5
        if session.failure is not None:
            assert 'it refused "initialize" with error -32601' in session.failure.message


@virtual
async def test_a_late_error_without_an_id_is_not_the_answer_to_initialize() -> None:
    late: Answers = [(5.0, {"id": None, "error": UNKNOWN})]
    peer = Peer(server_discover=late, initialize=[(3.0, {"result": LEGACY})])
    async with peer.opened() as session:
        assert session.protocol == "2025-06-18"


@virtual
async def test_a_server_on_the_sdk_that_boots_slowly_is_spoken_to_in_the_new_revision() -> None:
    server = MCPServer("memory", log_level="WARNING")

    @server.tool()
    async def echo(value: int) -> int:
        return value

    class Slow(InMemoryTransport):
        """It reads nothing for 5 s."""

        async def __aenter__(self) -> Any:
            read, write = await super().__aenter__()
            self.queue, self.waiting = anyio.create_memory_object_stream[Any](10)
            self.group = anyio.create_task_group()
            await self.group.__aenter__()
            self.group.start_soon(self._forward, write)
            return read, self.queue

        async def _forward(self, write: Any) -> None:
            await anyio.sleep(5)
            async for item in self.waiting:
                await write.send(item)

        async def __aexit__(self, *error: Any) -> None:
            self.group.cancel_scope.cancel()
            self.queue.close()
            self.waiting.close()
            await self.group.__aexit__(*error)
            await super().__aexit__(*error)

    session = Session(Server(name="it", target=Slow(server), start_timeout_s=10), Deaf())
    async with anyio.create_task_group() as group:
        group.start_soon(session.own)
        assert await session.started_within(10)
        assert session.protocol == "2026-07-28"
        assert await session.call(Call("t", "it", "echo", {"value": 7})) == 7
        session.close()


PROGRAM = r"""
import json, sys

def read():
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            return message
    sys.exit()

def answer(message, **reply):
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **reply}), flush=True)

modern, tools = json.loads(sys.argv[2]), json.loads(sys.argv[3])
probe = read()
if sys.argv[1] == "boots slowly":
    handshake = read()  # both were sent before it was there
    answer(probe, result=modern)
    answer(handshake, error={"code": -32601, "message": "Method not found"})
else:
    assert read()["method"] == "initialize"
    answer({"id": 2}, result=json.loads(sys.argv[4]))
while True:
    message = read()
    answer(message, result=modern if message["method"] == "server/discover" else tools)
"""


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[Session]:
    web = server.parameters
    http = HttpConnections(web) if isinstance(web, HttpParameters) else None
    session = Session(server, Deaf(), None, http)
    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(session.own)
            assert await session.started_within(TIMEOUT_S)
            yield session
            session.close()


@pytest.mark.parametrize(
    ("how", "revision"), [("boots slowly", "2026-07-28"), ("silent", "2025-06-18")]
)
async def test_a_program_that_leaves_the_probe_unanswered_is_spoken_to(
    how: str, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "PROBE_S", 0.0)
    values = [json.dumps(value) for value in (MODERN, TOOLS, LEGACY)]
    args = ["-c", PROGRAM, how, *values]
    async with opened(Server(name="it", command=sys.executable, args=args)) as session:
        assert (session.failure, session.protocol) == (None, revision)


def web(how: str, held: anyio.Event) -> Callable[[SocketStream, Json], Any]:
    """Answers over HTTP; the first `server/discover` once `initialize` has come, or never."""
    asked: list[str] = []

    async def puppet(stream: SocketStream, message: Json) -> bool:
        asked.append(message["method"])
        reply: Json = {"result": TOOLS}
        match message["method"]:
            case "server/discover" if asked.count("server/discover") == 1:
                await held.wait()
                if how == "silent":
                    await anyio.sleep_forever()
                reply = {"result": MODERN}
            case "server/discover":
                reply = {"result": MODERN}
            case "initialize":
                held.set()
                reply = {"error": UNSUPPORTED} if how == "boots slowly" else {"result": LEGACY}
        status = 400 if "error" in reply else 200
        await answer(stream, status, {"jsonrpc": "2.0", "id": message["id"], **reply})
        return True

    return puppet


@pytest.mark.parametrize(
    ("how", "revision"), [("boots slowly", "2026-07-28"), ("silent", "2025-06-18")]
)
async def test_a_url_that_leaves_the_probe_unanswered_is_spoken_to(
    how: str, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "PROBE_S", 0.05)
    async with HttpServer().listen() as server:
        server.puppet = web(how, anyio.Event())
        async with opened(Server(name="it", url=server.url)) as session:
            assert (session.failure, session.protocol) == (None, revision)


async def test_the_versions_in_a_refusal_over_http_are_read() -> None:
    """What the transport adds to an error does not hide them from the SDK."""

    async def puppet(stream: SocketStream, message: Json) -> bool:
        first = server.methods.count("POST server/discover") == 1
        reply: Json = {"result": TOOLS if message["method"] == "tools/list" else MODERN}
        if first and message["method"] == "server/discover":
            reply = {"error": UNSUPPORTED}
        status = 400 if "error" in reply else 200
        await answer(stream, status, {"jsonrpc": "2.0", "id": message["id"], **reply})
        return True

    async with HttpServer().listen() as server:
        server.puppet = puppet
        async with opened(Server(name="it", url=server.url)) as session:
            assert (session.failure, session.protocol) == (None, "2026-07-28")
    posts = [method for method in server.methods if method.startswith("POST")]
    assert posts == ["POST server/discover", "POST server/discover", "POST tools/list"]


async def test_a_server_that_spoke_an_earlier_revision_is_not_probed_again() -> None:
    async with (
        HttpServer("s").listen() as server,
        Orchestrator({"it": Server(url=server.url)}) as orchestrator,
    ):
        assert await orchestrator.call("it:echo", {"value": 1}) == {"value": 1}
        server.session = "t"  # it was started again
        assert await orchestrator.call("it:echo", {"value": 2}) == {"value": 2}
    assert server.methods.count("POST server/discover") == 1
    assert server.methods.count("POST initialize") == 2


def test_what_a_server_spoke_is_known_at_its_next_start(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    found = Revisions(Server(name="it", command="x"))
    assert found.modes() == ["auto", "legacy"]
    ignored = handshake.Handshake(30.0)
    ignored.was_ignored = True
    for _ in range(2):
        found.note_start("2025-06-18", ignored)
    assert found.modes() == ["legacy"]
    assert caplog.text.count("did not answer") == 1
    found.note_failure()
    assert found.modes() == ["auto", "legacy"]
    found.note_start("2026-07-28", handshake.Handshake(30.0))
    assert found.modes() == ["auto", "legacy"]
    fixed = Revisions(Server(name="it", url="http://x/mcp", protocol="2026-07-28"))
    fixed.note_start("2025-06-18", ignored)
    assert fixed.modes() == ["2026-07-28"]
