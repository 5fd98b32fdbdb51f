"""What the configuration of a server says about calls to it."""

from __future__ import annotations

import fnmatch
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.calls.call import DEFAULT_TIMEOUT_S, Call
from orchestrator.calls.limits import Slots
from orchestrator.calls.rates import Rate

if TYPE_CHECKING:
    from orchestrator.schema.tool import Tool


Account = Callable[[], Awaitable[str]]
"""Tells one account of a server from others; it says nothing by itself."""

Approve = Sequence[str] | Literal["destructive"]
"""The patterns of tools whose calls a person has to approve; or those that may destroy."""


def is_approved(approve: Approve, tool: str, may_destroy: bool) -> bool:
    """Whether a person has to approve the calls of a tool."""
    if approve == "destructive":
        return may_destroy
    return any(fnmatch.fnmatchcase(tool, pattern) for pattern in approve)


@dataclass(frozen=True, slots=True)
class ServerPolicy:
    """What the configuration of a server says about calls to it.

    Attributes:
        timeout_s: The limit of one attempt for tasks without a `timeout_s`, seconds.
        slots: The calls in flight on the server, over all its sessions and runs; None = no limit.
        writers: The same for tools that declare that they write; None = no limit of their own.
        rate: How many calls may start in how long; None = no limit.
        tools: The limits of single tools, by the pattern of their name; the first match counts.
        approve: The patterns of tools whose calls a person has to approve; or `destructive`, for
            those that do not declare that they are not.
        elicits: Whether a person answers what the server asks during a call.
        turn: What makes that one call at a time; None = it may be several.
        fence: Raises a CallError if what its limits granted after so many losses is lost; None =
            they lose nothing.
        identity: What tells it from another server of that name; it says nothing by itself.
        account: Tells whose account its calls are made for, if that can change; None: it cannot.
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    slots: Slots | None = None
    writers: Slots | None = None
    rate: Rate | None = None
    tools: Mapping[str, Sequence[Slots | Rate]] | None = None
    approve: Approve = ()
    elicits: bool = False
    turn: Slots | None = None
    fence: Callable[[int], None] | None = None
    identity: str = ""
    account: Account | None = None

    @property
    def asks(self) -> bool:
        """Whether a person may be asked about a call."""
        return bool(self.approve) or self.elicits

    def needs_approval(self, call: Call, tool: Tool | None) -> bool:
        """Whether a person has to approve a call of a tool, which may be unknown."""
        if not self.approve or call.kind != "tool":
            return False
        return is_approved(self.approve, call.tool, tool is None or tool.may_destroy)

    @property
    def is_limited(self) -> bool:
        """Whether calls that do not write may have to wait for each other."""
        limited = (self.slots, self.rate, self.turn)
        return bool(self.tools) or any(each is not None for each in limited)

    def limits_of(self, call: Call) -> list[Slots | Rate]:
        """The limits that a call acquires on this server, in this order."""
        matching = (
            limits
            for pattern, limits in (self.tools or {}).items()
            if fnmatch.fnmatchcase(call.tool, pattern)
        )
        # Those of its tool first: a call that waits for them holds nothing that others could use.
        writers = self.writers if call.writes else None
        limits = (*next(matching, ()), writers, self.turn, self.slots, self.rate)
        return [limit for limit in limits if limit is not None]


FREE = ServerPolicy()
"""The policy of a server without configuration."""
