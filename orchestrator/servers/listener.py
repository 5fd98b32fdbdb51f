"""What happens to a session, as its owner hears it.

A module of its own, so that the pool need not import the SDK for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from orchestrator.servers.session import Session


class Listener(Protocol):
    """Who is told what happens to a session, between calls and within."""

    def on_end(self, connection: Session) -> None:
        """It has ended, and nobody had asked for that; `failure` says why."""

    def on_tools(self, connection: Session) -> None:
        """The server has changed its tools."""

    def on_log(self, level: str, logger: str, data: Any) -> None:
        """The server has sent a log message."""


class _Nobody:
    def on_end(self, connection: Session) -> None: ...
    def on_tools(self, connection: Session) -> None: ...
    def on_log(self, level: str, logger: str, data: Any) -> None: ...


NOBODY = _Nobody()
