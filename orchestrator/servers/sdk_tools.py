"""From a server's list of tools to ours, tool by tool: an odd one costs no other.

A definition is read as the server sent it: the SDK refuses the whole list for one schema, and
takes long for many. A schema that cannot be used refuses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.documents.jsonpath import describe
from orchestrator.documents.text import listed, quoted
from orchestrator.schema.tool import HINTS, NEEDS_TASK, Tool
from orchestrator.schema.wrapped import KEYWORD, says_wrapped

logger = logging.getLogger("orchestrator")

_ANYTHING: Mapping[str, Any] = {"type": "object"}
MOST_WARNINGS = 5
# Tools that a server may list.
MAX_TOOLS = 10_000
# Tools that are read at a time.
SLICE = 50
_HEADER = "x-mcp-header"


def page_for_sdk(page: dict[str, Any]) -> dict[str, Any]:
    """What the SDK sees of a page: the tools of which it sends properties as HTTP headers."""
    tools, cursor = page.get("tools"), page.get("nextCursor")
    if not isinstance(tools, list | None):
        return page  # it refuses the page, and says why
    named = (tool for tool in (tools or ())[:MAX_TOOLS] if _name(tool))
    needed = [_for_sdk(tool) for tool in named if has_header(tool.get("inputSchema"))]
    shown = {"tools": needed, "ttlMs": 0, "cacheScope": "private"}
    return shown | ({"nextCursor": cursor} if isinstance(cursor, str) else {})


def _for_sdk(tool: dict[str, Any]) -> dict[str, Any]:
    properties = tool["inputSchema"]["properties"].items()
    kept = {name: member for name, member in properties if isinstance(member, dict)}
    return {"name": tool["name"], "inputSchema": {"type": "object", "properties": kept}}


def has_header(schema: Any) -> bool:
    """Whether a property in an input schema may be sent as an HTTP header."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    rest: list[Any] = [properties] if isinstance(properties, dict) else []
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            if _HEADER in part:
                return True
            rest += part.values()
        elif isinstance(part, list):
            rest += part
    return False


def _name(tool: Any) -> str:
    """The name of a tool; empty if it has none, and cannot be called."""
    name = tool.get("name") if isinstance(tool, dict) else None
    return name if isinstance(name, str) else ""


def tools_in(page: Mapping[str, Any], server: str) -> Iterator[Tool]:
    """The tools of a page that can be called; warns of what is left out."""
    odd: list[str] = []
    for place, definition in enumerate((page.get("tools") or ())[:MAX_TOOLS]):
        if name := _name(definition):
            yield _tool(server, name, definition, odd)
        else:
            wanted = "expected object with a name"
            odd.append(f"tools.{place} is left out: {wanted}, got {describe(definition)}")
    if not isinstance(cursor := page.get("nextCursor"), str | None):
        odd.append(f"the list ends here: expected string as nextCursor, got {describe(cursor)}")
    if odd:
        logger.warning("server %s: %s", quoted(server), listed(odd, MOST_WARNINGS, "; "))


def _tool(server: str, name: str, definition: dict[str, Any], odd: list[str]) -> Tool:
    def member(key: str, wanted: type, expected: str, within: dict[str, Any] = definition) -> Any:
        """A member of this type; None, with a warning, if it is of another."""
        value = within.get(key)
        if value is None or isinstance(value, wanted):
            return value
        what = f"{key} of tool {quoted(name)} is ignored: expected {expected}"
        odd.append(f"{what}, got {describe(value)}")
        return None

    notes = member("annotations", dict, "object") or {}
    hints = {ours: member(hint, bool, "boolean", notes) for hint, ours in HINTS.items()}
    if (schema := definition.get("inputSchema")) is None:
        what = f"inputSchema of tool {quoted(name)} is missing"
        odd.append(f"{what}: it is called with any arguments")
    elif schema is not True:  # which accepts everything, as no schema does
        schema = member("inputSchema", dict, "object")
    given = definition.get("outputSchema")
    output = None if given is True else member("outputSchema", dict, "object")
    if output is not None and says_wrapped(definition.get("_meta")):
        output = {**output, KEYWORD: True}
    execution = member("execution", dict, "object") or {}
    return Tool(
        server=server,
        name=name,
        input_schema=schema if isinstance(schema, dict) else _ANYTHING,
        title=member("title", str, "string") or "",
        description=member("description", str, "string") or "",
        output_schema=output,
        annotated_title=member("title", str, "string", notes) or "",
        tasks=NEEDS_TASK if execution.get("taskSupport") == NEEDS_TASK else "",
        **hints,
    )
