"""What a template gives, as far as that is known before the run, and what is wrong in it.

The rule of this file: from templates to shapes; each reference is followed as far as the schemas
go, and what is found stands at its place in the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from orchestrator.check.environment import ERROR, Environment
from orchestrator.check.infer_jmespath import ExpressionInference
from orchestrator.check.mismatch import Mismatch
from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.suggest import certain, nearest
from orchestrator.errors import Code, Severity
from orchestrator.expressions.scope import Reference
from orchestrator.expressions.templates import (
    Computed,
    ListTemplate,
    Literal,
    ObjectTemplate,
    Template,
    Text,
)
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    INTEGER,
    NULL,
    OBJECT,
    TEXT,
    Found,
    LiteralType,
    ObjectType,
    SourcedType,
    StaticType,
    TupleType,
    UnknownType,
    either,
)

_SAID_ALREADY = UnknownType("")


class Inference:
    """Finds the shapes of templates.

    Args:
        reader: Reads shapes.
        around: What the templates may refer to.

    Attributes:
        found: What is wrong, at its path in the value.
    """

    def __init__(self, reader: TypeQuery, around: Environment) -> None:
        self._reader = reader
        self._around = around
        self.found: list[Mismatch] = []

    def shape_of(self, template: Template, path: Path = ()) -> StaticType:
        """The shape of what a template gives, a place of which is at `path` of the value."""
        match template:
            case Literal(value):
                return LiteralType(value)
            case Reference():
                return SourcedType(self._reference(template, path), template.text)
            case Computed():
                return SourcedType(self._computed(template, path), template.expression.text)
            case Text(parts):
                for part in parts:
                    if not isinstance(part, str):
                        self.shape_of(part, path)
                return TEXT
            case ListTemplate(items):
                return TupleType(
                    tuple(self.shape_of(item, (*path, index)) for index, item in enumerate(items))
                )
            case ObjectTemplate():
                return self._object(template, path)

    def _object(self, template: ObjectTemplate, path: Path) -> StaticType:
        members: dict[str, StaticType] = {}
        for name, member in template.members:
            if not isinstance(name, Literal):
                self.shape_of(name, path)
            step = str(name.value) if isinstance(name, Literal) else ""
            members[step] = self.shape_of(member, (*path, step))
        computed = any(not isinstance(name, Literal) for name, _ in template.members)
        return OBJECT if computed else ObjectType(members)

    def _computed(self, template: Computed, path: Path) -> StaticType:
        text = template.expression.text

        def report(
            code: Code,
            severity: Severity,
            message: str,
            near: tuple[str, ...] = (),
            piece: str = "",
        ) -> None:
            piece = (
                piece
                if len(re.findall(rf"(?<![\w-]){re.escape(piece)}(?![\w-])", text)) == 1
                else ""
            )
            meant = certain(piece, near) if piece else None
            value = "" if meant is None else json.dumps(meant)
            self.found.append(Mismatch(path, code, severity, message, text, near, value, piece))

        return ExpressionInference(self._reader, self._around, report).shape_of(
            template.expression.tree
        )

    def _reference(self, reference: Reference, path: Path) -> StaticType:
        shape = self._root(reference)
        for index, segment in enumerate(reference.path):
            found = self._reader.step(shape, segment)
            if found.presence == "no":
                is_length = reference.or_length and index == len(reference.path) - 1
                if is_length and self._reader.kinds(shape) & {"array", "string"}:
                    return INTEGER
                self._no_such_place(reference, index, shape, found, path)
                return _SAID_ALREADY
            if found.presence == "maybe":
                self._maybe_absent(reference, index, path)
            shape = found.shape
        if reference.path and isinstance(shape, UnknownType) and shape.why:
            self.found.append(Mismatch(path, "unknown_type", "note", shape.why, reference.text))
            return _SAID_ALREADY
        if reference.or_null and self._around.may_lack:
            return either([shape, NULL])
        return shape

    def _root(self, reference: Reference) -> StaticType:
        name, around = str(reference.name), self._around
        match reference.root:
            case "OUTPUT":
                return around.outputs.get(name, _SAID_ALREADY)
            case "INPUT":
                return around.inputs.get(name, _SAID_ALREADY)
            case "ERROR":
                return ERROR if reference.name is None else around.error
            case "ITEM":
                return around.item
        return INTEGER

    def _no_such_place(
        self, reference: Reference, index: int, shape: StaticType, found: Found, path: Path
    ) -> None:
        """Tell of a step that leads nowhere from a shape."""
        segment = reference.path[index]
        missing = format_path((segment,))
        holder = f"{_base(reference)}{format_path(reference.path[:index])}"
        message = f"there is no {missing}: {holder} is {found.holder}"
        near = nearest(segment, found.names) if isinstance(segment, str) else ()
        meant = certain(str(segment), near)
        value = json.dumps(_with_step(reference, index, meant)) if meant is not None else ""
        severity: Severity = "error"
        if reference.root == "INPUT" and isinstance(segment, str) and self._reader.is_open(shape):
            # Whoever gives the input may give it names that its schema does not declare.
            message += ", and its schema allows others"
            severity = "warning"
        self.found.append(
            Mismatch(path, "unknown_place", severity, message, reference.text, near, value)
        )

    def _maybe_absent(self, reference: Reference, index: int, path: Path) -> None:
        missing = format_path(reference.path[index : index + 1])
        message = f"{missing} may be absent: its schema does not require it, or allows null"
        self.found.append(Mismatch(path, "maybe_absent", "warning", message, reference.text))


def _with_step(reference: Reference, index: int, step: str) -> str:
    """The text of a reference with one step of its path exchanged, in its shortest spelling."""
    path = (*reference.path[:index], step, *reference.path[index + 1 :])
    plain = _base(reference) + format_path(path)
    return f"${{{plain[1:]}}}" if reference.text.startswith("${") else plain


def _base(reference: Reference) -> str:
    if reference.name is None:
        return f"${reference.root}"
    if reference.root == "INPUT":
        return f"$INPUT{format_path((reference.name,))}"
    return f"${reference.root}[{reference.name}]"


def references_in(
    template: Template | None, path: Path = ()
) -> Iterator[tuple[Path, Reference | Computed]]:
    """Each reference and expression of a template, with its place in the value."""
    match template:
        case Reference() | Computed():
            yield path, template
        case Text(parts):
            yield from ((path, part) for part in parts if not isinstance(part, str))
        case ListTemplate(items):
            for index, item in enumerate(items):
                yield from references_in(item, (*path, index))
        case ObjectTemplate(members):
            for name, member in members:
                step = str(name.value) if isinstance(name, Literal) else ""
                yield from references_in(name, path)
                yield from references_in(member, (*path, step))
