"""A fresh process each time: from its start to its exit, interpreter, imports, servers and all.

The rule of this file: nothing is warm but the disk. The command is what a user would type, and the
document it prints is read to see that the job was done.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
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
    flat,
    paired,
    take_turns,
)

SEQUENTIAL = ("--max-concurrency", "1")


async def measure(wanted: frozenset[str], settings: Settings, tell: Tell) -> None:
    """Measure fresh processes: the job of five tools, by hand too, and five delays."""
    if "cold" not in wanted:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers = write_servers(folder / "servers.toml", *scenarios.TOOL_SERVERS, "delay")
        five_tools = write_workflow(folder, "five-tools", scenarios.FIVE_TOOLS)
        five = write_workflow(folder, "five", scenarios.FIVE.workflow("five"))
        command = ("orchestrator", "run", "--servers", str(servers), "--json")
        ways = {"run": process(*command, str(five_tools))}
        if not settings.quick:
            ways["by hand"] = process("benchmarks.by_hand")
            ways["sequential"] = process(*command, *SEQUENTIAL, str(five_tools))
        await _compare("five-tools", ways, settings, tell)
        if not settings.quick:
            ways = {
                "run": process(*command, str(five)),
                "sequential": process(*command, *SEQUENTIAL, str(five)),
            }
            await _compare("five", ways, settings, tell)


def write_servers(path: Path, *names: str) -> Path:
    """A servers.toml of mock servers, run by the Python that runs this."""
    lines: list[str] = []
    for name in names:
        fields = {
            "command": sys.executable,
            "args": scenarios.arguments_of(name),
            "cwd": str(scenarios.HERE),
        }
        lines += [f"[servers.{name}]", *(f"{key} = {json.dumps(fields[key])}" for key in fields)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_workflow(folder: Path, name: str, document: dict[str, Any]) -> Path:
    """A workflow file."""
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def process(module: str, *arguments: str) -> Callable[[], Awaitable[None]]:
    """Runs `python -m module` once, and sees to it that it did its job."""
    command = (sys.executable, "-m", module, *arguments)

    async def run() -> None:
        ended = await anyio.run_process(
            command, check=False, stdin=subprocess.DEVNULL, cwd=scenarios.HERE
        )
        check(command, ended.returncode, ended.stdout, ended.stderr)

    return run


def check(command: Sequence[str], code: int, printed: bytes, said: bytes) -> None:
    """Raise `RunFailedError` unless a process ended well and printed a document that says so."""
    document = json.loads(printed) if code == 0 else {}
    if code or document.get("status", "success") != "success":
        words = said.decode(errors="replace").strip() or printed.decode(errors="replace")
        raise RunFailedError(f"{' '.join(command)} ended with {code}: {words[-500:]}")


async def _compare(
    job: str, ways: dict[str, Callable[[], Awaitable[None]]], settings: Settings, tell: Tell
) -> None:
    sides = {name: Side(run) for name, run in ways.items()}
    times = await take_turns(sides, settings.pick(12, 2), warm_up=not settings.quick)
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
