"""Outputs that a server wraps: `{"result": value}` for a value that is no object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

NAME = "result"
KEYWORD = "x-fastmcp-wrap-result"
# What the SDK writes into the schema of a wrapper, and nothing else.
_GENERATED = frozenset({"type", "title", "properties", "required", "$defs"})
_NO_LETTERS = re.compile(r"[\W_]")


def says_wrapped(part: Any) -> bool:
    """Whether a schema or `_meta` says that the value is wrapped, in either form of FastMCP."""
    if not isinstance(part, Mapping):
        return False
    own = part.get("fastmcp")
    in_own = isinstance(own, Mapping) and own.get("wrap_result") is True
    return in_own or part.get(KEYWORD) is True


def is_wrapper(schema: Any, tool: str) -> bool:
    """Whether an `outputSchema` is that of a wrapper: it says so, or the SDK has generated it."""
    if not isinstance(schema, Mapping) or not _has_one_property(schema):
        return False
    return says_wrapped(schema) or (
        _GENERATED.issuperset(schema)
        and schema.get("required") == [NAME]
        # The title is the name of the function: the tool's, without what a function cannot have.
        and _letters(schema.get("title")) == f"{_letters(tool)}Output"
    )


def schema_inside(wrapper: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the value in a wrapper."""
    inner = wrapper["properties"][NAME]
    definitions = {key: wrapper[key] for key in ("$defs", "definitions") if key in wrapper}
    return definitions | (inner if isinstance(inner, dict) else {} if inner else {"not": {}})


def _has_one_property(schema: Mapping[str, Any]) -> bool:
    properties = schema.get("properties")
    is_object = schema.get("type", "object") == "object"
    return is_object and isinstance(properties, Mapping) and list(properties) == [NAME]


def _letters(name: Any) -> str:
    return _NO_LETTERS.sub("", name) if isinstance(name, str) else ""
