"""Who watches a run: the terminal and the journal; and the pictures of a plan."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.cli import main
from orchestrator.documents.encode import to_json
from orchestrator.engine.events import (
    BudgetSpent,
    Event,
    GenerationStarted,
    ItemSettled,
    ItemsStarted,
    Observer,
    OnEvent,
    RetryDecided,
    RunStarted,
    ServerEvent,
    ServerFailed,
    ServerReady,
    ServerStarting,
    TaskAdded,
    TaskProgress,
    TaskSettled,
    TaskStarted,
    TaskWaiting,
)
from orchestrator.engine.outcome import Success
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.engine.run import Run
from orchestrator.errors import CallError, TaskError
from orchestrator.observers.jsonl import JsonlWriter
from orchestrator.observers.terminal import MAX_ROWS, ProgressDisplay
from tests.conftest import Write
from tests.fakes import ScriptedCaller, workflow


def screen(progress: ProgressDisplay, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(progress.render())
    return capture.get()


def test_the_terminal_shows_what_starts_what_runs_and_what_has_settled() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    progress = ProgressDisplay(console)
    progress.start()
    try:
        assert screen(progress).strip() == ""
        progress.on_event(ServerStarting(0, "weather"))
        assert screen(progress).splitlines()[0].rstrip() == "starting 1 server"
        progress.on_event(ServerStarting(0, "news"))
        assert "starting 2 servers" in screen(progress)
        progress.on_event(ServerReady(0, "weather", "2025-11-25", 3, 12.0))
        assert "weather" not in screen(progress)
        progress.on_event(ServerFailed(0, "news", TaskError("server_unavailable", "gone", True)))
        progress.on_event(RunStarted(0, "id", "w", "generations", [["a", "b"], ["c"]], ["d"]))
        progress.on_event(GenerationStarted(0, 0, ["a", "b"]))
        progress.on_event(TaskStarted(0, "a", "weather", "[forecast]", 0, 1, 0.0))
        shown = screen(progress)
        assert "0 of 4 tasks settled, generation 0 of 0 to 1" in shown
        assert "weather:[forecast]" in shown
        progress.on_event(TaskSettled(0, "a", TaskResult("a", Success(1), 0)))
        shown = screen(progress)
        progress.on_event(TaskSettled(0, "a/inside", TaskResult("inside", Success(1), 0)))
        assert "1 of 4 tasks settled (1 success)" in shown
        assert "forecast" not in shown
    finally:
        progress.stop()


def test_a_plan_that_grows_is_shown_with_the_tasks_so_far() -> None:
    now, left = 5.0, ""
    console = Console(file=io.StringIO())
    progress = ProgressDisplay(console, clock=lambda: now, left=lambda: left)
    progress.on_event(RunStarted(0, "id", "w", "generations", []))
    progress.on_event(TaskAdded(0, "a", 0))
    progress.on_event(TaskStarted(0, "a", "s", "t", 0, 1, 0.0))
    assert screen(progress).splitlines()[0].rstrip() == "0.0 s, 0 of 1 tasks so far settled"
    for event in (TaskAdded(0, "b", 1), GenerationStarted(0, 0, ["a"])):
        progress.on_event(event)
    progress.on_event(TaskSettled(0, "a", TaskResult("a", Success(1), 0)))
    now = 8.25
    text = "1 of 2 tasks so far settled (1 success), generation 0 of 0 to 1 so far"
    assert screen(progress).strip() == f"3.2 s, {text}"
    now = 130.0
    left = "about 2.0 h"
    assert screen(progress).strip().startswith("2:05 (about 2.0 h left), 1 of 2")
    left = ""
    now = 3730.0
    assert screen(progress).strip().startswith("1:02:05, ")


def test_the_terminal_shows_what_a_call_waits_for_how_far_it_is_and_its_items() -> None:
    progress = ProgressDisplay(Console(file=io.StringIO()))
    progress.on_event(RunStarted(0, "id", "w", "dataflow", [["a", "b"]]))
    progress.on_event(TaskWaiting(0, "a", None, "lock 'x'"))
    assert "waiting for lock 'x'" in screen(progress)
    progress.on_event(ItemsStarted(0, "b", 40))
    progress.on_event(TaskWaiting(0, "b", None, "server 's'"))
    assert "waiting for server 's'" in screen(progress)
    progress.on_event(BudgetSpent(0, {"calls": 7}))
    assert "7 calls left" in screen(progress)
    for item in range(3):
        progress.on_event(TaskStarted(0, "b", "s", "t", 0, 1, 0.0, item=item))
    progress.on_event(ItemSettled(0, "b", 1, ItemResult(1, Success(1))))
    shown = screen(progress)
    assert "server 's'" not in shown
    assert "1 of 40 items, 2 running" in shown
    assert "b[" not in shown
    assert shown.index("1 of 40") < shown.index("lock 'x'")  # who waits comes last
    progress.on_event(TaskProgress(0, "b", 2, 5, 8, "pages"))
    assert "1 of 40 items, 2 running; [2] 5 of 8 pages" in screen(progress)
    progress.on_event(ItemSettled(0, "b", 2, ItemResult(2, Success(1))))
    progress.on_event(TaskWaiting(0, "b", 0, "a slot"))
    assert "2 of 40 items, 1 waiting; [0] waiting for a slot" in screen(progress)
    progress.on_event(TaskStarted(0, "a", "s", "t", 0, 1, 0.0))
    assert "lock" not in screen(progress)
    progress.on_event(TaskProgress(0, "a", None, 3, 10, "pages"))
    assert "3 of 10 pages" in screen(progress)
    progress.on_event(TaskProgress(0, "a", None, 3, None, "\x1b[31mred \u202e"))
    assert "3 \\u001b[31mred \\u202e" in screen(progress)
    progress.on_event(TaskProgress(0, "a", None, 4, None, ""))
    assert "4" in screen(progress)
    progress.on_event(TaskProgress(0, "a", None, 0, None, "only words"))
    assert "0 only words" not in screen(progress)
    assert "only words" in screen(progress)
    error = TaskError("timeout", "late", True)
    progress.on_event(RetryDecided(0, "a", None, 1, error, 1500.0, "the backoff"))
    assert "timeout, again in 1.5 s" in screen(progress)
    progress.on_event(TaskStarted(0, "a", "s", "t", 0, 2, 0.0))
    assert "attempt 2" in screen(progress)
    progress.on_event(TaskStarted(0, "a", "s", "t", 0, 3, 0.0, turn=3))
    assert "turn 3" in screen(progress)
    progress.on_event(RetryDecided(0, "a", None, 2, error, None, "the last"))
    progress.on_event(TaskSettled(0, "b", TaskResult("b", Success(1), 0)))
    assert "of 40 items" not in screen(progress)


def test_the_terminal_shows_only_so_many_rows() -> None:
    progress = ProgressDisplay(Console(file=io.StringIO()))
    progress.on_event(RunStarted(0, "id", "w", "dataflow", [[f"t{n}" for n in range(40)]]))
    for number in range(40):
        progress.on_event(TaskStarted(0, f"t{number}", "s", "t", 0, 1, 0.0))
    shown = screen(progress)
    assert f"and {40 - MAX_ROWS} more" in shown
    assert shown.startswith("0.0 s, 0 of 40 tasks settled")


@pytest.mark.parametrize("width", [60, 80, 160])
def test_no_line_of_the_terminal_is_wrapped(width: int) -> None:
    progress = ProgressDisplay(Console(file=io.StringIO()))
    long = "fetch-the-quarterly-customer-satisfaction-surveys-of-every-region"
    progress.on_event(RunStarted(0, "id", "w", "generations", [[long, "each"], ["b"] * 10_000]))
    progress.on_event(GenerationStarted(0, 0, [long]))
    progress.on_event(TaskStarted(0, long, "天気予報" * 9, "\x1b[2J" * 9, 0, 1, 0.0))
    progress.on_event(TaskProgress(0, long, None, 3, None, "とても長い言葉 " * 40))
    progress.on_event(ItemsStarted(0, "each", 24))
    lines = screen(progress, width).splitlines()
    assert len(lines) == 3
    assert "0.0 s" in lines[1]
    assert "\x1b" not in "".join(lines)
    assert lines[2].split()[1:] == ["each", "0.0", "s", "0", "of", "24", "items"]


@pytest.mark.anyio
async def test_the_journal_writes_each_event_as_a_line(tmp_path: Path) -> None:
    events: list[Event] = []
    path = tmp_path / "events.jsonl"
    journal = JsonlWriter(path.open("w"))
    plan = workflow("a", "b: a", name="ünïcode")
    await Run(plan, ScriptedCaller(), observers=[journal, events.append]).execute()
    journal.stop()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [event.to_dict() for event in events]


def test_a_journal_that_cannot_be_written_says_so_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Path("/dev/full").open("w") as full:
        journal = JsonlWriter(full)
        journal.on_event(ServerStarting(0, "a"))
        journal.on_event(ServerStarting(0, "b"))
        journal.stop()
    assert capsys.readouterr().err.count("events are no longer written") == 1


def test_a_journal_whose_reader_has_gone_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as pipe:
        journal = JsonlWriter(pipe)
        journal.on_event(ServerStarting(0, "a"))
        journal.on_event(ServerStarting(0, "b"))
    assert capsys.readouterr().err == ""


def test_text_of_any_kind_is_written_as_json() -> None:
    assert to_json({"a": "ü"}) == '{"a": "ü"}'
    assert to_json("\ud800") == '"\\ud800"'


def test_what_json_does_not_have_is_written_as_text_and_keeps_nothing_else_back() -> None:
    held = [float("nan"), float("inf"), -float("inf"), 1.5, None, True, ("a", Path("b")), {1: 2}]
    wanted = ["NaN", "Infinity", "-Infinity", 1.5, None, True, ["a", "b"], {"1": 2}]
    assert json.loads(to_json({"x": held})) == {"x": wanted}


@pytest.mark.anyio
async def test_an_error_that_no_document_can_hold_is_in_the_result_and_in_the_journal() -> None:
    stream = io.StringIO()
    caller = ScriptedCaller({"a": [(0, CallError("protocol_error", "x", data=float("nan")))]})
    result = await Run(workflow("a", "b"), caller, observers=[JsonlWriter(stream)]).execute()
    assert json.loads(result.to_json())["tasks"]["a"]["error"]["details"] == {"data": "NaN"}
    assert '"run_settled"' in stream.getvalue().splitlines()[-1]


class Recorder(Observer):
    """Writes down what is done to it."""

    def __init__(self, *_: object) -> None:
        self.log: list[str] = []

    def start(self) -> None:
        self.log.append("start")

    def on_event(self, event: Event) -> None:
        self.log.append(event.name)

    def stop(self) -> None:
        self.log.append("stop")


class Counter:
    """An observer by its methods alone; being callable, too, does not make it a function."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        raise AssertionError(event)

    def start(self) -> None:
        raise AssertionError

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def stop(self) -> None:
        raise AssertionError


@pytest.mark.anyio
async def test_observers_and_plain_functions_receive_the_events_of_a_run() -> None:
    names: list[str] = []
    recorder, counter = Recorder(), Counter()
    observers: list[Observer | OnEvent] = [lambda event: names.append(event.name)]
    observers += [recorder, counter]
    await Run(workflow("a"), ScriptedCaller(), observers=observers).execute()
    assert names == [
        "run_started",
        "generation_started",
        "task_started",
        "task_settled",
        "run_settled",
    ]
    assert recorder.log == names  # a run neither starts nor stops an observer
    assert len(counter.events) == len(names)


def test_the_command_line_starts_its_observers_before_the_run_and_stops_them_before_the_report(
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    monkeypatch.setattr("orchestrator.cli.run.JsonlWriter", lambda *_: recorder)
    monkeypatch.setattr(
        "orchestrator.cli.tables.print_result", lambda *_: recorder.log.append("report")
    )
    servers = tmp_path / "servers.toml"
    servers.write_text("[servers.absent]\ncommand = 'no-such-program'\n")
    path = write({"id": "a", "tool": "absent:x"})
    assert main(["run", path, "--servers", str(servers), "--events", "-"]) == 1
    assert recorder.log[0] == "start"
    assert recorder.log[-4:] == ["run_settled", "stop", "report", "stop"]
    assert recorder.log.count("start") == 1


def test_every_event_has_its_name_in_snake_case() -> None:
    kinds = [*Event.__subclasses__(), *ServerEvent.__subclasses__()]
    assert sorted({kind.name for kind in kinds} - {"server_event"}) == [
        "budget_spent",
        "generation_started",
        "item_settled",
        "items_started",
        "question_asked",
        "retry_decided",
        "run_settled",
        "run_started",
        "server_failed",
        "server_list_changed",
        "server_log",
        "server_ready",
        "server_resource_updated",
        "server_starting",
        "server_tools_changed",
        "task_added",
        "task_progress",
        "task_settled",
        "task_started",
        "task_waiting",
    ]
