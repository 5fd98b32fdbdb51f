"""One run of a workflow: what it is given, what it reports, and its result.

A few lines longer than other files: this is what everybody who has a run calls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import anyio

from orchestrator.calls.call import Caller
from orchestrator.documents.suggest import did_you_mean
from orchestrator.documents.text import quoted
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.events import (
    Announcer,
    GenerationStarted,
    Observers,
    RunSettled,
    RunStarted,
)
from orchestrator.engine.growth import Growing
from orchestrator.engine.keeping import listening
from orchestrator.engine.made_up import MadeUp
from orchestrator.engine.question import Question
from orchestrator.engine.questions import Questions
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.engine.settled import Settled
from orchestrator.engine.shared import Shared
from orchestrator.engine.spending import Spending
from orchestrator.engine.summary import Stop, summarize
from orchestrator.engine.task_runner import TaskRunner
from orchestrator.engine.task_state import RunState
from orchestrator.engine.tracing import traced
from orchestrator.errors import TaskError
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import TaskPlan


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
        self.grows = False  # whether tasks may still be added, so that nothing is the last
        self.lacks: TaskError | None = None  # why tasks are missing, although the plan is complete
        self.waits_s = math.inf  # so long a paused run has to wait at most, with no answer
        self.not_kept = ""  # why the journal does not have the whole run; empty if all is well
        self._settings, self._servers = settings, servers or Servers()
        self._made_up, self._recorder, self._began = made_up, settings.recorder, False
        self._cancels = 0  # up to 2, which ends the tasks of `finally`, too
        self._announce = Announcer(observers)
        self._emitter = Emitter(self._announce, self.plan)
        about = settings.about(workflow.name)
        self._settled = Settled(inputs or {}, about, null_is_unknown=made_up is not None)
        self._questions = self._new_questions()
        self._unanswered: list[Question] = []  # of a run that is paused
        self._paused: Stop | None = None
        spending, asked = self._new_spending(), self._questions if made_up is None else None
        self._shared = Shared.of(workflow, caller, settings, self._servers, spending, asked)
        began_s = 0.0 if self._recorder is None else self._recorder.elapsed_s
        of = workflow, self._shared, self._settled, self._emitter, self.schedule
        self._tasks = TaskRunner(*of, began_s=began_s)
        for task, result in (settled or {}).items():
            self._known(task)
            self._settled.add(result)

    def _new_spending(self) -> Spending:
        tasks, recorder = lambda: self._tasks, self._recorder
        spending = Spending.of_memory(self._settings.max_run_mb, tasks)
        spending = spending.within(self._servers.budget, "operator", tasks, recorder)
        return spending.within(self.workflow.budget, "workflow", tasks, recorder)

    def _new_questions(self) -> Questions:
        settings = self._settings
        people = settings.answer, settings.recorder, settings.on_reply
        questions = Questions(*people, waits=settings.wait)
        questions.is_idle = lambda: not self.grows and self._tasks.is_idle
        questions.pause = self._pause
        return questions

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
        return self.end(Stop.cancelled(reason), at_once=at_once)

    def end(self, stop: Stop, *, at_once: bool = False) -> bool:
        """End the run as `cancel` does, for another reason."""
        ended, self._cancels = self._cancels, self._cancels + (2 if at_once else 1)
        self._tasks.end(stop)
        if self._cancels > 1:
            self._tasks.end_all(stop)
        left = ended == 0 or (ended == 1 and self.plan.finally_ is not None)
        return left and self.result is None

    def cancel_task(self, task: str, reason: str = "the task was cancelled") -> bool:
        """End one task: its calls are cancelled on their server. The run goes on.

        A task that has not started settles as cancelled when its turn comes.

        Returns:
            Whether it had not settled yet.

        Raises:
            ValueError: The task is unknown.
        """
        self._known(task)
        return self._tasks.cancel_task(task, reason)

    def _known(self, task: str) -> None:
        if task not in self.plan.tasks:
            raise ValueError(f"unknown task {quoted(task)}{did_you_mean(task, self.plan.tasks)}")

    def follow(self, growing: Growing) -> None:
        """Have the tasks of a plan that grows started by this."""
        self._tasks.growing, self.grows = growing, True

    def add(self, task: TaskPlan) -> None:
        """The plan has one more task."""
        cast("dict[str, TaskPlan]", self.plan.tasks)[task.id] = task
        if self._began:
            self._emitter.added(task)

    def complete(self, workflow: Workflow) -> None:
        """The plan has grown to this workflow."""
        for task in workflow.plan.tasks.values():
            if task.generation is None:
                self.add(task)
        self.workflow, self.plan, self.grows = workflow, workflow.plan, False
        self._tasks.complete(workflow)

    def end_growing(self, stop: Stop | None) -> None:
        """No further task comes; with a stop, what has not begun settles with that."""
        if stop is not None:
            self._tasks.note_stop(stop)
        plan = self.plan
        generations, edges = graphs.generations(plan.graph), sorted(map(list, plan.graph.edges))
        self.plan = replace(plan, generations=generations, edges=edges)
        self.workflow._plan = self.workflow.__dict__["plan"] = self.plan

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The inputs, complete."""
        return self._settled.scope.inputs

    def note_wrapped(self, wrapped: Mapping[int, Any]) -> None:
        """The outputs of `settled` that servers had wrapped, by identity."""
        self._settled.scope.wrapped.update(wrapped)

    def stop_items(self, task: str, reason: str) -> None:
        """Let no further item of a task begin that is under way; those that have begun go on."""
        self._tasks.stop_items(task, reason)

    @property
    def is_kept(self) -> bool:
        """Whether a journal keeps it."""
        return self._recorder is not None and not self.not_kept

    @property
    def questions(self) -> list[Question]:
        """What it waits for: the questions that nobody has answered."""
        return self._questions.open or list(self._unanswered)

    def answer(
        self, task: str, value: Any = None, *, item: int | None = None, all_items: bool = False
    ) -> None:
        """Answer the question that a task waits with.

        Args:
            task: The task, as in `Question.task`.
            value: What fits the schema of the question: true or false for an approval; of a call
                whose outcome is unknown `repeat`, `fail` or `{"output": ...}`.
            item: The item of its `for_each`, if several wait.
            all_items: The answer is for all items, those that will be asked about later, too.

        Raises:
            AnswerError: No such question is open, or the value does not fit its schema.
        """
        self._questions.answer(task, value, item, all_items=all_items)

    def refuse(self, task: str, *, item: int | None = None, all_items: bool = False) -> None:
        """Refuse what a task waits with: it fails with an error of kind `refused`.

        Raises:
            AnswerError: No such question is open.
        """
        self._questions.answer(task, None, item, refused=True, all_items=all_items)

    def take_replies(self) -> None:
        """Take the answers that the recorder has by now, such as those of another process."""
        self._questions.take_replies()

    def _pause(self) -> None:
        self.waits_s, self._unanswered = self._questions.left_s, self.questions
        self._paused = Stop.paused()
        self._tasks.pause(self._paused)

    def status(self) -> RunState:
        """How many tasks have settled, and each call that is under way."""
        running = tuple(self._tasks.activities())
        took_ms = self._emitter.clock.now_ms() if self._began else 0.0
        left = self._shared.spending.left(took_ms / 1000)
        settled, items = len(self._settled.results), dict(self._tasks.items_under_way())
        return RunState(settled, len(self.plan.tasks), running, left, took_ms, items)

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
        about = self.workflow.name, self.run_id, self.schedule
        with traced(self._settings, about, self._emitter, lambda: self.result):
            return await self._execute()

    async def _execute(self) -> RunResult:
        self._emitter.clock.begin(0.0 if self._recorder is None else self._recorder.elapsed_s)
        if self._announce:
            about = self.run_id, self.workflow.name, self.schedule
            last = [] if self.plan.finally_ is None else list(self.plan.finally_.tasks)
            self._announce(RunStarted(0.0, *about, self.plan.sorted_generations, last))
        for task in self.plan.tasks.values() if self.grows else ():
            self._emitter.added(task)
        for result in tuple(self._settled.results.values()):
            self._tasks.react(result)
        self._tasks.restore()
        if self._recorder is not None and self._recorder.stop is not None:
            self._tasks.end(self._recorder.stop)
        with listening(self._servers, self.plan, self._recorder, self._emitter.server):
            try:
                await self._tasks.execute(self._on_generation)
            finally:  # cancelled from outside: the result is made before the cancellation goes on
                self._tasks.settle_rest(self.plan.tasks)
                duration_ms = self._emitter.clock.now_ms()
                with anyio.CancelScope(shield=True):
                    await self._settled.resolve_output(self.plan)
                self.result = self._finish(duration_ms)
            return self.result

    def _on_generation(self, number: int, tasks: list[str]) -> None:
        if self._announce and self._tasks.stop is None:
            self._announce(GenerationStarted(self._emitter.clock.now_ms(), number, sorted(tasks)))

    def _finish(self, duration_ms: float) -> RunResult:
        """Put the result together."""
        result = summarize(
            self.workflow,
            self._settled,
            self._settings,
            startup_ms=self._servers.startup_ms,
            slots=self._shared.limit,
            duration_ms=duration_ms,
            stop=self._paused or self._tasks.stop,
            made_up=self._made_up,
        )
        if self._recorder is not None:
            result = replace(result, resumed=self._recorder.resumed)
        if result.status == "paused":
            result = replace(result, questions=tuple(self._unanswered))
        if self.lacks is not None and result.status == "success":
            result = replace(result, status="partial", error=self.lacks)
        if self._announce:
            self._announce(RunSettled(duration_ms, result))
        return result
