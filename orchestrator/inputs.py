"""The inputs of a run: their JSON Schemas, their defaults, and the values that were given.

The rule of this file: JSON Schema is the `jsonschema` library's business, imported only when a
workflow has inputs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.errors import Problem, WorkflowError, nearest, pointer
from orchestrator.paths import format_path

Schema = Mapping[str, Any] | bool


def check_schema(schema: Schema, at: tuple[str | int, ...]) -> Iterator[Problem]:
    """What is wrong with the schema of an input, its default included."""
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = pointer(*at, *error.absolute_path)
        yield Problem("wrong_schema", f"is no JSON Schema: {error.message}", where)
        return
    if isinstance(schema, Mapping) and "default" in schema:
        yield from _mismatches(schema["default"], schema, (*at, "default"), "the default")


def _mismatches(
    value: Any, schema: Schema, at: tuple[str | int, ...], what: str
) -> Iterator[Problem]:
    from jsonschema import Draft202012Validator
    from referencing.exceptions import Unresolvable

    try:
        for error in Draft202012Validator(schema).iter_errors(value):
            place = format_path(tuple(error.absolute_path))
            message = f"{what}{place} does not fit its schema: {error.message[:200]}"
            yield Problem("wrong_input", message, pointer(*at, *error.absolute_path))
    except Unresolvable as error:
        yield Problem("wrong_schema", f"a $ref leads nowhere: {error}", pointer(*at))


def complete_inputs(
    declared: Mapping[str, Schema], given: Mapping[str, Any], source: str
) -> dict[str, Any]:
    """The inputs of a run: what was given, and the defaults of the others.

    Raises:
        WorkflowError: One is missing, unknown, or does not fit its schema; with all such.
    """
    problems: list[Problem] = []
    for name in given:
        if name not in declared:
            near = nearest(name, declared)
            known = f"inputs: {', '.join(declared)}" if declared else "the workflow has no inputs"
            message = f"there is no input {name!r}"
            problems.append(Problem("unknown_input", message, pointer("inputs"), None, near, known))
    values: dict[str, Any] = {}
    for name, schema in declared.items():
        if name in given:
            values[name] = given[name]
            problems += _mismatches(given[name], schema, ("inputs", name), f"the value of {name!r}")
        elif isinstance(schema, Mapping) and "default" in schema:
            values[name] = schema["default"]
        else:
            message = f"the input {name!r} has no default and was not given"
            hint = f"give it, as in: --input {name}=..."
            problems.append(
                Problem("missing_input", message, pointer("inputs", name), None, (), hint)
            )
    if problems:
        raise WorkflowError(source, problems)
    return values


def parse_input(text: str, schema: Schema | None) -> Any:
    """What a `name=value` of the command line stands for.

    The value is taken as it is where the schema wants text; else as JSON if it is JSON.
    """
    wanted = schema.get("type") if isinstance(schema, Mapping) else None
    if wanted == "string":
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
