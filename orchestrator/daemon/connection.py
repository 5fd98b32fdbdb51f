"""The connection to a pool, of a process that uses it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import count
from typing import Any, Self

import anyio

from orchestrator.daemon.configuration import Hashes
from orchestrator.daemon.place import Place
from orchestrator.daemon.wire import GONE, PROTOCOL, Channel, Message, is_own
from orchestrator.errors import CallError, NotExecutedError, OrchestratorError, TaskError

VERSION = version("mcp-orchestrator")
HELLO_S = 5.0  # for a pool to say who it is
# So often it is looked for an answer, and so often in vain before the pool counts as lost. Rounds
# are counted, and not seconds: this process may itself have been stopped for a while.
LOOK_S = 2.0
ROUNDS = 10

Note = Callable[[Message], None]


class NoPoolError(OrchestratorError):
    """There is no pool that can be used."""


class OtherVersionError(NoPoolError):
    """The pool is one of another version of the package."""

    def __init__(self, other: object) -> None:
        super().__init__(f"the warm pool is of version {other}, and this is {VERSION}")


class LostError(Exception):
    """The connection has ended; `was_sent`: the pool may have received the request."""

    def __init__(self, *, was_sent: bool) -> None:
        super().__init__("the connection to the warm pool has ended")
        self.was_sent = was_sent


@dataclass(slots=True, eq=False)
class Asked:
    """A request, and what came of it so far."""

    number: int
    on_note: Note | None
    settled: anyio.Event = field(default_factory=anyio.Event)
    reply: Message | None = None
    was_sent: bool = False

    def note_sent(self) -> None:
        """Note that all of it was written."""
        self.was_sent = True

    def result(self) -> Any:
        """What came of it; raises the CallError that came instead, or a LostError."""
        if self.reply is None:
            raise LostError(was_sent=self.was_sent)
        if (error := self.reply.get("error")) is not None:
            kind = NotExecutedError if self.reply.get("not_executed") else CallError
            raise kind.of(TaskError.from_dict(error))
        return self.reply.get("result")


class Connection:
    """Asks a pool; `run` has to run meanwhile.

    Attributes:
        greeting: What the pool said first.
        is_lost: Whether it has ended.
        end: What became of the pool then.
        on_note: Receives what the pool says unasked.
        on_lost: Receives `end` when it has ended.
    """

    def __init__(self, channel: Channel, greeting: Message) -> None:
        self.greeting, self.is_lost = greeting, False
        self.on_note: Note = lambda _: None
        self.end = "the warm pool has ended"
        self.on_lost: Callable[[str], None] = lambda _: None
        self._has_heard = False
        self._channel, self._numbers = channel, count(1)
        self._asked: dict[int, Asked] = {}

    @classmethod
    async def to(cls, place: Place, hashes: Mapping[str, Hashes] | None = None) -> Self:
        """Connect to the pool of a place, with the hashes of each server that is to be used.

        Raises:
            NoPoolError: There is none, or it is of another version or another user.
        """
        try:
            with anyio.fail_after(HELLO_S):
                stream = await anyio.connect_unix(place.socket)
        except TimeoutError:
            raise NoPoolError("the warm pool does not answer") from None
        except OSError:
            raise NoPoolError("the warm pool is not there any more") from None
        if not is_own(stream):
            await anyio.aclose_forcefully(stream)
            raise NoPoolError("the warm pool is a process of another user")
        return await cls.over(Channel(stream), hashes)

    @classmethod
    async def over(cls, channel: Channel, hashes: Mapping[str, Hashes] | None = None) -> Self:
        """The connection over a channel; raises as `to` does."""
        hello = {"hello": VERSION, "protocol": PROTOCOL, "servers": dict(hashes or {})}
        hello["pid"] = os.getpid()
        try:
            with anyio.fail_after(HELLO_S):
                async with anyio.create_task_group() as group:
                    group.start_soon(channel.write)
                    channel.send(hello)
                    greeting = await channel.receive()
                    group.cancel_scope.cancel()
        except (*GONE, TimeoutError, ValueError, AssertionError, ExceptionGroup):
            await channel.close()
            raise NoPoolError("the warm pool does not answer") from None
        if (other := greeting.get("hello")) != VERSION or greeting.get("protocol") != PROTOCOL:
            await channel.close()
            raise OtherVersionError(other)
        return cls(channel, greeting)

    async def run(self) -> None:
        """Read and write until the connection ends."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._channel.write)
                group.start_soon(self._watch, group.cancel_scope)
                with suppress(*GONE):
                    while True:
                        self._take(await self._channel.receive())
                        self._has_heard = True
                group.cancel_scope.cancel()
        finally:
            self.is_lost = True
            for asked in tuple(self._asked.values()):
                asked.settled.set()
            self.on_lost(self.end)
            with anyio.CancelScope(shield=True):
                await self._channel.close()

    async def _watch(self, running: anyio.CancelScope) -> None:
        """End it when the pool says nothing any more, although something is asked."""
        silent = 0
        while silent < ROUNDS:
            await anyio.sleep(LOOK_S)
            silent = 0 if self._has_heard or not self._asked else silent + 1
            self._has_heard = False
            if silent == 1:
                self._channel.send({"id": next(self._numbers), "op": "ping"})
        self.end = f"the warm pool has not answered for {LOOK_S * ROUNDS:g} s"
        running.cancel()

    def _take(self, message: Message) -> None:
        number = message.get("id")
        if number is None:
            self.on_note(message)
            return
        if (asked := self._asked.get(number)) is None:
            return  # it was given up
        if "note" not in message:
            asked.reply = message
            asked.settled.set()
        elif asked.on_note is not None:
            asked.on_note(message["note"])

    def begin(self, op: str, on_note: Note | None = None, **given: Any) -> Asked:
        """Send a request; its answer comes into what is returned, until `drop`."""
        asked = Asked(next(self._numbers), on_note)
        if self.is_lost:
            asked.settled.set()
        else:
            self._channel.send({"id": asked.number, "op": op, **given}, asked.note_sent)
            self._asked[asked.number] = asked
        return asked

    def note(self, asked: Asked, **note: Any) -> None:
        """Say something more about a request."""
        self._channel.send({"id": asked.number, "note": note})

    def drop(self, asked: Asked) -> None:
        """Give up a request, or release what it holds."""
        if self._asked.pop(asked.number, None) is not None and asked.reply is None:
            self._channel.send({"id": asked.number, "note": {"cancel": True}})

    async def ask(self, op: str, on_note: Note | None = None, **given: Any) -> Any:
        """What the pool answers.

        Raises:
            CallError: What it answers instead.
            LostError: It has ended.
        """
        asked = self.begin(op, on_note, **given)
        try:
            await asked.settled.wait()
            return asked.result()
        finally:
            self.drop(asked)

    async def hold(self, op: str, on_note: Note | None = None, **given: Any) -> Asked:
        """Wait until the pool grants what is asked for, which is held until `drop`.

        Raises:
            CallError: It is refused.
            LostError: The pool has ended.
        """
        granted = False

        def take(note: Message) -> None:
            nonlocal granted
            if "granted" in note:
                granted = True
                asked.settled.set()
            elif on_note is not None:
                on_note(note)

        asked = self.begin(op, take, **given)
        try:
            await asked.settled.wait()
            if not granted:
                asked.result()
        except BaseException:
            self.drop(asked)
            raise
        return asked

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Run it in the block, and close it."""
        error: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self.run)
            try:
                yield
            except Exception as raised:  # not for the group, which would wrap it
                error = raised
            group.cancel_scope.cancel()
        if error is not None:
            raise error

    async def close(self) -> None:
        """Close a connection that `run` does not run for."""
        await self._channel.close()
