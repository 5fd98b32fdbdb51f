"""Starts sessions: a limited number of programs at a time, the first ones before the SDK is loaded.

Importing the SDK takes about as long as a program takes to start, so both happen at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from orchestrator.calls.limits import Priority, Slots
from orchestrator.servers.config import Server
from orchestrator.transport.parameters import HttpParameters, StdioParameters
from orchestrator.transport.process import start

if TYPE_CHECKING:
    from orchestrator.servers.session import Listener, Session
    from orchestrator.transport.http_client import HttpConnections

# A program that starts waits much of the time, so that one a core leaves the cores idle (five took
# 1.7 times as long as all at once); too many are all so slow that they run into their limits.
STARTS_PER_CORE = 4
# A program that has not answered by then is waiting for something and no longer costs a core.
STARTING_S = 3.0


class SessionStarter:
    """Starts sessions.

    Args:
        own: Gives a new session its owner task. It must not wait: until then, nothing ends the
            program of the session.
    """

    def __init__(self, own: Callable[[Session], None]) -> None:
        self._own = own
        self._slots = Slots(STARTS_PER_CORE * (os.cpu_count() or 1))
        # The connections that all sessions of a server share.
        self._http: dict[str, HttpConnections] = {}

    async def start(self, server: Server, listener: Listener, priority: Priority) -> Session:
        """A session that is usable or has failed, within the start timeout of its server."""
        limit_s = server.start_timeout_s
        gated_s = min(STARTING_S, limit_s)
        gate = nullcontext() if server.command is None else self._slots.slot(priority)
        session: Session | None = None
        try:
            async with gate:
                session = await self._new(server, listener)
                self._own(session)
                await session.started_within(gated_s)
            if not await session.started_within(limit_s - gated_s):
                session.give_up()
        except BaseException:
            if session is not None:
                session.close()
            raise
        return session

    async def _new(self, server: Server, listener: Listener) -> Session:
        parameters, started, http = server.parameters, None, None
        if isinstance(parameters, StdioParameters) and not _sdk_is_loaded():
            with suppress(OSError):  # the session finds out again and reports it
                started = await start(parameters)  # it boots while the SDK is loaded
        if isinstance(parameters, HttpParameters):
            from orchestrator.transport.http_client import HttpConnections

            http = self._http.setdefault(server.name, HttpConnections(parameters))
        from orchestrator.servers.session import Session  # here, since it loads the SDK

        return Session(server, listener, started, http)


def _sdk_is_loaded() -> bool:
    return "orchestrator.servers.session" in sys.modules
