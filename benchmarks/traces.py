"""Graphs recorded from real systems, run for real: `python -m benchmarks traces --traces DIR`.

Each task waits as long as the one that was recorded did, in a mock server over stdio. What a run
took is compared with what no run can beat; the schedules, and the orders in which tasks get their
slots, take turns within each round. Every answer is checked: a digest of what its task needed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import anyio
from rich.console import Console

from benchmarks import report, scenarios, traced
from benchmarks.delays import check
from benchmarks.measure import RunFailedError, Settings, Side, flat, positive, take_turns
from benchmarks.recorded import NoTracesError, Trace, load_all
from benchmarks.traced import Measured, Variant, variants
from orchestrator import RunResult, Statistics, Workflow
from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.servers.config import Server
from orchestrator.servers.pool import ServerPool

FOLDER = Path("../shared/cases/traces")
QUICK = ("bacass", "hic", "srasearch-10a-003")
WHERE = """\
The traces are not part of this repository: they are workflow instances of WfCommons WfInstances
(https://github.com/wfcommons/WfInstances, LGPL-3.0), converted to workflow files whose tasks call
mock:delay. Name their folder with --traces DIR."""
RUN_LIMIT_S = 120.0


class Stage:
    """The open server, and a workflow that runs on it in several ways.

    Args:
        pool: Holds the server `mock`.
        trace: What is run.
    """

    def __init__(self, pool: ServerPool, trace: Trace) -> None:
        self._pool = pool
        self._trace = trace
        self._workflow = Workflow.load(trace.document)
        self._statistics = Statistics()

    def side(self, variant: Variant) -> Side:
        """One way of running it."""
        return Side(partial(self._run, variant))

    async def _run(self, variant: Variant) -> None:
        fifo = variant.order == "first come" and variant.slots > 0
        known = self._statistics.estimates(self._workflow) if variant.order == "time" else None
        run = Run(
            self._workflow,
            in_turn(self._pool.call, variant.slots) if fifo else self._pool.call,
            RunSettings(
                schedule=variant.schedule,
                max_concurrency=0 if fifo else variant.slots,
                estimates=known,
            ),
            servers=Servers(tools=self._pool.catalog.of(["mock"]), policies=self._pool.policies),
        )
        with anyio.fail_after(RUN_LIMIT_S):
            result = await run.execute()
        check(result)
        check_digests(self._trace, result)
        if not variant.slots:
            self._statistics.update(self._workflow, result)


def in_turn(call_next: Caller, slots: int) -> Caller:
    """A caller that makes so many calls at a time, first come, first served.

    What a limit without priorities would do: `anyio.CapacityLimiter` is a queue.
    """
    limiter = anyio.CapacityLimiter(slots)

    async def call_in_turn(call: Call, attempt: Attempt) -> Any:
        async with limiter:
            return await call_next(call, attempt)

    return call_in_turn


def check_digests(trace: Trace, result: RunResult) -> None:
    """Raise `RunFailedError` unless every task was given what those that it needs answered."""
    for task, digest in trace.digests.items():
        output = result[task].output
        found = output.get("digest") if isinstance(output, dict) else None
        if found != digest:
            raise RunFailedError(f"{trace.name}: {task} answered {found!r}, not {digest!r}")


@asynccontextmanager
async def opened() -> AsyncIterator[ServerPool]:
    """A pool with the server `mock`, which is ready and warm."""
    args, folder = scenarios.arguments_of("bare"), str(scenarios.HERE)
    server = Server(name="mock", command=sys.executable, args=args, cwd=folder)
    async with ServerPool({"mock": server}) as pool:
        await pool.open(["mock"])
        warm_up = scenarios.branches(100, delay_ms=0).workflow("warm-up", "mock")
        check(await Run(Workflow.load(warm_up), pool.call).execute())
        yield pool


async def measure(traces: Sequence[Trace], rounds: int) -> list[Measured]:
    """Run every trace in every way, in turns within each round."""
    made: list[Measured] = []
    async with opened() as pool:
        for trace in traces:
            stage = Stage(pool, trace)
            ways = variants(trace)
            sides = {way.name: stage.side(way) for way in ways}
            times = await take_turns(sides, rounds, warm_up=False)
            for way in ways:
                made.append(Measured(trace, way, flat(times[way.name])))
                told = f"{trace.name}, {way.name}: {median(made[-1].times_ms):.0f} ms"
                print(f"  {told}, {traced.spread(made[-1].of_bound)} of the bound", file=sys.stderr)
    return made


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks traces",
        description=__doc__,
        epilog=WHERE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = made.add_argument
    option("--traces", type=Path, default=FOLDER, metavar="DIR", help="default: %(default)s")
    option("--only", action="append", default=[], metavar="NAME", help="this trace (repeatable)")
    option("--rounds", type=positive, metavar="N", help="default: 3, or 1 with --quick")
    option("--quick", action="store_true", help="three small traces, in less than a minute")
    option("--scale", type=float, default=1.0, metavar="X", help="multiply all delays")
    option("--json", type=Path, metavar="FILE", help="save all numbers as JSON")
    option("--check", action="store_true", help="exit with 1 if the engine misses a target")
    option("--backend", choices=("asyncio", "trio"), default="asyncio", help="default: %(default)s")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if everything was measured; 1 if a run went wrong or a target is missed; 2 for usage."""
    options = parser().parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 3)
    wanted = options.only or (QUICK if options.quick else ())
    try:
        traces = load_all(options.traces, wanted, options.scale)
        made = anyio.run(measure, traces, options.rounds, backend=options.backend)
    except NoTracesError as error:
        print(f"{error}\n\n{WHERE}", file=sys.stderr)
        return 2
    except RunFailedError as failure:
        print(failure, file=sys.stderr)
        return 1
    facts = report.machine(Settings(options.quick, options.rounds, options.backend))
    if options.json:
        document = {"machine": facts, "measurements": [each.to_dict() for each in made]}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    console = Console()
    console = console if console.is_terminal else Console(width=max(console.width, 150))
    console.print(report.heading(facts), highlight=False)
    for table in traced.tables(made):
        console.print(table)
    slow = traced.missed(made)
    print(*slow, sep="\n", file=sys.stderr)
    return 1 if options.check and slow else 0
