"""Which revision of the protocol a server speaks: found once, and known at the next start."""

from __future__ import annotations

import logging

from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from orchestrator.documents.text import quoted
from orchestrator.servers.config import Protocol, Server
from orchestrator.transport.handshake import Handshake

logger = logging.getLogger("orchestrator")


class Revisions:
    """What the sessions of a server have found of its protocol."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._found: Protocol = self._first
        self._has_hinted = False

    @property
    def _first(self) -> Protocol:
        # Servers with this transport know no later handshake.
        return "legacy" if self._server.is_sse else self._server.protocol

    def modes(self) -> list[Protocol]:
        """How to begin, in the order in which it is tried."""
        if self._found == "auto" and self._server.command is not None:
            # A program that fails at its first contact is started afresh in legacy mode: servers of
            # the Python SDK before 1.9 need that.
            return ["auto", "legacy"]
        return [self._found]

    def note_start(self, version: str, handshake: Handshake) -> None:
        """A session has found a revision."""
        if self._server.protocol != "auto" or version not in HANDSHAKE_PROTOCOL_VERSIONS:
            return
        self._found = "legacy"
        if handshake.was_ignored and not self._has_hinted:
            self._has_hinted = True
            logger.warning(
                'server %s: did not answer "server/discover" within %.3g s; '
                'set protocol = "legacy" to save this time at each start',
                quoted(self._server.name),
                handshake.probe_s,
            )

    def note_failure(self) -> None:
        """A session did not start: another version of the server may be there now."""
        self._found = self._first
