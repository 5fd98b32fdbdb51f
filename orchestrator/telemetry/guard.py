"""Keeps what a provider does wrong from the run that it traces."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from orchestrator.documents.text import cut, visible

logger = logging.getLogger("orchestrator")

MAX_TEXT = 1_000
_T = TypeVar("_T")
Hide = Callable[[Any], Any]


class Guard:
    """Calls a provider, until that raises for the first time; then it is called no more.

    Args:
        hide: Hides the secrets of the servers.
    """

    def __init__(self, hide: Hide) -> None:
        self._hide, self._has_failed = hide, False

    def __call__(self, otherwise: _T, tell: Callable[..., _T], *given: Any) -> _T:
        """What a function returns, or the first argument if it fails, or one before it did."""
        if self._has_failed:
            return otherwise
        try:
            return tell(*given)
        # Whatever it is, the run is not to blame.
        except Exception:
            self._has_failed = True
            logger.exception("OpenTelemetry failed: this is not traced any more")
            return otherwise

    def text(self, text: str) -> str:
        """Others' words: without secrets, cut, and with nothing that an exporter cannot encode."""
        return visible(cut(self._hide(text), MAX_TEXT))
