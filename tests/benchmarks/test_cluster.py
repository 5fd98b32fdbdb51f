"""`python -m benchmarks cluster`: what is asked of its sides. Nothing here measures anything."""

from __future__ import annotations

import io
import json
import os
import sys

import anyio
import pytest

from benchmarks.cluster import TARGETS, limits, model, parser, place, slots
from benchmarks.cluster.carried import workflow
from benchmarks.cluster.costs import Costs
from benchmarks.cluster.instant import InstantPool
from benchmarks.peer_programs import runs_of_tasks
from orchestrator import Orchestrator, Workflow
from orchestrator.cluster.dispatch import BUSY_S
from orchestrator.recordings.clock import INSTANT


def test_all_sides_have_the_same_tasks_and_ask_as_often() -> None:
    plan = Workflow.load(workflow()).plan
    assert len(plan.tasks) == runs_of_tasks.TASKS
    assert len(plan.generations) == runs_of_tasks.LAYERS
    needed = {f"t{n}": {f"t{each}" for each in runs_of_tasks.needs(n)} for n in range(50)}
    assert {task: set(plan.graph.predecessors(task)) for task in plan.tasks} == needed
    assert runs_of_tasks.POLL_S == BUSY_S


@pytest.mark.anyio
async def test_a_run_whose_calls_return_at_once_succeeds() -> None:
    async with Orchestrator(InstantPool()) as engine:
        result = await engine.run(workflow())
    assert result.status == "success"
    assert result.tasks["t49"].output == {"n": 49}


def test_what_slots_allow() -> None:
    assert slots.ideal_s(4, 200) == pytest.approx(6.25)
    assert len(Workflow.load(slots.workflow(50)).plan.tasks) == slots.TASKS


def test_how_many_calls_leave_in_a_span() -> None:
    assert limits.most_in([], 1.0) == 0
    assert limits.most_in([0.0, 0.5, 0.9, 1.0, 1.2, 3.0], 1.0) == 4
    assert len(Workflow.load(limits.flow(50)).plan.tasks) == limits.TASKS


def test_each_target_is_of_a_part() -> None:
    assert {each.scenario for each in TARGETS} <= {"slots", "limits", "waiting", "tasks"}
    assert parser().parse_args(["--only", "slots"]).only == ["slots"]


def test_a_program_answers_each_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"do": "3"}\n{"do": "0"}\n'))
    runs_of_tasks.answer(lambda runs: 1 / runs)
    ready, done, failed = map(json.loads, capsys.readouterr().out.splitlines())
    assert ready == {"ready": True}
    assert done["ms"] >= 0
    assert failed == {"error": "ZeroDivisionError: division by zero"}


def test_processor_time_is_that_of_a_process_and_its_children() -> None:
    assert place.used_s(os.getpid()) > 0
    assert place.used_s() == 0
    assert place.memory_mb(os.getpid(), "VmHWM") >= place.memory_mb(os.getpid()) > 0


def costs(**some: float) -> Costs:
    """What costs nothing, but for some."""
    return Costs(**(dict.fromkeys(Costs.__dataclass_fields__, 0.0) | some))


def test_where_nothing_costs_anything_a_run_takes_what_the_engine_says() -> None:
    ends = model.profile(50, 5, 50)
    assert [round(moment, 3) for moment, _ in ends] == [round(0.05 * n, 3) for n in range(1, 11)]
    assert {calls for _, calls in ends} == {5}
    seen = model.simulate(model.Scene(workers=2, runs=8), costs())
    # All are put into the queue in one look, and the workers ask a moment later.
    assert 0.25 + 0.5 <= seen.took_s <= 0.25 + 0.25 + 0.5 + 0.02
    assert seen.database == 0


def test_runs_that_cost_the_database_more_than_it_has_wait_for_it() -> None:
    def waits(processors: int) -> float:
        scene = model.Scene(workers=4, runs=40, a_second=20.0, database=processors)
        return model.simulate(scene, costs(run_us=100_000.0)).wait_s(95)

    assert waits(8) < 0.6 < waits(1)


def test_processors_serve_who_comes_first() -> None:
    async def use() -> list[float]:
        ends, two = list[float](), model.Processors(2)

        async def one(us: float) -> None:
            await two.use(us)
            ends.append(round(anyio.current_time(), 6))

        async with anyio.create_task_group() as group:
            for us in (3e6, 1e6, 1e6):
                group.start_soon(one, us)
        return ends

    assert anyio.run(use, **INSTANT) == [1.0, 2.0, 3.0]
