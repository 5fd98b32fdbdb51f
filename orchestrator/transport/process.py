"""Starts a program as a POSIX process, and ends it with its children in bounded time.

Starting one imports nothing of the SDK, which is loaded while the program boots.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from subprocess import SubprocessError

import anyio
from anyio.abc import Process

from orchestrator.documents.text import quoted
from orchestrator.transport.parameters import StdioParameters

logger = logging.getLogger("orchestrator.stdio")

GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)

# The variables of ours that every program gets, as with the SDK.
INHERITED = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")

# For a program to end by itself, then after SIGTERM, then after SIGKILL.
GRACE_S = 2.0
# An exit is polled: on asyncio, waiting for it also waits for every process that holds its pipes.
LOOK_S = 0.01


@dataclass(slots=True, eq=False)
class Started:
    """A program that was started, with our ends of its pipes."""

    process: Process  # its stdout is read there
    stdin: int  # not asyncio's, which would swallow what is written after the program has ended
    stderr: int
    is_taken: bool = False  # whether its new owner ends it and closes `stdin`


async def start(parameters: StdioParameters) -> Started:
    """Start a program.

    Raises:
        OSError: It cannot be started.
    """
    ours = {name: value for name in INHERITED if (value := os.environ.get(name)) is not None}
    # A value that starts so is a function of the shell.
    inherited = {name: value for name, value in ours.items() if not value.startswith("()")}
    with ExitStack() as its_ends, ExitStack() as ours_if_it_fails:
        its_stdin, stdin = _pipe(its_ends, ours_if_it_fails)
        stderr, its_stderr = _pipe(ours_if_it_fails, its_ends)
        os.set_blocking(stdin, False)
        try:
            process = await anyio.open_process(
                [parameters.command, *parameters.args],
                env={**inherited, **parameters.env},
                cwd=parameters.cwd,
                stdin=its_stdin,
                stderr=its_stderr,
                start_new_session=True,  # a group of its own, so that its children end with it
            )
        # What no system call can take: a NUL, a lone surrogate, "=" in the name of a variable.
        except (ValueError, SubprocessError) as error:
            raise OSError(_unusable(parameters) or str(error)) from None
        ours_if_it_fails.pop_all()
    return Started(process, stdin, stderr)


def _pipe(reading: ExitStack, writing: ExitStack) -> tuple[int, int]:
    """A pipe, whose ends are closed with these."""
    ends = os.pipe()
    for stack, end in zip((reading, writing), ends, strict=True):
        stack.callback(os.close, end)
    return ends


def _unusable(parameters: StdioParameters) -> str:
    """Which part of a command cannot be passed to a program, without its value."""
    parts = {"command": parameters.command, "cwd": parameters.cwd or ""}
    parts |= {f"args[{index}]": value for index, value in enumerate(parameters.args)}
    for name, value in parameters.env.items():
        if "=" in name:
            return f'a name in env contains "=": it begins with {quoted(name.partition("=")[0])}'
        parts |= {"a name in env": name, f"env.{name}": value}
    for part, text in parts.items():
        if "\0" in text:
            return f"{part} contains a NUL character"
        try:
            os.fsencode(text)
        except UnicodeEncodeError:
            return f"{part} contains a character that cannot be encoded"
    return ""


@asynccontextmanager
async def kept(started: Started) -> AsyncIterator[Started]:
    """End the program with the block, unless a new owner has taken it over."""
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


async def end(process: Process) -> None:
    """Wait for it, its stdin being closed; then SIGTERM to its group, wait, and SIGKILL."""
    from mcp.os.posix.utilities import terminate_posix_process_tree

    assert process.stdout is not None
    await _has_exited(process)
    await terminate_posix_process_tree(process, GRACE_S)
    if not await _has_exited(process):
        logger.warning("process %d outlived SIGKILL and is left behind", process.pid)
    with suppress(*GONE):
        await process.stdout.aclose()
    # On asyncio, children that hold the pipes keep this open, and no public way leads to it.
    inner = getattr(getattr(process, "_process", None), "_transport", None)
    if inner is not None:
        with suppress(PermissionError):
            inner.close()


async def _has_exited(process: Process) -> bool:
    with anyio.move_on_after(GRACE_S):
        while process.returncode is None:
            await anyio.sleep(LOOK_S)
    return process.returncode is not None
