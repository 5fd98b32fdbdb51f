"""Locks of tasks that run a workflow, and of the tasks inside it: no two wait for each other."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator.calls.locks import Locks
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import Servers
from tests.fakes import ScriptedCaller, workflow
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio
SHARED = {"name": "x", "mode": "shared"}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    return virtual_clock(request.param)


def nested(name: str, held: Any, *wanted: Any, **fields: Any) -> dict[str, Any]:
    """A task that holds some locks, and inside it a step that waits a second, and one that locks.

    The input `n` of the workflow is "x" for one that is called `x...`.
    """
    first = {"id": "first", "tool": f"fake:{name}.first"}
    last = {"id": "last", "tool": "fake:last", "depends_on": ["first"], "locks": list(wanted)}
    inner = {"inputs": {"n": {}}, "tasks": [first, last]}
    return {"id": name, "workflow": inner, "arguments": {"n": name[0]}, "locks": held, **fields}


def caller() -> ScriptedCaller:
    return ScriptedCaller({"a.first": [(1, 1)], "x.first": [(1, 1)], "last": [(1, 1)]})


async def run(*tasks: Any, **fields: Any) -> RunResult:
    with anyio.fail_after(1000):
        return await Run(workflow(*tasks, **fields), caller()).execute()


async def test_two_tasks_that_want_each_others_lock_inside_run_one_after_the_other() -> None:
    result = await run(nested("a", ["a"], "x"), nested("x", ["x"], "a"))
    assert (result.status, result.duration_ms) == ("success", 4_000)


async def test_so_do_the_items_of_one_task() -> None:
    task = nested("a", ["x$ITEM"], "a", for_each=[1, 2, 3])
    assert (await run(task)).duration_ms == 6_000


async def test_names_that_come_after_those_around_are_held_no_longer_than_inside() -> None:
    result = await run(nested("a", ["a$ITEM"], "b", for_each=[1, 2, 3]))
    assert (result.status, result.duration_ms) == ("success", 4_000)


async def test_a_name_that_only_a_deeper_workflow_has_is_taken_in_order_too() -> None:
    middle = {"tasks": [nested("a", [], "a")]}
    deep = {"id": "deep", "workflow": middle, "locks": ["x"]}
    result = await run(deep, nested("a", ["a"], "x"))
    assert (result.status, result.duration_ms) == ("success", 4_000)


async def test_a_lock_that_is_exclusive_inside_is_taken_exclusively_around() -> None:
    result = await run(nested("a", [SHARED], "x"), nested("x", [SHARED], SHARED))
    assert (result.status, result.duration_ms) == ("success", 4_000)


async def test_a_name_known_too_late_fails_where_it_would_close_a_circle() -> None:
    # The name inside is known only when the first step has ended.
    late = nested("x", ["x"], "$INPUT.n")
    late["arguments"] = {"n": "a"}
    result = await run(nested("a", ["a"], "x"), late)
    error = result["x"].error
    assert error is not None
    assert result["a"].status == "success"
    assert error.kind == "invalid_arguments"
    assert error.message == (
        'workflow:x failed in task "last": lock "a" would never be free: task "a/last" waits for '
        'lock "x", which is held around this task; hold "a" there, too, or give it a name that '
        'comes after "x"'
    )


async def test_it_fails_and_not_the_task_that_closes_the_circle() -> None:
    late = nested("x", ["x"], "$INPUT.n") | {"arguments": {"n": "a"}}
    script = {**caller().script, "a.first": [(2, 1)]}
    with anyio.fail_after(1000):
        plan = workflow(nested("a", ["a"], "x"), late)
        result = await Run(plan, ScriptedCaller(script)).execute()
    ended = {name: (task.status, task.duration_ms) for name, task in result.tasks.items()}
    assert ended == {"x": ("error", 2_000), "a": ("success", 3_000)}


async def test_a_name_known_late_waits_where_that_ends() -> None:
    late = nested("x", ["x"], "$INPUT.n") | {"arguments": {"n": "a"}}
    holder = {"id": "b", "tool": "fake:last", "locks": ["a"]}
    again = nested("a", ["y"], "$INPUT.n")
    result = await run(late, holder, again)
    assert result.status == "success"


async def test_runs_that_share_their_locks_do_not_wait_for_each_other_either() -> None:
    locks, results = Locks(), dict[str, RunResult]()

    async def one(task: dict[str, Any]) -> None:
        plan = Run(workflow(task), caller(), servers=Servers(locks=locks))
        results[task["id"]] = await plan.execute()

    with anyio.fail_after(1000):
        async with anyio.create_task_group() as group:
            group.start_soon(one, nested("a", ["a"], "$INPUT.n") | {"arguments": {"n": "x"}})
            group.start_soon(one, nested("x", ["x"], "$INPUT.n") | {"arguments": {"n": "a"}})
    assert (results["a"].status, results["x"].status) == ("success", "failed")
    assert repr(locks) == "Locks([])"
