"""A server that a warm pool keeps; when the pool is gone, one of our own in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.calls.call import Attempt, Call, Elicit
from orchestrator.calls.limits import FIRST, Priority
from orchestrator.daemon.connection import Asked, Connection, LostError
from orchestrator.documents.text import quoted
from orchestrator.engine.events import (
    Event,
    OnEvent,
    ServerFailed,
    ServerListChanged,
    ServerLog,
    ServerReady,
    ServerResourceUpdated,
    ServerStarting,
)
from orchestrator.errors import CallError, NotExecutedError, TaskError
from orchestrator.schema.tool import tool_of
from orchestrator.servers.catalog import Catalog
from orchestrator.servers.config import Server
from orchestrator.servers.sessions import Sessions

if TYPE_CHECKING:
    from orchestrator.servers.offers import Entry, Kind
    from orchestrator.servers.supervisor import Background

# For a pool to open a server, besides the time that this has for its start: others may come first.
OPEN_S = 30.0
_EVENTS = {
    each.name: each
    for each in (
        ServerStarting,
        ServerReady,
        ServerFailed,
        ServerLog,
        ServerListChanged,
        ServerResourceUpdated,
    )
}


class WarmServer:
    """The sessions of a server, in another process; it calls them.

    Args:
        server: The server.
        connection: Leads to the pool that keeps it.
        own: Its sessions in this process, for when the pool is gone; not open yet.
        catalog: Learns its tools.
        announce: Receives its events.
        start_soon: Runs something in the background.

    Attributes:
        leases: What is held of its limits in the pool, by the attempt that they are held for.
    """

    def __init__(
        self,
        server: Server,
        connection: Connection,
        own: Sessions,
        catalog: Catalog,
        announce: OnEvent,
        start_soon: Callable[[Background], None],
    ) -> None:
        self.server = server
        self.connection = connection
        self.leases: dict[object, Asked] = {}
        self._own, self._catalog, self._announce = own, catalog, announce
        self._start_soon = start_soon
        self._usable = bool(connection.greeting["servers"].get(server.name))
        self._failure: TaskError | None = None
        self._was_opened = self._is_gone = False
        self._has_own = anyio.Event()

    @property
    def is_warm(self) -> bool:
        """Whether the pool keeps it, as far as is known."""
        return not self._is_gone

    @property
    def usable(self) -> bool:
        """Whether it can be called."""
        return self._usable if self.is_warm else self._own.usable

    @property
    def failure(self) -> TaskError | None:
        """Why it cannot."""
        return self._failure if self.is_warm else self._own.failure

    @property
    def offers(self) -> WarmServer:
        """Itself: it asks the pool."""
        return self

    def close(self) -> None:
        """Close what is open in this process."""
        self._own.close()

    def lose(self) -> None:
        """The pool does not keep it any more: if it is in use, start it here."""
        if not self._is_gone:
            self._is_gone = True
            if self._was_opened:
                self._start_soon(self._open_own)

    async def _open_own(self) -> None:
        try:
            await self._own.open(lambda _: None)
        finally:
            self._has_own.set()

    async def open(self, announce: OnEvent, priority: Priority = FIRST) -> None:
        """Have it opened before a run."""
        if self.is_warm:
            self._was_opened = True
            try:
                with anyio.fail_after(OPEN_S + self.server.start_timeout_s):
                    opened = await self.connection.ask(
                        "open",
                        lambda note: announce(_event(note)),
                        server=self.server.name,
                        priority=priority,
                    )
            except (LostError, NotExecutedError, TimeoutError):
                self.lose()
            else:
                self._take_state(opened)
                return
        if self._was_opened:  # it is started already
            await self._has_own.wait()
        await self._own.open(announce, priority)

    def take(self, note: Mapping[str, Any]) -> None:
        """Take what the pool says of it."""
        if note.get("gone"):
            self.lose()
        elif self.is_warm:
            self._take_state(note)
            if "event" in note:
                event = _event(note)
                if isinstance(event, ServerListChanged) and event.kind == "prompts":
                    self._start_soon(self._list_prompts)
                self._announce(event)

    async def _list_prompts(self) -> None:
        """List the prompts again, if they were of use."""
        name = self.server.name
        if self._catalog.prompts(name) is not None:
            with suppress(CallError):  # the next one that is got finds out what is wrong
                self._catalog.take_prompts(name, await self.of("prompts") or ())

    def _take_state(self, state: Mapping[str, Any]) -> None:
        failure, listed = state["failure"], state.get("tools")
        self._failure = None if failure is None else TaskError.from_dict(failure)
        self._usable = failure is None
        if listed is not None and failure is None:
            name = self.server.name
            tools, others = (
                [tool_of(name, each["name"], each["definition"]) for each in some]
                for some in (listed, state["others"])
            )
            if change := self._catalog.replace(name, tools, others):
                self._announce(change)

    async def session(self) -> Any:
        """Itself; or a session of our own, if the pool is gone."""
        if self.is_warm and not self._usable:
            try:
                self._take_state(await self.connection.ask("session", server=self.server.name))
            except (LostError, NotExecutedError):
                self.lose()
        if self.is_warm:
            return self
        if self._was_opened:
            await self._has_own.wait()
        return await self._own.session()

    async def of(self, kind: Kind) -> list[Entry] | None:
        """What it lists of a kind, as `Offers.of`."""
        found: list[Entry] | None = await self._ask("offered", kind=kind)
        return found

    async def complete(
        self, kind: str, name: str, argument: str, value: str, given: Mapping[str, str]
    ) -> list[str]:
        """The values that it proposes, as `Offers.complete`."""
        about = (kind, name, argument, value, dict(given))
        found: list[str] = await self._ask("complete", about=about)
        return found

    async def _ask(self, what: str, **given: Any) -> Any:
        try:
            return await self.connection.ask(what, server=self.server.name, **given)
        except LostError:
            raise CallError("server_unavailable", self._ended()) from None

    def _ended(self) -> str:
        return f"server {quoted(self.server.name)}: {self.connection.end}, and it was kept there"

    async def call(self, call: Call, attempt: Attempt | None = None) -> Any:
        """Have the pool make a call; raises as `Session.call` does."""
        attempt = attempt or Attempt()
        lease = self.leases.get(attempt)
        sent = call._replace(conversions=(), locks=(), retry=None).to_dict()
        calling = _Calling(self.connection, attempt)
        try:
            return await calling.run(
                server=self.server.name,
                call=sent,
                lease=None if lease is None else lease.number,
                trace={} if attempt.trace is None else dict(attempt.trace.carrier),
                progress=attempt.on_progress is not None,
                elicits=attempt.elicit is not None,
            )
        except LostError as lost:
            self.lose()
            details: dict[str, Any] = {"server": self.server.name}
            if lost.was_sent:
                details["lost"] = True
            kind = CallError if lost.was_sent else NotExecutedError
            raise kind("server_unavailable", self._ended(), **details) from None
        except (ValueError, TypeError, RecursionError) as error:
            message = f"the arguments of {call.target} are not JSON: {error}"
            raise CallError("invalid_arguments", message) from None


class _Calling:
    """One call, and what comes before its answer."""

    def __init__(self, connection: Connection, attempt: Attempt) -> None:
        self._connection, self._attempt = connection, attempt
        self._question: Mapping[str, Any] = {}
        self._has_question = anyio.Event()

    async def run(self, **given: Any) -> Any:
        """The output."""
        asked = self._connection.begin("call", self._note, **given)
        try:
            if self._attempt.elicit is None:
                await asked.settled.wait()
            else:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._answer, asked, self._attempt.elicit)
                    await asked.settled.wait()
                    group.cancel_scope.cancel()
            output = asked.result()
            assert asked.reply is not None
            self._attempt.wrapped = asked.reply["wrapped"]
            self._attempt.note_answer(asked.reply["bytes"])
            return output
        finally:
            self._connection.drop(asked)

    def _note(self, note: Mapping[str, Any]) -> None:
        if "progress" in note:
            if self._attempt.on_progress is not None:
                self._attempt.on_progress(*note["progress"])
        else:  # there is one at a time
            self._question = note
            self._has_question.set()

    async def _answer(self, asked: Asked, elicit: Elicit) -> None:
        """Ask a person what the server asks."""
        while True:
            await self._has_question.wait()
            self._has_question = anyio.Event()
            message, schema = self._question["message"], self._question["schema"]
            try:
                value, refused = await elicit(message, schema)
            except CallError as error:
                self._connection.note(asked, error=error.error.to_dict())
            else:
                self._connection.note(asked, value=value, refused=refused)


def _event(note: Mapping[str, Any]) -> Event:
    document = dict(note["event"])
    name = document.pop("event")
    if "error" in document:
        document["error"] = TaskError.from_dict(document["error"])
    return _EVENTS[name](**document)
