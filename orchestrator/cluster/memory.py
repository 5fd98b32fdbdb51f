"""A worker without memory ends at once, so that others go on with its runs.

Where an allocation fails, the next one may fail in a library that ends the process, or in what
keeps a run. So no call fails for it, and nothing more is kept. Where a thread fails as it starts,
the one that started it waits without end (`threading.Thread.start`): that may be the event loop, or
what takes runs from the queue, while the thread that writes goes on to say that the worker is
alive. Then it ends, too.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, Self

CODE = 1
# So often in a row the event loop has to be found standing still, or a thread that starts another.
CHECK_S, CHECKS, START_CHECKS = 1.0, 60, 5
_DEPTH = 4  # of `start` below what it waits with
# Mapped at their first use otherwise, which fails as an ImportError where no memory is left.
_LIBRARIES = ("jsonschema_rs",)
_SAID = b"orchestrator: no memory is left: this worker ends, and others go on with its runs\n"
_STANDS = b"orchestrator: this worker stands still: it ends, and others go on with its runs\n"


def end(said: bytes = _SAID) -> NoReturn:
    """End the process, without a step that needs memory."""
    try:
        os.write(2, said)
    finally:
        os._exit(CODE)


class Watchdog:
    """Ends a process whose event loop stands still, or a thread that starts another one.

    One that is frozen as a whole does not count.

    Use it with `with`.

    Args:
        call_soon: Has the event loop call something, from another thread.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon, self._ticks = call_soon, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _tick(self) -> None:  # by the event loop, which goes on
        self._ticks += 1

    def _watch(self) -> None:
        try:
            self._look()
        except MemoryError:
            end()

    def _look(self) -> None:
        last, still, starting = -1, 0, dict[FrameType, int]()
        while not self._over.wait(CHECK_S):
            last, still = self._ticks, still + 1 if last == self._ticks else 0
            starting = {start: starting.get(start, 0) + 1 for start in _starting()}
            if still >= CHECKS or START_CHECKS in starting.values():
                end(_STANDS)
            self._call_soon(self._tick)


def _starting() -> Iterator[FrameType]:
    """The frame of each thread that waits for one that it has started to begin."""
    for top in sys._current_frames().values():
        frame: FrameType | None = top
        for _ in range(_DEPTH):
            if frame is not None and frame.f_code is threading.Thread.start.__code__:
                yield frame
            frame = None if frame is None else frame.f_back


def _lacks_memory(error: BaseException | None) -> bool:
    """Whether an error says that no memory is left, for a thread maybe."""
    no_thread = isinstance(error, RuntimeError) and "start new thread" in str(error)
    return no_thread or isinstance(error, MemoryError)


@contextmanager
def watched() -> Iterator[None]:
    """End where the event loop or a thread finds in the block that no memory is left."""
    for library in _LIBRARIES:
        importlib.import_module(library)
    loop = asyncio.get_running_loop()
    before, of_threads, of_others = (
        loop.get_exception_handler(),
        threading.excepthook,
        sys.unraisablehook,
    )

    def handle_in_thread(about: threading.ExceptHookArgs) -> None:
        if _lacks_memory(about.exc_value):
            end()
        of_threads(about)

    def handle_unraisable(about: sys.UnraisableHookArgs) -> None:
        if _lacks_memory(about.exc_value):
            end()
        of_others(about)

    def handle(loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
        if _lacks_memory(about.get("exception")):
            end()
        elif before is None:
            loop.default_exception_handler(about)
        else:
            before(loop, about)

    loop.set_exception_handler(handle)
    threading.excepthook, sys.unraisablehook = handle_in_thread, handle_unraisable
    try:
        yield
    except Exception as error:
        if _lacks_memory(error):
            end()
        raise
    finally:
        loop.set_exception_handler(before)
        threading.excepthook, sys.unraisablehook = of_threads, of_others
