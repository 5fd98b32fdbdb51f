"""Lists what a server offers besides tools: resources, templates of these, prompts, and values."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

import anyio
from mcp import Client, MCPError, types
from pydantic import ValidationError

from orchestrator.documents.text import quoted
from orchestrator.servers import sdk_errors
from orchestrator.servers.config import Server
from orchestrator.servers.sdk_errors import ServerFault
from orchestrator.transport.stderr import StderrTail

logger = logging.getLogger("orchestrator")

Kind = Literal["resources", "resource_templates", "prompts"]
Entry = dict[str, Any]  # as the server sent it
MAX_ENTRIES = 10_000
MAX_PAGES = 1000
# For the values of an argument that are proposed while somebody types.
COMPLETE_S = 5.0
MAX_VALUES = 100  # as the protocol has it


class Offers:
    """The lists of a server, asked for anew each time."""

    def __init__(self, client: Client, server: Server, tail: StderrTail) -> None:
        self._client, self._server, self._tail = client, server, tail

    @property
    def version(self) -> str:
        """The version that the server says it has; empty if it says none."""
        about = self._client.server_info
        return "" if about is None else self._server.redact(about.version)

    async def of(self, kind: Kind) -> list[Entry] | None:
        """All entries of a kind; None if the server does not have that capability.

        Raises:
            CallError: It does not answer, or with an error or no list.
        """
        has = self._client.server_capabilities
        # With a pinned revision the client asks for no capabilities: then nothing is known.
        is_known = any(part is not None for part in (has.tools, has.prompts, has.resources))
        if is_known and (has.prompts if kind == "prompts" else has.resources) is None:
            return None
        limit_s = self._server.timeout_s
        try:
            with anyio.fail_after(limit_s):
                return await self._pages(kind)
        except TimeoutError:
            fault = ServerFault("timeout", f"did not list its {kind} within {limit_s:g} s")
        except MCPError as error:
            if error.code == types.METHOD_NOT_FOUND:  # many have resources and no templates
                return []
            fault = sdk_errors.fault_of(error, f"{kind}/list")
        except ValidationError:
            fault = ServerFault("protocol_error", f"sent no valid list of {kind}")
        raise sdk_errors.call_error(fault, self._server, self._tail)

    async def complete(
        self, kind: str, name: str, argument: str, value: str, given: Mapping[str, str]
    ) -> list[str]:
        """The values that a server proposes for an argument of a prompt, or of a template.

        Args:
            kind: `prompt`, or `read` for a template.
            name: The prompt, or the template.
            argument: The argument.
            value: How its value begins.
            given: The other arguments.

        Raises:
            CallError: It does not answer, or with an error.
        """
        if self._client.server_capabilities.completions is None:
            return []
        ref = (
            types.PromptReference(name=name)
            if kind == "prompt"
            else types.ResourceTemplateReference(uri=name)
        )
        try:
            with anyio.fail_after(min(COMPLETE_S, self._server.timeout_s)):
                found = await self._client.session.complete(
                    ref, {"name": argument, "value": value}, dict(given) or None
                )
            return found.completion.values[:MAX_VALUES]
        except TimeoutError:
            fault = ServerFault("timeout", f"proposed no values of {quoted(argument)} in time")
        except MCPError as error:
            if error.code == types.METHOD_NOT_FOUND:
                return []
            fault = sdk_errors.fault_of(error, "completion/complete")
        except ValidationError:
            fault = ServerFault("protocol_error", f"sent no valid values of {quoted(argument)}")
        raise sdk_errors.call_error(fault, self._server, self._tail)

    async def _pages(self, kind: Kind) -> list[Entry]:
        ask: Mapping[Kind, Callable[..., Any]] = {
            "resources": self._client.session.list_resources,
            "resource_templates": self._client.session.list_resource_templates,
            "prompts": self._client.session.list_prompts,
        }
        found: list[Entry] = []
        cursor, seen = None, set[str]()
        for _ in range(MAX_PAGES):
            page = await ask[kind](params=types.PaginatedRequestParams(cursor=cursor))
            entries = page.model_dump(mode="json", by_alias=True, exclude_none=True)
            found += next(value for value in entries.values() if isinstance(value, list))
            cursor = page.next_cursor
            if not cursor or len(found) > MAX_ENTRIES:
                break
            if cursor in seen:
                what = "server %s: its list of %s repeats the cursor %s; the list ends there"
                logger.warning(what, quoted(self._server.name), kind, quoted(cursor))
                break
            seen.add(cursor)
        if len(found) > MAX_ENTRIES:
            what = "server %s: lists more than %d %s; only the first ones are used"
            logger.warning(what, quoted(self._server.name), MAX_ENTRIES, kind)
        return found[:MAX_ENTRIES]
