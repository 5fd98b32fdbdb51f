"""When the SDK is loaded: as late as can be, and while the first programs start.

The rule of this file: nothing else imports `servers.session`, which imports the SDK. That takes
about as long as a server of the SDK takes to start, and on a core of its own.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.servers.session import Session

_SLOW = "orchestrator.servers.session"


def is_loaded() -> bool:
    """Whether the SDK is there, so that nothing is gained by doing anything before."""
    return _SLOW in sys.modules


def connection_class() -> type[Session]:
    """`Session`; the first time, that is to import the SDK."""
    if is_loaded():
        from orchestrator.servers.session import Session
    else:
        with uncollected():
            from orchestrator.servers.session import Session
    return Session


@contextmanager
def uncollected() -> Iterator[None]:
    """Leave the garbage collector off: what an import makes stays, and needs no looking through.

    That is a sixth of the time that importing the SDK takes.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
