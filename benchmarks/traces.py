"""Graphs recorded from real systems, run for real: `python -m benchmarks traces --traces DIR`.

Each task waits as long as the one that was recorded did, in a mock server over stdio. What a run
took is compared with what no run can beat; the schedules, and the orders in which tasks get their
slots, take turns within each round. Every answer is checked: a digest of what its task needed.

The rule of this file: options, runs and the exit code. What runs could take is in `recorded`, what
they did is judged in `traced`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from rich.console import Console

from benchmarks import report, traced, traces_report
from benchmarks.delays import check, timeline
from benchmarks.measure import RunFailedError, Settings, Side, take_turns
from benchmarks.one_call import call_cost_ms, opened, server_cost_ms
from benchmarks.recorded import NoTracesError, Trace, load_all
from benchmarks.traced import Measured, Variant, variants
from orchestrator import RunResult, Statistics, Workflow
from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.engine.run import Run
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
        self.results: dict[Variant, list[RunResult]] = {}
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
            tools=self._pool.catalog(["mock"]),
            servers=self._pool.policies,
            schedule=variant.schedule,
            max_concurrency=0 if fifo else variant.slots,
            estimates=known,
        )
        with anyio.fail_after(RUN_LIMIT_S):
            result = await run.execute()
        check(result)
        check_digests(self._trace, result)
        self.results.setdefault(variant, []).append(result)
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


async def measure(traces: Sequence[Trace], options: argparse.Namespace) -> list[Measured]:
    """Run every trace in every way, in turns within each round."""
    made: list[Measured] = []
    console = Console(stderr=True)
    async with opened(options.server) as pool:
        for trace in traces:
            stage = Stage(pool, trace)
            ways = variants(trace)
            sides = {way.name: stage.side(way) for way in ways}
            times = await take_turns(sides, options.rounds, warm_up=False)
            for way in ways:
                last = timeline(stage.results[way][-1])
                taken = [ms for of_round in times[way.name] for ms in of_round]
                made.append(Measured(trace, way, taken, last))
                console.print(
                    traces_report.line(made[-1]), highlight=False, style="dim", soft_wrap=True
                )
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
    option("--rounds", type=_positive, metavar="N", help="default: 3, or 1 with --quick")
    option("--quick", action="store_true", help="three small traces, in less than a minute")
    option(
        "--scale",
        type=_factor,
        default=1.0,
        metavar="X",
        help="shorten all delays by a factor; what is not delay then weighs more",
    )
    option(
        "--server",
        choices=("bare", "delay"),
        default="bare",
        help="the mock server: one on the standard library alone, or one on the SDK "
        "(default: %(default)s)",
    )
    option("--json", type=Path, metavar="FILE", help="save all numbers as JSON")
    option("--markdown", action="store_true", help="print the tables of docs/benchmarks.md")
    option("--plot", type=Path, metavar="FILE", help="draw a picture; needs matplotlib")
    option("--check", action="store_true", help="exit with 1 if the engine misses a target")
    option("--backend", choices=("asyncio", "trio"), default="asyncio", help="default: %(default)s")
    return made


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("has to be 1 or more")
    return number


def _factor(text: str) -> float:
    if not 0 < (factor := float(text)) <= 10:
        raise argparse.ArgumentTypeError("has to be above 0, and 10 at most")
    return factor


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if everything was measured; 1 if a run went wrong or a target is missed; 2 for usage."""
    options = parser().parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 3)
    wanted = options.only or (QUICK if options.quick else ())
    try:
        traces = load_all(options.traces, wanted, options.scale)
    except NoTracesError as error:
        print(f"{error}\n\n{WHERE}", file=sys.stderr)
        return 2
    if options.plot and (missing := _missing()):
        print(missing, file=sys.stderr)
        return 2
    return _measure_and_report(traces, options)


def _missing() -> str:
    from benchmarks import plot

    return plot.missing()


def _measure_and_report(traces: Sequence[Trace], options: argparse.Namespace) -> int:
    facts = report.machine(Settings(options.quick, options.rounds, options.backend))
    console = Console()
    console = console if console.is_terminal else Console(width=max(console.width, 150))
    said = Console(stderr=True)
    said.print(traces_report.expectation(traces, options.rounds), highlight=False, soft_wrap=True)
    costs = {"server_ms": server_cost_ms(options.server)}
    costs["call_ms"] = anyio.run(call_cost_ms, options.server, backend=options.backend)
    try:
        made = anyio.run(measure, traces, options, backend=options.backend)
    except RunFailedError as failure:
        print(failure, file=sys.stderr)
        return 1
    facts |= {"rounds": options.rounds, "scale": options.scale, "server": options.server, **costs}
    if options.json:
        text = json.dumps(traces_report.document(facts, made), indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.plot:
        from benchmarks.traces_plot import draw

        draw(made, options.plot)
    if options.markdown:
        print(traces_report.markdown(made, facts))
    else:
        console.print(traces_report.heading(facts), highlight=False)
        for title, table in traces_report.tables(made):
            console.print(title, style="bold", highlight=False)
            console.print(table)
    slow = [verdict for verdict in traced.verdicts(made) if verdict.is_ours]
    for verdict in slow:
        said.print(str(verdict), highlight=False, markup=False)
    return 1 if options.check and slow else 0


if __name__ == "__main__":
    sys.exit(main())
