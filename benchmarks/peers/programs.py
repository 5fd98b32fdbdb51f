"""A peer's program that runs, and a fresh process for a cold start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from benchmarks import scenarios
from benchmarks.peer_programs.conversation import WrongResultError, check
from benchmarks.peers.jobs import Job

LIMIT_S = 600.0  # a program that prints nothing for this long has failed
CLOSE_LIMIT_S = 30.0


class PeerFailedError(Exception):
    """A program ended, printed an invalid answer or gave a wrong result; in one line."""


class Program:
    """A running peer's program, with its servers open.

    Attributes:
        process: The id of its process.

    Raises:
        PeerFailedError: It does not start.
    """

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        self._stderr = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=scenarios.HERE,
            env=dict(variables),
            start_new_session=True,  # a process group of its own, see `_kill`
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.process = self._process.pid
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        try:
            self._ask("")  # its first line says that it is ready
        except PeerFailedError:
            self.close()
            raise

    def do(self, job: Job) -> float:
        """The time of one repetition of a job, milliseconds.

        Raises:
            PeerFailedError: There was no answer, or it was an error.
        """
        return float(self._ask(json.dumps({"do": job.name}) + "\n")["ms"])

    def _ask(self, line: str) -> dict[str, Any]:
        # A late answer would count as the next one: the program is killed.
        timer = threading.Timer(LIMIT_S, self._kill)
        timer.start()
        try:
            self._stdin.write(line)
            self._stdin.flush()
            answer = self._stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timer.cancel()
        if not answer:
            self._stderr.seek(0)
            raise PeerFailedError(f"it ended: {last_line(self._stderr.read()) or 'no output'}")
        return read(answer)

    def _kill(self) -> None:
        # The whole group: the program may have started others, such as a server of Prefect.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Close its stdin, and kill it if it does not exit."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(CLOSE_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()
        self._stdout.close()
        self._stderr.close()


def read(line: str) -> dict[str, Any]:
    """The JSON object that a program printed.

    Raises:
        PeerFailedError: It is not a JSON object, or it reports an error.
    """
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise PeerFailedError(f"expected a JSON object, got {line[:80]!r}")
    if message.get("error"):
        raise PeerFailedError(str(message["error"]))
    return message


def last_line(text: str) -> str:
    """The last line that is not empty; empty if there is none."""
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""


def cold(command: Sequence[str], variables: Mapping[str, str], job: Job) -> float:
    """The time of a process from its start to its exit, milliseconds.

    Raises:
        PeerFailedError: It failed, or printed a wrong result.
    """
    began_at = time.perf_counter()
    try:
        ended = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=scenarios.HERE,
            env=dict(variables),
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise PeerFailedError(f"it did not end in {LIMIT_S:g} s") from None
    time_ms = (time.perf_counter() - began_at) * 1000
    if ended.returncode:
        reason = last_line(ended.stderr) or "no output"
        raise PeerFailedError(f"exit code {ended.returncode}: {reason}")
    document = read(ended.stdout)
    values = document.get("values")
    if values is None:  # the result document of `orchestrator run`
        values = {name: task.get("output") for name, task in document["tasks"].items()}
    try:
        check(job.calls, values)
    except WrongResultError as error:
        raise PeerFailedError(str(error)) from None
    return time_ms
