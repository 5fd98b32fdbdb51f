"""Who watches a run: the terminal and the journal; and the pictures of a plan."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.documents.encode import to_json
from orchestrator.engine.events import (
    Event,
    GenerationStarted,
    ItemSettled,
    RetryDecided,
    RunStarted,
    ServerFailed,
    ServerReady,
    ServerStarting,
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
from tests.fakes import ScriptedCaller, workflow


def screen(progress: ProgressDisplay) -> str:
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as capture:
        console.print(progress.render())
    return capture.get()


def test_the_terminal_shows_what_starts_what_runs_and_what_has_settled() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with ProgressDisplay(console) as progress:
        assert screen(progress).strip() == ""
        progress(ServerStarting(0, "weather"))
        assert screen(progress).splitlines()[0].rstrip() == "starting 1 server"
        progress(ServerStarting(0, "news"))
        assert "starting 2 servers" in screen(progress)
        progress(ServerReady(0, "weather", "2025-11-25", 3, 12.0))
        assert "weather" not in screen(progress)
        progress(ServerFailed(0, "news", TaskError("server_unavailable", "gone", True)))
        progress(RunStarted(0, "id", "w", "generations", [["a", "b"], ["c"]]))
        progress(GenerationStarted(0, 0, ["a", "b"]))
        progress(TaskStarted(0, "a", "weather", "[forecast]", 0, 1, 0.0))
        shown = screen(progress)
        assert "generation 0 (last: 1), 0 of 3 tasks settled" in shown
        assert "weather:[forecast]" in shown
        progress(TaskSettled(0, "a", TaskResult("a", Success(1), 0)))
        shown = screen(progress)
        assert "1 of 3 tasks settled (1 success)" in shown
        assert "forecast" not in shown


def test_the_terminal_shows_what_a_call_waits_for_how_far_it_is_and_its_items() -> None:
    progress = ProgressDisplay(Console(file=io.StringIO()))
    progress(RunStarted(0, "id", "w", "dataflow", [["a", "b"]]))
    progress(TaskWaiting(0, "a", None, "lock 'x'"))
    assert "waiting for lock 'x'" in screen(progress)
    for item in range(3):
        progress(TaskStarted(0, "b", "s", "t", 0, 1, 0.0, item=item))
    progress(ItemSettled(0, "b", 1, ItemResult(1, Success(1))))
    shown = screen(progress)
    assert "b[0] (1 done)" in shown
    assert "b[1]" not in shown
    assert shown.index("b[2]") < shown.index("lock 'x'")  # who waits comes last
    progress(TaskStarted(0, "a", "s", "t", 0, 1, 0.0))
    assert "waiting" not in screen(progress)
    progress(TaskProgress(0, "a", None, 3, 10, "pages"))
    assert "3 of 10 pages" in screen(progress)
    progress(TaskProgress(0, "a", None, 3, None, "\x1b[31mred \u202e"))
    assert "3 \\u001b[31mred \\u202e" in screen(progress)
    progress(TaskProgress(0, "a", None, 4, None, ""))
    assert "4" in screen(progress)
    error = TaskError("timeout", "late", True)
    progress(RetryDecided(0, "a", None, 1, error, 1500.0, "the backoff"))
    assert "timeout, again in 1.5 s" in screen(progress)
    progress(TaskStarted(0, "a", "s", "t", 0, 2, 0.0))
    assert "attempt 2" in screen(progress)
    progress(RetryDecided(0, "a", None, 2, error, None, "the last"))
    progress(TaskSettled(0, "b", TaskResult("b", Success(1), 0)))
    assert "b[" not in screen(progress)


def test_the_terminal_shows_only_so_many_rows() -> None:
    progress = ProgressDisplay(Console(file=io.StringIO()))
    progress(RunStarted(0, "id", "w", "dataflow", [[f"t{n}" for n in range(40)]]))
    for number in range(40):
        progress(TaskStarted(0, f"t{number}", "s", "t", 0, 1, 0.0))
    shown = screen(progress)
    assert f"and {40 - MAX_ROWS} more" in shown
    assert shown.startswith("0 of 40 tasks settled")


@pytest.mark.anyio
async def test_the_journal_writes_each_event_as_a_line(tmp_path: Path) -> None:
    events: list[Event] = []
    path = tmp_path / "events.jsonl"
    journal = JsonlWriter(path.open("w"))
    plan = workflow("a", "b: a", name="ünïcode")
    await Run(plan, ScriptedCaller(), observers=[journal, events.append]).execute()
    journal.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [event.to_dict() for event in events]


def test_a_journal_that_cannot_be_written_says_so_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Path("/dev/full").open("w") as full:
        journal = JsonlWriter(full)
        journal(ServerStarting(0, "a"))
        journal(ServerStarting(0, "b"))
        journal.close()
    assert capsys.readouterr().err.count("events are not written any more") == 1


def test_a_journal_whose_reader_has_gone_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as pipe:
        journal = JsonlWriter(pipe)
        journal(ServerStarting(0, "a"))
        journal(ServerStarting(0, "b"))
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
