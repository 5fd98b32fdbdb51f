"""Runs the tasks of a workflow: those of a run, or of a workflow that a task runs inside it.

Longer than other files: this one class keeps the state of a run, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Mapping
from typing import Any

import anyio

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.limits import Priority
from orchestrator.calls.worker_pool import Starter
from orchestrator.engine.asking import Asking
from orchestrator.engine.decide import Start, StartEach, decide
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.executor import Executor
from orchestrator.engine.outcome import Cancelled, Failure, Outcome, Skipped, Success, Waiting
from orchestrator.engine.phase import Phase
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.result import TaskResult
from orchestrator.engine.schedules import (
    BATCH,
    SCHEDULES,
    OnGeneration,
    Passing,
    Then,
    chain,
    generations,
)
from orchestrator.engine.settled import Settled
from orchestrator.engine.shared import Shared
from orchestrator.engine.summary import Stop, output_of, stop_after
from orchestrator.engine.task_state import Activity, Decision, TaskState, internal
from orchestrator.workflow.inputs import with_input_defaults
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import PLAIN, Plan


class TaskRunner:
    """Runs the tasks of one workflow.

    Args:
        workflow: The workflow.
        shared: What its tasks have in common with all others of the run.
        settled: Takes their results.
        emitter: Reports what happens to them.
        schedule: When they start.
        outer: What a task runs this workflow inside of; None for the run itself.
        priority: Where calls wait for a slot, that of the task around them.
        began_s: How long ago earlier processes began to run it, seconds.
    """

    def __init__(
        self,
        workflow: Workflow,
        shared: Shared,
        settled: Settled,
        emitter: Emitter,
        schedule: Schedule,
        outer: TaskRunner | None = None,
        priority: Priority = (),
        began_s: float = 0.0,
    ) -> None:
        self._workflow, self._plan, self._schedule = workflow, workflow.plan, schedule
        self._shared, self._settled, self._emitter = shared, settled, emitter
        self._outer, self._priority = outer, priority
        self._recorder = shared.settings.recorder
        self._reuse = shared.settings.reuse if outer is None else None
        self._main = self._phase = Phase(workflow.timeout_s, "the run reached its limit", began_s)
        self._end_of_all: Stop | None = None  # why the tasks of `finally` end, too
        self._own_stop: Stop | None = None  # and not that of what is around it
        has_ended = lambda: self._phase.stop is not None  # noqa: E731  # a method would cost every call
        self._passing: Passing | None = None
        asking = None
        if shared.questions is not None and shared.may_ask(self._plan):
            of_asking = shared.servers, self._recorder, emitter, self._note_question
            asking, self._passing = Asking(shared.questions, *of_asking), Passing()
        of_calls = emitter, has_ended, self._inside, asking
        self._executor = Executor(shared, workflow, settled.scope, *of_calls)
        self._jobs: dict[str, TaskState] = {}
        self._cancelled_early: dict[str, str] = {}
        self._priorities: Mapping[str, float] = {}
        self._carry = self._carry_out  # one bound method for all tasks that wait

    @property
    def stop(self) -> Stop | None:
        """Why its tasks ended early, those of `finally` apart; None if they did not."""
        return self._main.stop

    @property
    def is_complete(self) -> bool:
        """Whether every task has settled."""
        return len(self._settled.results) == len(self._plan.tasks)

    @property
    def results(self) -> Mapping[str, TaskResult]:
        """The results of the tasks that have settled, by id."""
        return self._settled.results

    def activities(self) -> Iterator[Activity]:
        """Each call that is under way."""
        zero = self._emitter.clock.zero
        return (each for job in self._jobs.values() for each in job.activities(zero))

    @property
    def is_idle(self) -> bool:
        """Whether nothing but questions is left of it."""
        return bool(self._jobs) and all(job.is_blocked for job in self._jobs.values())

    def _note_question(self, call: Call) -> None:
        """A call waits for an answer: what does not need it goes on."""
        task = call.task[len(self._emitter.within) :]
        if self._passing is not None:
            self._passing.go_past(task)
        if (job := self._jobs.get(task)) is not None and job.more is not None:
            job.more()
        if self._outer is not None:
            around = self._emitter.within[len(self._outer._emitter.within) : -1]
            item = around.partition("[")[0]
            self._outer._note_question(call._replace(task=self._outer._emitter.within + item))

    def cancel_task(self, task: str, reason: str) -> bool:
        """End one task; whether it had not settled yet. See `Run.cancel_task`."""
        if task in self._settled.results or self._phase.stop is not None:
            return False
        if (job := self._jobs.get(task)) is not None:
            job.cancel(reason)
        else:
            self._cancelled_early.setdefault(task, reason)
        return True

    async def execute(self, on_generation: OnGeneration) -> None:
        """Run the tasks, and then those of `finally`.

        If it is cancelled, those that have begun settle as cancelled; `finally` runs all the same.
        """
        if self._shared.may_wait:
            self._priorities = self._shared.priorities_of(
                self._plan, self._schedule, is_inside=self._outer is not None
            )
        try:
            if await self._main.run(self._run_tasks(on_generation)):
                self.note_end()
        except BaseException:
            self.note_end()
            raise
        finally:
            if self._outer is None:
                self._emitter.clock.pause(False)
            is_paused = self._main.stop is not None and self._main.stop.is_pause
            if self._plan.finally_ is not None and not is_paused:
                await self._run_finally(self._plan.finally_)

    async def _run_tasks(self, on_generation: OnGeneration) -> None:
        await self._follow(self._plan, on_generation)
        readiness = self._shared.servers.readiness
        if readiness is not None and self._outer is None:
            self._emitter.clock.pause(True)
            await readiness.checked()

    def _follow(self, plan: Plan, on_generation: OnGeneration) -> Awaitable[None]:
        # Where calls wait for slots, all that are ready are compared before the first starts.
        batch = 0 if self._shared.may_wait else BATCH
        # In the run itself, tasks are queued for slots together with their task group.
        is_chain = self._outer is not None and plan.is_chain
        schedule = chain if is_chain else SCHEDULES[self._schedule]
        if self._passing is not None and schedule is generations:
            schedule = self._passing.generations
        self._executor.set_lane(is_chain)
        return schedule(plan, self._start, on_generation, batch)

    async def _run_finally(self, plan: Plan) -> None:
        """Run the tasks of `finally`: what has ended the others does not end these."""
        self.settle_rest(self._plan.graph)
        what = "the tasks of finally reached their limit"
        began_s, limit_s, recorder = 0.0, self._workflow.finally_timeout_s, self._recorder
        if recorder is not None and limit_s is not None:
            began_s = recorder.began(f"{self._emitter.within}finally")
        self._phase = Phase(limit_s, what, began_s=began_s, shield=True)
        if self._end_of_all is not None:
            self._phase.end(self._end_of_all)
        if await self._phase.run(self._follow(plan, lambda *_: None)):
            self.note_end()

    def _start(self, tasks: Starter, task_id: str, then: Then) -> None:
        if self._phase.stop is not None:
            return
        # It came with `settled`: its dependents may start, and nothing is called.
        if task_id in self._settled.results:
            then(task_id)
            return
        task = self._plan.tasks[task_id]
        priority: Priority = (self._priorities.get(task_id, 0.0), task.index)
        job = TaskState(task, priority)
        if self._outer is not None:
            job.priority, job.within = (*self._priority, *priority), self._emitter.within
        decision = self._decide(job)
        if isinstance(decision, TaskResult):
            self._keep(decision)
            then(task_id)
            return
        if isinstance(decision, Skipped | Cancelled | Success) or (
            isinstance(decision, Failure) and task.policies.fallback is None
        ):
            self._settle(job, decision)
            then(task_id)
            return
        self._jobs[task_id] = job
        job.decision = decision
        self._executor.start(tasks, job, self._carry, then)

    def _decide(
        self, job: TaskState
    ) -> Decision | TaskResult | Success | Skipped | Cancelled | None:
        task = job.task
        if task.id in self._cancelled_early:
            return Cancelled(self._cancelled_early[task.id])
        try:
            decision = decide(task, self._settled.quick_scope)
            if self._reuse is not None and isinstance(decision, Start | StartEach):
                known = self._reuse.result(task, decision, self._settled.scope)
                if known is not None:
                    return known
            # The common task: its call is prepared here, so that it can wait in the queue of slots.
            is_ready = task.policies is PLAIN and self._shared.servers.readiness is None
            if is_ready and isinstance(decision, Start):
                return self._executor.prepare(job, decision)
            return decision
        # One task pays for a bug; an exception here would take the whole task group down.
        except Exception as bug:
            return Failure(internal(bug, task.id))

    async def _carry_out(self, job: TaskState, then: Then) -> None:
        """Carry a task out until it has settled. Raises nothing but cancellation."""
        if self._phase.stop is not None:  # its slot came together with the end of the run
            return
        try:
            outcome = await self._executor.perform(job)
        except BaseException:
            # Cancelled. If nothing was called, the outcome depends on the reason: see settle_rest.
            del self._jobs[job.task.id]
            stop = self.note_end()
            if job.has_begun:
                self._settle(job, job.ended_by(stop.not_begun, self._emitter.clock.zero))
            raise
        del self._jobs[job.task.id]
        if job.reason is not None and isinstance(outcome, Failure):
            outcome = job.cancelled(job.reason, self._emitter.clock.zero)
        self._settle(job, outcome)
        then(job.task.id)

    async def _inside(self, call: Call, attempt: Attempt) -> Any:
        """Run the workflow of a task, or of an item of it.

        Raises:
            CallError: A task in it failed, or it was cancelled.
        """
        if self._phase.stop is not None:  # it came together with the end, which cancels it
            await anyio.sleep_forever()
        task = self._emitter.task_of(call)
        assert task.inner is not None
        workflow, plan, settings = task.inner, task.inner.plan, self._shared.settings
        item = "" if call.item is None else f"[{call.item}]"
        clock, scope = self._emitter.clock, self._settled.scope
        emitter = Emitter(self._emitter.announce, plan, f"{call.task}{item}/", clock)
        inputs, about = with_input_defaults(workflow.inputs, call.arguments), workflow.name
        settled = Settled(inputs, settings.about(about), null_is_unknown=scope.null_is_unknown)
        shared = self._shared.inside(call, attempt)
        schedule = settings.schedule or workflow.own_schedule or self._schedule
        began_s = 0.0
        if self._recorder is not None:
            began_s = self._recorder.enter(emitter.within, attempt.number)
        of_outer = self, call.priority, began_s
        runner = TaskRunner(workflow, shared, settled, emitter, schedule, *of_outer)
        runner.restore()
        attempt.inside = runner
        clock.around.add(attempt)
        try:
            await runner.execute(lambda *_: None)
            if runner.stop is not runner._own_stop and not runner.is_complete:
                await anyio.sleep_forever()  # the end of what is around it cancels it
        finally:
            clock.around.discard(attempt)
            runner.settle_rest(plan.tasks)
            runner._executor.forget()
            del runner._executor, runner._carry  # in a circle, they would be garbage of each item
        await settled.resolve_output(plan)
        return output_of(workflow, settled, runner._own_stop)

    def note_end(self) -> Stop:
        """Why the tasks are cancelled: by us, or else by the limit of the run or from outside."""
        otherwise = Stop.cancelled("the run was cancelled from outside")
        if self._outer is not None:
            otherwise = self._outer._phase.stop or Stop.cancelled("its task was ended")
        stop = self._phase.why(otherwise)
        end = self.end if self._phase is self._main else self._phase.end
        end(stop)
        return stop

    def restore(self) -> None:
        """Take over the tasks that settled while earlier processes carried the run."""
        if self._recorder is not None:
            wrapped = self._settled.scope.wrapped
            for result in self._recorder.settled(self._emitter.within, wrapped).values():
                self._settled.add(result)
                self.react(result)

    def _settle(self, job: TaskState, outcome: Outcome) -> None:
        self._keep(job.result(outcome, self._emitter.clock.zero))

    def _keep(self, result: TaskResult) -> None:
        self._settled.add(result)
        if self._recorder is not None:
            self._note(result, self._recorder)
        self.react(result)

    def _note(self, result: TaskResult, recorder: Recorder) -> None:
        # What ends a workflow inside may be an attempt that is made again: kept with its task.
        is_cancelled = self._outer is not None and isinstance(result.outcome, Cancelled)
        if not is_cancelled and not isinstance(result.outcome, Waiting):
            path = self._emitter.within + result.id
            recorder.note_settled(path, result, self._settled.scope.wrapped)

    def react(self, result: TaskResult) -> None:
        """Report a task that has settled, and end the run if that is its consequence."""
        policies = self._plan.tasks[result.id].policies
        if policies is not PLAIN or isinstance(result.outcome, Failure):
            self._end_after(result)
        if self._emitter.announce:
            self._emitter.settled(result)

    def _end_after(self, result: TaskResult) -> None:
        stop = stop_after(self._workflow, result)
        if stop is not None and self._phase is self._main:
            self._own_stop = self._own_stop or stop  # also in the moment in which the run ends
            self.end(stop)

    def end(self, stop: Stop) -> None:
        """End the tasks, unless they have ended; nothing ends those of `finally` with them."""
        if self._phase is self._main and self.stop is None:
            self._own_stop = stop
            if self._recorder is not None and self._outer is None and not stop.is_pause:
                self._recorder.note_stop(stop)
            self.note_stop(stop)
            self._main.end(stop)
            if self._outer is None and self._shared.slots is not None:
                self._shared.slots.forget_queued()

    def end_all(self, stop: Stop) -> None:
        """End the tasks, and those of `finally`, too."""
        self.end(stop)
        self._end_of_all = stop
        if self._phase is not self._main:
            self._main.stop = self.stop or stop
            self._phase.end(stop)
        for job in self._jobs.values():
            for inside in job.inside:
                inside.end_all(stop)

    def note_stop(self, stop: Stop) -> None:
        """Make no further call, and let all that runs inside make none, apart from `finally`."""
        if self._phase is not self._main:
            return
        self._main.stop = self.stop or stop
        for job in self._jobs.values():
            for inside in job.inside:
                inside.note_stop(stop)

    def settle_rest(self, tasks: Iterable[str]) -> None:
        """Settle those of the tasks that have not begun."""
        if self.is_complete:
            return
        for task in tasks:
            if task not in self._settled.results:
                # Without a stop every task settles: anything else is a bug, and must not be silent.
                stop = self.note_end() if self._outer else self._phase.stop
                assert stop is not None, f"task {task!r} was lost"
                self._jobs.pop(task, None)
                self._settle(TaskState(self._plan.tasks[task]), stop.not_begun)
