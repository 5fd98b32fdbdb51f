"""The inputs of a run: their JSON Schemas, their defaults, and the values that were given.

The rule of this file: JSON Schema is the `jsonschema` library's business, imported only when a
workflow has inputs; nothing is fetched for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.documents.jsonpath import format_path
from orchestrator.documents.parse import DocumentError, parse_json
from orchestrator.documents.pointer import pointer, replace_op
from orchestrator.documents.suggest import certain, nearest
from orchestrator.documents.text import cut
from orchestrator.errors import Problem, WorkflowError
from orchestrator.schema.coercion import ALL_TYPES, json_type, wanted_types
from orchestrator.schema.validator import panics_as_recursion

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

Schema = Mapping[str, Any] | bool
_LONGEST = 200


def check_schema(schema: Schema, at: tuple[str | int, ...]) -> Iterator[Problem]:
    """What is wrong with the schema of an input, its default included."""
    from jsonschema import Draft202012Validator, SchemaError

    try:
        with panics_as_recursion():
            Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = pointer(*at, *error.absolute_path)
        message = f"is no JSON Schema: {cut(error.message, _LONGEST)}"
        types = sorted(ALL_TYPES) if list(error.absolute_path)[-1:] == ["type"] else []
        near = nearest(str(error.instance), types)
        meant = certain(str(error.instance), near)
        operations = (replace_op(where, meant),) if meant else ()
        yield Problem("wrong_schema", message, where, None, near, replacement=operations)
    except RecursionError:
        yield Problem("wrong_schema", "is no JSON Schema: it is nested too deep", pointer(*at))
    else:
        if isinstance(schema, Mapping) and "default" in schema:
            yield from _mismatches(schema["default"], schema, (*at, "default"), "the default")


def _mismatches(
    value: Any, schema: Schema, at: tuple[str | int, ...], what: str
) -> Iterator[Problem]:
    from referencing.exceptions import Unresolvable

    try:
        with panics_as_recursion():
            for error in _validator(schema).iter_errors(value):
                place = format_path(tuple(error.absolute_path))
                message = f"{what}{place} does not fit its schema: {cut(error.message, _LONGEST)}"
                yield Problem("wrong_input", message, pointer(*at, *error.absolute_path))
    except Unresolvable as error:
        yield Problem("wrong_schema", f"a $ref leads nowhere: {error}", pointer(*at))
    except RecursionError:
        message = f"{what} or its schema is nested too deep, or a $ref leads in circles"
        yield Problem("wrong_schema", message, pointer(*at))


def _validator(schema: Schema) -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from referencing.jsonschema import EMPTY_REGISTRY

    return Draft202012Validator(schema, registry=EMPTY_REGISTRY)


def complete_inputs(
    declared: Mapping[str, Schema],
    given: Mapping[str, Any],
    source: str,
    *,
    may_miss: bool = False,
) -> dict[str, Any]:
    """The inputs of a run: what was given, and the defaults of the others.

    Args:
        declared: The schema of each input.
        given: The values that were given.
        source: The file, as messages name it.
        may_miss: Whether those without a value and a default are left out, and no mistake.

    Raises:
        WorkflowError: One is missing, unknown, or does not fit its schema; with all such.
    """
    problems = [_unknown(name, declared) for name in given if name not in declared]
    values: dict[str, Any] = {}
    for name, schema in declared.items():
        if name in given:
            values[name] = given[name]
            problems += _mismatches(given[name], schema, ("inputs", name), f"the value of {name!r}")
        elif isinstance(schema, Mapping) and "default" in schema:
            values[name] = schema["default"]
        elif not may_miss:
            problems.append(_missing(name))
    if problems:
        raise WorkflowError(source, problems)
    return values


def _unknown(name: str, declared: Mapping[str, Schema]) -> Problem:
    known = f"inputs: {', '.join(declared)}" if declared else "the workflow has no inputs"
    message = f"there is no input {name!r}"
    near = nearest(name, declared)
    return Problem("unknown_input", message, pointer("inputs"), None, near, known)


def _missing(name: str) -> Problem:
    message = f"the input {name!r} has no default and was not given"
    hint = f"give it, as in: --input {name}=..."
    return Problem("missing_input", message, pointer("inputs", name), None, (), hint)


def parse_input(text: str, schema: Schema | None) -> Any:
    """What a `name=value` of the command line stands for.

    The value is taken as it is where the schema wants text; else as JSON, if it is JSON and the
    schema does not rather want text than that.
    """
    wanted = wanted_types({} if schema is None else schema, ())
    if wanted and wanted <= {"string", "null"}:
        return None if text == "null" and "null" in wanted else text
    try:
        value = parse_json(text)
    except DocumentError:
        return text
    kind = json_type(value)
    fits = kind in wanted or (kind == "integer" and "number" in wanted)
    return text if "string" in wanted and not fits else value
