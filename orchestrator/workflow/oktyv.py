"""Oktyv's request for `parallel_execute`, taken as it is: its `config` and its milliseconds.

Its other names, `params` and `dependsOn`, are synonyms that any workflow may use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.documents.jsonpath import describe
from orchestrator.documents.pointer import pointer
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import quoted
from orchestrator.errors import Code, Problem

CONFIG = "config"
TASK_TIMEOUT = "timeout"
# The fields of its `config` and what they are called here.
FIELDS = {
    "maxConcurrent": "max_concurrency",
    "continueOnError": "on_error",
    "timeout": "timeout_s",
}
# A task with one of these and `timeout` is Oktyv's: there, `timeout` is milliseconds.
_ITS_NAMES = frozenset({"params", "dependsOn"})
# A workflow of nothing else is Oktyv's as well; a name comes from its file.
_ITS_FIELDS = frozenset({"name", "tasks", CONFIG})
_ITS_TASK_FIELDS = _ITS_NAMES | {"id", "tool", TASK_TIMEOUT}
SCHEMA = {
    "type": "object",
    "deprecated": True,
    "description": "Of a request for Oktyv: max_concurrency, on_error and timeout_s.",
    "properties": {
        "maxConcurrent": {"type": "integer", "minimum": 0},
        "continueOnError": {"type": "boolean", "default": False},
        "timeout": {"type": "number", "exclusiveMinimum": 0, "description": "Milliseconds."},
    },
    "additionalProperties": False,
}
TIMEOUT_SCHEMA = {
    "type": "number",
    "exclusiveMinimum": 0,
    "deprecated": True,
    "description": "Of a request for Oktyv: milliseconds. Elsewhere, write timeout_s.",
}


def is_request(workflow: Mapping[str, Any]) -> bool:
    """Whether a workflow is a request for Oktyv: it has its `config`, or a `timeout` of its."""
    tasks = workflow.get("tasks")
    own = [task for task in (tasks if isinstance(tasks, list) else ()) if isinstance(task, Mapping)]
    is_all_its = workflow.keys() <= _ITS_FIELDS and all(
        task.keys() <= _ITS_TASK_FIELDS for task in own
    )
    return CONFIG in workflow or any(
        TASK_TIMEOUT in task and (is_all_its or not _ITS_NAMES.isdisjoint(task)) for task in own
    )


def translated(workflow: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The workflow that a request for Oktyv means, and what is wrong in the fields it replaces."""
    made: dict[str, Any] = {name: of for name, of in workflow.items() if name != CONFIG}
    problems: list[Problem] = []
    config = workflow.get(CONFIG, {})
    if isinstance(config, Mapping):
        for name, value in config.items():
            _set(made, name, value, problems)
    else:
        problems.append(_problem("wrong_type", f"expected object, got {describe(config)}", CONFIG))
    made.setdefault("on_error", "fail_fast")  # as Oktyv does without `continueOnError`
    if isinstance(tasks := made.get("tasks"), list):
        made["tasks"] = [_task(task, index, problems) for index, task in enumerate(tasks)]
    return made, problems


def _set(made: dict[str, Any], name: str, value: Any, problems: list[Problem]) -> None:
    at, field = (CONFIG, name), FIELDS.get(name)
    if field is None:
        message = f"unknown field {quoted(str(name))}"
        near = nearest(str(name), FIELDS)
        hint = "" if near else f"fields of config: {', '.join(FIELDS)}"
        problems.append(Problem("unknown_field", message, pointer(*at), None, near, hint))
    elif given := next((each for each in (field, name) if each in made and each != "timeout"), ""):
        message = f"{quoted(f'{CONFIG}.{name}')} and {quoted(given)} name the same field: keep one"
        problems.append(_problem("doubled_field", message, *at))
    elif field == "max_concurrency":
        made[field] = value
    elif field == "timeout_s":
        _set_seconds(made, field, value, at, problems)
    elif isinstance(value, bool):
        made[field] = "continue" if value else "fail_fast"
    else:
        message = f"expected boolean, got {describe(value)}"
        problems.append(_problem("wrong_type", message, *at))


def _task(task: Any, index: int, problems: list[Problem]) -> Any:
    if not isinstance(task, Mapping) or TASK_TIMEOUT not in task:
        return task
    made = {name: value for name, value in task.items() if name != TASK_TIMEOUT}
    at = ("tasks", index, TASK_TIMEOUT)
    found: list[Problem] = []
    if "timeout_s" in made:
        message = '"timeout" and "timeout_s" name the same field: keep one'
        found.append(_problem("doubled_field", message, *at))
    else:
        _set_seconds(made, "timeout_s", task[TASK_TIMEOUT], at, found)
    identifier = task.get("id")
    owner = identifier if isinstance(identifier, str) else None
    problems += (replace(problem, task=owner) for problem in found)
    return made


def _set_seconds(
    made: dict[str, Any],
    field: str,
    milliseconds: Any,
    at: tuple[str | int, ...],
    problems: list[Problem],
) -> None:
    is_number = isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool)
    if is_number and milliseconds > 0 and math.isfinite(milliseconds):
        made[field] = milliseconds / 1000
        return
    message = f"expected a number of milliseconds above 0, got {describe(milliseconds)}"
    code: Code = "wrong_value" if is_number else "wrong_type"
    problems.append(_problem(code, message, *at))


def _problem(code: Code, message: str, *at: str | int) -> Problem:
    return Problem(code, message, pointer(*at))
