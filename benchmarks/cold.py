"""A fresh process each time, to its exit or to its first call: interpreter, imports, servers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import anyio

from benchmarks import scenarios
from benchmarks.measure import Bench, Measurement, RunFailedError, Side, Timer, take_turns

# Runs a process once, and returns the document that it printed.
Process = Callable[[], Awaitable[dict[str, Any]]]

SEQUENTIAL = ("--max-concurrency", "1")

# By variant: the mock server, and how many of it; all but the first are needed later.
FIRST_CALLS = {
    "first call": ("delay", 1),
    "first call of 5 servers": ("delay", 5),
    "first call, quick server": ("faulty", 1),
}


async def measure(_: Collection[str], bench: Bench) -> None:
    """Measure fresh processes: the job of five tools, by hand too, five delays, first calls."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers = write_servers(folder / "servers.toml", *scenarios.TOOL_SERVERS, "delay")
        five_tools = write_workflow(folder, "five-tools", scenarios.FIVE_TOOLS)
        five = write_workflow(folder, "five", scenarios.FIVE.workflow("five"))
        sides = {"run": run(servers, five_tools), "by hand": process("benchmarks.by_hand")}
        if not bench.quick:
            sides["sequential"] = run(servers, five_tools, *SEQUENTIAL)
        await _compare("five-tools", sides, bench)
        if not bench.quick:
            sides = {"run": run(servers, five), "sequential": run(servers, five, *SEQUENTIAL)}
            await _compare("five", sides, bench)
            for job, (server, count) in FIRST_CALLS.items():
                sides = first_call(folder, server, count)
                await _compare(job, sides, bench, until_the_first_call)


def write_servers(path: Path, *names: str, **others: str) -> Path:
    """A servers.toml of mock servers on the Python of this process; `others` by their names."""
    lines: list[str] = []
    for name, module in {**dict(zip(names, names, strict=True)), **others}.items():
        program = scenarios.programs(module)[module]
        lines += [f"[servers.{name}]", *(f"{key} = {json.dumps(program[key])}" for key in program)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_workflow(folder: Path, name: str, document: dict[str, Any]) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def first_call(folder: Path, server: str, count: int) -> dict[str, Process]:
    """The first call on so many servers of a kind, by a workflow and by hand."""
    first, *others = names = [f"server{number}" for number in range(count)]
    tasks = [scenarios.call(first, f"{first}:now")]
    tasks += [scenarios.call(name, f"{name}:now", [first]) for name in others]
    document = {"name": "first", "tasks": tasks, "output": f"$OUTPUT[{first}]"}
    servers = write_servers(folder / "first.toml", **dict.fromkeys(names, server))
    return {
        "run": run(servers, write_workflow(folder, "first", document)),
        "by hand": process("benchmarks.first_by_hand", server, str(count)),
    }


async def until_the_first_call(run: Process) -> float:
    """From the start of a process to the moment at which its first call arrived, milliseconds."""
    began_at = time.monotonic_ns()  # the clock of the mock server, which all processes share
    document = await run()
    arrived_at: int = document["output"]["ns"]
    return (arrived_at - began_at) / 1e6


def run(servers: Path, workflow: Path, *options: str) -> Process:
    paths = ("--servers", str(servers), str(workflow))
    return process("orchestrator", "run", "--json", *options, *paths)


def process(module: str, *arguments: str) -> Process:
    command = (sys.executable, "-m", module, *arguments)

    async def run_process() -> dict[str, Any]:
        ended = await anyio.run_process(
            command, check=False, stdin=subprocess.DEVNULL, cwd=scenarios.HERE
        )
        return check(command, ended.returncode, ended.stdout, ended.stderr)

    return run_process


def check(command: Sequence[str], code: int, stdout: bytes, stderr: bytes) -> dict[str, Any]:
    """The document that a process printed; `RunFailedError` unless it reports a success."""
    document: dict[str, Any] = json.loads(stdout) if code == 0 else {}
    if code or document.get("status", "success") != "success":
        output = stderr.decode(errors="replace").strip() or stdout.decode(errors="replace")
        raise RunFailedError(f"{' '.join(command)} ended with {code}: {output[-500:]}")
    return document


async def _compare(
    job: str,
    processes: dict[str, Process],
    bench: Bench,
    timer: Timer | None = None,
) -> None:
    sides = {name: Side(process) for name, process in processes.items()}
    rounds, warm_up = bench.pick(12, 2), not bench.quick
    times = await take_turns(sides, rounds, warm_up=warm_up, timer=timer)
    for name in times:
        ratios = {
            "speedup": times.ratio("sequential", name),
            "by_hand": times.ratio(name, "by hand"),
        }
        bench.record(Measurement("cold", f"{job}: {name}", times.flat(name), ratios))
