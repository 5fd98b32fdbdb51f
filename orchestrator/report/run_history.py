"""What happened in a run: who called whom when, what decided how long it took, what failed first.

Pure: made of a result and its workflow, for pages, reports and traces. Times are milliseconds since
the run began.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orchestrator.engine.result import ItemResult, RunResult, TaskResult
from orchestrator.explain.path import Analysis
from orchestrator.explain.sentences import words
from orchestrator.explain.story import Story
from orchestrator.report.run_failure import FirstFailure, first_failure
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import Plan, TaskPlan


@dataclass(frozen=True, slots=True)
class Span:
    """A task, an item of a `for_each` or a task inside of one, from its first call to its end.

    Attributes:
        path: The task, such as `a`, `a[3]` or `outer[3]/inner`.
        task: The task of the workflow that it is or belongs to.
        server: The server that it called; empty if it called none.
        target: The tool, `server:tool`.
        waited_ms: How long it waited for its server, locks, slots and rates before and between
            its calls.
    """

    path: str
    task: str
    server: str
    target: str
    status: str
    attempts: int
    started_ms: float
    duration_ms: float
    waited_ms: float

    @property
    def ended_ms(self) -> float:
        """When it settled."""
        return self.started_ms + self.duration_ms


class RunHistory:
    """A run that has ended or is paused.

    Args:
        result: Its result, without secrets.
        workflow: Its workflow.
        inputs: Its inputs, without secrets.
        timed: The results of its tasks with what their calls waited for, which a document of them
            does not have; only times are taken from them.
    """

    def __init__(
        self,
        result: RunResult,
        workflow: Workflow,
        inputs: Mapping[str, Any] | None = None,
        timed: Mapping[str, TaskResult] | None = None,
    ) -> None:
        self._timed = result.tasks if timed is None else timed
        self.result, self.workflow, self.inputs = result, workflow, dict(inputs or {})
        self.plan = workflow.plan

    @cached_property
    def tasks(self) -> dict[str, Span]:
        """The tasks of the workflow that began, in the order in which they did."""
        found = (
            _span(self.plan.tasks[name], name, name, task)
            for name, task in self.result.tasks.items()
            if name in self.plan.tasks and task.started_ms is not None
        )
        return {span.path: span for span in sorted(found, key=lambda each: each.started_ms)}

    @cached_property
    def calls(self) -> list[Span]:
        """The calls: tasks, items and what is inside of them, in the order in which they began."""
        found = _calls(self.plan, self.result.tasks, "", "")
        return sorted(found, key=lambda call: call.started_ms)

    @property
    def ends_ms(self) -> float:
        """When the last task settled."""
        return max((span.ended_ms for span in self.tasks.values()), default=0.0)

    @cached_property
    def analysis(self) -> Analysis:
        """What decided how long the run took."""
        result = self.result
        schedule: Schedule = "dataflow" if result.schedule == "dataflow" else "generations"
        return Analysis(Story.of(self.workflow, self._timed, result.duration_ms, schedule))

    @cached_property
    def path(self) -> list[str]:
        """The tasks of the workflow on that path, the first one first."""
        paths = (step.span.task for step in self.analysis.path if step.cause is None)
        return list(dict.fromkeys(re.split(r"[\[/]", path)[0] for path in paths))

    @cached_property
    def ready_ms(self) -> dict[str, float]:
        """When all had settled that each call had to come after, by its path."""
        return {span.where: span.ready_ms for span in self.analysis.story.spans}

    def by_server(self) -> dict[str, tuple[int, float, float]]:
        """Of each server, its calls and how long they ran and waited; the longest first."""
        return self._sums(lambda span: span.server)

    def by_tool(self) -> dict[str, tuple[int, float, float]]:
        """The same of each tool."""
        return self._sums(lambda span: span.target)

    def _sums(self, name: Any) -> dict[str, tuple[int, float, float]]:
        sums: dict[str, list[Span]] = defaultdict(list)
        for call in self.calls:
            if call.server:
                sums[name(call)].append(call)
        found = {
            each: (
                sum(call.attempts for call in calls),
                sum(call.duration_ms for call in calls),
                sum(call.waited_ms for call in calls),
            )
            for each, calls in sums.items()
        }
        return dict(sorted(found.items(), key=lambda pair: -pair[1][1]))

    def by_reason(self) -> dict[str, float]:
        """Where the time of the run went, along its path: milliseconds by reason."""
        sums: dict[str, float] = defaultdict(float)
        for step in self.analysis.path:
            sums["calls" if step.cause is None else words(step.cause)] += step.took_ms
        return dict(sorted(sums.items(), key=lambda pair: -pair[1]))

    @cached_property
    def first_failure(self) -> FirstFailure | None:
        """What failed first; None if nothing did."""
        return first_failure(self.result, self.workflow, self.inputs)


def _span(plan: TaskPlan, path: str, task: str, part: TaskResult | ItemResult) -> Span:
    assert part.started_ms is not None
    server = plan.server if plan.is_request else ""
    times = part.started_ms, part.duration_ms, part.waited_ms
    return Span(path, task, server, plan.target, part.status, part.attempts, *times)


def _calls(plan: Plan, tasks: Mapping[str, TaskResult], within: str, outer: str) -> Iterator[Span]:
    for name, result in tasks.items():
        if (task := plan.tasks.get(name)) is None:
            continue
        path = f"{within}{name}"
        parts: list[tuple[str, TaskResult | ItemResult]] = [(path, result)]
        if result.items is not None:
            parts = [(f"{path}[{item.index}]", item) for item in result.items]
        for place, part in parts:
            if part.tasks is not None and task.inner is not None:
                yield from _calls(task.inner.plan, part.tasks, f"{place}/", outer or name)
            elif part.started_ms is not None:
                yield _span(task, place, outer or name, part)
