"""A server that sends what a test tells it to send, byte by byte, over stdio and over HTTP."""

from __future__ import annotations

import json
import sys
from typing import Any

from anyio.abc import SocketStream

from orchestrator import Server
from tests.http_server import Json

# In the bytes to send, this stands for the id of the request.
ID = "@ID@"

PROGRAM = r"""
import json, sys
settings = json.loads(sys.argv[1])
out = sys.stdout.buffer

def send(data):
    out.write(data)
    out.flush()

for line in sys.stdin.buffer:
    message = json.loads(line)
    method, number = message.get("method"), message.get("id")
    if number is None or method in settings["silent"]:
        continue
    said = settings["says"].get(method)
    params = message.get("params") or {}
    if said is None and params.get("name") == "say":
        said = params["arguments"]["raw"]
    if said is not None:
        send(said.replace("@ID@", str(number)).encode("latin-1") + b"\n")
        continue
    results = {
        "initialize": {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "puppet", "version": "1"},
        },
        "tools/list": {"tools": settings["tools"], "ttlMs": 0, "cacheScope": "private"},
        "tools/call": {"content": [], "structuredContent": params.get("arguments")},
    }
    if params.get("name") == "meta":
        results["tools/call"]["structuredContent"] = params.get("_meta") or {}
    answer = {"result": results[method]} if method in results else {
        "error": {"code": -32601, "message": "Method not found"}
    }
    send(json.dumps({"jsonrpc": "2.0", "id": number, **answer}).encode() + b"\n")
"""

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("say", "echo")]


def program(
    says: dict[str, str] | None = None,
    tools: Any = None,
    silent: tuple[str, ...] = (),
    **settings: Any,
) -> Server:
    """A program that sends `says[method]` as it is, and leaves the methods in `silent` unanswered.

    The bytes are given as Latin-1. A call of `say` is answered with its argument `raw`, one of
    `meta` with its own `_meta`, one of any other tool with its arguments.
    """
    told = {"says": says or {}, "tools": TOOLS if tools is None else tools, "silent": silent}
    args = ["-c", PROGRAM, json.dumps(told)]
    return Server(**{"command": sys.executable, "args": args, "protocol": "legacy", **settings})


async def serve(stream: SocketStream, message: Json) -> bool:
    """Answer calls and the list of tools as the program does; for `HttpServer.puppet`.

    A call of `say` also names the content type.
    """
    params = message.get("params") or {}
    number, arguments = message["id"], params.get("arguments") or {}
    match message.get("method"), params.get("name"):
        case "tools/call", "say":
            body = arguments["raw"].replace(ID, str(number)).encode("latin-1")
            await send(stream, body, arguments.get("type", "application/json"))
            return True
        case "tools/call", _:
            result: Json = {"content": [], "structuredContent": arguments}
        case "tools/list", _:
            result = {"tools": TOOLS, "ttlMs": 0, "cacheScope": "private"}
        case _:
            return False
    answer = {"jsonrpc": "2.0", "id": number, "result": result}
    await send(stream, json.dumps(answer).encode(), "application/json")
    return True


async def send(stream: SocketStream, body: bytes, kind: str) -> None:
    """Send a response with this body."""
    head = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: {kind}\r\n"
    await stream.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
