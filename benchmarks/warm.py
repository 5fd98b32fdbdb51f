"""Commands from the shell whose servers a warm pool keeps, beside a program that starts them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

import anyio

from benchmarks import cold, scenarios
from benchmarks.measure import Bench, Measurement, Side, take_turns

SERVERS = 5


async def measure(_: Collection[str], bench: Bench) -> None:
    """Measure five instant calls on five servers, and one call, beside a program by hand."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = cold.first_call(folder, "faulty" if bench.quick else "delay", SERVERS)
        servers = ("--servers", str(folder / "first.toml"))
        commands["call"] = cold.process("orchestrator", "call", "server0:now", "--json", *servers)
        sides = {side: Side(command) for side, command in commands.items()}
        await cold.process("orchestrator", "up", "--json", *servers)()
        try:
            times = await take_turns(sides, bench.pick(20, 3), warm_up=not bench.quick)
        finally:
            down = (sys.executable, "-m", "orchestrator", "down", *servers)
            await anyio.run_process(down, check=False, cwd=scenarios.HERE)
    for side in times:
        ratios = {"by_hand": times.ratio(side, "by hand")}
        bench.record(Measurement("warm", side, times.flat(side), ratios))
