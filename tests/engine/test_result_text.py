"""What `print(result)` and `result["nope"]` say."""

from __future__ import annotations

import pytest

from orchestrator.engine.made_up import MadeUp
from orchestrator.engine.outcome import Failure, Skipped, Success
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.errors import OrchestratorError, TaskError

DOWN = TaskError("timeout", "too\nslow", True)


def result_of(*tasks: TaskResult, made_up: bool = False) -> RunResult:
    return RunResult(
        run_id="r",
        workflow="brief",
        status="partial",
        started_at="2026-01-01T00:00:00Z",
        duration_ms=1234.0,
        schedule="dataflow",
        generations=[],
        edges=[],
        sequential_ms=0.0,
        critical_path_ms=0.0,
        speedup=None,
        other_schedule={},
        output=None,
        reason=None,
        error=DOWN if made_up else None,
        tasks={task.id: task for task in tasks},
        made_up={"a": MadeUp("assumed")} if made_up else None,
    )


GOOD = TaskResult("weather", Success(1), 0, 1, 0.0, 20.0)


def test_a_result_is_printed_with_the_status_of_each_task() -> None:
    failed = TaskResult("news", Failure(DOWN), 0, 2, 0.0, 5.0)
    recovered = TaskResult("jobs", Success(0, DOWN), 0, 1, 0.0, 1.0)
    skipped = TaskResult("brief", Skipped("dependency news failed"), 1)
    assert str(result_of(GOOD, failed, recovered, skipped)) == (
        "brief: partial, 2 of 4 tasks succeeded in 1.23 s (dataflow)\n"
        "  weather  success    20 ms\n"
        "  news     error      5.0 ms  timeout: too\\u000aslow\n"
        "  jobs     recovered  1.0 ms  timeout: too\\u000aslow\n"
        "  brief    skipped    dependency news failed"
    )


def test_of_many_tasks_those_that_failed_come_first() -> None:
    tasks = [TaskResult(f"t{number}", Success(1), 0, 1, 0.0, 1.0) for number in range(30)]
    lines = str(result_of(*tasks, TaskResult("bad", Failure(DOWN), 0), made_up=True)).splitlines()
    assert lines[0] == "brief: partial, 30 of 31 tasks succeeded in a dry run (dataflow)"
    assert lines[1] == "timeout: too\\u000aslow"
    assert lines[2].startswith("  bad  error")
    assert lines[-1] == "  and 11 more"
    assert len(lines) == 23


def test_an_unknown_task_is_named_with_those_that_there_are() -> None:
    result = result_of(GOOD)
    with pytest.raises(KeyError) as caught:
        result["wether"]
    assert str(caught.value) == 'unknown task "wether". Did you mean "weather"?'
    assert isinstance(caught.value, OrchestratorError)
    with pytest.raises(KeyError, match=r'unknown task "nope" \(tasks: weather\)'):
        result["nope"]
