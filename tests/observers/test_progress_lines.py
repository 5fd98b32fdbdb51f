"""Progress as lines, on a clock of the test's own."""

from __future__ import annotations

from orchestrator.engine.events import (
    BudgetSpent,
    Event,
    GenerationStarted,
    ItemSettled,
    ItemsStarted,
    RetryDecided,
    RunStarted,
    ServerFailed,
    ServerListChanged,
    ServerLog,
    ServerReady,
    ServerResourceUpdated,
    ServerStarting,
    TaskAdded,
    TaskSettled,
    TaskStarted,
    TaskWaiting,
)
from orchestrator.engine.outcome import Failure, Success
from orchestrator.engine.result import ItemResult, TaskResult
from orchestrator.errors import TaskError
from orchestrator.observers.progress_lines import MAX_LINE, ProgressLines

DOWN = TaskError("server_unavailable", "it is\ndown", True)
BEGIN = RunStarted(0.0, "r", "w", "dataflow", [["a", "b"], ["c"]], ["cleanup"])


def settled(task: str, at_ms: float) -> Event:
    return TaskSettled(at_ms, task, TaskResult(task, Success(1), 0, 1, 0.0, 5.0))


def lines_of(events: list[tuple[float, Event]], *, verbose: bool = False) -> list[str]:
    now, lines = 0.0, list[str]()
    progress = ProgressLines(lines.append, verbose=verbose, clock=lambda: now)
    for now, event in events:  # noqa: B007
        progress.on_event(event)
    return lines


def test_a_line_is_written_at_most_once_a_second() -> None:
    times = {"a": 10.5, "b": 11.0, "c/d": 11.5, "c": 12.0, "cleanup": 13.0}
    events = [(10.0, BEGIN), *((at, settled(task, at * 1000)) for task, at in times.items())]
    assert lines_of(events) == [
        '  11.000 s  2 of 4 tasks settled: "b" success in 5.0 ms',
        '  12.000 s  3 of 4 tasks settled: "c" success in 5.0 ms',
        '  13.000 s  4 of 4 tasks settled: "cleanup" success in 5.0 ms',
    ]


def test_items_and_slow_servers_have_lines_too() -> None:
    items = [
        (12.0 + n / 2, ItemSettled(n * 1.0, "a", n, ItemResult(n, Success(1)))) for n in range(3)
    ]
    events: list[tuple[float, Event]] = [
        (1.0, ServerReady(0.0, "quick", "2025-11-25", 1, 80.0)),
        (3.0, ServerReady(0.0, "slow", "2025-11-25", 1, 2340.0)),
        (10.0, BEGIN),
        (11.5, ItemsStarted(0.0, "a", 24)),
        *items,
    ]
    assert lines_of(events) == [
        '   0.000 s  server "slow" took 2.34 s to start',
        '   0.000 s  1 of 24 items of "a"',
        '   0.002 s  3 of 24 items of "a"',
    ]


def test_a_plan_that_grows_has_a_number_of_tasks_so_far() -> None:
    begin = RunStarted(0.0, "r", "w", "dataflow", [])
    events = [
        (10.0, begin),
        (10.0, TaskAdded(0.0, "a", 0)),
        (11.0, settled("a", 11_000)),
        (11.0, TaskAdded(0.0, "b", 1)),
        (12.0, settled("b", 12_000)),
    ]
    assert lines_of(events) == [
        '  11.000 s  1 of 1 task so far settled: "a" success in 5.0 ms',
        '  12.000 s  2 of 2 tasks so far settled: "b" success in 5.0 ms',
    ]


def test_what_is_left_of_a_budget_is_told() -> None:
    left = {"calls": 1, "minutes": 2.25, "result_mb": 1234.5}
    events = [(10.0, BEGIN), (11.0, BudgetSpent(0.0, left)), (12.0, settled("a", 12_000))]
    assert lines_of(events) == [
        "  12.000 s  1 of 4 tasks settled (1 call, 2.25 min, 1,234 MB of answers left): "
        '"a" success in 5.0 ms',
    ]


def test_verbose_has_a_line_for_each_event_and_no_line_break_of_others() -> None:
    events: list[Event] = [
        ServerStarting(0.0, "s"),
        ServerReady(0.0, "s", "2025-11-25", 1, 80.0),
        ServerFailed(0.0, "t", DOWN),
        ServerLog(0.0, "s", "info", "", "x" * 1000),
        ServerListChanged(0.0, "s", "prompts"),
        ServerResourceUpdated(0.0, "s", "a://b", 1),
        ServerResourceUpdated(0.0, "s", "a://b", 7),
        BEGIN,
        GenerationStarted(0.0, 0, ["a", "b"]),
        TaskWaiting(0.0, "a", None, "a slot of the run"),
        TaskStarted(1.0, "a", "s", "t", 0, 1, 0.0),
        TaskStarted(1.0, "b", "s", "t", 0, 2, 0.0, item=3),
        TaskStarted(1.0, "a", "s", "t", 0, 2, 0.0, turn=2),
        TaskStarted(1.0, "a", "s", "t", 0, 3, 0.0, turn=2),
        RetryDecided(2.0, "a", None, 1, DOWN, 500.0, "temporary"),
        RetryDecided(2.0, "a", None, 2, DOWN, None, "used up"),
        ItemSettled(2.0, "b", 3, ItemResult(3, Failure(DOWN))),
        settled("a", 2.0),
    ]
    lines = lines_of([(0.0, event) for event in events], verbose=True)
    assert [line.partition(" s  ")[2][:80] for line in lines] == [
        'server "s" starts',
        'server "s" is ready after 80 ms (protocol 2025-11-25, 1 tool)',
        'server "t" failed: it is\\u000adown',
        f'server "s" logs info: {"x" * 58}',
        'server "s" has changed its list of prompts',
        'server "s": resource "a://b" has changed',
        'server "s": resource "a://b" has changed 7 times',
        '"a" waits for a slot of the run',
        '"a" calls s:t',
        '"b"[3] calls s:t, attempt 2',
        '"a" calls s:t, turn 2',
        '"a" calls s:t, turn 2, call 3',
        '"a" server_unavailable, again in 500 ms: it is\\u000adown',
        '"a" server_unavailable, not retried: it is\\u000adown',
        '"b"[3] error: it is\\u000adown',
        '1 of 4 tasks settled: "a" success in 5.0 ms',
    ]
    assert max(map(len, lines)) == MAX_LINE
