"""Graphs recorded from real systems, run for real: `python -m benchmarks traces --traces DIR`.

Each task waits as long as the recorded one took, in a mock server over stdio. The time of a run is
compared with what no run can beat; the schedules, and the orders in which tasks get their slots,
take turns within each round. Every answer is checked: a digest of the inputs of its task.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from benchmarks import options, report, scenarios, traced
from benchmarks.delays import check
from benchmarks.measure import RunFailedError, Settings, Side, take_turns
from benchmarks.recorded import NoTracesError, Trace, load_all
from benchmarks.traced import Result, Variant
from orchestrator import RunResult, Workflow
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


def runner(pool: ServerPool, trace: Trace) -> Callable[[Variant], Awaitable[None]]:
    """Runs a trace on the server `mock` in one of its variants, and checks every answer."""
    workflow = Workflow.load(trace.document)
    took_s: dict[str, float] = {}

    async def run(variant: Variant) -> None:
        fifo = variant.order == "first come" and variant.slots > 0
        engine = Run(
            workflow,
            in_turn(pool.call, variant.slots) if fifo else pool.call,
            RunSettings(
                schedule=variant.schedule,
                max_concurrency=0 if fifo else variant.slots,
                estimates=took_s if variant.order == "time" else None,
            ),
            servers=Servers(tools=pool.catalog.of(["mock"]), policies=pool.policies),
        )
        with anyio.fail_after(RUN_LIMIT_S):
            result = await engine.execute()
        check(result)
        check_digests(trace, result)
        if not variant.slots:  # times without waiting are the estimates of the order by time
            took_s.update({task: each.duration_ms / 1000 for task, each in result.tasks.items()})

    return run


def in_turn(call_next: Caller, slots: int) -> Caller:
    """A caller that makes so many calls at a time, first come, first served."""
    # The limit of the engine has priorities; this one is a queue.
    limiter = anyio.CapacityLimiter(slots)

    async def call_in_turn(call: Call, attempt: Attempt) -> Any:
        async with limiter:
            return await call_next(call, attempt)

    return call_in_turn


def check_digests(trace: Trace, result: RunResult) -> None:
    """Raise `RunFailedError` unless every task received the outputs that it depends on."""
    for task, expected in trace.digests.items():
        output = result[task].output
        digest = output.get("digest") if isinstance(output, dict) else None
        if digest != expected:
            raise RunFailedError(f"{trace.name}: {task} answered {digest!r}, not {expected!r}")


@asynccontextmanager
async def opened() -> AsyncIterator[ServerPool]:
    """A pool with the server `mock`, which is ready and warm."""
    server = Server(name="mock", **scenarios.programs("bare")["bare"])
    async with ServerPool({"mock": server}) as pool:
        await pool.open(["mock"])
        # The first calls of a process are slower: no graph has to pay for them.
        warm_up = scenarios.branches(100, delay_ms=0).workflow("warm-up", "mock")
        check(await Run(Workflow.load(warm_up), pool.call).execute())
        yield pool


async def measure(traces: Sequence[Trace], rounds: int) -> list[Result]:
    """Run every trace in all its variants, in turns within each round."""
    results: list[Result] = []
    async with opened() as pool:
        for trace in traces:
            run, variants = runner(pool, trace), traced.variants(trace)
            sides = {variant.name: Side(partial(run, variant)) for variant in variants}
            result = Result(trace, await take_turns(sides, rounds, warm_up=False))
            results.append(result)
            for variant in variants:
                ratio = report.ratio(result.of_bound(variant))
                print(f"  {trace.name}, {variant.name}: {ratio} of the bound", file=sys.stderr)
    return results


def parser() -> argparse.ArgumentParser:
    rounds = "default: 3, or 1 with --quick, which runs three small traces"
    parser = options.parser("traces", str(__doc__), WHERE, rounds)
    option = parser.add_argument
    option("--traces", type=Path, default=FOLDER, metavar="DIR", help="default: %(default)s")
    option("--only", action="append", default=[], metavar="NAME", help="this trace (repeatable)")
    option("--scale", type=float, default=1.0, metavar="X", help="multiply all delays")
    options.add_check_and_backend(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0, or 1 if a run failed or a target is missed, or 2 if the usage is wrong."""
    args = parser().parse_args(arguments)
    settings = Settings(args.quick, args.rounds, args.backend)
    rounds = settings.pick(3, 1)
    try:
        names = args.only or (QUICK if args.quick else ())
        traces = load_all(args.traces, names, args.scale)
    except NoTracesError as error:
        print(f"{error}\n\n{WHERE}", file=sys.stderr)
        return 2
    results: list[Result] = []
    try:
        results = anyio.run(measure, traces, rounds, backend=args.backend)
    except* RunFailedError as group:
        print(*report.failures(group), sep="\n", file=sys.stderr)
    if not results:
        return 1
    facts = report.machine(settings)
    if args.json:
        numbers = [each for result in results for each in result.to_dicts()]
        report.save(args.json, {"machine": facts, "measurements": numbers})
    report.show(facts, traced.tables(results))
    slow = traced.missed(results)
    print(*slow, sep="\n", file=sys.stderr)
    return 1 if args.check and slow else 0
