"""`$OUTPUT[id]`, `$INPUT.x` and `${...}`: found once in a JSON value, resolved many times.

The rule of this file: a value is compiled into a template before anything is called, so that what is
malformed is found then; a template without references gives back the very value it was made of.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import CallError
from orchestrator.expressions import (
    Expression,
    ExpressionSyntaxError,
    Place,
    closing_brace,
    compile_expression,
)
from orchestrator.paths import (
    Path,
    PathSyntaxError,
    PlaceMissingError,
    describe,
    follow,
    format_path,
    parse_path,
)

TASK_ID = r"[A-Za-z0-9_.:-]+"
MAX_DEPTH = 100
_START = re.compile(r"\$(?:\$|\{|(?P<root>OUTPUT|ERROR|INPUT|ITEM|INDEX)(?!\w))")
_ID = re.compile(rf"\[({TASK_ID})\]")
_OLDER_FORM = re.compile(rf"\s*({TASK_ID}?)\.result(?![\w-])")


class ReferenceSyntaxError(ValueError):
    """Text that begins like a reference and is none."""


class Missing:
    """The type of `MISSING`, which stands where there is no value."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


@dataclass(slots=True)
class Scope:
    """What references are resolved against. Shared by all tasks of a run, so nothing is copied.

    Attributes:
        outputs: The output of each task that has one.
        statuses: The status of each task that has settled.
        errors: The error of each task that failed, as JSON.
        inputs: The inputs of the run.
        item: The element of a `for_each`, and `index` its position.
        error: The error that a `fallback` stands in for.
    """

    outputs: Mapping[str, Any] = field(default_factory=dict)
    statuses: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    item: Any = MISSING
    index: Any = MISSING
    error: Any = MISSING

    def get(self, root: str, /) -> Any:
        """The part of the document that a root of an expression names."""
        match root:
            case "OUTPUT":
                return self.outputs
            case "STATUS":
                return self.statuses
            case "ERROR":
                return self.errors if self.error is MISSING else {**self.errors, **self.error}
            case "INPUT":
                return self.inputs
            case "ITEM" if self.item is not MISSING:
                return self.item
            case "INDEX" if self.index is not MISSING:
                return self.index
        return None


@dataclass(frozen=True, slots=True)
class Reference:
    """One place in the run: a root, the task or input it names, and a path below that.

    Attributes:
        root: `OUTPUT`, `ERROR`, `INPUT`, `ITEM` or `INDEX`.
        name: The task, for `OUTPUT` and `ERROR[id]`; the input, for `INPUT`.
        path: What follows.
        text: As the author wrote it.
        or_length: The older form `${id.result.path.length}`: a length, where no name `length` is.
    """

    root: str
    name: str | None
    path: Path
    text: str
    or_length: bool = False

    @property
    def places(self) -> tuple[Place, ...]:
        """What it reads, in the terms of an expression."""
        return (Place(self.root, self.name),)

    def resolve(self, scope: Scope) -> Any:
        """The value it stands for.

        Raises:
            CallError: A `reference_error`: there is no such place, or the task has no output.
        """
        value = self._root(scope)
        try:
            return follow(value, self.path)
        except PlaceMissingError as missing:
            if self.or_length and missing.found == len(self.path) - 1:
                holder = follow(value, self.path[:-1])
                if isinstance(holder, list | str):
                    return len(holder)
            raise self._missing(value, missing) from None

    def _root(self, scope: Scope) -> Any:
        match self.root:
            case "OUTPUT":
                if self.name not in scope.outputs:
                    raise self._no_output(scope)
                return scope.outputs[self.name]
            case "ERROR" if self.name is None:
                return scope.error
            case "ERROR":
                return scope.errors.get(str(self.name))
            case "INPUT":
                return scope.inputs[str(self.name)]
            case "ITEM":
                return scope.item
            case _:
                return scope.index

    def _no_output(self, scope: Scope) -> CallError:
        status = scope.statuses.get(str(self.name), "pending")
        state = {"error": "failed", "pending": "has not run"}.get(status, f"was {status}")
        return CallError(
            "reference_error",
            f"{self.text}: task {self.name!r} {state}, so it has no output "
            f"(${{OUTPUT[{self.name}]}} would be null)",
            reference=self.text,
            task=self.name,
            status=status,
        )

    def _missing(self, value: Any, missing: PlaceMissingError) -> CallError:
        part = format_path(self.path[: missing.found])
        wanted = format_path(self.path[missing.found : missing.found + 1])
        base = f"{self.root}[{self.name}]" if self.root in ("OUTPUT", "ERROR") else self.root
        base = f"{base}.{self.name}" if self.root == "INPUT" else base
        found = describe(follow(value, self.path[: missing.found]))
        return CallError(
            "reference_error",
            f"{self.text}: there is no {wanted}, ${base}{part} is {found}",
            reference=self.text,
            path=format_path(self.path),
            exists=part,
            missing=wanted,
            keys=missing.keys,
        )


@dataclass(frozen=True, slots=True)
class Computed:
    """A `${...}` expression as a part of a template."""

    expression: Expression

    @property
    def text(self) -> str:
        """As the author wrote it."""
        return f"${{{self.expression.text}}}"

    @property
    def places(self) -> tuple[Place, ...]:
        """What it reads."""
        return self.expression.places

    def resolve(self, scope: Scope) -> Any:
        """Its value.

        Raises:
            CallError: A `reference_error`: a function was given what it does not take.
        """
        return self.expression.evaluate(scope)


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that holds no reference, shared and never copied."""

    value: Any

    def resolve(self, scope: Scope) -> Any:  # noqa: ARG002
        """The value itself."""
        return self.value


@dataclass(frozen=True, slots=True)
class Text:
    """A string with references in it: each is replaced by text."""

    parts: tuple[str | Reference | Computed, ...]

    def resolve(self, scope: Scope) -> str:
        """The string, with texts as they are and other values as compact JSON."""
        return "".join(
            part if isinstance(part, str) else to_text(part.resolve(scope)) for part in self.parts
        )


@dataclass(frozen=True, slots=True)
class ListTemplate:
    """An array with references somewhere below it."""

    items: tuple[Template, ...]

    def resolve(self, scope: Scope) -> list[Any]:
        """A new array."""
        return [item.resolve(scope) for item in self.items]


@dataclass(frozen=True, slots=True)
class ObjectTemplate:
    """An object with references somewhere below it, in its names too."""

    members: tuple[tuple[Literal | Text, Template], ...]

    def resolve(self, scope: Scope) -> dict[str, Any]:
        """A new object.

        Raises:
            CallError: A `reference_error`, also if two names become the same.
        """
        resolved: dict[str, Any] = {}
        for name, member in self.members:
            key = name.resolve(scope)
            if key in resolved:
                raise CallError("reference_error", f"two members of an object are named {key!r}")
            resolved[key] = member.resolve(scope)
        return resolved


Template = Literal | Reference | Computed | Text | ListTemplate | ObjectTemplate
EMPTY = Literal({})


def to_text(value: Any) -> str:
    """What stands for a value inside of a longer string: text as it is, all else as compact JSON."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (RecursionError, ValueError):
        message = (
            "a value cannot be written as JSON: it is nested too deep, or holds NaN or Infinity"
        )
        raise CallError("reference_error", message) from None


@dataclass(slots=True)
class Compiler:
    """Compiles values into templates, and keeps what it found on the way.

    Attributes:
        found: Each reference and expression with its path in the value.
        faults: Each malformed one: its path, and what is wrong with it.
        whole: Where a string is one reference and nothing else, so that the value keeps its type.
    """

    found: list[tuple[Path, Reference | Computed]] = field(default_factory=list)
    faults: list[tuple[Path, str]] = field(default_factory=list)
    whole: list[Path] = field(default_factory=list)

    def compile(self, value: Any, path: Path = ()) -> Template:
        """The template of a JSON value. Faults are collected, not raised."""
        match value:
            case str():
                return self._text(value, path)
            case dict() | list() if len(path) >= MAX_DEPTH:
                self.faults.append((path[:8], f"it is nested deeper than {MAX_DEPTH} levels"))
            case dict():
                return self._object(value, path)
            case list():
                items = tuple(
                    self.compile(item, (*path, index)) for index, item in enumerate(value)
                )
                if not all(_unchanged(item, made) for item, made in zip(value, items, strict=True)):
                    return ListTemplate(items)
        return Literal(value)

    def _object(self, value: dict[str, Any], path: Path) -> Template:
        members = tuple(
            (self._name(name, path), self.compile(member, (*path, name)))
            for name, member in value.items()
        )
        same = all(
            _unchanged(name, made_name) and _unchanged(member, made)
            for (name, member), (made_name, made) in zip(value.items(), members, strict=True)
        )
        return Literal(value) if same else ObjectTemplate(members)

    def _name(self, name: str, path: Path) -> Literal | Text:
        template = self._text(name, (*path, name)) if "$" in name else Literal(name)
        return Text((template,)) if isinstance(template, Reference | Computed) else template

    def _text(self, text: str, path: Path) -> Literal | Text | Reference | Computed:
        if "$" not in text:
            return Literal(text)
        try:
            parts = tuple(split(text))
        except ReferenceSyntaxError as fault:
            self.faults.append((path, str(fault)))
            return Literal(text)
        self.found.extend((path, part) for part in parts if not isinstance(part, str))
        if len(parts) == 1 and not isinstance(parts[0], str):
            self.whole.append(path)
            return parts[0]
        if all(isinstance(part, str) for part in parts):
            return Literal("".join(map(str, parts)))
        return Text(parts)

    def condition(self, text: str, path: Path = ()) -> Computed | Literal:
        """The template of a `when`: an expression, with or without its braces."""
        stripped = text.strip()
        if stripped.startswith("${") and stripped.endswith("}"):
            stripped = stripped[2:-1]
        try:
            computed = Computed(compile_expression(stripped))
        except ExpressionSyntaxError as fault:
            self.faults.append((path, f"{text!r} is no expression: {fault}"))
            return Literal(True)
        self.found.append((path, computed))
        return computed


def _unchanged(value: Any, template: Template) -> bool:
    return isinstance(template, Literal) and template.value is value


def split(text: str) -> Iterator[str | Reference | Computed]:
    """Cut a string into plain text and references; neighbouring texts are not joined.

    Raises:
        ReferenceSyntaxError: Something begins like a reference and is malformed.
    """
    position = 0
    while start := _START.search(text, position):
        if start.start() > position:
            yield text[position : start.start()]
        part, position = _reference(text, start)
        yield part
    if position < len(text):
        yield text[position:]


def _reference(text: str, start: re.Match[str]) -> tuple[str | Reference | Computed, int]:
    if start[0] == "$$":
        return "$", start.end()
    try:
        if start[0] == "${":
            return _braces(text, start)
        return _rooted(text, start)
    except (PathSyntaxError, ExpressionSyntaxError) as fault:
        begin = text[start.start() : start.start() + 60]
        raise ReferenceSyntaxError(
            f"{begin!r} is no reference: {fault} (to write it as text, double its dollar sign: "
            f"{'$' + begin[:20]!r})"
        ) from None


def _rooted(text: str, start: re.Match[str]) -> tuple[Reference, int]:
    root, position = start["root"], start.end()
    name: str | None = None
    if root in ("OUTPUT", "ERROR"):
        if identifier := _ID.match(text, position):
            name, position = identifier[1], identifier.end()
        elif root == "OUTPUT" or text.startswith("[", position):
            raise PathSyntaxError(f"it has to name a task: ${root}[id]")
    path, end = parse_path(text, position)
    if root == "INPUT":
        if not path or not isinstance(path[0], str):
            raise PathSyntaxError("it has to name an input: $INPUT.name")
        name, path = path[0], path[1:]
    return Reference(root, name, path, text[start.start() : end]), end


def _braces(text: str, start: re.Match[str]) -> tuple[Reference | Computed, int]:
    close = closing_brace(text, start.end())
    inner, end = text[start.end() : close], close + 1
    if older := _OLDER_FORM.match(inner):
        path, after = parse_path(inner, older.end())
        if older[1] not in ("INPUT", "ITEM", "OUTPUT") and not inner[after:].strip():
            whole = text[start.start() : end]
            return Reference("OUTPUT", older[1], path, whole, path[-1:] == ("length",)), end
    return Computed(compile_expression(inner)), end
