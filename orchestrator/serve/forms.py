"""Questions of a run as the forms that MCP's clients show: flat objects of strings and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.text import cut, visible
from orchestrator.engine.question import Question

ONLY = "answer"  # the property that holds an answer that is no object
MAX_ARGUMENTS = 2000
_PRIMITIVE = frozenset({"string", "number", "integer", "boolean"})
# What MCP allows in the schema of a form.
_KEYWORDS = (
    *("type", "title", "description", "enum", "enumNames", "default", "format"),
    *("minLength", "maxLength", "minimum", "maximum"),
)


def form_of(question: Question) -> dict[str, Any] | None:
    """The JSON Schema of a form for the answer; None if no form can hold it."""
    if question.kind == "unknown":
        return _object({ONLY: {"type": "string", "enum": ["repeat", "fail"]}}, [ONLY])
    schema = question.schema
    if schema is None:
        return _object({}, [])
    if schema.get("type") != "object":
        field = _field(schema)
        return None if field is None else _object({ONLY: field}, [ONLY])
    properties = {name: _field(each) for name, each in schema.get("properties", {}).items()}
    if not properties or None in properties.values():
        return None
    return _object(properties, list(schema.get("required", [])))


def _object(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": required}


def _field(schema: Any) -> dict[str, Any] | None:
    if not isinstance(schema, Mapping):
        return None
    choices = schema.get("enum")
    if isinstance(choices, list) and all(isinstance(each, str) for each in choices):
        schema = {"type": "string", **schema}
    elif schema.get("type") not in _PRIMITIVE or choices is not None:
        return None
    return {name: schema[name] for name in _KEYWORDS if name in schema}


def value_in(question: Question, content: Mapping[str, Any] | None) -> Any:
    """The answer that a filled form holds."""
    if question.schema is None and question.kind != "unknown":
        return True
    is_whole = question.kind != "unknown" and (question.schema or {}).get("type") == "object"
    return dict(content or {}) if is_whole else (content or {}).get(ONLY)


def message_of(question: Question) -> str:
    """What the person is asked: the question, with the arguments of the call that it is about."""
    text = visible(question.message, keep="\n")
    if question.arguments:
        text += f"\narguments: {cut(visible(to_json(question.arguments)), MAX_ARGUMENTS)}"
    return text
