"""Turns errors of `jsonschema-rs` into violations, without those that the server does not mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.schema.coercion import mapped
from orchestrator.schema.violations import Violation, mismatch, missing, unexpected

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

Resolve = Callable[[Any], Any]

# Kinds of errors for what only describes a value, and for patterns that take too long.
_NOT_ASSERTED = (
    "BacktrackLimitExceeded",
    "ContentEncoding",
    "ContentMediaType",
    "FromUtf8",
    "RegexEngineFailure",
)


def violations_of(
    errors: Iterable[ValidationError], value: Any, schema: Any, resolve: Resolve
) -> Iterator[Violation]:
    """The violations of a value.

    Args:
        errors: Its errors.
        value: The value.
        schema: The schema; None if it is not known.
        resolve: Gives the target of a `$ref` in the schema.
    """
    for error in errors:
        kind: Any = error.kind
        if type(kind).__name__ in ("AnyOf", "OneOfNotValid"):
            forms = [list(violations_of(form, value, schema, resolve)) for form in kind.context]
            meant = _of_the_form_meant(forms, len(error.instance_path))
            if meant is not None:
                yield from meant
                continue
        here = value
        for step in error.instance_path:
            here = here[step]
        if type(kind).__name__ == "PropertyNames":
            error = kind.error
            here = error.instance
        holder, expected = _located(error.evaluation_path, schema, resolve)
        yield from _violations(error, here, holder, expected)


def _violations(
    error: ValidationError, value: Any, schema: Mapping[str, Any], expected: Any
) -> Iterator[Violation]:
    kind: Any = error.kind
    path = tuple(error.instance_path)
    if value is None and schema.get("nullable") is True:  # as OpenAPI has it
        return
    match type(kind).__name__:
        case "Required":
            # Some libraries require what has a default: zod 4 does, for what a schema gives.
            if not _has_default(schema, kind.property):
                yield missing(path, kind.property, value, schema, expected)
        case "AdditionalProperties" | "UnevaluatedProperties":
            for name in kind.unexpected:
                yield unexpected(path, name, value, schema, kind.name, expected)
        case "FalseSchema" if error.evaluation_path[-1:] == ["additionalProperties"]:
            for name in value:  # the object may have no property at all
                yield unexpected(path, name, value, schema, "additionalProperties", False)
        case "FalseSchema":
            yield mismatch(path, "false", False, value)
        case name if name not in _NOT_ASSERTED:
            wanted = _expected(kind, expected)
            if not _is_rounding(kind.name, wanted, value):
                yield mismatch(path, kind.name, wanted, value, schema)


def _has_default(schema: Mapping[str, Any], name: str) -> bool:
    declared = mapped(schema, "properties").get(name)
    return isinstance(declared, Mapping) and "default" in declared


def _expected(kind: Any, expected: Any) -> Any:
    limit = getattr(kind, "limit", None)  # draft 4 has `exclusiveMinimum: true` with the `minimum`
    if limit is not None:
        return limit
    if expected is None and not hasattr(kind, "context"):
        return next(iter(kind.as_dict().values()), None)
    return expected


def _is_rounding(keyword: str, expected: Any, value: Any) -> bool:
    """Whether a number fits but for how computers write numbers."""
    if keyword == "multipleOf":  # 19.99 is a multiple of 0.01, although 19.99 / 0.01 is no integer
        steps = value / expected
        return math.isclose(steps, round(steps), rel_tol=1e-9)
    if keyword == "type" and isinstance(value, float):  # 2.0 is an integer, also in draft 4
        types = expected if isinstance(expected, list) else [expected]
        return "number" in types or ("integer" in types and value.is_integer())
    return False


def _located(
    path: Sequence[str | int], schema: Any, resolve: Resolve
) -> tuple[Mapping[str, Any], Any]:
    """The schema with the keyword at a path, and the keyword's value; `{}` and None if unknown."""
    holder: Any = {}
    here = schema
    for step in path:
        holder = here
        if isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        elif isinstance(here, Mapping) and step in here:
            here = here[str(step)]
            here = resolve(here) if step == "$ref" and isinstance(here, str) else here
        else:
            return {}, None
    return (holder if isinstance(holder, Mapping) else {}), here


def _of_the_form_meant(forms: list[list[Violation]], depth: int) -> list[Violation] | None:
    """The violations of that form which is meant by a value at a depth; None if it is unclear."""
    if not all(forms):
        return []
    left = forms
    # A value is of another form by its type, or since a property such as `kind` says so.
    for keywords, deepest in ((("type", "false"), depth), (("const", "enum"), depth + 1)):
        if len(left) == 1:
            break
        left = [
            form
            for form in left
            if not any(v.keyword in keywords and len(v.path) <= deepest for v in form)
        ]
    return left[0] if len(left) == 1 else None
