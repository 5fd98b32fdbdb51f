"""`python -m benchmarks`: targets, tables, and exit codes. Nothing here measures anything."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import __main__ as command
from benchmarks import plot, report, suite, targets
from benchmarks.measure import (
    Bench,
    Measurement,
    RunFailedError,
    Settings,
)
from benchmarks.targets import TARGETS, Target, Verdict, judge

FAST = Measurement(
    "five",
    "generations",
    [100.0, 104.0, 102.0],
    {"speedup": [4.7, 4.9, 4.8]},
    {"tasks": 5.0, "ideal_speedup": 5.0},
)


SLOW = Measurement("five", "generations", [170.0], {"speedup": [2.9, 2.8, 3.4]})


def test_a_quantity_is_a_value_the_median_of_a_ratio_or_a_percentile() -> None:
    assert FAST.quantity("tasks") == 5.0
    assert FAST.quantity("speedup") == 4.8
    assert FAST.quantity("p50_ms") == 102.0
    assert FAST.quantity("p95_ms") == pytest.approx(103.8)
    assert FAST.quantity("unheard_of") is None
    assert Measurement("five", "none").quantity("p50_ms") is None


def test_a_target_holds_only_if_what_was_measured_keeps_its_limit() -> None:
    target = Target("five", "generations", "p50_ms", "<", limit=150, aim=110)
    assert Verdict(target, 102.0).holds
    assert Verdict(target, 149.9).holds
    assert not Verdict(target, 149.9).meets_aim
    assert not Verdict(target, 150.0).holds
    assert not Verdict(target, None).holds


def test_a_scenario_that_did_not_run_is_not_judged_and_one_without_numbers_is_missed() -> None:
    assert judge([FAST], []) == []
    assert all(verdict.holds for verdict in judge([FAST], ["five"]))
    assert not any(verdict.holds for verdict in judge([], ["five"]))


def test_a_quick_run_is_not_held_to_what_only_a_full_one_measures() -> None:
    full = {verdict.target.variant for verdict in judge([], ["engine"])}
    quick = {verdict.target.variant for verdict in judge([], ["engine"], quick=True)}
    limits = ("unlimited", "default limit")
    assert full - quick == {f"{size} {limit}" for size in ("10,000", "100,000") for limit in limits}
    assert quick - full == {f"4,000 {limit}" for limit in limits}


def test_every_target_names_a_scenario_and_aims_at_no_less_than_its_limit() -> None:
    for target in TARGETS:
        assert target.scenario in suite.SCENARIOS
        assert targets.COMPARE["<=" if target.compare == "<" else target.compare](
            target.aim, target.limit
        )


def _measured(monkeypatch: pytest.MonkeyPatch, *measurements: Measurement) -> None:
    def run(wanted: object, *_: object) -> list[Measurement]:  # noqa: ARG001
        return list(measurements)

    monkeypatch.setattr(command, "_measure", run)


def test_check_exits_with_0_when_every_target_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _measured(monkeypatch, FAST)
    assert command.main(["--only", "five", "--check"]) == 0
    assert "missed" not in capsys.readouterr().out


def test_check_exits_with_1_and_says_what_was_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _measured(monkeypatch, SLOW)
    assert command.main(["--only", "five", "--check"]) == 1
    printed = capsys.readouterr().out
    assert "1 of 1 missed" in printed
    assert "speedup" in printed
    assert "2.90" in printed


def test_a_scenario_that_misses_is_measured_again_and_counts_as_it_came_out_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []
    answers = [SLOW, FAST]

    def run(wanted: list[str], *_: object) -> list[Measurement]:
        asked.append(wanted)
        return [answers[min(len(asked), len(answers)) - 1]]

    monkeypatch.setattr(command, "_measure", run)
    assert command.main(["--only", "five", "--check"]) == 0
    assert asked == [["five"], ["five"]]
    asked.clear()
    answers[1] = SLOW
    assert command.main(["--only", "five", "--check"]) == 1
    assert len(asked) == 1 + command.SECOND_LOOKS


def test_check_exits_with_1_when_a_number_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    _measured(monkeypatch)
    assert command.main(["--only", "five", "--check"]) == 1


def test_without_check_a_missed_target_is_only_shown_in_the_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _measured(monkeypatch, SLOW)
    assert command.main(["--only", "five"]) == 0


def test_a_run_that_fails_is_an_error_in_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(wanted: object, *_: object) -> list[Measurement]:  # noqa: ARG001
        raise ExceptionGroup("of a client", [RunFailedError("five ended as failed")])

    monkeypatch.setattr(command, "_measure", run)
    assert command.main(["--only", "five"]) == 1
    assert "five ended as failed" in capsys.readouterr().err


def test_the_numbers_are_saved_with_the_machine_and_every_single_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _measured(monkeypatch, FAST)
    saved = tmp_path / "numbers.json"
    command.main(["--only", "five", "--quick", "--json", str(saved)])
    document = json.loads(saved.read_text(encoding="utf-8"))
    assert document["machine"]["quick"] is True
    assert document["machine"]["packages"]["mcp"]
    assert document["measurements"][0]["times_ms"] == [100.0, 104.0, 102.0]
    assert document["measurements"][0]["ratios"]["speedup"]["median"] == 4.8
    assert [target["holds"] for target in document["targets"]] == [True]


def test_a_picture_without_matplotlib_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda name: None)  # noqa: ARG005
    assert command.main(["--plot", "picture.png"]) == 2
    assert "mcp-orchestrator[plot]" in capsys.readouterr().err


def test_a_picture_is_drawn_and_its_bars_have_the_ideal(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    by_hand = Measurement("gather", "instant: orchestrator", [1.0], {"by_hand": [0.9, 1.0, 1.1]})
    assert plot.bars_of([FAST, by_hand], "speedup") == [("five, generations", [4.7, 4.9, 4.8], 5.0)]
    assert [ideal for _, _, ideal in plot.bars_of([FAST, by_hand], "by_hand")] == [1.0]
    path = tmp_path / "picture.svg"
    plot.draw([FAST, by_hand], report.machine(Settings()), path)
    assert "Speedup over a sequential run" in path.read_text() or path.stat().st_size > 1000


def test_scenarios_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == list(suite.SCENARIOS)


def test_an_unknown_scenario_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        command.main(["--only", "nonsense"])
    assert left.value.code == 2
    assert "nonsense" in capsys.readouterr().err


def test_tables_show_titles_with_brackets_and_the_spread_of_a_ratio() -> None:
    out = io.StringIO()
    pattern = Measurement("pattern", "generations", [310.0], {"speedup": [1.6, 1.7, 1.8]})
    for table in report.tables([pattern, FAST]):
        Console(file=out, width=140).print(table)
    assert "[a, b] -> c -> [d, e]" in out.getvalue()
    assert "1.70 (1.61..1.79)" in out.getvalue()


@pytest.mark.anyio
async def test_a_suite_gives_what_its_groups_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Group:
        @staticmethod
        async def measure(names: frozenset[str], bench: Bench) -> None:
            assert (names, bench.quick) == (frozenset({"five"}), True)
            bench.record(FAST)

    imported: list[str] = []

    def import_module(name: str) -> type[Group]:
        imported.append(name)
        return Group

    monkeypatch.setattr(suite, "import_module", import_module)
    told: list[Measurement] = []
    run: Callable[..., Awaitable[list[Measurement]]] = suite.run
    watch = suite.Stopwatch()
    measured = await run(["five"], Settings(quick=True), told.append, lambda _: None, watch)
    assert measured == [FAST] == told
    assert imported == ["benchmarks.delays"]
    assert list(watch.seconds) == ["five"]


@pytest.mark.parametrize("name", command.COMMANDS)
def test_a_benchmark_of_its_own_kind_is_a_command(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    given: list[list[str]] = []

    def main(arguments: list[str]) -> int:
        given.append(arguments)
        return 7

    monkeypatch.setattr(importlib.import_module(f"benchmarks.{name}"), "main", main)
    assert command.main([name, "--seed", "1"]) == 7
    assert given == [["--seed", "1"]]
