"""A run: decisions, calls and events, from a plan to a result.

The rule of this file: it connects what the other files decide, and is the only one that keeps the
state of a run. Each task settles exactly once; what ends the run early is written down in `_stop`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import anyio

from orchestrator import graph as graphs
from orchestrator.calls import (
    DEFAULT_TIMEOUT_S,
    Call,
    Caller,
    ServerPolicy,
    Slots,
    Tool,
    with_slots,
    with_timeout,
)
from orchestrator.errors import CallError, TaskError
from orchestrator.events import (
    Announcer,
    GenerationStarted,
    Observer,
    RunSettled,
    RunStarted,
    TaskSettled,
    TaskStarted,
)
from orchestrator.outcomes import Cancelled, Failure, Outcome, Skipped, Start, Success, decide
from orchestrator.planning import TaskPlan
from orchestrator.references import Scope
from orchestrator.results import RunResult, TaskResult
from orchestrator.schedules import SCHEDULES
from orchestrator.summary import Stop, summarize
from orchestrator.workflow import Schedule, Workflow

logger = logging.getLogger("orchestrator")

NO_TOOLS: Mapping[str, Tool] = {}
NO_POLICIES: Mapping[str, ServerPolicy] = {}


class Run:
    """One run of a workflow.

    Args:
        workflow: What to run.
        caller: Makes the calls.
        inputs: The inputs, complete (see `orchestrator.inputs.complete_inputs`).
        tools: Each tool that is known, by `server:tool`.
        servers: What the configuration says about calls, by server.
        observers: Who is told the events.
        schedule: Instead of the workflow's.
        max_concurrency: Instead of the workflow's.
        run_id: A name for this run.
        started_at: The time of day, ISO 8601, for the document.
    """

    def __init__(
        self,
        workflow: Workflow,
        caller: Caller,
        *,
        inputs: Mapping[str, Any] | None = None,
        tools: Mapping[str, Tool] = NO_TOOLS,
        servers: Mapping[str, ServerPolicy] = NO_POLICIES,
        observers: Iterable[Observer] = (),
        schedule: Schedule | None = None,
        max_concurrency: int | None = None,
        run_id: str = "run",
        started_at: str = "1970-01-01T00:00:00Z",
    ) -> None:
        self.workflow = workflow
        self.plan = workflow.plan
        self.schedule: Schedule = schedule or workflow.schedule
        self.run_id = run_id
        self.result: RunResult | None = None
        limit = workflow.max_concurrency if max_concurrency is None else max_concurrency
        self._limit = limit if limit < len(self.plan.tasks) else 0
        self._servers = servers
        self._tools = tools
        self._started_at = started_at
        slots = Slots(self._limit) if self._limit else None
        self._call = with_slots(self._announced(with_timeout(caller)), servers, slots)
        self._announce = Announcer(observers)
        self._outputs: dict[str, Any] = {}
        self._statuses: dict[str, str] = {}
        self._errors: dict[str, Any] = {}
        self._scope = Scope(self._outputs, self._statuses, self._errors, inputs or {})
        self._results: dict[str, TaskResult] = {}
        self._stop: Stop | None = None
        self._cancel_scope = anyio.CancelScope()
        self._began = False
        self._zero = 0.0
        self._priorities: Mapping[str, float] = {}

    def __repr__(self) -> str:
        done, all_tasks = len(self._results), len(self.plan.tasks)
        return f"Run({self.workflow.name!r}, {done} of {all_tasks} tasks settled)"

    def cancel(self, reason: str = "the run was cancelled") -> None:
        """End the run: running calls are cancelled on their servers, nothing new starts.

        `execute` then returns what there is. Works before it was called, too.
        """
        error = TaskError("cancelled", reason, retryable=False)
        self._end(Stop("cancelled", error, Cancelled(reason)))

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
        self._zero = anyio.current_time()
        if self.schedule == "dataflow" and self._limit:
            below = graphs.lengths_below(self.plan.graph, self.plan.generations)
            self._priorities = {task: -length for task, length in below.items()}
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
                scope.deadline = self._zero + limit
            await SCHEDULES[self.schedule](self.plan, self._run_task, self._on_generation)
        if scope.cancelled_caught:
            self._note_end()

    def _on_generation(self, number: int, tasks: list[str]) -> None:
        if self._announce and self._stop is None:
            self._announce(GenerationStarted(self._now_ms(), number, sorted(tasks)))

    async def _run_task(self, task_id: str) -> None:
        """Run one task until it has settled. Raises nothing but cancellation."""
        if self._stop is not None:
            return
        task = self.plan.tasks[task_id]
        tool = self._tools.get(task.target)
        try:
            decision = decide(task, self._scope, tool.input_schema if tool else None)
        except Exception as bug:
            self._settle(task, Failure(_internal(bug)), None)
            return
        if isinstance(decision, Start):
            await self._make_call(task, decision, tool)
        else:
            self._settle(task, decision, None)

    async def _make_call(self, task: TaskPlan, start: Start, tool: Tool | None) -> None:
        call = Call(
            task.id,
            task.server,
            task.tool,
            start.arguments,
            self._timeout_of(task),
            (self._priorities.get(task.id, 0.0), task.index),
            tool is not None and tool.read_only is False,
            start.conversions,
        )
        outcome: Outcome
        try:
            outcome = Success(await self._call(call))
        except CallError as failure:
            outcome = Failure(failure.error)
        except Exception as bug:
            logger.exception("task %r: a bug in the caller", task.id)
            outcome = Failure(_internal(bug))
        except BaseException:
            # Cancelled: which outcome that is, only the reason of the stop can tell; see _finish.
            self._cancelled_call(task, call)
            raise
        self._settle(task, outcome, call)

    def _timeout_of(self, task: TaskPlan) -> float:
        if task.timeout_s is not None:
            return task.timeout_s
        policy = self._servers.get(task.server)
        return policy.timeout_s if policy else DEFAULT_TIMEOUT_S

    def _announced(self, call_next: Caller) -> Caller:
        """The policy that notes and tells when an attempt begins; it stands behind the slots."""

        async def call_announced(call: Call) -> Any:
            if self._stop is not None:  # the slot came together with the end of the run
                await anyio.sleep_forever()
            call.attempts += 1
            now = call.started_at = anyio.current_time()
            if self._announce:
                self._announce(
                    TaskStarted(
                        (now - self._zero) * 1000,
                        call.task,
                        call.server,
                        call.tool,
                        self.plan.tasks[call.task].generation,
                        call.attempts,
                        call.waited_s * 1000,
                        call.conversions,
                    )
                )
            return await call_next(call)

        return call_announced

    def _cancelled_call(self, task: TaskPlan, call: Call) -> None:
        if call.started_at is None:
            return
        self._settle(task, Cancelled(self._note_end().error.message), call)

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

    def _settle(self, task: TaskPlan, outcome: Outcome, call: Call | None) -> None:
        result = self._measure(task, outcome, call)
        self._results[task.id] = result
        self._statuses[task.id] = outcome.status
        match outcome:
            case Success(output):
                self._outputs[task.id] = output
            case Failure(error):
                self._errors[task.id] = error.to_dict()
                if self.workflow.on_error == "fail_fast":
                    reason = f"task {task.id!r} failed, and on_error is fail_fast"
                    self._end(Stop("failed", error, Skipped(reason)))
        if self._announce:
            self._announce(TaskSettled(self._now_ms(), task.id, result))

    def _measure(self, task: TaskPlan, outcome: Outcome, call: Call | None) -> TaskResult:
        if call is None or call.started_at is None:
            return TaskResult(task.id, outcome, task.generation)
        return TaskResult(
            task.id,
            outcome,
            task.generation,
            call.attempts,
            (call.started_at - self._zero) * 1000,
            (anyio.current_time() - call.started_at) * 1000,
            call.waited_s * 1000,
        )

    def _end(self, stop: Stop) -> None:
        if self._stop is None:
            self._stop = stop
            self._cancel_scope.cancel()

    def _now_ms(self) -> float:
        return (anyio.current_time() - self._zero) * 1000

    def _finish(self) -> RunResult:
        """Settle what had not begun, and put the result together."""
        duration_ms = self._now_ms()
        for task in self.plan.tasks.values():
            if task.id not in self._results:
                assert self._stop is not None, f"task {task.id!r} was lost"
                self._settle(task, self._stop.not_begun, None)
        self.result = summarize(
            self.workflow,
            {task: self._results[task] for task in self.plan.tasks},
            self._scope,
            schedule=self.schedule,
            slots=self._limit,
            duration_ms=duration_ms,
            stop=self._stop,
            run_id=self.run_id,
            started_at=self._started_at,
        )
        if self._announce:
            self._announce(RunSettled(duration_ms, self.result))
        return self.result


def _internal(bug: Exception) -> TaskError:
    message = f"a bug in the engine or in the caller: {type(bug).__name__}: {bug}"
    return TaskError("internal", message, retryable=False, details={"type": type(bug).__name__})
