"""The warnings of a run are found beside it and never end it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator
from orchestrator.cli.plan_warnings import PlanWarnings
from orchestrator.engine.events import RunStarted, ServerFailed, ServerReady
from orchestrator.errors import TaskError
from tests.fakes import workflow

pytestmark = pytest.mark.anyio
PLAN = workflow(
    {"id": "a", "tool": "s:x"}, {"id": "b", "tool": "t:x"}, inputs={"n": {"default": 1}}
)


async def test_they_are_found_when_every_server_is_ready_or_has_failed() -> None:
    warnings = PlanWarnings(Orchestrator({"s": "http://x", "t": "http://y"}), PLAN)
    down = TaskError("server_unavailable", "down", True)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(warnings.find)
            warnings.on_event(RunStarted(0.0, "r", "w", "dataflow", [["a", "b"]]))
            warnings.on_event(ServerReady(0.0, "s", "", 0, 0.0))
            await anyio.wait_all_tasks_blocked()
            assert not warnings.has_begun
            warnings.on_event(ServerFailed(0.0, "t", down))
    assert [problem.code for problem in warnings.found] == ["unused_input"]


async def test_a_fault_of_the_check_is_no_fault_of_the_run() -> None:
    class Broken(Orchestrator):
        def warnings(self, *_: Any) -> Any:
            raise RecursionError

    warnings = PlanWarnings(Broken({}), workflow({"id": "a", "value": 1}))
    warnings.on_event(RunStarted(0.0, "r", "w", "dataflow", [["a"]]))
    with anyio.fail_after(30):
        await warnings.find()
    assert warnings.found == []
