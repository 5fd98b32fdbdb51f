"""The schemas of what tools give that are runs behind: their output, or what became of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.schema.as_schema import as_schema
from orchestrator.schema.type_query import TypeQuery
from orchestrator.schema.types import StaticType
from orchestrator.serve.inline import size_of

RESULT = "result"  # holds an output that is no object
MAX_SCHEMA = 16_000  # bytes; a larger one costs every prompt more than it tells
# What a client gets that is no whole output: a run that is partial, is paused, or has much to say.
_RUN: Mapping[str, Any] = {"run_id": {"type": "string"}, "status": {"type": "string"}}
_OTHERS = ("output", "tasks", "summary", "questions", "error", "reason", "workflow", "duration_ms")
_PLAIN = frozenset({"type", "properties", "required", "additionalProperties", "$defs"})
_ABOUT = frozenset({"title", "description"})


def output_schema(type_: StaticType) -> dict[str, Any] | None:
    """The JSON Schema of the document for an output of this type; None if nothing is known."""
    kinds, schema = TypeQuery().kinds(type_), as_schema(type_)
    if not schema or ("object" in kinds and kinds != {"object"}):
        return None
    defs = schema.pop("$defs", None)
    if kinds != {"object"}:
        schema = {"type": "object", "properties": {RESULT: schema}, "required": [RESULT]}
    made = _with_run(schema) | ({} if defs is None else {"$defs": defs})
    return None if size_of(made) > MAX_SCHEMA else made


def _with_run(schema: Mapping[str, Any]) -> dict[str, Any]:
    of_run = {"required": list(_RUN), "properties": dict(_RUN)}
    if not schema.keys() <= _PLAIN | _ABOUT or schema.get("type") != "object":
        return {"type": "object", "anyOf": [dict(schema), of_run]}
    properties = dict(schema.get("properties", {}))
    for name in (*_RUN, *_OTHERS):
        if name in properties:
            properties[name] = {"anyOf": [properties[name], _RUN.get(name, True)]}
    made: dict[str, Any] = {"type": "object", "properties": properties}
    if required := schema.get("required"):
        made["anyOf"] = [{"required": list(required)}, {"required": list(_RUN)}]
    return made
