"""Programs as processes of POSIX: how they are started, and how they end.

The rule of this file: a program gets so long to end and no longer, and its children end with it. To
start one takes nothing of the SDK, which is loaded meanwhile.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
from anyio.abc import Process

from orchestrator.transport.parameters import StdioParameters

logger = logging.getLogger("orchestrator.stdio")

GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)

# The variables that every program gets, as with the SDK; of ours, no others.
INHERITED = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")

# For a program to end by itself, then after SIGTERM, then after SIGKILL.
GRACE_S = 2.0
# An exit is looked for: to wait for it means, on asyncio, to wait for all that hold its pipes, too.
LOOK_S = 0.01


@dataclass(slots=True, eq=False)
class Started:
    """A program that was started.

    Attributes:
        process: The process; its stdout is read there.
        stdin: Where to write to it: our end of a pipe. It is ours because asyncio's would swallow
            what is written after the program has ended.
        stderr: Where to read its stderr: our end of a pipe.
        is_taken: Whether somebody else sees to it that it ends and that `stdin` is closed.
    """

    process: Process
    stdin: int
    stderr: int
    is_taken: bool = False


async def start(parameters: StdioParameters) -> Started:
    """Start a program.

    Raises:
        OSError: It cannot be started.
    """
    its_stdin, stdin = os.pipe()
    stderr, its_stderr = os.pipe()
    try:
        os.set_blocking(stdin, False)
        process = await anyio.open_process(
            [parameters.command, *parameters.args],
            env={**_inherited(), **parameters.env},
            cwd=parameters.cwd,
            stdin=its_stdin,
            stderr=its_stderr,
            start_new_session=True,  # a group of its own, so that its children end with it
        )
    except BaseException:
        os.close(stdin)
        os.close(stderr)
        raise
    finally:
        os.close(its_stdin)
        os.close(its_stderr)
    return Started(process, stdin, stderr)


def _inherited() -> dict[str, str]:
    """Those of our variables that a program gets, but for those that are shell functions."""
    values = {name: os.environ.get(name, "()") for name in INHERITED}
    return {name: value for name, value in values.items() if not value.startswith("()")}


@asynccontextmanager
async def kept(started: Started) -> AsyncIterator[Started]:
    """Leave nothing behind of a program when the block ends, whether anybody took it or not."""
    try:
        yield started
    finally:
        os.close(started.stderr)
        if not started.is_taken:
            started.is_taken = True
            os.close(started.stdin)
            kill(started.process)
            with anyio.CancelScope(shield=True):  # every wait in it is bounded
                await end(started.process)


def kill(process: Process) -> None:
    """End it and its children at once."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def drain(process: Process) -> None:
    """Read what nobody wants until the pipe is closed: blocked in writing, it could not end."""
    assert process.stdout is not None
    with anyio.CancelScope(shield=True), suppress(*GONE):
        while True:
            await process.stdout.receive()


async def end(process: Process) -> None:
    """Its stdin is closed: wait; then SIGTERM to it and its children, and wait; then SIGKILL."""
    from mcp.os.posix.utilities import terminate_posix_process_tree

    assert process.stdout is not None
    await _has_exited(process)
    await terminate_posix_process_tree(process, GRACE_S)
    if not await _has_exited(process):
        logger.warning("process %d outlived SIGKILL and is left behind", process.pid)
    with suppress(*GONE):
        await process.stdout.aclose()
    # On asyncio, children that hold the pipes would keep this open; nothing public leads to it.
    inner = getattr(getattr(process, "_process", None), "_transport", None)
    if inner is not None:
        with suppress(PermissionError):
            inner.close()


async def _has_exited(process: Process) -> bool:
    with anyio.move_on_after(GRACE_S):
        while process.returncode is None:
            await anyio.sleep(LOOK_S)
    return process.returncode is not None
