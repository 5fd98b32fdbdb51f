"""Recorded graphs: their bounds, what their runs are judged by, and that a wrong one is noticed."""

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

from benchmarks import traced, traces
from benchmarks.measure import RunFailedError
from benchmarks.recorded import NoTracesError, Order, Trace, family, load, load_all
from benchmarks.traced import Measured, Results, Variant, variants
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.workflow.model import Workflow
from tests.benchmarks.simulation import simulated_ms
from tests.fakes import ScriptedCaller, workflow

RECORDED = Path("../shared/cases/traces")
needs_recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the traces are not shipped")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """trio, with a clock that jumps to the next deadline whenever all tasks wait."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def trace(
    takes: dict[str, float],
    needs: dict[str, str] | None = None,
    name: str = "t",
    system: str = "made",
) -> Trace:
    """A graph; what a task needs is given as a text of names of one letter."""
    before = {task: tuple((needs or {}).get(task, "")) for task in takes}
    tasks = [
        {
            "id": task,
            "tool": "mock:delay",
            "arguments": {
                "ms": int(ms),
                "label": task,
                "inputs": [f"$OUTPUT[{needed}].digest" for needed in before[task]],
            },
            "depends_on": list(before[task]),
        }
        for task, ms in takes.items()
    ]
    return Trace(name, system, before, takes, before, {"name": name, "tasks": tasks})


def write(folder: Path, graph: Trace) -> Path:
    """The file of a graph, as the data set has it."""
    path = folder / f"{graph.name}.json"
    document = {**graph.document, "source": {"file": "nextflow/t-001.json"}}
    path.write_text(json.dumps(document))
    return path


DIAMOND = trace({"a": 10, "b": 40, "c": 20, "d": 10}, {"b": "a", "c": "a", "d": "bc"})


def random_trace(chance: random.Random, count: int) -> Trace:
    names = "abcdefgh"[:count]
    needs = {
        name: "".join(other for other in names[:place] if chance.random() < 0.3)
        for place, name in enumerate(names)
    }
    return trace({name: float(chance.randint(1, 9)) for name in names}, needs)


# Bounds and simulated runs.


def test_a_run_takes_the_longest_path_or_the_work_shared_by_the_slots() -> None:
    assert (DIAMOND.critical_path_ms, DIAMOND.work_ms) == (60, 80)
    assert [DIAMOND.bound_ms(slots) for slots in (0, 1, 2)] == [60, 80, 60]
    assert [DIAMOND.binds(slots) for slots in (0, 1, 2)] == [False, True, False]
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
        free[slot] = ends[task] = max(ready, free[slot]) + graph.takes[task]
    return max(ends.values())


@settings(deadline=None, max_examples=60)
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
            ("time", flow(plan, wait, max_concurrency=slots, estimates=graph.takes)),
            ("depth", flow(plan, wait, max_concurrency=slots)),
            (None, Run(plan, wait, RunSettings(max_concurrency=slots))),
        )
        for order, run in ways:
            result = await run.execute()
            assert result.duration_ms == 1000 * simulated_ms(graph, slots, order)


def flow(plan: Workflow, caller: Any, **options: Any) -> Run:
    return Run(plan, caller, RunSettings(schedule="dataflow", **options))


def test_who_comes_first_is_served_first_in_the_simulation() -> None:
    late = trace({"a": 2, "b": 1, "c": 1, "d": 1, "x": 9}, {"x": "b"})
    assert simulated_ms(late, 2, "first come") == 11
    assert simulated_ms(late, 2, "time") == 10


# Files.


def test_a_trace_is_read_with_its_family_and_its_references(tmp_path: Path) -> None:
    read = load(write(tmp_path, DIAMOND), scale=0.5)
    assert read.family == "nf-core"
    assert read.takes == {"a": 5, "b": 20, "c": 10, "d": 5}
    assert read.inputs["d"] == ("b", "c")
    assert read.document["tasks"][1]["arguments"]["ms"] == 20
    assert Workflow.load(read.document).plan.generations == read.generations
    assert family("helloworld/x.json") == "helloworld"


def test_what_is_no_trace_or_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoTracesError, match="there are no traces in"):
        load_all(tmp_path, ())
    write(tmp_path, DIAMOND)
    with pytest.raises(NoTracesError, match="has no u; it has t"):
        load_all(tmp_path, ("u",))
    (tmp_path / "bad.json").write_text('{"tasks": [{"id": "a"}]}')
    with pytest.raises(NoTracesError, match=r"bad\.json is no trace: KeyError"):
        load_all(tmp_path, ())
    broken = {**DIAMOND.document, "source": {"file": "x/y"}}
    broken["tasks"] = [{"id": "a", "depends_on": [], "arguments": {"ms": 1, "inputs": ["b"]}}]
    (tmp_path / "bad.json").write_text(json.dumps(broken))
    with pytest.raises(NoTracesError, match="'b' refers to no digest"):
        load_all(tmp_path, ("bad",))
    with pytest.raises(NoTracesError, match="nothing in it takes a millisecond"):
        load(write(tmp_path, DIAMOND), scale=0.001)


def test_without_traces_the_command_says_where_they_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert traces.main(["--traces", str(tmp_path / "none")]) == 2
    said = capsys.readouterr().err
    assert "there are no traces in" in said
    assert "WfInstances, LGPL-3.0" in said


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


# Runs.


@pytest.mark.anyio
async def test_a_run_whose_caller_is_a_queue_is_served_first_come_first_served() -> None:
    plan = workflow("short", "a", "b: a", "c: b", max_concurrency=1, schedule="dataflow")
    caller = ScriptedCaller({name: [(1, None)] for name in ("short", "a", "b", "c")})
    result = await Run(plan, traces.in_turn(caller, 1), RunSettings(max_concurrency=0)).execute()
    assert result.duration_ms == 4000
    starts = [line for line in caller.log if line.startswith("start")]
    assert set(starts[:2]) == {"start short", "start a"}
    assert caller.most == 1


@pytest.mark.anyio
async def test_the_queue_gives_its_slots_in_the_order_of_asking() -> None:
    caller = ScriptedCaller({name: [(4, None)] for name in "abc"})
    queue = traces.in_turn(caller, 1)

    async def ask(after: float, name: str) -> None:
        await anyio.sleep(after)
        await queue(Call(name, "fake", name, {}), Attempt())

    async with anyio.create_task_group() as group:
        for after, name in ((2, "c"), (0, "a"), (1, "b")):
            group.start_soon(ask, after, name)
    assert [task for task, _ in caller.calls] == ["a", "b", "c"]


@pytest.mark.anyio
async def test_an_answer_that_does_not_come_of_the_right_inputs_is_noticed() -> None:
    answers = {f"t{n}": digest for n, digest in enumerate(DIAMOND.digests.values())}
    assert len(set(answers.values())) == 4

    async def answer(call: Call, _: Attempt) -> Any:
        return {"digest": DIAMOND.digests[call.task] if call.task != wrong else "0" * 16}

    plan, wrong = Workflow.load(DIAMOND.document), ""
    traces.check_digests(DIAMOND, await Run(plan, answer).execute())
    wrong = "d"
    with pytest.raises(RunFailedError, match="t: d answered '0000000000000000', not"):
        traces.check_digests(DIAMOND, await Run(plan, answer).execute())


def test_digests_depend_on_everything_that_comes_before() -> None:
    other = trace(dict(DIAMOND.takes), {"b": "a", "c": "a", "d": "cb"})
    changed = {task for task in "abcd" if other.digests[task] != DIAMOND.digests[task]}
    assert changed == {"d"}


@pytest.mark.slow
def test_real_servers_answer_what_is_expected_and_every_option_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, trace({**{f"t{n}": 1.0 for n in range(9)}, "z": 5.0}, name="small"))
    write(tmp_path, DIAMOND)
    saved = tmp_path / "saved"
    monkeypatch.setattr(traced, "AIM", 0.0)  # whatever it takes is too much
    run = ["--traces", str(tmp_path), "--rounds", "2", "--scale", "0.5", "--json", str(saved)]
    assert traces.main([*run, "--check"]) == 1
    out, err = capsys.readouterr()
    assert "Generations over dataflow" in out
    assert "t: " in err
    found = json.loads(saved.read_text())
    ways = [(each["trace"], each["slots"]) for each in found["measurements"]]
    assert ways == [("small", 0)] * 2 + [("small", 8)] * 4 + [("t", 0)] * 2
    assert all(len(each["times_ms"]) == 2 for each in found["measurements"])


# Judgement.


def measured(graph: Trace, schedule: Any, order: Order, slots: int, *times_ms: float) -> Measured:
    return Measured(graph, Variant(schedule, order, slots), times_ms)


def test_a_limit_that_nothing_waits_for_is_left_out() -> None:
    assert [way.name for way in variants(DIAMOND)] == [
        "dataflow, no limit",
        "generations, no limit",
    ]
    wide = trace({f"t{n}": 1 for n in range(9)})
    assert [way.name for way in variants(wide)][2:] == [
        "generations, 8 slots",
        "dataflow by depth, 8 slots",
        "dataflow by first come, 8 slots",
        "dataflow by time, 8 slots",
    ]


def test_families_have_the_median_of_their_graphs_and_the_worst() -> None:
    one, two, three = (trace({"a": 10}, name=name, system="x") for name in "abc")
    other = trace({"a": 10}, name="d", system="y")
    made = []
    for graph, times in ((one, (12, 10)), (two, (15, 17)), (three, (40, 30)), (other, (11, 11))):
        made.append(measured(graph, "dataflow", "depth", 0, 10, 10))
        made.append(measured(graph, "generations", "first come", 0, *times))
    assert Results(made).barrier(two, 0) == [1.5, 1.7]
    assert list(traced.families(Results(made))) == [
        ["x", "3", "1.60, 3.50", "", ""],
        ["y", "1", "1.10, 1.10", "", ""],
        ["all", "4", "1.35, 3.50", "", ""],
    ]


def test_a_graph_that_takes_too_long_is_named_and_limits_are_shown() -> None:
    graph = trace({f"t{n}": 8 for n in range(9)}, name="wide")
    made = [
        measured(graph, "dataflow", "depth", 0, 8, 9),
        measured(graph, "dataflow", "time", 8, 16, 18),
    ]
    assert traced.missed(made) == ["wide: 1.062 of the longest path"]
    assert traced.missed([measured(graph, "dataflow", "depth", 0, 8)]) == []
    rows = list(traced.graphs(Results(made)))
    assert [row[:4] for row in rows] == [
        ["wide", "no limit", "8", "1.06 (1.00..1.12)"],
        ["wide", "8", "9", "1.89 (1.78..2.00)"],
    ]
    assert (traced.spread([1.5]), traced.spread([])) == ("1.50", "")
