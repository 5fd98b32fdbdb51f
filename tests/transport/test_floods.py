"""What a server can make pile up in the memory of the client has a bound."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx2
import pydantic_core
import pytest
from anyio.lowlevel import checkpoint
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCResponse, ListToolsResult

from orchestrator import Orchestrator, Server
from orchestrator.servers import sdk_client, sdk_tools
from orchestrator.transport import http_wire, messages
from orchestrator.transport.base import endpoint_of
from orchestrator.transport.delivery import Deliveries
from orchestrator.transport.stderr import StderrTail
from tests.real_servers import TIMEOUT_S, faulty, plan
from tests.transport.test_base import Pair

pytestmark = pytest.mark.anyio

# Lists 30 tools, two pages of 15; when one is called, it asks and reads nothing any more.
FLOOD = """
import json, sys
def send(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    match asked["method"]:
        case "initialize":
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
            send(id=asked["id"], result=result | {"serverInfo": {"name": "t", "version": "1"}})
        case "tools/list":
            first = int((asked.get("params") or {}).get("cursor", 0))
            tools = [{"name": f"t{n}", "inputSchema": {}} for n in range(first, first + 15)]
            more = {} if first else {"nextCursor": "15"}
            send(id=asked["id"], result={"tools": tools} | more)
        case "tools/call":
            number = 0
            while True:
                number += 1
                send(id=number, method=sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("anyio_backend", "method"),
    [
        ("asyncio", "ping"),
        ("trio", "roots/list"),
        ("asyncio", "elicitation/create"),
        ("trio", "x" * 1000),
    ],
)
async def test_a_server_that_asks_and_does_not_read_is_given_up(method: str) -> None:
    flood = Server(command=sys.executable, args=["-c", FLOOD, method], protocol="legacy")
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"flood": flood, "good": faulty()}) as orchestrator:
            calls = [("good:echo", {"value": number}) for number in range(5)]
            result = await orchestrator.run(plan(("flood:t0", {}), *calls))
    error = result["t0"].error
    assert error is not None
    assert error.kind == "server_unavailable"
    assert 'server "flood" sends requests and does not read the answers' in error.message
    assert error.details["lost"] is True
    assert [result[f"t{number}"].status for number in range(1, 6)] == ["success"] * 5


async def test_answers_that_are_read_are_no_flood() -> None:
    overruns: list[int] = []

    def overrun() -> None:
        overruns.append(1)

    pair, tail = Pair(), StderrTail()
    with anyio.fail_after(TIMEOUT_S):
        async with (
            endpoint_of(pair.streams(), overrun, overrun, tail, overrun=overrun) as endpoint,
            endpoint.target as (_, write),
            anyio.create_task_group() as group,
        ):

            async def answer(size: int) -> None:
                result = {"text": "x" * size}
                await write.send(
                    SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=1, result=result))
                )

            async def read() -> None:
                async for _ in pair.told:
                    pass

            group.start_soon(read)
            for _ in range(3000):
                await answer(10)
            await answer(5_000_000)  # a large one alone is none, either
            group.cancel_scope.cancel()
    assert overruns == []


@pytest.mark.parametrize(("most", "used"), [(10, 10), (20, 20), (30, 30), (50, 30)])
async def test_a_list_of_tools_has_a_bound(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, most: int, used: int
) -> None:
    for module in (sdk_client, sdk_tools):
        monkeypatch.setattr(module, "MAX_TOOLS", most)
    server = Server(command=sys.executable, args=["-c", FLOOD, "ping"], protocol="legacy")
    with anyio.fail_after(TIMEOUT_S), caplog.at_level(logging.WARNING, "orchestrator"):
        async with Orchestrator({"it": server}) as orchestrator:
            tools = await orchestrator.tools("it")
    assert [tool.name for tool in tools] == [f"t{number}" for number in range(used)]
    said = f'server "it": lists more than {most} tools; only the first ones are used'
    assert (said in caplog.messages) is (most < 30)


@pytest.mark.parametrize("part", ["[]", "{}", '{"a":[]}'])
def test_a_message_of_too_many_containers_is_not_parsed(
    monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(messages, "MAX_CONTAINERS", 1000)
    monkeypatch.setattr(messages, "LARGE_BYTES", 500)
    for count, fits in ((400, True), (1000, False)):
        parts = ",".join([part] * count)
        text = f'{{"jsonrpc":"2.0","id":7,"result":{{"parts":[{parts}],"text":"{"x" * 1000}"}}}}'
        for data in (text, text.encode()):
            [found] = messages.read(data)
            assert isinstance(found, JSONRPCResponse) is fits
            assert getattr(found, "id", None) == 7
            if not fits:
                assert isinstance(found, messages.Unreadable)
                assert found.why == "it contains more than 1,000 arrays and objects"


@pytest.mark.parametrize("large", [True, False])
def test_the_collector_rests_while_a_large_message_is_parsed(
    monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    text = f'{{"jsonrpc":"2.0","id":7,"result":{{"text":"{"x" * 1000}"}}}}'
    parsed, enabled = pydantic_core.from_json, []

    def parse(data: str, **how: Any) -> Any:
        enabled.append(gc.isenabled())
        return parsed(data, **how)

    monkeypatch.setattr(pydantic_core, "from_json", parse)
    monkeypatch.setattr(messages, "LARGE_BYTES", 100 if large else 10_000)
    [found] = messages.read(text)
    assert isinstance(found, JSONRPCResponse)
    assert enabled == [not large]


async def test_a_body_of_too_many_containers_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_wire, "MAX_CONTAINERS", 1000)
    sent: list[int] = []

    async def parts() -> AsyncIterator[bytes]:
        for number in range(100):
            sent.append(number)
            yield b"[]," * 300

    body, size = await http_wire.read_whole(httpx2.Response(200, content=parts()), 1_000_000)
    assert (len(body), size, len(sent)) == (3600, 3600, 4)


async def test_all_else_goes_on_while_a_long_list_of_tools_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sdk_client, "SLICE", 10)
    tools = [{"name": f"t{number}", "inputSchema": {"type": "object"}} for number in range(205)]
    turns: list[int] = []

    class Pages:
        async def list_tools(self, **_: object) -> ListToolsResult:
            group.start_soon(count)
            return ListToolsResult.model_validate({"tools": tools})

    async def count() -> None:
        while True:
            turns.append(len(turns))
            await checkpoint()

    session: Any = Pages()
    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as group:
            found = await sdk_client.list_tools(session, "it", Deliveries(observed=False))
            group.cancel_scope.cancel()
    assert [tool.name for tool in found] == [f"t{number}" for number in range(205)]
    assert len(turns) >= 18


HEADER = {"type": "string", "x-mcp-header": "Where"}


@pytest.mark.parametrize(
    ("schema", "is_shown"),
    [
        ({"properties": {"a": HEADER}}, True),
        ({"properties": {"a": 5, "b": {"properties": {"c": HEADER}}}}, True),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, HEADER]}}}, True),
        ({"properties": {"a": {"type": "string"}}}, False),
        ({"properties": [HEADER]}, False),
        (None, False),
    ],
)
def test_the_sdk_sees_only_the_tools_whose_properties_it_sends_as_headers(
    schema: Any, is_shown: bool
) -> None:
    page = {"tools": [None, {"name": 5}, {"name": "t", "inputSchema": schema}], "nextCursor": "2"}
    shown = sdk_tools.page_for_sdk(page)
    assert [tool["name"] for tool in shown["tools"]] == ["t"] * is_shown
    assert all(isinstance(member, dict) for tool in shown["tools"]
               for member in tool["inputSchema"]["properties"].values())  # fmt: skip
    assert shown["nextCursor"] == "2"
    ListToolsResult.model_validate(shown)
