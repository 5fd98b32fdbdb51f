"""The progress of one call: who wants to hear of it is told, and nobody is after its end.

The rule of this file: a call that nobody watches asks its server for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from orchestrator.calls import OnProgress


class ProgressCallback(Protocol):
    """What the SDK calls."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


class Progress:
    """Passes on what a server says of a call's progress, until the block ends.

    Args:
        tell: Is told; None if nobody wants to hear of it.
        redact: Takes secrets out of a message.
    """

    def __init__(self, tell: OnProgress | None, redact: Callable[[Any], Any]) -> None:
        self._tell = tell
        self._redact = redact

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tell = None

    @property
    def callback(self) -> ProgressCallback | None:
        """What the SDK is to call; None has it ask for no progress."""
        return None if self._tell is None else self._on_progress

    async def _on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        if self._tell is not None:
            self._tell(progress, total, self._redact(message or ""))
