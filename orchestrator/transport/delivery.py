"""Whether the request of a call was written: what the failure of the call means depends on it.

The SDK has no way to ask a stream what became of a request. So a request carries a ticket in its
`_meta`, and the stream that writes it takes the ticket off and notes the delivery.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import CallError

TICKET = "io.orchestrator/ticket"


class NotExecutedError(CallError):
    """A call that failed and was certainly not executed: another session can make it."""


@dataclass(slots=True, eq=False)
class Delivery:
    """What became of one request."""

    meta: dict[str, int] | None  # of the request; None if no stream looks for tickets
    written: bool = False  # from then on the server may have executed it


class Deliveries:
    """The deliveries of one session; if they are not `observed`, no stream takes tickets off."""

    def __init__(self, *, observed: bool = True) -> None:
        self._observed = observed
        self._expected: dict[int, Delivery] = {}
        self._last = 0

    @contextmanager
    def expect(self) -> Iterator[Delivery]:
        """The delivery of the request that is sent in the block, in one round or several."""
        self._last = ticket = self._last + 1
        self._expected[ticket] = delivery = Delivery({TICKET: ticket} if self._observed else None)
        try:
            yield delivery
        finally:
            del self._expected[ticket]

    def take(self, params: dict[str, Any] | None) -> Delivery | None:
        """The delivery of a request with these parameters, whose ticket is removed."""
        meta = (params or {}).get("_meta")
        if params is None or not meta or TICKET not in meta:
            return None
        ticket = meta.pop(TICKET)
        if not meta:
            del params["_meta"]
        return self._expected.get(ticket)
