"""The frame of all programs: the plan they read, and the protocol with the measuring process.

A program opens its servers, prints `{"ready": true}`, and answers each line `{"do": JOB}` with
`{"ms": ...}` or `{"error": ...}`. With `--once JOB` it does one job, prints the values, and exits.
Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
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
        needs: The ids of the calls that have to end before it; they come earlier in the job.
        expected: The structured content of its result.
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
    """What a program opens and does.

    Attributes:
        way: The variant, for a program that has several.
        servers: By name, how each server is started: `command`, `args`, `cwd`.
    """

    way: str
    servers: dict[str, dict[str, Any]]
    jobs: dict[str, Job]

    @classmethod
    def read(cls, path: Path) -> Plan:
        document = json.loads(path.read_text(encoding="utf-8"))
        jobs: dict[str, Job] = {
            name: [Call(**{**call, "needs": tuple(call["needs"])}) for call in calls]
            for name, calls in document["jobs"].items()
        }
        return cls(document["way"], document["servers"], jobs)


# Does a job once, and returns the result of each call by id.
Run = Callable[[], Awaitable[Mapping[str, Any]]]
# Opens the servers of a plan, and yields its jobs.
Open = Callable[[Plan], AbstractAsyncContextManager[Mapping[str, Run]]]
CallTool = Callable[[Call], Awaitable[Any]]


class WrongResultError(Exception):
    """A job gave another result than expected."""


def layers(job: Job) -> list[list[Call]]:
    """The calls by layers: each needs only calls of layers above."""
    depths: dict[str, int] = {}
    by_depth: dict[int, list[Call]] = {}
    for call in job:
        depth = depths[call.id] = max((depths[needed] + 1 for needed in call.needs), default=0)
        by_depth.setdefault(depth, []).append(call)
    return list(by_depth.values())


async def by_layers(job: Job, call_tool: CallTool) -> dict[str, Any]:
    """An `asyncio.gather` for each layer."""
    results: dict[str, Any] = {}
    for layer in layers(job):
        outputs = await asyncio.gather(*map(call_tool, layer))
        results |= zip((call.id for call in layer), outputs, strict=True)
    return results


async def task_futures(job: Job, call_tool: CallTool) -> dict[str, Any]:
    """An asyncio task for each call, which awaits those that it needs."""
    tasks: dict[str, asyncio.Task[Any]] = {}

    async def run(call: Call) -> Any:
        for needed in call.needs:
            await tasks[needed]
        return await call_tool(call)

    for call in job:
        tasks[call.id] = asyncio.create_task(run(call))
    return dict(zip(tasks, await asyncio.gather(*tasks.values()), strict=True))


def check(job: Job, values: Mapping[str, Any]) -> None:
    """Compare results with the expected ones; an object may have more properties.

    Raises:
        WrongResultError: The calls are not those of the job, or one gave another result.
    """
    expected = {call.id: call.expected for call in job}
    if expected.keys() != values.keys():
        raise WrongResultError(f"{len(expected)} calls, {len(values)} results, or other ids")
    for name, value in values.items():
        if not isinstance(value, dict) or {**value, **expected[name]} != value:
            raise WrongResultError(f"{name} gave {value!r:.200}, not {expected[name]!r:.200}")


def main(open_servers: Open, value: Callable[[Any], Any]) -> None:
    """Run a program; `value` returns the structured content of a result, and is not timed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("plan", type=Path)
    parser.add_argument("--once", metavar="JOB")
    options = parser.parse_args()
    # Libraries print to stdout, which is for answers only: theirs goes to stderr.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asyncio.run(_serve(Plan.read(options.plan), options.once, open_servers, value, out))


async def _serve(
    plan: Plan, once: str | None, open_servers: Open, value: Callable[[Any], Any], out: TextIO
) -> None:
    def values(results: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value(result) for name, result in results.items()}

    async with open_servers(plan) as runs:
        if once:
            print(json.dumps({"values": values(await runs[once]())}), file=out, flush=True)
            return
        print(json.dumps({"ready": True}), file=out, flush=True)
        # On a thread: sessions have to be served between repetitions too.
        while line := await asyncio.to_thread(sys.stdin.readline):
            name = json.loads(line)["do"]
            try:
                gc.collect()  # the garbage of the repetition before is not part of this time
                began_at = time.perf_counter()
                results = await runs[name]()
                answer: dict[str, Any] = {"ms": (time.perf_counter() - began_at) * 1000}
                check(plan.jobs[name], values(results))
            except Exception as error:  # the measuring process reports it, whatever it is
                answer = {"error": f"{type(error).__name__}: {error}"[:500]}
            print(json.dumps(answer), file=out, flush=True)
