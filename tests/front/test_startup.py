"""Servers that start while the first tasks run: who waits for whom, proved by the order of events.

The sessions are fakes that become usable, or fail, when the test says so.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, Run, Server, ServerStartError, WorkflowError
from orchestrator.calls.call import Call
from orchestrator.calls.limits import Slots
from orchestrator.engine.decide import fit
from orchestrator.engine.events import (
    Event,
    GenerationStarted,
    RunSettled,
    RunStarted,
    ServerEvent,
    ServerReady,
    TaskSettled,
    TaskStarted,
    TaskWaiting,
)
from orchestrator.errors import CallError, TaskError
from orchestrator.schema.tool import Tool
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.supervisor import Supervisor
from orchestrator.startup import CHECK
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate, waves
from tests.real_servers import TIMEOUT_S, Watch

pytestmark = pytest.mark.anyio


class Stage:
    """What the servers do: each has the tools `read` and `write`, and `stay` which waits.

    Attributes:
        ready: By server, when it is ready.
        fails: The servers that fail then.
        started: The servers in the order in which they were started.
        calls: The tools that were called, as `server:tool`.
        let_go: When calls of `stay` end.
    """

    def __init__(self) -> None:
        self.ready: dict[str, anyio.Event] = defaultdict(anyio.Event)
        self.fails: set[str] = set()
        self.started: list[str] = []
        self.calls: list[str] = []
        self.let_go = anyio.Event()


class FakeSession:
    """A session that starts as the stage says."""

    stage = Stage()

    def __init__(self, server: Server, *_: object) -> None:
        self.server = server
        self.tools = [
            Tool(server.name, "read", {}, read_only=True),
            Tool(server.name, "stay", {}, read_only=True),
            Tool(server.name, "write", {"properties": {"n": {"type": "integer"}}}),
        ]
        self.protocol, self.offers = "fake", None
        self.in_flight = 0
        self.failure: TaskError | None = None
        self.doubtful = self.served = False
        self.began_at = 0.0
        self._settled = anyio.Event()
        self._over = anyio.Event()

    @property
    def usable(self) -> bool:
        return self._settled.is_set() and self.failure is None

    async def own(self) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._start)
            await self._over.wait()
            group.cancel_scope.cancel()

    async def _start(self) -> None:
        self.stage.started.append(self.server.name)
        await self.stage.ready[self.server.name].wait()
        if self.server.name in self.stage.fails:
            self._fail("did not start")
        self._settled.set()

    def _fail(self, why: str) -> None:
        if self.failure is None:
            message = f'server "{self.server.name}" {why}'
            self.failure = TaskError("server_unavailable", message, retryable=True)

    async def started_within(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await self._settled.wait()
        return self._settled.is_set()

    def close(self) -> None:
        self._fail("was closed")
        self._over.set()

    def unavailable(self) -> CallError:
        assert self.failure is not None
        return CallError(self.failure.kind, self.failure.message)

    async def call(self, call: Call, _: object = None) -> Any:
        self.stage.calls.append(f"{call.server}:{call.tool}")
        if call.tool == "stay":
            await self.stage.let_go.wait()
        return call.arguments


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage()
    monkeypatch.setattr(FakeSession, "stage", made)
    monkeypatch.setattr("orchestrator.servers.session.Session", FakeSession)
    return made


def task(identifier: str, tool: str, *needs: str, **more: Any) -> dict[str, Any]:
    return {"id": identifier, "tool": tool, "depends_on": list(needs), **more}


def document(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "test", "tasks": list(tasks), **more}


class Playing:
    """A run that goes on in the background.

    Attributes:
        watch: The events.
        run: The run, once it has begun.
        error: What it raised.
    """

    def __init__(self, orchestrator: Orchestrator) -> None:
        self.orchestrator = orchestrator
        self.watch = Watch()
        self.run: Run | None = None
        self.error: WorkflowError | None = None
        self.over = anyio.Event()

    async def play(self, workflow: dict[str, Any]) -> None:
        try:
            async with self.orchestrator.begin(workflow, observers=[self.watch]) as self.run:
                await self.run.execute()
        except WorkflowError as error:
            self.error = error
        self.over.set()

    async def settled(self, *tasks: str) -> None:
        for name in tasks:
            await self.watch.until(lambda _, name=name: self.has_settled(name))  # type: ignore[misc]

    async def waits(self, name: str, what: str) -> None:
        await self.watch.until(
            lambda e: isinstance(e, TaskWaiting) and (e.task, e.waiting_for) == (name, what)
        )

    async def told(self, kind: str, server: str) -> None:
        await self.watch.until(
            lambda e: isinstance(e, ServerEvent) and (e.name, e.server) == (kind, server)
        )

    def has_settled(self, name: str) -> bool:
        return any(isinstance(e, TaskSettled) and e.task == name for e in self.watch.events)

    def order(self, *kinds: type[Event]) -> list[str]:
        """The events of these kinds, in order, by their names and what they are of."""
        of = ((e, getattr(e, "task", getattr(e, "server", ""))) for e in self.watch.events)
        return [f"{e.name} {what}".strip() for e, what in of if isinstance(e, kinds)]


@asynccontextmanager
async def playing(
    workflow: dict[str, Any], *servers: str, **settings: Any
) -> AsyncIterator[Playing]:
    lock = settings.pop("lock", None)
    made = {name: Server(command="x", **settings.get(name, {})) for name in servers}
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator(made, lock) as orchestrator, anyio.create_task_group() as group:
            played = Playing(orchestrator)
            group.start_soon(played.play, workflow)
            yield played
            await played.over.wait()


def result_of(played: Playing) -> Any:
    assert played.run is not None
    assert played.run.result is not None
    return played.run.result


async def test_a_task_of_a_server_that_is_ready_does_not_wait_for_one_that_is_not(
    stage: Stage,
) -> None:
    workflow = document(task("a", "fast:read"), task("b", "slow:read"))
    async with playing(workflow, "fast", "slow") as it:
        stage.ready["fast"].set()
        await it.settled("a")
        await it.waits("b", 'server "slow"')
        assert stage.calls == ["fast:read"]
        assert it.run is not None
        (waiting,) = it.run.status().running
        assert (waiting.task, waiting.target, waiting.attempt) == ("b", "slow:read", 0)
        assert (waiting.since_ms, waiting.waiting_for) == (None, 'server "slow"')
        stage.ready["slow"].set()
    result = result_of(it)
    assert result.status == "success"
    assert it.order(ServerEvent, RunStarted, TaskStarted)[2:] == [
        "server_ready fast",
        "run_started",
        "task_started a",
        "server_ready slow",
        "task_started b",
    ]
    assert result["b"].waited_ms > result["a"].waited_ms == 0
    (started,) = [e for e in it.watch.events if isinstance(e, TaskStarted) and e.task == "b"]
    assert started.waited_ms == result["b"].waited_ms
    assert [e.at_ms > 0 for e in it.watch.events if isinstance(e, ServerEvent)] == [
        *[False] * 3,
        True,
    ]


async def test_what_may_change_something_waits_until_the_plan_is_checked(stage: Stage) -> None:
    workflow = document(
        task("reads", "fast:read"),
        task("writes", "fast:write", arguments={"n": "$INPUT.n"}),
        task("late", "slow:read"),
        inputs={"n": {"type": "string", "default": "7"}},
    )
    async with playing(workflow, "fast", "slow") as it:
        stage.ready["fast"].set()
        await it.settled("reads")
        await it.waits("writes", str(CHECK))
        assert stage.calls == ["fast:read"]
        stage.ready["slow"].set()
    assert result_of(it).status == "success"
    assert result_of(it)["writes"].output == {"n": 7}, "converted, for its tool is known by then"
    assert sorted(stage.calls[1:]) == ["fast:write", "slow:read"]


@pytest.mark.parametrize(
    ("tool", "settings", "kind", "said"),
    [
        (
            "slow:raed",
            {},
            WorkflowError,
            'unknown tool "slow:raed". Did you mean "read"?',
        ),
        ("bad:read", {"bad": {"required": True}}, ServerStartError, 'server "bad" did not start'),
    ],
)
async def test_a_plan_found_wrong_later_ends_the_run_before_anything_was_changed(
    stage: Stage, tool: str, settings: Any, kind: type[WorkflowError], said: str
) -> None:
    stage.fails.add("bad")
    workflow = document(
        task("reads", "fast:read"), task("stays", "fast:stay"), task("writes", "fast:write"),
        task("wrong", tool),
    )  # fmt: skip
    slow = tool.partition(":")[0]
    async with playing(workflow, "fast", "slow", "bad", **settings) as it:
        stage.ready["fast"].set()
        await it.settled("reads")
        await it.waits("writes", str(CHECK))
        stage.ready[slow].set()
    assert type(it.error) is kind
    assert said in str(it.error)
    assert "only read-only tools were called" in str(it.error)
    assert sorted(stage.calls) == ["fast:read", "fast:stay"]
    result = result_of(it)
    assert result.status == "cancelled"
    assert {name: result[name].status for name in result.tasks} == {
        "reads": "success",
        "stays": "cancelled",
        "writes": "cancelled",
        "wrong": "cancelled",
    }
    assert isinstance(it.watch.events[-1], RunSettled)


async def test_a_plan_found_wrong_before_the_first_call_begins_no_run(stage: Stage) -> None:
    async with playing(document(task("a", "one:read"), task("b", "one:reed")), "one") as it:
        stage.ready["one"].set()
    assert "nothing was called\n" in str(it.error)
    assert it.run is None
    assert stage.calls == []


async def test_a_run_of_what_may_change_something_begins_when_all_is_checked(stage: Stage) -> None:
    workflow = document(task("a", "fast:write"), task("b", "slow:write"))
    async with playing(workflow, "fast", "slow") as it:
        stage.ready["fast"].set()
        await it.told("server_ready", "fast")
        await anyio.wait_all_tasks_blocked()
        assert it.run is None
        stage.ready["slow"].set()
    assert it.order(ServerReady, RunStarted) == [
        "server_ready fast",
        "server_ready slow",
        "run_started",
    ]
    assert result_of(it)["a"].waited_ms == 0


async def test_servers_of_later_generations_start_while_the_first_runs(stage: Stage) -> None:
    workflow = document(
        task("third", "c:read", "second"),
        task("second", "b:read", "first"),
        task("first", "a:stay", fallback={"tool": "d:read"}),
    )
    async with playing(workflow, "a", "b", "c", "d") as it:
        await it.told("server_starting", "a")
        await anyio.wait_all_tasks_blocked()
        assert it.order(ServerEvent) == ["server_starting a"]
        stage.ready["a"].set()
        for server in "bcd":
            await it.told("server_starting", server)
            stage.ready[server].set()
            await it.told("server_ready", server)
        assert not it.has_settled("first")
        stage.let_go.set()
    assert result_of(it).status == "success"
    told = it.order(ServerEvent, TaskStarted, GenerationStarted)
    assert len(told) == len(set(told)) + 2, "each event once, but for the three generations"


async def test_later_servers_do_not_wait_for_a_first_one_that_takes_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.startup.STARTING_S", 0.0)
    async with playing(document(task("a", "a:read"), task("b", "b:read", "a")), "a", "b") as it:
        await it.told("server_starting", "b")
        stage.ready["b"].set()
        stage.ready["a"].set()
    assert result_of(it).status == "success"


async def test_where_few_may_start_at_a_time_earlier_generations_go_first(stage: Stage) -> None:
    chain = [task("t0", "s0:read")]
    chain += [task(f"t{n}", f"s{n}:read", f"t{n - 1}") for n in range(1, 6)]
    servers = {f"s{n}": Server(command="x") for n in range(6)}
    for server in servers:
        stage.ready[server].set()
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator(servers) as orchestrator:
            one = Slots(1)
            for supervisor in orchestrator._pool._supervisors.values():
                assert isinstance(supervisor, Supervisor)
                supervisor._starting = one
            assert (await orchestrator.run(document(*reversed(chain)))).status == "success"
    assert stage.started == list(servers)


async def test_it_is_said_that_nothing_was_called_whether_anybody_watches_or_not(
    stage: Stage,
) -> None:
    stage.ready["one"].set()
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"one": Server(command="x")}) as orchestrator:
            with pytest.raises(WorkflowError, match="1 error, nothing was called\n"):
                await orchestrator.run(document(task("a", "one:reed")))


def test_a_server_belongs_to_the_first_generation_that_calls_it() -> None:
    plan = Workflow.load(
        document(
            task("a", "x:t", fallback={"tool": "w:t"}),
            task("b", "z:t", "a", fallback={"tool": "x:t"}),
            task("c", "y:t", "b"),
            task("d", "z:t", "c"),
        )
    ).plan
    assert waves(plan) == (["x"], {"w": 0, "z": 1, "y": 2})


async def test_a_server_that_need_not_be_there_costs_its_own_tasks(stage: Stage) -> None:
    stage.fails.add("bad")
    workflow = document(
        task("a", "good:read"),
        task("b", "bad:read", fallback={"tool": "good:write"}),
        task("c", "bad:read"),
        task("d", "good:write", "a"),
    )
    async with playing(workflow, "good", "bad") as it:
        stage.ready["good"].set()
        await it.settled("a")
        stage.ready["bad"].set()
    result = result_of(it)
    assert {name: result[name].status for name in "abcd"} == {
        "a": "success",
        "b": "success",
        "c": "error",
        "d": "success",
    }
    assert result["b"].recovered is not None
    assert result["c"].error.kind == "server_unavailable"
    assert stage.calls.count("good:write") == 2


async def test_a_fallback_waits_for_its_own_server(stage: Stage) -> None:
    workflow = document(
        task("a", "good:read", arguments={"x": "$OUTPUT[b].gone"}, fallback={"tool": "slow:read"}),
        task("b", "good:read"),
    )
    async with playing(workflow, "good", "slow") as it:
        stage.ready["good"].set()
        await it.waits("a", 'server "slow"')
        assert it.run is not None
        assert [running.target for running in it.run.status().running] == ["slow:read"]
        stage.ready["slow"].set()
    assert stage.calls == ["good:read", "slow:read"]
    assert result_of(it)["a"].recovered is not None
    assert result_of(it)["a"].waited_ms > 0


async def test_items_wait_together(stage: Stage) -> None:
    workflow = document(
        task("a", "good:read"),
        task("b", "slow:read", for_each=[1, 2], arguments={"n": "$ITEM"}),
        max_concurrency=0,
    )
    async with playing(workflow, "good", "slow") as it:
        stage.ready["good"].set()
        await it.waits("b", 'server "slow"')
        stage.ready["slow"].set()
    result = result_of(it)
    assert result["b"].output == [{"n": 1}, {"n": 2}]
    assert sum(isinstance(e, TaskWaiting) for e in it.watch.events) == 1
    assert [item.waited_ms > 0 for item in result["b"].items] == [True, True]


async def test_what_a_tool_wants_is_known_when_its_server_is_ready_and_may_be_amiss(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(call: Call, target: CallTemplate, tool: Tool) -> Call:
        if call.server == "slow":
            raise ZeroDivisionError("a bug")
        return fit(call, target, tool)

    monkeypatch.setattr("orchestrator.engine.task_calls.fit", broken)
    workflow = document(task("a", "good:read"), task("b", "slow:read"))
    async with playing(workflow, "good", "slow") as it:
        stage.ready["good"].set()
        await it.waits("b", 'server "slow"')
        stage.ready["slow"].set()
    assert result_of(it)["a"].status == "success"
    assert result_of(it)["b"].error.kind == "internal"


Act = Callable[[Run], object]


@pytest.mark.parametrize(
    ("act", "status", "of_a", "of_b"),
    [
        (lambda run: run.cancel("enough"), "cancelled", "cancelled", "cancelled"),
        (lambda run: run.cancel_task("b", "not needed"), "partial", "success", "cancelled"),
    ],
)
@pytest.mark.parametrize("fallback", [None, {"value": 1}])
async def test_a_task_that_waits_for_its_server_can_be_cancelled(
    stage: Stage, act: Act, status: str, of_a: str, of_b: str, fallback: Any
) -> None:
    workflow = document(task("a", "good:stay"), task("b", "slow:read", fallback=fallback))
    async with playing(workflow, "good", "slow") as it:
        stage.ready["good"].set()
        await it.waits("b", 'server "slow"')
        assert it.run is not None
        act(it.run)
        stage.let_go.set()
        if status == "partial":
            await it.settled("a", "b")
            stage.ready["slow"].set()
    result = result_of(it)
    assert result.status == status
    assert (result["a"].status, result["b"].status) == (of_a, of_b)
    assert result["b"].started_ms is None
    assert "slow:read" not in stage.calls
    assert it.error is None


async def test_a_fallback_that_waits_for_its_server_can_be_cancelled(stage: Stage) -> None:
    gone = {"x": "$OUTPUT[a].gone"}
    workflow = document(
        task("a", "good:read"),
        task("c", "good:read", arguments=gone, fallback={"tool": "slow:read"}),
    )
    async with playing(workflow, "good", "slow") as it:
        stage.ready["good"].set()
        await it.waits("c", 'server "slow"')
        assert it.run is not None
        assert it.run.cancel_task("c", "not needed")
        await it.settled("c")
        stage.ready["slow"].set()
    assert result_of(it)["c"].reason == "not needed"
    assert "slow:read" not in stage.calls


async def test_the_first_failure_ends_a_run_whose_other_tasks_wait(stage: Stage) -> None:
    workflow = document(
        task("a", "good:read"),
        task("b", "good:read", arguments={"x": "$OUTPUT[a].gone"}),
        task("c", "slow:read"),
        on_error="fail_fast",
        schedule="dataflow",
    )
    async with playing(workflow, "good", "slow") as it:
        stage.ready["good"].set()
    result = result_of(it)
    assert (result.status, result["c"].status) == ("failed", "skipped")
    assert "fail_fast" in result["c"].reason
    assert it.error is None


async def test_a_run_does_not_end_before_its_plan_is_checked(stage: Stage) -> None:
    workflow = document(task("a", "good:read"), task("b", "slow:read", when=False))
    async with playing(workflow, "good", "slow") as it:
        stage.ready["good"].set()
        await it.settled("a", "b")
        await anyio.wait_all_tasks_blocked()
        assert not it.over.is_set()
        stage.ready["slow"].set()
    assert it.order(ServerReady, RunSettled)[-1] == "run_settled"
    assert result_of(it).status == "success"


async def test_under_a_limit_of_the_run_all_servers_are_ready_before_it_begins(
    stage: Stage,
) -> None:
    workflow = document(task("a", "good:read"), task("b", "slow:read"), timeout_s=5)
    async with playing(workflow, "good", "slow") as it:
        stage.ready["good"].set()
        await it.told("server_ready", "good")
        await anyio.wait_all_tasks_blocked()
        assert it.run is None
        stage.ready["slow"].set()
    assert it.order(ServerReady, RunStarted)[-1] == "run_started"
    assert result_of(it).status == "success"


async def test_a_run_on_servers_that_are_ready_waits_for_nothing(stage: Stage) -> None:
    workflow = document(task("a", "one:read"), task("b", "two:write"))
    for server in ("one", "two"):
        stage.ready[server].set()
    async with playing(workflow, "one", "two") as it:
        await it.over.wait()
        async with it.orchestrator.begin(workflow) as again:
            assert again._servers.readiness is None
            assert (await again.execute()).status == "success"


async def test_leaving_before_the_run_has_begun_gives_its_servers_up(stage: Stage) -> None:
    servers = {"it": Server(command="x")}
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator(servers) as orchestrator:
            with anyio.move_on_after(0.01):
                await orchestrator.run(document(task("a", "it:read")))
            await anyio.wait_all_tasks_blocked()
            stage.ready["it"].set()
            assert (await orchestrator.run(document(task("a", "it:read")))).status == "success"


async def test_a_run_whose_orchestrator_is_left_while_servers_start_ends_with_it(
    stage: Stage,
) -> None:
    workflow = document(task("a", "good:read"), task("b", "slow:read"), task("c", "good:write"))
    stage.ready["good"].set()
    servers = {name: Server(command="x") for name in ("good", "slow")}
    with anyio.fail_after(TIMEOUT_S):
        async with anyio.create_task_group() as group:
            async with Orchestrator(servers) as orchestrator:
                played = Playing(orchestrator)
                group.start_soon(played.play, workflow)
                await played.waits("c", str(CHECK))
                await played.waits("b", 'server "slow"')
            await played.over.wait()
    result = result_of(played)
    assert [result[name].status for name in "abc"] == ["success", "error", "error"]
    assert "was closed" in result["b"].error.message
    assert stage.calls == ["good:read"]


async def test_a_stream_raises_what_is_found_later_after_its_last_event(stage: Stage) -> None:
    workflow = document(task("a", "good:read"), task("b", "slow:reed"))
    stage.ready["good"].set()
    names: list[str] = []
    servers = {name: Server(command="x") for name in ("good", "slow")}
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator(servers) as orchestrator:
            with pytest.raises(WorkflowError, match='Did you mean "read"'):  # noqa: PT012
                async for event in orchestrator.stream(workflow):
                    names.append(event.name)
                    if event.name == "task_settled":
                        stage.ready["slow"].set()
    assert names[-1] == "run_settled"


async def test_a_bug_while_servers_start_is_raised_and_nothing_waits_for_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError(str(math.pi))

    monkeypatch.setattr("orchestrator.startup.check_online", broken)
    stage.ready["it"].set()
    with anyio.fail_after(TIMEOUT_S):
        async with Orchestrator({"it": Server(command="x")}) as orchestrator:
            with pytest.raises(ZeroDivisionError, match=r"3\.14"):
                await orchestrator.run(document(task("a", "it:read")))


async def test_while_servers_start_a_tool_is_called_only_if_it_is_as_locked(stage: Stage) -> None:
    tools = [
        tool for name in ("a", "b") for tool in FakeSession(Server(name=name, command="x")).tools
    ]
    changed = [replace(tool, title="Old") if tool.target == "a:read" else tool for tool in tools]
    for lock, early in ((Lockfile.made_of(tools), ["a:read"]), (Lockfile.made_of(changed), [])):
        stage.ready.clear()
        stage.calls.clear()
        async with playing(
            document(task("x", "a:read"), task("y", "b:read")), "a", "b", lock=lock
        ) as played:
            stage.ready["a"].set()
            await played.told("server_ready", "a")
            await anyio.wait_all_tasks_blocked()
            assert stage.calls == early
            stage.ready["b"].set()
        if early:
            assert result_of(played).status == "success"
        else:
            assert played.error is not None
            assert [problem.code for problem in played.error.problems] == ["tool_changed"]
            assert "nothing was called\n" in str(played.error)
            assert stage.calls == []
