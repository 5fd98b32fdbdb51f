"""One run: decisions, calls and events, from a plan to a result.

The only module that keeps the state of a run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

from anyio.abc import TaskGroup

from orchestrator.calls.call import Caller
from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import quoted
from orchestrator.engine.budget import Budget
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
from orchestrator.engine.executor import Executor
from orchestrator.engine.outcome import Cancelled, Failure, Outcome, Skipped, Success
from orchestrator.engine.phase import Phases
from orchestrator.engine.priorities import priorities
from orchestrator.engine.result import MadeUp, RunResult, TaskResult
from orchestrator.engine.schedules import BATCH, SCHEDULES, OnGeneration, Then
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.engine.summary import Settled, Stop, stop_after, summarize
from orchestrator.engine.task_state import Decision, RunState, TaskState, internal
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import PLAIN, Plan


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
        self.workflow, self.plan, self.run_id = workflow, workflow.plan, settings.run_id
        self.schedule: Schedule = settings.schedule or workflow.schedule
        self.result: RunResult | None = None
        self._settings, self._servers = settings, servers or Servers()
        self._made_up, self._began = made_up, False
        finally_s = None if self.plan.finally_ is None else workflow.finally_timeout_s
        self._phases = Phases(workflow.timeout_s, finally_s)
        self._announce = Announcer(observers)
        self._emitter = Emitter(self._announce, self.plan)
        about = settings.about(workflow.name)
        self._settled = Settled(inputs or {}, about, null_is_unknown=made_up is not None)
        self._executor = Executor(
            caller,
            workflow,
            settings,
            self._servers,
            self._settled.scope,
            self._emitter,
            lambda: self._phases.current.stop is not None,
            Budget(settings.max_run_mb, self._phases.end),
        )
        self._jobs: dict[str, TaskState] = {}
        self._cancelled_early: dict[str, str] = {}
        self._priorities: Mapping[str, float] = {}
        self._carry = self._carry_out  # one bound method for all tasks that wait
        for task, result in (settled or {}).items():
            self._known(task)
            self._settled.add(result)

    def __repr__(self) -> str:
        done, all_tasks = len(self._settled.results), len(self.plan.tasks)
        return f"Run({self.workflow.name!r}, {done} of {all_tasks} tasks settled)"

    def cancel(self, reason: str = "the run was cancelled", *, at_once: bool = False) -> bool:
        """End the run: running calls are cancelled on their servers, nothing new starts.

        `execute` then returns what there is. You can call it before `execute`, too. The tasks of
        `finally` run all the same; a second call, or `at_once`, ends them, too.

        Returns:
            Whether there was anything left to end.
        """
        can_end = self._phases.cancel(Stop.cancelled(reason), at_once=at_once)
        return can_end and self.result is None

    def cancel_task(self, task: str, reason: str = "the task was cancelled") -> bool:
        """End one task: its calls are cancelled on their server. The run goes on.

        A task that has not started settles as cancelled when its turn comes.

        Returns:
            Whether it had not settled yet.

        Raises:
            ValueError: The task is unknown.
        """
        self._known(task)
        if task in self._settled.results or self._phases.current.stop is not None:
            return False
        if (job := self._jobs.get(task)) is not None:
            job.cancel(reason)
        else:
            self._cancelled_early.setdefault(task, reason)
        return True

    def _known(self, task: str) -> None:
        if task not in self.plan.tasks:
            raise ValueError(f"unknown task {quoted(task)}{did_you_mean(task, self.plan.tasks)}")

    def status(self) -> RunState:
        """How many tasks have settled, and each call that is under way."""
        zero = self._emitter.zero
        running = (each for job in self._jobs.values() for each in job.activities(zero))
        return RunState(len(self._settled.results), len(self.plan.tasks), tuple(running))

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
        if self._executor.may_wait:
            estimates = self._settings.estimates or {}
            self._priorities = priorities(self.plan, self.schedule, estimates)
        if self._announce:
            about = self.run_id, self.workflow.name, self.schedule
            last = [] if self.plan.finally_ is None else list(self.plan.finally_.tasks)
            self._announce(RunStarted(0.0, *about, self.plan.sorted_generations, last))
        for result in tuple(self._settled.results.values()):
            self._react(result)
        listen = self._servers.listen
        with nullcontext() if listen is None else listen(self._emitter.server):
            try:
                await self._phases.main.run(self._run_tasks())
            # Cancelled from outside: the result is made before the cancellation goes on.
            except BaseException:
                self._phases.main.note_end()
                raise
            finally:
                try:
                    await self._run_finally()
                finally:
                    self.result = self._finish()
            return self.result

    async def _run_tasks(self) -> None:
        await self._follow(self.plan, self._on_generation)
        if (readiness := self._servers.readiness) is not None:
            self._emitter.pause(True)
            await readiness.checked()

    def _follow(self, plan: Plan, on_generation: OnGeneration) -> Awaitable[None]:
        # Where calls wait for slots, all that are ready are compared before the first starts.
        batch = 0 if self._executor.may_wait else BATCH
        return SCHEDULES[self.schedule](plan, self._start, on_generation, batch)

    async def _run_finally(self) -> None:
        """Run the tasks of `finally`, which neither the end of the run nor its limit ends."""
        self._emitter.pause(False)
        self._settle_rest(self.plan.graph)
        if (plan := self.plan.finally_) is not None:
            self._executor.forget_queue()
            await self._phases.begin_finally().run(self._follow(plan, lambda *_: None))

    def _on_generation(self, number: int, tasks: list[str]) -> None:
        if self._announce and self._phases.main.stop is None:
            self._announce(GenerationStarted(self._emitter.now_ms(), number, sorted(tasks)))

    def _start(self, tasks: TaskGroup, task_id: str, then: Then) -> None:
        if self._phases.current.stop is not None:
            return
        # It came with `settled`: its dependents may start, and nothing is called.
        if task_id in self._settled.results:
            then(task_id)
            return
        task = self.plan.tasks[task_id]
        job = TaskState(task, (self._priorities.get(task_id, 0.0), task.index))
        decision = self._decide(job)
        if isinstance(decision, Skipped | Cancelled | Success) or (
            isinstance(decision, Failure) and task.policies.fallback is None
        ):
            self._settle(job, decision)
            then(task_id)
            return
        self._jobs[task_id] = job
        job.decision = decision
        self._executor.start(tasks, job, self._carry, then)

    def _decide(self, job: TaskState) -> Decision | Success | Skipped | Cancelled | None:
        task = job.task
        if task.id in self._cancelled_early:
            return Cancelled(self._cancelled_early[task.id])
        try:
            decision = decide(task, self._settled.quick_scope)
            # The common task: its call is prepared here, so that it can wait in the queue of slots.
            is_ready = task.policies is PLAIN and self._servers.readiness is None
            if is_ready and isinstance(decision, Start):
                return self._executor.prepare(job, decision)
            return decision
        # One task pays for a bug; an exception here would take the whole task group down.
        except Exception as bug:
            return Failure(internal(bug, task.id))

    async def _carry_out(self, job: TaskState, then: Then) -> None:
        """Carry a task out until it has settled. Raises nothing but cancellation."""
        if self._phases.current.stop is not None:  # its slot came together with the end
            return
        try:
            outcome = await self._executor.perform(job)
        except BaseException:
            # Cancelled. If nothing was called, the outcome depends on the reason: see _finish.
            del self._jobs[job.task.id]
            if job.has_begun:
                reason = self._phases.current.note_end().not_begun.reason
                self._settle(job, job.cancelled(reason, self._emitter.zero))
            raise
        del self._jobs[job.task.id]
        if job.reason is not None and isinstance(outcome, Failure):
            outcome = job.cancelled(job.reason, self._emitter.zero)
        self._settle(job, outcome)
        then(job.task.id)

    def _settle(self, job: TaskState, outcome: Outcome) -> None:
        result = job.result(outcome, self._emitter.zero)
        self._settled.add(result)
        self._react(result)

    def _react(self, result: TaskResult) -> None:
        """Report a task that has settled, and end the run if that is its consequence."""
        policies = self.plan.tasks[result.id].policies
        may_end = isinstance(result.outcome, Failure) or policies.end_run is not None
        if may_end and (stop := stop_after(self.workflow, result)) is not None:
            self._phases.end(stop)
        if self._announce:
            self._announce(TaskSettled(self._emitter.now_ms(), result.id, result))

    def _settle_rest(self, tasks: Iterable[str]) -> None:
        """Settle the tasks that have not begun."""
        stop = self._phases.current.stop
        for task in tasks:
            if task not in self._settled.results:
                # Without a stop every task settles: anything else is a bug, and must not be silent.
                assert stop is not None, f"task {task!r} was lost"
                self._settle(TaskState(self.plan.tasks[task]), stop.not_begun)

    def _finish(self) -> RunResult:
        """Settle what has not begun, and put the result together."""
        duration_ms = self._emitter.now_ms()
        self._settle_rest(self.plan.tasks)
        result = summarize(
            self.workflow,
            self._settled,
            self._settings,
            startup_ms=self._servers.startup_ms,
            slots=self._executor.limit,
            duration_ms=duration_ms,
            stop=self._phases.main.stop,
            made_up=self._made_up,
        )
        if self._announce:
            self._announce(RunSettled(duration_ms, result))
        return result
