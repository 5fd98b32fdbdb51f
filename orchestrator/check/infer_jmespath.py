"""Infers the type of a JMESPath expression by walking its tree with types instead of values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.check.environment import UNKNOWN, Environment
from orchestrator.check.jmespath_functions import (
    any_item,
    check_arguments,
    comparison,
    is_null_test,
    item_of,
    result_of,
    truth,
    without,
)
from orchestrator.check.mismatch import Mismatch, no_such_place
from orchestrator.documents.jsonpath import Path
from orchestrator.documents.suggest import certain, nearest
from orchestrator.documents.text import quoted
from orchestrator.expressions.jmespath import PROJECTIONS, Expression
from orchestrator.expressions.lexer import ROOTS, marked_root, names_an_id
from orchestrator.expressions.operators import as_string, with_count_null, with_slice
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    ARRAY,
    BOOLEAN,
    NULL,
    SILENT_NULL,
    ArrayType,
    LiteralType,
    ObjectType,
    StaticType,
    TupleType,
    UnknownType,
    either,
    is_large,
)


@dataclass(frozen=True, slots=True)
class _Root:
    """A part of the document without a value of its own: `OUTPUT`, which has one for each task."""

    name: str


_DOCUMENT = _Root("")
_Here = StaticType | _Root


@dataclass(slots=True)
class ExpressionInference:
    """Infers the type of one expression.

    Where JMESPath gives null, the type is null; an error fails whatever the values are.
    """

    query: TypeQuery
    environment: Environment
    template: Expression
    path: Path = ()
    found: list[Mismatch] = field(default_factory=list)  # what is wrong in the expression
    _is_certain: bool = True  # the part of the expression is always evaluated

    def infer(self) -> StaticType:
        """The type of what the expression gives."""
        return self._value(self.template.tree, _DOCUMENT)

    def _report(self, mismatch: Mismatch) -> None:
        if mismatch.severity == "error" and not self._is_certain:
            mismatch = replace(mismatch, severity="warning")
        text, piece = self.template.inner, mismatch.piece
        meant = certain(piece, mismatch.alternatives) if piece else None
        fix = mismatch.fix if meant is None else json.dumps(meant)
        message = f"{text}: {mismatch.message}"
        self.found.append(replace(mismatch, path=self.path, message=message, text=text, fix=fix))

    def _always_null(self, message: str, near: tuple[str, ...] = (), piece: str = "") -> None:
        message = f"{message}, so this is always null"
        self._report(Mismatch((), "always_null", "warning", message, "", near, piece=piece))

    def _unlike(self, message: str, hint: str, instead: str) -> None:
        """Report what has another value than it seems to have, and what to write `instead`."""
        fix = "" if instead == self.template.inner else json.dumps(instead)
        self._report(Mismatch((), "always_null", "warning", message, fix=fix, hint=hint))

    def _value(self, node: Any, here: _Here) -> StaticType:
        found = self._visit(node, here)
        # `[@, @] | [@, @] | ...` doubles its type with each pipe.
        return UNKNOWN if isinstance(found, _Root) or is_large(found) else found

    def _maybe(self, node: Any, here: _Here) -> StaticType:
        """The value of a part that need not be evaluated, such as one for the items of an array."""
        before, self._is_certain = self._is_certain, False
        try:
            return self._value(node, here)
        finally:
            self._is_certain = before

    def _visit(self, node: Any, here: _Here) -> _Here:
        children = node["children"]
        match node["type"]:
            case "field":
                return self._field(node["value"], here)
            case "subexpression" | "index_expression" | "pipe":
                for child in children:
                    here = self._visit(child, here)
                return here
            case "identity" | "current":
                return here
            case "literal":
                return LiteralType(node["value"])
            case "index":
                return UNKNOWN if isinstance(here, _Root) else self._step(here, node["value"])
            case "slice":
                return UNKNOWN if isinstance(here, _Root) else self._sliced(here)
            case kind if kind in PROJECTIONS:
                return self._projection(node, here)
            case "flatten":
                return self._flattened(self._array(self._value(children[0], here)))
            case "multi_select_list" | "multi_select_dict":
                return self._selected(node, here)
            case "function_expression":
                return self._function(node["value"], children, here)
        return self._operation(node, here)

    def _operation(self, node: Any, here: _Here) -> StaticType:
        first, *others = node["children"]
        left = self._value(first, here)
        match node["type"]:
            case "comparator":
                is_text = first["type"] == "literal"  # the other side is compared with it
                right = (self._value if is_text else self._compared)(others[0], here)
                type_, mismatch = comparison(node["value"], left, right, self.query)
                if mismatch is not None:
                    self._report(mismatch)
                return type_
            case "or_expression" | "and_expression" as operator:
                known = truth(left, self.query)
                is_last = known is (operator == "and_expression")  # then the other side counts
                right = (self._value if is_last else self._maybe)(others[0], here)
                if known is not None:
                    return right if is_last else left
                left = without(left, NULL, SILENT_NULL) if operator == "or_expression" else left
                return either([left, right])
            case "not_expression":
                known = truth(left, self.query)
                return BOOLEAN if known is None else LiteralType(not known)
        return UNKNOWN

    def _compared(self, node: Any, here: _Here) -> StaticType:
        """The right side of a comparison, where a name in double quotes most likely is a string."""
        name, text = node["value"] if node["type"] == "field" else "", self.template.inner
        if isinstance(here, _Root) or not name or text.count(json.dumps(name)) != 1:
            return self._value(node, here)
        if self.query.step(here, name).presence not in ("no", "unknown"):
            return self._value(node, here)
        message = f"{quoted(name)} is the name of a property, in double quotes"
        hint = f"write a string in single quotes: {as_string(name)}"
        fix = json.dumps(text.replace(json.dumps(name), as_string(name)))
        self._report(Mismatch((), "never_true", "warning", message, fix=fix, hint=hint))
        return LiteralType(name)

    def _field(self, name: str, here: _Here) -> _Here:
        environment, root = self.environment, marked_root(name)
        if root is None and here is _DOCUMENT:
            root = name if name in ROOTS else ""
        if root:
            is_error = root == "ERROR" and not names_an_id(name) and environment.in_fallback
            if root == "LAST" and environment.before_first:
                return either([environment.last, SILENT_NULL])
            is_value = is_error or root in ("ITEM", "INDEX", "LAST")
            return any_item(environment.lookup(root)) if is_value else _Root(root)
        if not isinstance(here, _Root):
            return self._step(here, name)
        if here.name == "OUTPUT" and name in environment.absent:
            return NULL
        type_ = environment.lookup(here.name, name)
        if here.name != "OUTPUT" or not environment.lacks(name):
            return type_
        return either([type_, SILENT_NULL if environment.at_end else NULL])

    def _step(self, holder: StaticType, step: str | int) -> StaticType:
        """The type at a name or an index; null, where JMESPath gives null."""
        if holder == NULL:
            return NULL
        # Null is no reason for a warning where the schema does not declare it.
        if (declared := without(holder, SILENT_NULL)) is not holder:
            return either([self._step(declared, step), SILENT_NULL])
        found = self.query.step(holder, step)
        if found.presence == "no":
            # An array may be shorter: that is no mistake.
            if isinstance(step, str) or "array" not in self.query.kinds(holder):
                near = nearest(str(step), found.names)
                piece = step if isinstance(step, str) else ""
                self._always_null(no_such_place("the value", step, found), near, piece)
            return NULL
        if found.presence == "yes" or isinstance(found.type, UnknownType):
            return found.type
        return either([found.type, NULL if found.presence == "maybe" else SILENT_NULL])

    def _array(self, type_: StaticType) -> StaticType:
        """The same if it may be an array, else null."""
        if "array" in self.query.kinds(type_):
            return type_
        if type_ != NULL:
            self._always_null(f"expected array, got {self.query.describe(type_)}")
        return NULL

    def _sliced(self, type_: StaticType) -> StaticType:
        if self.query.kinds(without(type_, NULL, SILENT_NULL)) != {"string"}:
            return self._array(type_)
        message = "a slice of a string is null in JMESPath, so this is always null"
        hint = "slice(text, start, stop) takes strings"
        self._unlike(message, hint, with_slice(self.template.inner))
        return NULL

    def _projection(self, node: Any, here: _Here) -> StaticType:
        source, right, *conditions = node["children"]
        array = self._value(source, here)
        if node["type"] == "value_projection":  # of the values of an object, as an array
            types = self.query.kinds(array)
            array = either([ARRAY, SILENT_NULL]) if types - {"object"} else ARRAY
            array = array if "object" in types else NULL
        else:
            array = self._array(array)
        if array == NULL:
            return NULL
        item = item_of(array, self.query)
        for condition in conditions:
            self._maybe(condition, item)
            if is_null_test(condition):
                message = "a filter leaves out null, so this array is always empty"
                hint = "to count null, write count_null(LIST)"
                self._unlike(message, hint, with_count_null(self.template.inner))
        made = without(self._maybe(right, item), NULL, SILENT_NULL)  # a projection leaves null out
        return self._if_array(array, LiteralType([]) if made == NULL else ArrayType(made))

    def _if_array(self, array: StaticType, made: StaticType) -> StaticType:
        """What is made of an array; null, where it is none."""
        if self.query.kinds(array) == {"array"}:
            return made
        declared = self.query.kinds(without(array, SILENT_NULL))
        has_null = "null" in declared and not isinstance(array, UnknownType)
        return either([made, NULL if has_null else SILENT_NULL])

    def _selected(self, node: Any, here: _Here) -> StaticType:
        """A multiselect; null, without its parts being evaluated, if it selects from null."""
        may_be_null = not isinstance(here, _Root) and "null" in self.query.kinds(here)
        value = self._maybe if may_be_null else self._value
        made: StaticType
        if node["type"] == "multi_select_list":
            made = TupleType(tuple(value(child, here) for child in node["children"]))
        else:
            pairs = node["children"]
            made = ObjectType({pair["value"]: value(pair["children"][0], here) for pair in pairs})
        if not may_be_null:
            return made
        return NULL if here == NULL else either([made, SILENT_NULL])

    def _flattened(self, array: StaticType) -> StaticType:
        if array == NULL:
            return NULL
        item = item_of(array, self.query)
        types = self.query.kinds(item)
        if types == {"array"}:
            return self._if_array(array, ArrayType(item_of(item, self.query)))
        # Flattening keeps items that are no arrays; a mixture of both has no one type.
        is_flat = "array" not in types or isinstance(item, UnknownType)
        return self._if_array(array, ArrayType(item) if is_flat else ARRAY)

    def _function(self, name: str, nodes: list[Any], here: _Here) -> StaticType:
        keys = [node["children"][0] for node in nodes if node["type"] == "expref"]
        arguments = [UNKNOWN if n["type"] == "expref" else self._value(n, here) for n in nodes]
        if name == "count_null" and _projects(nodes[0]):
            message = "a projection leaves out null, so this is always 0"
            hint = "count_null(map(&NAME, LIST)) counts the items without a value"
            self._unlike(message, hint, self.template.inner)
        for mismatch in check_arguments(name, arguments, self.query):
            self._report(mismatch)
        # A function with a key has one other argument: the array whose items the key is for.
        array = next((argument for argument in arguments if argument != UNKNOWN), UNKNOWN)
        keyed = [self._maybe(key, item_of(array, self.query)) for key in keys]
        return result_of(name, arguments, keyed, self.query)


def _projects(node: Any) -> bool:
    while node["type"] in ("subexpression", "index_expression"):
        node = node["children"][-1]
    return node["type"] in PROJECTIONS
