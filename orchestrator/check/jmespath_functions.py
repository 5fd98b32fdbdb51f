"""What the functions and comparisons of JMESPath accept and give, for types instead of values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.check.environment import ERROR, UNKNOWN
from orchestrator.check.mismatch import Mismatch, Mismatches, wrong_type
from orchestrator.documents.suggest import nearest
from orchestrator.errors import Severity
from orchestrator.expressions.functions import SIGNATURES
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
    LiteralType,
    SourcedType,
    StaticType,
    TupleType,
    UnionType,
    UnknownType,
    either,
    type_names,
)

_NUMBERS: Types = frozenset({"number", "integer"})
_ORDERED: Types = _NUMBERS | {"string"}
# What a parameter is called, by its position, that must not be 0.
_NEVER_ZERO = {
    **dict.fromkeys(("divide", "mod"), (1, "the divisor")),
    "range": (2, "the step"),
    "slice": (3, "the step"),
}
_RESULTS: dict[str, StaticType] = {
    **dict.fromkeys(("abs", "sum"), NUMBER),
    **dict.fromkeys(("avg", "to_number"), either([NUMBER, NULL])),
    **dict.fromkeys(("ceil", "floor", "length"), INTEGER),
    **dict.fromkeys(("contains", "ends_with", "starts_with"), BOOLEAN),
    **dict.fromkeys(("join", "to_string", "type"), TEXT),
    **dict.fromkeys(("to_json", "lower", "upper", "trim", "replace", "now_iso"), TEXT),
    **dict.fromkeys(("keys", "split"), ArrayType(TEXT)),
    "range": ArrayType(INTEGER),
    "count_null": INTEGER,
    "divide": NUMBER,
    "merge": OBJECT,
    "values": ARRAY,
}


def check_arguments(name: str, arguments: list[StaticType], query: TypeQuery) -> Mismatches:
    """The arguments that a function certainly refuses, or may refuse."""
    signature = SIGNATURES[name]
    for number, argument in enumerate(arguments, 1):
        names = signature[min(number, len(signature)) - 1]["types"]
        if names and "expref" not in names:
            place = f"parameter {number} of " if len(arguments) > 1 else ""
            hint = _hint(name, names, query.kinds(argument))
            for found in _argument(argument, names, query, f"{place}{name}() expects"):
                yield replace(found, hint=hint)
    what = _NEVER_ZERO.get(name, (0, ""))
    if len(arguments) > what[0] and query.finite(arguments[what[0]]) == [0] and what[1]:
        message = f"{what[1]} of {name}() cannot be 0"
        yield Mismatch((), "wrong_expression", "error", message)


def _hint(name: str, names: list[str], given: Types) -> str:
    if name == "at" and given == {"string"}:
        return "slice() takes strings: slice(text, 0, 1)"
    if names == ["number"] and given == {"string"}:
        return "to_number() converts a string; join('', [...]) puts strings together"
    return ""


def _argument(given: StaticType, names: list[str], query: TypeQuery, verb: str) -> Mismatches:
    types = query.kinds(without(given, SILENT_NULL))
    if types == ALL_TYPES or not types:  # unknown, or the item of an array without any
        return
    pairs = [name.partition("-") for name in names]  # such as array-number
    holders = frozenset(holder for holder, _, _ in pairs)
    accepted, wanted = _widened(holders), type_names(holders)
    inner = _widened(frozenset(item for _, _, item in pairs if item))
    values = query.finite(given) if "integer" in names and types == {"number"} else None
    if values and all(value % 1 for value in values):
        mismatch = wrong_type((), "integer", query.describe(given), verb=verb)
        yield replace(mismatch, code="wrong_expression")
    if isinstance(given, UnknownType) and types & accepted:
        return
    if not types & accepted:
        mismatch = wrong_type((), wanted, query.describe(given), verb=verb)
        yield replace(mismatch, code="wrong_expression")
    elif types - accepted:
        rest = type_names(types - accepted)
        yield wrong_type((), wanted, rest, verb=verb).possible()
    elif types == {"array"} and inner:
        items = query.kinds(item_of(given, query))
        if items and items != ALL_TYPES and not items & inner:
            # An empty array would fit.
            expected, found = f"array of {type_names(inner)}", f"array of {type_names(items)}"
            yield wrong_type((), expected, found, verb=verb).possible()


def _values(type_: StaticType, query: TypeQuery) -> list[Any] | None:
    """All values that there can be; None if they are not known."""
    options = type_.options if isinstance(type_, UnionType) else (type_,)
    found = [query.finite(option) for option in options]
    return None if None in found else [value for values in found for value in values or ()]


def _contains(item: StaticType, sought: StaticType, query: TypeQuery) -> StaticType:
    """What `contains` gives for an array of such items: false if none can be what is sought."""
    there, wanted = _values(item, query), _values(sought, query)
    if there is None or wanted is None or any(value in there for value in wanted):
        return BOOLEAN
    return LiteralType(value=False)


def result_of(
    name: str, arguments: list[StaticType], keyed: list[StaticType], query: TypeQuery
) -> StaticType:
    """What a function gives; `keyed` is what its `&key` gives for the items of its array."""
    first = arguments[0] if arguments else UNKNOWN
    items = [item_of(argument, query) for argument in arguments]
    is_array = query.kinds(first) == {"array"}
    match name:
        case "contains" if is_array:
            return _contains(items[0], arguments[1], query)
        case "not_null":
            options = [argument for argument in arguments[:-1] if argument != NULL]
            return either([*(without(o, NULL, SILENT_NULL) for o in options), arguments[-1]])
        case "reverse" if not is_array:
            return UNKNOWN if "array" in query.kinds(first) else TEXT
        case "sort" | "sort_by" | "reverse":
            return ArrayType(item_of(first, query))
        case "max" | "min" | "max_by" | "min_by":
            return either([item_of(first, query), NULL])
        case "map":
            return ArrayType(keyed[0]) if keyed else ARRAY
        case "to_array":
            return first if is_array else ARRAY
        case "zip" | "product":
            return ArrayType(TupleType(tuple(items)))
        case "from_json" if query.kinds(first) <= {"array", "object"}:
            return first
        case "enumerate":
            return ArrayType(TupleType((INTEGER, items[0])))
        case "slice" if "array" in query.kinds(first):
            return ArrayType(items[0]) if is_array else UNKNOWN
        case "slice":
            return TEXT
        case "at":
            return _item_at(first, arguments[1], query)
        case "add" | "subtract" | "multiply" | "mod" | "round":
            may_round = name == "round" and len(arguments) == 1
            are_whole = all(query.kinds(argument) == {"integer"} for argument in arguments)
            return INTEGER if may_round or are_whole else NUMBER
    return _RESULTS.get(name, UNKNOWN)


def _item_at(array: StaticType, index: StaticType, query: TypeQuery) -> StaticType:
    """An item of an array; null outside of it, as with an index that is written out."""
    places = query.finite(index)
    if places is not None and len(places) == 1 and isinstance(places[0], int):
        found = query.step(array, places[0])
        if found.presence == "yes":
            return found.type
    return either([item_of(array, query), SILENT_NULL])


def comparison(
    operator: str, left: StaticType, right: StaticType, query: TypeQuery
) -> tuple[StaticType, Mismatch | None]:
    """What a comparison gives, and what is wrong with it."""
    types, others = query.kinds(left), query.kinds(right)
    if operator not in ("eq", "ne"):
        is_sure = types | others <= _ORDERED
        return BOOLEAN if is_sure else either([BOOLEAN, NULL]), _order(types, others)
    values, known = query.finite(left), query.finite(right)
    apart = ALL_TYPES not in (types, others) and types and others and not _widened(types) & others
    if values is not None and known is not None:
        apart = apart or not any(value == other for value in values for other in known)
    if not apart:
        is_same = values is not None and known is not None and len(values) == len(known) == 1
        return LiteralType(operator == "eq") if is_same else BOOLEAN, None
    # The right side is most often the literal, and the left side says what it can be.
    names = [value for value in values or () if isinstance(value, str)]
    wrong = next((value for value in known or () if isinstance(value, str)), "")
    always = "true" if operator == "ne" else "false"
    message = f"comparing {query.describe(left)} with {query.describe(right)} is always {always}"
    near = nearest(wrong, names)
    return LiteralType(operator == "ne"), Mismatch(
        (), "never_true", "warning", message, "", near, piece=wrong
    )


def truth(type_: StaticType, query: TypeQuery) -> bool | None:
    """Whether JMESPath takes a value for true; None if that is not known."""
    if (values := query.finite(type_)) is not None:
        truths = {
            not (value is None or value is False or value in ("", [], {})) for value in values
        }
        return truths.pop() if len(truths) == 1 else None
    types = query.kinds(type_)
    if types == {"null"}:
        return False
    if type_ is ERROR:
        return True
    return True if types and types <= _NUMBERS else None


def _order(left: Types, right: Types) -> Mismatch | None:
    types, others = left - {"null"}, right - {"null"}  # with null, the result is null
    if not types or not others or not types | others <= _ORDERED or _widened(types) & others:
        return None
    message = f"cannot order {type_names(types)} and {type_names(others)}; to_number() converts"
    severity: Severity = "warning" if "null" in left | right else "error"
    return Mismatch((), "wrong_expression", severity, f"{message} a string to a number")


def _widened(types: Types) -> Types:
    """The types that may be equal to one of these, or in order with it: all numbers are alike."""
    return types | _NUMBERS if types & _NUMBERS else types


def item_of(array: StaticType, query: TypeQuery) -> StaticType:
    """The type of an item of an array, whichever it is."""
    return any_item(query.element(array) or UNKNOWN)


def any_item(items: StaticType) -> StaticType:
    """The items of an array that is written out, as the type of any one of them."""
    if isinstance(items, SourcedType):
        return any_item(items.type)
    return either(items.options) if isinstance(items, UnionType) and items.options else items


def without(type_: StaticType, *options: StaticType) -> StaticType:
    """A union without some of its options; anything else as it is."""
    if not isinstance(type_, UnionType):
        return type_
    rest = [option for option in type_.options if option not in options]
    return either(rest) if 0 < len(rest) < len(type_.options) else type_


_TYPE = ("function_expression", "type")


def is_null_test(condition: Any) -> bool:
    """Whether a filter asks for null, which JMESPath drops: `@ == null`, `type(@) == 'null'`."""
    sides = [(node["type"], node.get("value")) for node in condition["children"]]
    is_equality = condition["type"] == "comparator" and condition["value"] == "eq"
    tests = (("literal", None), ("current", None)), (("literal", "null"), _TYPE)
    return is_equality and any(all(side in sides for side in test) for test in tests)
