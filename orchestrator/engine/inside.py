"""Runs a workflow in place of the call of a task."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.settled import Settled
from orchestrator.engine.summary import Stop, output_of
from orchestrator.workflow.budget import Budget
from orchestrator.workflow.inputs import with_input_defaults
from orchestrator.workflow.model import Workflow

if TYPE_CHECKING:
    from orchestrator.engine.task_runner import TaskRunner


async def run_inside(outer: TaskRunner, call: Call, attempt: Attempt) -> Any:
    """Run the workflow of a task, or of an item of it.

    Raises:
        CallError: A task in it failed, or it was cancelled.
    """
    if outer.phase.stop is not None:  # it came together with the end, which cancels it
        await anyio.sleep_forever()
    task = outer.emitter.task_of(call)
    assert task.inner is not None
    workflow, plan, clock = task.inner, task.inner.plan, outer.emitter.clock
    runner = _new_runner(outer, workflow, call, attempt)
    settled = runner.settled
    clock.around.add(attempt)
    try:
        await runner.execute(lambda *_: None)
        if runner.phase.stop is not None and runner.phase.stop.is_pause:
            await anyio.sleep_forever()  # so is what is around it
        if runner.stop is not runner.own_stop and len(settled.results) < len(plan.tasks):
            await anyio.sleep_forever()  # the end of what is around it cancels it
    finally:
        clock.around.discard(attempt)
        runner.settle_rest(plan.tasks)
        runner.forget()
    await settled.resolve_output(plan)
    return output_of(workflow, settled, runner.own_stop)


async def end_inside(outer: TaskRunner, call: Call, attempt: Attempt, stop: Stop) -> None:
    """Run the `finally` of a workflow that an earlier process began in place of this call."""
    task = outer.emitter.task_of(call)
    assert task.inner is not None
    runner = _new_runner(outer, task.inner, call, attempt)
    runner.end(stop)
    try:
        await runner.execute(lambda *_: None)
    finally:
        runner.settle_rest(task.inner.plan.tasks)
        runner.forget()


def _new_runner(outer: TaskRunner, workflow: Workflow, call: Call, attempt: Attempt) -> TaskRunner:
    settings, emitter = outer.shared.settings, outer.emitter
    emitter = Emitter(emitter.announce, workflow.plan, f"{call.where}/", emitter.clock)
    emitter.trace = attempt.trace
    inputs, about = with_input_defaults(workflow.inputs, call.arguments), workflow.name
    null_is_unknown = outer.settled.scope.null_is_unknown
    settled = Settled(inputs, settings.about(about), null_is_unknown=null_is_unknown)
    schedule = settings.schedule or workflow.own_schedule or outer.schedule
    recorder, began_s = outer.recorder, 0.0
    if recorder is not None:
        began_s = recorder.enter(emitter.within, attempt.number)

    def tasks() -> TaskRunner:
        return runner

    shared = outer.shared.inside(call, attempt)
    budget = workflow.budget
    if budget is None and workflow.plan.finally_ is not None:
        budget = Budget()  # which has no limits, and knows when `finally` runs
    if budget is not None:
        inside = emitter.within, workflow.name
        spending = shared.spending.within(budget, "workflow", tasks, recorder, inside)
        shared = replace(shared, spending=spending)
    of_outer = outer, call.priority, began_s
    runner = type(outer)(workflow, shared, settled, emitter, schedule, *of_outer)
    runner.around = call
    runner.restore()
    attempt.inside = runner
    return runner
