"""A fresh process each time, to its exit or to its first call: interpreter, imports, servers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from benchmarks import scenarios
from benchmarks.measure import (
    Measurement,
    RunFailedError,
    Settings,
    Side,
    Tell,
    Timer,
    flat,
    paired,
    take_turns,
    timed,
)

SEQUENTIAL = ("--max-concurrency", "1")

# By variant: the mock server, and how many of it; all but the first are needed later.
FIRST_CALLS = {
    "first call": ("delay", 1),
    "first call of 5 servers": ("delay", 5),
    "first call, quick server": ("faulty", 1),
}


async def measure(wanted: frozenset[str], settings: Settings, tell: Tell) -> None:
    """Measure fresh processes: the job of five tools, by hand too, five delays, first calls."""
    if "cold" not in wanted:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers = write_servers(folder / "servers.toml", *scenarios.TOOL_SERVERS, "delay")
        five_tools = write_workflow(folder, "five-tools", scenarios.FIVE_TOOLS)
        five = write_workflow(folder, "five", scenarios.FIVE.workflow("five"))
        command = ("orchestrator", "run", "--servers", str(servers), "--json")
        ways = {"run": process(*command, str(five_tools)), "by hand": process("benchmarks.by_hand")}
        if not settings.quick:
            ways["sequential"] = process(*command, *SEQUENTIAL, str(five_tools))
        await _compare("five-tools", ways, settings, tell)
        if not settings.quick:
            ways = {
                "run": process(*command, str(five)),
                "sequential": process(*command, *SEQUENTIAL, str(five)),
            }
            await _compare("five", ways, settings, tell)
            for job, (server, count) in FIRST_CALLS.items():
                ways = first_call(folder, server, count)
                await _compare(job, ways, settings, tell, until_the_first_call)


def write_servers(path: Path, *names: str, **others: str) -> Path:
    """A servers.toml of mock servers, run by the Python that runs this; `others` by their names."""
    lines: list[str] = []
    for name, module in {**dict(zip(names, names, strict=True)), **others}.items():
        fields = {
            "command": sys.executable,
            "args": scenarios.arguments_of(module),
            "cwd": str(scenarios.HERE),
        }
        lines += [f"[servers.{name}]", *(f"{key} = {json.dumps(fields[key])}" for key in fields)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def first_call(folder: Path, server: str, count: int) -> dict[str, Callable[[], Awaitable[Any]]]:
    """The first call on so many servers of a kind, by a workflow and by hand."""
    names = [f"server{number}" for number in range(count)]
    tasks = [
        {"id": name, "tool": f"{name}:now", "depends_on": names[:1] if number else []}
        for number, name in enumerate(names)
    ]
    document = {"name": "first", "tasks": tasks, "output": f"$OUTPUT[{names[0]}]"}
    servers = write_servers(folder / "first.toml", **dict.fromkeys(names, server))
    workflow = write_workflow(folder, "first", document)
    command = ("orchestrator", "run", "--servers", str(servers), "--json", str(workflow))
    return {
        "run": process(*command),
        "by hand": process("benchmarks.first_by_hand", server, str(count)),
    }


async def until_the_first_call(run: Callable[[], Awaitable[Any]]) -> float:
    """From the start of a process to the moment at which its first call arrived, milliseconds."""
    began_at = time.monotonic_ns()
    document = await run()
    arrived_at: int = document["output"]["ns"]
    return (arrived_at - began_at) / 1e6


def write_workflow(folder: Path, name: str, document: dict[str, Any]) -> Path:
    """A workflow file."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def process(module: str, *arguments: str) -> Callable[[], Awaitable[Any]]:
    """Runs `python -m module` once, sees to it that it did its job, and gives what it printed."""
    command = (sys.executable, "-m", module, *arguments)

    async def run() -> Any:
        ended = await anyio.run_process(
            command, check=False, stdin=subprocess.DEVNULL, cwd=scenarios.HERE
        )
        return check(command, ended.returncode, ended.stdout, ended.stderr)

    return run


def check(command: Sequence[str], code: int, printed: bytes, said: bytes) -> dict[str, Any]:
    """What a process printed; `RunFailedError` unless it ended well and the document says so."""
    document = json.loads(printed) if code == 0 else {}
    if code or document.get("status", "success") != "success":
        words = said.decode(errors="replace").strip() or printed.decode(errors="replace")
        raise RunFailedError(f"{' '.join(command)} ended with {code}: {words[-500:]}")
    return document


async def _compare(
    job: str,
    ways: dict[str, Callable[[], Awaitable[Any]]],
    settings: Settings,
    tell: Tell,
    timer: Timer = timed,
) -> None:
    sides = {name: Side(run) for name, run in ways.items()}
    rounds, warm_up = settings.pick(12, 2), not settings.quick
    times = await take_turns(sides, rounds, warm_up=warm_up, timer=timer)
    for name, mine in times.items():
        ratios = {
            ratio: paired(above, below)
            for ratio, side, above, below in (
                ("speedup", "sequential", times.get("sequential"), mine),
                ("by_hand", "by hand", mine, times.get("by hand")),
            )
            if above and below and name != side
        }
        tell(Measurement("cold", f"{job}: {name}", flat(mine), ratios))
