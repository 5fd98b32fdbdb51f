"""One session with one server, owned by one task from its first byte to its last.

The rule of this file: the SDK's exceptions end here. What comes out is a `CallError` that says
which server, what it was started with, and its last words.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from mcp import MCPError
from mcp.client.session import ClientSession, IncomingMessage
from mcp.types import LoggingMessageNotificationParams, ToolListChangedNotification
from pydantic import ValidationError

from orchestrator.calls.call import Call, OnProgress
from orchestrator.errors import CallError, TaskError
from orchestrator.schema.tool import Tool
from orchestrator.schema.violations import check_output
from orchestrator.servers.config import Server
from orchestrator.servers.elicitation import call_tool
from orchestrator.servers.health import HealthMonitor
from orchestrator.servers.listener import NOBODY, Listener
from orchestrator.servers.parameters import parameters_of
from orchestrator.servers.sdk_client import (
    ProgressRelay,
    changes_of,
    client_of,
    list_tools,
    modes_of,
    not_json,
    tool_request,
)
from orchestrator.servers.sdk_errors import (
    ENDED,
    LOST,
    NOT_OPEN,
    SILENT,
    WAS_CLOSED,
    ServerFault,
    fault_of,
    fault_of_result,
    fault_of_session,
    is_closed,
)
from orchestrator.servers.sdk_results import json_value, output_of
from orchestrator.transport.base import (
    Endpoint,
    Signals,
    http_endpoint,
    object_endpoint,
    stdio_endpoint,
)
from orchestrator.transport.delivery import Deliveries, NotExecutedError
from orchestrator.transport.parameters import HttpParameters, StdioParameters
from orchestrator.transport.process import Started, kept, kill
from orchestrator.transport.stderr import StderrTail

if TYPE_CHECKING:
    from orchestrator.transport.http_client import HttpConnections


# For a session to say goodbye. Programs get their own time: see `orchestrator.transport.stdio`.
CLOSE_S = 3.0
# Between a call that fails with its connection and the end of that connection: a moment.
END_S = 1.0


class Session:
    """A session with a server.

    `own` opens and closes it, in a task of its own; meanwhile any task may `call`.

    Args:
        server: Its server.
        listener: Is told what happens to it.
        started: Its program, if that was started already; it ends with the session.
        http: The connections that the sessions of its server share, if it has a URL.

    Attributes:
        server: Its server.
        tools: The tools it listed.
        protocol: The revision of the protocol that was agreed on.
        in_flight: How many calls it has under way.
        failure: Why it is not, or no longer, usable; None while it is.
        doubtful: Whether it could not be reached of late, so that a new one may be better.
        served: Whether it was called at all.
        began_at: Since when it is usable, on anyio's clock.
    """

    def __init__(
        self,
        server: Server,
        listener: Listener = NOBODY,
        started: Started | None = None,
        http: HttpConnections | None = None,
    ) -> None:
        self.server = server
        self._listener = listener
        self._launched = started
        self._http = http
        self.tools: list[Tool] = []
        self._by_name: dict[str, Tool] = {}
        self.protocol = ""
        self.in_flight = 0
        self.failure: TaskError | None = None
        self.doubtful = False
        self.served = False
        self.began_at = 0.0
        self._heard = 0
        self._kill: Callable[[], None] | None = None
        if started is not None:
            self._kill = partial(kill, started.process)
        self._deliveries = Deliveries()
        self._attendant: HealthMonitor | None = None
        self._tools_changed = False
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
                for mode in modes_of(self.server):
                    fault = await self._hold(mode)
                    if self._session is not None or self._closing:
                        break
        except Exception as error:  # it failed while it was being cancelled
            fault = self._broken(error)
        finally:
            self._fail(fault)
            if self._launched is not None:
                async with kept(self._launched):  # nobody wanted it any more
                    pass

    async def started_within(self, seconds: float) -> bool:
        """Wait until it is usable or has failed, but no longer than that."""
        with anyio.move_on_after(seconds):
            await self._started.wait()
        return self._started.is_set()

    def close(self, fault: ServerFault = WAS_CLOSED) -> None:
        """Have the owner close the session, or stop opening it; calls fail from now on."""
        self._fail(fault)
        self._closing = True
        self._over.set()
        if self._session is None:
            self._scope.cancel()

    def kill(self) -> None:
        """End the program behind it at once, if there is one."""
        if self._kill is not None:
            self._kill()

    def give_up(self) -> None:
        """Close it for not having started in time."""
        limit_s = self.server.start_timeout_s
        what = f"did not start: it did not answer within {limit_s:g} s"
        self.close(ServerFault("server_unavailable", what, {"start_timeout_s": limit_s}))

    async def _hold(self, mode: str) -> ServerFault:
        """One attempt: open, list the tools, and wait for the end; then why it came to an end."""
        self._over = anyio.Event()
        try:
            async with AsyncExitStack() as stack:
                await self._open(mode, stack)
                try:
                    assert self._attendant is not None
                    await self._attendant.attend(self._over)
                    await self._end()
                finally:
                    self._over.set()
        except Exception as error:
            await self._tail.finish()
            return self._broken(error)
        return WAS_CLOSED

    async def _open(self, mode: str, stack: AsyncExitStack) -> None:
        name = self.server.name
        endpoint = await stack.enter_async_context(self._endpoint())
        self._kill, self._deliveries = endpoint.kill, endpoint.deliveries
        client = client_of(endpoint.target, self.server, mode, self._on_log, self._on_message)
        session = (await stack.enter_async_context(client)).session
        self._take(await list_tools(session, name))
        self.protocol = client.protocol_version
        self._attendant = HealthMonitor(
            session,
            name,
            lambda: self._heard,
            self._on_tools,
            self._on_silence,
            changes_of(client),
        )
        self.began_at = anyio.current_time()
        self._session = session
        self._started.set()
        if self._tools_changed:
            self._attendant.relist_soon()

    def _endpoint(self) -> AbstractAsyncContextManager[Endpoint]:
        signals = Signals(self._hear, self._over.set)
        match parameters_of(self.server):
            case StdioParameters() as parameters:
                started, self._launched = self._launched, None
                return stdio_endpoint(parameters, self._tail, signals, started)
            case HttpParameters():
                assert self._http is not None
                return http_endpoint(self._http, signals)
        return object_endpoint(self.server.target, signals)

    def _hear(self) -> None:
        self._heard += 1

    async def _on_log(self, params: LoggingMessageNotificationParams) -> None:
        try:
            data = self.server.redact(json_value(params.data))
        except RecursionError:
            data = "(nested too deep)"
        self._listener.on_log(params.level, self.server.redact(params.logger or ""), data)

    async def _on_message(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._tools_changed = True
            if self._attendant is not None:
                self._attendant.relist_soon()

    def _on_tools(self, tools: list[Tool]) -> None:
        self._take(tools)
        self._listener.on_tools(self)

    def _take(self, tools: list[Tool]) -> None:
        self.tools = tools
        self._by_name = {tool.name: tool for tool in tools}

    def _on_silence(self) -> None:
        self._fail(SILENT)
        self.kill()
        self._over.set()

    def _broken(self, error: Exception) -> ServerFault:
        return fault_of_session(error, "failed" if self._session else "did not start")

    async def _end(self) -> None:
        self._scope.deadline = anyio.current_time() + CLOSE_S
        if not self._closing:
            await self._tail.finish()
            self._fail(ENDED)

    def _fail(self, fault: ServerFault) -> None:
        """Note why the session is of no use any more; the first reason stands."""
        first = self.failure is None
        if first:
            self.failure = self._error(fault).error
        self._failed.set()
        self._started.set()
        if first and self._session is not None and fault is not WAS_CLOSED:
            self._listener.on_end(self)

    async def call(self, call: Call, on_progress: OnProgress | None = None) -> Any:
        """Call a tool and give its output.

        Raises:
            NotExecutedError: It was certainly not executed: another session can make it.
            CallError: Of whatever kind fits; never an exception of the SDK.
        """
        if self._session is None:
            raise self.unavailable()
        if not self.usable:
            raise await self._ended(lost=False)
        heard = self._heard
        self.served = True
        self.in_flight += 1
        try:
            return await self._call(self._session, call, on_progress)
        except anyio.get_cancelled_exc_class():
            if heard == self._heard and self._attendant is not None:
                self._attendant.probe_soon()
            raise
        finally:
            self.in_flight -= 1
            if self.failure is not None and not self.in_flight:
                self._over.set()

    async def _call(
        self, session: ClientSession, call: Call, on_progress: OnProgress | None
    ) -> Any:
        tool = call.tool
        with (
            self._deliveries.expect() as delivery,
            ProgressRelay(on_progress, self.server.redact) as progress,
        ):
            request = tool_request(tool, call.arguments, delivery.meta)
            try:
                # Not client.call_tool: it would check the output schema by itself, and lose the
                # result if it does not fit.
                result = await call_tool(session, request, self.server, progress.callback)
                output = output_of(result, f"{self.server.name}:{tool}")
            except MCPError as error:
                raise await self._translated(error, tool, delivery.written) from None
            except ValidationError as error:
                raise self._error(fault_of_result(error, tool)) from None
            except ValueError as error:  # nested deeper than the SDK can write
                raise not_json(tool, error) from None
            except CallError as error:
                raise self._redacted(error.error) from None
        return self._fitting(tool, output)

    def _fitting(self, tool: str, output: Any) -> Any:
        """The output, if it fits the tool as the server describes it now."""
        described = self._by_name.get(tool)
        if described is not None:
            check_output(described, output, self.server.redact)
        return output

    def unavailable(self) -> CallError:
        """The error of a call that cannot be made."""
        return self._redacted(self.failure or self._error(NOT_OPEN).error)

    async def _ended(self, *, lost: bool) -> CallError:
        """The error of a call when the session has ended, once the owner has heard the last words.

        A call that was sent is lost: nobody knows whether it was executed.
        """
        await self._failed.wait()
        error = self.unavailable().error
        if lost:
            details = {**error.details, **LOST}
            return CallError(error.kind, error.message, retryable=error.retryable, **details)
        return _not_executed(error)

    async def _translated(self, error: MCPError, tool: str, written: bool) -> CallError:
        if is_closed(error):
            with anyio.move_on_after(END_S):
                await self._over.wait()
            if self._over.is_set():
                return await self._ended(lost=written)
        fault = fault_of(error, tool)
        self.doubtful = self.doubtful or fault.doubtful
        if fault.ends:  # for new calls; those in flight get answers of their own, then it is closed
            self._fail(fault)
            return _not_executed(self._error(fault).error)
        return self._error(fault)

    def _error(self, fault: ServerFault) -> CallError:
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


def _not_executed(error: TaskError) -> NotExecutedError:
    return NotExecutedError(
        error.kind, error.message, retryable=error.retryable, **dict(error.details)
    )
