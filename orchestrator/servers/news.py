"""What a server says unasked: log messages, and changes of lists and of resources it was asked of.

However often a server says so, a resource is announced a few times a second at most, with a count.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import anyio
from mcp import Client, MCPError, types
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    SubscriptionLost,
    ToolsListChanged,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from orchestrator.documents.text import quoted
from orchestrator.engine.events import ServerEvent, ServerListChanged, ServerResourceUpdated
from orchestrator.errors import CallError
from orchestrator.servers import sdk_results
from orchestrator.servers.config import Server
from orchestrator.servers.offers import Entry, Offers
from orchestrator.transport.parameters import Notify

logger = logging.getLogger("orchestrator")

# Between two announcements; what comes meanwhile is announced together.
TELL_PAUSE_S = 0.5
# Resources that come one after the other are subscribed to together.
COLLECT_S = 0.01
SUBSCRIBE_S = 10.0
# A read waits so long at most for its subscription: a change in between would be told to nobody.
CONFIRM_S = 2.0
# Before a subscription that has ended is opened again; then twice as long each time.
REOPEN_PAUSE_S = 1.0
LONGEST_REOPEN_PAUSE_S = 60.0
MAX_FOLLOWED = 1000  # resources of a server
MAX_PENDING = 1000  # resources with news that are not told yet: a server may name others
MAX_URI = 2000  # characters

_PART = re.compile(r"[/?#]")

# Resources that are followed, each with the session that has subscribed to it.
Followed = dict[str, object]


class OnNews(Protocol):
    """Receives the news of a session."""

    def on_news(self, event: ServerEvent) -> None: ...
    def on_prompts(self, prompts: Sequence[Entry]) -> None: ...

    @property
    def knows_prompts(self) -> bool: ...  # only then they are listed again

    def on_log(self, level: str, logger: str, data: Any) -> None: ...


class News:
    """The news of one session.

    Args:
        server: The server.
        followed: The resources that its sessions follow; a new one takes over from one that ended.
        receiver: Receives the changes.
        on_tools: Is called when the tools have changed.
    """

    def __init__(
        self, server: Server, followed: Followed, receiver: OnNews, on_tools: Notify
    ) -> None:
        self._server, self._followed = server, followed
        self._receiver, self._on_tools = receiver, on_tools
        self._updates: dict[str, int] = {}
        self._lists: dict[str, None] = {}
        self._has_news, self._has_fresh = anyio.Event(), anyio.Event()
        self._asked: set[str] = set()  # what this session has subscribed to
        self._unconfirmed: dict[str, anyio.Event] = {}
        self._streams = False  # whether updates come by those that were asked for
        self._is_full = self._was_refused = self._cannot_list = False

    async def on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        """Take a log message."""
        redact = self._server.redact
        try:
            data = redact(sdk_results.json_value(params.data))
        except RecursionError:
            data = "(nested too deep)"
        self._receiver.on_log(params.level, redact(params.logger or ""), data)

    async def on_message(self, message: IncomingMessage) -> None:
        """Take a notice that came unasked, as before protocol 2026-07-28."""
        match message:
            case types.ToolListChangedNotification():
                self._on_tools()
            case types.PromptListChangedNotification():
                self._note_list("prompts")
            case types.ResourceListChangedNotification():
                self._note_list("resources")
            case types.ResourceUpdatedNotification(params=params) if not self._streams:
                self._note_update(params.uri)

    def on_change(self, change: Any) -> None:
        """Take a notice of a stream that was asked for."""
        match change:
            case ToolsListChanged():
                self._on_tools()
            case PromptsListChanged():
                self._note_list("prompts")
            case ResourcesListChanged():
                self._note_list("resources")
            case ResourceUpdated(uri=uri):
                self._note_update(uri)

    def _note_list(self, kind: str) -> None:
        self._lists[kind] = None
        self._has_news.set()

    def _note_update(self, uri: str) -> None:
        is_new = uri not in self._updates
        if is_new and (len(self._updates) >= MAX_PENDING or not self._is_asked(uri)):
            return
        self._updates[uri] = self._updates.get(uri, 0) + 1
        self._has_news.set()

    def _is_asked(self, uri: str) -> bool:
        """Whether it was subscribed to, or is a part of one that was, as the protocol allows."""
        if len(uri) > MAX_URI:
            return False
        ends = (place.start() for place in _PART.finditer(uri))
        return uri in self._asked or any(uri[:end] in self._asked for end in ends)

    def follow(self, uri: str) -> None:
        """Subscribe to a resource that is read, if the configuration says so."""
        if uri in self._followed or len(uri) > MAX_URI:
            return
        if not any(fnmatch.fnmatchcase(uri, pattern) for pattern in self._server.subscribe):
            return
        if len(self._followed) < MAX_FOLLOWED:
            self._followed[uri] = self
            self._unconfirmed[uri] = anyio.Event()
            self._has_fresh.set()
        elif not self._is_full:
            self._is_full = True
            what = "server %s: changes of more than %d resources are not followed"
            logger.warning(what, quoted(self._server.name), MAX_FOLLOWED)

    async def confirmed(self, uri: str) -> None:
        """Wait until the server has answered to the subscription of a resource, if there is one."""
        if (confirmed := self._unconfirmed.get(uri)) is not None:
            with anyio.move_on_after(CONFIRM_S):
                await confirmed.wait()

    def _confirm(self, uris: Iterable[str]) -> None:
        for uri in uris:
            if (confirmed := self._unconfirmed.pop(uri, None)) is not None:
                confirmed.set()

    async def run(self, client: Client, offers: Offers) -> None:
        """Subscribe to resources and tell the news, until it is cancelled."""
        self._streams = client.protocol_version in MODERN_PROTOCOL_VERSIONS
        for uri, owner in self._followed.items():
            if owner is None:
                self._followed[uri] = self
                self._has_fresh.set()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._tell, offers)
                while True:
                    await self._has_fresh.wait()
                    await anyio.sleep(COLLECT_S)
                    self._has_fresh = anyio.Event()
                    own = (uri for uri, owner in self._followed.items() if owner is self)
                    if fresh := [uri for uri in own if uri not in self._asked]:
                        self._asked.update(fresh)
                        group.start_soon(self._subscribe, client, fresh)
        finally:
            self._confirm(list(self._unconfirmed))
            for uri, owner in self._followed.items():
                if owner is self:  # the next session takes it over
                    self._followed[uri] = None

    async def _subscribe(self, client: Client, uris: list[str]) -> None:
        if self._streams:
            with self._refusals():
                await self._listen(client, uris)
            self._confirm(uris)
            return
        for uri in uris:
            params = types.SubscribeRequestParams(uri=uri)
            with self._refusals(), anyio.fail_after(SUBSCRIBE_S):
                await client.session.send_request(
                    types.SubscribeRequest(params=params), types.EmptyResult
                )
            self._confirm([uri])

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """A subscription that is refused: the tasks have read what they were to read."""
        try:
            yield
        except (MCPError, ValidationError, TimeoutError) as error:
            tell = logger.debug if self._was_refused else logger.warning  # one of many
            self._was_refused = True
            name, why = quoted(self._server.name), self._server.redact(str(error))
            tell("server %s: cannot subscribe to a resource: %s", name, why or "no answer")

    async def _listen(self, client: Client, uris: list[str]) -> None:
        pause_s = REOPEN_PAUSE_S
        while True:
            try:
                async with client.listen(resource_subscriptions=uris) as changes:
                    self._confirm(uris)
                    async for change in changes:
                        self.on_change(change)
            except SubscriptionLost as lost:
                logger.debug("server %s: %s", quoted(self._server.name), lost)
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_REOPEN_PAUSE_S)
            for uri in uris:  # a change in the meantime was not reported
                self._note_update(uri)

    async def _tell(self, offers: Offers) -> None:
        name = self._server.name
        while True:
            await self._has_news.wait()
            self._has_news = anyio.Event()
            updates, self._updates = self._updates, {}
            lists, self._lists = self._lists, {}
            if "prompts" in lists and self._receiver.knows_prompts:
                await self._list_prompts(offers)
            for kind in lists:
                self._receiver.on_news(ServerListChanged(0.0, name, kind))
            for uri, times in updates.items():
                shown = self._server.redact(uri)
                self._receiver.on_news(ServerResourceUpdated(0.0, name, shown, times))
            await anyio.sleep(TELL_PAUSE_S)

    async def _list_prompts(self, offers: Offers) -> None:
        try:
            self._receiver.on_prompts(await offers.of("prompts") or ())
            self._cannot_list = False
        except CallError as error:
            tell = logger.debug if self._cannot_list else logger.warning  # once
            self._cannot_list = True
            tell("cannot list the prompts again: %s", error)
