"""What a `${...}` gives, as far as that is known before the run.

The rule of this file: it follows the tree of an expression with shapes instead of values. Where
JMESPath gives null it gives null; an error is only what fails whatever the values are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from jmespath.functions import Functions

from orchestrator.codes import Code, Severity
from orchestrator.conversion import ALL_TYPES, Types
from orchestrator.errors import nearest
from orchestrator.shapes import (
    ARRAY,
    BOOLEAN,
    INTEGER,
    NULL,
    NUMBER,
    OBJECT,
    SILENT_NULL,
    TEXT,
    ArrayOf,
    Either,
    Exactly,
    ListOf,
    Members,
    Reader,
    Shape,
    Sourced,
    Unknown,
    either,
    words,
)
from orchestrator.surroundings import ERROR, STATUS, Surroundings
from orchestrator.tokens import ROOTS, marked_root, names_an_id

NUMBERS: Types = frozenset({"number", "integer"})
_ORDERED: Types = NUMBERS | {"string"}
_ORDERINGS = frozenset({"lt", "lte", "gt", "gte"})
_UNKNOWN = Unknown("")


class Report(Protocol):
    """Takes what is found; `piece` is the part of the expression that is meant, if it is one."""

    def __call__(
        self,
        code: Code,
        severity: Severity,
        message: str,
        near: tuple[str, ...] = (),
        piece: str = "",
        /,
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class _Root:
    """A part of the document that has no value of its own: `OUTPUT`, of which one names a task."""

    name: str


_DOCUMENT = _Root("")
_Here = Shape | _Root


class ExpressionShapes:
    """Finds the shape of what an expression gives.

    Args:
        reader: Reads shapes.
        around: What the expression may refer to.
        report: Is told what is found on the way.
    """

    def __init__(self, reader: Reader, around: Surroundings, report: Report) -> None:
        self._reader = reader
        self._around = around
        self._tell = report
        self._is_certain = True

    def shape_of(self, tree: Any) -> Shape:
        """The shape of what the tree of an expression gives."""
        return self._value(tree, _DOCUMENT)

    def _report(
        self,
        code: Code,
        severity: Severity,
        message: str,
        near: tuple[str, ...] = (),
        piece: str = "",
    ) -> None:
        if severity == "error" and not self._is_certain:
            severity = "warning"
        self._tell(code, severity, message, near, piece)

    def _value(self, node: Any, here: _Here) -> Shape:
        found = self._visit(node, here)
        return _UNKNOWN if isinstance(found, _Root) else found

    def _perhaps(self, node: Any, here: _Here) -> Shape:
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
                return Exactly(node["value"])
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
                return either([_not_null(left), right])
            case "and_expression":
                return either([self._value(children[0], here), self._perhaps(children[1], here)])
            case "not_expression":
                self._value(children[0], here)
                return BOOLEAN
            case "multi_select_list":
                inside = self._inside(here)
                items = tuple(inside(child, here) for child in children)
                return self._unless_null(here, ListOf(items))
            case "multi_select_dict":
                inside = self._inside(here)
                pairs = {pair["value"]: inside(pair["children"][0], here) for pair in children}
                return self._unless_null(here, Members(pairs))
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
                return _one(self._around.item)
            case "INDEX":
                return INTEGER
            case "ERROR" if self._around.in_fallback and not by_id:
                return ERROR
        return _Root(root)

    def _named(self, root: str, name: str) -> Shape:
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

    def _at(self, shape: Shape, segment: str | int) -> Shape:
        """What is at a name or an index; null, where JMESPath gives null."""
        if shape == NULL:
            return NULL
        if (told := _told(shape)) is not shape:
            return either([self._at(told, segment), SILENT_NULL])
        found = self._reader.step(shape, segment)
        if found.presence == "no":
            if isinstance(segment, str) or "array" not in self._reader.kinds(shape):
                step = f"{segment!r}" if isinstance(segment, str) else f"[{segment}]"
                message = f"there is no {step} in {found.holder}, so it is always null"
                near = nearest(str(segment), found.names)
                piece = segment if isinstance(segment, str) else ""
                self._report("always_null", "warning", message, near, piece)
            return NULL
        if found.presence == "yes" or isinstance(found.shape, Unknown):
            return found.shape
        return either([found.shape, NULL if found.presence == "maybe" else SILENT_NULL])

    def _list(self, shape: Shape) -> Shape:
        """The same as a list; null if it is none."""
        kinds = self._reader.kinds(shape)
        if "array" in kinds:
            return shape
        if shape != NULL:
            message = f"it wants a list, and there is {self._reader.describe(shape)}: always null"
            self._report("always_null", "warning", message)
        return NULL

    def _values(self, shape: Shape) -> Shape:
        """The values of an object, as a list."""
        kinds = self._reader.kinds(shape)
        if "object" not in kinds:
            return NULL
        return ARRAY if kinds == {"object"} else either([ARRAY, SILENT_NULL])

    def _item(self, shape: Shape) -> Shape:
        element = self._reader.element(shape)
        return _UNKNOWN if element is None else _one(element)

    def _projection(self, shape: Shape, right: Any) -> Shape:
        if shape == NULL:
            return NULL
        item = self._perhaps(right, self._item(shape))
        # A projection leaves out what is null.
        made = Exactly([]) if item == NULL else ArrayOf(_not_null(item))
        return self._if_list(shape, made)

    def _if_list(self, shape: Shape, made: Shape) -> Shape:
        """What was made of a list; null, if it was none."""
        if self._reader.kinds(shape) == {"array"}:
            return made
        surely = "null" in self._reader.kinds(_told(shape)) and not isinstance(shape, Unknown)
        return either([made, NULL if surely else SILENT_NULL])

    def _may_be_null(self, here: _Here) -> bool:
        return not isinstance(here, _Root) and "null" in self._reader.kinds(here)

    def _inside(self, here: _Here) -> Callable[[Any, _Here], Shape]:
        """How the parts of a selection are valued: of null, none is looked at."""
        return self._perhaps if self._may_be_null(here) else self._value

    def _unless_null(self, here: _Here, made: Shape) -> Shape:
        if not self._may_be_null(here):
            return made
        return NULL if here == NULL else either([made, SILENT_NULL])

    def _filtered(self, children: list[Any], here: _Here) -> Shape:
        left, right, condition = children
        shape = self._list(self._value(left, here))
        if shape != NULL:
            self._perhaps(condition, self._item(shape))
        return self._projection(shape, right)

    def _flattened(self, shape: Shape) -> Shape:
        shape = self._list(shape)
        if shape == NULL:
            return NULL
        item = self._item(shape)
        kinds = self._reader.kinds(item)
        if kinds == {"array"}:
            return self._if_list(shape, ArrayOf(self._item(item)))
        return self._if_list(shape, ARRAY if "array" in kinds else ArrayOf(item))

    def _compared(self, operator: str, left: Shape, right: Shape) -> Shape:
        one, other = self._reader.kinds(left), self._reader.kinds(right)
        if operator in _ORDERINGS:
            self._ordered(one, other)
            return BOOLEAN if one <= _ORDERED and other <= _ORDERED else either([BOOLEAN, NULL])
        values, known = self._reader.finite(left), self._reader.finite(right)
        apart = ALL_TYPES not in (one, other) and one and other and not _alike(one, other)
        distinct = values is not None and known is not None and not _overlap(values, known)
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
        if one and other and one <= _ORDERED and other <= _ORDERED and not _alike(one, other):
            shown = f"{words(one)} and {words(other)} cannot be compared"
            message = f"{shown}: to_number() makes a number of a text"
            severity: Severity = "warning" if "null" in left | right else "error"
            self._report("wrong_expression", severity, message)

    def _function(self, name: str, nodes: list[Any], here: _Here) -> Shape:
        signature = Functions.FUNCTION_TABLE[name]["signature"]
        arguments = [_UNKNOWN if n["type"] == "expref" else self._value(n, here) for n in nodes]
        # Further arguments of a function that takes any number are not checked by the library.
        for index, argument in enumerate(arguments[: len(signature)]):
            types = signature[index]["types"]
            if types and "expref" not in types:
                self._check_argument(name, index, argument, types)
        inner = [self._by_item(node, arguments) for node in nodes if node["type"] == "expref"]
        return self._given(name, arguments, inner)

    def _by_item(self, node: Any, arguments: list[Shape]) -> Shape:
        """What `&name` gives for the items of the list beside it."""
        lists = [argument for argument in arguments if argument is not _UNKNOWN]
        item = self._item(lists[0]) if lists else _UNKNOWN
        return self._perhaps(node["children"][0], item)

    def _check_argument(self, name: str, index: int, given: Shape, types: list[str]) -> None:
        kinds = self._reader.kinds(_told(given))
        if kinds == ALL_TYPES or not kinds:
            return
        wanted = _as_kinds(kind.partition("-")[0] for kind in types)
        place = f"{name}() takes {words(wanted)}"
        if not kinds & wanted:
            message = f"{place}, and argument {index + 1} is {self._reader.describe(given)}"
            self._report("wrong_expression", "error", message)
        elif kinds - wanted:
            message = f"{place}, and argument {index + 1} may be {words(kinds - wanted)}"
            self._report("may_not_fit", "warning", message)
        elif any("-" in kind for kind in types) and kinds == {"array"}:
            items = self._reader.kinds(self._item(given))
            inner = _as_kinds(kind.partition("-")[2] for kind in types)
            if items and items != ALL_TYPES and not items & inner:
                message = (
                    f"{name}() takes a list of {words(inner)}, and its items are {words(items)}"
                )
                self._report("may_not_fit", "warning", message)

    def _given(self, name: str, arguments: list[Shape], inner: list[Shape]) -> Shape:
        match name:
            case "length":
                return INTEGER
            case "not_null":
                telling = [argument for argument in arguments[:-1] if argument != NULL]
                return either([*map(_not_null, telling), arguments[-1]])
            case "sort" | "sort_by":
                return ArrayOf(self._item(arguments[0]))
            case "reverse":
                if "array" not in self._reader.kinds(arguments[0]):
                    return TEXT
                made = ArrayOf(self._item(arguments[0]))
                return made if self._reader.kinds(arguments[0]) == {"array"} else _UNKNOWN
            case "max" | "min" | "max_by" | "min_by":
                return either([self._item(arguments[0]), NULL])
            case "map":
                return ArrayOf(inner[0]) if inner else ARRAY
            case "to_array":
                return arguments[0] if self._reader.kinds(arguments[0]) == {"array"} else ARRAY
            case "avg" | "to_number":
                return either([NUMBER, NULL])
        return _RESULTS.get(name, _UNKNOWN)


_RESULTS: dict[str, Shape] = {
    "abs": NUMBER,
    "ceil": INTEGER,
    "floor": INTEGER,
    "sum": NUMBER,
    "contains": BOOLEAN,
    "starts_with": BOOLEAN,
    "ends_with": BOOLEAN,
    "join": TEXT,
    "to_string": TEXT,
    "type": TEXT,
    "keys": ArrayOf(TEXT),
    "values": ARRAY,
    "merge": OBJECT,
}


def _as_kinds(kinds: Iterable[str]) -> Types:
    found = frozenset(kinds)
    return found | NUMBERS if "number" in found else found


def _alike(one: Types, other: Types) -> bool:
    """Whether values of these types may be equal, or compared; all numbers are alike."""
    return bool((one | NUMBERS if one & NUMBERS else one) & other)


def _overlap(values: list[Any], others: list[Any]) -> bool:
    return any(value == other for value in values for other in others)


def _one(shape: Shape) -> Shape:
    """The items of a list that is known, as one of them."""
    if isinstance(shape, Sourced):
        return _one(shape.shape)
    return either(shape.options) if isinstance(shape, Either) and shape.options else shape


def _not_null(shape: Shape) -> Shape:
    return _without(shape, (NULL, SILENT_NULL))


def _told(shape: Shape) -> Shape:
    return _without(shape, (SILENT_NULL,))


def _without(shape: Shape, options: tuple[Shape, ...]) -> Shape:
    if isinstance(shape, Either):
        left = [option for option in shape.options if option not in options]
        return either(left) if 0 < len(left) < len(shape.options) else shape
    return shape
