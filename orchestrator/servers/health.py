"""Background work for one session: lists its tools again, and checks whether a silent server lives.

Nothing here ends or delays a call of a server that answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import anyio
from mcp import MCPError
from mcp.client.subscriptions import Subscription, SubscriptionLost
from pydantic import ValidationError

from orchestrator.documents.text import quoted
from orchestrator.schema.tool import Tool

logger = logging.getLogger("orchestrator")

# How long a server that has sent nothing at all may take to list its tools.
PROBE_S = 10.0
# How long listing the tools again may take, and the pause before they are listed once more: twice
# as long each time while the server goes on to say that they have changed, and as long as leaves
# nine tenths of the time for other work.
RELIST_S = 30.0
RELIST_PAUSE_S = 0.1
LONGEST_RELIST_PAUSE_S = 30.0
RELIST_SHARE = 0.1
# Before a subscription that has ended is opened again; then twice as long each time.
LISTEN_PAUSE_S = 1.0
LONGEST_LISTEN_PAUSE_S = 60.0

ListTools = Callable[[], Coroutine[Any, Any, list[Tool]]]
# Returns when the server has answered anything.
Ask = Callable[[], Coroutine[Any, Any, None]]
# Opens a stream of notices that the tools have changed.
Subscribe = Callable[[], AbstractAsyncContextManager[Subscription]]


class HealthMonitor:
    """Watches one session."""

    def __init__(
        self,
        server: str,
        on_tools: Callable[[list[Tool]], None],  # they were listed again
        on_silence: Callable[[], None],  # the server no longer answers
    ) -> None:
        self.heard = 0  # how often anything has come from the server
        self._server = server
        self._on_tools = on_tools
        self._on_silence = on_silence
        self._stale = anyio.Event()
        self._silent = anyio.Event()

    def hear(self) -> None:
        """Note that something has come from the server."""
        self.heard += 1

    async def watch(
        self,
        ask: Ask,
        list_tools: ListTools,
        subscribe: Subscribe | None,
        until: anyio.Event,
        on_change: Callable[[Any], None] = lambda _: None,
        beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """Watch the session, which is open, until the event is set.

        `on_change` receives the notices of the stream, and `beside` runs meanwhile.
        """
        async with anyio.create_task_group() as group:
            if beside is not None:
                group.start_soon(beside)
            group.start_soon(self._relist, list_tools)
            group.start_soon(self._probe, ask)
            if subscribe is not None:  # else notices come unasked, as before 2026-07-28, or never
                group.start_soon(self._listen, subscribe, on_change)
            try:
                await until.wait()
            finally:
                group.cancel_scope.cancel()

    async def _listen(self, subscribe: Subscribe, on_change: Callable[[Any], None]) -> None:
        pause_s = LISTEN_PAUSE_S
        while True:
            try:
                with suppress(SubscriptionLost):
                    async with subscribe() as changes:
                        async for change in changes:
                            on_change(change)
            except Exception as error:  # refused: its tools will not be listed again
                logger.debug("server %s sends no changes: %r", quoted(self._server), error)
                return
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_LISTEN_PAUSE_S)
            self.relist_soon()  # a change in the meantime was not reported

    def relist_soon(self) -> None:
        """List the tools again: they have changed, or may have."""
        self._stale.set()

    async def _relist(self, list_tools: ListTools) -> None:
        pause_s = RELIST_PAUSE_S
        while True:
            await self._stale.wait()
            self._stale = anyio.Event()  # a notice from now on causes another listing
            began_at = anyio.current_time()
            with anyio.move_on_after(RELIST_S):
                try:
                    self._on_tools(await list_tools())
                except (MCPError, ValidationError) as error:
                    name = quoted(self._server)
                    logger.warning("server %s: cannot list its tools again: %s", name, error)
            took_s = anyio.current_time() - began_at
            share_s = took_s / RELIST_SHARE - took_s
            await anyio.sleep(min(max(pause_s, share_s), LONGEST_RELIST_PAUSE_S))
            goes_on = self._stale.is_set()
            pause_s = min(2 * pause_s, LONGEST_RELIST_PAUSE_S) if goes_on else RELIST_PAUSE_S

    def probe_soon(self) -> None:
        """Check whether the server still answers: a call ended and nothing came meanwhile."""
        self._silent.set()

    async def _probe(self, ask: Ask) -> None:
        while True:
            await self._silent.wait()
            heard = self.heard
            with anyio.move_on_after(PROBE_S) as scope:
                await ask()
            if scope.cancelled_caught and self.heard == heard:
                self._on_silence()
            self._silent = anyio.Event()  # this probe was also for calls that ended meanwhile
