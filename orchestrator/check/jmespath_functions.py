"""What the functions of JMESPath take and give, as shapes.

The rule of this file: the signatures are the library's; an error is what it certainly refuses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from jmespath.functions import Functions

from orchestrator.errors import Code, Severity
from orchestrator.schema.coercion import ALL_TYPES, Types
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    ARRAY,
    BOOLEAN,
    INTEGER,
    NULL,
    NUMBER,
    OBJECT,
    SILENT_NULL,
    TEXT,
    ArrayType,
    SourcedType,
    StaticType,
    UnionType,
    UnknownType,
    either,
    type_names,
)

NUMBERS: Types = frozenset({"number", "integer"})
_UNKNOWN = UnknownType("")


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


def check_arguments(
    name: str, arguments: list[StaticType], reader: TypeQuery, report: Report
) -> None:
    """Report the arguments that a function certainly refuses, or may refuse.

    Further arguments of a function that takes any number are not checked by the library.
    """
    signature = Functions.FUNCTION_TABLE[name]["signature"]
    for index, argument in enumerate(arguments[: len(signature)]):
        types = signature[index]["types"]
        if types and "expref" not in types:
            reader.takes(argument, types)
            _check_argument((name, index), argument, types, reader, report)


def _check_argument(
    argument: tuple[str, int],
    given: StaticType,
    types: list[str],
    reader: TypeQuery,
    report: Report,
) -> None:
    name, index = argument
    kinds = reader.kinds(told(given))
    if kinds == ALL_TYPES or not kinds:
        return
    wanted = _as_kinds(kind.partition("-")[0] for kind in types)
    place = f"{name}() takes {type_names(wanted)}"
    if not kinds & wanted:
        message = f"{place}, and argument {index + 1} is {reader.describe(given)}"
        report("wrong_expression", "error", message)
    elif kinds - wanted:
        message = f"{place}, and argument {index + 1} may be {type_names(kinds - wanted)}"
        report("may_not_fit", "warning", message)
    elif any("-" in kind for kind in types) and kinds == {"array"}:
        items = reader.kinds(item_of(given, reader))
        inner = _as_kinds(kind.partition("-")[2] for kind in types)
        if items and items != ALL_TYPES and not items & inner:
            place = f"{name}(): argument {index + 1}"
            message = f"{place}: expected array of {type_names(inner)}, got {type_names(items)}"
            report("may_not_fit", "warning", message)


def result_of(
    name: str, arguments: list[StaticType], inner: list[StaticType], reader: TypeQuery
) -> StaticType:
    """What a function gives; `inner` is what its `&name` gives for the items of its list."""
    match name:
        case "length":
            return INTEGER
        case "not_null":
            telling = [argument for argument in arguments[:-1] if argument != NULL]
            return either([*map(not_null, telling), arguments[-1]])
        case "sort" | "sort_by":
            return ArrayType(item_of(arguments[0], reader))
        case "reverse":
            if "array" not in reader.kinds(arguments[0]):
                return TEXT
            made = ArrayType(item_of(arguments[0], reader))
            return made if reader.kinds(arguments[0]) == {"array"} else _UNKNOWN
        case "max" | "min" | "max_by" | "min_by":
            return either([item_of(arguments[0], reader), NULL])
        case "map":
            return ArrayType(inner[0]) if inner else ARRAY
        case "to_array":
            return arguments[0] if reader.kinds(arguments[0]) == {"array"} else ARRAY
        case "avg" | "to_number":
            return either([NUMBER, NULL])
    return _RESULTS.get(name, _UNKNOWN)


def item_of(shape: StaticType, reader: TypeQuery) -> StaticType:
    """The items of a list, as one of them."""
    element = reader.element(shape)
    return _UNKNOWN if element is None else one_of(element)


_RESULTS: dict[str, StaticType] = {
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
    "keys": ArrayType(TEXT),
    "values": ARRAY,
    "merge": OBJECT,
}


def _as_kinds(kinds: Iterable[str]) -> Types:
    found = frozenset(kinds)
    return found | NUMBERS if "number" in found else found


def alike(one: Types, other: Types) -> bool:
    """Whether values of these types may be equal, or compared; all numbers are alike."""
    return bool((one | NUMBERS if one & NUMBERS else one) & other)


def overlap(values: list[Any], others: list[Any]) -> bool:
    return any(value == other for value in values for other in others)


def one_of(shape: StaticType) -> StaticType:
    """The items of a list that is known, as one of them."""
    if isinstance(shape, SourcedType):
        return one_of(shape.shape)
    return either(shape.options) if isinstance(shape, UnionType) and shape.options else shape


def not_null(shape: StaticType) -> StaticType:
    return _without(shape, (NULL, SILENT_NULL))


def told(shape: StaticType) -> StaticType:
    return _without(shape, (SILENT_NULL,))


def _without(shape: StaticType, options: tuple[StaticType, ...]) -> StaticType:
    if isinstance(shape, UnionType):
        left = [option for option in shape.options if option not in options]
        return either(left) if 0 < len(left) < len(shape.options) else shape
    return shape
