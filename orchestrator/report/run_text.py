"""A run in sentences: how it ended, and what failed first."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.documents.text import counted, duration, listed, name_of, quoted
from orchestrator.report.run_history import RunHistory


def headline(history: RunHistory) -> str:
    """How a run ended, in a line."""
    result = history.result
    shown = {name: number for name, number in result.summary.items() if number}
    del shown["total"]
    counts = ", ".join(f"{number:,} {name}" for name, number in shown.items())
    text = f"{counted(len(result.tasks), 'task')} ({counts}) in {duration(result.duration_ms)}"
    if result.speedup is None:
        return text
    return f"{text}, {result.speedup:.1f} times as fast as one call after the other"


def failure_lines(history: RunHistory) -> Iterator[str]:
    """What failed first, what did not run because of it, and how to go on."""
    failure = history.first_failure
    if failure is None:
        return
    error, plan = failure.result.error, history.plan.tasks[failure.result.id]
    assert error is not None
    called = f" ({plan.target})" if plan.target else ""
    at = failure.result.started_ms
    when = "" if at is None else f", {duration(at + failure.result.duration_ms)} into the run"
    yield f"Task {quoted(failure.path)}{called} failed first{when}: {error.kind}."
    if failure.skipped:
        names = listed(map(name_of, failure.skipped), 20)
        yield f"Skipped because of it: {names}."


def how_to_go_on(run_id: str) -> str:
    """The command that makes again what did not succeed."""
    return f"orchestrator retry {run_id}"
