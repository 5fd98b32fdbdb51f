"""A server of the pool, and then the pool, are killed in the middle of runs: random moments."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, RunResult
from orchestrator.calls.call import Call
from tests.daemon.pools import Warm, faulty, until, warm

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="it has no SIGKILL"),
]
CLIENTS, AT_ONCE, TASKS = 3, 2, 10


def plan(chance: random.Random) -> dict[str, Any]:
    """Calls that are not repeated when they are lost, and one that runs whatever became of them."""
    tasks: list[dict[str, Any]] = [
        {
            "id": f"t{n}",
            "tool": "faulty:append",
            "arguments": {"value": n, "ms": chance.randint(0, 20)},
        }
        for n in range(TASKS)
    ]
    last = {"id": "last", "tool": "faulty:echo", "arguments": {"value": 7}, "run_if": "all_done"}
    last["depends_on"] = [task["id"] for task in tasks]
    return {"tasks": [*tasks, last], "max_concurrency": AT_ONCE, "schedule": "dataflow"}


async def kill_server(kept: Warm) -> None:
    session = next(iter(kept.program()._live))
    pid = (await session.call(Call("t", "faulty", "pid", {})))["pid"]
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("seed", range(int(os.environ.get("RANDOM_CASES", "1"))))
async def test_runs_lose_only_the_calls_in_flight(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    results: list[RunResult] = []
    async with warm(tmp_path, faulty()) as kept:

        async def run() -> None:
            async with Orchestrator(kept.pool()) as orchestrator:
                results.append(await orchestrator.run(plan(chance)))

        async with anyio.create_task_group() as group:
            for _ in range(CLIENTS):
                group.start_soon(run)
            await until(kept.calls)
            await kill_server(kept)
            await anyio.sleep(chance.random() / 5)
            kept.kill()
    lost = [each.error for result in results for each in result.tasks.values() if each.error]
    assert all(error.details.get("lost") for error in lost), lost
    assert len(lost) <= 2 * CLIENTS * AT_ONCE
    assert [result["last"].output for result in results] == [{"value": 7}] * CLIENTS
