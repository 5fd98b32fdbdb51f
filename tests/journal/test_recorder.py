"""What a run finds that was kept before, where the random runs do not look."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.causes import Cause
from orchestrator.engine.events import OnEvent, ServerReady
from orchestrator.engine.items import Joined, Totals
from orchestrator.engine.outcome import Success
from orchestrator.engine.questions import fitting
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.errors import AnswerError, CallError, JournalError
from orchestrator.journal.documents import of_task
from orchestrator.journal.recorder import RunRecorder, Unknown
from orchestrator.journal.records import Key, Record, Records, reply_key
from orchestrator.journal.writer import Lease, Writer
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow
from tests.fakes import ScriptedCaller
from tests.journal.memory import Crash, Memory

pytestmark = pytest.mark.anyio
FLOW = {
    "tasks": [{"id": "a", "tool": "s:write"}, {"id": "b", "tool": "s:read", "depends_on": ["a"]}]
}
BEGUN = 2  # so many records, and the next: both tools, and the intention to call the first
TOOLS = {
    "s:write": Tool("s", "write", {}, read_only=False),
    "s:read": Tool("s", "read", {}, read_only=True),
}


async def carried(
    memory: Memory,
    unknown: Unknown = "ask",
    flow: dict[str, Any] = FLOW,
    tools: dict[str, Tool] = TOOLS,
    made: list[str] | None = None,
) -> RunResult | None:
    """Carry a run until it ends; None if its process ended before."""
    memory.has_ended, memory.puts = False, 0

    async def call(call: Call, _: Attempt) -> Any:
        if made is not None:
            made.append(call.target)
        return {"of": call.tool}

    writer = cast("Writer", memory)
    recorder = RunRecorder(writer, Lease("r", 1), memory.records, unknown=unknown)
    run = Run(
        Workflow.load(flow), call, RunSettings(recorder=recorder), servers=Servers(tools=tools)
    )
    try:
        return await run.execute()
    except BaseException:
        if memory.has_ended:
            return None
        raise


async def test_what_earlier_processes_spent_counts() -> None:
    chain = [{"id": "a", "tool": "s:read"}, {"id": "b", "tool": "s:read", "depends_on": ["a"]}]
    memory = Memory(left=3)
    assert await carried(memory, flow={"tasks": chain, "budget": {"calls": 1}}) is None
    memory.left = None
    result = await carried(memory, flow={"tasks": chain, "budget": {"calls": 1}})
    assert result is not None
    assert result.reason == "budget"
    assert result["a"].status == "success"


async def test_a_call_that_may_have_been_carried_out_waits_for_a_decision() -> None:
    memory = Memory(left=BEGUN)
    made: list[str] = []
    assert await carried(memory, made=made) is None
    assert made == []
    records = Records(memory.records)
    assert list(records.unknown_calls()) == [Key("intent 0", "a", number=1)]
    memory.left = None
    calls: list[str] = []
    paused = await carried(memory, made=calls)
    assert paused is not None
    assert (paused.status, calls) == ("paused", [])
    [question] = paused.questions
    assert (question.task, question.kind) == ("a", "unknown")
    assert question.message.startswith("The process that called s:write ended before the answer")
    assert [each.key for each in Records(memory.records).questions()] == [question.key]


@pytest.mark.parametrize(
    ("decision", "calls", "status"),
    [("repeat", 2, "success"), ("fail", 0, "failed"), ({"output": {"x": 1}}, 1, "success")],
)
async def test_a_person_decides(decision: Any, calls: int, status: str) -> None:
    memory = Memory(left=BEGUN)
    assert await carried(memory) is None
    memory.left = None
    paused = await carried(memory)
    assert paused is not None
    [question] = paused.questions
    reply = json.dumps({"value": fitting(question, decision).value})
    memory.records[reply_key(question)] = Record(0.0, reply)
    made: list[str] = []
    result = await carried(memory, made=made)
    assert result is not None
    assert (result.status, len(made)) == (status, calls)
    if calls == 1:
        assert result["a"].output == {"x": 1}


async def test_a_call_that_is_lost_again_is_asked_about_again() -> None:
    memory = Memory(left=BEGUN)
    assert await carried(memory) is None
    memory.left = None
    paused = await carried(memory)
    assert paused is not None
    [question] = paused.questions
    memory.records[reply_key(question)] = Record(0.0, json.dumps({"value": "repeat"}))
    memory.left = 0
    assert await carried(memory) is None  # the intention is kept, and the process ends
    memory.left = None
    again = await carried(memory)
    assert again is not None
    assert [each.kind for each in again.questions] == ["unknown"]
    assert again.questions[0].key != question.key


@pytest.mark.parametrize(("unknown", "calls"), [("repeat", 2), ("fail", 0)])
async def test_what_becomes_of_it_is_as_it_was_said(unknown: Unknown, calls: int) -> None:
    memory = Memory(left=BEGUN)
    assert await carried(memory) is None
    memory.left = None
    made: list[str] = []
    result = await carried(memory, unknown, made=made)
    assert result is not None
    assert len(made) == calls
    if unknown == "fail":
        error = result["a"].error
        assert error is not None
        assert (error.kind, error.retryable) == ("server_unavailable", False)
        assert error.details["unknown"] is True


async def test_only_calls_that_may_do_harm_are_noted_before_they_leave() -> None:
    memory = Memory()
    assert await carried(memory) is not None
    assert [key.path for key in memory.records if key.kind == "intent 0"] == ["a"]


async def test_a_tool_that_has_changed_is_not_called() -> None:
    memory = Memory(left=BEGUN)
    assert await carried(memory) is None
    memory.left = None
    changed = {**TOOLS, "s:write": Tool("s", "write", {"type": "object"}, read_only=False)}
    result = await carried(memory, "repeat", tools=changed)
    assert result is not None
    error = result["a"].error
    assert error is not None
    assert error.kind == "invalid_arguments"
    assert "another definition than when the run began" in error.message


async def test_a_tool_that_has_changed_before_its_first_call_is_not_called() -> None:
    memory = Memory(left=BEGUN)
    assert await carried(memory) is None
    memory.left = None
    changed = {**TOOLS, "s:read": Tool("s", "read", {"type": "object"}, read_only=True)}
    made: list[str] = []
    result = await carried(memory, "repeat", tools=changed, made=made)
    assert result is not None
    assert made == ["s:write"]
    error = result["b"].error
    assert error is not None
    assert "another definition than when the run began" in error.message


async def test_tools_of_a_server_are_kept_when_it_is_ready() -> None:
    memory, tools = Memory(), dict[str, Tool]()

    @contextmanager
    def listen(tell: OnEvent) -> Iterator[None]:
        tools.update(TOOLS)
        tell(ServerReady(0.0, "s", "2025-11-25", 2, 1.0))
        assert [key.path for key in memory.records] == ["s:write", "s:read"]
        yield

    async def call(*_: object) -> Any:
        return {}

    recorder = RunRecorder(cast("Writer", memory), Lease("r", 1))
    settings = RunSettings(recorder=recorder)
    servers = Servers(tools=tools, listen=listen)
    result = await Run(Workflow.load(FLOW), call, settings, servers=servers).execute()
    assert result.status == "success"


async def test_the_output_that_a_person_gives_fits_the_tool() -> None:
    number = {
        "type": "object",
        "properties": {"n": {"$ref": "#/$defs/N"}},
        "$defs": {"N": {"type": "integer"}},
    }
    text = {
        "type": "object",
        "properties": {"result": {"type": "string"}},
        "required": ["result"],
        "title": "writeOutput",
    }
    count = {**text, "properties": {"result": {"type": "integer"}}}
    cases = (number, {"n": "x"}, {"n": 1}), (text, 1, ["parsed"]), (count, "x", 1)
    for schema, wrong, right in cases:
        tools = {**TOOLS, "s:write": Tool("s", "write", {}, output_schema=schema, read_only=False)}
        memory = Memory(left=BEGUN)
        assert await carried(memory, tools=tools) is None
        memory.left = None
        paused = await carried(memory, tools=tools)
        assert paused is not None
        [question] = paused.questions
        with pytest.raises(AnswerError, match=r"at \.output"):
            fitting(question, {"output": wrong})
        memory.records[reply_key(question)] = Record(
            0.0, json.dumps(fitting(question, {"output": right})._asdict())
        )
        result = await carried(memory, tools=tools)
        assert result is not None
        assert result["a"].output == right


async def test_nothing_leaves_that_may_do_harm_once_nothing_can_be_kept() -> None:
    memory = Memory()
    memory.error = cast("None", JournalError("the disk is full"))
    made: list[str] = []
    flow = {"tasks": [{"id": "a", "tool": "s:write"}, {"id": "c", "tool": "s:read"}]}
    result = await carried(memory, flow=flow, made=made)
    assert result is not None
    assert made == ["s:read"]
    assert result["a"].error is not None
    assert "the disk is full" in result["a"].error.message
    assert result["c"].status == "success"


async def test_a_finished_run_has_nothing_left_to_call() -> None:
    memory = Memory()
    first = await carried(memory)
    made: list[str] = []
    again = await carried(memory, made=made)
    assert made == []
    assert first is not None
    assert again is not None
    for task in ("a", "b"):
        assert again[task].to_dict() == first[task].to_dict()


def test_a_crash_is_no_error_of_a_call() -> None:
    assert not issubclass(Crash, Exception)
    assert issubclass(CallError, Exception)


def test_a_clock_that_is_set_back_makes_no_wait_longer_than_it_was() -> None:
    call = Call("a", "s", "read", {}, 1.0)
    now = 1_000.0
    records = {
        Key.of("failure 0", call, 1): Record(now, json.dumps({"wait_s": 5.0, "error": {}})),
        Key("began", "a"): Record(now, None),
    }
    recorder = RunRecorder(cast("Writer", Memory()), Lease("r", 2), records)
    for passed, left in ((0.0, 5.0), (2.0, 3.0), (9.0, 0.0), (-3_600.0, 5.0)):
        recorder.now = lambda at=now + passed: at  # type: ignore[misc]
        assert recorder.attempts(call, Attempt()) == (1, left)
        assert recorder.began("a") == max(0.0, passed)


def test_waits_are_kept_with_their_kind_and_those_of_an_older_form_are_left_out() -> None:
    waits = ((Cause("lock", "x"), 1.0, 2.0), (Cause("retry"), 4.0, 0.5))
    result = TaskResult("a", Success(output=1), 0, 1, 3.0, 1.0, waits=waits)
    document = of_task(result, is_wrapped=False)
    assert document["waits"] == [["lock", "x", 1.0, 2.0], ["retry", "", 4.0, 0.5]]
    older = document | {"waits": [['lock "x"', 1.0, 2.0]]}
    for kept, expected in ((document, waits), (older, ())):
        records = Records({Key("task", "a"): Record(0.0, json.dumps(kept))})
        assert records.settled("", {})["a"].waits == expected


async def test_a_finally_that_was_begun_has_the_rest_of_its_time_while_the_run_is_carried() -> None:
    memory, writer = Memory(), cast("Writer", Memory())
    flow = {
        "tasks": [{"id": "a", "value": 1}],
        "finally": [{"id": "z", "tool": "s:read"}],
        "finally_timeout_s": 5,
    }
    memory.records[Key("since", "finally")] = Record(0.0, '{"s": 90}')
    assert RunRecorder(writer, Lease("r", 1), memory.records).since("finally", 100.0) == 90

    async def run(elapsed_s: float) -> str:
        recorder = RunRecorder(writer, Lease("r", 1), memory.records, elapsed_s=elapsed_s)
        made = Run(Workflow.load(flow), ScriptedCaller(), RunSettings(recorder=recorder))
        return (await made.execute())["z"].status

    # It began an hour of the day ago, and two seconds of the run.
    assert await run(92.0) == "success"
    assert await run(96.0) == "cancelled"


def test_what_is_kept_of_a_task_is_made_without_its_items() -> None:
    def read(*_: Any) -> list[Any]:
        raise AssertionError

    elsewhere = Joined(3, read, Totals())
    document = of_task(TaskResult("map", Success([1, 2, 3]), 0, items=elsewhere), is_wrapped=False)
    assert (document["has_items"], document["is_list"]) == (True, True)
    assert document.keys().isdisjoint({"items", "output", "tasks"})
