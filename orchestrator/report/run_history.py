"""What happened in a run: who called whom when, what decided how long it took, what failed first.

Pure: made of a result and its workflow, for pages, reports and traces. Times are milliseconds since
the run began.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.explain.path import Analysis
from orchestrator.explain.sentences import words
from orchestrator.explain.story import Span, Story
from orchestrator.report.run_failure import FirstFailure, first_failure
from orchestrator.workflow.model import Schedule, Workflow


class RunHistory:
    """A run that has ended or is paused.

    Args:
        result: Its result, without secrets.
        workflow: Its workflow.
        inputs: Its inputs, without secrets.
        timed: The results of its tasks with what their calls waited for, if `result` is without;
            only times are taken from them.
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
    def analysis(self) -> Analysis:
        """What decided how long the run took."""
        result = self.result
        schedule: Schedule = "dataflow" if result.schedule == "dataflow" else "generations"
        return Analysis(Story.of(self.workflow, self._timed, result.duration_ms, schedule))

    @property
    def tasks(self) -> Mapping[str, Span]:
        """The tasks of the workflow that began, in the order in which they did."""
        return self.analysis.story.tasks

    @property
    def calls(self) -> Sequence[Span]:
        """The calls: tasks, items and what is inside of them, in the order in which they began."""
        return self.analysis.story.spans

    @property
    def ends_ms(self) -> float:
        """When the last task settled."""
        return max((span.ended_ms for span in self.tasks.values()), default=0.0)

    @cached_property
    def path(self) -> list[str]:
        """The tasks of the workflow on that path, the first one first."""
        steps = (step.span.root for step in self.analysis.path if step.cause is None)
        return list(dict.fromkeys(steps))

    def by_server(self) -> dict[str, tuple[int, float, float]]:
        """Of each server, its calls and how long they ran and waited; the longest first."""
        return self._sums(lambda span: span.server)

    def by_tool(self) -> dict[str, tuple[int, float, float]]:
        """The same of each tool."""
        return self._sums(lambda span: span.target)

    def _sums(self, name: Callable[[Span], str]) -> dict[str, tuple[int, float, float]]:
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
