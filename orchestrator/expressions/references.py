"""Compiles a JSON value into a template, which is then resolved many times."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.documents.jsonpath import Path, PathSyntaxError, describe, parse_path
from orchestrator.documents.text import cut, quoted
from orchestrator.errors import Code
from orchestrator.expressions.jmespath import Expression, check_run_property, compile_expression
from orchestrator.expressions.lexer import ROOTS, ExpressionSyntaxError, closing_brace
from orchestrator.expressions.scope import Reference
from orchestrator.expressions.templates import (
    ListTemplate,
    Literal,
    ObjectTemplate,
    Template,
    Text,
)

TASK_ID = r"[A-Za-z0-9_.:-]+"
MAX_DEPTH = 100
MAX_FAULTS = 10  # reported for one string
# $STATUS[ is matched only to be refused with the right spelling: a status is read in braces.
_START = re.compile(
    r"\$(?:\$|\{|(?P<root>OUTPUT|ITEMS|ERROR|INPUT|ITEM|INDEX|LAST|RUN)(?!\w)|(?P<status>STATUS\[))"
)
_ID = re.compile(rf"\[({TASK_ID})\]")
_OLDER_FORM = re.compile(rf"\s*({TASK_ID}?)\.result(?![\w-])")
_SHOWN = re.compile(r"\$\{[^}]*\}?|\S+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class ReferenceSyntaxError(ValueError):
    """A malformed reference or expression in a string; `text` is the part that is meant."""

    def __init__(self, message: str, text: str, end: int) -> None:
        self.text = text
        self.end = end  # where it ends in the string
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """What is wrong at one place of a value."""

    path: Path
    message: str
    code: Code = "malformed_reference"
    text: str = ""  # the part of the string that is meant; empty for the whole value


@dataclass(slots=True)
class Compiler:
    """Compiles values into templates, and collects what it finds in them."""

    found: list[tuple[Path, Reference | Expression]] = field(default_factory=list)
    faults: list[TemplateProblem] = field(default_factory=list)
    # Of strings that are one reference and nothing else: those keep the type.
    whole: list[Path] = field(default_factory=list)

    def compile(self, value: Any, path: Path = ()) -> Template:
        """The template of a JSON value; faults are collected, not raised."""
        match value:
            case str():
                return self._text(value, path)
            case dict() | list() if len(path) >= MAX_DEPTH:
                self._not_json(path[:8], f"nested deeper than {MAX_DEPTH} levels")
            case dict():
                return self._object(value, path)
            case list():
                return self._list(value, path)
            case float() if math.isfinite(value):
                pass
            case None | int():
                pass
            case _:
                self._not_json(path, f"expected JSON value, got {describe(value)}")
        return Literal(value)

    def _list(self, value: list[Any], path: Path) -> Literal | ListTemplate:
        items = tuple(self.compile(item, (*path, index)) for index, item in enumerate(value))
        # Without references the value itself is kept: resolving a big literal then costs nothing.
        same = all(_unchanged(item, made) for item, made in zip(value, items, strict=True))
        return Literal(value) if same else ListTemplate(items)

    def _object(self, value: dict[str, Any], path: Path) -> Literal | ObjectTemplate:
        members = tuple(
            (self._name(name, path), self.compile(member, (*path, name)))
            for name, member in value.items()
        )
        same = all(
            _unchanged(name, made_name) and _unchanged(member, made)
            for (name, member), (made_name, made) in zip(value.items(), members, strict=True)
        )
        return Literal(value) if same else ObjectTemplate(members)

    def _name(self, name: Any, path: Path) -> Literal | Text:
        if not isinstance(name, str):
            self._not_json(path, f"expected string as property name, got {describe(name)}")
            return Literal(name)
        template = self._text(name, (*path, name), keeps_type=False)
        return Text((template,)) if isinstance(template, Reference | Expression) else template

    def _text(
        self, text: str, path: Path, *, keeps_type: bool = True
    ) -> Literal | Text | Reference | Expression:
        # Only a string with other than ASCII characters is worth a search.
        if not text.isascii() and _SURROGATE.search(text):
            self._not_json(path, "string contains a lone surrogate")
        if "$" not in text:
            return Literal(text)
        parts: tuple[str | Reference | Expression, ...] = ()
        rest, faults = text, 0
        while not parts and faults < MAX_FAULTS:
            try:
                parts = tuple(split(rest))
            except ReferenceSyntaxError as fault:
                self.faults.append(TemplateProblem(path, str(fault), text=fault.text))
                rest, faults = rest[fault.end :], faults + 1
                if not rest:
                    break
        if faults:
            return Literal(text)
        references = [part for part in parts if not isinstance(part, str)]
        self.found.extend((path, part) for part in references)
        if not references:  # only doubled dollar signs
            return Literal("".join(map(str, parts)))
        if len(parts) > 1:
            return Text(parts)
        if keeps_type:
            self.whole.append(path)
        return references[0]

    def _not_json(self, path: Path, message: str) -> None:
        self.faults.append(TemplateProblem(path, message, "not_json"))

    def condition(self, text: str, path: Path = ()) -> Expression | Literal:
        """The template of a `when`: an expression, with or without its braces."""
        stripped = text.strip()
        if stripped.startswith("${") and stripped.endswith("}"):
            stripped = stripped[2:-1]
        try:
            computed = compile_expression(stripped)
        except ExpressionSyntaxError as fault:
            hint = "; remove the inner ${ }" if "${" in stripped else ""
            message = f"malformed expression {quoted(text, 60)}: {fault}{hint}"
            self.faults.append(TemplateProblem(path, message, text=text))
            return Literal(True)
        self.found.append((path, computed))
        return computed


def _unchanged(value: Any, template: Template) -> bool:
    return isinstance(template, Literal) and template.value is value


def split(text: str) -> Iterator[str | Reference | Expression]:
    """The pieces of plain text and the references of a string; raises a ReferenceSyntaxError."""
    position = 0
    while start := _START.search(text, position):
        if start.start() > position:
            yield text[position : start.start()]
        part, position = _reference(text, start)
        yield part
    if position < len(text):
        yield text[position:]


def _reference(text: str, start: re.Match[str]) -> tuple[str | Reference | Expression, int]:
    if start[0] == "$$":
        return "$", start.end()
    try:
        if start[0] == "${":
            return _braces(text, start)
        return _rooted(text, start)
    except (PathSyntaxError, ExpressionSyntaxError) as fault:
        begin = text[start.start() :]
        shown = _SHOWN.findall(begin)[0]
        raise ReferenceSyntaxError(
            f"malformed reference {quoted(begin, 60)}: {fault} "
            f"(to write it as text, double the dollar sign: {quoted('$' + cut(begin, 20))})",
            shown,
            start.start() + len(shown),
        ) from None


def _rooted(text: str, start: re.Match[str]) -> tuple[Reference, int]:
    root, position = start["root"], start.end()
    name: str | None = None
    if start["status"]:
        raise PathSyntaxError("expected ${STATUS[id]}, in braces")
    if root in ("OUTPUT", "ITEMS", "ERROR"):
        if identifier := _ID.match(text, position):
            name, position = identifier[1], identifier.end()
        elif root != "ERROR" or text.startswith("[", position):
            quoted = text[position + 1 : position + 2] in ("'", '"')
            how = ", without quotes" if quoted else ""
            how += "; the current item of a for_each is $ITEM" if root == "ITEMS" else ""
            raise PathSyntaxError(f"expected ${root}[id]{how}")
    path, end = parse_path(text, position)
    if root == "INPUT":
        if not path or not isinstance(path[0], str):
            raise PathSyntaxError("expected $INPUT.name")
        name, path = path[0], path[1:]
    elif root == "RUN":
        name, path = check_run_property(path[0] if path else None, "$RUN"), path[1:]
    return Reference(root, name, path, text[start.start() : end]), end


def _braces(text: str, start: re.Match[str]) -> tuple[Reference | Expression, int]:
    close = closing_brace(text, start.end())
    inner, end = text[start.end() : close], close + 1
    whole = text[start.start() : end]
    if older := _OLDER_FORM.match(inner):  # ids can contain dots: the shortest one is meant
        path, after = parse_path(inner, older.end())
        if older[1].partition(".")[0] not in ROOTS and not inner[after:].strip():
            return Reference("OUTPUT", older[1], path, whole, path[-1:] == ("length",)), end
    plain = _START.match("$" + inner.strip().removeprefix("$"))
    if plain and plain["root"] in ("OUTPUT", "ITEMS", "INPUT", "ITEM", "LAST", "RUN"):
        # Braces around a plain path only delimit it: a place that is not there is an error.
        with suppress(PathSyntaxError, ExpressionSyntaxError):
            reference, after = _rooted(plain.string, plain)
            if after == len(plain.string):
                return replace(reference, text=whole, or_null=reference.root == "OUTPUT"), end
    return compile_expression(inner), end
