"""A plan that runs while a model writes it, beside one that runs when all of it is written."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection, Iterator
from typing import Any

import anyio

from benchmarks.measure import Bench, Measurement, RunFailedError
from benchmarks.scenarios import HERE
from orchestrator import Orchestrator, RunResult
from orchestrator.servers.config import Server
from orchestrator.workflow.plan_reader import PlanReader

TASKS, LANES, TASK_MS = 20, 4, 200
TOKENS_PER_S, QUICK_TOKENS_PER_S = 50.0, 250.0
TOKEN = 4  # characters, on average in JSON


async def measure(_: Collection[str], bench: Bench) -> None:
    """Measure from the last token of a plan of 20 tasks to the end of its run."""
    pace = QUICK_TOKENS_PER_S if bench.quick else TOKENS_PER_S
    server = Server(command=sys.executable, args=["-m", "mock_servers.bare"], cwd=str(HERE))
    text = json.dumps({"tasks": list(_tasks())}, indent=1)
    times: dict[str, list[float]] = {"as it is written": [], "when all is written": []}
    async with Orchestrator({"bare": server}) as orchestrator:
        await orchestrator.run(
            {"tasks": [{"id": "first", "tool": "bare:delay"}]}
        )  # its server starts
        for _round in range(bench.pick(5, 1)):
            times["as it is written"].append(await _growing(orchestrator, text, pace))
            times["when all is written"].append(await _whole(orchestrator, text))
    for side, each in times.items():
        whole = zip(each, times["when all is written"], strict=True)
        ratios = {"one_task": [ms / TASK_MS for ms in each]}
        if side == "as it is written":
            ratios["all_written"] = [above / below for above, below in whole]
        values = {"tokens_per_s": pace, "tokens": len(text) / TOKEN}
        bench.record(Measurement("written", side, each, ratios, values))


def _tasks() -> Iterator[dict[str, Any]]:
    for number in range(TASKS):
        task: dict[str, Any] = {"id": f"step_{number}", "tool": "bare:delay"}
        task["arguments"] = {"ms": TASK_MS, "label": f"step {number}"}
        if number >= LANES:
            task["depends_on"] = [f"step_{number - LANES}"]
        yield task


async def _growing(orchestrator: Orchestrator, text: str, pace: float) -> float:
    reader, began = PlanReader(), time.perf_counter()
    async with orchestrator.open() as run:
        for number, at in enumerate(range(0, len(text), TOKEN)):
            # The model goes on writing while a task is checked.
            written_at = began + (number + 1) / pace
            await anyio.sleep(max(0.0, written_at - time.perf_counter()))
            for piece in reader.feed(text[at : at + TOKEN]):
                if piece.is_task:
                    await run.add(piece.value)
        return _since(written_at, await run.close())


async def _whole(orchestrator: Orchestrator, text: str) -> float:
    began = time.perf_counter()
    return _since(began, await orchestrator.run(json.loads(text)))


def _since(began: float, result: RunResult) -> float:
    if result.status != "success" or len(result.tasks) != TASKS:
        raise RunFailedError(f"the run ended as {result.status}")
    return (time.perf_counter() - began) * 1000
