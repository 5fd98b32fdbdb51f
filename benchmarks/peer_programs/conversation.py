"""What the programs share: the plan that they are given, and the talk with who measures them.

A program reads its plan from a file, opens its servers, says `{"ready": true}`, and
then answers each line `{"do": JOB}` with `{"ms": ..., "cpu_ms": ..., "rss_mb": ...}`, or with
`{"error": ...}`. With `--once JOB` it does one job, prints the values, and leaves.

The rule of this file: the standard library only, and nothing that a program is compared by.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO


@dataclass(frozen=True)
class Call:
    """One call of a job.

    Attributes:
        id: Its name within the job.
        server: The server, by name, and `tool` the name of the tool there.
        arguments: What the tool is given.
        needs: The calls that have to be over before it, by id; they come earlier in the job.
        expected: The structured content that it gives.
    """

    id: str
    server: str
    tool: str
    arguments: dict[str, Any]
    needs: tuple[str, ...]
    expected: dict[str, Any]


Job = Sequence[Call]


@dataclass(frozen=True)
class Plan:
    """What a program is to open and to do.

    Attributes:
        way: Which of its ways, for a program that has several.
        servers: By name, what each server is started with: `command`, `args`, `cwd`.
        jobs: The jobs by name.
    """

    way: str
    servers: dict[str, dict[str, Any]]
    jobs: dict[str, Job]

    @classmethod
    def read(cls, path: Path) -> Plan:
        """The plan of a JSON file."""
        given = json.loads(path.read_text(encoding="utf-8"))
        jobs: dict[str, Job] = {
            name: [Call(**{**call, "needs": tuple(call["needs"])}) for call in calls]
            for name, calls in given["jobs"].items()
        }
        return cls(given["way"], given["servers"], jobs)


Run = Callable[[], Awaitable[Mapping[str, Any]]]
"""Does a job once, and gives what each call gave, by id."""

Open = Callable[[Plan], AbstractAsyncContextManager[Mapping[str, Run]]]
"""Opens the servers of a plan, and gives its jobs, ready to be done."""

Value = Callable[[Any], Any]
"""From what a call gave to its structured content; not timed."""


class WrongResultError(Exception):
    """A job gave something else than it ought to."""


def layers(job: Job) -> list[list[Call]]:
    """The calls by layers: each needs only calls of layers above."""
    depth: dict[str, int] = {}
    found: list[list[Call]] = []
    for call in job:
        depth[call.id] = max((depth[needed] + 1 for needed in call.needs), default=0)
        if depth[call.id] == len(found):
            found.append([])
        found[depth[call.id]].append(call)
    return found


def _says(value: Any, expected: Any) -> bool:
    """Whether a result is what is expected; of an object, it may say more."""
    if isinstance(value, dict) and isinstance(expected, dict):
        return {**value, **expected} == value
    return bool(value == expected)


def check(job: Job, values: Mapping[str, Any]) -> None:
    """Compare what the calls of a job gave with what they ought to give.

    Raises:
        WrongResultError: A call is missing, is too many, or gave something else.
    """
    expected = {call.id: call.expected for call in job}
    if expected.keys() != values.keys():
        raise WrongResultError(f"{len(expected)} calls, {len(values)} results, or others")
    for name, value in values.items():
        if not _says(value, expected[name]):
            raise WrongResultError(f"{name} gave {value!r:.200}, not {expected[name]!r:.200}")


def main(open_servers: Open, value: Value) -> None:
    """Run a program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("plan", type=Path)
    parser.add_argument("--once", metavar="JOB")
    options = parser.parse_args()
    plan, out = Plan.read(options.plan), _own_stdout()
    if options.once:
        asyncio.run(_once(plan, options.once, open_servers, value, out))
    else:
        asyncio.run(_converse(plan, open_servers, value, out))


def _own_stdout() -> TextIO:
    """The stdout that is there; whatever else prints to it prints to stderr from now on."""
    kept = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return kept


async def _once(plan: Plan, name: str, open_servers: Open, value: Value, out: TextIO) -> None:
    async with open_servers(plan) as runs:
        values = _values(await runs[name](), value)
    check(plan.jobs[name], values)
    _say(out, {"values": values})


async def _converse(plan: Plan, open_servers: Open, value: Value, out: TextIO) -> None:
    async with open_servers(plan) as runs:
        _say(out, {"ready": True})
        while line := await asyncio.to_thread(sys.stdin.readline):
            name = json.loads(line)["do"]
            try:
                results, taken = await _timed(runs[name])
                check(plan.jobs[name], _values(results, value))
            except Exception as error:  # whatever it was is told to who measures
                _say(out, {"error": f"{type(error).__name__}: {error}"[:500]})
            else:
                _say(out, {**taken, "rss_mb": peak_rss_mb()})


async def _timed(run: Run) -> tuple[Mapping[str, Any], dict[str, float]]:
    gc.collect()
    cpu_ms, began_at = _cpu_ms(), time.perf_counter()
    results = await run()
    ms = (time.perf_counter() - began_at) * 1000
    return results, {"ms": ms, "cpu_ms": _cpu_ms() - cpu_ms}


def _cpu_ms() -> float:
    """What this process has used so far, all its threads, user and system; not its children."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1000


def peak_rss_mb() -> float:
    """The most memory that this process has had resident, MB.

    Linux hands `ru_maxrss` down through `exec`, from a parent that may have had more: there it is
    read from `/proc`.
    """
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024 / 1e6
    return maxrss_mb(resource.getrusage(resource.RUSAGE_SELF))


def maxrss_mb(used: resource.struct_rusage) -> float:
    """`ru_maxrss` in MB: it is in bytes on macOS, and else in KiB."""
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def _values(results: Mapping[str, Any], value: Value) -> dict[str, Any]:
    return {name: value(result) for name, result in results.items()}


def _say(out: TextIO, message: Mapping[str, Any]) -> None:
    print(json.dumps(message), file=out, flush=True)
