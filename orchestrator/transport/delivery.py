"""Whether the request of a call has left us: what its failure means depends on it.

The rule of this file: whoever makes a call asks for a receipt, and the stream that has written its
request signs it; the SDK, which stands between them, passes nothing on.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType
from typing import Self

from orchestrator.errors import CallError

_expected: ContextVar[Receipt | None] = ContextVar("_expected", default=None)


class NotExecutedError(CallError):
    """A call that failed and was certainly not executed: another session can make it."""


class Receipt:
    """A receipt for the request that is sent in its block.

    Attributes:
        written: Whether the request was written; from then on the server may have executed it.
    """

    def __init__(self) -> None:
        self.written = False

    def __enter__(self) -> Self:
        self._token = _expected.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _expected.reset(self._token)


def sign() -> None:
    """Note that the request of the call that is being made was written."""
    if (expected := _expected.get()) is not None:
        expected.written = True
