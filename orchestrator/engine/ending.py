"""Ends what earlier processes began, of a run that is taken up only to end.

Items keep what they came to, and the workflows that began inside of tasks run their `finally`, as
where a run ends in the process that carries it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from orchestrator.documents.text import quoted
from orchestrator.documents.threads import in_thread
from orchestrator.engine.decide import Start, StartEach, decide, decide_item
from orchestrator.engine.inside import end_inside
from orchestrator.engine.task_state import TaskState
from orchestrator.errors import CallError

if TYPE_CHECKING:
    from orchestrator.engine.summary import Stop
    from orchestrator.engine.task_runner import TaskRunner
    from orchestrator.workflow.plan import Plan

logger = logging.getLogger("orchestrator")

Inside = Mapping[int | None, int]
"""The latest attempt of each workflow inside a task, by its item."""


async def end_begun(runner: TaskRunner, plan: Plan, jobs: dict[str, TaskState]) -> None:
    """Settle the tasks that have begun and that nothing carries; `jobs` has them meanwhile."""
    recorder, stop = runner.recorder, runner.phase.stop
    if recorder is None or not recorder.resumed or stop is None or runner.end_of_all is not None:
        return
    begun, within, settled = recorder.begun(), runner.emitter.within, runner.settled.results
    with anyio.CancelScope(shield=True):  # each `finally` has a limit of its own
        async with anyio.create_task_group() as group:
            for task in plan.graph:
                if task not in settled and (inside := begun.get(within + task)) is not None:
                    jobs[task] = job = TaskState(plan.tasks[task], within=within)
                    group.start_soon(_end, runner, job, inside, stop)
    for task in [task for task, job in jobs.items() if job.has_begun]:
        job = jobs.pop(task)
        runner.settle(job, job.ended_by(stop.not_begun, runner.emitter.clock.zero))


async def _end(runner: TaskRunner, job: TaskState, inside: Inside, stop: Stop) -> None:
    """End one of them; what cannot be read of it keeps nothing else from ending."""
    try:
        await _end_job(runner, job, inside, stop)
    except Exception as error:
        path, why = job.within + job.task.id, f"{type(error).__name__}: {error}"
        logger.warning("task %s ends without what had begun in it: %s", quoted(path), why)


async def _end_job(runner: TaskRunner, job: TaskState, inside: Inside, stop: Stop) -> None:
    task, scope, path = job.task, runner.settled.scope, job.within + job.task.id
    decision = await in_thread(decide, task, scope)
    async with anyio.create_task_group() as group:
        if isinstance(decision, Start) and None in inside:
            group.start_soon(_end_inside, runner, job, decision, inside[None], stop)
        elif isinstance(decision, StartEach):
            first, items, recorder = decision.first, decision.items, runner.recorder
            assert recorder is not None
            numbers = range(first, first + len(items))
            job.first, job.in_flight = first, {}
            job.items = [recorder.item(path, number, scope.wrapped) for number in numbers]
            for number in numbers:
                if job.items[number - first] is None and number in inside:
                    scope_of = scope.at(items[number - first], number)
                    begins = await in_thread(decide_item, task, scope_of)
                    if isinstance(begins, Start):
                        last = inside[number]
                        group.start_soon(_end_inside, runner, job, begins, last, stop, number)


async def _end_inside(
    runner: TaskRunner,
    job: TaskState,
    decision: Start,
    attempt: int,
    stop: Stop,
    item: int | None = None,
) -> None:
    """End the workflow that ran in place of the call of a task, or of an item."""
    with suppress(CallError):  # what it was called with is not what its inputs accept now
        call, again = runner.executor.calls.again(job, decision, attempt, item)
        await end_inside(runner, call, again, stop)
