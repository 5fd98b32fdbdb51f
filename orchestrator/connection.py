"""One session with one server, owned by one task from its first byte to its last.

The rule of this file: the SDK's exceptions end here. What comes out is a `CallError` that says
which server, what it was started with, and its last words.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import anyio
from mcp import Client, MCPError
from mcp.client.session import ClientSession
from mcp.types import CallToolRequest, CallToolRequestParams, Implementation
from mcp.types import Tool as McpTool
from pydantic import ValidationError

from orchestrator.calls import Tool
from orchestrator.config import Server
from orchestrator.contents import output_of
from orchestrator.elicitation import call_tool, elicitation_callback
from orchestrator.errors import CallError, TaskError
from orchestrator.faults import (
    ENDED,
    METHOD_NOT_FOUND,
    NOT_OPEN,
    WAS_CLOSED,
    Fault,
    fault_of,
    fault_of_result,
    fault_of_session,
    is_closed,
)
from orchestrator.stderr import StderrTail
from orchestrator.transports import target_of

MAX_TOOL_PAGES = 1000
# For a session to say goodbye. Programs get their own time: see `mcp.client.stdio`.
CLOSE_S = 3.0
# Between a call that fails with its connection and the end of that connection: a moment.
END_S = 1.0


class Connection:
    """A session with a server.

    `own` opens and closes it, in a task of its own; meanwhile any task may `call`.

    Attributes:
        server: Its server.
        tools: The tools it listed.
        protocol: The revision of the protocol that was agreed on.
        in_flight: How many calls it has under way.
        failure: Why it is not, or no longer, usable; None while it is.
        doubtful: Whether it could not be reached of late, so that a new one may be better.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self.tools: list[Tool] = []
        self.protocol = ""
        self.in_flight = 0
        self.failure: TaskError | None = None
        self.doubtful = False
        self._scope = anyio.CancelScope()
        self._started = anyio.Event()
        self._over = anyio.Event()
        self._failed = anyio.Event()
        self._closing = False
        self._session: ClientSession | None = None
        self._tail = StderrTail()

    def __repr__(self) -> str:
        state = "usable" if self.usable else "not usable"
        return f"Connection({self.server.name!r}, {state}, {self.in_flight} in flight)"

    @property
    def usable(self) -> bool:
        """Whether calls can be made."""
        return self._session is not None and self.failure is None and not self._over.is_set()

    async def own(self) -> None:
        """Open the session, keep it until it ends or is closed. Raises nothing but cancellation.

        A program that fails at its first contact under `protocol = "auto"` is started afresh and
        spoken to in legacy mode: servers of the Python SDK before 1.9 need that.
        """
        fault = WAS_CLOSED
        try:
            with self._scope:
                for mode in _modes(self.server):
                    fault = await self._hold(mode)
                    if self._session is not None or self._closing:
                        break
        except Exception as error:  # it failed while it was being cancelled
            fault = self._broken(error)
        finally:
            self._fail(fault)

    async def started_within(self, seconds: float) -> bool:
        """Wait until it is usable or has failed, but no longer than that."""
        with anyio.move_on_after(seconds):
            await self._started.wait()
        return self._started.is_set()

    def close(self, fault: Fault = WAS_CLOSED) -> None:
        """Have the owner close the session, or stop opening it; calls fail from now on."""
        self._fail(fault)
        self._closing = True
        self._over.set()
        if self._session is None:
            self._scope.cancel()

    def give_up(self) -> None:
        """Close it for not having started in time."""
        limit_s = self.server.start_timeout_s
        what = f"did not start: it did not answer within {limit_s:g} s"
        self.close(Fault("server_unavailable", what, {"start_timeout_s": limit_s}))

    async def _hold(self, mode: str) -> Fault:
        """One attempt: open, list the tools, and wait for the end; then why it came to an end."""
        self._over = anyio.Event()
        try:
            async with AsyncExitStack() as stack:
                target = await target_of(self.server, stack, self._tail, self._over.set)
                client = Client(
                    target,
                    mode=mode,
                    client_info=_client_info(),
                    elicitation_callback=elicitation_callback(self.server),
                )
                await stack.enter_async_context(client)
                self.tools = [tool async for tool in _list_tools(client, self.server.name)]
                self.protocol = client.protocol_version
                self._session = client.session
                self._started.set()
                try:
                    await self._over.wait()
                    await self._end()
                finally:
                    self._over.set()
        except Exception as error:
            await self._tail.finish()
            return self._broken(error)
        return WAS_CLOSED

    def _broken(self, error: Exception) -> Fault:
        return fault_of_session(error, "failed" if self._session else "did not start")

    async def _end(self) -> None:
        self._scope.deadline = anyio.current_time() + CLOSE_S
        if not self._closing:
            await self._tail.finish()
            self._fail(ENDED)

    def _fail(self, fault: Fault) -> None:
        """Note why the session is of no use any more; the first reason stands."""
        if self.failure is None:
            self.failure = self._error(fault).error
        self._failed.set()
        self._started.set()

    async def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        """Call a tool and give its output.

        Raises:
            CallError: Of whatever kind fits; never an exception of the SDK.
        """
        if self._session is None:
            raise self.unavailable()
        if not self.usable:
            raise await self._ended()
        request = _request(tool, arguments)
        self.in_flight += 1
        try:
            # Not client.call_tool: it would check the output schema by itself, and lose the result
            # if it does not fit.
            result = await call_tool(self._session, request, self.server)
            return output_of(result, f"{self.server.name}:{tool}")
        except MCPError as error:
            raise await self._translated(error, tool) from None
        except ValidationError as error:
            raise self._error(fault_of_result(error, tool)) from None
        except ValueError as error:  # nested deeper than the SDK can write
            raise _not_json(tool, error) from None
        except CallError as error:
            raise self._redacted(error.error) from None
        finally:
            self.in_flight -= 1

    def unavailable(self) -> CallError:
        """The error of a call that cannot be made."""
        return self._redacted(self.failure or self._error(NOT_OPEN).error)

    async def _ended(self) -> CallError:
        """The same, once the owner has heard the last words."""
        await self._failed.wait()
        return self.unavailable()

    async def _translated(self, error: MCPError, tool: str) -> CallError:
        if is_closed(error):
            with anyio.move_on_after(END_S):
                await self._over.wait()
            if self._over.is_set():
                return await self._ended()
        fault = fault_of(error, tool)
        self.doubtful = self.doubtful or fault.doubtful
        if fault.ends:
            self._fail(fault)
            self._over.set()
        return self._error(fault)

    def _error(self, fault: Fault) -> CallError:
        """An error that says which server, what it was started with, and its last words."""
        server = self.server
        message = f"server {server.name!r} {fault.what}"
        facts: dict[str, Any] = {"server": server.name, **fault.details}
        if server.description:
            facts["started_with"] = server.description
            message += f" ({server.description})"
        if fault.kind == "server_unavailable" and (lines := self._tail.lines()):
            facts["stderr"] = lines
            message += f"; its last words: {self._tail.telling()}"
        error = CallError(fault.kind, message, retryable=fault.retryable, **facts)
        return self._redacted(error.error)

    def _redacted(self, error: TaskError) -> CallError:
        message, details = self.server.redact([error.message, dict(error.details)])
        return CallError(error.kind, message, retryable=error.retryable, **details)


def _modes(server: Server) -> list[str]:
    fallback = server.protocol == "auto" and server.command is not None
    return ["auto", "legacy"] if fallback else [server.protocol]


def _client_info() -> Implementation:
    try:
        return Implementation(name="orchestrator", version=version("mcp-orchestrator"))
    except PackageNotFoundError:
        return Implementation(name="orchestrator", version="0")


async def _list_tools(client: Client, server: str) -> AsyncIterator[Tool]:
    cursor: str | None = None
    for _ in range(MAX_TOOL_PAGES):
        try:
            page = await client.list_tools(cursor=cursor)
        except MCPError as error:
            if error.code == METHOD_NOT_FOUND:
                return  # a server of prompts or resources
            raise
        for tool in page.tools:
            yield _tool(server, tool)
        cursor = page.next_cursor
        if not cursor:
            return


def _tool(server: str, tool: McpTool) -> Tool:
    notes = tool.annotations
    return Tool(
        server=server,
        name=tool.name,
        input_schema=tool.input_schema,
        title=tool.title or "",
        description=tool.description or "",
        output_schema=tool.output_schema,
        read_only=notes.read_only_hint if notes else None,
        idempotent=notes.idempotent_hint if notes else None,
        destructive=notes.destructive_hint if notes else None,
        open_world=notes.open_world_hint if notes else None,
    )


def _request(tool: str, arguments: dict[str, Any]) -> CallToolRequest:
    """The request, if it can be sent: one that cannot would break the session for all others."""
    try:
        json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
        return CallToolRequest(params=CallToolRequestParams(name=tool, arguments=arguments))
    except (ValueError, TypeError, RecursionError) as error:
        raise _not_json(tool, error) from None


def _not_json(tool: str, error: Exception) -> CallError:
    message = f"the arguments of {tool!r} cannot be sent as JSON: {error}"
    return CallError("invalid_arguments", message, tool=tool)
