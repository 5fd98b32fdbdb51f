"""The inputs of a run: their JSON Schemas, their defaults, and the values that were given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.documents.parse import DocumentError, parse_json
from orchestrator.documents.pointer import pointer, replace_op
from orchestrator.documents.suggest import certain, nearest
from orchestrator.documents.text import cut, quoted
from orchestrator.errors import Problem, WorkflowError
from orchestrator.schema.coercion import json_type
from orchestrator.schema.defaults import with_defaults
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import StaticType
from orchestrator.schema.validator import Schema, Validator

_LONGEST = 200


def check_schema(schema: Schema, at: tuple[str | int, ...]) -> Iterator[Problem]:
    """What is wrong with the schema of an input, its default included."""
    fault = Validator(schema).fault
    if fault is not None:
        where = pointer(*at, *fault.path)
        is_name = fault.keyword == "enum" and isinstance(fault.value, str)
        near = nearest(fault.value, fault.expected) if is_name else ()
        meant = certain(fault.value, near) if near else None
        operations = (replace_op(where, meant),) if meant else ()
        message = f"invalid JSON Schema: {cut(fault.message, _LONGEST)}"
        yield Problem("wrong_schema", message, where, None, near, replacement=operations)
    elif isinstance(schema, Mapping) and "default" in schema:
        yield from _violations(schema["default"], schema, (*at, "default"), "the default")


def check_question(
    schema: Schema, ask: Mapping[str, Any], at: tuple[str | int, ...]
) -> Iterator[Problem]:
    """What is wrong with the schema of an answer, and with its default."""
    yield from check_schema(schema, (*at, "schema"))
    if "default" in ask and Validator(schema).fault is None:
        yield from _violations(ask["default"], schema, (*at, "default"), "the default")


def _violations(
    value: Any, schema: Schema, at: tuple[str | int, ...], what: str
) -> Iterator[Problem]:
    for found in Validator(schema).violations(value):
        place = found.path[:-1] if found.keyword == "required" else found.path
        message = f"{what} does not fit its schema: {cut(found.sentence(), _LONGEST)}"
        yield Problem("wrong_input", message, pointer(*at, *place))


def complete_inputs(
    declared: Mapping[str, Schema],
    given: Mapping[str, Any],
    source: str,
    *,
    may_miss: bool = False,
) -> dict[str, Any]:
    """The inputs of a run: what was given, and the defaults of the others.

    Raises:
        WorkflowError: Inputs are unknown, do not fit their schemas, or (unless may_miss) missing.
    """
    problems = [_unknown(name, declared) for name in given if name not in declared]
    values = with_input_defaults(declared, given)
    for name, schema in declared.items():
        if name in given:
            what = f"the value of {quoted(name)}"
            problems += _violations(given[name], schema, ("inputs", name), what)
        elif name not in values and not may_miss:
            message = f"missing input {quoted(name)}, which has no default"
            hint = f"set it with --input {name}=..., in Python with inputs={{{quoted(name)}: ...}}"
            at = pointer("inputs", name)
            problems.append(Problem("missing_input", message, at, None, (), hint))
    if problems:
        raise WorkflowError(source, problems)
    return values


def with_input_defaults(declared: Mapping[str, Schema], given: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs that fit their schemas, and the defaults of the others."""
    values: dict[str, Any] = {}
    for name, schema in declared.items():
        if name in given:
            values[name] = with_defaults(given[name], schema)
        elif isinstance(schema, Mapping) and "default" in schema:
            values[name] = with_defaults(schema["default"], schema)
    return values


def _unknown(name: str, declared: Mapping[str, Schema]) -> Problem:
    known = f"inputs: {', '.join(declared)}" if declared else "the workflow has no inputs"
    message = f"unknown input {quoted(name)}"
    near = nearest(name, declared)
    return Problem("unknown_input", message, pointer("inputs"), None, near, known)


def parse_value(text: str, type_: StaticType) -> Any:
    """The value of a `name=value`: JSON, or a string if the text is not JSON or only that fits."""
    wanted = TypeQuery().kinds(type_)
    if wanted and wanted <= {"string", "null"}:
        return None if text == "null" and "null" in wanted else text
    try:
        value = parse_json(text)
    except DocumentError:
        return text
    kind = json_type(value)
    fits = kind in wanted or (kind == "integer" and "number" in wanted)
    return text if "string" in wanted and not fits else value
