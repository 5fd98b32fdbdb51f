"""A server of HTTP+SSE for tests, which breaks the rules when asked to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from anyio.abc import SocketStream

from tests.http_server import BROKEN, Json, answer, listening, received

OPENED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


def event(data: Any, kind: str = "message") -> bytes:
    """An event with JSON, or with a text as it is."""
    text = data if isinstance(data, str) else json.dumps(data)
    return f"event: {kind}\r\ndata: {text}\r\n\r\n".encode()


class SseServer:
    """The server, and what it was asked.

    Attributes:
        url: Where it opens streams.
        paths: The methods and paths that were asked for, in order.
        headers: Those of the last request of each method.
        methods: The names of the JSON-RPC methods that came, in order.
        streams: The streams that are open, by the number of their session.
        opening: If given, answers what opens a stream.
        notices: Sent as soon as a stream is open.
        gathering: The calls of `meet` that wait for more of them.
    """

    def __init__(self) -> None:
        self.url = ""
        self.paths: list[str] = []
        self.headers: dict[str, dict[str, str]] = {}
        self.methods: list[str] = []
        self.messages: list[Json] = []
        self.streams: dict[int, SocketStream] = {}
        self.opening: Callable[[SocketStream, str], Awaitable[bool]] | None = None
        self.notices = b""
        self.gathering: list[tuple[SocketStream, Json]] = []
        self._sessions = 0
        self._sending = anyio.Lock()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[SseServer]:
        """Serve until the block ends."""
        async with listening(self._serve) as url:
            self.url = f"{url}/sse"
            yield self

    async def _serve(self, socket: SocketStream) -> None:
        async with socket:
            with suppress(*BROKEN):
                method, path, headers, message = await received(socket)
                self.paths.append(f"{method} {path}")
                self.headers[method] = headers
                if method == "GET":
                    if self.opening is None or not await self.opening(socket, path):
                        await self._stream(socket)
                    return
                self.methods.append(message.get("method", ""))
                self.messages.append(message)
                await self._take(socket, path, message)

    async def _stream(self, socket: SocketStream) -> None:
        self._sessions += 1
        number = self._sessions
        self.streams[number] = socket
        try:
            endpoint = event(f"/messages?session={number}", "endpoint")
            await socket.send(OPENED + b": hello\r\n\r\n" + endpoint + self.notices)
            await socket.receive()  # until the client leaves
        finally:
            self.streams.pop(number, None)

    async def _take(self, socket: SocketStream, path: str, message: Json) -> None:
        stream = self.streams.get(int(path.partition("session=")[2] or 0))
        if stream is None:
            await answer(socket, 404, {"error": "Could not find session"})
            return
        params = message.get("params") or {}
        tool, given = params.get("name"), params.get("arguments") or {}
        if message.get("method") != "tools/call":
            await answer(socket, 202)
            await self._answer(stream, message)
        elif tool == "status":
            await answer(socket, **given)
        elif tool == "forget":
            if self.streams.pop(1, None) is not None:
                await answer(socket, 404, {"error": "Could not find session"})
                return
            await answer(socket, 202)
            await self._reply(stream, message, {"content": [], "structuredContent": given})
        elif tool == "raw":
            await socket.send(b"no HTTP at all")
        elif tool == "late":  # the POST is never answered
            await self._reply(stream, message, {"content": [], "structuredContent": given})
            await socket.receive()
        else:
            await answer(socket, 202)
            await getattr(self, f"_{tool}")(stream, message, **given)

    async def _answer(self, stream: SocketStream, message: Json) -> None:
        match message.get("method"):
            case "initialize":
                info = {"name": "old", "version": "1"}
                result = {"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}
                await self._reply(stream, message, {**result, "serverInfo": info})
            case "tools/list":
                names = [
                    "echo",
                    "hang",
                    "huge",
                    "meet",
                    "drop",
                    "status",
                    "forget",
                    "raw",
                    "late",
                    "told",
                ]
                tools = [{"name": name, "inputSchema": {"type": "object"}} for name in names]
                await self._reply(stream, message, {"tools": tools})

    async def _send(self, stream: SocketStream, data: bytes) -> None:
        async with self._sending:
            await stream.send(data)

    async def _reply(self, stream: SocketStream, message: Json, result: Json) -> None:
        body = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        await self._send(stream, event(body))

    async def _echo(self, stream: SocketStream, message: Json, **given: Any) -> None:
        await self._reply(stream, message, {"content": [], "structuredContent": given})

    async def _told(self, stream: SocketStream, message: Json) -> None:
        """Tell of progress, log, and ask for a ping before the answer."""
        token = message["params"]["_meta"]["progressToken"]
        told = {"progressToken": token, "progress": 1, "total": 2, "message": "half"}
        notice = {"jsonrpc": "2.0", "method": "notifications/progress", "params": told}
        await self._send(
            stream, event(notice) + event({"jsonrpc": "2.0", "id": 77, "method": "ping"})
        )
        while not any(each.get("id") == 77 and "result" in each for each in self.messages):
            await anyio.sleep(0.001)
        await self._echo(stream, message)

    async def _meet(self, stream: SocketStream, message: Json, count: int) -> None:
        """Answer once so many calls are there."""
        self.gathering.append((stream, message))
        if len(self.gathering) == count:
            for each, asked in self.gathering:
                await self._echo(each, asked, met=count)

    async def _hang(self, stream: SocketStream, message: Json) -> None:
        del stream, message

    async def _drop(self, stream: SocketStream, message: Json) -> None:
        del message
        await stream.aclose()

    async def _huge(self, stream: SocketStream, message: Json, size: int) -> None:
        notice = {"jsonrpc": "2.0", "method": "notifications/x", "params": {"x": "x" * size}}
        await self._send(stream, event(notice))
        content = [{"type": "text", "text": "x" * size}]
        await self._reply(stream, message, {"content": content})
