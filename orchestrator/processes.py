"""Programs as processes of POSIX: how they are started, and how they end.

The rule of this file: a program gets so long to end and no longer, and its children end with it.
"""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from typing import TextIO

import anyio
from anyio.abc import Process
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree

from orchestrator.config import Server

logger = logging.getLogger("orchestrator.stdio")

GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)

# For a program to end by itself, then after SIGTERM, then after SIGKILL.
GRACE_S = 2.0
# An exit is looked for: to wait for it means, on asyncio, to wait for all that hold its pipes, too.
LOOK_S = 0.01


async def spawn(server: Server, errlog: TextIO) -> tuple[Process, int]:
    """Start the program of a server: the process, and the end of the pipe to write to.

    The pipe is ours: asyncio's would swallow what is written after the program has ended.

    Raises:
        OSError: It cannot be started.
    """
    theirs, ours = os.pipe()
    try:
        os.set_blocking(ours, False)
        process = await anyio.open_process(
            [server.command or "", *server.args],
            env=get_default_environment() | server.env,
            cwd=server.cwd,
            stdin=theirs,
            stderr=errlog,
            start_new_session=True,  # a group of its own, so that its children end with it
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return process, ours


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
