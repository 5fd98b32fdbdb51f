"""A run in sentences: what decided how long it took, and what failed first."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.documents.text import counted, duration, listed, name_of, quoted
from orchestrator.report.run_history import Cause, RunHistory, Step

MAX_STEPS = 40
REASONS: dict[str, str] = {
    "calls": "calls ran",
    "start": "before the first call",
    "dependency": "between a task and one that depends on it",
    "generation": "between two generations",
    "limit": "waited for a slot, a rate or a lock",
    "server": "waited for a server to start",
}


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


def path_lines(history: RunHistory) -> Iterator[str]:
    """The path that decided how long a run took, a line for each task."""
    path = history.path
    cut = max(0, len(path) - MAX_STEPS)
    if cut:
        yield f"{counted(cut, 'task')} before these"
    for step in path[cut:]:
        span = step.span
        took = f"{name_of(span.path)}: {duration(span.duration_ms)}"
        yield f"{took}{_attempts(span.attempts)}{_waited(step)}"


def _attempts(number: int) -> str:
    return f" in {number} attempts" if number > 1 else ""


def _waited(step: Step) -> str:
    if step.waited_ms < 1 and step.cause not in ("generation", "limit"):
        return ""
    held = step.holder and quoted(step.holder)
    causes: dict[Cause, str] = {
        "generation": f"until {held} ended, the last task of the generation before",
        "limit": f"until {held} gave back a slot or a lock",
        "server": f"while server {quoted(step.span.server)} started",
    }
    cause = causes.get(step.cause, "")
    waited = f", after it waited {duration(max(step.waited_ms, step.span.waited_ms))}"
    return f"{waited} {cause}".rstrip()


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
