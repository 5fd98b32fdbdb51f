"""Where the engine does not do what the documents say: found by comparing it with the model.

Each test goes into the room of what it tests once it passes.
"""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from tests.fakes import Row, ScriptedCaller, failing, workflow
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Backend:
    return virtual_clock("trio")


async def run(caller: Any, *tasks: Any, **fields: Any) -> RunResult:
    return await Run(workflow(*tasks, **fields), caller).execute()


def task(**fields: Any) -> dict[str, Any]:
    return {"id": "a", "tool": "fake:a", **fields}


@pytest.mark.xfail(
    strict=True,
    reason='"attempts" is without the call of a fallback, also in a task that was cut short '
    "while the fallback of an item was under way",
)
async def test_attempts_of_a_task_that_was_ended_do_not_count_the_fallback_of_an_item() -> None:
    script: dict[str, list[Row]] = {
        "a": [(1.0, failing())],
        "b": [(60.0, 1)],
        "bad": [(5.0, failing())],
    }
    each = task(for_each=[1], item_fallback={"tool": "fake:b", "arguments": {}})
    bad = {"id": "bad", "tool": "fake:bad", "critical": True}
    result = await run(ScriptedCaller(script), each, bad)
    assert result["a"].status == "cancelled"
    assert (result["a"].items or ())[0].attempts == 1
    assert result["a"].attempts == 1


@pytest.mark.xfail(
    strict=True,
    reason="paths in $LAST are null before the first answer only; in an answer that is null "
    "they do not exist, which is a reference_error, never null",
)
async def test_a_path_in_an_answer_of_null_does_not_exist() -> None:
    caller = ScriptedCaller({"a": [(1.0, None)]})
    repeat = {"until": "false", "every_s": 0, "max_times": 2}
    result = await run(caller, task(arguments={"cursor": "$LAST.next"}, repeat=repeat))
    assert result["a"].error is not None
    assert result["a"].error.kind == "reference_error"
    assert result["a"].attempts == 1


@pytest.mark.xfail(
    strict=True,
    reason="delay_s is waited before the first call: a task that calls nothing, because its "
    "arguments have no value, waits for it if it has a fallback, and does not otherwise",
)
async def test_a_task_that_calls_nothing_is_not_delayed() -> None:
    broken = {"arguments": {"x": "$ERROR[b].kind"}, "delay_s": 5}
    result = await run(ScriptedCaller(), "b", task(**broken))
    assert (result["a"].status, result.duration_ms) == ("error", 0)
    result = await run(ScriptedCaller(), "b", task(**broken, fallback={"value": 1}))
    assert (result["a"].status, result.duration_ms) == ("success", 0)


@pytest.mark.xfail(
    strict=True,
    reason="a task that holds a lock waits for ever for the tasks of its workflow that want the "
    "same one: tasks cannot deadlock (it can be shared with what is inside, or be refused before "
    "the first call)",
)
async def test_a_lock_around_a_workflow_does_not_keep_out_what_is_inside() -> None:
    inner = {"tasks": [{"id": "b", "tool": "fake:b", "locks": ["x"]}]}
    with anyio.move_on_after(1e6) as scope:
        await run(ScriptedCaller(), {"id": "a", "workflow": inner, "locks": ["x"]})
    assert not scope.cancelled_caught


@pytest.mark.xfail(
    strict=True,
    reason="the error is that of the first that failed, in the order of the file: here it is that "
    "of the critical task, which failed last and stands last, and its details name no task",
)
async def test_the_error_of_a_workflow_that_ends_at_a_failure_is_that_of_the_first() -> None:
    steps = [
        {"id": "b", "tool": "fake:b", "arguments": {"x": "$INPUT.x.nope"}},
        {"id": "c", "tool": "fake:c", "critical": True},
    ]
    inner = {"inputs": {"x": {}}, "tasks": steps}
    caller = ScriptedCaller({"c": [(1.0, failing())]})
    result = await run(caller, {"id": "a", "workflow": inner, "arguments": {"x": {}}})
    assert result["a"].error is not None
    assert result["a"].error.details.get("task") == "b"
    assert result["a"].error.kind == "reference_error"
