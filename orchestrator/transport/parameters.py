"""What a transport needs to know of a server, as plain values.

Secrets may be in arguments, variables, URLs and headers, so `repr` leaves them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MAX_MESSAGE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StdioParameters:
    """A program to start and to speak with over its stdin and stdout.

    Attributes:
        command: The program, and `args`: its arguments.
        env: Environment variables it gets besides `process.INHERITED`.
        cwd: Its working directory; None for ours.
        max_message_bytes: The longest message it may send.
        label: Its name in log messages.
    """

    command: str
    args: Sequence[str] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    max_message_bytes: int = MAX_MESSAGE_BYTES
    label: str = ""


@dataclass(frozen=True, slots=True)
class HttpParameters:
    """An endpoint of streamable HTTP.

    Attributes:
        url: Its address.
        headers: Sent with each request.
        max_message_bytes: The longest message it may send.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_message_bytes: int = MAX_MESSAGE_BYTES
