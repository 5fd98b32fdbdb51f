"""What a transport needs to know of a server, as plain values, and what it reports.

Secrets may be in arguments, variables, URLs and headers, so `repr` leaves them out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

MAX_MESSAGE_BYTES = 64 * 1024 * 1024

Notify = Callable[[], None]


def nothing() -> None:
    """A report that no one receives."""


@dataclass(frozen=True, slots=True)
class StdioParameters:
    """A program to start; it speaks MCP over its stdin and stdout."""

    command: str
    args: Sequence[str] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # besides process.INHERITED
    cwd: str | None = None  # None: ours
    max_message_bytes: int = MAX_MESSAGE_BYTES
    label: str = ""  # the name of the server, for log messages


@dataclass(frozen=True, slots=True)
class HttpParameters:
    """An endpoint of streamable HTTP, or of the HTTP+SSE before it."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_message_bytes: int = MAX_MESSAGE_BYTES
    is_sse: bool = False
