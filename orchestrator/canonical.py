"""The one canonical form of what people and models write, and pydantic's errors in our words.

The rule of this file: synonyms end here. Nothing behind it knows that `args` means `arguments`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import Problem, nearest, pointer

WORKFLOW_SYNONYMS = {"maxConcurrent": "max_concurrency"}
TASK_SYNONYMS = {
    "args": "arguments",
    "params": "arguments",
    "dependsOn": "depends_on",
    "needs": "depends_on",
}

Location = tuple[str | int, ...]


def canonical_workflow(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The workflow with its fields under their one name, and what stands twice under two names.

    `$schema`, which editors put there, is left out.
    """
    workflow, problems = rename(data, WORKFLOW_SYNONYMS, ())
    workflow.pop("$schema", None)
    if isinstance(tasks := workflow.get("tasks"), list):
        workflow["tasks"] = [
            _canonical_task(task, index, problems) for index, task in enumerate(tasks)
        ]
    return workflow, problems


def _canonical_task(task: Any, index: int, problems: list[Problem]) -> Any:
    if not isinstance(task, Mapping):
        return task
    renamed, doubled = rename(task, TASK_SYNONYMS, ("tasks", index))
    problems += doubled
    return renamed


def rename(
    data: Mapping[str, Any], synonyms: Mapping[str, str], at: Location
) -> tuple[dict[str, Any], list[Problem]]:
    """Put each field under its canonical name; a field given under two names is a problem."""
    renamed: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in data.items():
        target = synonyms.get(name, name)
        if target in renamed:
            names = [other for other in data if synonyms.get(other, other) == target]
            message = f"{' and '.join(map(repr, names))} are two names of one field: give one"
            problems.append(Problem("doubled_field", message, pointer(*at, name), task_of(data)))
        else:
            renamed[target] = value
    return renamed, problems


def task_of(data: Any) -> str | None:
    """The id of a task as it stands in a file, if it has one."""
    identifier = data.get("id") if isinstance(data, Mapping) else None
    return identifier if isinstance(identifier, str) else None


_MESSAGES = {
    "string_type": "has to be text",
    "int_type": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number",
    "bool_type": "has to be true or false",
    "list_type": "has to be a list",
    "dict_type": "has to be an object",
    "model_type": "has to be an object",
    "dataclass_type": "has to be an object",
    "mapping_type": "has to be an object",
    "finite_number": "has to be a finite number",
}
_PATTERNS = {
    "id": "is no id: letters, digits and _ - . : only",
    "tool": "names no tool: it is written server:tool",
}
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def problems_of(
    error: ValidationError, data: Any, fields: Mapping[str, Sequence[str]]
) -> list[Problem]:
    """What pydantic found, in our words and with our places.

    Args:
        error: As pydantic raised it.
        data: What was validated.
        fields: For each kind of object, by the name of the list or field that holds it ("" for the
            top), the names of its fields.
    """
    made: dict[tuple[str, str], Problem] = {}
    for detail in error.errors(include_url=False, include_context=True):
        where = tuple(_real_location(detail["loc"], data))
        for problem in _translate(detail, where, data, fields):
            made.setdefault((problem.path, problem.message), problem)
    return list(made.values())


def _real_location(location: Location, data: Any) -> Iterator[str | int]:
    """The steps that exist in the data; pydantic adds the names of union members and types."""
    here = data
    for position, step in enumerate(location):
        last = position == len(location) - 1
        inside = (isinstance(step, str) and isinstance(here, Mapping) and step in here) or (
            isinstance(step, int) and isinstance(here, list) and step < len(here)
        )
        if inside:
            yield step
            here = here[step]
        elif last and isinstance(here, Mapping) and isinstance(step, str):
            yield step


def _translate(
    detail: Any, where: Location, data: Any, fields: Mapping[str, Sequence[str]]
) -> Iterator[Problem]:
    kind, context, path = detail["type"], detail.get("ctx") or {}, pointer(*where)
    task = task_of(_task_at(where, data))
    names = [step for step in where[:-1] if isinstance(step, str)]
    known = fields.get(names[-1] if names else "", ())
    name = str(where[-1]) if where else ""
    match kind:
        case "extra_forbidden" | "unexpected_keyword_argument":
            near = nearest(name, known)
            hint = "" if near else f"known are {', '.join(known)}"
            yield Problem("unknown_field", f"there is no field {name!r}", path, task, near, hint)
        case "missing" | "missing_argument":
            yield Problem("missing_field", f"the field {name!r} is required", path, task)
        case "literal_error":
            given, allowed = detail["input"], str(context["expected"])
            values = [value.strip("'") for value in allowed.replace(" or ", ", ").split(", ")]
            near = nearest(given, values, 1) if isinstance(given, str) else ()
            message = f"{given!r} is none of {allowed}"
            yield Problem("wrong_value", message, path, task, near)
        case _ if kind in _LIMITS:
            key, words = _LIMITS[kind]
            message = f"has to be {words} {context[key]:g}, not {detail['input']!r}"
            yield Problem("wrong_value", message, path, task)
        case "string_pattern_mismatch" | "value_error":
            reason = str(context.get("error") or _PATTERNS.get(name, "has the wrong form"))
            yield Problem("wrong_value", f"{_short(detail['input'])} {reason}", path, task)
        case _:
            wanted = _MESSAGES.get(kind, detail["msg"])
            message = f"{wanted}, not {_short(detail['input'])}"
            yield Problem("wrong_type", message, path, task, (), _type_hint(kind, detail["input"]))


def _task_at(where: Location, data: Any) -> Any:
    if len(where) < 2 or where[0] != "tasks" or not isinstance(where[1], int):
        return None
    return data["tasks"][where[1]]


def _type_hint(kind: str, given: Any) -> str:
    if kind == "list_type" and isinstance(given, str):
        return f'write ["{given}"]'
    if kind in ("int_type", "float_type") and isinstance(given, str):
        return "without the quotes" if given.replace(".", "", 1).isdigit() else ""
    return "in quotes" if kind == "string_type" and isinstance(given, int | float) else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
