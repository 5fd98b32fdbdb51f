"""Books as resources, and prompts about them; on the standard library alone, as `bare`."""

from __future__ import annotations

import asyncio
import json

from mock_servers import wire
from mock_servers.wire import INVALID_PARAMS, Connection, Json, RpcError, Tool

BOOKS = {"emma": ("Emma", 1815), "ulysses": ("Ulysses", 1922)}
INTRODUCTION = "A library of two books."


async def titles() -> Json:
    """Return the keys of all books."""
    return {"content": [], "structuredContent": {"books": list(BOOKS)}}


async def list_resources(_: Json) -> Json:
    """List the books and the introduction."""
    books = [{"uri": f"book://{key}", "name": key} for key in BOOKS]
    return {"resources": [{"uri": "library://introduction", "name": "introduction"}, *books]}


async def read(params: Json) -> Json:
    """Return a book as JSON, or the introduction as text."""
    uri = params["uri"]
    scheme, _, key = uri.partition("://")
    if uri == "library://introduction":
        content = {"uri": uri, "mimeType": "text/plain", "text": INTRODUCTION}
    elif scheme == "book" and key in BOOKS:
        title, year = BOOKS[key]
        text = json.dumps({"title": title, "year": year})
        content = {"uri": uri, "mimeType": "application/json", "text": text}
    else:
        raise RpcError(INVALID_PARAMS, f"Resource not found: {uri}")
    return {"contents": [content]}


async def list_prompts(_: Json) -> Json:
    """List the one prompt."""
    arguments = [{"name": "title", "required": True}, {"name": "tone"}]
    return {"prompts": [{"name": "review", "description": "A review.", "arguments": arguments}]}


async def get_prompt(params: Json) -> Json:
    """Ask for the review of a book."""
    given = params.get("arguments") or {}
    if params["name"] != "review" or "title" not in given:
        raise RpcError(INVALID_PARAMS, "expected the prompt review with a title")
    text = f"Review {given['title']} in a {given.get('tone', 'friendly')} tone."
    return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}


async def initialize(params: Json) -> Json:
    """Announce tools, resources and prompts."""
    return {
        "protocolVersion": params["protocolVersion"],
        "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
        "serverInfo": {"name": "library", "version": "1"},
    }


def forget(_: Json) -> None:
    """Do nothing about a request that was cancelled."""


async def serve() -> None:
    """Serve until stdin ends."""
    methods = wire.methods("library", [Tool(titles)]) | {
        "initialize": initialize,
        "resources/list": list_resources,
        "resources/read": read,
        "prompts/list": list_prompts,
        "prompts/get": get_prompt,
    }
    await Connection(methods, forget).serve()


if __name__ == "__main__":
    asyncio.run(serve())
