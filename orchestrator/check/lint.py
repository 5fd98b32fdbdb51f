"""Warns of what a workflow may contain, but most likely does not mean."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from typing import Any

from orchestrator.check.policies import IsForAll, policy_warnings, task_warning
from orchestrator.documents.jsonpath import Path
from orchestrator.documents.pointer import pointer
from orchestrator.documents.text import quoted
from orchestrator.errors import Problem
from orchestrator.expressions.templates import Literal
from orchestrator.schema.tool import Tool
from orchestrator.workflow import graph as graphs
from orchestrator.workflow.inner import findings_inside
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import Plan, TaskPlan

# With more tasks on a server than this, they are assumed to overlap: looking it up is quadratic.
MAX_LOOKUPS = 200


def warnings_of(
    workflow: Workflow,
    tools: Mapping[str, Tool],
    serial: Collection[str] = (),
    idle: Collection[str] = (),
    around: Schedule = "generations",
    is_for_all: IsForAll = lambda *_: False,
) -> list[Problem]:
    """Warnings about a valid workflow, each with what to write instead.

    Args:
        workflow: The workflow.
        tools: The known tools, by `server:tool`; may be empty.
        serial: The servers that take one call at a time.
        idle: The tasks that are known to never run.
        around: The schedule of a workflow that does not say its own.
        is_for_all: Whether all workers together hold a lock.
    """
    tasks, schedule = workflow.plan.tasks.values(), workflow.own_schedule or around
    return [
        *_tasks_that_never_run(workflow, idle),
        *(
            warning
            for task in tasks
            for warning in policy_warnings(task, workflow, tools.get(task.target), is_for_all)
        ),
        *_likely_references(workflow),
        *_not_inserted(workflow),
        *_unannotated_tools(workflow, tools, serial, schedule),
        *_limit_of_nothing(workflow),
        *(
            warning
            for task in tasks
            if task.inner is not None
            for warning in findings_inside(
                workflow,
                task,
                task.inner,
                [
                    *warnings_of(
                        task.inner, tools, serial, _inside(task, idle), schedule, is_for_all
                    ),
                    *_settings_of_the_run(task.inner),
                    *_spread_inside(task.inner),
                ],
            )
        ),
    ]


def _settings_of_the_run(inner: Workflow) -> Iterator[Problem]:
    """What counts only in the workflow that is run, and not in one inside it."""
    if "max_concurrency" in inner.model_fields_set and inner.source is None:
        message = "max_concurrency has no effect inside another workflow: that of the run counts"
        yield Problem(
            "means_nothing", message, pointer("max_concurrency"), None, severity="warning"
        )


def _spread_inside(inner: Workflow) -> Iterator[Problem]:
    for task in inner.plan.tasks.values():
        if task.policies.spread:
            message = "spread has no effect inside another workflow: write it at the task around it"
            yield task_warning("means_nothing", message, task, "spread")


def _limit_of_nothing(workflow: Workflow) -> Iterator[Problem]:
    if "finally_timeout_s" in workflow.model_fields_set and not workflow.finally_:
        message, at = "finally_timeout_s has no effect without finally", "/finally_timeout_s"
        yield Problem("means_nothing", message, at, severity="warning")


def _inside(task: TaskPlan, names: Iterable[str]) -> list[str]:
    """The tasks in the workflow of a task, of those named `outer/inner`."""
    prefix = f"{task.id}/"
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _tasks_that_never_run(workflow: Workflow, idle: Collection[str]) -> Iterator[Problem]:
    never = set(idle)
    for task in workflow.plan.order:
        if task.id not in idle and (reason := _why_never(task, workflow, never)):
            why, *field = reason
            never.add(task.id)
            yield task_warning("never_runs", f"the task never runs: {why}", task, *field)


def _why_never(task: TaskPlan, workflow: Workflow, never: Container[str]) -> tuple[str, ...]:
    """Why a task never runs, and the field that says so if it is one; empty if it may run."""
    policies, needs = task.policies, task.needs
    idle = [name for name in needs if name in never]
    is_critical = (workflow.plan.tasks[name].policies.critical for name in needs)
    run_if = f"run_if is {policies.run_if}"
    match policies.run_if:
        case "all_success" if idle:
            return (f"its dependency {quoted(idle[0])} never runs",)
        case "any_success" | "any_failed" if not needs:
            return f"{run_if}, and it has no dependencies", "run_if"
        case "any_success" | "any_failed" if len(idle) == len(needs):
            return f"{run_if}, and none of its dependencies ever runs", "run_if"
        case "any_failed" if task.generation is None:  # `finally` runs after any end of the run
            pass
        case "any_failed" if workflow.on_error == "fail_fast":
            return f"{run_if}, and with fail_fast a failure ends the run", "run_if"
        case "any_failed" if all(is_critical):
            return f"{run_if}, and the failure of a critical task ends the run", "run_if"
    return ("its condition is false", "when") if policies.when == Literal(False) else ()


def _unannotated_tools(
    workflow: Workflow, tools: Mapping[str, Tool], serial: Collection[str], schedule: Schedule
) -> Iterator[Problem]:
    """Tools that do not declare whether they write, where calls of one server may overlap."""
    names: dict[str, set[str]] = defaultdict(set)
    callers: dict[str, dict[object, TaskPlan]] = defaultdict(dict)
    for task, target, _ in workflow.plan.calls:
        tool = tools.get(target.target)
        if tool is not None and tool.read_only is None and target.server not in serial:
            own = workflow.plan.tasks[task.id.partition("/")[0]]
            # The tasks of one inner workflow are compared with each other there.
            key = (own.id,) if own.inner is not None else (own.id, target.target)
            callers[target.server][key] = own
            names[target.server].add(target.target)
    for server, found in callers.items():
        if _may_overlap(workflow, list(found.values()), schedule):
            names_found = ", ".join(sorted(names[server]))
            overlap = f"calls of {names_found} on server {quoted(server)} may overlap"
            message = f"{overlap}, and these tools do not declare whether they write"
            hint = f"if they write, set max_concurrency = 1 in [servers.{server}], or use locks"
            yield Problem("unannotated_tools", message, hint=hint, severity="warning")


def _may_overlap(workflow: Workflow, tasks: list[TaskPlan], schedule: Schedule) -> bool:
    """Whether any two of the tasks, or two items of one, may run at the same time."""
    return any(_overlap_in(stage, workflow, tasks, schedule) for stage in workflow.plan.stages)


def _overlap_in(stage: Plan, workflow: Workflow, tasks: list[TaskPlan], schedule: Schedule) -> bool:
    number = {name: index for index, names in enumerate(stage.generations) for name in names}
    tasks = [task for task in tasks if task.id in number]
    if not tasks:
        return False
    locks = [filter(None, (lock.literal for lock in task.policies.locks)) for task in tasks]
    held = ({hold.name for hold in each if hold.is_exclusive} for each in locks)
    if workflow.max_concurrency == 1 or set.intersection(*held):
        return False
    generations = [number[task.id] for task in tasks]
    fans_out = any(task.policies.for_each is not None for task in tasks)
    if fans_out or len(set(generations)) < len(generations):
        return True
    if schedule == "generations":  # each generation waits for the one before
        return False
    ordered = sorted((task.id for task in tasks), key=number.__getitem__)
    return len(tasks) > MAX_LOOKUPS or not graphs.is_chain(stage.graph, ordered)


_ROOTS = {name.casefold(): name for name in ("OUTPUT", "INPUT", "ITEM", "INDEX", "ERROR", "RUN")}
_PATH = r"(?P<path>(?:\.[A-Za-z_]\w*|\[-?\d+\])*)"
_WORD = r"(?P<word>[A-Za-z][\w:-]*)(?:\[(?P<id>[A-Za-z][\w.:-]*)\])?"
_DOLLAR = re.compile(rf"(?<!\$)\${_WORD}{_PATH}")
_AROUND = re.compile(r"\{\{\s*(\$(?:OUTPUT|INPUT|ITEM|INDEX|ERROR|RUN)\b[^{}]*?)\s*\}\}")
_VARIABLE = re.compile(r"(?i)(?<!\$)\$(?:process\.)?env(?:\.\w+|\[[^\]]*\])")
# Argo and ToolHive: `{{tasks.a.outputs.result}}`, `{{.steps.a.output}}`.
_BRACES = re.compile(rf"\{{\{{\s*[$.]?(?:(?:steps|tasks)\.)?{_WORD}{_PATH}\s*\}}\}}")
_OUTPUT_OF_OTHERS = re.compile(r"^\.(?:outputs?(?:\.(?:result|parameters))?|result)\b")


def _likely_references(workflow: Workflow) -> Iterator[Problem]:
    """Strings in arguments and arrays that most likely are meant as references."""
    for task in (*workflow.tasks, *workflow.finally_):
        plan = workflow.plan.tasks[task.id]
        for path, text in _strings({"arguments": task.arguments, "for_each": task.for_each}, ()):
            for found in (*_DOLLAR.finditer(text), *_BRACES.finditer(text)):
                if meant := _meant(found, workflow):
                    message = f"{quoted(found[0])} is plain text, but looks like a reference"
                    hint = f"write {meant}"
                    if "$" in found[0]:
                        hint += ", or double the dollar sign for plain text: $$"
                    more = {"alternatives": (meant,), "hint": hint, "text": found[0]}
                    yield task_warning("likely_reference", message, plan, *path, **more)


def _not_inserted(workflow: Workflow) -> Iterator[Problem]:
    """Braces around references, which stay text, and environment variables."""
    for task in (*workflow.tasks, *workflow.finally_):
        plan = workflow.plan.tasks[task.id]
        for path, text in _strings({"arguments": task.arguments}, ()):
            for found in _AROUND.finditer(text):
                message = f"the braces of {quoted(found[0])} stay in the text"
                more = {"alternatives": (found[1],), "hint": f"write {found[1]}", "text": found[0]}
                yield task_warning("likely_reference", message, plan, *path, **more)
            for found in _VARIABLE.finditer(text):
                message = f"{quoted(found[0])} is plain text: a workflow reads no environment"
                hint = "declare an input, or set the variable for the server in servers.toml"
                yield task_warning(
                    "likely_reference", message, plan, *path, hint=hint, text=found[0]
                )


def _strings(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str) and ("$" in value or "{{" in value):
        yield path, value
    elif isinstance(value, dict | list):
        for step, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(part, (*path, step))


def _meant(found: re.Match[str], workflow: Workflow) -> str | None:
    """The reference that a piece of text looks like; None if it looks like none."""
    word, identifier, path = found["word"], found["id"], found["path"]
    in_braces = found.re is _BRACES
    root = _ROOTS.get(word.casefold().removesuffix("s"), "")
    if root in ("OUTPUT", "ERROR"):
        return None if identifier is None or word == root else f"${root}[{identifier}]{path}"
    if identifier is not None:
        return None
    if root and (path or root not in ("INPUT", "RUN")):
        return None if word == root and not in_braces else f"${root}{path}"
    if word in workflow.plan.tasks and (path or in_braces):
        return f"$OUTPUT[{word}]{_OUTPUT_OF_OTHERS.sub('', path)}"
    return f"$INPUT.{word}{path}" if word in workflow.inputs else None
