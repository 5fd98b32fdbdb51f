"""`python -m benchmarks traces`: its runs, its tables, and that a wrong answer is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing

from benchmarks import report, traced, traces
from benchmarks.measure import RunFailedError, Times
from benchmarks.recorded import Trace
from benchmarks.traced import Result, Variant, dataflow, generations, variants
from orchestrator.calls.call import Attempt, Call
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.workflow.model import Workflow
from tests.benchmarks.graphs import DIAMOND, trace, write
from tests.fakes import ScriptedCaller, workflow


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """trio, with a clock that jumps to the next deadline whenever all tasks wait."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


def test_without_traces_the_command_says_where_they_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert traces.main(["--traces", str(tmp_path / "none")]) == 2
    said = capsys.readouterr().err
    assert "no traces in" in said
    assert "WfInstances, LGPL-3.0" in said


def test_a_run_that_fails_in_a_task_group_is_an_error_in_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def measure(*_: object) -> list[Result]:
        raise ExceptionGroup("of a pool", [RunFailedError("t: d answered '0'")])

    write(tmp_path, DIAMOND)
    monkeypatch.setattr(traces, "measure", measure)
    assert traces.main(["--traces", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "t: d answered '0'\n"


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


@pytest.mark.slow
def test_real_servers_answer_what_is_expected_and_every_option_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, trace({**{f"t{n}": 1.0 for n in range(9)}, "z": 5.0}, name="small"))
    write(tmp_path, DIAMOND)
    saved = tmp_path / "saved"
    monkeypatch.setattr(traced, "AIM", 0.0)  # whatever it takes is too much
    run = ["--traces", str(tmp_path), "--rounds", "2", "--scale", "0.2", "--json", str(saved)]
    assert traces.main([*run, "--check"]) == 1
    out, err = capsys.readouterr()
    assert "Generations over dataflow" in out
    assert "t: " in err
    found = json.loads(saved.read_text())
    ways = [(each["trace"], each["slots"]) for each in found["measurements"]]
    assert ways == [("small", 0)] * 2 + [("small", 8)] * 4 + [("t", 0)] * 2
    assert all(len(each["times_ms"]) == 2 for each in found["measurements"])


def result(graph: Trace, times_ms: dict[Variant, tuple[float, ...]]) -> Result:
    """The result of rounds in which each variant ran once."""
    return Result(graph, Times({way.name: [[ms] for ms in times_ms[way]] for way in times_ms}))


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
    results = [
        result(graph, {dataflow(0): (10, 10), generations(0): times_ms})
        for graph, times_ms in (
            (one, (12, 10)),
            (two, (15, 17)),
            (three, (40, 30)),
            (other, (11, 11)),
        )
    ]
    assert results[1].barrier(0) == [1.5, 1.7]
    assert results[1].barrier(8) == []
    assert list(traced.families(results)) == [
        ["x", "3", "1.60, 3.50", "", ""],
        ["y", "1", "1.10, 1.10", "", ""],
        ["all", "4", "1.35, 3.50", "", ""],
    ]


def test_a_graph_that_takes_too_long_is_named_and_limits_are_shown() -> None:
    graph = trace({f"t{n}": 8 for n in range(9)}, name="wide")
    times = result(graph, {dataflow(0): (8, 9), dataflow(8, "time"): (16, 18)})
    assert traced.missed([times]) == ["wide: 1.062 of the longest path"]
    assert traced.missed([result(graph, {dataflow(0): (8,)})]) == []
    assert [row[:4] for row in traced.graphs([times])] == [
        ["wide", "no limit", "8", "1.06 (1.01..1.12)"],
        ["wide", "8", "9", "1.89 (1.79..1.99)"],
    ]
    assert (report.ratio([1.5]), report.ratio([])) == ("1.50", "")
