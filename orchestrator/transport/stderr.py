"""Drains the stderr of a program, so that it never blocks, and keeps the last lines."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio

TAIL_BYTES = 8192
TAIL_LINES = 20
MAX_LINE = 500
LAST_WORDS_S = 0.25

# Colours and cursor movements (ECMA-48), and other control characters.
_CONTROLS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-_])|[\x00-\x08\x0b-\x1f\x7f]")

# How Python and JavaScript end: "pkg.SomeError: what". Node adds a stack and its version.
_ERROR = re.compile(r"\s*(?:\w+\.)*\w*(?:Error|Exception)\b.*: ")


class StderrTail:
    """The last lines of a program's stderr."""

    def __init__(self) -> None:
        self.stray = ""  # how the last line of its stdout begins that is no message
        self._last = b""
        self._drained = anyio.Event()
        self._drained.set()

    def lines(self) -> list[str]:
        """The last lines, oldest first, without control characters."""
        text = self._last.decode(errors="replace")
        lines = [_CONTROLS.sub("", line).rstrip() for line in text.splitlines()]
        return [line[:MAX_LINE] for line in lines if line][-TAIL_LINES:]

    def telling(self) -> str:
        """The most telling line: the last that names an error, else the last."""
        lines = self.lines()
        errors = [line for line in lines if _ERROR.match(line)]
        return (errors or lines or [""])[-1]

    async def finish(self) -> None:
        """Wait a moment for the last output of a program that has just ended."""
        with anyio.move_on_after(LAST_WORDS_S):
            await self._drained.wait()

    @asynccontextmanager
    async def reading(self, pipe: int) -> AsyncIterator[None]:
        """Drain a pipe until the block ends, and a moment longer if it has not ended by then."""
        self.stray, self._last = "", b""
        self._drained = anyio.Event()
        os.set_blocking(pipe, False)
        async with anyio.create_task_group() as group:
            group.start_soon(self._drain, pipe)
            try:
                yield
            finally:
                await self.finish()
                group.cancel_scope.cancel()

    async def _drain(self, pipe: int) -> None:
        try:
            while True:
                await anyio.wait_readable(pipe)
                with suppress(BlockingIOError):
                    chunk = os.read(pipe, 65536)
                    if not chunk:
                        return
                    self._last = (self._last + chunk)[-TAIL_BYTES:]
        finally:
            self._drained.set()
