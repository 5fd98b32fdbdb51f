"""Tasks inside a task that follow each other keep their slot, unless another goes first."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from tests.fakes import Row, ScriptedCaller, failing, workflow
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio
SECOND: list[Row] = [(1.0, {})]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    return virtual_clock(request.param)


def steps(*tasks: Any, **fields: Any) -> dict[str, Any]:
    """A task whose steps follow each other."""
    inner = [{"id": name, "tool": "fake:step", **task} for name, task in tasks]
    for before, after in itertools.pairwise(inner):
        after["depends_on"] = [before["id"]]
    return {"id": "outer", "workflow": {"tasks": inner}, **fields}


async def run(
    *tasks: Any, limit: int = 1, script: Any = None, **fields: Any
) -> tuple[RunResult, list[str]]:
    caller = ScriptedCaller({"step": SECOND, "b": SECOND, **(script or {})})
    flow = workflow(*tasks, max_concurrency=limit, **fields)
    return await Run(flow, caller).execute(), [task for task, _ in caller.calls]


async def test_what_goes_later_waits_until_the_last_step() -> None:
    _, calls = await run(steps(("x", {}), ("y", {}), ("z", {})), "b")
    assert calls == ["outer/x", "outer/y", "outer/z", "b"]


async def test_what_goes_first_and_waits_already_has_the_slot_next() -> None:
    urgent = {"id": "b", "tool": "fake:b", "delay_s": 0.5}
    tasks = steps(("x", {}), ("y", {}), ("z", {})), urgent, "c: b", "d: c"
    _, calls = await run(*tasks, schedule="dataflow")
    assert calls[:2] == ["outer/x", "b"]
    assert calls.index("outer/y") < calls.index("outer/z")


@pytest.mark.parametrize(
    "policy",
    [{"delay_s": 9}, {"retry": {"max_attempts": 2, "initial_s": 9, "jitter": 0}}, {"locks": ["l"]}],
)
async def test_no_slot_is_kept_for_a_step_that_has_to_wait(policy: dict[str, Any]) -> None:
    script = {"y": [(0, failing()), (0, {})], "holder": [(1, {})], "held": [(20, {})]}
    holder = {"id": "holder", "tool": "fake:held", "locks": ["l"]} if "locks" in policy else "e"
    tasks = steps(("x", {}), ("y", {"tool": "fake:y", **policy}), ("z", {}))
    result, _ = await run(holder, tasks, "b", limit=2 if "locks" in policy else 1, script=script)
    b = result["b"]
    assert b.started_ms is not None
    assert b.started_ms < 3_000
    assert result["outer"].duration_ms >= 10_000


@pytest.mark.parametrize("fields", [{}, {"for_each": [1, 2]}])
async def test_a_step_that_fails_leaves_its_slot(fields: dict[str, Any]) -> None:
    tasks = steps(("x", {}), ("y", {"tool": "fake:y"}), ("z", {}), **fields)
    result, calls = await run(tasks, "b", script={"y": [(1, failing())]})
    assert result["outer"].status == "error"
    assert (calls[-1], result["b"].status) == ("b", "success")


@pytest.mark.parametrize("step", ["x", "y"])
async def test_a_step_that_is_cancelled_leaves_its_slot(step: str) -> None:
    tasks = steps(("x", {"tool": "fake:x"}), ("y", {"tool": "fake:y"}), deadline_s=5)
    result, _ = await run(tasks, "b", script={"x": SECOND, step: [(50, {})]})
    assert result["outer"].status == "error"
    assert (result["b"].started_ms, result["b"].status) == (5_000, "success")


async def test_a_step_that_is_another_workflow_or_a_list_has_slots_of_its_own() -> None:
    inner = {"tasks": [{"id": n, "tool": "fake:step"} for n in "mn"]}
    tasks = steps(("x", {}), ("l", {"for_each": [1, 2]}), ("z", {}))
    tasks["workflow"]["tasks"].append({"id": "w", "workflow": inner, "depends_on": ["z"]})
    result, calls = await run(tasks, "b")
    assert result.status == "success"
    assert (result.duration_ms, len(calls)) == (7_000, 7)


async def test_after_the_last_step_finally_has_the_slot() -> None:
    tasks = steps(("x", {}), ("y", {}))
    last = [{"id": n, "tool": "fake:step"} for n in ("f", "g")]
    tasks["workflow"]["finally"] = [last[0], {**last[1], "depends_on": ["f"]}]
    result, calls = await run(tasks, "b")
    assert calls == ["outer/x", "outer/y", "outer/f", "outer/g", "b"]
    assert (result.status, result.duration_ms) == ("success", 5_000)
