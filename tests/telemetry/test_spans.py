"""A run as spans: what is below what, and what it says of itself."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from opentelemetry.trace import StatusCode

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import Slots
from orchestrator.calls.policy import ServerPolicy
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.errors import CallError
from orchestrator.servers.pool import ServerPool
from orchestrator.telemetry import names
from orchestrator.telemetry.telemetry import Telemetry
from tests.fakes import ScriptedCaller, failing, workflow
from tests.telemetry.seen import Seen, about, context
from tests.virtual_clock import Backend, virtual_clock

pytestmark = [pytest.mark.anyio, pytest.mark.virtual_clock]

ENDS = names.STATUS, names.CALLS, names.ERROR_TYPE, names.REASON


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """Each event loop, on a clock that jumps."""
    return virtual_clock(request.param)


def traced(*tasks: Any, script: Any = None, caller: Any = None, **fields: Any) -> Run:
    tracing, observers = Telemetry(ServerPool({})).of_run()
    settings = RunSettings(tracing=tracing)
    calls = caller or ScriptedCaller(script or {})
    return Run(workflow(*tasks, **fields), calls, settings, observers=observers)


async def test_everything_that_a_task_does_is_below_it(seen: Seen) -> None:
    inner = {"name": "in", "tasks": [{"id": "x", "tool": "fake:x"}]}
    run = traced(
        {"id": "each", "tool": "fake:each", "for_each": [1, 2], "arguments": {"n": "$ITEM"}},
        {"id": "again", "tool": "fake:again", "retry": {"max_attempts": 2, "initial_s": 1}},
        {
            "id": "poll",
            "tool": "fake:poll",
            "repeat": {"until": "$LAST.done", "every_s": 1, "max_times": 3},
        },
        {"id": "stand", "tool": "fake:no", "fallback": {"tool": "fake:instead"}},
        {"id": "outer", "workflow": inner},
        {"id": "value", "value": 1},
        {"id": "not", "tool": "fake:not", "when": "false"},
        script={
            "again": [(0.0, failing()), (0.0, {})],
            "poll": [(0.0, {"done": False}), (0.0, {"done": True})],
            "no": [(0.0, failing())],
        },
        name="all",
        max_concurrency=1,
        **{"finally": [{"id": "last", "tool": "fake:last"}]},
    )
    result = await run.execute()
    assert result.status == "success"
    ((name, below),) = seen.below()
    assert name == "invoke_workflow all"
    tree: dict[str, Any] = dict(each if isinstance(each, tuple) else (each, []) for each in below)
    assert tree == {
        "task each": [("item each", ["execute_tool each"])] * 2,
        "task again": ["execute_tool again"] * 2,
        "task poll": ["execute_tool poll"] * 2,
        "task stand": ["execute_tool no", "execute_tool instead"],
        "task outer": [("invoke_workflow in", [("task x", ["execute_tool x"])])],
        "task value": [],
        "task not": [],
        "task last": ["execute_tool last"],
    }
    assert len({context(span).trace_id for span in seen.spans}) == 1
    attempts = [about(span, names.ATTEMPT) for span in seen.named("execute_tool again")]
    assert attempts == [[1], [2]]
    assert [about(s, names.TURN) for s in seen.named("execute_tool poll")] == [[None], [2]]
    assert about(seen.one("execute_tool instead"), names.FALLBACK) == [True]
    assert [about(span, names.ITEM) for span in seen.named("item each")] == [[0], [1]]
    assert about(seen.one("task x"), names.TASK) == ["outer/x"]
    assert about(seen.one("execute_tool x"), names.TOOL, names.SERVER) == ["x", "fake"]
    assert about(seen.one("task not"), *ENDS[:2]) == ["skipped", 0]
    assert about(seen.one("task stand"), names.RECOVERED) == [True]
    assert about(seen.one("invoke_workflow all"), names.RUN_ID, names.RUN_STATUS) == [
        "run",
        "success",
    ]


async def test_tasks_that_wait_for_each_others_slot_are_siblings(seen: Seen) -> None:
    tasks = [f"t{number}" for number in range(40)]
    await traced(*tasks, name="many", max_concurrency=2).execute()
    ((_, below),) = seen.below()
    assert sorted(below) == sorted((f"task {task}", [f"execute_tool {task}"]) for task in tasks)


async def test_waits_are_events_with_a_reason_and_without_the_names_of_locks(seen: Seen) -> None:
    locked = {"locks": ["file:secret"]}
    await traced(
        {"id": "a", "tool": "fake:a", **locked},
        {"id": "b", "tool": "fake:b", **locked},
        {"id": "c", "tool": "fake:c", "retry": {"max_attempts": 2, "initial_s": 3}},
        script={"a": [(2.0, {})], "b": [(2.0, {})], "c": [(0.0, failing()), (0.0, {})]},
    ).execute()
    waits = [
        [event.name, *(event.attributes or {}).items()]
        for span in seen.spans
        for event in span.events
    ]
    reason, seconds = names.WAIT_REASON, names.WAIT_S
    assert sorted(waits) == [
        ["wait", (reason, "lock"), (seconds, 2.0)],
        ["wait", (reason, "retry"), (seconds, 3.0)],
    ]


async def test_a_wait_for_a_server_names_it(seen: Seen) -> None:
    one = ServerPolicy(60.0, Slots(1, Cause("server_limit", "fake")))
    tracing, _ = Telemetry(ServerPool({})).of_run()
    tasks = workflow("a", {"id": "b", "tool": "fake:b", "delay_s": 1})
    slow = ScriptedCaller({"a": [(2.0, {})], "b": [(2.0, {})]})
    servers = Servers(policies={"fake": one})
    await Run(tasks, slow, RunSettings(tracing=tracing), servers=servers).execute()
    (event,) = (event for span in seen.spans for event in span.events)
    attributes = event.attributes or {}
    assert attributes[names.WAIT_REASON] == "server_limit"
    assert attributes[names.WAIT_FOR] == "fake"


async def test_a_run_that_reached_its_limit_says_so(seen: Seen) -> None:
    await traced("a", script={"a": [(60.0, {})]}, name="late", timeout_s=5).execute()
    run = seen.one("invoke_workflow late")
    assert about(run, names.RUN_STATUS, names.RUN_REASON, names.ERROR_TYPE) == [
        "cancelled",
        "timeout",
        "timeout",
    ]
    assert about(seen.one("execute_tool a"), names.ERROR_TYPE) == ["cancelled"]


async def test_errors_timeouts_and_cancellations_say_what_they_are(seen: Seen) -> None:
    run = traced(
        {"id": "slow", "tool": "fake:slow", "timeout_s": 5},
        {"id": "wrong", "tool": "fake:wrong"},
        {"id": "ended", "tool": "fake:ended"},
        "after: slow",
        script={
            "slow": [(60.0, {})],
            "ended": [(60.0, {})],
            "wrong": [(0.0, failing("its own words"))],
        },
        name="bad",
    )
    async with anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await anyio.sleep(1)
        run.cancel_task("ended")
    spans = {span.name: span for span in seen.spans}
    ends = {name: about(span, *ENDS) for name, span in spans.items() if name.startswith("task")}
    assert ends == {
        "task slow": ["error", 1, "timeout", None],
        "task wrong": ["error", 1, "tool_error", None],
        "task ended": ["cancelled", 1, "cancelled", None],
        "task after": ["skipped", 0, None, 'its dependency "slow" failed'],
    }
    kinds = {
        name: (span.status.status_code, span.status.description, *about(span, names.ERROR_TYPE))
        for name, span in spans.items()
        if name.startswith("execute")
    }
    error = StatusCode.ERROR
    assert kinds == {
        "execute_tool slow": (error, "fake:slow did not answer within 5 s", "timeout"),
        "execute_tool wrong": (error, "its own words", "tool_error"),
        "execute_tool ended": (error, "the call of fake:ended was cancelled", "cancelled"),
    }
    run_span = seen.one("invoke_workflow bad")
    assert run_span.status.status_code is error
    assert run_span.status.description == "2 of 4 tasks failed"


async def test_what_is_cancelled_from_outside_ends_its_spans(seen: Seen) -> None:
    each = {"id": "a", "tool": "fake:a", "for_each": [1, 2], "arguments": {"n": "$ITEM"}}
    run = traced(each, "b: a", script={"a": [(60.0, {})]}, name="cut")
    with anyio.move_on_after(1):
        await run.execute()
    ((_, below),) = seen.below()
    assert below == [("task a", [("item a", ["execute_tool a"])] * 2), "task b"]
    ended = {span.name: about(span, names.ERROR_TYPE)[0] for span in seen.spans}
    assert set(ended.values()) == {"cancelled"}


async def test_a_bug_of_a_caller_is_its_own_kind(seen: Seen) -> None:
    async def broken(call: Call, _: Attempt) -> Any:
        raise ZeroDivisionError(call.task)

    await traced("a", caller=broken).execute()
    assert about(seen.one("execute_tool a"), names.ERROR_TYPE) == ["ZeroDivisionError"]
    assert about(seen.one("task a"), names.ERROR_TYPE) == ["internal"]


async def test_a_call_that_is_cancelled_before_it_begins_has_no_span(seen: Seen) -> None:
    run = traced("a", "b", max_concurrency=1, script={"a": [(2.0, {})], "b": [(2.0, {})]})
    async with anyio.create_task_group() as group:
        group.start_soon(run.execute)
        await anyio.sleep(1)
        run.cancel_task("b")
    assert seen.named("execute_tool b") == []
    assert about(seen.one("task b"), names.STATUS) == ["cancelled"]


async def test_words_of_others_are_cut_and_made_visible(seen: Seen) -> None:
    tasks = {"id": "a", "tool": "fake:a"}
    words = "\x1b[31m\ud800" + "x" * 100_000
    await traced(tasks, script={"a": [(0.0, CallError("tool_error", words))]}).execute()
    said = seen.one("execute_tool a").status.description
    assert said is not None
    assert said.startswith("\\u001b[31m\\ud800xxx")
    assert len(said) < 2_000


@pytest.mark.parametrize("kind", ["read", "prompt"])
async def test_arguments_and_addresses_are_in_no_span(seen: Seen, kind: str) -> None:
    task = {"id": "a", kind: "fake:file:///secret", "arguments": {"password": "secret"}}
    if kind == "read":
        del task["arguments"]
    else:
        task[kind] = "fake:greet"
    await traced(task, {"id": "b", "tool": "fake:b", "arguments": {"x": "secret"}}).execute()
    span = seen.one("read_resource" if kind == "read" else "get_prompt greet")
    assert about(span, names.SERVER) == ["fake"]
    assert not any("secret" in span.to_json() for span in seen.spans)
