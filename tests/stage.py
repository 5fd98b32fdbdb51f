"""A case on the stage: it is run for real, against a caller that keeps its own books.

The rule of this file: what is seen is written down as it happens; `tests.rules` judges it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.limits import Slots
from orchestrator.calls.policy import ServerPolicy
from orchestrator.engine.events import Event, TaskSettled, TaskStarted
from orchestrator.engine.result import RunResult
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.errors import CallError
from orchestrator.schema.tool import Tool
from orchestrator.workflow.budget import Budget
from orchestrator.workflow.model import Schedule, Workflow
from tests.model import (
    SERVER_TIMEOUT_S,
    Case,
    Defaults,
    Fault,
    Lock,
    Repeat,
    Retry,
    StandIn,
    Task,
    Unit,
    fallback_of,
    in_run,
)

FOREVER_S = 1e6


@dataclass(frozen=True)
class Entry:
    """Something that was seen: a call's attempt that starts or ends, or a task that settles."""

    what: Literal["start", "end", "settled"]
    task: str
    unit: Unit
    at_s: float


@dataclass
class Stage:
    """The caller that plays a case.

    Attributes:
        log: What was seen, in order.
        given: The arguments of each call, attempt by attempt.
        seen: The events.
        made: How often each call was made; of tasks inside, in the last run of their workflow.
        runs: How often each workflow inside was run, by path.
    """

    case: Case
    log: list[Entry] = field(default_factory=list)
    given: dict[tuple[str, Unit], list[Any]] = field(default_factory=dict)
    seen: list[Event] = field(default_factory=list)
    zero_s: float = 0.0
    made: Counter[tuple[str, Unit]] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)

    async def __call__(self, call: Call, _: Attempt) -> Any:
        task = self.task_at(call.task)
        unit = fallback_of(call.item) if call.is_fallback else call.item
        rows = task.rows_of(unit)
        after, answer = rows[min(self.made[call.task, unit], len(rows) - 1)]
        self.made[call.task, unit] += 1
        self.given.setdefault((call.task, unit), []).append(call.arguments)
        self._note("start", call.task, unit)
        try:
            await anyio.sleep(after)
        finally:
            self._note("end", call.task, unit)
        if isinstance(answer, Fault):
            raise raised_by(answer)
        return answer

    def task_at(self, path: str) -> Task:
        """A task by its path; one inside answers as it does in this run of its workflow."""
        case, above = self.case, ""
        *outer, name = path.split("/")
        for step in outer:
            inner = case.task(step.partition("[")[0]).inner
            assert inner is not None
            above += step
            case = in_run(inner, self.runs[above] - 1)
            above += "/"
        return case.task(name)

    def is_inner(self, path: str) -> bool:
        return self.task_at(path).inner is not None

    def begin(self, event: TaskStarted) -> None:
        """A workflow inside begins: for its tools it is as if nothing had been called before."""
        path = event.task if event.item is None else f"{event.task}[{event.item}]"
        self.made[event.task, event.item] += 1
        self.runs[path] += 1
        for counter in (self.made, self.runs):
            for key in list(counter):
                name = key[0] if isinstance(key, tuple) else key
                if str(name).startswith(f"{path}/"):
                    del counter[key]

    def observe(self, event: Event) -> None:
        self.seen.append(event)
        if isinstance(event, TaskStarted) and not event.fallback and self.is_inner(event.task):
            self.begin(event)
        if isinstance(event, TaskSettled):
            self._note("settled", event.task, None)

    def _note(self, what: Literal["start", "end", "settled"], task: str, unit: Unit) -> None:
        self.log.append(Entry(what, task, unit, anyio.current_time() - self.zero_s))


def raised_by(fault: Fault) -> Exception:
    """The exception that a fault stands for; a bug of the caller if its kind is `internal`."""
    if fault.kind == "internal":
        return ZeroDivisionError("a bug")
    kind: Any = fault.kind
    return CallError(kind, "no", retryable=fault.retryable, **fault.details)


def as_file(case: Case) -> dict[str, Any]:
    """The workflow file of a case."""
    tasks = [task_in_file(task, case.defaults) for task in case.tasks]
    last = [task_in_file(task, case.defaults, "all_done") for task in case.finally_]
    document: dict[str, Any] = {
        "tasks": [tasks[place] for place in case.order] or tasks,
        "max_concurrency": case.max_concurrency,
        "on_error": "fail_fast" if case.fail_fast else "continue",
        "timeout_s": case.timeout_s,
        "defaults": defaults_in_file(case.defaults) or None,
        "finally": last or None,
        "finally_timeout_s": case.finally_timeout_s if last else None,
    }
    document["output"] = None if case.output is None else case.output.text
    document["schedule"] = case.schedule
    return {name: value for name, value in document.items() if value is not None}


def inner_in_file(task: Task) -> dict[str, Any]:
    """The workflow of a task; of its inputs it says only what the task refuses."""
    if task.inner is None:
        if task.kind == "read":
            return {"read": f"{task.server}:{task.arguments['uri'].text}"}
        return {task.kind: f"{task.server}:{task.id}"}
    schema = {} if task.refuses is None else {"not": {"type": task.refuses}}
    inputs = {"inputs": dict.fromkeys(task.arguments, schema)} if task.arguments else {}
    return {"workflow": {**as_file(task.inner), **inputs}}


def defaults_in_file(defaults: Defaults) -> dict[str, Any]:
    fields = {
        "timeout_s": defaults.timeout_s,
        "retry": None if defaults.retry is None else retry_in_file(defaults.retry),
        "on_item_error": defaults.on_item_error,
    }
    return {name: value for name, value in fields.items() if value is not None}


def task_in_file(task: Task, defaults: Defaults, run_if: str = "all_success") -> dict[str, Any]:
    """A task as the file has it, without what the defaults say as well."""
    if task.value is not None:
        return value_in_file(task, run_if)
    fields: dict[str, Any] = {
        "arguments": {name: term.text for name, term in task.arguments.items()}
        if task.kind != "read"
        else None,
        "depends_on": list(task.depends_on),
        "run_if": task.run_if,
        "when": None if task.when is None else task.when.text,
        "for_each": None if task.for_each is None else task.for_each.text,
        "max_parallel": task.max_parallel,
        "retry": None if task.retry is None else retry_in_file(task.retry),
        "timeout_s": task.timeout_s,
        "fallback": fallback_in_file(task, task.fallback),
        "critical": task.critical,
        "locks": [lock_in_file(lock) for lock in task.locks],
        "item_when": None if task.item_when is None else task.item_when.text,
        "item_fallback": fallback_in_file(task, task.item_fallback),
        "on_item_error": task.on_item_error,
        "repeat": None if task.repeat is None else repeat_in_file(task.repeat),
        "delay_s": task.delay_s,
        "deadline_s": task.deadline_s,
        "end_run": task.end_run,
    }
    said = {**defaults_in_file(defaults), "run_if": run_if}
    kept = {x: value for x, value in fields.items() if value is not None and value != said.get(x)}
    return {"id": task.id, **inner_in_file(task), **kept}


def value_in_file(task: Task, run_if: str) -> dict[str, Any]:
    """A task that calls nothing."""
    assert task.value is not None
    fields: dict[str, Any] = {
        "depends_on": list(task.depends_on),
        "run_if": None if task.run_if == run_if else task.run_if,
        "when": None if task.when is None else task.when.text,
        "for_each": None if task.for_each is None else task.for_each.text,
        "fallback": fallback_in_file(task, task.fallback),
    }
    kept = {name: value for name, value in fields.items() if value is not None}
    return {"id": task.id, "value": task.value.text, **kept}


def repeat_in_file(repeat: Repeat) -> dict[str, Any]:
    collect = {} if repeat.collect is None else {"collect": repeat.collect.text}
    wait = {"every_s": repeat.every_s, "max_times": repeat.max_times}
    return {"until": repeat.until.text, **wait, **collect}


def retry_in_file(retry: Retry) -> Any:
    if retry == Retry(retry.max_attempts):
        return retry.max_attempts
    fields = {name: getattr(retry, name) for name in Retry.__dataclass_fields__}
    return {name: list(x) if name == "on" else x for name, x in fields.items() if x is not None}


def fallback_in_file(task: Task, stand_in: StandIn | None) -> Any:
    if stand_in is None:
        return None
    if stand_in.value is not None:
        return {"value": stand_in.value.text}
    if stand_in.arguments is None:
        return None
    arguments = {name: term.text for name, term in stand_in.arguments.items()}
    return {"tool": f"{task.server}:{task.id}.fallback", "arguments": arguments}


def lock_in_file(lock: Lock) -> Any:
    return {"name": lock.name.text, "mode": "shared"} if lock.shared else lock.name.text


async def play(
    case: Case, workflow: Workflow, schedule: Schedule | None = None
) -> tuple[Stage, RunResult]:
    """Run a case. Never waits for ever: on a virtual clock a deadlock is a `TimeoutError`."""
    stage = Stage(case)
    tools = {tool.target: tool for tool in tools_in(case)}
    servers = {
        name: ServerPolicy(
            SERVER_TIMEOUT_S, Slots(case.slots[name]) if name in case.slots else None
        )
        for name in ("s0", "s1")
    }
    run = Run(
        workflow,
        stage,
        RunSettings(schedule=schedule, estimates=case.estimates),
        servers=Servers(
            tools=tools,
            policies=servers,
            budget=None if case.calls is None else Budget(calls=case.calls),
        ),
        observers=[stage.observe],
    )
    stage.zero_s = anyio.current_time()
    with anyio.fail_after(FOREVER_S):
        async with anyio.create_task_group() as user:
            for at_s in (case.cancelled_s, case.cancelled_again_s):
                if at_s is not None:
                    user.start_soon(cancel_after, at_s, run)
            for task, after_s in case.cancelled_tasks.items():
                user.start_soon(cancel_after, after_s, run, task)
            result = await run.execute()
            user.cancel_scope.cancel()
    return stage, result


def tools_in(case: Case) -> Iterator[Tool]:
    for task in case.all_tasks:
        yield from tools_of(task)
        yield from tools_in(task.inner) if task.inner else ()


def tools_of(task: Task) -> Iterator[Tool]:
    """What is known of the tools of a task: nothing, where they declare nothing."""
    schema: dict[str, Any] = {}
    if task.refuses is not None:
        schema = {"type": "object", "additionalProperties": {"not": {"type": task.refuses}}}
        yield Tool(task.server, f"{task.id}.fallback", schema)
    if task.repeatable or schema:
        yield Tool(task.server, task.id, schema, idempotent=task.repeatable or None)


async def cancel_after(seconds: float, run: Run, task: str | None = None) -> None:
    await anyio.sleep(seconds)
    if task is None:
        run.cancel("enough")
    else:
        run.cancel_task(task, "not needed")
