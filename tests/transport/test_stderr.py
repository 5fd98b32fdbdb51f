"""The stderr of a program: never blocked, and its end kept."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from orchestrator.transport.stderr import MAX_LINE, TAIL_BYTES, TAIL_LINES, StderrTail
from tests.real_servers import TIMEOUT_S

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def read_by(tail: StderrTail) -> AsyncIterator[int]:
    """The end of a pipe to write to, which is closed with the block; the tail reads the other."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end):
        async with tail.reading(read_end):
            try:
                yield write_end
            finally:
                os.close(write_end)


async def tail_of(*chunks: bytes) -> list[str]:
    tail = StderrTail()
    with anyio.fail_after(TIMEOUT_S):
        async with read_by(tail) as pipe:
            for chunk in chunks:
                os.write(pipe, chunk)
                await anyio.wait_all_tasks_blocked()
    return tail.lines()


async def test_the_last_lines_are_kept() -> None:
    lines = await tail_of(b"".join(b"line %d\n\n" % number for number in range(50)))
    assert lines == [f"line {number}" for number in range(50 - TAIL_LINES, 50)]


async def test_a_flood_costs_no_memory() -> None:
    tail = StderrTail()
    with anyio.fail_after(TIMEOUT_S):
        async with read_by(tail) as pipe:
            for _ in range(8):
                os.write(pipe, b"x" * TAIL_BYTES)
                await anyio.wait_all_tasks_blocked()
            assert len(tail._last) <= TAIL_BYTES
    assert tail.lines() == ["x" * MAX_LINE]


async def test_control_characters_and_broken_text_are_made_harmless() -> None:
    assert await tail_of(b"\x1b[31;1mred\x1b[0m \x07bell\xff\r\n", b"a\tb") == [
        "red bell\ufffd",
        "a\tb",
    ]


async def test_a_program_that_keeps_its_stderr_open_is_not_waited_for_long() -> None:
    tail = StderrTail()
    with anyio.fail_after(TIMEOUT_S):
        async with read_by(tail) as pipe:
            kept = os.dup(pipe)
            os.write(kept, b"still here\n")
    os.close(kept)
    assert tail.lines() == ["still here"]


async def test_the_lines_of_an_earlier_program_are_forgotten() -> None:
    tail = StderrTail()
    with anyio.fail_after(TIMEOUT_S):
        for text in (b"first\n", b"second\n"):
            async with read_by(tail) as pipe:
                os.write(pipe, text)
    assert tail.lines() == ["second"]


@pytest.mark.parametrize(
    ("lines", "telling"),
    [
        ([], ""),
        (["hello", "bye"], "bye"),
        (["Traceback ...", "pkg.SomeError: no", ""], "pkg.SomeError: no"),
        (["KeyError: 1", "During handling ...", "ValueError: 2"], "ValueError: 2"),
        (["Error: Cannot find module 'x'", "    at y", "}", "", "Node.js v20"], "Error: Cannot"),
        (["Error [ERR_X]: no", "Node.js v20"], "Error [ERR_X]: no"),
        (["no Error: here", "0 errors"], "0 errors"),
    ],
)
async def test_the_line_that_names_an_error_says_most(lines: list[str], telling: str) -> None:
    tail = StderrTail()
    with anyio.fail_after(TIMEOUT_S):
        async with read_by(tail) as pipe:
            os.write(pipe, "\n".join(lines).encode())
    assert tail.telling().startswith(telling)
    assert bool(tail.telling()) is bool(telling)
