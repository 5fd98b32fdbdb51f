"""One client of a pool: what it asks for, and what is done for it.

What it holds is released, and what it called is cancelled, when it leaves.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.limits import Slots
from orchestrator.calls.middleware import learning
from orchestrator.calls.policy import ServerPolicy
from orchestrator.calls.rates import Rate, note_starts
from orchestrator.calls.waits import Wait
from orchestrator.daemon.connection import VERSION
from orchestrator.daemon.wire import GONE, LARGE, PROTOCOL, Channel, Message, encoded
from orchestrator.documents.threads import in_thread
from orchestrator.engine.events import Event, ServerToolsChanged
from orchestrator.errors import CallError, NotExecutedError, TaskError
from orchestrator.schema.tool import Tool, definition_of
from orchestrator.telemetry.carrying import inside
from orchestrator.workflow.hold import Hold

if TYPE_CHECKING:
    from orchestrator.daemon.host import Host, Hosted

logger = logging.getLogger("orchestrator")


class _Work:
    """A request that is carried out."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.replied = anyio.Event()  # a person has answered
        self.reply: Mapping[str, Any] = {}
        self.held: list[Slots | Rate] = []
        self.policy: ServerPolicy | None = None


class Guest:
    """Carries out what one client asks for.

    Attributes:
        uses_servers: Whether it has come for servers, not only to look.
    """

    def __init__(self, host: Host, channel: Channel) -> None:
        self._host, self._channel = host, channel
        self.uses_servers = False
        self._process = 0
        self._servers: dict[str, Hosted] = {}
        self._work: dict[int, _Work] = {}

    async def serve(self) -> None:
        """Serve it until it leaves."""
        try:
            with ExitStack() as stack:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._channel.write)
                    with suppress(*GONE):
                        self._greet(await self._channel.receive(), stack)
                        while True:
                            self._take(await self._channel.receive(), group)
                    group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._channel.close()

    def _greet(self, hello: Message, stack: ExitStack) -> None:
        differs: dict[str, list[str]] = {}
        self._process = hello.get("pid", 0)
        if hello.get("protocol") == PROTOCOL and hello.get("hello") == VERSION:
            differs = self._host.compare(hello["servers"])
            same = (name for name, fields in differs.items() if not fields)
            self._servers = {name: self._host.servers[name] for name in same}
        self.uses_servers = bool(self._servers)
        for name, hosted in self._servers.items():
            stack.enter_context(hosted.pool.subscribe(partial(self._tell, hosted), [name]))
        usable = {n: each.usable for n, each in self._servers.items() if not each.is_gone}
        greeting = {"hello": VERSION, "protocol": PROTOCOL, "pid": os.getpid()}
        self._channel.send({**greeting, "servers": usable, "differs": differs})
        if self.uses_servers:
            self._host.note_use()

    def _tell(self, hosted: Hosted, event: Event) -> None:
        note: Message = {"server": hosted.name, "failure": self._failure(hosted)}
        if isinstance(event, ServerToolsChanged):  # the client compares them itself
            self._channel.send(note | _listed(hosted))
        else:
            self._channel.send(note | {"event": event.to_dict()})

    def _failure(self, hosted: Hosted) -> dict[str, Any] | None:
        failure = hosted.pool.failure(hosted.name)
        return None if failure is None else failure.to_dict()

    def lose(self, hosted: Hosted) -> None:
        """Say that a server is kept no longer."""
        if self._servers.get(hosted.name) is hosted:
            del self._servers[hosted.name]
            self._channel.send({"server": hosted.name, "gone": True})

    def _take(self, message: Message, group: anyio.abc.TaskGroup) -> None:
        number = message["id"]
        if "op" in message:
            self._work[number] = work = _Work()
            group.start_soon(self._carry_out, message, work)
        elif (known := self._work.get(number)) is not None:
            if message["note"].get("cancel"):
                known.scope.cancel()
            else:
                known.reply = message["note"]
                known.replied.set()

    async def _carry_out(self, request: Message, work: _Work) -> None:
        number, reply = request["id"], None
        try:
            with work.scope:
                try:
                    answer = getattr(self, f"_do_{request['op']}")
                    reply = {"id": number, **await answer(request, work)}
                except CallError as error:
                    unsent = isinstance(error, NotExecutedError)
                    reply = {"id": number, "error": error.error.to_dict(), "not_executed": unsent}
                except Exception as bug:
                    logger.exception("request %s of a client failed", request["op"])
                    failed = CallError("internal", f"the warm pool failed: {bug!r}")
                    reply = {"id": number, "error": failed.error.to_dict()}
                await self._reply(reply)
        finally:
            del self._work[number]

    async def _reply(self, reply: Message) -> None:
        try:
            large = reply.get("bytes", 0) > LARGE
            self._channel.send(await in_thread(encoded, reply) if large else encoded(reply))
        except (ValueError, TypeError, RecursionError) as error:
            failed = CallError("protocol_error", f"the output cannot be passed on: {error}")
            self._channel.send({"id": reply["id"], "error": failed.error.to_dict()})

    def _of(self, request: Message) -> Hosted:
        hosted = self._servers.get(request["server"])
        if hosted is None:
            message = "the warm pool does not keep it any more"
            raise NotExecutedError("server_unavailable", message, server=request["server"])
        return hosted

    async def _do_open(self, request: Message, _: _Work) -> Message:
        hosted, number = self._of(request), request["id"]
        pool = await hosted.opened()

        def tell(event: Event) -> None:
            self._note(number, event=event.to_dict())

        await pool.open([hosted.name], tell, tuple(request["priority"]))
        return {"result": {"failure": self._failure(hosted), **_listed(hosted)}}

    async def _do_session(self, request: Message, _: _Work) -> Message:
        hosted = self._of(request)
        await (await hosted.opened()).until_usable(hosted.name)
        return {"result": {"failure": None, **_listed(hosted)}}

    async def _do_offered(self, request: Message, _: _Work) -> Message:
        hosted = self._of(request)
        return {"result": await hosted.pool.offered(hosted.name, request["kind"])}

    async def _do_complete(self, request: Message, _: _Work) -> Message:
        hosted = self._of(request)
        offers = await hosted.pool.offers(hosted.name)
        return {"result": await offers.complete(*request["about"])}

    async def _do_call(self, request: Message, work: _Work) -> Message:
        hosted, call, number = self._of(request), Call.from_dict(request["call"]), request["id"]
        lease = self._work.get(request["lease"]) if request["lease"] is not None else None
        if lease is not None:  # a rate counts starts, and this is one
            note_starts(lease.held)
        attempt = Attempt(partial(self._progress, number) if request["progress"] else None)
        if request["elicits"]:
            attempt.elicit = partial(self._ask_back, number, work)
        slots = None if lease is None else hosted.policy.slots
        hosted.calls += 1
        try:
            with inside(request.get("trace")):
                output = await learning(call, attempt, hosted.pool.call, slots)
        finally:
            hosted.calls -= 1
        return {"result": output, "bytes": attempt.answer_bytes, "wrapped": attempt.wrapped}

    def _progress(self, number: int, done: float, total: float | None, message: str) -> None:
        self._note(number, progress=[done, total, message])

    async def _ask_back(
        self, number: int, work: _Work, message: str, schema: Mapping[str, Any] | None
    ) -> tuple[Any, bool]:
        work.replied = anyio.Event()
        self._note(number, message=message, schema=schema)
        await work.replied.wait()
        if (error := work.reply.get("error")) is not None:
            raise CallError.of(TaskError.from_dict(error))
        return work.reply["value"], work.reply["refused"]

    async def _do_lease(self, request: Message, work: _Work) -> Message:
        """Hold the limits of a server for a call, until it is over."""
        hosted, number = self._of(request), request["id"]
        call = Call("", hosted.name, request["tool"], {}, writes=request["writes"])
        try:
            for limit in hosted.policy.limits_of(call):
                if limit.is_busy():
                    self._note(number, waiting=limit.cause)
                await limit.acquire(tuple(request["priority"]), who=work, group=self)
                work.held.append(limit)
            self._note(number, granted=True)
            await anyio.sleep_forever()
        finally:
            for limit in work.held:
                limit.release()
        raise AssertionError

    async def _do_lock(self, request: Message, _: _Work) -> Message:
        """Hold a name for a task, until it is done."""
        locks, hold = self._host.locks, Hold(*request["hold"])
        inside = tuple((self, each) for each in request["inside"])  # the first is the call itself
        of_call = request["task"], request["late"], inside, request["may_wait"], request["run"]
        note = partial(self._note, request["id"])
        wait = Wait(hold, request["capacity"], inside[0], *of_call, self._process)
        await locks.take(wait, on_wait=partial(note, waiting=hold.name))
        try:
            note(granted=True)
            await anyio.sleep_forever()
        finally:
            locks.release(hold.name, who=inside[0])
        raise AssertionError

    def _note(self, number: int, **note: Any) -> None:
        """Say something about a request before its answer."""
        self._channel.send({"id": number, "note": note})

    async def _do_ping(self, _: Message, __: _Work) -> Message:
        return {"result": None}

    async def _do_status(self, _: Message, __: _Work) -> Message:
        return {"result": await self._host.status()}

    async def _do_locks(self, _: Message, __: _Work) -> Message:
        return {"result": self._host.locks.state()}

    async def _do_configure(self, request: Message, _: _Work) -> Message:
        if request["idle_s"] is not None:
            self._host.set_idle(request["idle_s"])
        return {"result": await self._host.configure(request["servers"])}

    async def _do_down(self, _: Message, __: _Work) -> Message:
        self._host.down()
        return {"result": None}


def _listed(hosted: Hosted) -> dict[str, Any]:
    """The tools of the latest list of a server, and those that its other sessions list else."""
    catalog = hosted.pool.catalog
    listed, others = catalog.listed(hosted.name).values(), catalog.others(hosted.name)
    return {"tools": list(map(_described, listed)), "others": list(map(_described, others))}


def _described(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "definition": definition_of(tool)}
