"""A run: decisions, calls and events, from a plan to a result.

The rule of this file: it connects what the other files decide, and is the only one that keeps the
state of a run. Each task settles exactly once; what ends the run early is written down in `_stop`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeGuard

import anyio
from anyio.abc import TaskGroup

from orchestrator.calls.call import Attempt, Call, Caller, Gate, ServerPolicy
from orchestrator.calls.limits import Locks
from orchestrator.calls.middleware import (
    Random,
    no_jitter,
    with_locks,
    with_retry,
    with_slots,
    with_timeout,
)
from orchestrator.calls.worker_pool import WorkerPool
from orchestrator.documents.suggest import nearest
from orchestrator.engine.decide import Start, StartEach, decide
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.events import (
    Announcer,
    GenerationStarted,
    Observers,
    OnEvent,
    RunSettled,
    RunStarted,
    TaskSettled,
)
from orchestrator.engine.executor import Executor, internal
from orchestrator.engine.outcome import Cancelled, Failure, Outcome, Skipped, Success
from orchestrator.engine.priorities import priorities
from orchestrator.engine.result import MadeUp, RunResult, TaskResult
from orchestrator.engine.schedules import BATCH, SCHEDULES, Then
from orchestrator.engine.summary import Stop, summarize
from orchestrator.engine.task_state import RunState, TaskState
from orchestrator.errors import TaskError
from orchestrator.expressions.scope import Scope
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import TaskPlan

logger = logging.getLogger("orchestrator")

# Turns of the event loop until a call has asked for its slot that waits for others before, such as
# an item of a `for_each`, which has a task of its own.
MOMENT = 4

NO_TOOLS: Mapping[str, Tool] = {}
NO_POLICIES: Mapping[str, ServerPolicy] = {}
Listen = Callable[[OnEvent], AbstractContextManager[None]]


class Run:
    """One run of a workflow.

    Args:
        workflow: What to run.
        caller: Makes the calls.
        inputs: The inputs, complete (see `orchestrator.workflow.inputs.complete_inputs`).
        tools: Each tool that is known, by `server:tool`.
        servers: What the configuration says about calls, by server.
        locks: The names that tasks hold; shared by runs that may get in each other's way.
        listen: Tells of what happens to the servers while it is entered.
        gate: Holds calls back, and the end of the run; None if nothing has to wait.
        random: Gives numbers from 0 to 1 for the jitter of retries; by default there is none.
        observers: Who is told the events.
        schedule: Instead of the workflow's.
        max_concurrency: Instead of the workflow's.
        estimates: What one call of a task is expected to take, seconds, by task id; see
            `orchestrator.engine.priorities`.
        run_id: A name for this run.
        started_at: The time of day, ISO 8601, for the document.
        made_up: Of a dry run, where the outputs came from, as far as the caller has answered; None
            if the caller calls.
    """

    def __init__(
        self,
        workflow: Workflow,
        caller: Caller,
        *,
        inputs: Mapping[str, Any] | None = None,
        tools: Mapping[str, Tool] = NO_TOOLS,
        servers: Mapping[str, ServerPolicy] = NO_POLICIES,
        locks: Locks | None = None,
        listen: Listen | None = None,
        gate: Gate | None = None,
        random: Random = no_jitter,
        observers: Observers = (),
        schedule: Schedule | None = None,
        max_concurrency: int | None = None,
        estimates: Mapping[str, float] | None = None,
        run_id: str = "run",
        started_at: str = "1970-01-01T00:00:00Z",
        made_up: Mapping[str, MadeUp] | None = None,
    ) -> None:
        self.workflow = workflow
        self.plan = workflow.plan
        self.schedule: Schedule = schedule or workflow.schedule
        self.run_id = run_id
        self.result: RunResult | None = None
        limit = workflow.max_concurrency if max_concurrency is None else max_concurrency
        self._limit = limit if limit < len(self.plan.tasks) or self.plan.fans_out else 0
        self._tools = tools
        self._listen = listen
        self._gate = gate
        self._started_at = started_at
        self._made_up = made_up
        self._announce = Announcer(observers)
        self._report = Emitter(self._announce, self.plan)
        self._clock = self._report.clock
        self._may_wait = bool(self._limit) or any(each.is_limited for each in servers.values())
        self._crew = self._new_crew(servers)
        self._outputs: dict[str, Any] = {}
        self._statuses: dict[str, str] = {}
        self._errors: dict[str, Any] = {}
        self._scope = Scope(self._outputs, self._statuses, self._errors, inputs or {})
        self._performer = Executor(
            self._with_policies(caller, servers, locks or Locks(), random),
            self._scope,
            tools=tools,
            servers=servers,
            limit=self._limit,
            reporter=self._report,
            run_id=run_id,
            gate=gate,
        )
        self._results: dict[str, TaskResult] = {}
        self._jobs: dict[str, TaskState] = {}
        self._unwanted: dict[str, str] = {}
        self._stop: Stop | None = None
        self._cancel_scope = anyio.CancelScope()
        self._began = False
        self._held = 0
        self._estimates = estimates or {}
        self._priorities: Mapping[str, float] = {}
        self._carry = self._carry_out  # one bound method for all tasks that wait

    def _with_policies(
        self,
        caller: Caller,
        servers: Mapping[str, ServerPolicy],
        locks: Locks,
        random: Random,
    ) -> Caller:
        """The caller with everything that is around each call, from the inside out."""
        report = self._report
        on_wait, on_start = (report.waiting, report.started) if self._announce else (None, None)
        in_time = self._unless_ended(with_timeout(caller, on_start))
        attempt = with_slots(in_time, servers, self._crew, on_wait)
        return with_locks(with_retry(attempt, report.failed, random), locks, on_wait)

    def _new_crew(self, servers: Mapping[str, ServerPolicy]) -> WorkerPool | None:
        """Its slots. Calls that others have to be waited for before ask a few turns later."""
        if not self._limit:
            return None
        named = [servers[name] for name in self.plan.servers if name in servers]
        limited = any(policy.is_limited or policy.writers is not None for policy in named)
        alone = self.plan.is_plain and not limited and self._gate is None
        moment = 1 if alone else MOMENT
        return WorkerPool(self._limit, "a slot of the run", moment)

    def __repr__(self) -> str:
        done, all_tasks = len(self._results), len(self.plan.tasks)
        return f"Run({self.workflow.name!r}, {done} of {all_tasks} tasks settled)"

    def cancel(self, reason: str = "the run was cancelled") -> None:
        """End the run: running calls are cancelled on their servers, nothing new starts.

        `execute` then returns what there is. Works before it was called, too.
        """
        error = TaskError("cancelled", reason, retryable=False)
        self._end(Stop("cancelled", error, Cancelled(reason)))

    def cancel_task(self, task: str, reason: str = "the task was cancelled") -> bool:
        """End one task: what it calls is cancelled on its server. The run goes on.

        A task that has not begun will not; it settles when its turn would have come.

        Returns:
            Whether it had not settled yet.

        Raises:
            ValueError: There is no such task.
        """
        if task not in self.plan.tasks:
            near = nearest(task, self.plan.tasks)
            maybe = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise ValueError(f"there is no task {task!r} in {self.workflow.name!r}{maybe}")
        if task in self._results or self._stop is not None:
            return False
        if (job := self._jobs.get(task)) is not None:
            job.cancel(reason)
        else:
            self._unwanted.setdefault(task, reason)
        return True

    def status(self) -> RunState:
        """What it does now: how many tasks have settled, and every call that is under way."""
        running = [
            activity for job in self._jobs.values() for activity in job.activities(self._clock.zero)
        ]
        return RunState(len(self._results), len(self.plan.tasks), tuple(running))

    async def execute(self) -> RunResult:
        """Run all tasks. May be called once.

        Returns:
            The result. Failures of tasks are in it and never raised.

        Raises:
            RuntimeError: It was executed before.
        """
        if self._began:
            raise RuntimeError("a run can be executed once: make another")
        self._began = True
        self._clock.start()
        if self._may_wait:
            self._priorities = priorities(self.plan, self.schedule, self._estimates)
        if self._announce:
            self._announce(
                RunStarted(
                    0.0,
                    self.run_id,
                    self.workflow.name,
                    self.schedule,
                    self.plan.sorted_generations,
                )
            )
        with self._listen(self._report.server) if self._listen else nullcontext():
            try:
                await self._run_tasks()
            except BaseException:
                self._note_end()
                self._finish()
                raise
            return self._finish()

    async def _run_tasks(self) -> None:
        limit = self.workflow.timeout_s
        with self._cancel_scope as scope:
            if limit is not None:
                scope.deadline = self._clock.zero + limit
            # Where calls wait for slots, who goes first is decided among all that are ready.
            batch = 0 if self._may_wait else BATCH
            await SCHEDULES[self.schedule](self.plan, self._start, self._on_generation, batch)
            while self._gate is not None and self._gate.waiting_for():
                self._count_held(0)
                await self._gate.changed()
        if scope.cancelled_caught:
            self._note_end()

    def _on_generation(self, number: int, tasks: list[str]) -> None:
        if self._announce and self._stop is None:
            self._announce(GenerationStarted(self._report.now_ms(), number, sorted(tasks)))

    def _start(self, tasks: TaskGroup, task_id: str, then: Then) -> None:
        """Decide on a task, and settle it or have it carried out."""
        if self._stop is not None:
            return
        job = TaskState(self.plan.tasks[task_id])
        decision = self._decide(job.task)
        if isinstance(decision, Skipped | Cancelled) or _is_final(decision, job.task):
            self._settle(job, decision)
            then(task_id)
            return
        self._jobs[task_id] = job
        if self._gate is not None:
            self._count_held(0)
        job.decision = decision
        job.priority = self._priorities.get(task_id, 0.0), job.task.index
        free = self._performer.prepare(job) if self._gate is None else None
        if free is None or self._crew is None:
            tasks.start_soon(self._carry, job, then)
            return
        free.queued_at = anyio.current_time()
        free.end_by = self._crew
        if self._announce and self._crew.is_busy():
            assert isinstance(job.decision, Call)
            self._report.waiting(job.decision, free)
        self._crew.start_soon(tasks, self._carry, job, then, priority=job.priority, who=free)

    async def _carry_out(self, job: TaskState, then: Then) -> None:
        """Carry a task out until it has settled. Raises nothing but cancellation."""
        if self._stop is not None:  # its slot came together with the end of the run
            return
        try:
            perform = self._performer.perform if self._gate is None else self._perform_behind_gate
            outcome = await perform(job)
        except BaseException:
            # Cancelled: which outcome that is, only the reason of the stop can tell; see _finish.
            self._forget(job)
            if job.has_begun:
                reason = self._note_end().not_begun.reason
                self._settle(job, _cancelled(job, reason, self._clock.zero))
            raise
        self._forget(job)
        if job.reason is not None and isinstance(outcome, Failure):
            outcome = _cancelled(job, job.reason, self._clock.zero)
        self._settle(job, outcome)
        then(job.task.id)

    def _forget(self, job: TaskState) -> None:
        del self._jobs[job.task.id]
        if self._gate is not None:
            self._count_held(0)

    def _count_held(self, more: int) -> None:
        """Have the clock stand still while all tasks under way wait for the gate."""
        self._held += more
        if self._held == len(self._jobs):
            self._clock.stand_still()
        else:
            self._clock.go_on()

    async def _perform_behind_gate(self, job: TaskState) -> Outcome:
        """The same where a call may have to wait; then it is decided again: its tool is known."""
        if not isinstance(job.decision, Failure) and await self._pass_gate(job):
            if job.reason is not None:
                return Failure(TaskError("cancelled", job.reason, retryable=False))
            again = self._decide(job.task)
            if isinstance(again, Skipped | Cancelled) or _is_final(again, job.task):
                return again
            job.decision = again
        return await self._performer.perform(job)

    async def _pass_gate(self, job: TaskState) -> bool:
        self._count_held(1)
        try:
            return await self._performer.pass_gate(job, job.task)
        finally:
            self._count_held(-1)

    def _decide(self, task: TaskPlan) -> Start | StartEach | Skipped | Failure | Cancelled:
        if task.id in self._unwanted:
            return Cancelled(self._unwanted[task.id])
        tool = self._tools.get(task.target)
        try:
            return decide(task, self._scope, tool)
        except Exception as bug:
            logger.exception("task %r: a bug in the engine", task.id)
            return Failure(internal(bug))

    def _unless_ended(self, call_next: Caller) -> Caller:
        """Makes no call whose slot came together with the end of the run: that cancels it."""

        def call_unless_ended(call: Call, attempt: Attempt) -> Awaitable[Any]:
            return call_next(call, attempt) if self._stop is None else anyio.sleep_forever()

        return call_unless_ended

    def _note_end(self) -> Stop:
        """Why the tasks are cancelled: by us, or else by the limit of the run or from outside."""
        limit = self.workflow.timeout_s
        if self._stop is None and anyio.current_time() >= self._cancel_scope.deadline:
            reason = f"the run's limit of {limit:g} s was reached"
            error = TaskError("timeout", reason, retryable=True, details={"timeout_s": limit})
            self._stop = Stop("cancelled", error, Cancelled(reason))
        elif self._stop is None:
            self.cancel("the run was cancelled from outside")
        assert self._stop is not None
        return self._stop

    def _settle(self, job: TaskState, outcome: Outcome) -> None:
        task = job.task
        result = job.result(outcome, self._clock.zero)
        self._results[task.id] = result
        self._statuses[task.id] = outcome.status
        match outcome:
            case Success(output):
                self._outputs[task.id] = output
            case Failure(error, output):
                self._errors[task.id] = error.to_dict()
                if output is not None:
                    self._outputs[task.id] = output
                self._end_if_decisive(task, error)
        if self._announce:
            self._announce(TaskSettled(self._report.now_ms(), task.id, result))

    def _end_if_decisive(self, task: TaskPlan, error: TaskError) -> None:
        """End the run if the failure of this task is to do that."""
        if task.policies.critical:
            reason = f"task {task.id!r} failed, and it is critical"
        elif self.workflow.on_error == "fail_fast":
            reason = f"task {task.id!r} failed, and on_error is fail_fast"
        else:
            return
        error = TaskError(**self._errors[task.id])
        self._end(Stop("failed", error, Skipped(reason)))

    def _end(self, stop: Stop) -> None:
        if self._stop is None:
            self._stop = stop
            self._cancel_scope.cancel()

    def _was_cut_short(self) -> bool:
        """Whether the run ended before its time; one that was cancelled too late did not."""
        if self._stop is None or self._stop.status != "cancelled":
            return self._stop is not None
        return any(isinstance(result.outcome, Cancelled) for result in self._results.values())

    def _finish(self) -> RunResult:
        """Settle what had not begun, and put the result together."""
        duration_ms = self._report.now_ms()
        for task in self.plan.tasks.values():
            if task.id not in self._results:
                assert self._stop is not None, f"task {task.id!r} was lost"
                self._settle(TaskState(task), self._stop.not_begun)
        self.result = summarize(
            self.workflow,
            {task: self._results[task] for task in self.plan.tasks},
            self._scope,
            schedule=self.schedule,
            slots=self._limit,
            duration_ms=duration_ms,
            stop=self._stop if self._was_cut_short() else None,
            run_id=self.run_id,
            started_at=self._started_at,
            made_up=self._made_up,
        )
        if self._announce:
            self._announce(RunSettled(duration_ms, self.result))
        return self.result


def _is_final(decision: Start | StartEach | Failure, task: TaskPlan) -> TypeGuard[Failure]:
    """Whether a task failed before its call, and nothing stands in for it."""
    return isinstance(decision, Failure) and task.policies.fallback is None


def _cancelled(job: TaskState, reason: str, zero: float) -> Cancelled:
    """The outcome of a task that was ended; what its items had given is kept."""
    if job.items is None:
        return Cancelled(reason)
    job.end_items(zero)
    return Cancelled(reason, [item.output for item in filter(None, job.items)])
