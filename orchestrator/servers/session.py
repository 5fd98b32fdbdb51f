"""One session with one server, owned by one task from its first byte to its last.

The SDK's exceptions end here: a call raises only `CallError`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import anyio
from mcp import Client, MCPError, types
from mcp.client.session import IncomingMessage
from pydantic import ValidationError

from orchestrator.calls.call import Attempt, Call
from orchestrator.errors import CallError, NotExecutedError, TaskError
from orchestrator.schema.tool import Tool
from orchestrator.schema.violations import check_output
from orchestrator.servers import sdk_client, sdk_errors, sdk_requests, sdk_results, sdk_tasks
from orchestrator.servers.config import Server
from orchestrator.servers.elicitation import Elicitor
from orchestrator.servers.health import HealthMonitor
from orchestrator.servers.logging_in import logged_in
from orchestrator.servers.news import Followed, News, OnNews
from orchestrator.servers.offers import Offers
from orchestrator.servers.requester import Requester
from orchestrator.servers.revisions import Revisions
from orchestrator.servers.sdk_errors import WAS_CLOSED, ServerFault, raised
from orchestrator.servers.sdk_requests import EXCHANGES
from orchestrator.transport.base import endpoint_of
from orchestrator.transport.delivery import Deliveries, Delivery
from orchestrator.transport.handshake import Handshake
from orchestrator.transport.parameters import Notify, nothing
from orchestrator.transport.process import Started, kept, kill
from orchestrator.transport.stderr import StderrTail

if TYPE_CHECKING:
    from orchestrator.transport.http_client import HttpConnections

CLOSE_S = 3.0  # for a session to say goodbye; the end of its program takes its own time
END_S = 1.0  # between a call that fails with its connection and the end of that connection


class Listener(OnNews, Protocol):
    """Receives what happens to a session, between calls and within."""

    followed: Followed  # the resources whose changes are announced

    def on_end(self, session: Session) -> None: ...  # unasked; its `failure` says why
    def on_tools(self, session: Session) -> None: ...  # the server has changed its tools


class Session:
    """A session with a server: one task runs `own`, and with it opens and closes it; all `call`."""

    def __init__(
        self,
        server: Server,
        listener: Listener,
        started: Started | None = None,  # its program, which ends with the session
        http: HttpConnections | None = None,  # shared by the sessions of a server with a URL
        revisions: Revisions | None = None,  # what other sessions have found
    ) -> None:
        self.server = server
        self.tools: list[Tool] = []
        self.protocol = ""  # the revision that was agreed on
        self.offers: Offers | None = None  # lists what the server has besides tools
        self.in_flight = 0  # calls under way
        self.failure: TaskError | None = None  # why it is not, or no longer, usable
        self.doubtful = False  # it could not be reached of late: a new one may be better
        self.served = False  # whether it was called at all
        self.began_at = 0.0  # since when it is usable, on anyio's clock
        # Ends the program behind it at once, if there is one.
        self.kill: Notify = nothing if started is None else partial(kill, started.process)
        self._listener, self._http, self._started_early = listener, http, started
        self._revisions = revisions or Revisions(server)
        self._by_name: dict[str, Tool] = {}
        self._deliveries = Deliveries()
        silent = partial(self._end, sdk_errors.SILENT)
        self._monitor = HealthMonitor(server.name, self._on_tools, silent)
        self._news = News(server, listener.followed, listener, self._monitor.relist_soon)
        self._scope = anyio.CancelScope()
        self._started, self._over, self._failed = anyio.Event(), anyio.Event(), anyio.Event()
        self._closing = False
        self._requester: Requester | None = None  # None before it is open
        self._tail, self._elicitor = StderrTail(), Elicitor(server)
        self._has_tasks = False

    def __repr__(self) -> str:
        name, state = self.server.name, "usable" if self.usable else "not usable"
        return f"Session({name!r}, {state}, {self.in_flight} in flight)"

    @property
    def usable(self) -> bool:
        """Whether calls can be made."""
        return self._requester is not None and self.failure is None and not self._over.is_set()

    async def own(self) -> None:
        """Open the session, and keep it until it ends or is closed. Raises only cancellation."""
        fault = WAS_CLOSED
        try:
            with self._scope:
                for mode in self._revisions.modes():
                    fault = await self._hold(mode)
                    if self._requester is not None or self._closing:
                        break
        except Exception as error:  # it failed while it was being cancelled
            fault = self._broken(error)
        finally:
            if self._requester is None:
                self._revisions.note_failure()
            self._fail(fault)
            if self._started_early is not None:
                async with kept(self._started_early):  # closed before it was taken over
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
        if self._requester is None:
            self._scope.cancel()

    def give_up(self) -> None:
        """Close it for not having started in time."""
        self.close(sdk_errors.too_slow(self.server.start_timeout_s))

    async def _hold(self, mode: str) -> ServerFault:
        """Open the session, wait for its end, and return why it ended."""
        if self.server.unusable:
            return sdk_errors.not_configured(self.server.unusable)
        self._over, handshake = anyio.Event(), Handshake(self.server.start_timeout_s)
        target = self.server.parameters or self.server.target
        started, self._started_early = self._started_early, None
        try:
            async with endpoint_of(
                target,
                self._monitor.hear,
                self._over.set,
                self._tail,
                started,
                self._http,
                partial(self._end, sdk_errors.NOT_READING),
                handshake,
            ) as endpoint:
                self.kill, self._deliveries = endpoint.kill, endpoint.deliveries
                hears = self._elicitor.callback, mode, self._news.on_log, self._on_message
                client = sdk_client.client_of(endpoint.target, *hears)
                async with client:
                    await self._use(client, handshake)
        except Exception as error:
            await self._tail.finish()
            refusal = handshake.refusal if self._requester is None else None
            return self._broken(error if refusal is None else MCPError.from_error_data(refusal))
        return WAS_CLOSED

    async def _use(self, client: Client, handshake: Handshake) -> None:
        try:
            session, name = client.session, self.server.name
            listed = partial(sdk_client.list_tools, session, name, self._deliveries)
            self.protocol = client.protocol_version
            self._has_tasks = sdk_tasks.offers_tasks(client.server_capabilities, self.protocol)
            self._take(await listed())
            self.offers = Offers(client, self.server, self._tail)
            self._revisions.note_start(self.protocol, handshake)
            self.began_at = anyio.current_time()
            self._requester = Requester(session, self._deliveries, self._elicitor, self.protocol)
            self._started.set()
            changes = sdk_client.changes_of(client)
            ask = partial(sdk_client.ask, session, self._deliveries)
            news, beside = self._news.on_change, partial(self._news.run, client, self.offers)
            await self._monitor.watch(ask, listed, changes, self._over, news, beside)
            self._scope.deadline = anyio.current_time() + CLOSE_S
            if not self._closing:
                await self._tail.finish()
                self._fail(sdk_errors.ENDED)
        finally:
            self._over.set()

    async def _on_message(self, message: IncomingMessage) -> None:
        if isinstance(message, types.ProgressNotification) and self._requester is not None:
            self._requester.note_progress(message.params)
        await self._news.on_message(message)

    def _on_tools(self, tools: list[Tool]) -> None:
        self._take(tools)
        self._listener.on_tools(self)

    def _take(self, tools: list[Tool]) -> None:
        self.tools = sdk_tasks.noted(tools, offered=self._has_tasks)
        self._by_name = {tool.name: tool for tool in self.tools}

    def _end(self, fault: ServerFault) -> None:
        self.close(fault)
        self.kill()

    def _broken(self, error: Exception) -> ServerFault:
        verb = "failed" if self._requester else "did not start"
        return sdk_errors.fault_of_session(error, verb, self._deliveries.latest)

    def _fail(self, fault: ServerFault) -> None:
        first = self.failure is None
        if first:  # only the first reason counts
            self.failure = self._error(fault).error
        self._failed.set()
        self._started.set()
        if first and self._requester is not None and fault is not WAS_CLOSED:
            self._listener.on_end(self)

    async def call(self, call: Call, attempt: Attempt | None = None) -> Any:
        """Call a tool and return its output.

        Raises:
            NotExecutedError: It was certainly not executed: another session can make it.
            CallError: Of whatever kind fits; never an exception of the SDK.
        """
        if self._requester is None:
            raise self.unavailable()
        if not self.usable:
            raise await self._ended(lost=False)
        heard = self._monitor.heard
        self.served = True
        self.in_flight += 1
        try:
            return await logged_in(partial(self._call, call), attempt or Attempt())
        except anyio.get_cancelled_exc_class():
            if heard == self._monitor.heard:
                self._monitor.probe_soon()
            raise
        finally:
            self.in_flight -= 1
            if self.failure is not None and not self.in_flight:
                self._over.set()

    async def _call(self, call: Call, attempt: Attempt) -> Any:
        tool, server, requester = call.tool, self.server, self._requester
        exchange = EXCHANGES[call.kind]
        assert requester is not None
        if call.kind == "read":  # before it, so that no change is missed
            self._news.follow(tool)
            await self._news.confirmed(tool)
        described = self._by_name.get(tool) if call.kind == "tool" else None
        with (
            self._deliveries.expect(exchange.show, attempt.note_answer) as delivery,
            sdk_client.relayed_progress(attempt.on_progress, server.redact) as progress,
        ):
            try:
                sent = await requester.result(call, attempt, delivery, progress, described)
                is_large = attempt.answer_bytes > sdk_results.LARGE_BYTES
                output = await sdk_requests.output_of(exchange, sent, call.target, is_large)
            except MCPError as error:
                raise await self._translated(error, call, delivery, attempt) from None
            except (sdk_results.InvalidResultError, ValidationError) as error:
                fault = sdk_errors.fault_of_result(error, tool, delivery.result)
                raise self._error(fault) from None
            except ValueError as error:  # nested deeper than the SDK can write
                raise sdk_requests.not_json(tool, error) from None
            except CallError as error:
                raise sdk_errors.redacted(error.error, server) from None
        if described is not None:  # as the server describes it now
            check_output(described, output, server.redact)
        attempt.wrapped = sdk_results.is_wrapped(output, sent, described)
        return await sdk_results.value_inside(output, is_large) if attempt.wrapped else output

    def unavailable(self) -> CallError:
        """The error of a call that cannot be made."""
        return raised(self.failure or self._error(sdk_errors.NOT_OPEN).error)

    async def _ended(self, *, lost: bool) -> CallError:
        """The error of a call whose session has ended; of a lost one, the outcome is unknown."""
        await self._failed.wait()
        error = self.unavailable().error
        return raised(error, lost=True) if lost else raised(error, NotExecutedError)

    async def _translated(
        self, error: MCPError, call: Call, delivery: Delivery, attempt: Attempt
    ) -> CallError:
        is_left = attempt.remote is not None  # the next session may find the task of the call
        if sdk_errors.is_closed(error) and (is_left or not delivery.answered):
            with anyio.move_on_after(END_S):
                await self._over.wait()
            if self._over.is_set():
                return await self._ended(lost=delivery.written and not is_left)
        fault = sdk_errors.fault_of(error, call.tool, call.kind)
        self.doubtful = self.doubtful or fault.doubtful
        if fault.ends:  # for new calls; those in flight get answers of their own, then it is closed
            self._fail(fault)
            return raised(self._error(fault).error, NotExecutedError)
        return self._error(fault)

    def _error(self, fault: ServerFault) -> CallError:
        return sdk_errors.call_error(fault, self.server, self._tail)
