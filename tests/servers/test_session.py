"""One session: how it opens, how it ends, and what a call that cannot be made says."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

import orchestrator.servers.sdk_client as clients
import orchestrator.servers.session as sessions
from orchestrator import CallError, Server
from orchestrator.calls.call import Call
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Protocol
from orchestrator.servers.sdk_errors import ServerFault
from orchestrator.servers.session import Session
from tests.real_servers import TIMEOUT_S, Deaf, faulty

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[Session]:
    session = Session(server.model_copy(update={"name": "it"}), Deaf())
    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(session.own)
            await session.started_within(TIMEOUT_S)
            yield session
            session.close()


def program(answers: dict[str, Any]) -> Server:
    """A program that answers each method with a result, or with an error if it has a code."""
    source = f"""
import json, sys
answers = json.loads({json.dumps(json.dumps(answers))})
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        answer = answers.get(message["method"], {{"code": -32601, "message": "what?"}})
        member = "error" if "code" in answer else "result"
        reply = {{"jsonrpc": "2.0", "id": message["id"], member: answer}}
        print(json.dumps(reply), flush=True)
"""
    return Server(command=sys.executable, args=["-c", source], protocol="legacy")


HELLO = {
    "initialize": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "serverInfo": {"name": "x", "version": "1"},
    }
}
TOOL = {"name": "a", "inputSchema": {"type": "object"}}


async def test_a_session_lists_its_tools_with_what_they_declare() -> None:
    server = MCPServer("memory")

    @server.tool(
        title="Plain",
        annotations=ToolAnnotations(
            read_only_hint=True, idempotent_hint=True, destructive_hint=False, open_world_hint=True
        ),
    )
    async def plain(x: int) -> int:
        """Say it."""
        return x

    @server.tool(structured_output=False)
    async def bare() -> str:
        return ""

    async with opened(Server(target=server)) as session:
        first, second = session.tools
        assert session.protocol == "2026-07-28"
        assert repr(session) == "Session('it', usable, 0 in flight)"
    assert (first.target, first.title, first.description) == ("it:plain", "Plain", "Say it.")
    assert first.input_schema["required"] == ["x"]
    assert first.output_schema is not None
    assert (first.read_only, first.idempotent, first.destructive, first.open_world) == (
        True,
        True,
        False,
        True,
    )
    assert second == Tool("it", "bare", second.input_schema)
    assert repr(session) == "Session('it', not usable, 0 in flight)"


async def test_the_tools_are_read_page_by_page_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.servers.sdk_client.MAX_TOOL_PAGES", 3)
    answers = {**HELLO, "tools/list": {"tools": [TOOL], "nextCursor": "again"}}
    async with opened(program(answers)) as session:
        assert [tool.name for tool in session.tools] == ["a"] * 2


async def test_a_server_without_tools_is_one() -> None:
    async with opened(program(HELLO)) as session:
        assert session.usable
        assert session.tools == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"code": -32603, "message": "oops"}, 'it refused "tools/list" with error -32603: oops'),
        ({"tools": 3}, 'its answer to "tools/list" is invalid: tools does not match the protocol'),
    ],
)
async def test_a_server_whose_tools_cannot_be_listed_does_not_start(answer: Any, said: str) -> None:
    async with opened(program({**HELLO, "tools/list": answer})) as session:
        assert session.failure is not None
        assert f'server "it" did not start: {said}' in session.failure.message


@pytest.mark.parametrize("protocol", ["legacy", "2026-07-28"])
async def test_a_result_that_does_not_say_that_it_is_complete_is(protocol: Protocol) -> None:
    listed = {"tools": [TOOL], "ttlMs": 0, "cacheScope": "private"}
    said = {"content": [{"type": "text", "text": "done"}]}
    server = program({**HELLO, "tools/list": listed, "tools/call": said})
    async with opened(server.model_copy(update={"protocol": protocol})) as session:
        assert await session.call(Call("t", "it", "a", {})) == "done"


async def test_a_result_that_is_none_is_an_error_of_the_protocol() -> None:
    answers = {**HELLO, "tools/list": {"tools": [TOOL]}, "tools/call": {"content": 3}}
    async with opened(program(answers)) as session:
        with pytest.raises(
            CallError,
            match='sent an invalid result of "a": expected array as content, got integer 3',
        ) as caught:
            await session.call(Call("t", "it", "a", {}))
        assert session.usable
    assert caught.value.kind == "protocol_error"
    assert not caught.value.error.retryable
    assert caught.value.error.details["output"] == {"content": 3}


async def test_a_server_that_says_that_the_connection_is_closed_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "END_S", 10 * TIMEOUT_S)  # it is not even waited for
    async with opened(faulty()) as session:
        with pytest.raises(CallError, match="error -32000: Connection closed") as caught:
            await session.call(
                Call("t", "it", "rpc_error", {"code": -32000, "message": "Connection closed"})
            )
        assert caught.value.kind == "protocol_error"
        assert await session.call(Call("t", "it", "echo", {"value": 1})) == {"value": 1}


async def test_a_session_that_is_not_open_says_so() -> None:
    session = Session(Server(name="it", command="tool"), Deaf())
    with pytest.raises(CallError, match=r'server "it" is not open \(tool\)'):
        await session.call(Call("t", "it", "echo", {}))
    session.close()
    with pytest.raises(CallError, match=r'server "it" was closed \(tool\)'):
        await session.call(Call("t", "it", "echo", {}))
    with anyio.fail_after(TIMEOUT_S):
        await session.own()  # closed before it began: nothing is started
    assert not session.usable


async def test_a_call_that_comes_as_the_server_ends_waits_for_its_last_words() -> None:
    async with opened(faulty("--stderr", "hello")) as session:
        errors: list[str] = []

        async def call(tool: str) -> None:
            with pytest.raises(CallError) as caught:
                await session.call(Call("t", "it", tool, {}))
            errors.append(str(caught.value))

        async with anyio.create_task_group() as group:
            group.start_soon(call, "crash")
            while session.usable:
                await anyio.sleep(0)
            group.start_soon(call, "echo")
    assert len(set(errors)) == 1
    assert errors[0].endswith("Last output: faulty: crashing as asked (code 1)")


async def test_the_first_reason_stands() -> None:
    async with opened(faulty()) as session:
        session.close(ServerFault("server_unavailable", "was given away"))
        session.close()
        assert session.failure is not None
        assert "was given away" in session.failure.message


class Breaking:
    """A transport of ones own that fails when it is closed, after its streams have ended."""

    async def __aenter__(self) -> Any:
        send, receive = anyio.create_memory_object_stream[Any](0)
        self._streams = (send, receive)
        send.close()
        return receive, send

    async def __aexit__(self, *_: object) -> None:
        for stream in self._streams:
            stream.close()
        raise OSError("the line is dead")


async def test_a_transport_that_breaks_costs_its_own_session() -> None:
    async with opened(Server(target=Breaking(), protocol="legacy")) as session:
        assert session.failure is not None
        assert session.failure.message == 'server "it" did not start: OSError: the line is dead'


async def fail_when_cancelled() -> None:
    try:
        await anyio.sleep_forever()
    finally:
        raise OSError("the line is dead")


async def test_a_failure_while_it_is_cancelled_is_told_and_goes_no_further() -> None:
    class Stuck(Breaking):
        async def __aenter__(self) -> Any:
            async with anyio.create_task_group() as group:
                group.start_soon(fail_when_cancelled)
                await anyio.sleep_forever()

    session = Session(Server(name="it", target=Stuck()), Deaf())
    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(session.own)
            await anyio.wait_all_tasks_blocked()
            session.give_up()
    assert session.failure is not None
    assert "did not answer within 30 s" in session.failure.message


async def test_the_client_names_itself_even_when_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_: str) -> str:
        raise PackageNotFoundError

    assert clients.client_info.__wrapped__().version != "0"
    monkeypatch.setattr(clients, "version", missing)
    assert clients.client_info.__wrapped__().version == "0"
