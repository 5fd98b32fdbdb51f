"""What tasks ask for beyond their calls, on a virtual clock: times are asserted exactly."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio.testing

from orchestrator.calls.adaptive import AdaptiveSlots
from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.limits import Slots
from orchestrator.calls.locks import Locks
from orchestrator.calls.policy import ServerPolicy
from orchestrator.calls.rates import Rate
from orchestrator.engine.events import (
    Event,
    ItemSettled,
    ItemsStarted,
    OnEvent,
    RetryDecided,
    ServerLog,
    TaskProgress,
    TaskSettled,
    TaskStarted,
    TaskWaiting,
)
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.errors import CallError
from orchestrator.schema.tool import Tool
from orchestrator.workflow.hold import Hold
from orchestrator.workflow.model import Workflow
from tests.fakes import ScriptedCaller, failing, workflow
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Backend:
    return virtual_clock("trio")


def task(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "tool": f"fake:{name}", **fields}


RETRY = {"max_attempts": 3, "initial_s": 1, "jitter": 0}


async def test_a_retry_backs_off_and_counts_its_attempts() -> None:
    caller = ScriptedCaller({"a": [(1, failing()), (1, failing()), (1, "ok")]})
    events: list[Event] = []
    run = Run(workflow(task("a", retry=RETRY)), caller, observers=[events.append])
    result = await run.execute()
    assert result["a"].output == "ok"
    assert (result["a"].attempts, result["a"].started_ms, result["a"].duration_ms) == (3, 0, 6000)
    decided = [event for event in events if isinstance(event, RetryDecided)]
    assert [(event.at_ms, event.wait_ms) for event in decided] == [(1000, 1000), (3000, 2000)]
    assert decided[0].to_dict()["error"]["kind"] == "tool_error"


async def test_the_timeout_holds_for_each_attempt_of_a_retry() -> None:
    caller = ScriptedCaller({"a": [(10, "late"), (1, "ok")]})
    result = await Run(workflow(task("a", retry=RETRY, timeout_s=2)), caller).execute()
    assert result["a"].output == "ok"
    assert result.duration_ms == 2000 + 1000 + 1000
    assert "cancelled a" in caller.log


async def test_backing_off_holds_no_slot_and_keeps_the_locks() -> None:
    plan = workflow(
        task("a", retry=RETRY, locks=["x"]),
        {"id": "later", "tool": "other:later"},
        task("c", locks=["x"], depends_on=["later"]),
        task("d", depends_on=["later"]),
        schedule="dataflow",
    )
    rows: dict[str, Any] = {name: [(1, name)] for name in "cd"}
    caller = ScriptedCaller({"a": [(1, failing()), (1, "ok")], "later": [(0.5, 1)], **rows})
    result = await Run(
        plan, caller, servers=Servers(policies={"fake": ServerPolicy(slots=Slots(1))})
    ).execute()
    assert {name: result[name].started_ms for name in "acd"} == {"a": 0, "d": 1000, "c": 3000}
    assert result["a"].duration_ms == 1000 + 1000 + 1000
    assert result["c"].waited_ms == 2500


async def test_jitter_comes_from_the_source_of_randomness_that_is_given() -> None:
    caller = ScriptedCaller({"a": [(0, failing()), (0, "ok")]})
    plan = workflow(task("a", retry={**RETRY, "jitter": 0.5}))
    result = await Run(plan, caller, RunSettings(random=lambda: 0.5)).execute()
    assert result.duration_ms == 750


def tools(**hints: Any) -> dict[str, Tool]:
    return {"fake:a": Tool("fake", "a", {}, **hints)}


LOST = CallError("server_unavailable", "gone", lost=True)


@pytest.mark.parametrize(
    ("hints", "status"),
    [
        ({"read_only": True}, "success"),
        ({"idempotent": True}, "success"),
        ({"read_only": False}, "error"),
        ({}, "error"),
    ],
)
async def test_a_lost_call_is_repeated_once_where_its_tool_says_it_may(
    hints: dict[str, Any], status: str
) -> None:
    caller = ScriptedCaller({"a": [(1, LOST), (1, "ok")]})
    events: list[Event] = []
    run = Run(
        workflow("a"), caller, servers=Servers(tools=tools(**hints)), observers=[events.append]
    )
    result = await run.execute()
    assert result["a"].status == status
    decided = [event for event in events if isinstance(event, RetryDecided)]
    assert len(decided) == 1
    assert decided[0].reason


async def test_a_call_that_is_lost_again_is_lost() -> None:
    caller = ScriptedCaller({"a": [(1, LOST)]})
    result = await Run(
        workflow("a"), caller, servers=Servers(tools=tools(read_only=True))
    ).execute()
    assert (result["a"].status, result["a"].attempts) == ("error", 2)


async def test_items_run_at_once_and_keep_their_places() -> None:
    plan = workflow(task("a", for_each=[3, 1, 2], arguments={"x": "$ITEM", "i": "$INDEX"}))
    events: list[Event] = []
    result = await Run(plan, ScriptedCaller(), observers=[events.append]).execute()
    wanted = [{"x": 3, "i": 0}, {"x": 1, "i": 1}, {"x": 2, "i": 2}]
    assert result["a"].output == wanted
    assert result["a"].attempts == 3
    started = [event.item or 0 for event in events if isinstance(event, TaskStarted)]
    assert sorted(started) == [0, 1, 2]
    assert [e.items for e in events if isinstance(e, ItemsStarted)] == [3]
    assert {e.item for e in events if isinstance(e, ItemSettled)} == {0, 1, 2}
    assert sum(isinstance(event, TaskSettled) for event in events) == 1


async def test_a_retry_repeats_only_the_item_that_failed() -> None:
    plan = workflow(task("a", for_each=["x", "y"], arguments={"name": "$ITEM"}, retry=RETRY))
    made: list[str] = []

    async def caller(call: Call, _: Attempt) -> Any:
        made.append(call.arguments["name"])
        if call.arguments["name"] == "y" and made.count("y") < 3:
            raise failing()
        return call.arguments["name"]

    result = await Run(plan, caller).execute()
    assert result["a"].output == ["x", "y"]
    assert sorted(made) == ["x", "y", "y", "y"]
    assert [item.attempts for item in result["a"].items or ()] == [1, 3]


async def test_an_item_that_fails_leaves_a_hole_that_the_result_explains() -> None:
    plan = workflow(
        task("a", for_each=[{"v": 1}, {}, {"v": 3}], arguments={"v": "$ITEM.v"}),
        task("b", depends_on=["a"], run_if="any_failed", arguments={"all": "$OUTPUT[a]"}),
    )
    result = await Run(plan, ScriptedCaller()).execute()
    assert result["a"].status == "error"
    assert result["b"].output == {"all": [{"v": 1}, None, {"v": 3}]}
    document = result["a"].to_dict()
    assert [item["status"] for item in document["items"]] == ["success", "error", "success"]
    assert document["items"][1]["error"]["kind"] == "reference_error"
    assert document["error"]["details"]["items"] == {"first": 1, "failed": 1, "of": 3}


async def test_max_parallel_limits_the_items() -> None:
    plan = workflow(task("a", for_each=list(range(10)), max_parallel=3), max_concurrency=0)
    caller = ScriptedCaller({"a": [(1, "x")]})
    result = await Run(plan, caller).execute()
    assert result.duration_ms == 4000


@pytest.mark.untraced
async def test_thousands_of_items_take_few_tasks_of_the_event_loop() -> None:
    plan = workflow(task("a", for_each=list(range(2_000))))
    most = 0

    async def caller(call: Call, _: Attempt) -> Any:
        nonlocal most
        most = max(most, trio.lowlevel.current_statistics().tasks_living)
        return call.item

    result = await Run(plan, caller).execute()
    assert result["a"].output == list(range(2_000))
    assert most < 200


async def test_a_bug_in_the_caller_costs_one_item() -> None:
    async def caller(call: Call, _: Attempt) -> Any:
        return 1 / call.arguments["x"]

    plan = workflow(task("a", for_each=[1, 0], arguments={"x": "$ITEM"}))
    result = await Run(plan, caller).execute()
    assert result["a"].output == [1.0, None]
    assert result["a"].error is not None
    assert result["a"].error.kind == "internal"


async def test_a_cancelled_fan_out_keeps_what_had_finished() -> None:
    plan = workflow(task("a", for_each=[1, 2, 9], arguments={"s": "$ITEM"}), timeout_s=5)

    async def caller(call: Call, _: Attempt) -> Any:
        await anyio.sleep(call.arguments["s"])
        return call.arguments["s"]

    result = await Run(plan, caller).execute()
    assert result["a"].status == "cancelled"
    assert result["a"].output == [1, 2, None]
    items = result["a"].items or ()
    assert [item.status for item in items] == ["success", "success", "cancelled"]
    assert [item.attempts for item in items] == [1, 1, 1]
    assert [item.duration_ms for item in items] == [1000, 2000, 5000]
    assert result["a"].attempts == 3


async def test_a_fallback_tool_takes_the_locks_that_do_not_name_the_item() -> None:
    fallback = {"tool": "fake:b", "arguments": {"why": "$ERROR.message"}}
    plan = workflow(
        task("a", for_each=[1], locks=["x", "i$ITEM", "${to_string(INDEX)}"], fallback=fallback)
    )
    seen: list[Any] = []

    async def caller(call: Call, _: Attempt) -> Any:
        seen.append((call.tool, call.locks, call.is_fallback))
        if call.tool == "a":
            raise failing("no")
        return call.arguments

    result = await Run(plan, caller).execute()
    own = (Hold("0"), Hold("i1"), Hold("x"))
    assert seen == [("a", own, False), ("b", (Hold("x"),), True)]
    assert result["a"].output == {"why": "1 of 1 items failed; item 0: no"}
    assert result["a"].recovered
    assert result["a"].attempts == 1
    assert result.status == "success"


async def test_a_fallback_that_fails_leaves_both_errors() -> None:
    plan = workflow(
        task("a", fallback={"tool": "fake:b", "arguments": {}}),
        task("c", fallback={"value": "$ERROR.details.nope"}),
        task("d", fallback={"tool": "fake:e", "arguments": {}}),
    )

    async def caller(call: Call, _: Attempt) -> Any:
        if call.tool == "e":
            raise ValueError("a bug")
        raise failing(call.tool)

    result = await Run(plan, caller).execute()
    kinds = {}
    for name in "acd":
        error = result[name].error
        assert error is not None
        assert error.kind == "tool_error"
        kinds[name] = error.details["fallback_error"]["kind"]
    assert kinds == {"a": "tool_error", "c": "reference_error", "d": "internal"}
    assert result["a"].attempts == 1


async def test_names_of_locks_must_be_names() -> None:
    plan = workflow(
        task("a", arguments={}, locks=["${not_null(INPUT.n, '')}"]),
        inputs={"n": {"default": None}},
    )
    result = await Run(plan, ScriptedCaller(), inputs={"n": None}).execute()
    assert result["a"].error is not None
    assert "lock name" in result["a"].error.message


async def test_of_two_modes_of_one_name_the_stronger_counts() -> None:
    shared = {"name": "x", "mode": "shared"}
    plan = workflow(task("a", locks=[shared, "x"]), task("b", locks=[shared, shared]))
    seen = {}

    async def caller(call: Call, _: Attempt) -> Any:
        seen[call.task] = call.locks

    await Run(plan, caller).execute()
    assert seen == {"a": (Hold("x"),), "b": (Hold("x", shared=True),)}


async def test_runs_that_share_their_locks_keep_out_of_each_others_way() -> None:
    locks, caller = Locks(), ScriptedCaller({"a": [(1, "x")]})
    plan = workflow(task("a", locks=["x"]))
    zero = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(Run(plan, caller, servers=Servers(locks=locks)).execute)
    assert caller.most == 1
    assert anyio.current_time() - zero == 3


async def test_waiting_is_told_and_shown() -> None:
    plan = workflow(task("a", locks=["x"]), task("b", locks=["x"]))
    events: list[Event] = []
    run = Run(plan, ScriptedCaller({"a": [(2, 1)], "b": [(2, 1)]}), observers=[events.append])
    states = []

    async def look() -> None:
        await anyio.sleep(1)
        states.append(run.status())

    async with anyio.create_task_group() as group:
        group.start_soon(run.execute)
        group.start_soon(look)
    (state,) = states
    assert (state.settled, state.tasks) == (0, 2)
    first, second = sorted(state.running, key=lambda activity: activity.waiting_for)
    assert first.target == f"fake:{first.task}"
    assert (first.attempt, first.since_ms, first.waiting_for) == (1, 0, "")
    assert (second.attempt, second.since_ms, second.waiting_for) == (0, None, 'lock "x"')
    assert [e.waiting_for for e in events if isinstance(e, TaskWaiting)] == ['lock "x"']
    assert run.status().running == ()


async def test_what_a_server_limits_is_waited_for_in_order() -> None:
    policy = ServerPolicy(slots=Slots(3), rate=Rate(2, 10), tools={"b*": [Slots(1)]})
    plan = workflow("a", "b", "b2", "c", max_concurrency=0)
    caller = ScriptedCaller({name: [(1, name)] for name in ("a", "b", "b2", "c")})
    result = await Run(plan, caller, servers=Servers(policies={"fake": policy})).execute()
    assert [result[name].started_ms for name in ("a", "b", "b2", "c")] == [0, 0, 10_000, 10_000]


async def test_an_adaptive_limit_learns_from_the_calls() -> None:
    slots = AdaptiveSlots()
    plan = workflow(*[task(f"t{n}", tool="fake:t", timeout_s=2) for n in range(60)])
    caller = ScriptedCaller({"t": [(1, "x")]})
    await Run(plan, caller, servers=Servers(policies={"fake": ServerPolicy(slots=slots)})).execute()
    grown = slots.limit
    assert grown > AdaptiveSlots.INITIAL
    slow = ScriptedCaller({"t": [(9, "x")]})
    one = workflow(task("t", timeout_s=2))
    await Run(one, slow, servers=Servers(policies={"fake": ServerPolicy(slots=slots)})).execute()
    assert slots.limit < grown


async def test_an_adaptive_limit_forgets_calls_that_were_cancelled() -> None:
    slots = AdaptiveSlots()
    servers = Servers(policies={"fake": ServerPolicy(slots=slots)})

    async def run(tasks: int, took_s: float) -> None:
        plan = workflow(*[task(f"t{n}", tool="fake:t") for n in range(tasks)])
        await Run(plan, ScriptedCaller({"t": [(took_s, "x")]}), servers=servers).execute()

    await run(6, 1)
    with anyio.move_on_after(25):
        await run(40, 28)
    assert slots.idle
    assert all(call.took_s is not None for call in slots._window)
    before = slots.limit
    await run(60, 1)
    assert slots.limit > before


async def working(call: Call, attempt: Attempt) -> Any:
    """A tool that tells every second how far it is, for as long as it is told."""
    for second in range(call.arguments["seconds"]):
        await anyio.sleep(1)
        if attempt.on_progress is not None:
            attempt.on_progress(second + 1, call.arguments["seconds"], "on the way")
    return "done"


@pytest.mark.parametrize(("seconds", "status"), [(8, "success"), (16, "error")])
async def test_progress_starts_the_timeout_anew_up_to_a_limit(seconds: int, status: str) -> None:
    plan = workflow(
        task("a", arguments={"seconds": seconds}, timeout_s=1.5, timeout_resets_on_progress=True)
    )
    result = await Run(plan, working).execute()
    assert result["a"].status == status
    assert result["a"].duration_ms == min(seconds * 1000, 15_000)
    if status == "error":
        assert result["a"].error is not None
        assert "made progress but did not answer within 10 x 1.5 s" in result["a"].error.message


async def test_without_progress_the_timeout_is_what_it_is() -> None:
    plan = workflow(task("a", timeout_s=2, timeout_resets_on_progress=True))
    result = await Run(plan, ScriptedCaller({"a": [(9, 1)]})).execute()
    assert result["a"].duration_ms == 2000
    assert result["a"].error is not None
    assert "sent no answer and no progress for 2 s" in result["a"].error.message


async def test_progress_alone_does_not_extend_a_timeout_and_is_told() -> None:
    events: list[Event] = []
    plan = workflow(task("a", arguments={"seconds": 9}, timeout_s=2.5))
    result = await Run(plan, working, observers=[events.append]).execute()
    assert result["a"].duration_ms == 2500
    told = [event for event in events if isinstance(event, TaskProgress)]
    assert [(e.at_ms, e.progress, e.total, e.message) for e in told] == [
        (1000, 1, 9, "on the way"),
        (2000, 2, 9, "on the way"),
    ]


async def test_progress_extends_each_attempt_of_a_retry() -> None:
    made = 0

    async def caller(call: Call, attempt: Attempt) -> Any:
        nonlocal made
        made += 1
        await working(call, attempt)
        if made == 1:
            raise failing()

    plan = workflow(
        task(
            "a",
            arguments={"seconds": 3},
            timeout_s=2,
            timeout_resets_on_progress=True,
            retry=RETRY,
        )
    )
    events: list[Event] = []
    result = await Run(plan, caller, observers=[events.append]).execute()
    assert result["a"].duration_ms == 7000
    assert sum(isinstance(event, TaskProgress) for event in events) == 6


async def test_one_task_can_be_cancelled_and_the_run_goes_on() -> None:
    plan = workflow("a", "b", "c: a", "d: b")
    run = Run(plan, caller := ScriptedCaller({"a": [(9, 1)], "b": [(3, 1)]}))

    async def cancel() -> None:
        await anyio.sleep(1)
        assert run.cancel_task("a", "not needed")
        await anyio.sleep(1)
        assert not run.cancel_task("a")
        assert run.cancel_task("d", "nor this")
        assert run.cancel_task("d", "told twice")

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        group.start_soon(run.execute)
    result = run.result
    assert result is not None
    statuses = {name: result[name].status for name in "abcd"}
    assert statuses == {"a": "cancelled", "b": "success", "c": "skipped", "d": "cancelled"}
    assert (result["a"].reason, result["a"].duration_ms) == ("not needed", 1000)
    assert result["d"].reason == "nor this"
    assert result.status == "partial"
    assert "cancelled a" in caller.log
    assert not run.cancel_task("b")


async def test_a_task_can_be_cancelled_before_the_run_begins_and_while_it_waits() -> None:
    plan = workflow("a", "b", "c", max_concurrency=1)
    events: list[Event] = []
    run = Run(plan, ScriptedCaller({"a": [(2, 1)]}), observers=[events.append])
    assert run.cancel_task("b")
    async with anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await anyio.sleep(1)
        assert run.cancel_task("c")
    assert run.result is not None
    assert [run.result[name].status for name in "abc"] == ["success", "cancelled", "cancelled"]
    assert [e.task for e in events if isinstance(e, TaskSettled)] == ["b", "c", "a"]
    assert run.status().settled == 3


async def test_a_task_that_does_not_exist_cannot_be_cancelled() -> None:
    run = Run(workflow("alpha"), ScriptedCaller())
    with pytest.raises(ValueError, match='Did you mean "alpha"'):
        run.cancel_task("alpa")
    with pytest.raises(ValueError, match='unknown task "x"'):
        run.cancel_task("x")


async def test_a_critical_task_ends_the_run_unless_a_fallback_saves_it() -> None:
    slow: dict[str, Any] = {"b": [(9, 1)], "a": [(1, failing("broken"))]}
    plan = workflow(task("a", critical=True), "b", "c: b")
    result = await Run(plan, ScriptedCaller(slow)).execute()
    assert result.status == "failed"
    assert [result[name].status for name in "abc"] == ["error", "cancelled", "skipped"]
    assert result["c"].reason == 'task "a" failed, and it is critical'
    saved = workflow(task("a", critical=True, fallback={"value": 1}), "b", "c: b")
    result = await Run(saved, ScriptedCaller(slow)).execute()
    assert result.status == "success"


async def test_what_happens_to_servers_is_told_with_the_time_of_the_run() -> None:
    listeners: list[OnEvent] = []

    @contextmanager
    def listen(tell: OnEvent) -> Iterator[None]:
        listeners.append(tell)
        yield
        listeners.remove(tell)

    async def caller(*_: object) -> None:
        await anyio.sleep(1)
        listeners[0](ServerLog(0.0, "fake", "info", "", "hello"))

    events: list[Event] = []
    await Run(
        workflow("a"), caller, servers=Servers(listen=listen), observers=[events.append]
    ).execute()
    (log,) = [event for event in events if isinstance(event, ServerLog)]
    assert (log.at_ms, log.data) == (1000, "hello")
    assert listeners == []


class Stuck:
    """A run in which the task `a` is in some state after 1 s, and is cancelled then."""

    def __init__(self, plan: Workflow, caller: ScriptedCaller, policy: ServerPolicy) -> None:
        self.run = Run(plan, caller, servers=Servers(policies={"fake": policy}))
        self.waiting_for: list[str] = []

    async def cancel(self) -> RunResult:
        async with anyio.create_task_group() as group:
            group.start_soon(self.run.execute)
            await anyio.sleep(1)
            state = self.run.status()
            self.waiting_for = [a.waiting_for for a in state.running if a.task == "a"]
            assert self.run.cancel_task("a")
        assert self.run.result is not None
        return self.run.result


@pytest.mark.parametrize(
    ("fields", "rows", "policy", "waiting_for"),
    [
        ({}, [(9, 1)], {}, [""]),
        ({"retry": RETRY | {"initial_s": 9}}, [(0, failing())], {}, ["its next attempt"]),
        ({"locks": ["x"], "depends_on": ["c"]}, [], {}, ['lock "x"']),
        ({}, [], {"slots": Slots(1)}, ["a slot"]),
        ({}, [], {"rate": Rate(1, 9)}, ["the rate"]),
        ({"for_each": [1, 2]}, [(9, 1)], {}, ["", ""]),
        ({"for_each": [1], "fallback": {"value": 1}}, [(9, 1)], {}, [""]),
        ({"fallback": {"tool": "fake:b"}}, [(0, failing())], {}, [""]),
        ({"retry": RETRY}, [(9, 1)], {}, [""]),
    ],
)
async def test_a_task_can_be_cancelled_whatever_it_does_or_waits_for(
    fields: dict[str, Any], rows: list[Any], policy: dict[str, Any], waiting_for: list[str]
) -> None:
    first = task("b", locks=fields.get("locks", []))
    plan = workflow(first, task("a", **fields), task("c"), schedule="dataflow")
    caller = ScriptedCaller({"a": rows or [(1, 1)], "b": [(2, 2)], "c": [(0, 3)]})
    stuck = Stuck(plan, caller, ServerPolicy(**policy))
    result = await stuck.cancel()
    assert stuck.waiting_for == waiting_for
    assert result["a"].status == "cancelled"
    assert [result[name].output for name in "bc"] == [2, 3]
    assert result["a"].reason == "the task was cancelled"
    assert not caller.running


async def test_a_cancelled_waiter_for_a_rate_lets_the_next_one_through() -> None:
    rate = Rate(1, 4)
    plan = workflow("b", "a", "c")
    result = await Stuck(plan, ScriptedCaller(), ServerPolicy(rate=rate)).cancel()
    assert [result[name].status for name in "bac"] == ["success", "cancelled", "success"]
    assert result["c"].started_ms == 4000


async def test_a_large_output_is_held_once_however_many_depend_on_it() -> None:
    large = {"text": "x" * 1_000_000}
    seen: list[Any] = []

    async def caller(call: Call, _: Attempt) -> Any:
        if call.task == "big":
            return large
        seen.append(call.arguments["all"])
        return None

    plan = workflow(
        "big",
        *[task(f"t{n}", arguments={"all": "$OUTPUT[big]"}) for n in range(20)],
        task("each", for_each=[1, 2], arguments={"all": "$OUTPUT[big]", "n": "$ITEM"}),
    )
    result = await Run(plan, caller).execute()
    assert len(seen) == 22
    assert all(value is large for value in seen)
    assert result["big"].output is large


@pytest.mark.untraced
@pytest.mark.parametrize("fan_out", [True, False])
async def test_what_a_run_holds_is_its_outputs_and_little_more(fan_out: bool) -> None:
    count, size = 2000, 10_000

    async def caller(_: Call, attempt: Attempt) -> Any:
        return "x" * (size + attempt.number)  # a text of its own each time

    tasks = [task("a", for_each=list(range(count)))]
    plan = workflow(*(tasks if fan_out else [task(f"t{n}") for n in range(count)]))
    gc.collect()
    tracemalloc.start()
    try:
        result = await Run(plan, caller).execute()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert result.status == "success"
    per_task = peak / count - size
    assert per_task < (2_000 if fan_out else 14_000)


async def test_a_task_that_is_cancelled_without_a_reason_is_cancelled() -> None:
    plan = workflow(task("a", critical=True, fallback={"value": 1}), "b")
    run = Run(plan, ScriptedCaller({"a": [(9, 1)]}))
    async with anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await anyio.sleep(1)
        assert run.cancel_task("a", reason="")
    assert run.result is not None
    assert run.result["a"].status == "cancelled"
    assert run.result.status == "partial"


async def test_a_run_that_is_cancelled_too_late_is_what_it_is() -> None:
    def cancel(event: Event) -> None:
        if isinstance(event, TaskSettled) and event.task == "b":
            run.cancel()

    run = Run(workflow("a", "b: a"), ScriptedCaller(), observers=[cancel])
    result = await run.execute()
    assert (result.status, result.error) == ("success", None)


async def test_the_error_of_a_fallback_and_those_of_tasks_are_told_apart() -> None:
    plan = workflow(
        task("kind"),
        task(
            "a",
            depends_on=["kind"],
            run_if="all_done",
            fallback={"value": ["${ERROR}", "${ERROR.message}", "${ERROR[kind].message}"]},
        ),
    )
    caller = ScriptedCaller({"kind": [(0, failing("first"))], "a": [(0, failing("second"))]})
    result = await Run(plan, caller).execute()
    own, message, other = result["a"].output
    assert (own["message"], message, other) == ("second", "second", "first")
    assert set(own) == {"kind", "message", "retryable", "details"}


async def test_a_call_that_got_its_slot_as_it_was_cancelled_was_not_made() -> None:
    plan = workflow("a", "b", max_concurrency=1)
    for checkpoints in range(12):
        caller = ScriptedCaller({"a": [(1, 1)], "b": [(1, 1)]})
        run = Run(plan, caller, servers=Servers(policies={"fake": ServerPolicy(slots=Slots(1))}))
        with anyio.fail_after(100):
            async with anyio.create_task_group() as group:
                group.start_soon(run.execute)
                for _ in range(checkpoints):
                    await anyio.lowlevel.checkpoint()
                run.cancel_task("a")
        assert run.result is not None
        assert run.result["b"].status == "success"
        assert run.result["a"].attempts == sum(made == "a" for made, _ in caller.calls)


async def test_many_items_back_off_at_the_same_time() -> None:
    each = task("a", for_each=list(range(30)), retry=RETRY | {"initial_s": 30, "max_attempts": 2})

    async def caller(_: Call, attempt: Attempt) -> Any:
        await anyio.sleep(0.25)
        if attempt.number == 1:
            raise failing()

    result = await Run(workflow(each, max_concurrency=1), caller).execute()
    assert result.duration_ms == 30 * 250 + (30_000 - 29 * 250) + 30 * 250


async def test_the_first_attempt_is_the_last_of_a_retry_of_one() -> None:
    caller = ScriptedCaller({"a": [(0, failing())]})
    result = await Run(workflow(task("a", retry=1)), caller).execute()
    assert result["a"].attempts == 1


async def test_the_rate_of_a_tool_spreads_its_own_calls_and_no_others() -> None:
    policy = ServerPolicy(slots=Slots(1), tools={"a*": [Rate(1, 10)]})
    plan = workflow("a", "a2", "a3", "b", "c", max_concurrency=0)
    caller = ScriptedCaller({name: [(1, name)] for name in ("a", "a2", "a3", "b", "c")})
    result = await Run(plan, caller, servers=Servers(policies={"fake": policy})).execute()
    first, second, third = sorted(result[name].started_ms or 0 for name in ("a", "a2", "a3"))
    assert [second - first, third - first] == [10_000, 20_000]
    # One that waits for the rate of its tool holds no slot of the server.
    assert {first, result["b"].started_ms, result["c"].started_ms} == {0, 1_000, 2_000}


async def test_both_rates_and_the_slots_of_a_tool_hold_together() -> None:
    tools: dict[str, list[Slots | Rate]]
    tools = {"b": [Slots(1), Rate(2, 10)], "b*": [Slots(9)]}
    policy = ServerPolicy(rate=Rate(3, 100), tools=tools)
    plan = workflow(*[task(name, tool="fake:b") for name in ("w", "x", "y", "z")])
    caller = ScriptedCaller({"b": [(4, 0)]})
    result = await Run(plan, caller, servers=Servers(policies={"fake": policy})).execute()
    assert {result[name].started_ms for name in ("w", "x", "y", "z")} == {
        *(0, 4_000),  # one at a time
        10_000,  # two in 10 s
        100_000,  # three in 100 s
    }


async def test_a_writer_that_waits_for_the_rate_of_its_tool_holds_up_no_other_writer() -> None:
    policy = ServerPolicy(writers=Slots(1), tools={"a*": [Rate(1, 10)]})
    plan = workflow("a", "a2", "b", max_concurrency=0)
    caller = ScriptedCaller({name: [(1, name)] for name in ("a", "a2", "b")})
    names = ("a", "a2", "b")
    writing = {f"fake:{name}": Tool("fake", name, {}, read_only=False) for name in names}
    settings = Servers(policies={"fake": policy}, tools=writing)
    result = await Run(plan, caller, servers=settings).execute()
    first, second = sorted(result[name].started_ms or 0 for name in ("a", "a2"))
    assert second - first == 10_000
    assert {first, result["b"].started_ms} == {0, 1_000}
