"""An HTTP server for tests that answers MCP, and breaks the rules when asked to."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream

Json = dict[str, Any]
LEGACY_PROTOCOL = "2025-06-18"
BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class HttpServer:
    """The server, and what it was asked.

    Attributes:
        requests: The JSON-RPC messages that came, in order.
        methods: The HTTP methods and the names of the JSON-RPC methods that came.
        everything: If given, answers each request instead.
        puppet: If given, answers the requests that it says it has answered.
        forgotten: Status and body of the answer to a session that is not the one of now.
        forgets: Whether it forgets each session when a tool is called.
        dropped: Set when a client has closed the connection of a call of `hang`.
        called: Set when `hang` was called.
        gathering: The calls of `meet` that wait for more of them.
    """

    def __init__(self, session: str | None = None) -> None:
        self.session = session
        self.url = ""
        self.requests: list[Json] = []
        self.methods: list[str] = []
        self.forgotten: tuple[int, Any] = (404, {"error": "no such session"})
        self.forgets = False
        self.everything: Callable[[SocketStream, Json], Awaitable[None]] | None = None
        self.puppet: Callable[[SocketStream, Json], Awaitable[bool]] | None = None
        self.dropped = anyio.Event()
        self.called = anyio.Event()
        self.gathering: list[anyio.Event] = []

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[HttpServer]:
        """Serve until the block ends."""
        async with listening(self._serve) as url:
            self.url = f"{url}/mcp"
            yield self

    async def _serve(self, stream: SocketStream) -> None:
        async with stream:
            with suppress(*BROKEN):
                method, _, headers, message = await received(stream)
                self.methods.append(f"{method} {message.get('method', '')}".strip())
                self.requests.append(message)
                asks = method == "POST" and "id" in message
                if self.puppet is not None and asks and await self.puppet(stream, message):
                    return
                if self.everything is not None:
                    await self.everything(stream, message)
                elif headers.get("mcp-session-id", self.session) != self.session:
                    status, body = self.forgotten
                    await answer(stream, status, {**body, "id": message.get("id")})
                elif self.forgets and message.get("method") == "tools/call":
                    await answer(stream, 404, {"error": "no such session"})
                elif method != "POST":
                    await answer(stream, 200 if method == "DELETE" else 405)
                elif "id" not in message:
                    await answer(stream, 202)
                else:
                    await self._answer(stream, message)

    async def _answer(self, stream: SocketStream, message: Json) -> None:
        match message["method"], message.get("params", {}):
            case "initialize", _:
                info = {"name": "http", "version": "1"}
                result = {"protocolVersion": LEGACY_PROTOCOL, "capabilities": {"tools": {}}}
                headers = {"mcp-session-id": self.session} if self.session else {}
                await reply(stream, message, {**result, "serverInfo": info}, headers)
            case "tools/list", _:
                names = ["echo", "status", "broken", "broken_stream", "hang", "raw", "huge", "meet"]
                tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
                await reply(stream, message, {"tools": tools, "ttlMs": 0, "cacheScope": "private"})
            case "tools/call", {"name": tool, "arguments": arguments}:
                await getattr(self, f"_{tool}")(stream, message, **arguments)
            case _:
                error = {"code": -32601, "message": "Method not found"}
                await answer(stream, 200, {"jsonrpc": "2.0", "id": message["id"], "error": error})

    async def _echo(self, stream: SocketStream, message: Json, value: Any) -> None:
        await reply(stream, message, {"content": [], "structuredContent": {"value": value}})

    async def _meet(self, stream: SocketStream, message: Json, count: int, value: Any) -> None:
        """Answer with the value once so many calls are there."""
        arrived = anyio.Event()
        self.gathering.append(arrived)
        if len(self.gathering) == count:
            for each in self.gathering:
                each.set()
            self.gathering = []
        await arrived.wait()
        await self._echo(stream, message, value)

    async def _status(self, stream: SocketStream, message: Json, **how: Any) -> None:
        del message
        await answer(stream, **how)

    async def _raw(self, stream: SocketStream, message: Json, text: str) -> None:
        del message
        await stream.send(text.encode())

    async def _broken(self, stream: SocketStream, message: Json) -> None:
        del message
        head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n"
        await stream.send(f'{head}{{"jsonrpc": "2.0", "id"'.encode())

    async def _huge(
        self, stream: SocketStream, message: Json, size: int, how: str = "json"
    ) -> None:
        """Answer with so many bytes: as JSON, JSON without its length, packed JSON, or an event."""
        result = {"content": [{"type": "text", "text": "x" * size}], "resultType": "complete"}
        text = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
        head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n"
        body = text.encode()
        match how:
            case "json":
                head += f"content-length: {len(body)}\r\n"
            case "packed":
                body = gzip.compress(body)
                head += f"content-encoding: gzip\r\ncontent-length: {len(body)}\r\n"
            case "event":
                head = head.replace("application/json", "text/event-stream")
                body = f"event: message\ndata: {text}\n\n".encode()
        await stream.send(f"{head}\r\n".encode() + body)

    async def _broken_stream(self, stream: SocketStream, message: Json) -> None:
        del message
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999\r\n\r\n"
        await stream.send(f'{head}event: message\ndata: {{"jsonrpc"'.encode())

    async def _hang(self, stream: SocketStream, message: Json) -> None:
        del message
        self.called.set()
        with suppress(*BROKEN):
            await stream.receive()
        self.dropped.set()


@asynccontextmanager
async def listening(serve: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """A URL at which connections are served until the block ends."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        group.cancel_scope.cancel()


async def received(stream: SocketStream) -> tuple[str, str, dict[str, str], Json]:
    """A request: its method, its path, its headers, and what JSON it has."""
    method, path, headers, body = await received_text(stream)
    return method, path, headers, json.loads(body) if body else {}


async def received_text(stream: SocketStream) -> tuple[str, str, dict[str, str], str]:
    """The same with its body as a text."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += await stream.receive()
    method, path, _ = first.split()
    return method, path, headers, body.decode()


async def answer(
    stream: SocketStream, status: int, body: Any = None, headers: dict[str, str] | None = None
) -> None:
    """Send a response: JSON, or a text as it is."""
    kind = "text/html" if isinstance(body, str) else "application/json"
    text = "" if body is None else body if isinstance(body, str) else json.dumps(body)
    lines = {"content-type": kind, "content-length": len(text.encode()), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    await stream.send(f"HTTP/1.1 {status} Said\r\nconnection: close\r\n{head}\r\n{text}".encode())


async def reply(
    stream: SocketStream, message: Json, result: Json, headers: dict[str, str] | None = None
) -> None:
    """Send the result of a request, with what every protocol wants of it."""
    body = {"jsonrpc": "2.0", "id": message["id"], "result": {**result, "resultType": "complete"}}
    await answer(stream, 200, body, headers)
