"""A run whose process ends anywhere comes to what it would have come to."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from orchestrator.engine.question import Question
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.workflow.model import Schedule, Workflow
from tests.journal.memory import MortalStage, carry, reply_to_all
from tests.model import Case
from tests.random_cases import Profile, random_case
from tests.stage import as_file
from tests.virtual_clock import Backend, virtual_clock

pytestmark = pytest.mark.anyio

CASES = int(os.environ.get("RANDOM_CASES", "8"))
FIRST = int(os.environ.get("FIRST_CASE", "0"))
SCHEDULES: tuple[Schedule, ...] = ("generations", "dataflow")
PROFILES = {
    "plain": Profile(),
    "with policies": Profile(policies=True),
    "with workflows inside": Profile(inner=True),
    "with policies and workflows inside": Profile(inner=True, policies=True),
    "that clean up": Profile(cleans=True, policies=True),
}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Backend:
    """Each event loop, with a clock that jumps to the next deadline whenever all tasks wait."""
    return virtual_clock(request.param)


def cases(profile: Profile) -> Iterator[tuple[int, Case, Workflow]]:
    """The random cases, without those of which a process that ended took a part of their time."""
    for number in range(FIRST, FIRST + CASES):
        case = random_case(number, profile)
        if not has_deadlines(case):
            yield number, case, Workflow.load(as_file(case))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
async def test_a_run_that_was_cut_off_anywhere_ends_as_if_it_had_not_been(
    profile: Profile, schedule: Schedule, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "orchestrator")
    for number, case, workflow in cases(profile):
        whole = await run_in_pieces(case, workflow, schedule, [])
        records = whole[1]
        for left in sorted({0, 1, records // 3, records // 2, records - 2}):
            ended, _, keys = await run_in_pieces(case, workflow, schedule, [left, 2])
            assert shown(ended) == shown(whole[0]), (number, left)
            assert keys == whole[2], (number, left)  # a call that is made again has its key


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
async def test_a_run_whose_calls_are_approved_ends_as_if_nobody_had_been_asked(
    profile: Profile, schedule: Schedule, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, or after pauses: where what happens first makes no difference."""
    caplog.set_level(logging.CRITICAL, "orchestrator")
    for number, case, workflow in cases(profile):
        whole, _, _ = await run_in_pieces(case, workflow, schedule, [])
        assert shown(await approved(case, workflow, schedule, every=1)) == shown(whole), number
        if not ends_early(case):
            assert shown(await approved(case, workflow, schedule, every=2)) == shown(whole), number


def ends_early(case: Case) -> bool:
    """Whether what happens first may keep other tasks or items from beginning."""
    return (
        case.fail_fast
        or any(task.critical or task.end_run for task in case.all_tasks)
        or any(task.on_item_error == "stop" for task in case.all_tasks)
        or case.defaults.on_item_error == "stop"
        or any(ends_early(task.inner) for task in case.all_tasks if task.inner is not None)
    )


async def approved(case: Case, workflow: Workflow, schedule: Schedule, every: int) -> RunResult:
    """The result of a run in which each of so many calls is approved at once, the others later."""
    stage, asked = MortalStage(case, zero_s=anyio.current_time()), 0

    async def answer(_: Question) -> Any:
        nonlocal asked
        asked += 1
        return True if asked % every == 0 else None

    while True:
        result = await carry(case, workflow, schedule, stage, "repeat", answer)
        assert result is not None
        if result.status != "paused":
            return result
        assert result.questions
        reply_to_all(stage.memory, result.questions)


def has_deadlines(case: Case) -> bool:
    """Whether there is a limit of time over more than one call."""
    inner = [task for task in case.all_tasks if task.inner is not None]
    return (
        case.timeout_s is not None
        or any(task.deadline_s is not None for task in case.all_tasks)
        or any(task.timeout_s is not None for task in inner)
        or any(has_deadlines(task.inner) for task in inner if task.inner is not None)
        or (bool(inner) and case.defaults.timeout_s is not None)
    )


async def run_in_pieces(
    case: Case, workflow: Workflow, schedule: Schedule, pieces: list[int]
) -> tuple[RunResult, int, set[str]]:
    """The result of a run whose processes keep so many records each, the last one all."""
    stage = MortalStage(case, zero_s=anyio.current_time())
    for left in pieces:
        stage.memory.left = left
        result = await carry(case, workflow, schedule, stage, "repeat")
        if result is not None:
            return result, stage.memory.puts, stage.keys
    stage.memory.left = None
    result = await carry(case, workflow, schedule, stage, "repeat")
    assert result is not None
    return result, stage.memory.puts, stage.keys


def shown(result: RunResult) -> dict[str, Any]:
    """What does not depend on times."""
    tasks = {name: of_task(task) for name, task in result.tasks.items()}
    return {"status": result.status, "output": result.output, "tasks": tasks}


def of_task(task: TaskResult) -> dict[str, Any]:
    items = [(item.status, item.output, item.error) for item in task.items or ()]
    inside = {name: of_task(each) for name, each in (task.tasks or {}).items()}
    return {
        "status": task.status,
        "output": task.output,
        "error": task.error,
        "reason": task.reason,
        "items": items,
        "inside": inside,
    }
