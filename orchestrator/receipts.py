"""Whether the request of a call has left us: what its failure means depends on it.

The rule of this file: whoever makes a call asks for a receipt, and the stream that has written its
request signs it; the SDK, which stands between them, passes nothing on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from orchestrator.errors import CallError

_expected: ContextVar[Receipt | None] = ContextVar("_expected", default=None)


class NotExecutedError(CallError):
    """A call that failed and was certainly not executed: another session can make it."""


@dataclass(slots=True)
class Receipt:
    """Whether a request was written; from then on the server may have executed it."""

    written: bool = False


@contextmanager
def receipt() -> Iterator[Receipt]:
    """A receipt for the request that is sent in this block."""
    made = Receipt()
    token = _expected.set(made)
    try:
        yield made
    finally:
        _expected.reset(token)


def sign() -> None:
    """Note that the request of the call that is being made was written."""
    if (expected := _expected.get()) is not None:
        expected.written = True
