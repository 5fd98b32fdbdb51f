"""What is done for a session between calls: its tools are listed again, its silence is looked into.

The rule of this file: one of each at a time, in the background, and nothing here can hurt a call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.client.session import ClientSession
from mcp.client.subscriptions import Subscription, SubscriptionLost
from mcp.types import ListToolsRequest, ListToolsResult
from pydantic import ValidationError

from orchestrator.schema.tool import Tool
from orchestrator.servers.sdk_client import list_tools

logger = logging.getLogger("orchestrator")

# How long a server that has said nothing at all may take to list its tools, and live.
PROBE_S = 10.0
# How long listing the tools again may take, and the pause before they are listed once more.
RELIST_S = 30.0
RELIST_PAUSE_S = 0.1
# Before a stream of notices that has ended is opened again; then twice as long each time.
LISTEN_PAUSE_S = 1.0
LONGEST_LISTEN_PAUSE_S = 60.0


class HealthMonitor:
    """Looks after one session.

    Args:
        session: The session.
        server: The name of its server.
        heard: How often anything has come from the server.
        on_tools: Is told the tools when they were listed again.
        on_silence: Is told that the server does not answer any more.
        subscribe: Opens a stream of notices that the tools have changed; None if the server sends
            them by itself, as before 2026-07-28, or never.
    """

    def __init__(
        self,
        session: ClientSession,
        server: str,
        heard: Callable[[], int],
        on_tools: Callable[[list[Tool]], None],
        on_silence: Callable[[], None],
        subscribe: Callable[[], AbstractAsyncContextManager[Subscription]] | None = None,
    ) -> None:
        self._session = session
        self._server = server
        self._heard = heard
        self._on_tools = on_tools
        self._on_silence = on_silence
        self._subscribe = subscribe
        self._group: TaskGroup | None = None
        self._stale = False
        self._listing = False
        self._probing = False

    async def attend(self, until: anyio.Event) -> None:
        """Be there for the session until it is over."""
        async with anyio.create_task_group() as group:
            self._group = group
            if self._subscribe is not None:
                group.start_soon(self._listen, self._subscribe)
            if self._stale:  # it was told so while the session was opened
                self.relist_soon()
            try:
                await until.wait()
            finally:
                self._group = None
                group.cancel_scope.cancel()

    async def _listen(
        self, subscribe: Callable[[], AbstractAsyncContextManager[Subscription]]
    ) -> None:
        """Hear of changes for as long as the session lives; a stream that ends is opened again."""
        pause_s = LISTEN_PAUSE_S
        while True:
            try:
                async with subscribe() as changes:
                    async for _ in changes:
                        self.relist_soon()
            except SubscriptionLost:
                pass
            except Exception as error:  # refused: its tools will not be listed again
                logger.debug("server %r tells of no changes: %r", self._server, error)
                return
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_LISTEN_PAUSE_S)
            self.relist_soon()  # what changed meanwhile, nobody told

    def relist_soon(self) -> None:
        """List the tools again: the server says that they have changed."""
        self._stale = True
        if self._group is not None and not self._listing:
            self._listing = True
            self._group.start_soon(self._relist)

    async def _relist(self) -> None:
        try:
            while self._stale:
                self._stale = False
                await self._relist_once()
                await anyio.sleep(RELIST_PAUSE_S if self._stale else 0)
        finally:
            self._listing = False

    async def _relist_once(self) -> None:
        with anyio.move_on_after(RELIST_S):
            try:
                self._on_tools(await list_tools(self._session, self._server))
            except (MCPError, ValidationError) as error:
                logger.warning("server %r: its tools stay as they were: %s", self._server, error)

    def probe_soon(self) -> None:
        """Find out whether the server still answers: a call has ended without a word from it."""
        if self._group is not None and not self._probing:
            self._probing = True
            self._group.start_soon(self._probe)

    async def _probe(self) -> None:
        heard = self._heard()
        with anyio.move_on_after(PROBE_S) as scope:
            with suppress(MCPError, ValidationError):  # an answer, too
                await self._session.send_request(ListToolsRequest(), ListToolsResult)
        self._probing = False
        if scope.cancelled_caught and self._heard() == heard:
            self._on_silence()
