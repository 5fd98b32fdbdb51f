"""The limits of a server, as its settings say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.calls.adaptive import AdaptiveSlots
from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import Rate, Slots
from orchestrator.calls.policy import ServerPolicy
from orchestrator.servers.config import Server, ToolSettings

RESOURCES = "[resources]"  # what is kept beside the limits of servers; none has such a name
_LIMITS = {"max_concurrency", "rate", "sessions", "tools", "writes"}


def policy_of(server: Server) -> ServerPolicy:
    """What the configuration of a server says about calls to it, with limits of its own."""
    name, most = server.name, server.max_concurrency
    slot = Cause("server_limit", name)
    by_person = server.oauth is not None and server.oauth.flow == "login"
    asks = server.elicitation == "ask"
    takes_turns = asks and server.protocol != "2026-07-28"  # see Elicitor
    slots = AdaptiveSlots(slot) if most == "auto" else None
    tools = {
        pattern: tuple(_limits_of(settings, f"{server.name}:{pattern}"))
        for pattern, settings in server.tools.items()
    }
    return ServerPolicy(
        server.timeout_s,
        Slots(most, slot) if isinstance(most, int) else slots,
        Slots(1, Cause("writers", name)) if server.writes == "serial" else None,
        Rate(*server.rate_limit, Cause("rate", name)) if server.rate_limit else None,
        tools if any(tools.values()) else None,
        server.approve,
        asks or by_person,
        Slots(1, Cause("turn", name)) if takes_turns else None,
        server.identity,
    )


def limits_of(server: Server) -> dict[str, Any]:
    """What the configuration of a server says about its limits, without what is the default."""
    return server.model_dump(mode="json", include=_LIMITS, exclude_defaults=True)


def _limits_of(settings: ToolSettings, tool: str) -> Iterator[Slots | Rate]:
    if settings.max_concurrency is not None:
        yield Slots(settings.max_concurrency, Cause("server_limit", tool))
    if settings.rate_limit is not None:
        yield Rate(*settings.rate_limit, Cause("rate", tool))
