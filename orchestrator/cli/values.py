"""Values on the command line: `name=value`, `name=@file`, a repeated name, and whole objects."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from orchestrator.cli.parser import path
from orchestrator.documents.encode import to_json
from orchestrator.documents.files import STDIN, read_text
from orchestrator.documents.jsonpath import describe
from orchestrator.documents.parse import DocumentError, malformed, parse_json, read_document
from orchestrator.documents.text import alternatives, counted, cut, quoted
from orchestrator.errors import Problem, WorkflowError
from orchestrator.schema.coercion import ALL_TYPES
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import StaticType, schema_type
from orchestrator.schema.validator import Schema
from orchestrator.workflow.inputs import parse_value

Pair = tuple[str, str]  # a name and its text; without a name, an object


def values_of(pairs: Iterable[Pair], schema_of: Callable[[str], Schema | None]) -> dict[str, Any]:
    """The values by name; those of single names replace those in whole objects.

    Raises:
        WorkflowError: A file cannot be read, an object is none, or a name has too many values.
    """
    texts: dict[str, list[str]] = defaultdict(list)
    for name, text in pairs:
        texts[name].append(text)
    found: list[Problem] = []
    whole: dict[str, Any] = {}
    for text in texts.pop("", ()):
        try:
            whole |= _object(text)
        except WorkflowError as error:
            found += _placed(error)
    values: dict[str, Any] = {}
    for name, given in texts.items():
        try:
            schema = schema_of(name)
            values[name] = _value(name, given, schema_type({} if schema is None else schema))
        except WorkflowError as error:
            found += _placed(error)
    if found:
        raise WorkflowError("usage", found)
    return whole | values


def inputs_of(options: argparse.Namespace, declared: Callable[[str], Schema | None]) -> Any:
    """The inputs that the options give: those of `--inputs`, replaced by single ones.

    Raises:
        WorkflowError: As `values_of`, or `--inputs` has no object, or stdin is named twice.
    """
    pairs = [*options.input, *getattr(options, "values", ())]
    files = [*getattr(options, "files", ()), getattr(options, "file", None), options.inputs]
    uses = files.count(STDIN) + sum(
        text == "@-" or (not name and text == "-") for name, text in pairs
    )
    if uses > 1:
        raise WorkflowError("usage", [Problem("usage", "stdin can be read only once")])
    inputs: Any = {}
    if options.inputs is not None and not isinstance(inputs := read_document(options.inputs), dict):
        message = f"expected an object of inputs, got {describe(inputs)}"
        raise WorkflowError(str(options.inputs), [Problem("wrong_type", message)])
    return inputs | values_of(pairs, declared)


def _placed(error: WorkflowError) -> list[Problem]:
    """The problems of one value, which name its file."""
    if error.source == "usage":
        return list(error.problems)
    places = ("" if each.line is None else f":{each.line}:{each.column}" for each in error.problems)
    return [
        replace(each, message=f"{error.source}{place}: {each.message}")
        for each, place in zip(error.problems, places, strict=True)
    ]


def _object(text: str) -> dict[str, Any]:
    if text.startswith("{"):
        try:
            return dict(parse_json(text))
        except DocumentError as failure:
            raise WorkflowError("usage", [malformed(failure)]) from None
    file = path(text.removeprefix("@"))
    if isinstance(data := read_document(file), dict):
        return data
    message = f"expected an object of names and values, got {describe(data)}"
    raise WorkflowError(str(file), [Problem("wrong_type", message)])


def _value(name: str, texts: list[str], type_: StaticType) -> Any:
    query = TypeQuery()
    kinds = query.kinds(type_)
    takes_several = "array" in kinds and kinds != ALL_TYPES
    if len(texts) > 1 and not takes_several:
        expected = "" if kinds == ALL_TYPES else f" (expected {alternatives(sorted(kinds))})"
        times = "twice" if len(texts) == 2 else counted(len(texts), "time")
        message = f"{quoted(name)} is given {times}, but only an array takes several values"
        raise WorkflowError("usage", [Problem("usage", f"{message}{expected}")])
    item = query.element(type_) if len(texts) > 1 else None
    if item is not None:
        return [_single(text, item, query) for text in texts]
    value = _single(texts[0], type_, query)
    if takes_several and "string" not in kinds and isinstance(value, str):
        message = f"{quoted(name)}: expected array, got {describe(value)}"
        as_json = cut(to_json([value] if value else []), 80)
        hint = f"write {name}=... several times, or JSON: {name}='{as_json}'"
        raise WorkflowError("usage", [Problem("usage", message, hint=hint)])
    return value


def _single(text: str, type_: StaticType, query: TypeQuery) -> Any:
    if not text.startswith("@") or text.startswith("@@"):
        return parse_value(text.removeprefix("@") if text.startswith("@@") else text, type_)
    file = path(text[1:])
    # Where only JSON can be meant, a file may be YAML, and a mistake in it has a place.
    if "string" in query.kinds(type_):
        return parse_value(read_text(file), type_)
    return read_document(file)
