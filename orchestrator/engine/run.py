"""One run: decisions, calls and events, from a plan to a result.

The only module that keeps the state of a run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from contextlib import nullcontext
from typing import Any, TypeGuard

import anyio
from anyio.abc import TaskGroup

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.calls.middleware import with_locks, with_retry, with_slots, with_timeout
from orchestrator.calls.worker_pool import WorkerPool
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import quoted
from orchestrator.engine.decide import Start, decide
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.events import (
    Announcer,
    GenerationStarted,
    Observers,
    RunSettled,
    RunStarted,
    TaskSettled,
)
from orchestrator.engine.executor import Executor, internal
from orchestrator.engine.outcome import Cancelled, Failure, Outcome, Skipped
from orchestrator.engine.priorities import priorities
from orchestrator.engine.result import MadeUp, RunResult, TaskResult
from orchestrator.engine.schedules import BATCH, SCHEDULES, Then
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.engine.summary import Settled, Stop, summarize
from orchestrator.engine.task_state import Decision, RunState, TaskState
from orchestrator.errors import TaskError
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import PLAIN, TaskPlan

# After how many turns of the event loop a call that waits for others first has asked for its slot,
# such as an item of a `for_each`, which has a task of its own.
MOMENT = 4


class Run:
    """One run of a workflow.

    Args:
        workflow: The workflow.
        caller: Makes the calls.
        settings: How the run goes, where that differs from what the workflow says.
        inputs: The inputs, complete (see `orchestrator.workflow.inputs.complete_inputs`).
        servers: The servers that it calls.
        observers: Receive the events.
        settled: Results that exist already, by task: these tasks are not called again.
        made_up: Of a dry run, where the outputs come from, as far as the caller has answered; None
            if the caller calls.

    Raises:
        ValueError: `settled` has an unknown task.
    """

    def __init__(
        self,
        workflow: Workflow,
        caller: Caller,
        settings: RunSettings = RunSettings(),  # noqa: B008  # it is frozen
        *,
        inputs: Mapping[str, Any] | None = None,
        servers: Servers | None = None,
        observers: Observers = (),
        settled: Mapping[str, TaskResult] | None = None,
        made_up: Mapping[str, MadeUp] | None = None,
    ) -> None:
        self.workflow = workflow
        self.plan = workflow.plan
        self.schedule: Schedule = settings.schedule or workflow.schedule
        self.run_id = settings.run_id
        self.result: RunResult | None = None
        given = settings.max_concurrency
        limit = workflow.max_concurrency if given is None else given
        self._limit = limit if limit < len(self.plan.tasks) or self.plan.fans_out else 0
        self._settings = settings
        self._servers = servers or Servers()
        self._made_up = made_up
        self._announce = Announcer(observers)
        self._emitter = Emitter(self._announce, self.plan)
        limited = any(policy.is_limited for policy in self._servers.policies.values())
        self._may_wait = bool(self._limit) or limited
        self._slots = self._new_slots()
        self._settled = Settled(inputs or {})
        self._executor = Executor(
            self._with_policies(caller),
            self.plan,
            self._settled.scope,
            self._servers,
            self._limit,
            self._emitter,
            self.run_id,
        )
        self._jobs: dict[str, TaskState] = {}
        self._unwanted: dict[str, str] = {}
        self._stop: Stop | None = None
        self._cancel_scope = anyio.CancelScope()
        self._began = False
        self._priorities: Mapping[str, float] = {}
        self._carry = self._carry_out  # one bound method for all tasks that wait
        for task, result in (settled or {}).items():
            self._known(task)
            self._settled.add(result)

    def _with_policies(self, caller: Caller) -> Caller:
        """The caller with all middleware for calls that fit their tools, from the inside out."""
        emitter, servers = self._emitter, self._servers
        on_wait, on_start = (emitter.waiting, emitter.started) if self._announce else (None, None)
        in_time = self._unless_ended(with_timeout(caller, on_start))
        attempt = with_slots(in_time, servers.policies, self._slots, on_wait)
        again = with_retry(attempt, emitter.failed, self._settings.random)
        return with_locks(again, servers.locks, on_wait)

    def _unless_ended(self, call_next: Caller) -> Caller:
        """Make no call whose slot came together with the end of the run, which cancels it."""

        def call_unless_ended(call: Call, attempt: Attempt) -> Awaitable[Any]:
            return call_next(call, attempt) if self._stop is None else anyio.sleep_forever()

        return call_unless_ended

    def _new_slots(self) -> WorkerPool | None:
        if not self._limit:
            return None
        policies = self._servers.policies
        named = [policies[name] for name in self.plan.servers if name in policies]
        limited = any(policy.is_limited or policy.writers is not None for policy in named)
        waits_for_slot_only = self._servers.readiness is None and not limited
        moment = 1 if waits_for_slot_only and self.plan.is_plain else MOMENT
        return WorkerPool(self._limit, "a slot of the run", moment)

    def __repr__(self) -> str:
        done, all_tasks = len(self._settled.results), len(self.plan.tasks)
        return f"Run({self.workflow.name!r}, {done} of {all_tasks} tasks settled)"

    def cancel(self, reason: str = "the run was cancelled") -> None:
        """End the run: running calls are cancelled on their servers, nothing new starts.

        `execute` then returns what there is. You can call it before `execute`, too.
        """
        error = TaskError("cancelled", reason, retryable=False)
        self._end(Stop("cancelled", error, Cancelled(reason)))

    def cancel_task(self, task: str, reason: str = "the task was cancelled") -> bool:
        """End one task: its calls are cancelled on their server. The run goes on.

        A task that has not started settles as cancelled when its turn comes.

        Returns:
            Whether it had not settled yet.

        Raises:
            ValueError: The task is unknown.
        """
        self._known(task)
        if task in self._settled.results or self._stop is not None:
            return False
        if (job := self._jobs.get(task)) is not None:
            job.cancel(reason)
        else:
            self._unwanted.setdefault(task, reason)
        return True

    def _known(self, task: str) -> None:
        if task not in self.plan.tasks:
            near = " or ".join(map(quoted, nearest(task, self.plan.tasks)))
            maybe = f". Did you mean {near}?" if near else ""
            workflow = quoted(self.workflow.name)
            raise ValueError(f"workflow {workflow} has no task {quoted(task)}{maybe}")

    def status(self) -> RunState:
        """How many tasks have settled, and each call that is under way."""
        jobs, zero = self._jobs.values(), self._emitter.zero
        running = tuple(activity for job in jobs for activity in job.activities(zero))
        return RunState(len(self._settled.results), len(self.plan.tasks), running)

    async def execute(self) -> RunResult:
        """Run all tasks. You can call it once.

        Returns:
            The result. It holds the failures of tasks, which are never raised.

        Raises:
            RuntimeError: It was called before.
        """
        if self._began:
            raise RuntimeError("a run can be executed once: make another")
        self._began = True
        self._emitter.begin()
        if self._may_wait:
            estimates = self._settings.estimates or {}
            self._priorities = priorities(self.plan, self.schedule, estimates)
        if self._announce:
            about = self.run_id, self.workflow.name, self.schedule
            self._announce(RunStarted(0.0, *about, self.plan.sorted_generations))
        for result in tuple(self._settled.results.values()):
            self._react(result)
        listen = self._servers.listen
        with nullcontext() if listen is None else listen(self._emitter.server):
            try:
                await self._run_tasks()
            except BaseException:
                self._note_end()
                self._finish()
                raise
            return self._finish()

    async def _run_tasks(self) -> None:
        limit_s, readiness = self.workflow.timeout_s, self._servers.readiness
        with self._cancel_scope as scope:
            if limit_s is not None:
                scope.deadline = self._emitter.zero + limit_s
            # Where calls wait for slots, all that are ready are compared before the first starts.
            batch = 0 if self._may_wait else BATCH
            await SCHEDULES[self.schedule](self.plan, self._start, self._on_generation, batch)
            if readiness is not None:
                self._emitter.pause(True)
                await readiness.checked()
        self._emitter.pause(False)
        if scope.cancelled_caught:
            self._note_end()

    def _on_generation(self, number: int, tasks: list[str]) -> None:
        if self._announce and self._stop is None:
            self._announce(GenerationStarted(self._emitter.now_ms(), number, sorted(tasks)))

    def _start(self, tasks: TaskGroup, task_id: str, then: Then) -> None:
        """Decide on a task, and settle it or have it carried out."""
        if self._stop is not None:
            return
        if task_id in self._settled.results:
            then(task_id)
            return
        task = self.plan.tasks[task_id]
        job = TaskState(task, (self._priorities.get(task_id, 0.0), task.index))
        decision = self._decide(job)
        if isinstance(decision, Skipped | Cancelled) or _is_final(decision, task):
            self._settle(job, decision)
            then(task_id)
            return
        self._jobs[task_id] = job
        job.decision = decision
        if isinstance(decision, Call):
            attempt = self._executor.start_call(job, decision)
            if self._slots is not None and attempt.has_slot:
                self._queue(tasks, job, decision, attempt, then)
                return
        tasks.start_soon(self._carry, job, then)

    def _queue(
        self, tasks: TaskGroup, job: TaskState, call: Call, attempt: Attempt, then: Then
    ) -> None:
        """Have a task carried out that waits for a slot of the run and nothing else."""
        assert self._slots is not None
        attempt.queued_at = anyio.current_time()
        attempt.end_by = self._slots
        if self._announce and self._slots.is_busy():
            self._emitter.waiting(call, attempt)
        self._slots.start_soon(tasks, self._carry, job, then, priority=job.priority, who=attempt)

    def _decide(self, job: TaskState) -> Decision | Skipped | Cancelled:
        task = job.task
        if task.id in self._unwanted:
            return Cancelled(self._unwanted[task.id])
        try:
            decision = decide(task, self._settled.scope)
            is_ready = task.policies is PLAIN and self._servers.readiness is None
            if is_ready and isinstance(decision, Start):
                return self._executor.prepare(job, decision)
            return decision
        except Exception as bug:
            return Failure(internal(bug, task.id))

    async def _carry_out(self, job: TaskState, then: Then) -> None:
        """Carry a task out until it has settled. Raises nothing but cancellation."""
        if self._stop is not None:  # its slot came together with the end of the run
            return
        try:
            outcome = await self._executor.perform(job)
        except BaseException:
            # Cancelled. If nothing was called, the outcome depends on the reason: see _finish.
            del self._jobs[job.task.id]
            if job.has_begun:
                reason = self._note_end().not_begun.reason
                self._settle(job, _cancelled(job, reason, self._emitter.zero))
            raise
        del self._jobs[job.task.id]
        if job.reason is not None and isinstance(outcome, Failure):
            outcome = _cancelled(job, job.reason, self._emitter.zero)
        self._settle(job, outcome)
        then(job.task.id)

    def _note_end(self) -> Stop:
        """Why the tasks are cancelled: by us, or else by the limit of the run or from outside."""
        limit_s = self.workflow.timeout_s
        if self._stop is None and anyio.current_time() >= self._cancel_scope.deadline:
            reason = f"the run reached its limit of {limit_s:g} s"
            error = TaskError("timeout", reason, retryable=True, details={"timeout_s": limit_s})
            self._stop = Stop("cancelled", error, Cancelled(reason))
        elif self._stop is None:
            self.cancel("the run was cancelled from outside")
        assert self._stop is not None
        return self._stop

    def _settle(self, job: TaskState, outcome: Outcome) -> None:
        result = job.result(outcome, self._emitter.zero)
        self._settled.add(result)
        self._react(result)

    def _react(self, result: TaskResult) -> None:
        """Report a task that has settled, and end the run if its failure is to do that."""
        if isinstance(result.outcome, Failure):
            self._end_if_decisive(self.plan.tasks[result.id], result.outcome.error)
        if self._announce:
            self._announce(TaskSettled(self._emitter.now_ms(), result.id, result))

    def _end_if_decisive(self, task: TaskPlan, error: TaskError) -> None:
        if task.policies.critical:
            reason = f"task {quoted(task.id)} failed, and it is critical"
        elif self.workflow.on_error == "fail_fast":
            reason = f"task {quoted(task.id)} failed, and on_error is fail_fast"
        else:
            return
        self._end(Stop("failed", error, Skipped(reason)))

    def _end(self, stop: Stop) -> None:
        if self._stop is None:
            self._stop = stop
            self._cancel_scope.cancel()

    def _finish(self) -> RunResult:
        """Settle what has not begun, and put the result together."""
        duration_ms = self._emitter.now_ms()
        for task in self.plan.tasks.values():
            if task.id not in self._settled.results:
                assert self._stop is not None, f"task {task.id!r} was lost"
                self._settle(TaskState(task), self._stop.not_begun)
        self.result = summarize(
            self.workflow,
            self._settled,
            schedule=self.schedule,
            slots=self._limit,
            duration_ms=duration_ms,
            stop=self._stop,
            run_id=self.run_id,
            started_at=self._settings.started_at,
            made_up=self._made_up,
        )
        if self._announce:
            self._announce(RunSettled(duration_ms, self.result))
        return self.result


def _is_final(decision: Decision, task: TaskPlan) -> TypeGuard[Failure]:
    """Whether a task failed before its call, and has no fallback."""
    return isinstance(decision, Failure) and task.policies.fallback is None


def _cancelled(job: TaskState, reason: str, zero: float) -> Cancelled:
    """The outcome of a task that was ended; it keeps the outputs of its items."""
    if job.items is None:
        return Cancelled(reason)
    job.end_items(zero)
    return Cancelled(reason, [item.output for item in filter(None, job.items)])
