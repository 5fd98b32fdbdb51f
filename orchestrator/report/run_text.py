"""A run in sentences: how it ended, and what failed first."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from orchestrator.documents.text import counted, cut, duration, listed, name_of, quoted, visible
from orchestrator.report.run_history import RunHistory

MOST_QUESTIONS = 20
# What stands for the answer of a question that is no value.
VALUES: Mapping[str, str] = {"approve": "yes", "unknown": "repeat"}


def headline(history: RunHistory) -> str:
    """How a run ended, in a line."""
    result = history.result
    shown = {name: number for name, number in result.summary.items() if number}
    del shown["total"]
    counts = ", ".join(f"{number:,} {name}" for name, number in shown.items())
    text = f"{counted(len(result.tasks), 'task')} ({counts}) in {duration(result.duration_ms)}"
    if result.speedup is None or result.speedup < 1.05:
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


def question_lines(history: RunHistory) -> Iterator[tuple[str, str]]:
    """What a run waits for, each with the command that answers it."""
    run = history.result.run_id
    for each in history.result.questions[:MOST_QUESTIONS]:
        item = "" if each.item is None else f" --item {each.item}"
        value = VALUES.get(each.kind, each.form)
        command = f"orchestrator answer {run} {shlex.quote(each.task)}{item} {value}"
        yield f"{name_of(each.where)}: {cut(visible(each.message), 1000)}", command


def how_to_go_on(run_id: str) -> str:
    """The command that makes again what did not succeed."""
    return f"orchestrator retry {run_id}"
