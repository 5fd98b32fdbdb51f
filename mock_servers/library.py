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


async def find(word: str = "") -> Json:
    """Find the books with a word in their titles, as links."""
    found = {key: title for key, (title, _) in BOOKS.items() if word.lower() in title.lower()}
    links = [
        {"type": "resource_link", "uri": f"book://{key}", "name": title}
        for key, title in found.items()
    ]
    return {"content": [{"type": "text", "text": f"{len(links)} found"}, *links]}


async def list_templates(_: Json) -> Json:
    """List the form of the URI of a book."""
    return {"resourceTemplates": [{"uriTemplate": "book://{key}", "name": "book"}]}


async def complete(params: Json) -> Json:
    """Say which keys of books, or tones of a review, begin like this."""
    match params["ref"]:
        case {"type": "ref/resource", "uri": "book://{key}"}:
            known = list(BOOKS)
        case {"type": "ref/prompt", "name": "review"} if params["argument"]["name"] == "tone":
            known = ["friendly", "formal", "funny"]
        case _:
            known = []
    values = [each for each in known if each.startswith(params["argument"]["value"])]
    return {"completion": {"values": values, "total": len(values), "hasMore": False}}


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
        "capabilities": {"tools": {}, "resources": {}, "prompts": {}, "completions": {}},
        "serverInfo": {"name": "library", "version": "1"},
    }


def forget(_: Json) -> None:
    """Do nothing about a request that was cancelled."""


async def serve() -> None:
    """Serve until stdin ends."""
    methods = wire.methods("library", [Tool(titles), Tool(find)]) | {
        "initialize": initialize,
        "resources/list": list_resources,
        "resources/templates/list": list_templates,
        "resources/read": read,
        "prompts/list": list_prompts,
        "prompts/get": get_prompt,
        "completion/complete": complete,
    }
    await Connection(methods, forget).serve()


if __name__ == "__main__":
    asyncio.run(serve())
