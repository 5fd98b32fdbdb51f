"""What the configuration of a server says about calls to it, as limits."""

from __future__ import annotations

from typing import Literal

from orchestrator.calls.adaptive import AdaptiveSlots
from orchestrator.calls.call import ServerPolicy
from orchestrator.calls.limits import Rate, Slots
from orchestrator.documents.text import quoted
from orchestrator.servers.config import Server


def policy_of(server: Server) -> ServerPolicy:
    """The limits of a server; each policy has limits of its own."""
    name = quoted(server.name)
    tools = {
        pattern: Slots(settings.max_concurrency, f"a slot of {server.name}:{pattern}")
        for pattern, settings in server.tools.items()
    }
    return ServerPolicy(
        server.timeout_s,
        _slots(server.max_concurrency, f"a slot of server {name}"),
        Slots(1, f"the writers' slot of server {name}") if server.writes == "serial" else None,
        Rate(*server.starts, f"the rate of server {name}") if server.starts else None,
        tools or None,
    )


def _slots(limit: int | Literal["auto"] | None, name: str) -> Slots | None:
    if limit is None:
        return None
    return AdaptiveSlots(name) if limit == "auto" else Slots(limit, name)
