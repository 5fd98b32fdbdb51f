"""The workflows that are measured, and the checks of their runs."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest

from benchmarks import checking, cold, scenarios
from benchmarks import sessions as many
from benchmarks.delays import GRAPHS
from benchmarks.measure import (
    RunFailedError,
)
from orchestrator import RunResult, Workflow
from orchestrator.check.checker import prove
from orchestrator.engine.run import Run
from tests.conftest import ON_ASYNCIO
from tests.fakes import ScriptedCaller, workflow


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_of_delays_is_a_valid_workflow(name: str) -> None:
    graph = GRAPHS[name]
    workflow = Workflow.load(graph.workflow(name))
    assert len(workflow.tasks) == len(graph.delays_ms)
    assert graph.critical_path_ms <= graph.sequential_ms


def test_the_graphs_have_the_shape_that_their_titles_say() -> None:
    shapes = {
        name: [len(tasks) for tasks in Workflow.load(graph.workflow(name)).plan.generations]
        for name, graph in GRAPHS.items()
    }
    assert shapes == {
        "five": [5],
        "pattern": [2, 1, 2],
        "chain": [1, 1, 1, 1, 1],
        "diamond": [1, 2, 1],
        "multi-level": [6, 10, 10, 8],
        "uneven": [3, 3, 3, 1],
    }
    assert GRAPHS["uneven"].critical_path_ms == 280


def test_the_job_of_five_tools_uses_five_servers() -> None:
    workflow = Workflow.load(scenarios.FIVE_TOOLS)
    assert sorted(workflow.plan.servers) == sorted(scenarios.TOOL_SERVERS)


def test_tasks_that_do_nothing_come_in_generations_of_one_width() -> None:
    workflow = Workflow.load(scenarios.nothing(300, 100))
    assert [len(tasks) for tasks in workflow.plan.generations] == [100, 100, 100]


def test_the_servers_file_of_a_cold_start_can_be_read(tmp_path: Path) -> None:
    path = cold.write_servers(tmp_path / "servers.toml", "delay", "text")
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    assert document["servers"]["text"]["args"] == ["-m", "mock_servers.text"]


def test_the_workflow_of_a_first_call_needs_all_but_one_server_later(tmp_path: Path) -> None:
    cold.first_call(tmp_path, "faulty", 3)
    plan = Workflow.load(tmp_path / "first.json").plan
    assert plan.generations == [["server0"], ["server1", "server2"]]
    document = tomllib.loads((tmp_path / "first.toml").read_text(encoding="utf-8"))
    assert document["servers"]["server2"]["args"] == ["-m", "mock_servers.faulty"]


@pytest.mark.slow
@pytest.mark.anyio
@ON_ASYNCIO
async def test_a_first_call_is_timed_to_its_arrival(tmp_path: Path) -> None:
    by_hand = cold.first_call(tmp_path, "faulty", 2)["by hand"]
    began_at = time.monotonic_ns()
    time_ms = await cold.until_the_first_call(by_hand)
    assert 0 < time_ms < (time.monotonic_ns() - began_at) / 1e6


@pytest.mark.parametrize(
    ("code", "printed"), [(1, b""), (0, b'{"status": "partial"}'), (0, b'{"status": "failed"}')]
)
def test_a_process_that_did_not_do_its_job_is_not_timed(code: int, printed: bytes) -> None:
    with pytest.raises(RunFailedError, match="ended with"):
        cold.check(("python",), code, printed, b"some words")


async def answered(*outputs: object) -> RunResult:
    """A run whose tasks `t0`, `t1`, ... gave these outputs."""
    caller = ScriptedCaller({f"t{n}": [(0, output)] for n, output in enumerate(outputs)})
    return await Run(workflow(*[f"t{n}" for n in range(len(outputs))]), caller).execute()


@pytest.mark.anyio
@pytest.mark.parametrize("pids", [[1, 1, 1], [1, 1, 1, 2], [1, 2, 3]])
async def test_calls_that_are_not_shared_evenly_are_not_timed(pids: list[int]) -> None:
    many.check_spread(await answered({"pid": 1}, {"pid": 2}, {"pid": 1}), 2)
    result = await answered(*[{"pid": pid} for pid in pids])
    with pytest.raises(RunFailedError, match="an even share of the calls on 2 processes"):
        many.check_spread(result, 2)


@pytest.mark.anyio
async def test_calls_that_are_given_the_answer_of_others_are_not_timed() -> None:
    right, wrong = {"slept_ms": 5, "label": "t0"}, {"slept_ms": 5, "label": "t1"}
    many.check_answers(await answered(right), 5)
    with pytest.raises(RunFailedError, match="t0 received"):
        many.check_answers(await answered(wrong), 5)


def test_what_a_call_costs_leaves_out_its_waiting() -> None:
    assert many._costs([[450.0], [500.0]], 100, 400) == [[500.0], [1000.0]]
    values = many._throughput(40, [400.0], [1.0], processes=1)
    assert values == {"calls_per_s": 100, "processes": 1, "ideal_speedup": 1, "of_ideal": 1}


def test_the_plan_whose_check_is_measured_is_right() -> None:
    plan = Workflow.load(checking.plan(60))
    assert prove(plan, checking.TOOLS) == []
    assert {task.policies.for_each is None for task in plan.plan.tasks.values()} == {True, False}
    wrong = checking.plan(60)
    wrong["tasks"][51]["arguments"]["query"] = "$OUTPUT[t46].itms"
    assert [p.code for p in prove(Workflow.load(wrong), checking.TOOLS)] == ["unknown_place"]
