"""Words of other workflow languages (GitHub Actions, Argo, dagu, ToolHive), and their names here.

They are never accepted: a field that means nearly the same would be worse than an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.documents.jsonpath import describe
from orchestrator.documents.pointer import move_op, pointer, replace_op, steps, value_at
from orchestrator.documents.text import quoted
from orchestrator.errors import Problem

_LISTS = ("tasks", "finally")
_NO_SHELL = 'only tools are called: give "tool" a "server:tool"'
_OPERATOR = "who is trusted is for the operator to say, in servers.toml"
_NEEDED = 'write {"id": ..., "tool": "server:tool", "arguments": {...}} for each'
_GOES_ON = (
    'a failed task does not stop others: on those that need it write "run_if": "all_done", or give '
    'it a "fallback"'
)


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a foreign word is called here: a field, or nothing."""

    field: str = ""
    hint: str = ""
    renamed: bool = True  # whether its value may mean the same


def _words(names: str, field: str = "", hint: str = "", *, renamed: bool = True) -> Any:
    return dict.fromkeys(names.split(), _Meaning(field, hint, renamed and bool(field)))


# By the word in lower case, without "-" and "_".
_OF_WORKFLOWS: Mapping[str, _Meaning] = {
    **_words("steps nodes actions", "tasks", _NEEDED),
    **_words("jobs stages spec templates dag entrypoint", "tasks", _NEEDED, renamed=False),
    **_words("params parameters", "inputs", "a JSON Schema for each name", renamed=False),
    **_words("parallelism concurrency maxparallel maxactivesteps maxactiveruns", "max_concurrency"),
    **_words("failfast", "on_error", '"fail_fast" or "continue"', renamed=False),
    **_words("continueonerror", "on_error", '"continue" is the default', renamed=False),
    **_words("timeoutsec timeoutseconds activedeadlineseconds", "timeout_s"),
    **_words("onexit handleron hooks cleanup", "finally", "an array of tasks", renamed=False),
    **_words("on cron", hint="a workflow does not start itself: use cron or CI for that"),
    **_words("env secrets", hint="variables belong to the servers: see env in servers.toml"),
    **_words("trust trusted untrusted sensitive", hint=f"{_OPERATOR}: [[trusted]]"),
    **_words("version apiversion kind metadata type", hint="remove it"),
}
_OF_TASKS: Mapping[str, _Meaning] = {
    **_words("uses action call template templateref toolname function", "tool", '"server:tool"'),
    **_words("with inputs input parameters argument", "arguments"),
    **_words("if condition preconditions precondition", "when", "an expression without ${}"),
    **_words("unless", "when", 'negate it: "!(...)"', renamed=False),
    **_words("withitems withparam foreach loop items withlist", "for_each", "an array"),
    **_words("withsequence", "for_each", '"${range(1, 11)}"', renamed=False),
    **_words("matrix strategy", "for_each", "an object of arrays is their product", renamed=False),
    **_words("depends dependencies after requires waitfor", "depends_on", "an array of ids"),
    **_words("retries maxretries", "retry", "it counts all attempts, the first too", renamed=False),
    **_words("retrystrategy retrypolicy", "retry", '{"max_attempts": 3}', renamed=False),
    **_words("repeatpolicy until", "repeat", '{"until": "expression"}', renamed=False),
    **_words("timeoutminutes", "timeout_s", "in seconds", renamed=False),
    **_words("timeoutsec timeoutseconds", "timeout_s"),
    **_words("activedeadlineseconds", "deadline_s"),
    **_words(
        "continueonerror continueon allowfailure ignoreerrors", "run_if", _GOES_ON, renamed=False
    ),
    **_words("failfast", "critical", "its failure cancels the run", renamed=False),
    **_words(
        "onerror onfailure catch onfail",
        "fallback",
        '"fallback" replaces the output of a task that failed, "retry" tries it again, and '
        '"critical" cancels the run',
        renamed=False,
    ),
    **_words("name key step taskid stepid", "id"),
    **_words("concurrency maxactive", "max_parallel"),
    **_words("memoize memo caching", "cache", '{"ttl_s": 3600}', renamed=False),
    **_words("parallel", hint="tasks run in parallel unless one needs another"),
    **_words("type kind", hint='remove it: "tool" says what a task does'),
    **_words("run command script shell executor image container", hint=_NO_SHELL),
    **_words("env", hint="variables belong to the servers: see env in servers.toml"),
    **_words("trust trusted untrusted sensitive because", hint=f"{_OPERATOR}: [[trusted]]"),
    **_words("server", hint='"tool" has both: "server:tool"'),
    **_words("output outputs stdout", hint="its output is $OUTPUT[id] for all others"),
}


def _meaning(words: Mapping[str, _Meaning], name: str) -> _Meaning | None:
    return words.get(name.replace("-", "").replace("_", "").lower())


def explained(problems: Iterable[Problem], data: Any) -> Iterator[Problem]:
    """The problems in a workflow, where foreign words have what they are called here.

    A missing field is not reported if a foreign word stands for it.
    """
    found = [_explained(problem, data) for problem in problems]
    named = {path for _, path in found if path}
    for problem, _ in found:
        if problem.code != "missing_field" or problem.path not in named:
            yield problem


def _explained(problem: Problem, data: Any) -> tuple[Problem, str]:
    """A problem, and the path of the field that its foreign word stands for."""
    *above, name = steps(problem.path) or [""]
    if problem.code != "unknown_field":
        return problem, ""
    is_task = len(above) > 1 and above[-2] in _LISTS
    words = _OF_TASKS if is_task else _OF_WORKFLOWS
    is_at_top = not above or above[-1] == "workflow"
    meaning = _meaning(words, name)
    if meaning is None or not (is_task or is_at_top):
        return problem, ""
    said = f"unknown field {quoted(name)}"
    if not meaning.field:
        return replace(problem, message=said, alternatives=(), hint=meaning.hint), ""
    field = pointer(*above, meaning.field)
    is_free = meaning.field not in value_at(data, pointer(*above))
    moved = (move_op(problem.path, field),) if meaning.renamed and is_free else ()
    here = quoted(meaning.field)
    message = f"{said}, which is {here} here" if meaning.renamed else f"{said}: use {here}"
    explained = replace(problem, message=message, alternatives=(), hint=meaning.hint)
    return replace(explained, replacement=moved), field


def tasks_elsewhere(workflow: Mapping[str, Any]) -> str | None:
    """The field of a workflow with its tasks, if they are an object by id or it is a foreign word.

    Its tasks cannot be read there, so that all mistakes in them would stay hidden.
    """
    names = ["tasks"] if "tasks" in workflow else map(str, workflow)
    name = next((name for name in names if name == "tasks" or _stands_for_tasks(name)), None)
    if name is None:
        return None
    tasks = workflow.get(name)
    by_id = isinstance(tasks, Mapping) and all(map(_is_named, tasks.items()))
    return name if by_id or (name != "tasks" and isinstance(tasks, list)) else None


def _stands_for_tasks(name: str) -> bool:
    meaning = _meaning(_OF_WORKFLOWS, name)
    return meaning is not None and meaning.field == "tasks" and meaning.renamed


def _is_named(item: tuple[str, Any]) -> bool:
    name, task = item
    return isinstance(task, Mapping) and task.get("id", name) == name


def with_array(workflow: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The workflow with what `tasks_elsewhere` found as the array of its tasks."""
    tasks = workflow[field]
    if isinstance(tasks, Mapping):
        tasks = [{"id": name, **task} for name, task in tasks.items()]
    return {name: of for name, of in workflow.items() if name != field} | {"tasks": tasks}


def placed_back(
    problems: Iterable[Problem], workflow: Mapping[str, Any], field: str
) -> Iterator[Problem]:
    """The problem of tasks that are elsewhere, and those in the array that they should be.

    These are placed where the tasks are, and have no fix: that of the first moves all of it.
    """
    at, tasks = pointer(field), workflow[field]
    if field != "tasks":
        yield _explained(Problem("unknown_field", "", at), workflow)[0]
    if isinstance(tasks, Mapping):
        message, hint = f"expected array, got {describe(tasks)}", "each task has its id"
        fix = (replace_op(at, with_array(workflow, field)["tasks"]),) if field == "tasks" else ()
        yield Problem("wrong_type", message, at, hint=hint, replacement=fix)
    names = list(tasks)
    for problem in problems:
        where = steps(problem.path)
        if where[:1] == ["tasks"]:
            where[0] = field
            if isinstance(tasks, Mapping) and len(where) > 1:
                where[1] = names[int(where[1])]
        yield replace(problem, path=pointer(*where), replacement=())
