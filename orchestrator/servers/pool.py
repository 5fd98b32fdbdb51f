"""Session pool: opens, reuses and replaces sessions, and announces what happens to servers.

Each session is owned by a task of its own, so that a server that fails takes nothing with it. A few
lines longer than other files: whatever is asked of servers is asked of the pool.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager as AsyncContext
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import anyio
from anyio.abc import TaskGroup

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.grants import Fenced, GrantedLocks, Granter, check_held
from orchestrator.calls.limits import FIRST, Priority, Slots
from orchestrator.calls.locks import Locks
from orchestrator.documents.text import quoted
from orchestrator.engine.events import Event, OnEvent, ServerEvent
from orchestrator.errors import CallError, NotExecutedError, TaskError
from orchestrator.servers import problems
from orchestrator.servers.catalog import Catalog, is_allowed
from orchestrator.servers.config import Server, ServerTable
from orchestrator.servers.lockfile import Lockfile
from orchestrator.servers.locking import Scope
from orchestrator.servers.logging_in import logged_in
from orchestrator.servers.policies import machine_of, policy_of, scoped
from orchestrator.servers.redaction import LOGS
from orchestrator.servers.sessions import Callee, Offering, Sessions
from orchestrator.servers.supervisor import Background, Supervisor

if TYPE_CHECKING:
    from orchestrator.engine.run import Run
    from orchestrator.engine.settings import RunSettings
    from orchestrator.servers.offers import Entry, Kind
    from orchestrator.servers.session import Session

logger = logging.getLogger("orchestrator")

# A program that starts waits much of the time, so that one a core leaves the cores idle (five took
# 1.7 times as long as all at once); too many are all so slow that they run into their limits.
STARTS_PER_CORE = 4


class ServerPool:
    """Sessions to servers, opened when first asked for and reused until the pool is closed."""

    loop: Mapping[str, Any] = MappingProxyType({})  # the options of `anyio.run` that suit it best
    is_live = True  # whether its servers are really called
    uses_memo = True  # whether calls may be answered by earlier ones
    missed: Sequence[str] = ()  # of a recording: the calls that are not in it

    def __init__(self, servers: Mapping[str, Server], lock: Lockfile | None = None) -> None:
        named = {
            name: server if server.name == name else server.model_copy(update={"name": name})
            for name, server in servers.items()
        }
        self.servers = ServerTable.like(servers, named)
        for server in self.servers.values():
            LOGS.add(server.hidden)
        # Of the tasks of all runs.
        self.locks = Locks(resources=self.servers.locking.resources)
        self._machine = machine_of(self.servers)
        self.share(None)
        self.lock = lock  # a call of a tool that differs is refused; None accepts all
        self.catalog = Catalog(self.servers, lock)
        self._opened: AsyncContext[None] | None = None
        self._group: TaskGroup | None = None
        self._closing = False
        self._live: set[Session] = set()
        self._working: set[anyio.CancelScope] = set()
        self._subscribers: list[tuple[OnEvent, frozenset[str]]] = []
        self._starting = Slots(STARTS_PER_CORE * (os.cpu_count() or 1))
        self._supervisors = self._new_supervisors()

    def share(self, cluster: Fenced | None) -> None:
        """Have what holds for all processes with the same journal granted, before the first call.

        Without that it holds for this process.
        """
        self._cluster = cluster
        granters: dict[Scope, Granter | None] = {"host": self._machine, "cluster": cluster}
        self.policies = {
            name: policy_of(server, self._machine, cluster) for name, server in self.servers.items()
        }
        if any(each is not None for each in granters.values()):
            scope_of = self.servers.locking.scope_of
            self.locks.wider = GrantedLocks(lambda lock: granters.get(scope_of(lock)))

    @property
    def unshared(self) -> Iterable[str]:
        """Where the servers' file has what should hold for all with the same journal, and does not.

        That is, the paths there.
        """
        return () if self._cluster is not None else scoped(self.servers, "cluster")

    def __repr__(self) -> str:
        ready = [name for name in self.servers if self.usable(name)]
        return f"ServerPool({len(ready)} of {len(self.servers)} servers ready)"

    def _new_supervisors(self) -> Mapping[str, Sessions]:
        given = self.catalog, self._starting, self._own, self.start_soon, self._announce
        return {name: Supervisor(server, *given) for name, server in self.servers.items()}

    async def __aenter__(self) -> Self:
        if self._opened is not None:
            raise RuntimeError("it is open already: use one 'async with' at a time")
        self._opened = self._open()
        await self._opened.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        assert self._opened is not None
        try:
            await self._opened.__aexit__(*raised)
        finally:
            self._opened = None

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        self._supervisors = self._new_supervisors()  # a reopened pool remembers no failures
        self._closing = False
        error: BaseException | None = None
        async with anyio.create_task_group() as self._group:
            try:
                yield
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as raised:
                error = raised  # not for the group: it would come out in an exception group
            finally:
                self._close()
        for granter in (self._machine, self._cluster):
            if granter is not None:
                granter.close()
        if error is not None:
            raise error

    def _close(self) -> None:
        self._closing = True
        # First, so that no session is started in place of one that is closed here.
        for supervisor in self._supervisors.values():
            supervisor.close()
        for scope in self._working:
            scope.cancel()
        for session in self._live:
            session.close()

    def settings_of(self, settings: RunSettings) -> RunSettings:
        """The settings of a run, with those that are not up to it."""
        return settings

    def noting(self, run: Run, inputs: Mapping[str, Any]) -> AsyncContext[None]:  # noqa: ARG002
        """What a run is executed in: a pool may note how it went."""
        return nullcontext()

    def kill(self) -> None:
        """End every program at once, without waiting."""
        for session in self._live:
            session.kill()

    def usable(self, server: str) -> bool:
        """Whether a session with the server is open."""
        return self._supervisors[server].usable

    async def open(
        self,
        names: Iterable[str],
        announce: OnEvent = lambda _: None,
        priority: Priority = FIRST,
    ) -> None:
        """Open these servers, all at once; a server that fails is not an error.

        `announce` receives the events of these starts, as subscribers do; a smaller priority goes
        first where programs wait to be started.
        """
        async with anyio.create_task_group() as group:
            for name in names:
                group.start_soon(self._supervisors[name].open, announce, priority)

    @contextmanager
    def subscribe(self, tell: OnEvent, servers: Iterable[str]) -> Iterator[None]:
        """Pass on the events of these servers while the block runs, with `at_ms` 0."""
        subscriber = (tell, frozenset(servers))
        self._subscribers.append(subscriber)
        try:
            yield
        finally:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

    def _announce(self, event: Event) -> None:
        assert isinstance(event, ServerEvent)
        for subscriber in tuple(self._subscribers):  # one may unsubscribe while it is called
            tell, servers = subscriber
            if event.server in servers:
                try:
                    tell(event)
                except Exception:
                    self._subscribers.remove(subscriber)
                    logger.exception("subscriber %r failed and receives nothing more", tell)

    def _own(self, session: Session) -> None:
        assert self._group is not None
        self._live.add(session)
        self._group.start_soon(self._owned, session)
        if self._closing:
            session.close()

    async def _owned(self, session: Session) -> None:
        from opentelemetry import context  # loaded with the SDK, which a session needs

        context.attach(context.Context())  # its own requests belong to no run that opened it
        try:
            await session.own()
        finally:
            self._live.discard(session)

    def start_soon(self, work: Background) -> None:
        """Run something in the background; it is cancelled when the pool is closed."""
        assert self._group is not None
        self._group.start_soon(self._work, work)

    async def _work(self, work: Background) -> None:
        with anyio.CancelScope() as scope:
            self._working.add(scope)
            if self._closing:
                scope.cancel()
            try:
                await work()
            except Exception:
                logger.exception("a bug in a background task")
            finally:
                self._working.discard(scope)

    def failure(self, server: str) -> TaskError | None:
        """Why a server that was to be opened is not usable; None if it is, or never was to be."""
        return self._supervisors[server].failure

    async def call(self, call: Call, attempt: Attempt | None = None) -> Any:
        """Make a call on the least busy session of its server. This is the engine's caller.

        A server whose sessions have ended is started again meanwhile. A call that was certainly not
        executed, because its session had ended or was forgotten, is made on the next one, once.

        Raises:
            CallError: The call failed, the server is not there, or the arguments do not fit.
        """
        try:
            return await self._call(call, attempt)
        except CallError as error:
            if attempt is None or attempt.remote is None:
                raise
            details = {**error.error.details, "lost": True}  # its task may go on
            raise CallError.of(replace(error.error, details=details)) from None

    async def _call(self, call: Call, attempt: Attempt | None) -> Any:
        supervisor = self._supervisors.get(call.server)
        if supervisor is None:
            raise CallError("server_unavailable", f"unknown server {quoted(call.server)}")

        async def session_for(_: Attempt) -> Callee:
            return await self._session(supervisor, call)

        open_again = partial(supervisor.open, lambda _: None)
        session = await logged_in(session_for, attempt or Attempt(), open_again)
        if attempt is not None and attempt.fit is not None:
            call = attempt.fit(call)
        await check_held(self._cluster, attempt)
        with suppress(NotExecutedError):  # the second error is not chained to the first
            return await session.call(call, attempt)
        session = await self._session(supervisor, call)
        await check_held(self._cluster, attempt)
        return await session.call(call, attempt)

    async def until_usable(self, server: str) -> None:
        """Wait until a server can be called, as a call does.

        Raises:
            CallError: It is down, and not restarted for a while.
        """
        await self._supervisors[server].session()

    async def offered(self, server: str, kind: Kind) -> list[Entry] | None:
        """What a server lists of a kind; None if it does not have that capability.

        Raises:
            CallError: It is not open, or does not answer with a list.
        """
        return await (await self.offers(server)).of(kind)

    async def offers(self, server: str) -> Offering:
        """What tells what an open server has besides tools; raises a CallError if it is not."""
        session = await self._supervisors[server].session()
        assert session.offers is not None  # it is usable
        return session.offers

    async def learn_prompts(self, servers: Iterable[str]) -> None:
        """Have the catalog know the prompts of servers, as far as these can list them."""
        for server in servers:
            if self.usable(server):
                with suppress(CallError):  # a task that gets one finds out what is wrong
                    self.catalog.take_prompts(server, await self.offered(server, "prompts") or ())

    async def _session(self, supervisor: Sessions, call: Call) -> Callee:
        """A session for a call that may be made as of now, whatever was known when it was planned.

        A server may have started only after the plan was checked, or have changed its tools since.
        """
        catalog, server, tool = self.catalog, call.server, call.tool
        if call.kind != "tool":
            if is_allowed(supervisor.server, tool):
                return await supervisor.session()
            raise _refused(call, str(problems.denied_request(supervisor.server, call.kind, tool)))
        if not catalog.lets_call(server, tool) and not is_allowed(supervisor.server, tool):
            raise _refused(call, str(problems.denied_tool(supervisor.server, tool)))
        session = await supervisor.session()
        if catalog.lets_call(server, tool):
            return session
        if (difference := catalog.difference(server, tool)) is None:
            unknown = problems.unknown_tool(supervisor.server, catalog.listed(server), tool)
            raise _refused(call, str(unknown))
        assert self.lock is not None
        message = (
            f"tool {quoted(call.target)} differs from {self.lock.source}: {difference}. "
            f"If that is intended, run: {self.lock.update_command(server)}"
        )
        raise _refused(call, message, difference=str(difference))


def _refused(call: Call, message: str, **details: Any) -> CallError:
    """The error of a call that may not be made."""
    return CallError("protocol_error", message, retryable=False, server=call.server, **details)
