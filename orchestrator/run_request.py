"""What is to be run, checked as far as that is possible without its servers."""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, TypedDict

from orchestrator.calls.call import Caller
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.pointer import pointer
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import quoted
from orchestrator.engine.drain import Drain
from orchestrator.engine.events import Announcer, Observers, StartTimes
from orchestrator.engine.made_up import MadeUp
from orchestrator.engine.question import AnswerCallback
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.reuse import Reuse
from orchestrator.engine.run import Run
from orchestrator.engine.schedules import SCHEDULES
from orchestrator.engine.settings import MAX_RUN_MB, RunSettings, Servers
from orchestrator.errors import Problem, WorkflowError
from orchestrator.journal.part import Needs
from orchestrator.journal.records import utc
from orchestrator.preflight import WorkflowSource, allowed_tools, check_offline
from orchestrator.schema.tool import Tool
from orchestrator.servers.pool import ServerPool
from orchestrator.telemetry.telemetry import Telemetry
from orchestrator.workflow.model import Schedule, Workflow

Inputs = Mapping[str, Any] | None
"""Values for the inputs of a workflow."""


class RunOptions(TypedDict, total=False):
    """The keywords of `Orchestrator.run` and its relatives; they are described there."""

    schedule: Schedule | None
    max_concurrency: int | None
    estimates: Mapping[str, float] | None
    max_run_mb: int
    observers: Observers
    times: StartTimes
    answer: AnswerCallback | None
    wait: bool
    drain: Drain | None


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A workflow with its complete inputs and all else that is needed to run it."""

    workflow: Workflow
    inputs: Mapping[str, Any]
    settings: RunSettings
    observers: Observers
    times: StartTimes
    needs: Needs | None = None  # of a part of a run, what it needs of that

    @classmethod
    def of(
        cls,
        source: WorkflowSource,
        inputs: Inputs,
        options: RunOptions,
        pool: ServerPool,
    ) -> Self:
        """The request to run a workflow on the servers of a pool.

        Raises:
            WorkflowError: The workflow, its inputs, the options or the names of servers are wrong.
        """
        workflow = Workflow.load(source)
        limit, estimates = options.get("max_concurrency"), options.get("estimates")
        max_run_mb = options.get("max_run_mb", MAX_RUN_MB)
        settings = new_settings(options.get("schedule"), limit, estimates, max_run_mb)
        settings = asking(settings, options)
        check_overrides(workflow, settings)
        values = check_offline(workflow, pool, inputs or {})
        observers = options.get("observers", ())
        return cls(workflow, values, settings, observers, StartTimes(Announcer(observers)))

    def reusing(self, reuse: Reuse | None) -> RunRequest:
        """The same, taking over from an earlier run."""
        return replace(self, settings=replace(self.settings, reuse=reuse))

    def locked_tools(self, pool: ServerPool) -> dict[str, Tool] | None:
        """The tools of the servers in the workflow, if all of these are in the lock."""
        lock, named = pool.lock, self.workflow.plan.servers
        if lock is None or not all(server in lock for server in named):
            return None
        return allowed_tools(pool.servers, {server: lock.of(server) for server in named})

    def run(
        self,
        caller: Caller,
        servers: Servers,
        made_up: Mapping[str, MadeUp] | None = None,
        recorder: Recorder | None = None,
        telemetry: Telemetry | None = None,
    ) -> Run:
        """The run, whose calls are made by `caller`."""
        tracing, more = (None, ()) if telemetry is None else telemetry.of_run()
        run = Run(
            self.workflow,
            caller,
            replace(self.settings, recorder=recorder, tracing=tracing),
            inputs=self.inputs,
            servers=servers,
            observers=(*self.observers, *more),
            settled=None if self.needs is None else self.needs.results,
            made_up=made_up,
        )
        if self.needs is not None:
            run.note_wrapped(self.needs.wrapped)
        return run

    @property
    def whole(self) -> Workflow:
        """The workflow, or that which it is a part of."""
        return self.workflow if self.needs is None else self.needs.workflow


def asking(settings: RunSettings, options: RunOptions) -> RunSettings:
    """The settings, with who answers questions, and who may end the run, as the options say."""
    answer, wait = options.get("answer"), options.get("wait", False)
    return replace(settings, answer=answer, wait=wait, drain=options.get("drain"))


def new_settings(
    schedule: Schedule | None = None,
    max_concurrency: int | None = None,
    estimates: Mapping[str, float] | None = None,
    max_run_mb: int = MAX_RUN_MB,
) -> RunSettings:
    """Settings of a run that begins now, with an id of its own."""
    now_s = time.time()
    # Ids sort by time, as those of UUID version 7 do (RFC 9562), which Python has from 3.14 on.
    run_id = f"{round(now_s * 1000):012x}{uuid.uuid4().hex[:20]}"
    at = utc(now_s)
    return RunSettings(schedule, max_concurrency, estimates, max_run_mb, random.random, run_id, at)


def check_overrides(workflow: Workflow, settings: RunSettings) -> None:
    """Check the settings of one run; raises a `WorkflowError` if they are wrong."""
    estimates = settings.estimates or {}
    # A plan without tasks grows: any may come.
    found = problems_of_estimates(workflow.plan.tasks or estimates, estimates)
    schedule = settings.schedule
    if schedule is not None and schedule not in SCHEDULES:
        near = nearest(schedule, SCHEDULES) or tuple(SCHEDULES)
        message = f"unknown schedule {quoted(schedule)}"
        found.append(Problem("wrong_value", message, "/schedule", None, near))
    for name in ("max_concurrency", "max_run_mb"):
        if (limit := getattr(settings, name)) is not None and limit < 0:
            message = f"expected {name} of at least 0, got {limit}"
            found.append(Problem("wrong_value", message, pointer(name)))
    if found:
        raise WorkflowError(workflow.name, found)


def problems_of_estimates(tasks: Iterable[str], estimates: Mapping[str, float]) -> list[Problem]:
    """Estimates of unknown tasks, and those that are no number of seconds."""
    found = []
    known = dict.fromkeys(tasks) if estimates else {}
    for task, seconds in estimates.items():
        path = pointer("estimates", task)
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if task not in known:
            near = nearest(str(task), known)
            message = f"unknown task {quoted(str(task))}"
            found.append(Problem("unknown_task", message, path, None, near))
        elif not is_number or not 0 <= seconds <= sys.float_info.max:
            message = f"expected a number of seconds of at least 0, got {describe(seconds)}"
            found.append(Problem("wrong_value", message, path, task))
    return found
