"""The trace from a run to its servers: in memory, over stdio and HTTP, through a warm pool."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.mcpserver import MCPServer
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan

from orchestrator import Orchestrator, Server
from orchestrator.servers.pool import ServerPool
from orchestrator.telemetry import names
from orchestrator.telemetry.telemetry import Telemetry
from tests.daemon.pools import warm
from tests.http_server import HttpServer
from tests.puppet import program
from tests.telemetry.seen import Seen, about, context

pytestmark = pytest.mark.anyio

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "meta")]


def echo_server() -> MCPServer:
    server = MCPServer("echo", log_level="WARNING")

    @server.tool()
    async def echo(value: int) -> dict[str, int]:
        return {"value": value}

    return server


def plan(tool: str = "echo:echo", **arguments: Any) -> dict[str, Any]:
    return {"name": "w", "tasks": [{"id": "a", "tool": tool, "arguments": arguments}]}


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def named_in(meta: dict[str, Any]) -> tuple[int, int]:
    """The trace and the span that a `traceparent` names."""
    _, trace_id, span_id, _ = meta["traceparent"].split("-")
    return int(trace_id, 16), int(span_id, 16)


async def test_the_span_of_a_server_in_memory_is_below_the_attempt(seen: Seen) -> None:
    async with Orchestrator({"echo": echo_server()}) as orchestrator:
        for _ in range(2):
            assert (await orchestrator.run(plan(value=1))).status == "success"
    runs = [each for each in seen.below() if isinstance(each, tuple)]
    attempt = ("execute_tool echo", ["tools/call echo"])
    assert runs == [("invoke_workflow w", [("task a", [attempt])])] * 2


async def test_requests_of_a_session_belong_to_no_run(seen: Seen) -> None:
    tracer = trace.get_tracer("a program")
    async with Orchestrator({"echo": echo_server()}) as orchestrator:
        with tracer.start_as_current_span("request"):
            await orchestrator.run(plan(value=1))
    roots = [span.name for span in seen.spans if span.parent is None]
    assert "tools/list" in roots
    assert "invoke_workflow w" not in roots
    run, outer = seen.one("invoke_workflow w"), seen.one("request")
    assert parent(run) == context(outer).span_id


async def test_a_call_without_a_run_is_below_what_is_current(seen: Seen) -> None:
    async with Orchestrator({"echo": echo_server()}) as orchestrator:
        with trace.get_tracer("a program").start_as_current_span("request"):
            await orchestrator.call("echo:echo", {"value": 3})
    assert parent(seen.one("execute_tool echo")) == context(seen.one("request")).span_id
    assert parent(seen.one("tools/call echo")) == context(seen.one("execute_tool echo")).span_id


async def test_over_stdio_the_server_gets_the_span_of_the_request(seen: Seen) -> None:
    with anyio.fail_after(30):
        async with Orchestrator({"p": program(tools=TOOLS)}) as orchestrator:
            result = await orchestrator.run(plan("p:meta"))
    attempt, sent = seen.one("execute_tool meta"), seen.one("MCP send tools/call meta")
    assert parent(sent) == context(attempt).span_id
    expected = context(sent).trace_id, context(sent).span_id
    assert named_in(result["a"].output) == expected
    assert context(sent).trace_id == context(seen.one("invoke_workflow w")).trace_id


async def test_over_http_too(seen: Seen) -> None:
    server = HttpServer()
    with anyio.fail_after(30):
        async with server.listen(), Orchestrator({"h": Server(url=server.url)}) as orchestrator:
            await orchestrator.run(plan("h:echo", value=1))
    (call,) = (each for each in server.requests if each["method"] == "tools/call")
    sent = seen.one("MCP send tools/call echo")
    expected = context(sent).trace_id, context(sent).span_id
    assert named_in(call["params"]["_meta"]) == expected
    assert parent(sent) == context(seen.one("execute_tool echo")).span_id


async def test_through_a_warm_pool_the_server_is_in_the_trace(seen: Seen, tmp_path: Path) -> None:
    server = program(tools=TOOLS, name="p", cwd=str(tmp_path))
    async with warm(tmp_path, server) as kept, Orchestrator(kept.pool()) as orchestrator:
        result = await orchestrator.run(plan("p:meta"))
        again = await orchestrator.run(plan("p:echo"))
    assert again.status == "success"
    trace_id, span_id = named_in(result["a"].output)
    attempt = seen.one("execute_tool meta")
    assert trace_id == context(attempt).trace_id
    # The pool runs in this process here, so the SDK has a span there, below the attempt.
    assert span_id == context(seen.one("MCP send tools/call meta")).span_id
    assert parent(seen.one("MCP send tools/call meta")) == context(attempt).span_id


async def test_a_replay_calls_nothing_and_has_no_spans(seen: Seen, tmp_path: Path) -> None:
    recording = tmp_path / "recording.json"
    async with Orchestrator({"echo": echo_server()}, record=recording) as orchestrator:
        await orchestrator.run(plan(value=1))
    assert seen.named("execute_tool echo")
    seen.exporter.clear()
    async with Orchestrator.replay(recording) as replaying:
        assert (await replaying.run(plan(value=1))).status == "success"
    assert seen.spans == []


async def test_a_dry_run_calls_nothing_and_has_no_spans(seen: Seen) -> None:
    async with Orchestrator({"echo": echo_server()}) as orchestrator:
        await orchestrator.dry_run(plan(value=1))
    assert [span.name for span in seen.spans if "invoke" in span.name] == []


async def test_a_run_that_is_taken_up_is_linked_to_the_first(seen: Seen, tmp_path: Path) -> None:
    asks = {"id": "b", "ask": {"message": "go on?"}, "depends_on": ["a"]}
    after = {"id": "c", "tool": "echo:echo", "arguments": {"value": 2}, "depends_on": ["b"]}
    paused = plan(value=1)
    paused["tasks"] += [asks, after]
    journal = tmp_path / "runs.db"
    async with Orchestrator({"echo": echo_server()}, journal=journal) as orchestrator:
        assert (await orchestrator.run(paused)).status == "paused"
    first = seen.one("invoke_workflow w")
    assert about(seen.one("task b"), names.STATUS) == ["waiting"]
    links = []
    for answer in (None, lambda _: True):
        seen.exporter.clear()
        servers = {"echo": echo_server()}
        async with (
            Orchestrator(servers, journal=journal, answer=answer) as orchestrator,
            orchestrator.resume("last") as run,
        ):
            result = await run.execute()
        links.append(seen.one("invoke_workflow w"))
    for again in links:
        (link,) = again.links
        assert link.context.trace_id == context(first).trace_id
        assert link.context.span_id == context(first).span_id
        assert context(again).trace_id != context(first).trace_id
        assert about(again, names.RESUMED) == [True]
        assert dict(link.attributes or {}) == {names.LINK: names.TAKEN_UP}
    assert result.status == "success"
    assert seen.named("task a") == []  # it had settled
    assert seen.named("task c")


async def test_a_retry_and_a_fork_are_linked_to_the_run_that_they_come_from(
    seen: Seen, tmp_path: Path
) -> None:
    flow = plan(value=1) | {"inputs": {"n": {"type": "integer", "default": 1}}}
    async with Orchestrator({"echo": echo_server()}, journal=tmp_path / "runs.db") as orchestrator:
        origin = (await orchestrator.run(flow)).run_id
        first = seen.one("invoke_workflow w")
        for begin in (orchestrator.retry(origin), orchestrator.fork(origin, inputs={"n": 2})):
            seen.exporter.clear()
            async with begin as run:
                await run.execute()
            again = seen.one("invoke_workflow w")
            (link,) = again.links
            assert link.context.trace_id == context(first).trace_id
            assert link.context.span_id == context(first).span_id
            assert dict(link.attributes or {}) == {names.LINK: names.REUSES}
            assert about(again, names.RESUMED) == [None]


async def test_a_retry_of_a_run_that_nobody_traced_has_no_link(seen: Seen, tmp_path: Path) -> None:
    async with Orchestrator({}, journal=tmp_path / "runs.db") as orchestrator:
        origin = (await orchestrator.run({"tasks": [{"id": "a", "value": 1}]})).run_id
        with sqlite3.connect(tmp_path / "runs.db") as db:
            db.execute("delete from record where kind='trace'")
        seen.exporter.clear()
        async with orchestrator.retry(origin) as run:
            await run.execute()
    (span,) = [each for each in seen.spans if each.name.startswith("invoke_workflow")]
    assert span.links == ()


@pytest.mark.parametrize("kept", ["", "nonsense", "00-zz-1-01", "00-0-0-01", "00-1-2-3-4"])
async def test_a_name_that_is_none_is_no_link(seen: Seen, kept: str) -> None:
    tracing, _ = Telemetry(ServerPool({})).of_run()
    assert tracing is not None
    with tracing.run("w", "run", "dataflow", kept, kept) as begun:
        begun.end(None, 0.0)
    assert seen.one("invoke_workflow w").links == ()
