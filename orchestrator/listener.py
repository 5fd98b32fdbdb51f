"""Who hears of a session.

The rule of this file: a listener is told, and neither waits nor raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from orchestrator.connection import Connection


class Listener(Protocol):
    """Who is told what happens to a session, between calls and within."""

    def on_end(self, connection: Connection) -> None:
        """It has ended, and nobody had asked for that; `failure` says why."""

    def on_tools(self, connection: Connection) -> None:
        """The server has changed its tools."""

    def on_log(self, level: str, logger: str, data: Any) -> None:
        """The server has sent a log message."""


class _Nobody:
    def on_end(self, connection: Connection) -> None: ...
    def on_tools(self, connection: Connection) -> None: ...
    def on_log(self, level: str, logger: str, data: Any) -> None: ...


NOBODY = _Nobody()
