"""Resources and prompts as tools: what a call of one accepts is checked as that of a tool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from orchestrator.schema.tool import Tool

URI = "uri"
_READ_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {URI: {"type": "string", "minLength": 1}},
    "required": [URI],
    "additionalProperties": False,
}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_MESSAGES: Mapping[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"role": {"enum": ["user", "assistant"]}, "content": {"type": "object"}},
        "required": ["role", "content"],
    },
}


@cache
def request_tool(kind: str, server: str, name: str) -> Tool:
    """What stands for the resources of a server, or for a prompt that is not known."""
    if kind == "read":
        return Tool(server, name, _READ_SCHEMA, read_only=True)
    return Tool(server, name, _TEXTS, output_schema=_MESSAGES, read_only=True)


def prompt_tool(server: str, prompt: Mapping[str, Any]) -> Tool:
    """What stands for a prompt, as its server lists it. Its arguments are strings."""
    arguments: dict[str, Any] = {}
    required: list[str] = []
    for argument in _entries(prompt.get("arguments")):
        said = argument.get("description")
        described = {"description": said} if isinstance(said, str) else {}
        arguments[argument["name"]] = {"type": "string", **described}
        if argument.get("required") is True:
            required.append(argument["name"])
    schema = {
        "type": "object",
        "properties": arguments,
        "required": required,
        "additionalProperties": False,
    }
    return Tool(server, prompt["name"], schema, output_schema=_MESSAGES, read_only=True)


def prompt_tools(server: str, prompts: Iterable[Any]) -> dict[str, Tool]:
    """What stands for each prompt of a list, by name."""
    return {each["name"]: prompt_tool(server, each) for each in _entries(prompts)}


def _entries(entries: Any) -> list[Mapping[str, Any]]:
    return [
        entry
        for entry in (entries if isinstance(entries, Iterable) else ())
        if isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
    ]
