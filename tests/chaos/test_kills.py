"""The chaos test can fail, tells what failed, and holds for one run of each kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from orchestrator import TaskError, TaskResult, Workflow
from orchestrator.engine.outcome import Failure, Skipped, Success
from tests.chaos import hits, kills, processes, strikes
from tests.chaos.hits import HITS, SERVERS, TASKS, Outcome, Schedule, Strike
from tests.chaos.processes import Process

STRIKE = replace(Strike.choose(1, 0), server="elm")
IDS = [task["id"] for task in STRIKE.workflow()["tasks"]]
GONE = Failure(TaskError("server_unavailable", "it is gone", retryable=True))
SLEEP = [sys.executable, "-c", "input()"]

pytestmark = pytest.mark.skipif(not processes.AVAILABLE, reason="processes are found in /proc")


def outcome(strike: Strike = STRIKE) -> Outcome:
    """What came of a run in which everything went well."""
    results = {task: TaskResult(task, Success({"label": f"x {task}"}), 0) for task in IDS}
    return Outcome(strike, Counter(IDS), results, trouble="", in_time=True, first_error_ms=2.0)


def test_every_fifth_task_is_a_servers_and_needs_only_tasks_of_the_same_server() -> None:
    plan = Workflow.load(STRIKE.workflow()).plan
    assert len(plan.tasks) == TASKS == 200
    assert Counter(map(hits.server_of, plan.tasks)) == dict.fromkeys(SERVERS, 40)
    assert [len(tasks) // 5 for tasks in plan.generations] == list(hits.LAYERS)
    for task, needs in plan.graph.pred.items():
        assert {hits.server_of(needed) for needed in needs} <= {hits.server_of(task)}


def test_a_series_hits_in_every_way_under_both_schedules_and_can_be_made_again() -> None:
    series = [Strike.choose(7, number) for number in range(kills.QUICK_RUNS)]
    assert len({(strike.hit, strike.schedule) for strike in series}) == 2 * len(HITS)
    assert series[5] == Strike.choose(7, 5)
    assert series[5].workflow() == Strike.choose(7, 5).workflow()
    assert len({strike.moment for strike in series}) == len(series)
    assert {Strike.choose(7, n, ["stop"]).hit for n in range(4)} == {"stop"}


def test_a_run_in_which_everything_went_well_has_no_faults() -> None:
    assert outcome().faults == []


def test_a_task_of_the_server_that_was_hit_may_end_as_it_likes() -> None:
    came = outcome()
    first, second = [task for task in IDS if hits.server_of(task) == "elm"][:2]
    came.results[first] = TaskResult(first, GONE, 0)
    came.results[second] = TaskResult(second, Skipped("its need failed"), 0)
    assert came.faults == []
    assert came.of_the_hit == {"success": 38, "server_unavailable": 1, "skipped": 1}


def test_a_task_of_another_server_may_not() -> None:
    came = outcome()
    came.results["ash-0-0"] = TaskResult("ash-0-0", GONE, 0)
    came.results["ash-0-1"] = TaskResult("ash-0-1", Skipped("its need failed"), 0)
    assert len(came.bystanders_failed) == len(came.faults) == 2
    assert "it is gone" in came.faults[0]


def test_the_answer_of_another_task_is_a_fault_whoever_gets_it() -> None:
    came = outcome()
    came.results["elm-0-0"] = TaskResult("elm-0-0", Success({"label": "elm-0-1"}), 0)
    assert came.mixed_up == ["elm-0-0"]
    assert came.faults == ["elm-0-0 was given the answer of another"]


def test_a_task_that_settles_twice_or_never_is_a_fault() -> None:
    for change in (1, -1):
        came = outcome()
        came.settled["ash-0-0"] += change
        assert not came.has_settled
        assert f"{TASKS + change} times in all" in came.faults[0]


def test_a_run_that_hangs_is_cancelled_and_counts_as_not_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(*_: object) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(strikes, "_run", hang)
    came = anyio.run(strikes.strike_once, STRIKE, 0.1, 0.01)
    assert not came.has_ended
    assert came.faults[0] == "did not end: TimeoutError"


def test_a_process_is_found_by_its_mark_and_by_its_parent_and_ended_in_the_end() -> None:
    others = {process.pid for process in processes.children()}
    with subprocess.Popen([*SLEEP, "kills-test.elm"], stdin=subprocess.PIPE) as started:
        [found] = strikes._left("kills-test", others)
        assert (found.pid, found.command[-1]) == (started.pid, "kills-test.elm")
        assert [each.pid for each in strikes._left("another mark", others)] == [started.pid]
        assert strikes._left("another mark", others | {started.pid}) == []
        strikes._clean_up("kills-test")
        assert started.wait() < 0
    assert strikes._left("kills-test", others) == []


def test_a_child_that_nobody_has_waited_for_is_left_too() -> None:
    others = {process.pid for process in processes.children()}
    with subprocess.Popen(SLEEP, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
        os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOWAIT)
        assert [each.state for each in strikes._left("no mark", others)] == ["Z"]
        started.wait()
    assert strikes._left("no mark", others) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hit", "schedule", "backend"),
    [
        ("kill", "generations", "asyncio"),
        ("stop", "dataflow", "trio"),
        ("stdout", "dataflow", "asyncio"),
        ("stdin", "generations", "trio"),
    ],
)
def test_a_server_that_is_hit_costs_nobody_else_anything(
    hit: str, schedule: Schedule, backend: str
) -> None:
    strike = replace(STRIKE, hit=hit, schedule=schedule, moment=0.3)
    came: Outcome = anyio.run(strikes.strike_once, strike, 0.2, backend=backend)
    assert came.faults == []
    assert came.in_time
    assert sum(came.of_the_hit.values()) == 40


def _came(monkeypatch: pytest.MonkeyPatch, *outcomes: Outcome) -> None:
    def series(chosen: list[Strike], backend: str) -> Iterator[Outcome]:  # noqa: ARG001
        yield from outcomes

    monkeypatch.setattr(kills, "series", series)


def test_the_last_line_counts_and_the_exit_code_is_0_if_nothing_falls_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _came(monkeypatch, outcome(), outcome(replace(STRIKE, hit="stop")))
    assert kills.main(["--quick", "--seed", "1", "--json", str(tmp_path / "runs.json")]) == 0
    printed = capsys.readouterr().out
    line = "2 runs: 2 ended, 2 settled, 0 processes left, 0 bystanders failed"
    assert printed.splitlines()[-1] == line
    assert "stopped (SIGSTOP)" in printed
    runs = json.loads((tmp_path / "runs.json").read_text())["runs"]
    assert [run["hit"] for run in runs] == ["kill", "stop"]
    assert runs[0]["tasks_of_the_hit"] == {"success": 40}


def test_the_exit_code_is_1_if_anything_falls_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left, mixed_up = outcome(), outcome()
    left.left = [Process(1, 2, "T", ("python",))]
    mixed_up.results["elm-0-0"] = TaskResult("elm-0-0", Success({}), 0)
    for came, said in ((left, "1 processes left"), (mixed_up, "1 answers mixed up")):
        _came(monkeypatch, came)
        assert kills.main(["--runs", "1"]) == 1
        assert said in capsys.readouterr().out


def test_a_run_that_falls_short_is_told_at_once_with_its_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def undisturbed_s(seed: int, schedule: Schedule) -> float:  # noqa: ARG001
        return 1.0

    async def strike_once(strike: Strike, expected_s: float) -> Outcome:
        assert expected_s == 1.0
        return Outcome(strike, trouble="TimeoutError")

    monkeypatch.setattr(strikes, "undisturbed_s", undisturbed_s)
    monkeypatch.setattr(strikes, "strike_once", strike_once)
    [came] = kills.series([Strike.choose(3, 41)], "asyncio")
    told = capsys.readouterr().out
    assert not came.has_ended
    assert "run 41: " in told
    assert "seed=3" in told
    assert "did not end: TimeoutError" in told


def test_without_proc_it_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "AVAILABLE", False)
    assert kills.main(["--quick"]) == 2
    assert "Linux" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--runs", "0"], ["--hit", "nonsense"]])
def test_a_wrong_option_is_a_usage_error(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        kills.main(wrong)
    assert left.value.code == 2
