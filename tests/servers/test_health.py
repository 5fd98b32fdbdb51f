"""What a server says by itself: tools that change, log messages, the progress of a call."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import MCPError
from mcp.client.subscriptions import SubscriptionLost
from mcp.server.mcpserver import Context, MCPServer

from orchestrator import Server
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.events import Event, ServerLog, ServerToolsChanged
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Protocol
from orchestrator.servers.health import HealthMonitor
from orchestrator.servers.pool import ServerPool
from orchestrator.servers.sdk_client import relayed_progress
from tests.conftest import ON_ASYNCIO
from tests.real_servers import TIMEOUT_S, Watch, faulty, program
from tests.servers.test_restart import opened

pytestmark = pytest.mark.anyio

MODES: list[Protocol] = ["legacy", "2026-07-28"]


def is_change(event: Event) -> bool:
    return isinstance(event, ServerToolsChanged)


async def test_tools_that_change_are_listed_again_and_told() -> None:
    async with opened(faulty(deny=["secret"])) as it:
        view = it.pool.catalog.of(["it"])
        await it.call("change_tools", names=["new", "secret"], value="integer", remove=["garbage"])
        await it.watch.until(is_change)
        assert view["it:new"].input_schema["properties"]["value"] == {"type": "integer"}
        assert "it:garbage" not in view
        assert "it:secret" not in view
        assert "secret" in it.pool.catalog.listed("it")
        assert await it.call("new", value=7) == {"value": 7}
        it.watch.events.clear()
        await it.call("change_tools", names=["new", "secret"], value="string")
        await it.watch.until(is_change)
        assert view["it:new"].input_schema["properties"]["value"] == {"type": "string"}
    [changed] = [event for event in it.watch.events if isinstance(event, ServerToolsChanged)]
    assert (changed.server, changed.added, changed.removed) == ("it", (), ())
    assert changed.changed == ("new",)


def changing() -> MCPServer:
    server = MCPServer("changing", log_level="WARNING")

    @server.tool()
    async def change(context: Context) -> int:
        server.add_tool(changing, name="new")
        await context.notify_tools_changed()
        return 1

    return server


async def test_tools_that_change_under_2026_07_28_are_told_to_who_asks() -> None:
    watch = Watch()
    with anyio.fail_after(TIMEOUT_S):
        async with ServerPool({"it": Server(target=changing())}) as pool:
            await pool.open(["it"])
            await anyio.wait_all_tasks_blocked()
            with pool.subscribe(watch, ["it"]):
                await pool.call(Call("t", "it", "change", {}))
                await watch.until(is_change)
            assert set(pool.catalog.of(["it"])) == {"it:change", "it:new"}


class Changes:
    """A stream of notices that ends as it is told."""

    def __init__(self, *ends: Exception | None) -> None:
        self.ends = list(ends)

    async def __aenter__(self) -> Changes:
        return self

    async def __aexit__(self, *_: object) -> None:
        end = self.ends.pop(0)
        if end is not None:
            raise end

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> None:
        raise StopAsyncIteration


async def test_a_stream_of_notices_is_opened_again_until_it_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.servers.health.LISTEN_PAUSE_S", 0.001)
    changes: Any = Changes(None, SubscriptionLost("lost"), MCPError(-32601, "what?"))
    listed: list[Any] = []

    async def list_tools() -> list[Tool]:
        listed.append(None)
        return []

    session: Any = object()
    monitor = HealthMonitor("it", print, print)
    over = anyio.Event()
    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(monitor.watch, session, list_tools, lambda: changes, over)
            while len(changes.ends):
                await anyio.sleep(0.001)
            over.set()
    assert listed


async def test_many_notices_cause_one_listing_after_another() -> None:
    async with opened(faulty("--list-delay", "0.05")) as it:
        await it.call("change_tools", names=["a"], notices=20)
        await it.watch.until(is_change)
        await it.call("change_tools", names=["b"], notices=20)
        await it.watch.until(lambda event: is_change(event) and event.to_dict()["added"] == ["b"])
        listings = await it.call("listings")
    assert listings["most"] == 1
    assert listings["count"] <= 6  # once at the start, and a few times instead of forty


async def test_a_notice_without_a_change_is_not_told() -> None:
    async with opened(faulty()) as it:
        await it.call("change_tools", names=[])
        while (await it.call("listings"))["count"] < 2:
            await anyio.sleep(0.001)
        await anyio.wait_all_tasks_blocked()
    assert not any(map(is_change, it.watch.events))


async def test_tools_that_cannot_be_listed_again_stay_as_they_were(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = (
        "import asyncio, sys; sys.path.insert(0, '.')\n"
        "from mock_servers import wire\n"
        "async def tell():\n"
        "    'Say that the tools have changed.'\n"
        "    wire.notify('notifications/tools/list_changed', {}); return {'content': []}\n"
        "answers = wire.methods('once', [wire.Tool(tell)])\n"
        "once = [answers['tools/list']]\n"
        "async def listed(params):\n"
        "    return await once.pop()(params)\n"
        "answers['tools/list'] = listed\n"
        "asyncio.run(wire.Connection(answers, print).serve())\n"
    )
    root = str(Path(__file__).parents[2])
    with caplog.at_level(logging.WARNING):
        async with opened(Server(command=sys.executable, args=["-c", source], cwd=root)) as it:
            await it.call("tell")
            while "cannot list its tools again" not in caplog.text:
                await anyio.sleep(0.001)
            assert list(it.pool.catalog.of(["it"])) == ["it:tell"]


async def test_a_view_of_the_catalog_shows_its_servers_only() -> None:
    pool = ServerPool({"a": Server(command="a"), "b": Server(command="b")})
    view = pool.catalog.of(["a"])
    for server in ("a", "b"):
        pool.catalog.replace(server, [Tool(server, "t", {})])
    assert (list(view), len(view), "a:t" in view, "b:t" in view) == (["a:t"], 1, True, False)
    with pytest.raises(KeyError):
        view["b:t"]


def chatty() -> MCPServer:
    server = MCPServer("chatty", log_level="WARNING")

    @server.tool()
    async def work(context: Context, steps: int) -> int:
        for step in range(1, steps + 1):
            await context.report_progress(step, steps, f"step {step}")
        return steps

    return server


@pytest.mark.parametrize("protocol", MODES)
@pytest.mark.parametrize("watched", [True, False])
async def test_the_progress_of_a_call_is_told_to_who_asks_for_it(
    protocol: Protocol, watched: bool
) -> None:
    told: list[tuple[float, float | None, str]] = []
    with anyio.fail_after(TIMEOUT_S):
        async with ServerPool({"it": Server(target=chatty(), protocol=protocol)}) as pool:
            await pool.open(["it"])
            call = Call("t", "it", "work", {"steps": 3})
            attempt = Attempt((lambda *said: told.append(said)) if watched else None)
            assert await pool.call(call, attempt) == 3
    assert told == ([(n, 3, f"step {n}") for n in (1, 2, 3)] if watched else [])


@pytest.mark.parametrize("watched", [True, False])
async def test_a_program_is_asked_for_progress_only_if_somebody_watches(watched: bool) -> None:
    told: list[tuple[float, float | None, str]] = []
    async with opened(faulty()) as it:
        call = Call("t", "it", "progress", {"steps": 50})
        attempt = Attempt((lambda *said: told.append(said)) if watched else None)
        answer = await it.pool.call(call, attempt)
    assert answer == {"steps": 50, "asked": watched}
    assert [done for done, _, _ in told] == (list(range(51)) if watched else [])


async def test_progress_has_no_secrets_and_one_that_fails_fails_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "mcp")  # the command line silences these loggers
    caplog.set_level(logging.WARNING, "client")
    told: list[str] = []
    async with opened(faulty(env={"API_KEY": "step 2"})) as it:

        def fail(done: float, total: float | None, message: str) -> None:
            told.append(message)
            raise ValueError(f"{done} of {total}")

        call = Call("t", "it", "progress", {"steps": 2})
        assert (await it.pool.call(call, Attempt(fail)))["steps"] == 2
    assert told == ["beginning", "step 1", "***"]
    assert "progress callback raised" in caplog.text


async def test_log_messages_become_events_without_secrets() -> None:
    async with opened(faulty(env={"API_KEY": "s3cr3t-value"})) as it:
        await it.call(
            "log", message={"said": ["s3cr3t-value"]}, level="error", logger="s3cr3t-value"
        )
        await it.call("log", message="hello")
        await it.watch.until(lambda event: isinstance(event, ServerLog) and event.data == "hello")
    first, second = [event for event in it.watch.events if isinstance(event, ServerLog)]
    assert first == ServerLog(0.0, "it", "error", "***", {"said": ["***"]})
    assert second == ServerLog(0.0, "it", "info", "faulty", "hello")


@pytest.mark.filterwarnings("ignore:.*deprecated")
async def test_log_messages_that_are_nested_too_deep_say_so() -> None:
    deep: Any = 1
    for _ in range(201):
        deep = [deep]
    async with opened(Server(target=logging_server(deep), protocol="legacy")) as it:
        await it.call("work")
        await it.watch.until(lambda event: isinstance(event, ServerLog))
    [log] = it.watch.events
    assert isinstance(log, ServerLog)
    assert log.data == "(nested too deep)"


def logging_server(data: Any) -> MCPServer:
    server = MCPServer("logging", log_level="WARNING")

    @server.tool()
    async def work(context: Context) -> int:
        await context.log("info", data)
        return 1

    return server


async def test_after_the_end_of_a_call_no_progress_is_told() -> None:
    told: list[Any] = []
    with relayed_progress(lambda *said: told.append(said), lambda value: value) as relay:
        assert relay is not None
        await relay(1, None, None)
    await relay(2, None, None)
    assert told == [(1, None, "")]


async def test_a_notice_while_a_server_starts_is_not_forgotten() -> None:
    source = (
        "import asyncio, sys; sys.path.insert(0, '.')\n"
        "from mock_servers import wire\n"
        "async def tool():\n"
        "    'Do nothing.'\n"
        "    return {'content': []}\n"
        "tools = []\n"
        "answers = wire.methods('late', tools)\n"
        "first = answers['tools/list']\n"
        "async def listed(params):\n"
        "    answer = await first(params)\n"
        "    if not tools:\n"
        "        tools.append(wire.Tool(tool))\n"
        "        wire.notify('notifications/tools/list_changed', {})\n"
        "        await asyncio.sleep(0.1)\n"
        "    return answer\n"
        "answers['tools/list'] = listed\n"
        "asyncio.run(wire.Connection(answers, print).serve())\n"
    )
    root = str(Path(__file__).parents[2])
    async with opened(Server(command=sys.executable, args=["-c", source], cwd=root)) as it:
        while "it:tool" not in it.pool.catalog.of(["it"]):
            await anyio.sleep(0.001)


@pytest.mark.filterwarnings("ignore:.*deprecated")
@pytest.mark.parametrize("protocol", MODES)
async def test_servers_of_the_sdk_log_in_both_protocols(protocol: Protocol) -> None:
    server = logging_server("hello")
    watch = Watch()
    with anyio.fail_after(TIMEOUT_S):
        async with ServerPool({"it": Server(target=server, protocol=protocol)}) as pool:
            await pool.open(["it"])
            with pool.subscribe(watch, ["it"]):
                await pool.call(Call("t", "it", "work", {}))
                await watch.until(lambda event: isinstance(event, ServerLog))
    [log] = watch.events
    assert isinstance(log, ServerLog)
    assert (log.level, log.data) == ("info", "hello")


@pytest.mark.slow
@ON_ASYNCIO
async def test_progress_comes_over_a_real_server_of_the_sdk() -> None:
    told: list[float] = []
    async with opened(program("delay")) as it:
        call = Call("t", "it", "progress", {"steps": 5, "ms": 1})
        attempt = Attempt(lambda done, *_: told.append(done))
        assert await it.pool.call(call, attempt) == {"steps": 5}
    assert told == [1, 2, 3, 4, 5]
