"""Many servers at once: whatever one of them does, it costs only its own tasks."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from typing import Any

import anyio
import pytest
from mcp import StdioServerParameters, stdio_client
from mcp.server.mcpserver import MCPServer

import orchestrator.servers.pool as pools
import orchestrator.servers.supervisor as supervisor
from orchestrator import CallError, Orchestrator, RunResult, Server, ServerStartError, WorkflowError
from orchestrator.calls.call import Call
from orchestrator.engine.events import (
    ServerFailed,
    ServerReady,
    ServerStarting,
    TaskSettled,
    TaskStarted,
)
from orchestrator.servers.catalog import is_allowed
from orchestrator.servers.config import Protocol
from orchestrator.servers.pool import ServerPool
from tests.real_servers import ROOT, TIMEOUT_S, Watch, alive, faulty, pid_of, plan

pytestmark = pytest.mark.anyio

ECHO = ("good:echo", {"value": 1})


async def run(
    servers: dict[str, Any], *calls: tuple[str, dict[str, Any]], **settings: Any
) -> RunResult:
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator(servers) as orchestrator:
            return await orchestrator.run(plan(*calls, **settings))


def memory_server() -> MCPServer:
    server = MCPServer("memory", log_level="WARNING")

    @server.tool()
    async def echo(value: Any) -> dict[str, Any]:
        return {"value": value}

    return server


async def test_only_servers_that_are_named_are_started() -> None:
    watch = Watch()
    servers = {"good": faulty(), "other": faulty(), "broken": Server(command="/nonexistent")}
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator(servers, observers=[watch]) as orchestrator:
            result = await orchestrator.run(plan(ECHO, ("other:echo", {"value": 2})))
            assert repr(orchestrator) == "Orchestrator(ServerPool(2 of 3 servers ready))"
    assert result.status == "success"
    started = [event.server for event in watch.events if isinstance(event, ServerStarting)]
    assert sorted(started) == ["good", "other"]


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (
            Server(command="/nonexistent/program"),
            'no such program or directory "/nonexistent/program"',
        ),
        (Server(command=str(ROOT)), "is not executable"),
        (Server(command=sys.executable, cwd="/nonexistent"), 'program or directory "/nonexistent"'),
        (faulty("--exit-on-start", "3"), "exiting at the start as asked (code 3)"),
        (faulty("--hang-on-start", start_timeout_s=0.4), "it did not answer within 0.4 s"),
        (Server(command=sys.executable, args=["-c", "print('no')"]), "it closed the connection"),
        (Server(target=object()), "did not start: TypeError"),
    ],
    ids=["missing", "directory", "cwd", "exits", "hangs", "no-server", "no-target"],
)
async def test_a_server_that_does_not_start_costs_only_its_own_tasks(
    server: Server, said: str
) -> None:
    result = await run({"good": faulty(), "bad": server}, ECHO, ("bad:echo", {"value": 1}))
    assert result["t0"].output == {"value": 1}
    error = result["t1"].error
    assert error is not None
    assert error.kind == "server_unavailable"
    assert error.message.startswith('server "bad" did not start: ')
    assert said in error.message
    assert error.details["server"] == "bad"
    assert error.details.get("started_with", "") == server.description


@pytest.mark.parametrize(
    ("tool", "arguments", "kind", "said"),
    [
        ("crash", {"code": 3}, "server_unavailable", "crashing as asked (code 3)"),
        ("hang", {}, "timeout", "did not answer within 0.3 s"),
        ("wrong_id", {}, "timeout", "did not answer within 0.3 s"),
        ("rpc_error", {"code": -32042, "message": "no"}, "protocol_error", "error -32042: no"),
        ("rpc_error", {}, "protocol_error", "error -32000: refused as asked"),
        (
            "echo",
            {"wrong": 1},
            "invalid_arguments",
            'bad:echo(value: any): missing property "value"',
        ),
        (
            "echo",
            {"value": 1, "wrong": 1},
            "invalid_arguments",
            'rejected the arguments of "echo"',
        ),
        ("fail", {"message": "no luck"}, "tool_error", "no luck"),
    ],
)
async def test_what_a_server_does_in_a_call_costs_only_that_call_or_server(
    tool: str, arguments: dict[str, Any], kind: str, said: str
) -> None:
    limit_s = 0.3 if kind == "timeout" else TIMEOUT_S
    servers = {"good": faulty(), "bad": faulty(timeout_s=limit_s)}
    calls = [ECHO, (f"bad:{tool}", arguments), ("good:delay", {"ms": 350})]
    result = await run(servers, *calls)
    assert [task.status for task in result.tasks.values()] == ["success", "error", "success"]
    error = result["t1"].error
    assert error is not None
    assert error.kind == kind
    assert said in error.message


async def test_every_call_in_flight_on_a_server_that_dies_says_the_same() -> None:
    errors: list[CallError] = []

    async def call(tool: str) -> None:
        with pytest.raises(CallError) as caught:
            await pool.call(Call("t", "bad", tool, {}))
        errors.append(caught.value)

    with anyio.fail_after(TIMEOUT_S):
        async with ServerPool({"bad": faulty(), "good": faulty()}) as pool:
            await pool.open(["bad", "good"])
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(call, "hang")
                await anyio.wait_all_tasks_blocked()
                group.start_soon(call, "crash")
                assert await pool.call(Call("t", "good", "echo", {"value": 1})) == {"value": 1}
    assert len(errors) == 6
    assert len({str(error) for error in errors}) == 1
    assert 'server "bad" closed the connection (' in str(errors[0])
    assert errors[0].error.details["stderr"] == ["faulty: crashing as asked (code 1)"]
    assert errors[0].error.details["lost"] is True


async def test_garbage_and_a_flood_on_stderr_do_no_harm() -> None:
    server = faulty("--garbage-on-start", "--stderr", "\x1b[31mhello\x1b[0m")
    calls = [
        ("bad:garbage", {"lines": 50}),
        ("bad:stderr_flood", {"bytes": 5_000_000}),
        ("bad:infinity", {}),
        ("bad:huge", {"bytes": 3_000_000}),
    ]
    result = await run({"bad": server}, *calls)
    assert result.status == "success"
    assert result["t2"].output == {"value": "Infinity"}
    assert len(result["t3"].output) == 3_000_000


async def test_fifty_megabytes_arrive_or_the_limit_is_named() -> None:
    result = await run({"big": faulty(timeout_s=1)}, ("big:huge", {"bytes": 50_000_000}))
    error = result["t0"].error
    if error is None:
        assert len(result["t0"].output) == 50_000_000
    else:
        assert error.kind == "timeout"
        assert "within 1 s" in error.message


async def test_a_server_that_only_knows_the_handshake_is_started_afresh_in_legacy_mode() -> None:
    watch = Watch()
    with anyio.fail_after(TIMEOUT_S):
        servers = {"good": faulty("--legacy-only")}
        async with Orchestrator(servers, observers=[watch]) as orchestrator:
            result = await orchestrator.run(plan(ECHO))
    assert result.status == "success"
    [ready] = [event for event in watch.events if isinstance(event, ServerReady)]
    assert ready.protocol < "2026"
    assert ready.tools == 25


@pytest.mark.parametrize("protocol", ["legacy", "2026-07-28"])
async def test_a_protocol_that_is_named_is_the_only_one_that_is_tried(protocol: Protocol) -> None:
    watch = Watch()
    servers = {"memory": Server(target=memory_server(), protocol=protocol)}
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator(servers, observers=[watch]) as orchestrator:
            assert await orchestrator.call("memory:echo", {"value": 3}) == {"value": 3}
            await orchestrator.run(plan(("memory:echo", {"value": 3})))
            old = await run({"old": faulty("--legacy-only", protocol="2026-07-28")}, ("old:x", {}))
    error = old["t0"].error
    assert error is not None
    assert "it closed the connection" in error.message
    assert "expected initialize as the first message, got tools/list" in error.message


async def test_servers_that_hang_do_not_delay_the_others_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(pools, "STARTS_PER_CORE", 2)
    monkeypatch.setattr(supervisor, "STARTING_S", 0.2)
    watch = Watch()
    servers = {"a": faulty("--hang-on-start"), "b": faulty("--hang-on-start"), "good": faulty()}
    with anyio.fail_after(TIMEOUT_S):
        async with ServerPool(_named(servers)) as pool, anyio.create_task_group() as group:
            group.start_soon(pool.open, ["a", "b", "good"], watch)
            await watch.until(lambda event: isinstance(event, ServerReady))
            assert not any(isinstance(event, ServerFailed) for event in watch.events)
            group.cancel_scope.cancel()


def _named(servers: dict[str, Server]) -> dict[str, Server]:
    return {name: server.model_copy(update={"name": name}) for name, server in servers.items()}


@pytest.mark.slow
async def test_closing_leaves_no_process_behind() -> None:
    wrapper = f"{sys.executable} -m mock_servers.faulty --ignore-eof; true"
    servers = {
        "stopped": faulty(),
        "deaf": faulty("--ignore-eof"),
        "stubborn": faulty("--ignore-eof", "--ignore-sigterm"),
        "wrapped": Server(command="/bin/sh", args=["-c", wrapper], cwd=str(ROOT)),
    }
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator(servers) as orchestrator:
            pids = [await pid_of(orchestrator, name) for name in servers]
            assert all(map(alive, pids))
            os.kill(pids[0], signal.SIGSTOP)
    assert not any(map(alive, pids))


class BodyError(Exception):
    pass


@pytest.mark.parametrize(
    "raised", [BodyError("mine"), KeyboardInterrupt(), ExceptionGroup("mine", [BodyError()])]
)
async def test_what_the_block_raises_comes_out_as_itself(raised: BaseException) -> None:
    pids = []

    async def block() -> None:
        async with Orchestrator({"good": faulty()}) as orchestrator:
            pids.append(await pid_of(orchestrator, "good"))
            raise raised

    with anyio.fail_after(TIMEOUT_S):
        with pytest.raises(type(raised)) as caught:
            await block()
    assert caught.value is raised
    assert not alive(pids[0])


async def test_a_block_that_is_cancelled_leaves_no_process_behind() -> None:
    pids = []
    watch = Watch()
    with anyio.fail_after(TIMEOUT_S), anyio.CancelScope() as scope:
        async with (
            Orchestrator({"good": faulty()}, observers=[watch]) as orchestrator,
            anyio.create_task_group() as group,
        ):
            pids.append(await pid_of(orchestrator, "good"))
            group.start_soon(orchestrator.run, plan(("good:hang", {})))
            await watch.until(lambda event: isinstance(event, TaskStarted))
            scope.cancel()
    assert scope.cancelled_caught
    assert not alive(pids[0])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_of_asyncio_that_is_cancelled_twice_leaves_no_process_behind() -> None:
    pids = []
    opened = asyncio.Event()

    async def block() -> None:
        async with Orchestrator({"good": faulty(), "deaf": faulty("--ignore-eof")}) as orchestrator:
            pids.extend([await pid_of(orchestrator, name) for name in ("good", "deaf")])
            opened.set()
            await orchestrator.run(plan(("good:hang", {})))

    async with asyncio.timeout(TIMEOUT_S):
        task = asyncio.create_task(block())
        await opened.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not any(map(alive, pids))


@pytest.mark.parametrize("options", [(), ("--hang-on-start",), ("--ignore-eof", "--hang-on-start")])
async def test_a_start_that_is_cancelled_leaves_no_process_behind(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    pids: list[int] = []
    open_process = anyio.open_process
    spawned = anyio.Event()

    async def noted(*args: Any, **kwargs: Any) -> Any:
        process = await open_process(*args, **kwargs)
        pids.append(process.pid)
        spawned.set()
        return process

    monkeypatch.setattr(anyio, "open_process", noted)
    with anyio.fail_after(TIMEOUT_S):
        async with (
            Orchestrator({"good": faulty(*options)}) as orchestrator,
            anyio.create_task_group() as group,
        ):
            group.start_soon(orchestrator.tools)
            await spawned.wait()
            group.cancel_scope.cancel()
    assert pids
    assert not any(map(alive, pids))


async def test_calls_go_to_the_least_busy_session_and_dead_ones_are_replaced() -> None:
    both = plan(("good:pid", {}), ("good:pid", {}))
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"good": faulty(sessions=2)}) as orchestrator:
            first = {task.output["pid"] for task in (await orchestrator.run(both)).tasks.values()}
            crashed = await orchestrator.run(plan(("good:crash_writing", {}), ECHO))
            second = {task.output["pid"] for task in (await orchestrator.run(both)).tasks.values()}
    assert [task.status for task in crashed.tasks.values()] == ["error", "success"]
    assert len(first) == len(second) == 2
    assert len(first & second) == 1


async def test_a_server_that_died_is_started_again_for_the_next_run() -> None:
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"good": faulty()}) as orchestrator:
            first = await orchestrator.run(plan(("good:crash", {})))
            error = orchestrator.failure("good")
            second = await orchestrator.run(plan(ECHO))
            pid = await pid_of(orchestrator, "good")
            os.kill(pid, signal.SIGKILL)  # and while nobody calls
            await until_unusable(orchestrator)
            third = await orchestrator.run(plan(ECHO))
    assert first["t0"].status == "error"
    assert error is not None
    assert error.kind == "server_unavailable"
    assert second.status == third.status == "success"
    assert orchestrator.failure("good") is not None
    assert "was closed" in str(orchestrator.failure("good"))


async def until_unusable(orchestrator: Orchestrator) -> None:
    while "1 of 1" in repr(orchestrator):
        await anyio.sleep(0.001)


async def test_calls_on_a_server_are_limited_over_sessions_and_runs() -> None:
    servers = {"good": Server(target=counting_server(), max_concurrency=2, sessions=2)}
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator(servers) as orchestrator, anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(orchestrator.run, plan(*[("good:work", {})] * 4))
    assert servers["good"].target.most == 2


def counting_server() -> Any:
    server = MCPServer("counting", log_level="WARNING")
    counts: Any = server
    counts.most = counts.now = 0

    @server.tool()
    async def work() -> None:
        counts.now += 1
        counts.most = max(counts.most, counts.now)
        await anyio.wait_all_tasks_blocked()
        counts.now -= 1

    return server


@pytest.mark.parametrize(("writes", "kept"), [("serial", 8), ("parallel", 1)])
async def test_writing_tools_run_one_at_a_time_unless_told_otherwise(
    writes: str, kept: int
) -> None:
    ms = 10 if writes == "serial" else 500  # on a busy machine the calls come one by one
    values = [("good:append", {"value": number, "ms": ms}) for number in range(8)]
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"good": faulty(writes=writes)}) as orchestrator:
            await orchestrator.run(plan(*values))
            left = await orchestrator.call("good:appended")
    if kept == 8:
        assert sorted(left["values"]) == list(range(8))
    else:
        assert len(left["values"]) < 8


async def test_tools_that_are_not_allowed_do_not_exist() -> None:
    server = faulty(allow=["e*", "pid"], deny=["p*"])
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"good": server}) as orchestrator:
            assert [tool.name for tool in await orchestrator.tools()] == ["echo"]
            for tool, said in [
                ("pid", 'does not allow tool "good:pid"'),
                ("nothing", 'does not allow tool "good:nothing"'),
                ("enothing", 'unknown tool "good:enothing"'),
            ]:
                with pytest.raises(WorkflowError, match=said):
                    await orchestrator.run(plan((f"good:{tool}", {})))


@pytest.mark.parametrize(
    ("allow", "deny", "allowed"),
    [
        (None, [], True),
        (None, ["fetch_*"], False),
        (["fetch_*"], [], True),
        (["search"], [], False),
        (["fetch_*"], ["fetch_all"], False),
        ([], [], False),
    ],
)
def test_deny_is_stronger_than_allow(
    allow: list[str] | None, deny: list[str], allowed: bool
) -> None:
    assert is_allowed(Server(allow=allow, deny=deny), "fetch_all") is allowed


async def test_a_server_that_is_required_fails_the_run_before_anything_is_changed() -> None:
    watch = Watch()
    servers = {"good": faulty(), "bad": faulty("--exit-on-start", "3", required=True)}
    writes = ("good:append", {"value": 1})
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator(servers, observers=[watch]) as orchestrator:
            with pytest.raises(ServerStartError, match=r'server "bad" did not start') as caught:
                await orchestrator.run(plan(ECHO, writes, ("bad:echo", {"value": 1})))
            assert re.search(
                ", (nothing was|only read-only tools were) called\n", str(caught.value)
            )
            started = [event for event in watch.events if isinstance(event, TaskStarted)]
            assert {event.tool for event in started} <= {"echo"}
            watch.events.clear()
            with pytest.raises(ServerStartError, match=r"1 error, nothing was called\n"):
                await orchestrator.prepare(plan(ECHO, ("bad:echo", {"value": 1})))
    assert not any(isinstance(event, TaskStarted) for event in watch.events)


async def test_cancelling_and_timeouts_reach_the_server() -> None:
    watch = Watch()
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"good": faulty()}, observers=[watch]) as orchestrator:
            timed = plan(("good:hang", {"label": "timed out"}))
            timed["tasks"][0]["timeout_s"] = 0.2
            await orchestrator.run(timed)
            async with anyio.create_task_group() as group:
                watch.events.clear()
                group.start_soon(
                    orchestrator.run, plan(("good:hang", {"label": "cancelled"}), ECHO)
                )
                await watch.until(lambda event: isinstance(event, TaskSettled))
                group.cancel_scope.cancel()
            answer = await orchestrator.call("good:cancelled")
    assert answer == {"cancelled": ["timed out", "cancelled"]}


async def test_a_server_that_stops_reading_costs_its_own_calls_little_more_than_their_limit() -> (
    None
):
    large = "x" * 300_000
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"bad": faulty(timeout_s=0.2), "good": faulty()}) as orchestrator:
            pid = await pid_of(orchestrator, "bad")
            os.kill(pid, signal.SIGSTOP)
            calls = [("bad:echo", {"value": large})] * 3
            result = await orchestrator.run(plan(*calls, ECHO))
            os.kill(pid, signal.SIGKILL)
    assert [task.status for task in result.tasks.values()] == [*["error"] * 3, "success"]
    assert {task.error.kind for task in result.tasks.values() if task.error} == {"timeout"}


async def test_a_request_that_cannot_be_sent_costs_nobody_else_anything() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    deeper: Any = deep
    for _ in range(5000):
        deeper = [deeper]
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"good": faulty()}) as orchestrator:
            pid = await pid_of(orchestrator, "good")
            for value in ("\ud800", float("nan"), deep, deeper, object()):
                with pytest.raises(CallError, match="cannot be sent as JSON") as caught:
                    await orchestrator.call("good:echo", {"value": value})
                assert caught.value.kind == "invalid_arguments"
            assert await pid_of(orchestrator, "good") == pid


@pytest.mark.parametrize("kind", ["mcpserver", "lowlevel", "parameters", "transport"])
async def test_an_orchestrator_takes_whatever_the_sdk_takes(kind: str) -> None:
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "mock_servers.faulty"], cwd=ROOT, env={"A": "b"}
    )
    match kind:
        case "mcpserver":
            target: Any = memory_server()
        case "lowlevel":
            target = memory_server()._lowlevel_server
        case "parameters":
            target = parameters
        case _:
            target = stdio_client(parameters)
    result = await run({"good": target}, ECHO)
    assert result["t0"].output == {"value": 1}


async def test_a_transport_of_ones_own_that_ends_is_noticed() -> None:
    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "mock_servers.faulty"], cwd=ROOT
    )
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"good": stdio_client(parameters)}) as orchestrator:
            result = await orchestrator.run(plan(("good:crash", {})))
            again = await orchestrator.run(plan(ECHO))  # it cannot be opened a second time
    for error in (result["t0"].error, again["t0"].error):
        assert error is not None
        assert error.message == 'server "good" closed the connection'


async def test_an_orchestrator_can_be_entered_again_but_not_twice_at_once() -> None:
    orchestrator = Orchestrator({"good": faulty()})
    with anyio.fail_after(TIMEOUT_S):
        async with orchestrator:
            first = await pid_of(orchestrator, "good")
            with pytest.raises(RuntimeError, match="it is open already"):
                await orchestrator.__aenter__()
        with pytest.raises(RuntimeError, match="use 'async with"):
            await orchestrator.run(plan(ECHO))
        async with orchestrator:
            second = await pid_of(orchestrator, "good")
    assert first != second
    assert not alive(first)
    assert not alive(second)


async def test_a_run_that_goes_on_elsewhere_fails_when_the_pool_is_closed() -> None:
    watch = Watch()
    results: list[RunResult] = []
    orchestrator = Orchestrator({"good": faulty()}, observers=[watch])

    async def run_on() -> None:
        results.append(await orchestrator.run(plan(("good:hang", {}), ECHO)))

    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as group, orchestrator:
            group.start_soon(run_on)
            await watch.until(lambda event: isinstance(event, TaskSettled))
    error = results[0]["t0"].error
    assert error is not None
    assert error.kind == "server_unavailable"
    assert 'server "good" was closed' in error.message


async def test_a_server_that_is_asked_for_while_the_pool_closes_is_not_started() -> None:
    pool = ServerPool({"good": faulty()})
    with anyio.fail_after(TIMEOUT_S):
        async with pool:

            async def late() -> None:
                try:
                    await anyio.sleep_forever()
                finally:
                    with anyio.CancelScope(shield=True):
                        await pool.open(["good"])

            pool.start_soon(late)
            await anyio.wait_all_tasks_blocked()
    assert not pool.usable("good")
    failure = pool.failure("good")
    assert failure is not None
    assert "was closed" in failure.message


async def test_work_in_the_background_ends_with_the_pool_and_its_bugs_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("work")

    async def bug() -> None:
        raise BodyError("a bug")

    with anyio.fail_after(TIMEOUT_S):
        async with ServerPool({}) as pool:
            pool.start_soon(bug)
            pool.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            pool.start_soon(work)  # is told at once
    assert ended == ["work", "work"]
    assert "a bug in a background task" in caplog.text


async def test_a_server_that_was_never_opened_says_so() -> None:
    pool = ServerPool({"good": faulty()})
    assert pool.failure("good") is None
    with pytest.raises(CallError, match='server "good" was never opened'):
        await pool.call(Call("t", "good", "echo", {}))


async def test_secrets_are_shown_nowhere() -> None:
    server = faulty(
        "--name", "x", "--stderr", "token is s3cr3t-value", env={"API_KEY": "s3cr3t-value"}
    )
    result = await run(
        {"bad": server},
        ("bad:crash", {}),
        ("bad:fail", {"message": "no s3cr3t-value"}),
        ("bad:rpc_error", {"message": "no s3cr3t-value"}),
    )
    told = str(result.to_dict())
    assert "token is ***" in told
    assert "s3cr3t-value" not in told
