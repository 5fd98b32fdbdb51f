"""The first requests of a session, in which client and server find the revision that both speak.

The SDK asks `server/discover`, and `initialize` if that is refused. Servers of earlier revisions
may leave unanswered what they do not know, or answer it without its id; the SDK waits 10 s then.
"""

from __future__ import annotations

import math
from typing import Any

import anyio
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import SessionMessage
from mcp.types import (
    REQUEST_TIMEOUT,
    UNSUPPORTED_PROTOCOL_VERSION,
    ErrorData,
    JSONRPCError,
    JSONRPCRequest,
    JSONRPCResponse,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from orchestrator.transport.delivery import Answer, Facts, our_error
from orchestrator.transport.framing import Id

# How long `server/discover` may take before `initialize` is sent as well, and the most of the start
# timeout that this may be. A program that boots for longer finds both, and answers both.
PROBE_S = 3.0
PROBE_SHARE = 1 / 3


class Handshake:
    """Watches the first requests of a session and their answers.

    Attributes:
        probe_s: How long `server/discover` may take.
        was_ignored: It took longer, and has not been answered since.
        is_over: There is nothing to watch any more.
        refusal: The error of one that was not authorized: a server that wants a login for the first
            may know the others only if they come with one.
    """

    def __init__(self, start_timeout_s: float) -> None:
        self.probe_s = min(PROBE_S, start_timeout_s * PROBE_SHARE)
        self.was_ignored = False
        self.is_over = False
        self.refusal: ErrorData | None = None
        self._probe: Id | None = None
        self._initialize: Id | None = None
        self._unanswered: list[Id] = []
        self._versions: list[str] = []  # in a late answer to `server/discover`
        self._deadline = math.inf
        self._has_expired = False
        self._scope: anyio.CancelScope | None = None  # of the message that is waited for

    def sent(self, request: JSONRPCRequest) -> None:
        """A request is written."""
        if request.method == "initialize":
            self._initialize = request.id
            if self._versions:
                self._wait_until(-math.inf)
        elif request.method == "server/discover" and self._probe is None:
            self._probe = request.id
            self._wait_until(anyio.current_time() + self.probe_s)
        else:
            self.is_over = True
        self._unanswered.append(request.id)

    def _wait_until(self, deadline: float) -> None:
        self._deadline = deadline
        if self._scope is not None:  # the SDK is receiving already when it sends a request
            self._scope.deadline = deadline

    async def receive(self, inner: Any) -> Any:
        """The next message, or an error in place of an answer that takes too long."""
        with anyio.CancelScope(deadline=self._deadline) as self._scope:
            return await inner.receive()
        self._deadline, self._has_expired = math.inf, True
        request = self._initialize if self._versions else self._probe
        error = our_error(f"no answer within {self.probe_s:g} s", Facts(), REQUEST_TIMEOUT)
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=error))

    def answered(self, answer: Answer) -> Answer:
        """What the SDK is to see of an answer, or of the error in its place."""
        if self._has_expired:
            self._has_expired, self.was_ignored = False, not self._versions
            return self._asks_again() if self._versions else answer
        if answer.id is None and self._unanswered:
            answer.id = self._unanswered[0]  # answers to the first requests come in their order
        request = None if answer.id is None else coerce_request_id(answer.id)
        if request not in self._unanswered:
            return answer
        self._unanswered.remove(request)
        if isinstance(answer, JSONRPCError) and isinstance(answer.error.data, Facts):
            self.refusal = answer.error if answer.error.data.refused else self.refusal
        self.is_over = request == self._initialize
        if request != self._probe:
            return answer
        self._deadline = math.inf
        if not self.was_ignored:
            return answer
        self.was_ignored = False
        return self._late(answer)

    def _late(self, answer: Answer) -> Answer:
        """What an answer to `server/discover` is once `initialize` was sent as well.

        A server that knows the one need not know the other.
        """
        result = answer.result if isinstance(answer, JSONRPCResponse) else {}
        found = result.get("supportedVersions")
        versions = found if isinstance(found, list) else []
        self._versions = [version for version in MODERN_PROTOCOL_VERSIONS if version in versions]
        return self._asks_again() if self._versions and self._initialize is not None else answer

    def _asks_again(self) -> JSONRPCError:
        """The answer to `initialize` that has the SDK ask `server/discover` once more."""
        self.is_over = True
        versions = {"supported": self._versions, "requested": "initialize"}
        error = ErrorData(code=UNSUPPORTED_PROTOCOL_VERSION, message="", data=versions)
        return JSONRPCError(jsonrpc="2.0", id=self._initialize, error=error)
