"""The sessions of one server: opened before a run, replaced when they end within one.

The pool's own tasks start them, one start at a time, so that a call that gives up waiting stops
nothing. The circuit breaker decides how soon a start may follow a failure. A few lines longer than
other files: a session's start and its replacement change the same state.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Sequence, Set
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.calls.limits import FIRST, Priority, Slots
from orchestrator.documents.text import quoted
from orchestrator.engine.events import (
    Event,
    OnEvent,
    ServerFailed,
    ServerLog,
    ServerReady,
    ServerStarting,
)
from orchestrator.errors import CallError, TaskError
from orchestrator.servers.catalog import Catalog
from orchestrator.servers.circuit_breaker import CircuitBreaker
from orchestrator.servers.config import Server
from orchestrator.servers.redaction import LOGS, forms_of
from orchestrator.transport.parameters import HttpParameters, StdioParameters
from orchestrator.transport.process import start

if TYPE_CHECKING:
    from orchestrator.auth.authorizer import Authorizer
    from orchestrator.servers.revisions import Revisions
    from orchestrator.servers.session import Session
    from orchestrator.transport.http_client import HttpConnections

# A program that has not answered by then is waiting for something and no longer costs a core.
STARTING_S = 3.0

Background = Callable[[], Coroutine[Any, Any, None]]


class Supervisor:
    """Keeps the sessions of a server."""

    def __init__(
        self,
        server: Server,
        catalog: Catalog,
        starting: Slots,  # how many programs of all servers may be starting
        own: Callable[[Session], None],  # gives a session its owner task
        spawn: Callable[[Background], None],  # runs it until the pool is closed
        announce: OnEvent,
    ) -> None:
        self.server = server
        self._catalog = catalog
        self._starting = starting
        self._own = own
        self._spawn = spawn
        self._announce = announce
        self._http: HttpConnections | None = None
        self._revisions: Revisions | None = None
        self._sessions: list[Session] = []
        self._wanted: set[Session] = set()  # a run opened them, or found them open
        self.followed: dict[str, object] = {}  # see `news`
        self._latest: Session | None = None  # the last that was started or has ended
        self._breaker = CircuitBreaker()
        self._opening = anyio.Lock()
        self._changed = anyio.Event()
        self._reviving = False
        self._waiting = 0
        self._closing = False

    def __repr__(self) -> str:
        count, state = len(self._usable()), self._breaker.state(anyio.current_time())
        name = self.server.name
        return f"Supervisor({name!r}, {count} of {self.server.sessions} usable, {state})"

    @property
    def usable(self) -> bool:
        """Whether a session is open."""
        return any(session.usable for session in self._sessions)

    @property
    def failure(self) -> TaskError | None:
        """Why no session is open; None if one is, or none was asked for."""
        return None if self.usable or self._latest is None else self._latest.failure

    def _usable(self) -> list[Session]:
        return [session for session in self._sessions if session.usable]

    def _missing(self) -> int:
        return self.server.sessions - len(self._usable())

    def close(self) -> None:
        """Start nothing any more; calls that wait for a session fail."""
        self._closing = True
        self._notify()

    def _notify(self) -> None:
        """Wake the calls that wait for a session."""
        self._changed.set()
        self._changed = anyio.Event()  # an event of anyio cannot be cleared

    async def open(self, announce: OnEvent, priority: Priority = FIRST) -> None:
        """Open all sessions before a run, whatever the circuit breaker says.

        `announce` receives the events of this start; a smaller priority goes first where programs
        wait to be started.
        """

        def tell(event: Event) -> None:
            announce(event)
            self._announce(event)

        async with self._opening:  # runs that begin together start the sessions once
            if self._is_spent():
                return
            # One that is in use is not taken away.
            old = {each for each in self._usable() if each.doubtful and not each.in_flight}
            if self._missing() + len(old):
                await self._start_missing(tell, priority, old, first=True)
            self._wanted.update(self._sessions)

    async def session(self) -> Session:
        """The least busy session; if all have ended, the one that is started in their place.

        Raises:
            CallError: There is none, and none will be for a while.
        """
        while True:
            usable = self._usable()
            # In the background: the call can use the sessions that are left.
            if len(usable) < self.server.sessions:
                self._revive_soon()
            if usable:
                return min(usable, key=lambda session: session.in_flight)
            if (refusal := self._refusal()) is not None:
                raise refusal
            self._waiting += 1
            try:
                await self._changed.wait()
            finally:
                self._waiting -= 1

    def _is_spent(self) -> bool:
        """Whether it was started, and cannot be started again."""
        return self.server.is_single_use and self._latest is not None

    def _refusal(self) -> CallError | None:
        name, now = self.server.name, anyio.current_time()
        if self._closing or self._latest is None:
            state = "was closed" if self._closing else "was never opened"
            return CallError("server_unavailable", f"server {quoted(name)} {state}", server=name)
        if self._is_spent():
            return self._latest.unavailable()
        if self._breaker.state(now) != "open":
            return None
        error, cools_s = self._latest.unavailable().error, round(self._breaker.cools_s(now), 3)
        failures = self._breaker.failures
        # When it is started again is a detail for programs: for people the run is over by then.
        times = f". It has failed {failures} times in a row" if failures > 1 else ""
        message = f"{error.message}{times}"
        # The server may have asked for a longer pause than ours.
        wait_s = max(cools_s, error.details.get("retry_after_s", 0.0))
        details = {**error.details, "failures": failures, "retry_after_s": wait_s}
        return CallError(error.kind, message, retryable=error.retryable, **details)

    def _revive_soon(self) -> None:
        """Start what is missing in the background, unless that is done or given up already."""
        may_start = not self._is_spent() and self._breaker.state(anyio.current_time()) != "open"
        if may_start and self._latest is not None and not (self._reviving or self._closing):
            self._reviving = True
            self._spawn(self._revive)

    async def _revive(self) -> None:
        try:
            while self._missing():
                wait_s = self._breaker.wait_s(anyio.current_time())
                if wait_s is None:
                    break
                await anyio.sleep(wait_s)
                async with self._opening:
                    # A run may have opened the sessions during the pause.
                    if self._missing() and self._breaker.state(anyio.current_time()) != "open":
                        self._breaker.note_start()
                        await self._start_missing(self._announce, FIRST, first=False)
        finally:
            self._reviving = False
            self._notify()

    async def _start_missing(
        self, tell: OnEvent, priority: Priority, old: Set[Session] = frozenset(), *, first: bool
    ) -> None:
        """Start what is missing, and sessions in place of the old ones."""
        name, began_at = self.server.name, anyio.current_time()
        tell(ServerStarting(0.0, name))
        fresh: list[Session] = []

        async def start_one() -> None:
            fresh.append(await self._started(priority))

        async with anyio.create_task_group() as group:
            for _ in range(self._missing() + len(old)):
                group.start_soon(start_one)
        self._take(fresh, old, first=first)
        if usable := self._usable():
            tools, took_s = len(self._catalog.tools(name)), anyio.current_time() - began_at
            tell(ServerReady(0.0, name, usable[-1].protocol, tools, round(took_s * 1000, 3)))
        else:
            assert self._latest is not None
            tell(ServerFailed(0.0, name, self._latest.unavailable().error))
        self._notify()

    async def _started(self, priority: Priority) -> Session:
        """A session that is usable or has failed, within the start timeout."""
        limit_s = self.server.start_timeout_s
        gated_s = min(STARTING_S, limit_s)
        gate = nullcontext() if self.server.command is None else self._starting.slot(priority)
        session: Session | None = None
        try:
            async with gate:
                session = await self._new_session()
                self._own(session)  # without a wait: until then, nothing ends its program
                await session.started_within(gated_s)
            if not await session.started_within(limit_s - gated_s):
                session.give_up()
        except BaseException:
            if session is not None:
                session.close()
            raise
        return session

    async def _new_session(self) -> Session:
        parameters, started = self.server.parameters, None
        if isinstance(parameters, StdioParameters) and not _sdk_is_loaded():
            # Importing the SDK takes about as long as a program takes to start: both at once.
            with suppress(Exception):  # the session finds out again and reports it
                started = await start(parameters)
        if isinstance(parameters, HttpParameters) and self._http is None:
            from orchestrator.transport.http_client import HttpConnections

            self._http = HttpConnections(parameters, self._authorizer())  # all sessions share them
        from orchestrator.servers.revisions import Revisions  # here, since they load the SDK
        from orchestrator.servers.session import Session

        if self._revisions is None:
            self._revisions = Revisions(self.server)  # all sessions share it
        return Session(self.server, self, started, self._http, self._revisions)

    def _authorizer(self) -> Authorizer | None:
        """What has the tokens of the server; None if the configuration has its headers."""
        if not self.server.logs_in:
            return None
        from orchestrator.auth.authorizer import Authorizer

        return Authorizer(self.server.subject, forms=forms_of, learn=LOGS.add)

    def _take(self, fresh: list[Session], old: Set[Session], *, first: bool) -> None:
        # Only now are the old ones closed: until then, calls of other runs may need them.
        for session in old:
            session.close()
        started = [session for session in fresh if session.usable]
        failed = [session for session in fresh if not session.usable]
        self._sessions = [*(kept for kept in self._usable() if kept not in old), *started]
        self._wanted.intersection_update(self._sessions)
        self._latest = (failed or started)[0]
        if started:
            self.on_tools(started[0])
        if failed:
            self._breaker.note_failure(anyio.current_time(), first=first and not self._sessions)
        else:
            self._breaker.note_success()

    def on_tools(self, session: Session) -> None:
        """Take the tools that a session has listed; announce how they differ from the last list."""
        others = (tool for other in self._sessions if other is not session for tool in other.tools)
        if session.offers is not None and (version := session.offers.version):
            self._catalog.versions[self.server.name] = version
        if change := self._catalog.replace(self.server.name, session.tools, others):
            self._announce(change)

    def on_end(self, session: Session) -> None:
        """A session has ended unasked; it is replaced if anything used it or waits for one."""
        assert session.failure is not None
        self._latest = session
        self._breaker.note_end(session.began_at, anyio.current_time())
        self._announce(ServerFailed(0.0, self.server.name, session.failure))
        if session.served or session in self._wanted or self._waiting:
            self._revive_soon()
        self._notify()

    def on_news(self, event: Event) -> None:
        """A server says what has changed besides its tools."""
        self._announce(event)

    def on_prompts(self, prompts: Sequence[Any]) -> None:
        """A server has listed its prompts again."""
        self._catalog.take_prompts(self.server.name, prompts)

    @property
    def knows_prompts(self) -> bool:
        """Whether its prompts were of use, so that they are listed again when they change."""
        return self._catalog.prompts(self.server.name) is not None

    def on_log(self, level: str, logger: str, data: Any) -> None:
        """A server has sent a log message."""
        self._announce(ServerLog(0.0, self.server.name, level, logger, data))


def _sdk_is_loaded() -> bool:
    return "orchestrator.servers.session" in sys.modules
