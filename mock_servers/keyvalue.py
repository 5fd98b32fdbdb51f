"""A store in memory: the tools that write say so, and a server keeps what it was told."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel

from mock_servers.serve import READ_ONLY, run

PUT = ToolAnnotations(
    read_only_hint=False, idempotent_hint=True, destructive_hint=True, open_world_hint=False
)
DELETE = ToolAnnotations(
    read_only_hint=False, idempotent_hint=False, destructive_hint=True, open_world_hint=False
)


class Entry(BaseModel):
    """A key and its value."""

    key: str
    value: Any


class Stored(BaseModel):
    """What a `put` did."""

    key: str
    replaced: bool


class Keys(BaseModel):
    """All keys in the order of their first `put`."""

    keys: list[str]


class Deleted(BaseModel):
    """The entry that is gone."""

    key: str
    value: Any


def make_server() -> MCPServer:
    """Return a server with an empty store of its own."""
    server = MCPServer("keyvalue", instructions="Remembers values by key.", log_level="WARNING")
    entries: dict[str, Any] = {}

    def known(key: str) -> str:
        if key not in entries:
            raise ToolError(f"no such key: {key!r}; known: {', '.join(entries) or 'none'}")
        return key

    @server.tool(annotations=PUT)
    async def put(key: str, value: Any) -> Stored:
        """Store any JSON value under a key, in place of the one that was there."""
        replaced = key in entries
        entries[key] = value
        return Stored(key=key, replaced=replaced)

    @server.tool(annotations=READ_ONLY)
    async def get(key: str) -> Entry:
        """Return the value of a key; a key that was never stored is an error."""
        return Entry(key=key, value=entries[known(key)])

    @server.tool(annotations=READ_ONLY)
    async def keys() -> Keys:
        """List all keys."""
        return Keys(keys=list(entries))

    @server.tool(annotations=DELETE)
    async def delete(key: str) -> Deleted:
        """Remove a key and return the value it had; a key that was never stored is an error."""
        return Deleted(key=key, value=entries.pop(known(key)))

    return server


if __name__ == "__main__":
    run(make_server())
