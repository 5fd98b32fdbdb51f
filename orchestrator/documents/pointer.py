"""JSON Pointers (RFC 6901) and the operations of JSON Patch (RFC 6902)."""

from __future__ import annotations

from typing import Any


def replace_op(path: str, value: Any) -> dict[str, Any]:
    """The operation of a JSON Patch (RFC 6902) that puts `value` in the place of what is there."""
    return {"op": "replace", "path": path, "value": value}


def move_op(origin: str, path: str) -> dict[str, Any]:
    """The operation of a JSON Patch (RFC 6902) that gives a member another name."""
    return {"op": "move", "from": origin, "path": path}


def pointer(*parts: str | int) -> str:
    """A JSON Pointer (RFC 6901) made of its reference tokens."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def steps(path: str) -> list[str]:
    """The reference tokens of a JSON Pointer (RFC 6901)."""
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
