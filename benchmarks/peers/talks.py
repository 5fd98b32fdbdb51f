"""The talk with a peer's program, and a fresh process for a cold start.

The rule of this file: whatever a program does wrong is a `PeerFailedError`, in one line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from benchmarks import scenarios
from benchmarks.peer_programs.conversation import WrongResultError, check
from benchmarks.peers.catalogue import Peer
from benchmarks.peers.jobs import Job

LIMIT_S = 600.0
"""What says nothing for so long has failed."""
CLOSE_LIMIT_S = 30.0
LONGEST_LINE = 1 << 20
NOT_HANDED_DOWN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


class PeerFailedError(Exception):
    """A peer's program ended, said what cannot be read, or gave a wrong result."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One repetition.

    Attributes:
        ms: How long it took.
        cpu_ms: What its process used.
        rss_mb: The most memory that its process has had resident so far.
    """

    ms: float
    cpu_ms: float
    rss_mb: float

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Sample:
        """The sample of a message.

        Raises:
            PeerFailedError: The message has not the numbers.
        """
        try:
            return cls(*(float(message[name]) for name in ("ms", "cpu_ms", "rss_mb")))
        except (KeyError, TypeError, ValueError):
            raise PeerFailedError(f"no measurement: {json.dumps(message):.200}") from None


class Talk:
    """A peer's program that runs, with its servers open."""

    def __init__(self, process: Process, said: IO[bytes]) -> None:
        self._process = process
        self._said = said
        assert process.stdout is not None
        self._lines = BufferedByteReceiveStream(process.stdout)

    async def do(self, job: Job) -> Sample:
        """One repetition of a job.

        Raises:
            PeerFailedError: It did not come back, or with something else.
        """
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send(json.dumps({"do": job.name}).encode() + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise PeerFailedError(f"it has ended: {last_line(self._said)}") from None
        return Sample.of(await self.hear())

    async def hear(self) -> dict[str, Any]:
        """What it says next.

        Raises:
            PeerFailedError: Nothing, no JSON object, or an error.
        """
        try:
            with anyio.fail_after(LIMIT_S):
                line = await self._lines.receive_until(b"\n", LONGEST_LINE)
        except TimeoutError:
            _kill(self._process)  # else its answer would be taken for that to the next job
            raise PeerFailedError(f"it said nothing for {LIMIT_S:g} s") from None
        except (anyio.IncompleteRead, anyio.DelimiterNotFound, anyio.EndOfStream):
            raise PeerFailedError(f"it has ended: {last_line(self._said)}") from None
        return _read(line)


def _read(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise PeerFailedError(f"it said {line[:80]!r}, which is no JSON object")
    if message.get("error"):
        raise PeerFailedError(str(message["error"]))
    return message


def last_line(said: IO[bytes]) -> str:
    """The last line of a file that is not empty."""
    said.seek(0)
    lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "without a word"


def variables(peer: Peer, folder: Path) -> dict[str, str]:
    """The environment of a peer's process: no other packages, and a Prefect of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_HANDED_DOWN}
    return {**kept, "PREFECT_HOME": str(folder / peer.path), **peer.variables}


def command(python: str, peer: Peer, plan: Path) -> list[str]:
    """What starts a peer's program."""
    return [python, "-m", f"benchmarks.peer_programs.{peer.program}", str(plan)]


@asynccontextmanager
async def opened(started: Sequence[str], environment: Mapping[str, str]) -> AsyncIterator[Talk]:
    """A program that is ready; in the end its stdin is closed, and it is killed if it stays.

    Raises:
        PeerFailedError: It did not get ready.
    """
    with tempfile.TemporaryFile("w+b") as said:
        process = await anyio.open_process(
            started,
            stderr=said,
            cwd=scenarios.HERE,
            env=dict(environment),
            start_new_session=True,
        )
        try:
            talk = Talk(process, said)
            await talk.hear()
            yield talk
        finally:
            with anyio.CancelScope(shield=True):
                await _close(process)


async def _close(process: Process) -> None:
    assert process.stdin is not None
    await process.stdin.aclose()
    with anyio.move_on_after(CLOSE_LIMIT_S):
        await process.wait()
    if process.returncode is None:
        _kill(process)
    await process.aclose()


def _kill(process: Process) -> None:
    """End a program and what it has started itself, such as a server of Prefect."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def cold(
    started: Sequence[str], python: str, environment: Mapping[str, str], job: Job
) -> Sample:
    """A process from its start to its exit; what it printed is checked.

    Raises:
        PeerFailedError: It did not end well, or gave something else.
    """
    stopwatch = [python, "-m", "benchmarks.peer_programs.stopwatch", f"{LIMIT_S:g}", *started]
    with tempfile.TemporaryFile("w+b") as said:
        ended = await anyio.run_process(
            stopwatch,
            check=False,
            stdin=subprocess.DEVNULL,
            stderr=said,
            cwd=scenarios.HERE,
            env=dict(environment),
        )
        message: dict[str, Any] = {"code": ended.returncode}
        if ended.stdout:
            message = _read(ended.stdout)
        if message["code"]:
            raise PeerFailedError(f"exit code {message['code']}: {last_line(said)}")
    _check(job, _read(message["printed"].encode()))
    return Sample.of(message)


def _check(job: Job, document: Mapping[str, Any]) -> None:
    """Take the values of a program, or the outputs of `orchestrator run --json`."""
    values = document.get("values")
    if values is None:
        values = {name: task.get("output") for name, task in document["tasks"].items()}
    try:
        check(job.calls, values)
    except WrongResultError as error:
        raise PeerFailedError(str(error)) from None
