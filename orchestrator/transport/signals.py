"""What a transport reports while it is open, besides messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Notify = Callable[[], None]


def nothing() -> None:
    """Stands for a report without a receiver."""


@dataclass(frozen=True, slots=True)
class Signals:
    """Who receives the reports.

    Attributes:
        heard: Called whenever anything comes from the server.
        ended: Called when the server has ended the connection and all it sent was read.
    """

    heard: Notify
    ended: Notify
