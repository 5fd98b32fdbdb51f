"""What a `${...}` gives, as far as that is known before the run.

The rule of this file: it follows the tree of an expression with shapes instead of values. Where
JMESPath gives null it gives null; an error is only what fails whatever the values are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator.check.environment import ERROR, STATUS, Environment
from orchestrator.check.jmespath_functions import (
    NUMBERS,
    Report,
    alike,
    check_arguments,
    item_of,
    not_null,
    one_of,
    overlap,
    result_of,
    told,
)
from orchestrator.documents.suggest import nearest
from orchestrator.errors import Code, Severity
from orchestrator.expressions.lexer import ROOTS, marked_root, names_an_id
from orchestrator.schema.coercion import ALL_TYPES, Types
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    ARRAY,
    BOOLEAN,
    INTEGER,
    NULL,
    SILENT_NULL,
    ArrayType,
    LiteralType,
    ObjectType,
    StaticType,
    TupleType,
    UnknownType,
    either,
    type_names,
)

_ORDERED: Types = NUMBERS | {"string"}
_ORDERINGS = frozenset({"lt", "lte", "gt", "gte"})
_UNKNOWN = UnknownType("")


@dataclass(frozen=True, slots=True)
class _Root:
    """A part of the document that has no value of its own: `OUTPUT`, of which one names a task."""

    name: str


_DOCUMENT = _Root("")
_Here = StaticType | _Root


class ExpressionInference:
    """Finds the shape of what an expression gives.

    Args:
        reader: Reads shapes.
        around: What the expression may refer to.
        report: Is told what is found on the way.
    """

    def __init__(self, reader: TypeQuery, around: Environment, report: Report) -> None:
        self._reader = reader
        self._around = around
        self._tell = report
        self._is_certain = True

    def shape_of(self, tree: Any) -> StaticType:
        """The shape of what the tree of an expression gives."""
        return self._value(tree, _DOCUMENT)

    def _report(
        self,
        code: Code,
        severity: Severity,
        message: str,
        near: tuple[str, ...] = (),
        piece: str = "",
        /,
    ) -> None:
        if severity == "error" and not self._is_certain:
            severity = "warning"
        self._tell(code, severity, message, near, piece)

    def _value(self, node: Any, here: _Here) -> StaticType:
        found = self._visit(node, here)
        return _UNKNOWN if isinstance(found, _Root) else found

    def _perhaps(self, node: Any, here: _Here) -> StaticType:
        """The value of a part that need not be evaluated at all, as for the items of a list."""
        before, self._is_certain = self._is_certain, False
        try:
            return self._value(node, here)
        finally:
            self._is_certain = before

    def _visit(self, node: Any, here: _Here) -> _Here:
        kind, children = node["type"], node["children"]
        match kind:
            case "field":
                return self._field(node["value"], here)
            case "index":
                return _UNKNOWN if isinstance(here, _Root) else self._at(here, node["value"])
            case "subexpression" | "index_expression" | "pipe":
                for child in children:
                    here = self._visit(child, here)
                return here
            case "identity" | "current":
                return here
            case "literal":
                return LiteralType(node["value"])
            case "slice":
                return _UNKNOWN if isinstance(here, _Root) else self._list(here)
            case "projection":
                return self._projection(self._list(self._value(children[0], here)), children[1])
            case "filter_projection":
                return self._filtered(children, here)
            case "value_projection":
                return self._projection(self._values(self._value(children[0], here)), children[1])
            case "flatten":
                return self._flattened(self._value(children[0], here))
            case "comparator":
                left, right = (self._value(child, here) for child in children)
                return self._compared(node["value"], left, right)
            case "or_expression":
                left, right = self._value(children[0], here), self._perhaps(children[1], here)
                return either([not_null(left), right])
            case "and_expression":
                return either([self._value(children[0], here), self._perhaps(children[1], here)])
            case "not_expression":
                self._value(children[0], here)
                return BOOLEAN
            case "multi_select_list":
                inside = self._inside(here)
                items = tuple(inside(child, here) for child in children)
                return self._unless_null(here, TupleType(items))
            case "multi_select_dict":
                inside = self._inside(here)
                pairs = {pair["value"]: inside(pair["children"][0], here) for pair in children}
                return self._unless_null(here, ObjectType(pairs))
            case "function_expression":
                return self._function(node["value"], children, here)
        return _UNKNOWN

    def _field(self, name: str, here: _Here) -> _Here:
        if (root := marked_root(name)) is not None:
            return self._root(root, names_an_id(name))
        if here is _DOCUMENT:
            return self._root(name, by_id=False) if name in ROOTS else _UNKNOWN
        if isinstance(here, _Root):
            return self._named(here.name, name)
        return self._at(here, name)

    def _root(self, root: str, by_id: bool) -> _Here:
        match root:
            case "ITEM":
                return one_of(self._around.item)
            case "INDEX":
                return INTEGER
            case "ERROR" if self._around.in_fallback and not by_id:
                return ERROR
        return _Root(root)

    def _named(self, root: str, name: str) -> StaticType:
        match root:
            case "OUTPUT":
                output = self._around.outputs.get(name, _UNKNOWN)
                null = SILENT_NULL if self._around.at_end else NULL
                return either([output, null]) if self._around.may_lack else output
            case "INPUT":
                return self._around.inputs.get(name, _UNKNOWN)
            case "STATUS":
                return STATUS
            case "ERROR":
                return self._around.error
        return _UNKNOWN

    def _at(self, shape: StaticType, segment: str | int) -> StaticType:
        """What is at a name or an index; null, where JMESPath gives null."""
        if shape == NULL:
            return NULL
        if (strict := told(shape)) is not shape:
            return either([self._at(strict, segment), SILENT_NULL])
        found = self._reader.step(shape, segment)
        if found.presence == "no":
            if isinstance(segment, str) or "array" not in self._reader.kinds(shape):
                step = f"{segment!r}" if isinstance(segment, str) else f"[{segment}]"
                message = f"there is no {step} in {found.holder}, so it is always null"
                near = nearest(str(segment), found.names)
                piece = segment if isinstance(segment, str) else ""
                self._report("always_null", "warning", message, near, piece)
            return NULL
        if found.presence == "yes" or isinstance(found.shape, UnknownType):
            return found.shape
        return either([found.shape, NULL if found.presence == "maybe" else SILENT_NULL])

    def _list(self, shape: StaticType) -> StaticType:
        """The same as a list; null if it is none."""
        kinds = self._reader.kinds(shape)
        if "array" in kinds:
            return shape
        if shape != NULL:
            message = f"it wants a list, and there is {self._reader.describe(shape)}: always null"
            self._report("always_null", "warning", message)
        return NULL

    def _values(self, shape: StaticType) -> StaticType:
        """The values of an object, as a list."""
        kinds = self._reader.kinds(shape)
        if "object" not in kinds:
            return NULL
        return ARRAY if kinds == {"object"} else either([ARRAY, SILENT_NULL])

    def _projection(self, shape: StaticType, right: Any) -> StaticType:
        if shape == NULL:
            return NULL
        item = self._perhaps(right, item_of(shape, self._reader))
        # A projection leaves out what is null.
        made = LiteralType([]) if item == NULL else ArrayType(not_null(item))
        return self._if_list(shape, made)

    def _if_list(self, shape: StaticType, made: StaticType) -> StaticType:
        """What was made of a list; null, if it was none."""
        if self._reader.kinds(shape) == {"array"}:
            return made
        surely = "null" in self._reader.kinds(told(shape)) and not isinstance(shape, UnknownType)
        return either([made, NULL if surely else SILENT_NULL])

    def _may_be_null(self, here: _Here) -> bool:
        return not isinstance(here, _Root) and "null" in self._reader.kinds(here)

    def _inside(self, here: _Here) -> Callable[[Any, _Here], StaticType]:
        """How the parts of a selection are valued: of null, none is looked at."""
        return self._perhaps if self._may_be_null(here) else self._value

    def _unless_null(self, here: _Here, made: StaticType) -> StaticType:
        if not self._may_be_null(here):
            return made
        return NULL if here == NULL else either([made, SILENT_NULL])

    def _filtered(self, children: list[Any], here: _Here) -> StaticType:
        left, right, condition = children
        shape = self._list(self._value(left, here))
        if shape != NULL:
            self._perhaps(condition, item_of(shape, self._reader))
        return self._projection(shape, right)

    def _flattened(self, shape: StaticType) -> StaticType:
        shape = self._list(shape)
        if shape == NULL:
            return NULL
        item = item_of(shape, self._reader)
        kinds = self._reader.kinds(item)
        if kinds == {"array"}:
            return self._if_list(shape, ArrayType(item_of(item, self._reader)))
        plain = "array" not in kinds or isinstance(item, UnknownType)
        return self._if_list(shape, ArrayType(item) if plain else ARRAY)

    def _compared(self, operator: str, left: StaticType, right: StaticType) -> StaticType:
        self._reader.compares(operator, left, right)
        one, other = self._reader.kinds(left), self._reader.kinds(right)
        if operator in _ORDERINGS:
            self._ordered(one, other)
            return BOOLEAN if one <= _ORDERED and other <= _ORDERED else either([BOOLEAN, NULL])
        values, known = self._reader.finite(left), self._reader.finite(right)
        apart = ALL_TYPES not in (one, other) and one and other and not alike(one, other)
        distinct = values is not None and known is not None and not overlap(values, known)
        if apart or distinct:
            always = "true" if operator == "ne" else "false"
            shown = f"{self._reader.describe(left)} with {self._reader.describe(right)}"
            listed = tuple(v for v in values or () if isinstance(v, str))
            wrong = next((v for v in known or () if isinstance(v, str)), "")
            message = f"to compare {shown} is always {always}"
            self._report("never_true", "warning", message, nearest(wrong, listed), wrong)
        return BOOLEAN

    def _ordered(self, left: Types, right: Types) -> None:
        """Null compares with everything, and gives null."""
        one, other = left - {"null"}, right - {"null"}
        if one and other and one <= _ORDERED and other <= _ORDERED and not alike(one, other):
            shown = f"{type_names(one)} and {type_names(other)} cannot be compared"
            message = f"{shown}: to_number() makes a number of a text"
            severity: Severity = "warning" if "null" in left | right else "error"
            self._report("wrong_expression", severity, message)

    def _function(self, name: str, nodes: list[Any], here: _Here) -> StaticType:
        arguments = [_UNKNOWN if n["type"] == "expref" else self._value(n, here) for n in nodes]
        check_arguments(name, arguments, self._reader, self._report)
        inner = [self._by_item(node, arguments) for node in nodes if node["type"] == "expref"]
        return result_of(name, arguments, inner, self._reader)

    def _by_item(self, node: Any, arguments: list[StaticType]) -> StaticType:
        """What `&name` gives for the items of the list beside it."""
        lists = [argument for argument in arguments if argument is not _UNKNOWN]
        item = item_of(lists[0], self._reader) if lists else _UNKNOWN
        return self._perhaps(node["children"][0], item)
