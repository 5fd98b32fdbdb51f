"""What a run would have taken with other settings.

The engine runs the graph once more, with calls that take what they took then, on a clock that
jumps: there is no second scheduler that could differ from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.locks import Locks
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.errors import CallError
from orchestrator.explain.story import IN_CALL, Span, Story
from orchestrator.schema.tool import Tool
from orchestrator.servers.config import Server
from orchestrator.servers.policies import RESOURCES, policy_of
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import Plan, TaskPlan

Limits = Mapping[str, Mapping[str, Any]]
"""The limits of servers, by server, as servers.toml has them."""
# What no schedule and no limit changes: a call waits for it as long as it did.
_FIXED = ("answer", "server_start", "other")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is given.

    Attributes:
        schedule: `generations` or `dataflow`, inside tasks too; None: what the workflow says.
        max_concurrency: How many calls may be in flight; 0 for any number.
        limits: Those of the servers, without what is the default.
        factors: What the time of a call is multiplied by, by the path of its task or the name of
            its server.
        started: Whether all servers are ready from the start.
        estimates: As the run was given.
        times: What calls take that do not take what they took, milliseconds, by task and item.
    """

    schedule: Schedule | None
    max_concurrency: int
    limits: Limits = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    started: bool = False
    estimates: Mapping[str, float] | None = None
    times: Mapping[str, float] = field(default_factory=dict)


class WhatIf:
    """Runs a story again.

    Args:
        story: What happened.
        reads: Whether each `server:tool` declares that it only reads; unknown ones do.
        loop: The options of `anyio.run` for a clock that jumps.
    """

    def __init__(self, story: Story, reads: Mapping[str, bool], loop: Mapping[str, Any]) -> None:
        self.story = story
        self._spans = {span.where: span for span in story.spans}
        self._loop = dict(loop)
        self._tools = {
            span.target: Tool(
                span.server,
                span.target.partition(":")[2],
                {},
                read_only=reads.get(span.target, True),
            )
            for span in story.spans
            if span.server
        }
        self._workflows: dict[bool, Workflow] = {}

    def duration_ms(self, settings: Settings) -> float:
        """What the run takes with these settings, milliseconds."""
        workflow = self._workflow(settings.started)
        policies = {
            name: policy_of(Server(name=name, **settings.limits.get(name, {})))
            for name in {span.server for span in self.story.spans if span.server}
        }
        caller = _Caller(self._spans, settings)
        run_settings = RunSettings(
            schedule=settings.schedule,
            max_concurrency=settings.max_concurrency,
            estimates=settings.estimates,
            random=caller.random,
            max_run_mb=0,
        )
        locks = Locks(resources=settings.limits.get(RESOURCES, {}))
        known = Servers(self._tools, policies, locks)

        async def execute() -> float:
            return (await Run(workflow, caller, run_settings, servers=known).execute()).duration_ms

        return anyio.run(execute, **self._loop)

    def _workflow(self, started: bool) -> Workflow:
        """The graph of the workflow, with calls and nothing else that decides anything."""
        if started not in self._workflows:
            plan = self.story.workflow.plan
            document = self._document(plan, [("", self.story.results)], started)
            self._workflows[started] = Workflow.load(
                {"name": "what-if", "schedule": self.story.workflow.schedule, **document}
            )
        return self._workflows[started]

    def _document(
        self, plan: Plan, runs: list[tuple[str, Mapping[str, TaskResult]]], started: bool
    ) -> dict[str, Any]:
        """A workflow, from the results of each time it ran, with the paths around them."""
        stages = [
            [self._task(plan.tasks[name], runs, started) for name in stage.graph]
            for stage in plan.stages
        ]
        return {"tasks": stages[0]} | ({"finally": stages[1]} if len(stages) > 1 else {})

    def _task(
        self, task: TaskPlan, runs: list[tuple[str, Mapping[str, TaskResult]]], started: bool
    ) -> dict[str, Any]:
        document: dict[str, Any] = {"id": task.id, "depends_on": list(task.dependencies)}
        parts: list[tuple[str, TaskResult | ItemResult]] = []
        items = 0
        for within, results in runs:
            result = results.get(task.id)
            if result is None:
                continue
            path = f"{within}{task.id}"
            for item in result.items or ():
                if item.started_ms is not None:
                    parts.append((f"{path}[{item.index}]", item))
                    items = max(items, item.index + 1)
            if result.items is None and (result.started_ms is not None or path in self._spans):
                parts.append((path, result))
        if not parts:
            return document | {"value": 0}
        if items:  # those that were not called take no time
            document["for_each"] = list(range(items))
        return document | self._calls(task, parts, started)

    def _calls(
        self, task: TaskPlan, parts: list[tuple[str, TaskResult | ItemResult]], started: bool
    ) -> dict[str, Any]:
        policies, document = task.policies, dict[str, Any]()
        if policies.max_parallel is not None and policies.for_each is not None:
            document["max_parallel"] = policies.max_parallel
        if locks := list(_locks(task)):
            document["locks"] = locks
        inner = [(f"{where}/", part.tasks) for where, part in parts if part.tasks]
        if task.inner is not None and inner:
            within = task.inner
            schedule = {"schedule": within.own_schedule} if within.own_schedule else {}
            made = {"name": "inner", **self._document(within.plan, inner, started), **schedule}
            return document | {"workflow": made, "arguments": {}}
        spans = [self._spans[where] for where, _ in parts if where in self._spans]
        delay_s = policies.delay_s or 0.0
        fixed = [_fixed_ms(span, started) / 1000 for span in spans]
        if delay_s := delay_s + (max(fixed) if fixed else 0.0):
            document["delay_s"] = delay_s
        attempts = max((len(span.calls_ms) for span in spans), default=1)
        if attempts > 1:
            longest_s = max(pause for span in spans for pause in _pauses_s(span))
            waits = {"initial_s": longest_s, "max_s": longest_s, "factor": 1, "jitter": 1}
            document["retry"] = {"max_attempts": attempts, **waits}
        target = spans[0].target if spans and spans[0].server else "person:ask"
        return document | {"tool": target, "timeout_s": 1e9}


def _locks(task: TaskPlan) -> Iterator[dict[str, Any]]:
    for hold in filter(None, (lock.literal for lock in task.policies.locks)):
        mode = {"mode": "shared" if hold.shared else "exclusive"}
        yield {"name": hold.name} | (mode if hold.number is None else {"count": hold.number})


def _fixed_ms(span: Span, started: bool) -> float:
    """What a call waited for that its start depends on in any case."""
    return sum(
        max(0.0, min(since + waited, span.started_ms) - max(since, span.ready_ms))
        for cause, since, waited in span.before
        if cause.kind in _FIXED and not (started and cause.kind == "server_start")
    )


def _pauses_s(span: Span) -> list[float]:
    """The waits between the calls of a task, seconds."""
    return [waited / 1000 for cause, _, waited in span.inside if cause.kind in IN_CALL]


class _Caller:
    """Makes calls that take what they took."""

    def __init__(
        self,
        spans: Mapping[str, Span],
        settings: Settings,
    ) -> None:
        self._spans, self._factors, self._times = spans, settings.factors, settings.times
        self._made: dict[str, int] = defaultdict(int)
        self._share = 0.0

    def random(self) -> float:
        """What makes the wait after the call that failed just now as long as it was."""
        return 1.0 - self._share

    async def __call__(self, call: Call, _: Attempt) -> Any:
        where = call.where
        span = self._spans.get(where)
        if span is None:
            return None
        number = self._made[where]
        self._made[where] += 1
        factor = self._factors.get(span.task, 1.0) * self._factors.get(span.server, 1.0)
        calls = [self._times[where]] if where in self._times else span.calls_ms
        await anyio.sleep(calls[number] / 1000 * factor if number < len(calls) else 0.0)
        if number < len(calls) - 1:
            longest_s = 0.0 if call.retry is None else call.retry.max_s
            self._share = _pauses_s(span)[number] / longest_s if longest_s else 0.0
            raise CallError("server_unavailable", "as then")
        return None
