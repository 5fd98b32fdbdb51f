"""To the SDK: its client for a server, the list of tools, requests and progress."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from anyio.lowlevel import checkpoint
from mcp import Client, MCPError, types
from mcp.client.session import ClientSession, ElicitationFnT, LoggingFnT, MessageHandlerFnT
from mcp.client.subscriptions import Subscription
from mcp.shared.dispatcher import ProgressFnT
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from orchestrator.calls.call import OnProgress
from orchestrator.documents.text import quoted
from orchestrator.schema.tool import Tool
from orchestrator.servers.sdk_tasks import TasksExtension
from orchestrator.servers.sdk_tools import MAX_TOOLS, SLICE, has_header, page_for_sdk, tools_in
from orchestrator.transport.delivery import Deliveries

logger = logging.getLogger("orchestrator")

# Servers of 2026-07-28 log what they are asked for; earlier ones decide by themselves.
LOG_LEVEL: types.LoggingLevel = "info"
# A list of tools that goes on after that many pages is cut off there.
MAX_TOOL_PAGES = 1000


def client_of(
    target: Any,
    elicit: ElicitationFnT | None,
    mode: str,
    on_log: LoggingFnT,
    on_message: MessageHandlerFnT,
) -> Client:
    """A client without a cache, which passes on what the server sends unasked."""
    return Client(
        target,
        mode=mode,
        client_info=client_info(),
        logging_callback=on_log,
        log_level=LOG_LEVEL,
        message_handler=on_message,
        elicitation_callback=elicit,
        extensions=[TasksExtension()],
        cache=None,  # a cached list of tools would hide that they have changed
    )


def changes_of(client: Client) -> Callable[[], AbstractAsyncContextManager[Subscription]] | None:
    """Opens a stream of notices that lists have changed; None if none has to be asked for."""
    if client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return None
    has = client.server_capabilities
    tools, prompts, resources = (
        part is not None and bool(part.list_changed)
        for part in (has.tools, has.prompts, has.resources)
    )
    if not (tools or prompts or resources):
        return None
    return partial(
        client.listen,
        tools_list_changed=tools,
        prompts_list_changed=prompts,
        resources_list_changed=resources,
    )


@cache
def client_info() -> types.Implementation:
    """The name and version under which the client introduces itself."""
    number = "0"
    with suppress(PackageNotFoundError):  # it runs from a source tree
        number = version("mcp-orchestrator")
    return types.Implementation(name="orchestrator", version=number)


async def list_tools(session: ClientSession, server: str, deliveries: Deliveries) -> list[Tool]:
    """All tools of a server that can be used; none if it does not know the method.

    Raises:
        MCPError: It answered with an error.
        ValidationError: Its answer is not a list of tools.
    """
    tools: list[Tool] = []
    cursors: set[str] = set()
    cursor: str | None = None
    for _ in range(MAX_TOOL_PAGES):
        with deliveries.expect(page_for_sdk) as delivery:
            params = types.PaginatedRequestParams(cursor=cursor, _meta=delivery.meta)
            try:
                page = await session.list_tools(params=params)
            except MCPError as error:
                if error.code == types.METHOD_NOT_FOUND:  # a server of prompts or resources only
                    break
                raise
        sent = delivery.result or page.model_dump(mode="json", by_alias=True, exclude_none=True)
        tools += await _usable(sent, server, {tool.name for tool in page.tools})
        cursor = page.next_cursor
        if len(tools) > MAX_TOOLS or len(sent.get("tools") or ()) > MAX_TOOLS:
            what = "server %s: lists more than %d tools; only the first ones are used"
            logger.warning(what, quoted(server), MAX_TOOLS)
            break
        if not cursor:
            break
        if cursor in cursors:
            what = "server %s: its list of tools repeats the cursor %s; the list ends there"
            logger.warning(what, quoted(server), quoted(cursor))
            break
        cursors.add(cursor)
    return tools[:MAX_TOOLS]


async def _usable(page: Mapping[str, Any], server: str, kept: Set[str]) -> list[Tool]:
    """The tools of a page; of those with headers, the SDK has kept only some."""
    tools: list[Tool] = []
    for number, tool in enumerate(tools_in(page, server), 1):
        if tool.name in kept or not has_header(tool.input_schema):
            tools.append(tool)
        if number % SLICE == 0:  # all else goes on
            await checkpoint()
    return tools


async def ask(session: ClientSession, deliveries: Deliveries) -> None:
    """Return when a server has answered anything; it lists its tools, and nobody reads them."""
    with (
        deliveries.expect(lambda _: page_for_sdk({})) as delivery,
        suppress(MCPError, ValidationError),
    ):
        params = types.PaginatedRequestParams(_meta=delivery.meta)
        await session.send_request(types.ListToolsRequest(params=params), types.ListToolsResult)


@contextmanager
def relayed_progress(
    on_progress: OnProgress | None, redact: Callable[[Any], Any]
) -> Iterator[ProgressFnT | None]:
    """What the SDK is to call with a call's progress; with None, the server reports none."""
    if on_progress is None:
        yield None
        return
    # The SDK calls it in tasks of its own, which can outlive the call: after the block nothing is
    # passed on.
    receivers = [on_progress]

    async def relay(progress: float, total: float | None, message: str | None) -> None:
        for receive in receivers:
            receive(progress, total, redact(message or ""))

    try:
        yield relay
    finally:
        receivers.clear()
