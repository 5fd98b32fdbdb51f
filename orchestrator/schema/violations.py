"""Says what is wrong with a value that does not fit its schema, in short messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.jsonpath import Path, describe, format_path
from orchestrator.documents.suggest import misspelling_of, nearest
from orchestrator.documents.text import alternatives, cut, quoted
from orchestrator.errors import CallError
from orchestrator.schema.coercion import json_type
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import schema_type, type_names

if TYPE_CHECKING:
    from orchestrator.schema.tool import Tool
    from orchestrator.schema.validator import Validator

MAX_ERRORS = 10
MAX_SIGNATURE = 300
MAX_EXPECTED = 2000  # characters of JSON; the `expected` of the details is null above that
MAX_CHOICES = 10
_MAX_SHOWN = 60
_MAX_PLACE = 200
_BOUNDS = {
    "minimum": ("at least", ""),
    "maximum": ("at most", ""),
    "exclusiveMinimum": ("more than", ""),
    "exclusiveMaximum": ("less than", ""),
    "multipleOf": ("a multiple of", ""),
    "minLength": ("at least", "character"),
    "maxLength": ("at most", "character"),
    "minItems": ("at least", "item"),
    "maxItems": ("at most", "item"),
    "additionalItems": ("at most", "item"),
    "minProperties": ("at least", "property"),
    "maxProperties": ("at most", "property"),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One place where a value does not fit.

    Attributes:
        path: The place; for a missing property, where it should be.
        keyword: The keyword of JSON Schema that is not met, and in `expected` its value.
        value: The value at that place; None for a missing property.
        message: What is wrong, without the place, such as `expected integer, got string "3"`.
        advice: The property or value that may have been meant, in parentheses behind the place.
        is_property: Whether a property is missing or unexpected.
    """

    path: Path
    keyword: str
    expected: Any
    value: Any
    message: str
    advice: str = ""
    is_property: bool = False

    def sentence(self, source: str = "") -> str:
        """The message with its place; `source` is the reference that the value comes from."""
        place = cut(format_path(self.path[:-1] if self.is_property else self.path), _MAX_PLACE)
        origin = f" from {source}" if source and not self.is_property else ""
        return f"{self.message}{origin}{f' at {place}' if place else ''}{self.advice}"


def mismatch(path: Path, keyword: str, expected: Any, value: Any, schema: Any = None) -> Violation:
    """A value that does not meet a keyword of its schema."""
    near: tuple[str, ...] = ()
    if keyword == "enum" and isinstance(value, str):
        near = nearest(value, [choice for choice in expected if isinstance(choice, str)], 1)
    message = f"expected {_wanted(keyword, expected, value, schema)}, got {_found(keyword, value)}"
    return Violation(path, keyword, expected, value, message, _did_you_mean(near))


def missing(
    path: Path, name: str, value: Any, schema: Mapping[str, Any], expected: Any
) -> Violation:
    """A property that an object at `path` has to have, and does not."""
    known = schema.get("properties", {})
    # A closed object has a violation of its own for each unexpected property.
    is_closed = schema.get("additionalProperties") is False
    near = nearest(name, () if is_closed else [n for n in value if n not in known], 1)
    advice = f" (misspelled as {quoted(near[0])}?)" if near else ""
    message = f"missing property {quoted(name)}"
    return Violation((*path, name), "required", expected, None, message, advice, True)


def unexpected(
    path: Path, name: str, value: Any, schema: Mapping[str, Any], keyword: str, expected: Any
) -> Violation:
    """A property that an object at `path` may not have."""
    free = (other for other in schema.get("properties", {}) if other not in value)
    advice = _did_you_mean(nearest(name, free, 1))
    message = f"unexpected property {quoted(name)}"
    return Violation((*path, name), keyword, expected, value[name], message, advice, True)


def _did_you_mean(near: tuple[str, ...]) -> str:
    return f" (did you mean {quoted(near[0])}?)" if near else ""


def _found(keyword: str, value: Any) -> str:
    if keyword == "type" or not isinstance(value, str | int | float):
        return describe(value)
    return quoted(value, _MAX_SHOWN) if isinstance(value, str) else _json(value)


def _wanted(keyword: str, expected: Any, value: Any, schema: Any) -> str:
    match keyword:
        case "type":
            return alternatives(expected if isinstance(expected, list) else [str(expected)])
        case "anyOf" | "oneOf" if names := _types_that_miss(schema, value):
            return names
        case "enum":
            rest = len(expected) - MAX_CHOICES
            choices = ", ".join(map(_json, expected[:MAX_CHOICES]))
            one_of = "one of " if len(expected) > 1 else ""
            return f"{one_of}{choices}{f' or {rest} more' if rest > 0 else ''}"
        case "const":
            return _json(expected)
        case "pattern":
            return f"a match for the pattern {_json(expected)}"
        case "format" if expected == "regex":
            return "a regular expression"
        case "uniqueItems":
            return "unique items"
        case "false":
            return "no value"
        case _ if keyword in _BOUNDS:
            bound, unit = _BOUNDS[keyword]
            if expected != 1:
                unit = "properties" if unit == "property" else unit and f"{unit}s"
            return f"{bound} {_json(expected)} {unit}".strip()
    return f"a value that satisfies {keyword} {'' if expected is None else _json(expected)}".strip()


def _types_that_miss(schema: Any, value: Any) -> str:
    """The types of several forms, if there are any and the value is of none of them."""
    types = TypeQuery().kinds(schema_type(schema))  # a `$ref` out of this part allows any type
    return type_names(types) if types and json_type(value) not in types else ""


def _json(value: Any) -> str:
    return cut(to_json(value), _MAX_SHOWN)


def check_output(
    tool: Tool, output: Any, redact: Callable[[Any], Any] = lambda value: value
) -> None:
    """Check an output against the `outputSchema` of its tool, if the tool declares one.

    Args:
        tool: The tool.
        output: The output.
        redact: Removes secrets from a JSON value.

    Raises:
        CallError: An `output_invalid`; `details` are those of `check_arguments`, and the `output`,
            as that of a success would be.
    """
    if tool.gives is not None and (found := first_violations(tool.gives, output)):
        errors = redact([error_of(each) for each in found])
        message = f"the output of {tool.target} does not fit its outputSchema: {joined(errors)}"
        shown = errors[:MAX_ERRORS]
        raise CallError("output_invalid", message, tool=tool.target, errors=shown, output=output)


def misspelled(given: Iterable[str], schema: Any, query: TypeQuery) -> dict[str, str]:
    """Undeclared names of arguments, each with the declared one that is meant and not given.

    None if the `inputSchema` says that it allows others.
    """
    names, expected = dict.fromkeys(given), schema_type(schema)
    free = [name for name in query.names(expected) if name not in names]
    undeclared = (name for name in names if query.step(expected, name).presence == "no")
    meant = {name: misspelling_of(name, free) for name in undeclared} if free else {}
    return {name: other for name, other in meant.items() if other is not None}


def misspellings(tool: Tool, arguments: Mapping[str, Any]) -> list[Violation]:
    """The undeclared arguments of a call that most likely are misspelled ones.

    Most servers ignore them, so that the call would do something else than what is meant.
    """
    found: list[Violation] = []
    if tool.accepts.unusable:
        return found
    for name, meant in misspelled(arguments, tool.input_schema, TypeQuery()).items():
        message, advice = f"unexpected property {quoted(name)}", _did_you_mean((meant,))
        keyword, value = "additionalProperties", arguments[name]
        found.append(Violation((name,), keyword, None, value, message, advice, True))
    return found


def first_violations(validator: Validator, value: Any) -> list[Violation]:
    """The first places where a value does not fit, one more than messages have."""
    return list(islice(validator.violations(value), MAX_ERRORS + 1))


def joined(errors: list[dict[str, Any]]) -> str:
    """The messages of the first `MAX_ERRORS` errors in one line."""
    messages = [error["message"] for error in errors[:MAX_ERRORS]]
    return "; ".join([*messages, *(["and more"] if len(errors) > MAX_ERRORS else [])])


def error_of(violation: Violation, source: str = "") -> dict[str, Any]:
    """A violation for the `details` of an error; `source` is the reference that gave the value."""
    expected = violation.expected
    return {
        "path": format_path(violation.path),
        "message": violation.sentence(source),
        "keyword": violation.keyword,
        "expected": expected if len(to_json(expected)) <= MAX_EXPECTED else None,
    }
