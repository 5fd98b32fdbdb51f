"""What calls are expected to take decides which task goes first."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.engine.priorities import priorities
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.run_request import problems_of_estimates
from orchestrator.workflow.model import Schedule
from tests.fakes import ScriptedCaller, workflow
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Backend:
    """trio, with a clock that jumps to the next deadline whenever all tasks wait."""
    return virtual_clock("trio")


def test_the_longest_path_is_measured_in_seconds_where_they_are_known() -> None:
    plan = workflow("a", "b: a", "slow").plan
    assert priorities(plan, "dataflow", {}) == {"a": -2, "b": -1, "slow": -1}
    known = {"a": 1.0, "b": 2.0, "slow": 9.0}
    assert priorities(plan, "dataflow", known) == {"a": -3, "b": -2, "slow": -9}


def test_by_generations_the_longest_task_goes_first_and_without_estimates_the_files_order() -> None:
    plan = workflow("a", "b: a", "slow").plan
    assert priorities(plan, "generations", {}) == {}
    assert priorities(plan, "generations", {"a": 1, "b": 2, "slow": 9}) == {
        "a": -1,
        "b": -2,
        "slow": -9,
    }


@pytest.mark.parametrize(
    ("known", "missing"), [({"a": 4}, 4), ({"a": 1, "b": 4}, 2.5), ({"a": 1, "b": 9, "c": 2}, 2)]
)
def test_a_task_that_is_not_estimated_takes_the_median_of_the_others(
    known: dict[str, float], missing: float
) -> None:
    plan = workflow(*"abcd").plan
    assert -priorities(plan, "generations", known)["d"] == missing


@pytest.mark.parametrize(
    ("schedule", "order"), [("dataflow", "acbd"), ("generations", "abdc")], ids=str
)
async def test_calls_that_wait_go_in_the_order_of_the_estimates(
    schedule: Schedule, order: str
) -> None:
    plan = workflow("d", "b", "a", "c: a", max_concurrency=1, schedule=schedule)
    caller = ScriptedCaller({name: [(1, None)] for name in "abcd"})
    estimates = {"a": 3, "b": 2.5, "c": 3, "d": 0}
    await Run(plan, caller, RunSettings(estimates=estimates)).execute()
    assert "".join(task for task, _ in caller.calls) == order


async def test_items_have_the_estimate_of_one_call_and_keep_their_order() -> None:
    each = {"id": "each", "tool": "fake:each", "for_each": [1, 2], "arguments": {"n": "$ITEM"}}
    plan = workflow(each, "one", max_concurrency=1)
    for seconds, order in ((1.5, ["one", 1, 2]), (2.5, [1, 2, "one"])):
        caller = ScriptedCaller({"each": [(1, None)], "one": [(1, None)]})
        await Run(plan, caller, RunSettings(estimates={"each": seconds, "one": 2})).execute()
        assert [given.get("n", task) for task, given in caller.calls] == order


async def test_right_estimates_make_a_run_shorter_than_depth_does() -> None:
    plan = workflow("a", "b: a", "c", "d: c", "slow", max_concurrency=2, schedule="dataflow")
    script = {"a": 1, "b": 1, "c": 1, "d": 1, "slow": 4}
    caller = ScriptedCaller({name: [(after, None)] for name, after in script.items()})
    assert (await Run(plan, caller).execute()).duration_ms == 6000
    assert (await Run(plan, caller, RunSettings(estimates=script)).execute()).duration_ms == 4000


def test_wrong_estimates_are_found_all_at_once() -> None:
    estimates: dict[str, Any] = {
        "fetch": 0,
        "parse": -1,
        "store": float("nan"),
        "send": float("inf"),
        "done": True,
        "huge": 10**400,
        "text": "3",
        "fetched": 1,
    }
    known = [task for task in estimates if task != "fetched"]
    found = problems_of_estimates(known, estimates)
    assert [problem.task for problem in found[:-1]] == known[1:]
    assert {problem.code for problem in found[:-1]} == {"wrong_value"}
    assert str(found[0]) == (
        'task "parse", /estimates/parse: expected a number of seconds of at least 0, got integer -1'
    )
    assert str(found[-1]) == ('/estimates/fetched: unknown task "fetched". Did you mean "fetch"?')


# What is remembered.
