"""JSON Pointers (RFC 6901) and operations of JSON Patch (RFC 6902)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def replace_op(path: str, value: Any) -> dict[str, Any]:
    """The operation that replaces the value at `path`."""
    return {"op": "replace", "path": path, "value": value}


def move_op(origin: str, path: str) -> dict[str, Any]:
    """The operation that renames the property at `origin`."""
    return {"op": "move", "from": origin, "path": path}


def pointer(*parts: str | int) -> str:
    """A JSON Pointer made of its reference tokens."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def steps(path: str) -> list[str]:
    """The reference tokens of a JSON Pointer."""
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def value_at(document: Any, path: str) -> Any:
    """The value at a JSON Pointer; raises a LookupError, TypeError or ValueError if it has none."""
    here = document
    for step in steps(path):
        here = here[int(step)] if isinstance(here, list) else here[step]
    return here


def apply_op(document: Any, operation: Mapping[str, Any]) -> None:
    """Change a document by an operation of the two kinds above; raises as `value_at`."""
    *above, name = steps(operation["path"])
    here = value_at(document, pointer(*above))
    value = operation.get("value")
    if operation["op"] == "move":
        *holder, origin = steps(operation["from"])
        value = value_at(document, pointer(*holder)).pop(origin)
    here[int(name) if isinstance(here, list) else name] = value
