"""The operations of JSON Patch (RFC 6902) that findings use: replace, and move as a rename."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from orchestrator.documents.pointer import steps


def patched(data: Any, operations: Iterable[Mapping[str, Any]]) -> Any:
    """A copy of the data after a JSON Patch."""
    made = deepcopy(data)

    def holder(path: str) -> tuple[Any, Any]:
        here, where = made, steps(path)
        for step in where[:-1]:
            here = here[int(step)] if isinstance(here, list) else here[step]
        return here, int(where[-1]) if isinstance(here, list) else where[-1]

    for operation in operations:
        here, step = holder(operation["path"])
        match operation["op"]:
            case "replace":
                assert step in here if isinstance(here, dict) else step < len(here)
                here[step] = operation["value"]
            case "move":
                origin, name = holder(operation["from"])
                here[step] = origin.pop(name)
            case other:
                raise AssertionError(f"unexpected operation {other}")
    return made
