"""What is made of many calls: the items of a `for_each`, and the turns of a `repeat`."""

from __future__ import annotations

from orchestrator.check.environment import UNKNOWN
from orchestrator.check.jmespath_functions import truth, without
from orchestrator.check.mismatch import Mismatch
from orchestrator.schema.coercion import ALL_TYPES
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import (
    NULL,
    SILENT_NULL,
    ArrayType,
    SourcedType,
    StaticType,
    UnknownType,
    type_names,
)

_UNTIL = "compare the answer: \"LAST.state == 'done'\""


def item_of(each: StaticType, field: str, query: TypeQuery) -> tuple[StaticType, list[Mismatch]]:
    """The type of an item of a list, and what is wrong with the list; `field` is for messages."""
    types = query.kinds(each)
    text = each.text if isinstance(each, SourcedType) else ""
    given = f" ({text})" if text else ""
    found: list[Mismatch] = []
    if "array" not in types:
        message = f"{field}: expected array, got {query.describe(each)}{given}"
        found.append(Mismatch((), "not_a_list", "error", message, text))
    elif types not in ({"array"}, ALL_TYPES):
        message = f"{field}: expected array, may be {type_names(types - {'array'})}{given}"
        if isinstance(each.type if isinstance(each, SourcedType) else each, UnknownType):
            found.append(Mismatch((), "unknown_type", "note", message, text))
        else:
            found.append(Mismatch((), "may_not_fit", "warning", message, text))
    if query.finite(each) == [[]]:  # its only possible value
        message = f"{field} is an empty array, so nothing is called"
        found.append(Mismatch((), "no_calls", "warning", message))
    return query.element(each) or UNKNOWN, found


def collected(added: StaticType, query: TypeQuery) -> StaticType:
    """The type of what `collect` makes: arrays are joined, null is left out, the rest appended."""
    item = without(added.type if isinstance(added, SourcedType) else added, NULL, SILENT_NULL)
    types = query.kinds(item)
    if types == {"array"}:
        return ArrayType(query.element(item) or UNKNOWN)
    # A mixture of arrays and other values has no one type; nor has a schema but for its null.
    is_plain = types.isdisjoint(("array", "null")) and not isinstance(item, UnknownType)
    return ArrayType(item if is_plain else UNKNOWN)


def endless_or_single(until: StaticType, query: TypeQuery) -> list[Mismatch]:
    """What is wrong with a condition of `repeat` that no answer can change."""
    match truth(until, query):
        case True:
            message = "until is true after any answer, so the call is made only once"
            return [Mismatch((), "means_nothing", "warning", message, hint=_UNTIL)]
        case False:
            message = "until is never true, so the task fails after max_times calls"
            return [Mismatch((), "contradiction", "warning", message, hint=_UNTIL)]
    return []
