"""Recorded graphs: their bounds, their files, and what a simulation says of their runs."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import traced
from benchmarks.recorded import NoTracesError, Trace, family, load, load_all
from benchmarks.traced import Order
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.workflow.model import Workflow
from tests.benchmarks.graphs import DIAMOND, random_trace, trace, write
from tests.benchmarks.simulation import simulated_ms

RECORDED = Path("../shared/cases/traces")


needs_recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the traces are not shipped")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """trio, with a clock that jumps to the next deadline whenever all tasks wait."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def test_a_run_takes_the_longest_path_or_the_work_shared_by_the_slots() -> None:
    assert (DIAMOND.critical_path_ms, DIAMOND.sequential_ms) == (60, 80)
    assert [DIAMOND.bound_ms(slots) for slots in (0, 1, 2)] == [60, 80, 60]
    assert [DIAMOND.bound_ms(slots) > DIAMOND.critical_path_ms for slots in (0, 1, 2)] == [
        False,
        True,
        False,
    ]
    assert [DIAMOND.may_wait(slots) for slots in (0, 1, 2)] == [False, True, False]
    assert DIAMOND.generations == [["a"], ["b", "c"], ["d"]]


def best_of_all(graph: Trace, slots: int) -> float:
    """The shortest run: tasks that are started as soon as they can, in some order, give it."""
    orders = itertools.permutations(graph.needs)
    return min(in_order(graph, order, slots) for order in orders)


def in_order(graph: Trace, order: Sequence[str], slots: int) -> float:
    free = [0.0] * slots
    ends: dict[str, float] = {}
    for task in order:
        if any(needed not in ends for needed in graph.needs[task]):
            return float("inf")
        ready = max((ends[needed] for needed in graph.needs[task]), default=0.0)
        slot = min(range(slots), key=free.__getitem__)
        free[slot] = ends[task] = max(ready, free[slot]) + graph.delays_ms[task]
    return max(ends.values())


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(1, 6), st.integers(1, 3))
def test_no_schedule_beats_the_bound_and_no_simulated_run_the_best_one(
    chance: random.Random, count: int, slots: int
) -> None:
    graph = random_trace(chance, count)
    best = best_of_all(graph, slots)
    assert graph.bound_ms(slots) <= best + 1e-9
    orders: list[Order | None] = [*traced.ORDERS, None]
    assert all(simulated_ms(graph, slots, order) >= best for order in orders)


@pytest.mark.anyio
@pytest.mark.parametrize("number", range(30))
async def test_a_run_takes_exactly_what_is_simulated(number: int) -> None:
    graph = random_trace(random.Random(number), 8)
    plan = Workflow.load(graph.document)

    async def wait(call: Call, _: Attempt) -> Any:
        await anyio.sleep(call.arguments["ms"])
        return {"digest": graph.digests[call.task]}

    for slots in (1, 2, 3):
        ways: tuple[tuple[Order | None, Run], ...] = (
            ("time", flow(plan, wait, max_concurrency=slots, estimates=graph.delays_ms)),
            ("depth", flow(plan, wait, max_concurrency=slots)),
            (None, Run(plan, wait, RunSettings(max_concurrency=slots))),
        )
        for order, run in ways:
            result = await run.execute()
            assert result.duration_ms == 1000 * simulated_ms(graph, slots, order)


def flow(plan: Workflow, caller: Any, **options: Any) -> Run:
    return Run(plan, caller, RunSettings(schedule="dataflow", **options))


def test_the_simulation_serves_the_first_to_come_first() -> None:
    late = trace({"a": 2, "b": 1, "c": 1, "d": 1, "x": 9}, {"x": "b"})
    assert simulated_ms(late, 2, "first come") == 11
    assert simulated_ms(late, 2, "time") == 10


def test_a_trace_is_read_with_its_family_and_its_references(tmp_path: Path) -> None:
    read = load(write(tmp_path, DIAMOND), scale=0.5)
    assert read.family == "nf-core"
    assert read.delays_ms == {"a": 5, "b": 20, "c": 10, "d": 5}
    assert read.inputs["d"] == ("b", "c")
    assert read.document["tasks"][1]["arguments"]["ms"] == 20
    assert Workflow.load(read.document).plan.generations == read.generations
    assert family("helloworld/x.json") == "helloworld"


def test_a_file_that_is_not_a_trace_and_a_missing_trace_are_errors(tmp_path: Path) -> None:
    with pytest.raises(NoTracesError, match="no traces in"):
        load_all(tmp_path, ())
    write(tmp_path, DIAMOND)
    with pytest.raises(NoTracesError, match="has no u; it has t"):
        load_all(tmp_path, ("u",))
    (tmp_path / "bad.json").write_text('{"tasks": [{"id": "a"}]}')
    with pytest.raises(NoTracesError, match=r"bad\.json is not a trace: KeyError"):
        load_all(tmp_path, ())
    broken = {**DIAMOND.document, "source": {"file": "x/y"}}
    broken["tasks"] = [{"id": "a", "depends_on": [], "arguments": {"ms": 1, "inputs": ["b"]}}]
    (tmp_path / "bad.json").write_text(json.dumps(broken))
    with pytest.raises(NoTracesError, match='"b" does not refer to a digest'):
        load_all(tmp_path, ("bad",))
    with pytest.raises(NoTracesError, match="no task takes a millisecond"):
        load(write(tmp_path, DIAMOND), scale=0.001)


@needs_recorded
def test_simulated_runs_take_what_those_of_the_data_set_took() -> None:
    """But for two graphs in which tasks that are alike are served in another order."""
    others = {"atacseq", "fetchngs", "epigenomics-ilmn-1seq-100k-001"}
    for path in sorted(RECORDED.glob("*.json")):
        known, graph = json.loads(path.read_text())["metrics_ms"], load(path)
        assert graph.critical_path_ms == known["critical_path"]
        assert simulated_ms(graph, 0, None) == known["barrier_inf"]
        for slots in (8, 32):
            assert simulated_ms(graph, slots, None) == known[f"barrier_{slots}"]
            if graph.name not in others:
                assert simulated_ms(graph, slots, "first come") == known[f"flow_{slots}"]
                assert simulated_ms(graph, slots, "time") == known[f"flow_{slots}_cp"]


def test_digests_depend_on_everything_that_comes_before() -> None:
    other = trace(dict(DIAMOND.delays_ms), {"b": "a", "c": "a", "d": "cb"})
    changed = {task for task in "abcd" if other.digests[task] != DIAMOND.digests[task]}
    assert changed == {"d"}
