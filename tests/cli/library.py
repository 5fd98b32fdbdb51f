"""A server without the SDK: a tool, two pages of resources, and prompts."""

from __future__ import annotations

import asyncio
import os

from mock_servers import wire
from mock_servers.wire import METHOD_NOT_FOUND, Connection, Json, RpcError, Tool


async def find(word: str) -> Json:
    """Find a book.

    By a word of its title.
    """
    return {"content": [{"type": "text", "text": f"{word} {os.environ.get('SHELF')}"}]}


async def initialize(params: Json) -> Json:
    return {
        "protocolVersion": params["protocolVersion"],
        "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
        "serverInfo": {"name": "library", "version": "1"},
    }


async def resources(params: Json) -> Json:
    if params.get("cursor") is None:
        first = {"uri": "book:///1", "name": "one", "title": "One", "mimeType": "text/plain"}
        return {"resources": [first], "nextCursor": "2"}
    second = {"uri": "book:///2", "name": "two", "description": "Two\nlines"}
    return {"resources": [second], "nextCursor": "2"}  # again and again


async def templates(_: Json) -> Json:
    raise RpcError(METHOD_NOT_FOUND, "no templates")


async def prompts(_: Json) -> Json:
    arguments = [{"name": "book", "required": True}, {"name": "tone"}]
    return {"prompts": [{"name": "review", "description": "Reviews", "arguments": arguments}]}


def forget(_: Json) -> None:
    """Do nothing about a call that was cancelled."""


if __name__ == "__main__":
    methods = wire.methods("library", [Tool(find)]) | {
        "initialize": initialize,
        "resources/list": resources,
        "resources/templates/list": templates,
        "prompts/list": prompts,
    }
    asyncio.run(Connection(methods, forget).serve())
