"""What the answers of a run may take in memory."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, WorkflowError
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.errors import CallError
from orchestrator.transport.messages import VALUE_BYTES, memory_of
from tests.fakes import workflow
from tests.real_servers import faulty, plan

pytestmark = pytest.mark.anyio

FULL = "the answers of the run take more than 1 MB of memory"
# Two answers of this size fit into a megabyte, and three do not.
SIZE = 400_000


async def answer(call: Call, attempt: Attempt) -> Any:
    """Answers a call with its name; one of the tool `fail` fails, and `wait` never answers."""
    if call.tool == "wait":
        await anyio.sleep_forever()
    attempt.note_answer(SIZE)
    if call.tool == "fail":
        raise CallError("tool_error", "no")
    return call.task


async def run(*tasks: Any, max_run_mb: int = 1, **fields: Any) -> RunResult:
    settings = RunSettings(max_run_mb=max_run_mb)
    return await Run(workflow(*tasks, **fields), answer, settings).execute()


def statuses(result: RunResult) -> list[str]:
    return [task.status for task in result.tasks.values()]


async def test_a_run_over_its_limit_fails_with_what_it_has() -> None:
    waits = {"id": "e", "tool": "s:wait"}
    result = await run("a", "b: a", "c: b", "d: c", waits, schedule="dataflow")
    assert result.status == "failed"
    assert statuses(result) == ["success", "success", "success", "skipped", "cancelled"]
    assert [result[task].output for task in "abc"] == ["a", "b", "c"]
    assert (result["d"].reason, result["e"].reason) == (FULL, FULL)
    assert result.error is not None
    assert result.error.kind == "budget"
    fix = "raise max_run_mb (--max-run-mb), or ask the tools for less"
    assert result.error.message == f"{FULL}: {fix}"
    assert result.error.details == {"max_run_mb": 1}


async def test_the_items_that_finished_keep_their_outputs() -> None:
    each = {"id": "a", "tool": "s:t", "for_each": [1, 2, 3, 4, 5], "max_parallel": 1}
    result = await run(each, "b: a")
    assert statuses(result) == ["cancelled", "skipped"]
    assert result["a"].output == ["a", "a", "a", None, None]
    assert result.error is not None
    assert result.error.kind == "budget"


@pytest.mark.parametrize(
    "task",
    [
        {"tool": "s:fail"},
        {"tool": "s:fail", "fallback": {"tool": "s:t"}},
    ],
)
async def test_failures_and_fallbacks_count(task: dict[str, Any]) -> None:
    tasks = [{"id": f"t{n}", **task} for n in range(4)]
    result = await run(*tasks, max_concurrency=1)
    assert result.status == "failed"
    assert statuses(result)[-1] == "skipped"


async def test_only_the_last_attempt_is_kept() -> None:
    again = {"max_attempts": 10, "initial_s": 0.001, "max_s": 0.001}
    result = await run({"id": "a", "tool": "s:fail", "retry": again})
    assert result["a"].attempts == 10
    assert result.error is None


async def test_no_limit_is_no_limit() -> None:
    result = await run("a", "b: a", "c: b", "d: c", max_run_mb=0)
    assert result.status == "success"


async def test_a_negative_limit_is_refused() -> None:
    async with Orchestrator({"it": faulty()}) as orchestrator:
        with pytest.raises(WorkflowError, match="expected max_run_mb of at least 0, got -1"):
            await orchestrator.run(plan(("it:echo", {"value": 1})), max_run_mb=-1)


async def test_what_a_program_sends_counts() -> None:
    calls = [("it:huge", {"bytes": SIZE})] * 5
    async with Orchestrator({"it": faulty()}) as orchestrator:
        result = await orchestrator.run(plan(*calls, max_concurrency=1), max_run_mb=1)
    assert statuses(result) == ["success"] * 3 + ["skipped"] * 2
    assert result.error is not None
    assert result.error.kind == "budget"


def test_the_estimate_is_about_what_python_takes() -> None:
    # Each empty list is three characters of JSON, and sixty bytes and more of memory.
    assert memory_of(b"[" + b"[]," * 1000 + b"[]]") > 1000 * sys.getsizeof([])
    assert memory_of("[1,2,{}]") == 8 + VALUE_BYTES * 4
    assert memory_of(b"x" * 1000) == 1000
