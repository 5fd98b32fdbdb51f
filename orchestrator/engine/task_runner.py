"""Runs the tasks of a workflow: those of a run, or of a workflow that a task runs inside it.

Longer than other files: this one class keeps the state of a run, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator, Mapping
from functools import partial

from orchestrator.calls.call import Call
from orchestrator.calls.limits import Priority
from orchestrator.calls.worker_pool import Starter
from orchestrator.engine.asking import asking_of
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.ending import end_begun
from orchestrator.engine.executor import Executor
from orchestrator.engine.growth import Growing
from orchestrator.engine.inside import run_inside
from orchestrator.engine.outcome import Cancelled, Failure, Outcome, Skipped, Success, Waiting
from orchestrator.engine.phase import Phase
from orchestrator.engine.priorities import OTHERS
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
from orchestrator.engine.summary import Stop, stop_after
from orchestrator.engine.task_state import Activity, TaskState
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
        self._workflow, self._plan, self.schedule = workflow, workflow.plan, schedule
        self.shared, self.settled, self.emitter = shared, settled, emitter
        self.results: Mapping[str, TaskResult] = settled.results
        self._outer, self._priority = outer, priority
        self.around: Call | None = None  # what it runs in place of
        self.recorder = shared.settings.recorder
        limits = shared.limits(workflow.timeout_s, None if outer is None else outer.shared)
        self._main = self.phase = Phase(limits, began_s)
        self.end_of_all: Stop | None = None  # why the tasks of `finally` end, too
        self.own_stop: Stop | None = None  # and not that of what is around it
        has_ended = lambda: self.phase.stop is not None  # noqa: E731  # a method would cost every call
        self.growing: Growing | None = None  # starts the tasks of a plan that grows
        asking = asking_of(shared, self._plan, emitter, self._note_question)
        self._passing = None if asking is None else Passing()
        of_calls = emitter, has_ended, partial(run_inside, self), asking
        self.executor = Executor(shared, workflow, settled, *of_calls)
        self._jobs: dict[str, TaskState] = {}
        self._cancelled_early: dict[str, str] = {}
        self._priorities: Mapping[str, float] = {}
        self._carry = self._carry_out  # one bound method for all tasks that wait

    @property
    def stop(self) -> Stop | None:
        """Why its tasks ended early, those of `finally` apart; None if they did not."""
        return self._main.stop

    @property
    def is_in_finally(self) -> bool:
        """Whether its tasks have ended, and those of `finally` run."""
        return self.phase is not self._main

    def activities(self) -> Iterator[Activity]:
        """Each call that is under way."""
        zero, told = self.emitter.clock.zero, self.emitter.with_progress
        return (told(each) for job in self._jobs.values() for each in job.activities(zero))

    def items_under_way(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Of each `for_each` under way, how many items have settled, of how many."""
        return (each for job in self._jobs.values() for each in job.items_under_way())

    @property
    def is_idle(self) -> bool:
        """Whether nothing but questions is left of it."""
        return bool(self._jobs) and all(job.is_blocked for job in self._jobs.values())

    def _note_question(self, call: Call) -> None:
        """A call waits for an answer: what does not need it goes on."""
        task = call.task[len(self.emitter.within) :]
        for each in (self._passing, self.growing):
            if each is not None:
                each.go_past(task)
        if (drain := self.shared.settings.drain) is not None:
            drain.check()
        if (job := self._jobs.get(task)) is not None and job.more is not None:
            job.more()
        if self._outer is not None and self.around is not None:
            self._outer._note_question(self.around)

    def cancel_task(self, task: str, reason: str) -> bool:
        """End one task; whether it had not settled yet. See `Run.cancel_task`."""
        if task in self.settled.results or self.phase.stop is not None:
            return False
        if (job := self._jobs.get(task)) is not None:
            job.cancel(reason)
        else:
            self._cancelled_early.setdefault(task, reason)
        return True

    def stop_items(self, task: str, reason: str) -> None:
        """Let no further item of a task begin. See `Run.stop_items`."""
        if (job := self._jobs.get(task)) is not None and job.not_begun is None:
            job.stop_items(reason)

    def complete(self, workflow: Workflow) -> None:
        """Run the rest of a plan that has grown to this workflow."""
        self._workflow, self._plan = workflow, workflow.plan

    async def execute(self, on_generation: OnGeneration) -> None:
        """Run the tasks, and then those of `finally`.

        If it is cancelled, those that have begun settle as cancelled; `finally` runs all the same.
        """
        where = {"is_inside": self._outer is not None, "grows": self.growing is not None}
        self._priorities = self.shared.priorities_of(self._plan, self.schedule, **where)
        self._last = self._priorities.get(OTHERS, 0.0)  # of tasks that have none
        try:
            if await self._main.run(self._run_tasks(on_generation)):
                self.note_end()
        except BaseException:
            self.note_end()
            raise
        finally:
            if self._outer is None:
                self.emitter.clock.pause(False)
            if self._main.stop is None or not self._main.stop.is_pause:
                await end_begun(self, self._plan, self._jobs)
                if self._plan.finally_ is not None:
                    await self._run_finally(self._plan.finally_)

    async def _run_tasks(self, on_generation: OnGeneration) -> None:
        await self._follow(self._plan, on_generation)
        readiness = self.shared.servers.readiness
        if readiness is not None and self._outer is None:
            self.emitter.clock.pause(True)
            await readiness.checked()

    def _follow(self, plan: Plan, on_generation: OnGeneration) -> Awaitable[None]:
        # Where calls wait for slots, all that are ready are compared before the first starts.
        batch = 0 if self.shared.may_wait else BATCH
        # In the run itself, tasks are queued for slots together with their task group.
        is_chain = self._outer is not None and plan.is_chain
        schedule = chain if is_chain else SCHEDULES[self.schedule]
        if self._passing is not None and schedule is generations:
            schedule = self._passing.generations
        if self.growing is not None and plan is self._plan:
            schedule = self.growing.schedule
        self.executor.set_lane(is_chain)
        return schedule(plan, self._start, on_generation, batch)

    async def _run_finally(self, plan: Plan) -> None:
        """Run the tasks of `finally`: what has ended the others does not end these."""
        self.settle_rest(self._plan.graph)
        began_s, now_s = 0.0, self.emitter.clock.now_s
        if self.recorder is not None:  # no time counts in which no process carries the run
            began_s = now_s - self.recorder.since(f"{self.emitter.within}finally", now_s)
        granted = self.shared.spending.limits_of_finally(now_s, began_s)
        self.phase = Phase.of_finally(self._workflow.finally_timeout_s, began_s, granted)
        if self.end_of_all is not None:
            self.phase.end(self.end_of_all)
        if await self.phase.run(self._follow(plan, lambda *_: None)):
            self.note_end()
        self.shared.spending.end_run_after(self.phase.stop)

    def _start(self, tasks: Starter, task_id: str, then: Then) -> None:
        if self.phase.stop is not None:
            return
        # It came with `settled`: its dependents may start, and nothing is called.
        if task_id in self.settled.results:
            then(task_id)
            return
        task = self._plan.tasks[task_id]
        priority: Priority = (self._priorities.get(task_id, self._last), task.index)
        job = TaskState(task, priority)
        if self._outer is not None:
            job.priority, job.within = (*self._priority, *priority), self.emitter.within
        decision = self.executor.decide(job, self._cancelled_early.get(task_id))
        if isinstance(decision, TaskResult):
            self._keep(decision)
            then(task_id)
            return
        if isinstance(decision, Skipped | Cancelled | Success) or (
            isinstance(decision, Failure) and task.policies.fallback is None
        ):
            self.settle(job, decision)
            then(task_id)
            return
        self._jobs[task_id] = job
        job.decision = decision
        self.executor.start(tasks, job, self._carry, then)

    async def _carry_out(self, job: TaskState, then: Then) -> None:
        """Carry a task out until it has settled. Raises nothing but cancellation."""
        if self.phase.stop is not None:  # its slot came together with the end of the run
            return
        try:
            outcome = await self.executor.perform(job)
        except BaseException:
            # Cancelled. If nothing was called, the outcome depends on the reason: see settle_rest.
            del self._jobs[job.task.id]
            stop = self.note_end()
            if job.has_begun or stop.is_pause:
                self.settle(job, job.ended_by(stop.not_begun, self.emitter.clock.zero))
            raise
        del self._jobs[job.task.id]
        if job.reason is not None and isinstance(outcome, Failure):
            outcome = job.cancelled(job.reason, self.emitter.clock.zero)
        self.settle(job, outcome)
        then(job.task.id)

    def forget(self) -> None:
        """Forget what would be in a circle, the garbage of each item: nothing follows."""
        self.executor.forget()
        del self.executor, self._carry

    def note_end(self) -> Stop:
        """Why the tasks are cancelled: by us, or else by the limit of the run or from outside."""
        otherwise = Stop.cancelled("the run was cancelled from outside")
        if self._outer is not None:
            otherwise = self._outer.phase.stop or Stop.cancelled("its task was ended")
        stop = self.phase.why(otherwise)
        (self.end if self.phase is self._main else self.phase.end)(stop)
        return stop

    def restore(self) -> None:
        """Take over the tasks that settled while earlier processes carried the run."""
        if self.recorder is not None:
            wrapped = self.settled.scope.wrapped
            for result in self.recorder.settled(self.emitter.within, wrapped).values():
                self.settled.add(result)
                self.react(result)

    def settle(self, job: TaskState, outcome: Outcome) -> None:
        """A task has come to this."""
        result = job.result(outcome, self.emitter.clock.zero)
        if self.emitter.trace is not None:
            self.emitter.end(result)
        self._keep(result)

    def _keep(self, result: TaskResult) -> None:
        self.settled.add(result)
        if self.recorder is not None:
            # What ends a workflow inside may be an attempt that is made again: kept with its task.
            passes = (Cancelled, Waiting) if self._outer is not None else Waiting
            if not isinstance(result.outcome, passes):
                path = self.emitter.within + result.id
                self.recorder.note_settled(path, result, self.settled.scope.wrapped)
        self.react(result)

    def react(self, result: TaskResult) -> None:
        """Report a task that has settled, and end the run if that is its consequence."""
        if self._plan.tasks[result.id].policies is not PLAIN or isinstance(result.outcome, Failure):
            self._end_after(result)
        if self.emitter.announce:
            self.emitter.settled(result)

    def _end_after(self, result: TaskResult) -> None:
        stop = stop_after(self._workflow, result)
        if stop is not None and self.phase is self._main:
            self.own_stop = self.own_stop or stop  # also in the moment in which the run ends
            self.end(stop)

    def end(self, stop: Stop) -> None:
        """End the tasks, unless they have ended; nothing ends those of `finally` with them."""
        if self.phase is self._main and self.stop is None:
            self.own_stop = stop
            if self.recorder is not None and self._outer is None and not stop.is_pause:
                self.recorder.note_stop(stop)
            self.note_stop(stop)
            self._main.end(stop)
            if self._outer is None and self.shared.slots is not None:
                self.shared.slots.forget_queued()

    def end_all(self, stop: Stop) -> None:
        """End the tasks, and those of `finally`, too."""
        self.end(stop)
        self.end_of_all = stop
        if self.phase is not self._main:
            if self.stop is None and self.recorder is not None and self._outer is None:
                self.recorder.note_stop(stop)
            self._main.stop = self.stop or stop
            self.phase.end(stop)
        for job in self._jobs.values():
            for inside in job.inside:
                inside.end_all(stop)

    def pause(self, stop: Stop) -> None:
        """End the tasks, those of `finally` too, until another process goes on with them."""
        for job in self._jobs.values():
            for inside in job.inside:
                inside.pause(stop)
        if self.phase is self._main:
            self.end(stop)
            return
        self.phase.end(stop)
        if self.recorder is not None:
            self.recorder.begin_anew(f"{self.emitter.within}finally")

    def note_stop(self, stop: Stop) -> None:
        """Make no further call, and let all that runs inside make none, apart from `finally`."""
        if self.phase is not self._main:
            return
        self._main.stop = self.stop or stop
        for job in self._jobs.values():
            for inside in job.inside:
                inside.note_stop(stop)

    def settle_rest(self, tasks: Iterable[str]) -> None:
        """Settle those of the tasks that have not begun."""
        for task in tasks:
            if task not in self.settled.results:
                # Without a stop every task settles: anything else is a bug, and must not be silent.
                stop = self.note_end() if self._outer else self.phase.stop
                assert stop is not None, f"task {task!r} was lost"
                self._jobs.pop(task, None)
                self.settle(TaskState(self._plan.tasks[task]), stop.not_begun)
