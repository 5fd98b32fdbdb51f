"""The garbage collector, where it would stop all else for long.

A full collection looks at every object that there is: with millions of them, made by an expression
or by a large answer, each takes a tenth of a second and more, in which no other call goes on.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# A run makes few cycles: nearly all of its garbage is freed without the collector.
THRESHOLDS = (50_000, 20, 50)
_pauses: list[bool] = []  # of each pause, whether it has stopped the collector


def tune() -> None:
    """Have the collector of a process that only carries out a command look seldom."""
    gc.set_threshold(*THRESHOLDS)


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing meanwhile; what does the work should make no cycles."""
    _pauses.append(gc.isenabled())
    gc.disable()
    try:
        yield
    finally:
        # The first pause knows how it was before; pauses need not end in their order.
        was_enabled = _pauses[0]
        _pauses.pop()
        if not _pauses and was_enabled:
            gc.enable()
