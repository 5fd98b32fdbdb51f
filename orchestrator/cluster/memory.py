"""A worker without memory ends at once, so that others go on with its runs.

Where an allocation fails, the next one may fail in a library that ends the process, or in what
keeps a run. So no call fails for it, and nothing more is kept.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

CODE = 1
_SAID = b"orchestrator: no memory is left: this worker ends, and others go on with its runs\n"


def end() -> NoReturn:
    """End the process, without a step that needs memory."""
    os.write(2, _SAID)
    os._exit(CODE)


@contextmanager
def watched() -> Iterator[None]:
    """End where the event loop finds in the block that no memory is left."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
        if isinstance(about.get("exception"), MemoryError):
            end()
        elif before is None:
            loop.default_exception_handler(about)
        else:
            before(loop, about)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
