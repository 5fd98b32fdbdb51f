"""Servers, plans and schemas that do harm, beside a server that does none.

Each row runs in a process of its own, so that its peak memory can be told. Every 10 ms a call of
the second server is due: the time until its answer counts from then, so that a blocked event loop
delays all calls that were due meanwhile.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import anyio
from anyio.streams.text import TextReceiveStream
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks import options
from benchmarks.measure import percentile
from orchestrator import Orchestrator, RunResult, Server
from orchestrator.documents.collector import tune
from orchestrator.transport import http_client

DUE_S = 0.01  # between two calls of the second server
ALONE = 200  # calls of it before the harm begins
LIMIT_S = 30.0
MEMORY_MB = 300
SLOWER = 3.0
CALL = {"id": "a", "tool": "hostile:t"}


def _expression(text: str) -> dict[str, Any]:
    return {"id": "a", "tool": "hostile:t", "arguments": {"x": f"${{{text}}}"}}


DOUBLES = "INPUT.x" + " | [@, @]" * 27
STEPS = "INPUT.n[].[[@, @, @], @, @, @, @][]"


@dataclass(frozen=True, slots=True)
class Row:
    """A harm.

    Attributes:
        title: What happens.
        task: The task that it is done to.
        outcome: How that ends: `success`, or the kind of its error or of that of the run.
        inputs: The inputs of the workflow.
        result_mb: What the result itself takes in memory, about.
        http: Whether the server is reached over HTTP.
        max_run_mb: What the run may hold.
    """

    title: str
    outcome: str
    task: dict[str, Any]
    inputs: dict[str, Any] | None = None
    result_mb: int = 0
    http: bool = False
    max_run_mb: int = 1000


NUMBERS = {"n": list(range(900_000)), "x": "x", "m": list(range(6000))}
EACH = {**CALL, "for_each": list(range(1000))}
ROWS: dict[str, Row] = {
    "pattern": Row("a pattern that backtracks, in an output schema", "output_invalid", CALL),
    "doubling": Row("40 definitions that double, in an output schema", "success", CALL),
    "unique": Row("`uniqueItems` over 4,000 objects", "success", CALL),
    "error": Row("an error text of 64 KB", "invalid_arguments", CALL),
    "forged": Row("an error that looks like one of ours", "protocol_error", CALL),
    "containers": Row("60 MB of empty arrays in a result", "protocol_error", CALL),
    "contents": Row("500,000 content items in a result", "protocol_error", CALL),
    "tools-50000": Row("50,000 tools in a page", "success", CALL),
    "tools-1000000": Row("1,000,000 tools in a page", "server_unavailable", CALL),
    "storm": Row("says without end that its 30,000 tools changed", "success", CALL),
    "pings": Row("asks without end, reads no answer", "server_unavailable", CALL),
    "outputs": Row("1,000 outputs of 100 KB, of which 50 MB may be kept", "budget", EACH,
                   result_mb=50, max_run_mb=50),
    "redirect": Row("a redirect whose body does not end", "protocol_error", CALL, http=True),
    "reopened": Row("streams of events that end at once", "success", CALL, http=True),
    "expression": Row("an expression that doubles 27 times", "reference_error",
                      _expression(DOUBLES), NUMBERS),
    "steps": Row("an expression that takes its whole budget", "reference_error",
                 _expression(STEPS), NUMBERS),
    "items": Row("a list of 36,000,000 for `for_each`", "reference_error",
                 {**CALL, "for_each": "${INPUT.m[].[INPUT.m][][]}"}, NUMBERS),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figures:
    """What a row came to; times in seconds or milliseconds, memory in megabytes."""

    row: str
    outcome: str
    took_s: float
    peak_mb: float
    alone_ms: float
    beside_ms: float
    longest_ms: float

    @property
    def faults(self) -> list[str]:
        """What is not as it has to be."""
        row = ROWS[self.row]
        return [
            what
            for what, is_wrong in {
                f"expected {row.outcome}": self.outcome != row.outcome,
                "too slow": self.took_s > LIMIT_S + 1,
                "too much memory": self.peak_mb > MEMORY_MB + row.result_mb,
                "disturbs": self.beside_ms > SLOWER * self.alone_ms,
            }.items()
            if is_wrong
        ]


def peak_mb() -> float:
    """The most memory that this process has had."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1_000_000 if sys.platform == "darwin" else 1000)


class Bystander:
    """Calls of the second server, one every 10 ms."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self.took_ms: list[float] = []

    async def call(self, number: int, due: float) -> None:
        """Make a call that was due at a time."""
        output = await self._orchestrator.call("good:echo", {"value": number})
        assert output == {"value": number}
        self.took_ms.append((anyio.current_time() - due) * 1000)

    async def go_on(self, count: int, until: anyio.Event | None = None) -> list[float]:
        """Make so many calls, and further ones until an event; how long each took."""
        self.took_ms = []
        due = anyio.current_time()
        async with anyio.create_task_group() as group:
            for number in range(1_000_000):
                if number >= count and (until is None or until.is_set()):
                    break
                group.start_soon(self.call, number, due)
                due += DUE_S
                await anyio.sleep_until(due)
        return self.took_ms


@asynccontextmanager
async def hostile(name: str, limit_s: float) -> AsyncIterator[Server]:
    """The server of a row."""
    arguments = ["-m", "benchmarks.hostile", name]
    if not ROWS[name].http:
        yield Server(command=sys.executable, args=arguments, timeout_s=limit_s)
        return
    async with await anyio.open_process([sys.executable, *arguments], stderr=None) as process:
        assert process.stdout is not None
        port = await TextReceiveStream(process.stdout).receive()
        yield Server(url=f"http://127.0.0.1:{port.strip()}/mcp", timeout_s=limit_s)
        process.kill()


async def measure(name: str, alone: int = ALONE, limit_s: float = LIMIT_S) -> Figures:
    """Run a row in this process; its calls may take so long."""
    row = ROWS[name]
    inputs = {key: {"type": ["array", "string"]} for key in row.inputs or {}}
    plan = {"inputs": inputs, "tasks": [row.task]}
    good = Server(command=sys.executable, args=["-m", "mock_servers.faulty"])
    over, results = anyio.Event(), []
    async with (
        hostile(name, limit_s) as server,
        Orchestrator({"good": good, "hostile": server}) as both,
    ):
        bystander = Bystander(both)
        # What is imported at the first use is no harm of the server.
        import_module("mcp.client.streamable_http")
        http_client.tls()
        await both.run(
            {"tasks": [{"id": "a", "tool": "good:echo", "arguments": {"value": "${`1`}"}}]}
        )
        await bystander.go_on(alone // 4)
        before_ms, before_mb = await bystander.go_on(alone), peak_mb()
        began = anyio.current_time()
        after_ms: list[float] = []

        async def beside() -> None:
            after_ms.extend(await bystander.go_on(alone, over))

        async with anyio.create_task_group() as group:
            group.start_soon(beside)
            results.append(await both.run(plan, row.inputs, max_run_mb=row.max_run_mb))
            took_s = anyio.current_time() - began
            over.set()
    return Figures(
        name,
        outcome_of(results[0]),
        took_s,
        peak_mb() - before_mb,
        percentile(before_ms, 95),
        percentile(after_ms, 95),
        max(after_ms),
    )


def outcome_of(result: RunResult) -> str:
    """The kind of the error, or the status of the task."""
    error = result.error or result["a"].error
    return result["a"].status if error is None else error.kind


def alone_in_a_process(name: str, alone: int = ALONE, limit_s: float = LIMIT_S) -> Figures:
    """Run a row in a process of its own."""
    row = ["--row", name, "--alone", str(alone), "--limit-s", str(limit_s)]
    command = [sys.executable, "-m", "benchmarks", "adversary", *row]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"row {name} failed: {done.stderr[-2000:]}")
    return Figures(**json.loads(done.stdout))


def table(rounds: Sequence[Sequence[Figures]]) -> Table:
    """All rows with the median of their rounds, and the worst where that tells more."""
    shown = Table(title="What a server can do", box=SIMPLE_HEAD)
    for heading in ("what happens", "ends as", "after", "memory", "P95 alone, beside", "ratio",
                    "longest", ""):  # fmt: skip
        shown.add_column(heading, justify="left" if heading[:1] in "we" else "right")
    for figures in rounds:
        worst = max(figures, key=lambda each: each.beside_ms / each.alone_ms)
        ratios = [each.beside_ms / each.alone_ms for each in figures]
        shown.add_row(
            ROWS[worst.row].title,
            worst.outcome,
            f"{max(each.took_s for each in figures):.1f} s",
            f"{max(each.peak_mb for each in figures):.0f} MB",
            f"{worst.alone_ms:.1f}, {worst.beside_ms:.1f} ms",
            f"{min(ratios):.1f} to {max(ratios):.1f}" if len(ratios) > 1 else f"{ratios[0]:.1f}",
            f"{max(each.longest_ms for each in figures):.0f} ms",
            "; ".join(worst.faults),
        )
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all rows, or one in this process and print its figures as JSON."""
    parser: argparse.ArgumentParser = options.parser(
        "adversary", __doc__ or "", "", "rounds of each row (default: 1)"
    )
    parser.add_argument("--only", action="append", choices=list(ROWS), metavar="NAME")
    parser.add_argument("--row", choices=list(ROWS), help=argparse.SUPPRESS)
    parser.add_argument("--alone", type=int, default=ALONE, help=argparse.SUPPRESS)
    parser.add_argument("--limit-s", type=float, default=LIMIT_S, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.row:
        tune()  # as the command does
        print(json.dumps(asdict(anyio.run(measure, chosen.row, chosen.alone, chosen.limit_s))))
        return 0
    rounds = []
    for name in chosen.only or ROWS:
        rounds.append([alone_in_a_process(name) for _ in range(chosen.rounds or 1)])
        print(f"  {rounds[-1]}", file=sys.stderr)
    if chosen.json:
        chosen.json.write_text(json.dumps([[asdict(each) for each in row] for row in rounds]))
    Console(width=150).print(table(rounds))
    return 1 if any(each.faults for row in rounds for each in row) else 0
