"""What is wrong with a value that does not fit its schema, in words for people.

The rule of this file: from the mismatches of `schemas` to sentences, which are short whatever the
value and the schema are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from orchestrator.documents.jsonpath import Path, describe, format_path
from orchestrator.documents.suggest import nearest
from orchestrator.documents.text import cut
from orchestrator.errors import CallError
from orchestrator.schema.coercion import json_type, wanted_types
from orchestrator.schema.validator import ValidationFailure, Validator

if TYPE_CHECKING:
    from orchestrator.schema.tool import Tool

MAX_CHOICES = 10
MAX_SHOWN = 60
MAX_PLACE = 200
_ARTICLES = {"integer": "an", "array": "an", "object": "an", "null": ""}


@dataclass(frozen=True, slots=True)
class Violation:
    """One place where a value does not fit.

    Attributes:
        path: The place; of a member that is missing, where it should be.
        keyword: The keyword of JSON Schema that is not met, and `expected` its value.
        value: What stands there.
        wanted: What has to be there, as it continues "has to"; empty if `is_member`.
        advice: What may have been meant, as it ends the sentence.
        is_member: Whether a member is missing, or there is one too many.
    """

    path: Path
    keyword: str
    expected: Any
    value: Any = None
    wanted: str = ""
    advice: str = ""
    is_member: bool = False

    def sentence(self, given: str) -> str:
        """What is wrong; `given` is what stands there, as it continues what has to be."""
        place = cut(format_path(self.path), MAX_PLACE) or "the whole"
        if self.is_member:
            state = "missing" if self.keyword == "required" else "unknown"
            return f"{place} is {state}{self.advice}"
        return f"{place} has to {self.wanted}{given}{self.advice}"


def violations(validator: Validator, value: Any, most: int) -> list[Violation]:
    """The first places where a value does not fit; none if the schema turns out to be unusable."""
    found = list(islice(describe_violations(validator.mismatches(value)), most))
    return [] if found and validator.unusable else found


def describe_violations(mismatches: Iterable[ValidationFailure]) -> Iterator[Violation]:
    """Mismatches in words."""
    lacking: set[Path] = set()
    for mismatch in mismatches:
        match mismatch.keyword:
            case "required" if mismatch.path in lacking:  # the library tells it for each member
                pass
            case "required":
                lacking.add(mismatch.path)
                yield from _missing(mismatch)
            case "additionalProperties":
                yield from _unknown(mismatch)
            case keyword:
                advice = _nearest_choice(mismatch) if keyword == "enum" else ""
                yield Violation(
                    mismatch.path,
                    keyword,
                    mismatch.expected,
                    mismatch.value,
                    _wanted(mismatch),
                    advice,
                )


def _missing(mismatch: ValidationFailure) -> Iterator[Violation]:
    known = mismatch.schema.get("properties", {})
    are_told = mismatch.schema.get("additionalProperties") is False
    others = [] if are_told else [name for name in mismatch.value if name not in known]
    for name in mismatch.missing:
        near = nearest(name, others, 1)
        advice = f"; is {near[0]!r} meant for it?" if near else ""
        path = (*mismatch.path, name)
        yield Violation(path, "required", mismatch.expected, advice=advice, is_member=True)


def _unknown(mismatch: ValidationFailure) -> Iterator[Violation]:
    known = mismatch.schema.get("properties", {})
    patterns = mismatch.schema.get("patternProperties", {})
    for name in mismatch.value:
        if name in known or any(re.search(pattern, name) for pattern in patterns):
            continue
        near = nearest(name, (other for other in known if other not in mismatch.value), 1)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        path = (*mismatch.path, name)
        keyword = mismatch.keyword
        yield Violation(path, keyword, mismatch.expected, advice=advice, is_member=True)


def _nearest_choice(mismatch: ValidationFailure) -> str:
    texts = [choice for choice in mismatch.expected if isinstance(choice, str)]
    near = nearest(mismatch.value, texts, 1) if isinstance(mismatch.value, str) else ()
    return f"; did you mean {near[0]!r}?" if near else ""


def _wanted(mismatch: ValidationFailure) -> str:
    keyword, expected = mismatch.keyword, mismatch.expected
    if keyword in _WORDS:
        return _WORDS[keyword](expected)
    if keyword in ("anyOf", "oneOf") and _is_of_no_type(mismatch):
        return _types(sorted(wanted_types(mismatch.schema, ())))
    return f"fit {keyword!r} of its schema, which is {_json(expected)}"


def _is_of_no_type(mismatch: ValidationFailure) -> bool:
    """Whether a value is of none of the types that several forms have."""
    types = wanted_types(mismatch.schema, ())
    given = json_type(mismatch.value)
    return not types & {given, "number" if given == "integer" else given}


def _types(expected: Any) -> str:
    names = expected if isinstance(expected, list) else [expected]
    return "be " + " or ".join(f"{_ARTICLES.get(name, 'a')} {name}".strip() for name in names)


def _choices(expected: list[Any]) -> str:
    listed = ", ".join(map(_json, expected[:MAX_CHOICES]))
    more = f" or {len(expected) - MAX_CHOICES} more" if len(expected) > MAX_CHOICES else ""
    return f"be one of {listed}{more}"


def _json(value: Any) -> str:
    return cut(json.dumps(value, ensure_ascii=False), MAX_SHOWN)


def _at(bound: str, unit: str = "") -> Callable[[Any], str]:
    return lambda expected: f"{bound} {_json(expected)}{unit}"


_WORDS: Mapping[str, Callable[[Any], str]] = {
    "type": _types,
    "enum": _choices,
    "const": _at("be"),
    "minimum": _at("be at least"),
    "maximum": _at("be at most"),
    "exclusiveMinimum": _at("be more than"),
    "exclusiveMaximum": _at("be less than"),
    "multipleOf": _at("be a multiple of"),
    "pattern": _at("match the pattern"),
    "minLength": _at("have at least", " characters"),
    "maxLength": _at("have at most", " characters"),
    "minItems": _at("have at least", " items"),
    "maxItems": _at("have at most", " items"),
    "minProperties": _at("have at least", " members"),
    "maxProperties": _at("have at most", " members"),
    "uniqueItems": lambda _: "have no two items that are alike",
    "None": lambda _: "hold nothing that its schema forbids",  # a part of it is `false`
}

MAX_ERRORS = 10
MAX_SIGNATURE = 300
# Of what a keyword expects, in characters of JSON: where it is more, the details have null.
MAX_EXPECTED = 2000


def _as_it_is(value: Any) -> Any:
    return value


def check_output(tool: Tool, output: Any, redact: Callable[[Any], Any] = _as_it_is) -> None:
    """See that an output fits the `outputSchema` of its tool, if that declares one.

    Args:
        tool: The tool.
        output: What came.
        redact: Takes out of a JSON value what may not be shown.

    Raises:
        CallError: An `output_invalid`; `details` are those of `check_arguments`, and the `output`,
            as that of a success would be.
    """
    gives = tool.gives
    if gives is not None and (found := violations(gives, output, MAX_ERRORS + 1)):
        errors = redact([error_of(each) for each in found])
        message = f"the output of {tool.target} does not fit its outputSchema: {joined(errors)}"
        shown = errors[:MAX_ERRORS]
        raise CallError("output_invalid", message, tool=tool.target, errors=shown, output=output)


def joined(errors: list[dict[str, Any]]) -> str:
    """The messages of the first `MAX_ERRORS` errors as one sentence."""
    sentences = [error["message"] for error in errors[:MAX_ERRORS]]
    return "; ".join([*sentences, *(["and more"] if len(errors) > MAX_ERRORS else [])])


def error_of(violation: Violation, given: str | None = None) -> dict[str, Any]:
    """A violation as it stands in the `details` of an error; `given` says what the value is."""
    found = f", not {describe(violation.value)}" if given is None else given
    return {
        "path": format_path(violation.path),
        "message": violation.sentence("" if violation.is_member else found),
        "keyword": violation.keyword,
        "expected": _if_short(violation.expected),
    }


def _if_short(expected: Any) -> Any:
    return expected if len(json.dumps(expected)) <= MAX_EXPECTED else None
