"""Servers from whatever `mcp.Client` takes.

The rule of this file: it looks at what it is given, and opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.config import Server, describe
from orchestrator.errors import ConfigError, Problem, pointer


def servers_of(given: Mapping[str, Any]) -> dict[str, Server]:
    """The servers by name.

    Raises:
        ConfigError: One is of no known kind.
    """
    return {name: _server(name, target) for name, target in given.items()}


def _server(name: str, target: Any) -> Server:
    """A server from whatever `mcp.Client` takes."""
    match target:
        case Server():
            return target
        case str():
            return Server(name=name, url=target, shown=describe({"url": target}))
    kind = type(target).__name__
    if kind == "StdioServerParameters":
        shown = describe({"command": target.command, "args": target.args})
        return Server(
            name=name,
            command=target.command,
            args=target.args,
            env=target.env or {},
            cwd=str(target.cwd) if target.cwd else None,
            shown=shown,
        )
    if target is None or isinstance(target, int | float | list | dict | bytes):
        message = (
            f"server {name!r} is {target!r}: it has to be a URL, parameters or a server object"
        )
        raise ConfigError("servers", [Problem("wrong_type", message, pointer(name))])
    return Server(name=name, target=target)
