"""A bare MCP server over stdin and stdout, on the standard library alone; it knows no tool.

It speaks the protocol with a handshake (`initialize`), and answers any other request, such as
`server/discover`, with "method not found". Every request runs in a task of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NoReturn

Json = dict[str, Any]
Method = Callable[[Json], Awaitable[Json]]

LATEST_PROTOCOL = "2025-06-18"
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
JSON_TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}


_progress_token: ContextVar[str | int | None] = ContextVar("_progress_token", default=None)


class RpcError(Exception):
    """A request is answered with a JSON-RPC error.

    Args:
        code: The JSON-RPC error code.
        message: The JSON-RPC error message.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def write(message: Json) -> None:
    """Send one message to the client."""
    write_bytes(json.dumps(message).encode() + b"\n")


def write_bytes(data: bytes) -> None:
    """Send bytes to the client, as they are."""
    with contextlib.suppress(BrokenPipeError):  # it went away; stdin will end too
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def notify(method: str, params: Json) -> None:
    """Send a notification to the client."""
    write({"jsonrpc": "2.0", "method": method, "params": params})


def progress(done: float, total: float | None = None, message: str | None = None) -> bool:
    """Tell the progress of the request that is being answered; whether the client asked for it."""
    token = _progress_token.get()
    if token is None:
        return False
    said = {"progressToken": token, "progress": done, "total": total, "message": message}
    params = {name: value for name, value in said.items() if value is not None}
    notify("notifications/progress", params)
    return True


def log(line: str) -> None:
    """Write one line to stderr."""
    print(line, file=sys.stderr, flush=True)


def die(code: int, reason: str) -> NoReturn:
    """End the process at once, without cleaning up, with the reason on stderr."""
    log(reason)
    os._exit(code)


@dataclass(frozen=True)
class Tool:
    """A tool: an `async` function that returns a `tools/call` result.

    Attributes:
        function: Its name, docstring and signature become those of the tool.
        read_only: Whether the tool declares that it changes nothing.
        idempotent: Whether the tool declares that a repeated call changes nothing more.
        alias: Its name, if it is not the function's.
        types: The JSON types of parameters, where they are not the signature's.
    """

    function: Callable[..., Awaitable[Json]]
    read_only: bool = True
    idempotent: bool = True
    alias: str = ""
    types: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name clients call it by."""
        return self.alias or self.function.__name__

    def describe(self) -> Json:
        """Return the tool's entry in `tools/list`."""
        parameters = inspect.signature(self.function).parameters.values()
        return {
            "name": self.name,
            "description": inspect.getdoc(self.function),
            "inputSchema": {
                "type": "object",
                "properties": {each.name: self._schema(each) for each in parameters},
                "required": [each.name for each in parameters if each.default is each.empty],
            },
            "annotations": {"readOnlyHint": self.read_only, "idempotentHint": self.idempotent},
        }

    def _schema(self, parameter: inspect.Parameter) -> Json:
        given = JSON_TYPES.get(parameter.annotation)  # a string: annotations are not evaluated
        kind = self.types.get(parameter.name, given)
        schema: Json = {} if kind is None else {"type": kind}
        if parameter.default is not parameter.empty:
            schema["default"] = parameter.default
        return schema

    async def call(self, arguments: Json) -> Json:
        """Run the tool; arguments that do not fit its signature are an `RpcError`."""
        try:
            bound = inspect.signature(self.function).bind(**arguments)
        except TypeError as error:
            raise RpcError(INVALID_PARAMS, f"{self.name}: {error}") from error
        return await self.function(*bound.args, **bound.kwargs)


def methods(name: str, tools: Sequence[Tool]) -> dict[str, Method]:
    """Return the requests that a server answers; its tools are those of the moment."""

    async def initialize(params: Json) -> Json:
        return {
            "protocolVersion": params.get("protocolVersion", LATEST_PROTOCOL),
            "capabilities": {"tools": {"listChanged": True}, "logging": {}},
            "serverInfo": {"name": name, "version": "1"},
        }

    async def ping(_params: Json) -> Json:
        return {}

    async def list_tools(_params: Json) -> Json:
        return {"tools": [tool.describe() for tool in tools]}

    async def call_tool(params: Json) -> Json:
        tool = next((each for each in tools if each.name == params["name"]), None)
        if tool is None:
            raise RpcError(INVALID_PARAMS, f"Unknown tool: {params['name']}")
        return await tool.call(params.get("arguments") or {})

    return {
        "initialize": initialize,
        "ping": ping,
        "tools/list": list_tools,
        "tools/call": call_tool,
    }


class Connection:
    """The JSON-RPC conversation with the client on the other end of stdin and stdout.

    Args:
        methods: What answers a request, by method.
        on_cancelled: Told the parameters of each request that the client cancelled while it ran.
        first_method: End the process if the first message asks for anything else.
    """

    def __init__(
        self,
        methods: Mapping[str, Method],
        on_cancelled: Callable[[Json], None],
        first_method: str | None = None,
    ) -> None:
        self._methods = methods
        self._on_cancelled = on_cancelled
        self._first_method = first_method
        self._running: dict[str | int, tuple[Json, asyncio.Task[None]]] = {}

    async def serve(self) -> None:
        """Answer until stdin ends; what still runs then is left unanswered."""
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            self._receive(json.loads(line))

    def _receive(self, message: Json) -> None:
        method, params = message.get("method"), message.get("params") or {}
        if self._first_method not in (None, method):
            die(1, f"expected {self._first_method} as the first message, got {method}")
        self._first_method = None
        if method == "notifications/cancelled":
            self._cancel(params.get("requestId"))
        elif method is not None and "id" in message:
            task = asyncio.create_task(self._answer(message["id"], method, params))
            self._running[message["id"]] = params, task

    def _cancel(self, request_id: Any) -> None:
        if request_id in self._running:
            params, task = self._running.pop(request_id)
            task.cancel()
            self._on_cancelled(params)

    async def _answer(self, request_id: str | int, method: str, params: Json) -> None:
        reply = {"jsonrpc": "2.0", "id": request_id}
        _progress_token.set((params.get("_meta") or {}).get("progressToken"))
        try:
            if method not in self._methods:
                raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")
            write({**reply, "result": await self._methods[method](params)})
        except RpcError as error:
            write({**reply, "error": {"code": error.code, "message": str(error)}})
        except Exception as error:  # else the client would wait for ever
            write({**reply, "error": {"code": INTERNAL_ERROR, "message": repr(error)}})
        finally:
            self._running.pop(request_id, None)
