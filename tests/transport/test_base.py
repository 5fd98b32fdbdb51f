"""What an endpoint reports of its server, and which requests it says were written."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, JSONRPCResponse

from orchestrator import Orchestrator, Server
from orchestrator.transport.base import endpoint_of
from orchestrator.transport.delivery import TICKET, Deliveries, Delivery
from orchestrator.transport.parameters import StdioParameters
from orchestrator.transport.stderr import StderrTail
from tests.real_servers import TIMEOUT_S, plan

pytestmark = pytest.mark.anyio


class Counts:
    """Counts the reports of an endpoint."""

    def __init__(self) -> None:
        self.heard = 0
        self.ended = 0

    def hear(self) -> None:
        self.heard += 1

    def end(self) -> None:
        self.ended += 1


class Pair:
    """A transport of the user's own, whose other ends a test holds."""

    def __init__(self) -> None:
        self.say, self._read = anyio.create_memory_object_stream[Any](10)
        self._write, self.told = anyio.create_memory_object_stream[Any](10)

    @asynccontextmanager
    async def streams(self) -> AsyncIterator[Any]:
        with self.say, self._read, self._write, self.told:
            yield self._read, self._write


def request(number: int, meta: dict[str, Any] | None) -> SessionMessage:
    params = {"name": "x"} if meta is None else {"name": "x", "_meta": {**meta}}
    message = JSONRPCRequest(jsonrpc="2.0", id=number, method="tools/call", params=params)
    return SessionMessage(message)


async def test_a_message_of_a_program_is_reported_once() -> None:
    answer = '{"jsonrpc":"2.0","id":1,"result":{}}'
    source = f"import sys; input(); print({answer!r}, flush=True); sys.stdin.read()"
    parameters, counts = StdioParameters(sys.executable, ["-c", source]), Counts()
    with anyio.fail_after(TIMEOUT_S):
        async with (
            endpoint_of(parameters, counts.hear, counts.end, StderrTail()) as endpoint,
            endpoint.target as (read, write),
        ):
            await write.send(request(1, None))
            await read.receive()
            assert (counts.heard, counts.ended) == (1, 0)


async def test_a_transport_of_ones_own_reports_each_message_and_its_end_when_all_is_read() -> None:
    pair, counts = Pair(), Counts()
    with anyio.fail_after(TIMEOUT_S):
        async with (
            endpoint_of(pair.streams(), counts.hear, counts.end, StderrTail()) as endpoint,
            endpoint.target as (read, _),
        ):
            for number in range(2):
                answer = JSONRPCResponse(jsonrpc="2.0", id=number, result={})
                await pair.say.send(SessionMessage(answer))
            pair.say.close()
            await read.receive()
            assert (counts.heard, counts.ended) == (1, 0)
            await read.receive()
            assert (counts.heard, counts.ended) == (2, 0)
            assert [item async for item in read] == []
            assert (counts.heard, counts.ended) == (2, 1)


async def test_a_delivery_is_noted_for_its_own_request_and_nobody_else_sees_its_ticket() -> None:
    pair, counts = Pair(), Counts()
    with anyio.fail_after(TIMEOUT_S):
        async with (
            endpoint_of(pair.streams(), counts.hear, counts.end, StderrTail()) as endpoint,
            endpoint.target as (_, write),
        ):
            expect = endpoint.deliveries.expect
            with expect(dict) as first, expect(dict) as second:
                assert second.meta is not None
                await write.send(request(1, second.meta))
                assert (first.written, second.written) == (False, True)
                pair.told.close()
                assert first.meta is not None
                with pytest.raises(anyio.BrokenResourceError):
                    await write.send(request(2, {**first.meta, "other": 1}))
                assert not first.written


def test_a_ticket_is_taken_off_and_everything_else_stays() -> None:
    deliveries = Deliveries()

    def take(params: dict[str, Any] | None) -> Delivery | None:
        message = JSONRPCRequest(jsonrpc="2.0", id=1, method="m", params=params)
        taken = deliveries.take(message)
        if params is not None:
            params.clear()
            params.update(message.params or {})
        return taken

    with deliveries.expect(dict) as delivery:
        assert delivery.meta is not None
        alone: dict[str, Any] = {"name": "x", "_meta": {**delivery.meta}}
        among: dict[str, Any] = {"name": "x", "_meta": {**delivery.meta, "progressToken": 3}}
        assert take(alone) is take(among) is delivery
        assert alone == {"name": "x"}
        assert among == {"name": "x", "_meta": {"progressToken": 3}}
        late = {"_meta": {**delivery.meta}}
    assert take(late) is None
    assert late == {}
    assert take({"_meta": {"other": 1}}) is take(None) is None


async def test_a_server_in_memory_sees_no_ticket() -> None:
    server = MCPServer("memory", log_level="WARNING")

    @server.tool()
    async def meta(context: Context) -> list[str]:
        return sorted(context.request_context.meta or ())

    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"it": Server(target=server)}) as orchestrator:
            result = await orchestrator.run(plan(("it:meta", {})))
    assert result["t0"].status == "success"
    assert TICKET not in result["t0"].output
