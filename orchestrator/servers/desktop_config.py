"""Servers' files of other programs: `mcpServers` of desktop clients, `servers` of VS Code.

They are not ours to fix: fields that mean something else there are ignored, and a server that
cannot be used costs only itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.documents.jsonc import is_json
from orchestrator.servers.config import FIELDS

# Fields of a server that VS Code's file has, and ours in JSON does not.
_OF_VS_CODE = frozenset({"type", "envFile", "dev", "gallery"})
_URLS = ("url", "serverUrl", "httpUrl")
_OF_PROGRAMS = frozenset({"command", "args", "env", "inherit_env", "cwd"})
_OF_URLS = frozenset({"url", "headers", "transport"})
_COMMON = _OF_PROGRAMS | {"url", "headers"}
_OFF = {"disabled": True, "enabled": False, "isActive": False}
_KINDS = {"stdio": "command", "local": "command", "http": "url", "sse": "url", "remote": "url"}
_KINDS |= {"streamable-http": "url", "streamableHttp": "url", "streamable_http": "url"}


def foreign_table(path: Path, data: Any) -> tuple[str, Mapping[str, Any]] | None:
    """The servers in a file of another program, and where they are; None if the file is ours."""
    if not isinstance(data, dict):
        return None
    if "mcpServers" in data:
        found = data["mcpServers"]
        return "mcpServers", found if isinstance(found, dict) else {}
    table = data.get("servers")
    if not is_json(path) or not isinstance(table, dict):
        return None
    fields = {field for given in table.values() if isinstance(given, dict) for field in given}
    is_foreign = path.name == "mcp.json" or "inputs" in data or not fields.isdisjoint(_OF_VS_CODE)
    return ("servers", table) if is_foreign else None


def switched_off(given: Any) -> str | None:
    """The field that says that a server is not to be used, as the file has it; None if it is."""
    for field, value in _OFF.items() if isinstance(given, dict) else ():
        if given.get(field) is value:
            return f'"{field}": {json.dumps(value)}'
    return None


def own_fields(given: Mapping[str, Any], fits: Callable[[str, Any], bool]) -> dict[str, Any]:
    """The fields of a server that we know; other fields with our names only if their values fit."""
    kind = given.get("type") or given.get("transport")
    way = _KINDS.get(kind) if isinstance(kind, str) else None
    given = {
        # One pattern that is no list must not open what it was to close.
        field: [value] if field in ("allow", "deny") and isinstance(value, str) else value
        for field, value in given.items()
        if value not in (None, "")
    }
    urls = [given[field] for field in _URLS if field in given]
    given = given | ({"url": urls[0]} if urls else {})
    if way is None and ("command" in given) != ("url" in given):
        way = "command" if "command" in given else "url"
    if kind == "sse" and "url" in given:
        given |= {"transport": "sse"}
    # What belongs to the other transport is a leftover of an editor's form.
    foreign = {"command": _OF_URLS, "url": _OF_PROGRAMS}.get(way or "", frozenset())
    return {
        field: _as_text(field, value)
        for field, value in given.items()
        if field in FIELDS and field not in foreign and (field in _COMMON or fits(field, value))
    }


def _as_text(field: str, value: Any) -> Any:
    """Numbers as text where other programs accept them, and variables without a value left out."""
    match field, value:
        case "args", list():
            return [_text(item) for item in value]
        case (("env" | "headers"), dict()):
            return {name: _text(item) for name, item in value.items() if item is not None}
    return value


def _text(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, bool | int | float) else value


def variables(path: Path) -> dict[str, str]:
    """What VS Code's variables mean for a file."""
    folder = path.resolve().parent
    workspace = folder.parent if folder.name == ".vscode" else folder
    return {
        "workspaceFolder": str(workspace),
        "workspaceFolderBasename": workspace.name,
        "userHome": str(Path.home()),
        "pathSeparator": os.sep,
        "/": os.sep,
    }
