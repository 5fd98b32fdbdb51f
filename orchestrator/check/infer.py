"""Infers the type of a template before the run, and finds references that lead nowhere."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TypeGuard

from orchestrator.check.environment import UNKNOWN, Environment
from orchestrator.check.infer_jmespath import ExpressionInference
from orchestrator.check.mismatch import Mismatch, no_such_place
from orchestrator.documents.jsonpath import Path, format_path
from orchestrator.documents.suggest import certain, nearest
from orchestrator.documents.text import quoted
from orchestrator.errors import Severity
from orchestrator.expressions.jmespath import Expression
from orchestrator.expressions.scope import Reference
from orchestrator.expressions.templates import (
    ListTemplate,
    Literal,
    ObjectTemplate,
    Template,
    Text,
)
from orchestrator.schema.coercion import ALL_TYPES
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


@dataclass(slots=True)
class Inference:
    """Infers the types of templates in an environment."""

    query: TypeQuery
    environment: Environment
    # What is wrong, and each reference and expression, at its path in the value.
    found: list[Mismatch] = field(default_factory=list)
    references: list[tuple[Path, Reference | Expression]] = field(default_factory=list)

    def infer(self, template: Template, path: Path = ()) -> StaticType:
        """The type of what a template at a path of the value gives."""
        if isinstance(template, Reference | Expression):
            self.references.append((path, template))
        match template:
            case Literal(value):
                return LiteralType(value)
            case Reference():
                return SourcedType(self._reference(template, path), template.text)
            case Expression():
                inference = ExpressionInference(self.query, self.environment, template, path)
                type_ = inference.infer()
                self.found += inference.found
                return SourcedType(type_, template.inner)
            case Text(parts):
                for part in parts:
                    if not isinstance(part, str):
                        self.infer(part, path)
                return TEXT
            case ListTemplate(items):
                types = (self.infer(item, (*path, index)) for index, item in enumerate(items))
                return TupleType(tuple(types))
            case ObjectTemplate():
                return self._object(template, path)

    def _object(self, template: ObjectTemplate, path: Path) -> StaticType:
        properties: dict[str, StaticType] = {}
        for name, member in template.members:
            if not isinstance(name, Literal):
                self.infer(name, path)
            step = str(name.value) if isinstance(name, Literal) else ""
            properties[step] = self.infer(member, (*path, step))
        # With a computed name nothing certain is known of any property.
        computed = any(not isinstance(name, Literal) for name, _ in template.members)
        return OBJECT if computed else ObjectType(properties)

    def _reference(self, reference: Reference, path: Path) -> StaticType:
        environment = self.environment
        type_, text = environment.lookup(reference.root, reference.name), reference.text
        if reference.or_null and reference.name in environment.absent:
            return NULL
        for index, step in enumerate(reference.path):
            found = self.query.step(type_, step)
            if found.presence == "no":
                # In the older form `${id.result.path.length}` it is no property.
                is_length = reference.or_length and index == len(reference.path) - 1
                if is_length and self.query.kinds(type_) & {"array", "string"}:
                    return INTEGER
                self.found.append(self._unknown_place(reference, index, type_, found, path))
                return UNKNOWN
            # The loop that `LAST` is read in mostly ends where it is not there.
            if found.presence == "maybe" and reference.root != "LAST":
                what = f"property {quoted(step)}" if isinstance(step, str) else f"index {step}"
                why = "it is not required, or its parent may be null"
                message = f"{text}: {what} may be missing: {why}"
                self.found.append(
                    Mismatch(path, "maybe_absent", "warning", message, reference.text)
                )
            type_ = found.type
        if reference.path and _is_unknown(type_):
            self.found.append(Mismatch(path, "unknown_type", "note", type_.why, text))
            return UNKNOWN
        may_be_null = reference.or_null and self.environment.lacks(reference.name)
        may_be_null |= reference.root == "LAST" and self.environment.before_first
        return either([type_, NULL]) if may_be_null else type_

    def _unknown_place(
        self, reference: Reference, index: int, type_: StaticType, found: Found, path: Path
    ) -> Mismatch:
        """A step of a reference that leads nowhere from a type."""
        before, (step, *after) = reference.path[:index], reference.path[index:]
        message = no_such_place(_spelled(reference, before), step, found)
        near = nearest(step, found.names) if isinstance(step, str) else ()
        meant = certain(str(step), near)
        fix = ""
        if meant is not None:
            plain = _spelled(reference, (*before, meant, *after))
            braced = reference.text.startswith("${")
            fix = json.dumps(f"${{{plain[1:]}}}" if braced else plain)
        severity: Severity = "error"
        if reference.or_null and self.environment.may_lack and not self.environment.at_end:
            severity = "warning"  # null, if the task has no output
        if reference.root == "INPUT" and isinstance(step, str) and self.query.is_open(type_):
            # The values of a run may have properties that the schema does not declare.
            message += ", but its schema allows others"
            severity = "warning"
        hint, rest = "", format_path(reference.path[index:])
        if step == "length" and {"array", "string"} & self.query.kinds(type_):
            hint = f"write ${{length({_spelled(reference, before)[1:]})}}"
        elif not {"object", "array"} & self.query.kinds(type_) and not reference.text.startswith(
            "${"
        ):
            whole = f"${{{_spelled(reference, before)[1:]}}}"
            hint = f"if {quoted(rest)} is text behind the reference, write {whole}{rest}"
        return Mismatch(
            path, "unknown_place", severity, message, reference.text, near, fix, hint=hint
        )


def _is_unknown(type_: StaticType) -> TypeGuard[UnknownType]:
    return isinstance(type_, UnknownType) and bool(type_.why) and type_.types == ALL_TYPES


def _spelled(reference: Reference, path: Path) -> str:
    """A reference to another path of the same root, in its shortest spelling."""
    root, name = reference.root, reference.name
    if name is None or root in ("INPUT", "RUN"):
        return f"${root}{format_path(path if name is None else (name, *path))}"
    return f"${root}[{name}]{format_path(path)}"
