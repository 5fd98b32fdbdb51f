"""What is allowed in a workflow, and most likely not meant.

The rule of this file: pure functions; each warning says what to write instead. What is wrong is in
`checking`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.documents.jsonpath import Path
from orchestrator.documents.pointer import pointer
from orchestrator.errors import RETRYABLE_KINDS, Code, Problem
from orchestrator.expressions.templates import Literal
from orchestrator.schema.tool import Tool
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import CallTemplate, TaskPlan

# Whether two tasks can run at the same time is looked up in the graph for no more than so many
# tasks of a server; of more it is assumed.
MAX_LOOKUPS = 200
_OUTCOME_UNKNOWN = frozenset({"timeout", "server_unavailable"})


def warnings_of(
    workflow: Workflow, tools: Mapping[str, Tool], serial: Collection[str] = ()
) -> list[Problem]:
    """Everything that is worth a second look.

    Args:
        workflow: What is to be run.
        tools: Each tool that is known, by `server:tool`; may be empty.
        serial: The servers that take one call at a time.
    """
    found = [
        *tasks_that_never_run(workflow),
        *contradictions(workflow),
        *lookalikes(workflow),
        *(problem for task in workflow.plan.tasks.values() for problem in _of_retry(task, tools)),
        *_unannotated(workflow, tools, serial),
    ]
    return [replace(problem, severity="warning") for problem in found]


def _of_retry(task: TaskPlan, tools: Mapping[str, Tool]) -> Iterator[Problem]:
    retry, tool = task.policies.retry, tools.get(task.target)
    if retry is None:
        return
    for kind in retry.on or ():
        if kind not in RETRYABLE_KINDS:
            message = f"an error of kind {kind} is never retried: it would come again"
            near = tuple(sorted(RETRYABLE_KINDS))
            yield Problem("never_retried", message, _at(task, "retry", "on"), task.id, near)
    unknown = retry.on is None or not _OUTCOME_UNKNOWN.isdisjoint(retry.on)
    writes = tool is not None and tool.read_only is False and not tool.idempotent
    if writes and unknown and retry.max_attempts > 1:
        message = (
            f"{task.target} declares that it writes and is not idempotent: an attempt whose "
            "outcome is unknown (a timeout, a lost connection) may be carried out twice"
        )
        hint = 'leave retry out, or narrow it: "on": ["tool_error"]'
        yield Problem("retry_of_a_writer", message, _at(task, "retry"), task.id, (), hint)


def _unannotated(
    workflow: Workflow, tools: Mapping[str, Tool], serial: Collection[str]
) -> Iterator[Problem]:
    """Tools that do not say whether they write, where calls of one server may overlap."""
    by_server: dict[str, list[TaskPlan]] = defaultdict(list)
    names: dict[str, set[str]] = defaultdict(set)
    for task, target, _ in workflow.plan.calls:
        tool = tools.get(target.target)
        if tool is not None and tool.read_only is None and target.server not in serial:
            by_server[target.server].append(task)
            names[target.server].add(target.target)
    if workflow.max_concurrency == 1:
        return
    for server, tasks in by_server.items():
        if not _share_a_lock(tasks) and _overlap(workflow, tasks):
            silent = ", ".join(sorted(names[server]))
            message = (
                f"on server {server!r} calls of {silent} may run at the same time, and these tools "
                "do not say whether they write"
            )
            hint = f"if they do: max_concurrency = 1 for [servers.{server}], or a lock on the tasks"
            yield Problem("unannotated_tools", message, "", None, (), hint)


def _share_a_lock(tasks: list[TaskPlan]) -> bool:
    """Whether all of them hold one name, so that they take turns."""
    held = [
        {
            lock.name.value
            for lock in task.policies.locks
            if isinstance(lock.name, Literal) and not lock.shared
        }
        for task in tasks
    ]
    return bool(set.intersection(*held))


def _overlap(workflow: Workflow, tasks: list[TaskPlan]) -> bool:
    """Whether any two of these tasks, or two items of one, may run at the same time."""
    if any(task.policies.for_each is not None for task in tasks):
        return True
    generations = [task.generation for task in tasks]
    if len(set(generations)) < len(generations):
        return True
    if workflow.schedule == "generations":
        return False
    ordered = [task.id for task in sorted(tasks, key=lambda task: task.generation)]
    return len(tasks) > MAX_LOOKUPS or not graphs.is_chain(workflow.plan.graph, ordered)


def _at(task: TaskPlan, *steps: str) -> str:
    return pointer("tasks", task.index, *steps)


def tasks_that_never_run(workflow: Workflow) -> Iterator[Problem]:
    """Each task that is skipped whatever happens, with the reason."""
    plan = workflow.plan
    reasons: dict[str, str] = {}
    for generation in plan.generations:
        for name in generation:
            task = plan.tasks[name]
            if (reason := _why_never(task, workflow, reasons)) is not None:
                field, reasons[name] = reason
                message = f"the task never runs: {reasons[name]}"
                at = pointer("tasks", task.index, *([field] if field else []))
                yield Problem("never_runs", message, at, name, severity="warning")


def _why_never(
    task: TaskPlan, workflow: Workflow, never: Mapping[str, str]
) -> tuple[str, str] | None:
    """The field that keeps a task from running, and why; None if it may run."""
    policies, needs = task.policies, task.dependencies
    idle = [name for name in needs if name in never]
    match policies.run_if:
        case "all_success" if idle:
            return "", f"its dependency {idle[0]!r} never does"
        case "any_success" | "any_failed" if not needs:
            return "run_if", f"run_if is {policies.run_if}, and it depends on nothing"
        case "any_success" | "any_failed" if len(idle) == len(needs):
            return "run_if", f"run_if is {policies.run_if}, and none of its dependencies ever runs"
        case "any_failed" if workflow.on_error == "fail_fast":
            return "run_if", "run_if is any_failed, and under fail_fast a failure ends the run"
        case "any_failed" if all(_ends_the_run(workflow, name) for name in needs):
            return "run_if", "run_if is any_failed, and the failure of a critical task ends the run"
    if policies.when == Literal(False):
        return "when", "its condition is false"
    return None


def _ends_the_run(workflow: Workflow, task: str) -> bool:
    return workflow.plan.tasks[task].policies.critical


def contradictions(workflow: Workflow) -> Iterator[Problem]:
    """Each policy that another one makes meaningless, or that cannot be met."""
    for task in workflow.plan.tasks.values():
        for code, field, message in (
            *_contradicts_retry(task),
            *_of_limits(task, workflow),
            *_of_locks(task),
        ):
            at = pointer("tasks", task.index, field)
            yield Problem(code, message, at, task.id, severity="warning")


_Contradiction = tuple[Code, str, str]


def _contradicts_retry(task: TaskPlan) -> Iterator[_Contradiction]:
    retry = task.policies.retry
    if retry is None:
        return
    given = retry.model_fields_set
    if retry.max_attempts == 1 and len(given) > 1:
        yield "means_nothing", "retry", "one attempt in all means that nothing is retried"
    elif retry.initial_s > retry.max_s and {"initial_s", "max_s"} & given:
        message = f"the first wait, {retry.initial_s:g} s, is longer than the longest, "
        yield "contradiction", "retry", f"{message}{retry.max_s:g} s"


def _of_limits(task: TaskPlan, workflow: Workflow) -> Iterator[_Contradiction]:
    policies, limit = task.policies, workflow.max_concurrency
    if task.timeout_s is not None and (workflow.timeout_s or task.timeout_s) < task.timeout_s:
        message = f"an attempt may take {task.timeout_s:g} s, and the whole run "
        yield "contradiction", "timeout_s", f"{message}{workflow.timeout_s:g} s"
    if policies.max_parallel is not None:
        if policies.for_each is None:
            yield "means_nothing", "max_parallel", "max_parallel means nothing without for_each"
        elif 0 < limit < policies.max_parallel:
            message = f"the run has no more than {limit} calls in flight (max_concurrency)"
            yield "means_nothing", "max_parallel", message
    stands_in = policies.fallback is not None and not isinstance(policies.fallback, CallTemplate)
    if policies.critical and stands_in:
        message = "the task never fails, since its fallback is a value: critical means nothing"
        yield "means_nothing", "critical", message


def _of_locks(task: TaskPlan) -> Iterator[_Contradiction]:
    policies = task.policies
    modes: dict[str, bool] = {}
    for lock in policies.locks:
        if not isinstance(lock.name, Literal):
            continue
        name = str(lock.name.value)
        if modes.setdefault(name, lock.shared) is not lock.shared:
            message = f"the lock {name!r} is both shared and exclusive: it is held exclusively"
            yield "contradiction", "locks", message
    alone = policies.for_each is not None and not all(modes.values())
    if alone and policies.max_parallel is not None and policies.max_parallel > 1:
        name = next(name for name, shared in modes.items() if not shared)
        message = f"each item holds the lock {name!r} alone, so one runs at a time"
        yield "contradiction", "max_parallel", message


_ROOTS = {"output": "OUTPUT", "input": "INPUT", "item": "ITEM", "index": "INDEX", "error": "ERROR"}
_PLACE = r"(?:\.[A-Za-z_]\w*|\[-?\d+\])*"
_WORD = r"(?P<word>[A-Za-z][\w:-]*)(?:\[(?P<id>[A-Za-z][\w.:-]*)\])?"
_DOLLAR = re.compile(rf"(?<!\$)\${_WORD}(?P<place>{_PLACE})")
_BRACES = re.compile(rf"\{{\{{\s*\$?{_WORD}(?P<place>{_PLACE})\s*\}}\}}")


def lookalikes(workflow: Workflow) -> Iterator[Problem]:
    """A warning for each text in arguments and lists that is most likely meant as a reference."""
    tasks = {task.id for task in workflow.tasks}
    for index, task in enumerate(workflow.tasks):
        values = {"arguments": task.arguments, "for_each": task.for_each}
        for path, text in _texts(values, ("tasks", index)):
            for found in (*_DOLLAR.finditer(text), *_BRACES.finditer(text)):
                if (meant := _meant(found, tasks, workflow.inputs)) is not None:
                    yield _problem(found[0], meant, pointer(*path), task.id)


def _problem(found: str, meant: str, at: str, task: str) -> Problem:
    message = f"{found!r} is text as it stands, and looks like a reference"
    hint = f"write {meant}; a dollar sign that is meant as text is doubled: $$"
    return Problem("likely_reference", message, at, task, (meant,), hint, "warning", found)


def _texts(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    match value:
        case str() if "$" in value or "{{" in value:
            yield path, value
        case dict():
            for name, member in value.items():
                yield from _texts(member, (*path, name))
        case list():
            for number, item in enumerate(value):
                yield from _texts(item, (*path, number))


def _meant(found: re.Match[str], tasks: Container[str], inputs: Container[str]) -> str | None:
    """The reference that a piece of text looks like; None if it looks like none."""
    word, identifier, place = found["word"], found["id"], found["place"]
    in_braces = found.re is _BRACES
    root = _ROOTS.get(word.casefold().removesuffix("s"), "")
    if root in ("OUTPUT", "ERROR"):
        return None if identifier is None or word == root else f"${root}[{identifier}]{place}"
    if identifier is not None:
        return None
    if root and (place or root != "INPUT"):
        return None if word == root and not in_braces else f"${root}{place}"
    if word in tasks and (place or in_braces):
        return f"$OUTPUT[{word}]{place.removeprefix('.output').removeprefix('.result')}"
    return f"$INPUT.{word}{place}" if word in inputs else None
