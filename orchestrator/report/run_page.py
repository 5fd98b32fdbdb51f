"""A run as one HTML file, for a mail: no network, no script.

What others wrote (names, outputs, descriptions, errors) is text: it passes `xml` on its way in. The
file brings its own content security policy, which allows its one style sheet and nothing else.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.documents.text import cut, duration, name_of
from orchestrator.engine.result import TaskResult
from orchestrator.explain.sentences import path_lines
from orchestrator.report import run_pictures, run_text
from orchestrator.report.drawing import content, xml
from orchestrator.report.run_history import RunHistory
from orchestrator.report.run_style import STYLE

MAX_VALUE = 4000  # characters of an output, arguments or error details
MAX_VALUES = 2_000_000  # of all outputs together; the journal has them whole
MAX_ROWS = 20  # of a table of sums
_DIGEST = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)

Sums = Mapping[str, tuple[int, float, float]]


def page(history: RunHistory, *, kept: bool = True, by_worker: bool = False) -> str:
    """The file.

    Args:
        history: The run.
        kept: Whether it is in a journal, so that it can be retried.
        by_worker: Whether a worker goes on with it by itself.
    """
    result = history.result
    title = xml(f"{name_of(result.workflow)}: {result.status}")
    state = {"success": "success", "failed": "error", "partial": "cancelled"}
    status = f'<span class="state {state.get(result.status, "waiting")}">{result.status}</span>'
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>',
        f"<h1>{xml(name_of(result.workflow))} {status}</h1>",
        f"<p>{xml(run_text.headline(history))}</p>",
        f'<p class="soft">run {xml(result.run_id)}, began {xml(result.started_at)}, schedule '
        f"{xml(result.schedule)}</p>",
        *_waiting(history, kept=kept, by_worker=by_worker),
        *_failure(history, kept=kept),
        *_path(history),
        *_section("Graph", _scroll(run_pictures.graph(history))),
        *_section("Timeline", _scroll(run_pictures.timeline(history) if history.calls else "")),
        *_where(history),
        *_errors(history),
        *_tasks(history),
        *_section("Plan", _plan(history)),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _section(title: str, body: str) -> Iterator[str]:
    if body:
        yield f"<section><h2>{title}</h2>{body}</section>"


def _scroll(picture: str) -> str:
    return picture and f'<div class="scroll" tabindex="0">{picture}</div>'


def _value(value: Any) -> str:
    return f"<pre>{content(cut(to_json(value, 2), MAX_VALUE))}</pre>"


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>{body}</details>"


def _waiting(history: RunHistory, *, kept: bool, by_worker: bool) -> Iterator[str]:
    if not history.result.questions:
        return
    yield "<section><h2>What it waits for</h2><ul>"
    for asked, command in run_text.question_lines(history):
        how = f"<br><code>{xml(command)}</code>" if kept else ""
        yield f"<li>{xml(asked)}{how}</li>"
    yield "</ul>"
    if kept and by_worker:
        yield "<p>Then a worker goes on with it.</p>"
    elif kept:
        then = xml(f"orchestrator resume {history.result.run_id}")
        yield f"<p>Then it goes on with <code>{then}</code></p>"
    yield "</section>"


def _failure(history: RunHistory, *, kept: bool) -> Iterator[str]:
    failure, error = history.first_failure, history.result.error
    if failure is None and error is None:
        return
    yield '<section class="failure"><h2>What went wrong</h2>'
    yield from (f"<p>{xml(line)}</p>" for line in run_text.failure_lines(history))
    if failure is not None and failure.result.error is not None:
        of_task = failure.result.error
        yield f"<pre>{xml(cut(of_task.message, MAX_VALUE))}</pre>"
        if of_task.details:
            yield _folded("Details", _value(dict(of_task.details)))
        if failure.arguments is not None:
            yield f"<p>It was called with:</p>{_value(failure.arguments)}"
    if error is not None:
        yield f"<p>The run ended early: {xml(cut(error.message, MAX_VALUE))}</p>"
    if kept and failure is not None and not history.result.questions:
        command = xml(run_text.how_to_go_on(history.result.run_id))
        yield f"<p>To make again what did not succeed: <code>{command}</code></p>"
    yield "</section>"


def _path(history: RunHistory) -> Iterator[str]:
    lines = "".join(f"<li>{xml(line)}</li>" for line in path_lines(history.analysis))
    yield from _section("What decided how long it took", lines and f"<ul>{lines}</ul>")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of HTML cells; numbers from the second column on."""
    first, *others = head
    heads = f"<th>{first}</th>" + "".join(f'<th class="n">{each}</th>' for each in others)
    lines = []
    for name, *cells in rows:
        numbers = "".join(f'<td class="n">{cell}</td>' for cell in cells)
        lines.append(f"<tr><td>{name}</td>{numbers}</tr>")
    body = "".join(lines)
    return body and f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _where(history: RunHistory) -> Iterator[str]:
    reasons = history.by_reason()
    whole = sum(reasons.values()) or 1.0
    why = ((xml(reason), duration(ms), f"{ms / whole:.0%}") for reason, ms in reasons.items())
    slowest = sorted(history.tasks.values(), key=lambda span: -span.duration_ms)[:MAX_ROWS]
    tasks = ((xml(name_of(s.task)), duration(s.duration_ms), _wait(s.waited_ms)) for s in slowest)
    starts = history.result.startup_ms.items()
    body = [
        _table(("On the path above", "time", "share"), why),
        _table(("Server", "calls", "ran", "waited"), _sums(history.by_server())),
        _table(("Tool", "calls", "ran", "waited"), _sums(history.by_tool())),
        _table(("Slowest tasks", "took", "waited"), tasks),
        _table(("Server", "to start"), ((xml(name_of(n)), duration(ms)) for n, ms in starts)),
    ]
    yield from _section("Where the time went", "<br>".join(filter(None, body)))


def _sums(sums: Sums) -> Iterator[tuple[str, ...]]:
    for name, (calls, ran, waited) in list(sums.items())[:MAX_ROWS]:
        yield xml(name_of(name)), f"{calls:,}", duration(ran), _wait(waited)


def _wait(milliseconds: float) -> str:
    return duration(milliseconds) if milliseconds >= 1 else ""


def _errors(history: RunHistory) -> Iterator[str]:
    rows = (
        (xml(name_of(name)), f"{xml(task.error.kind)}</td><td>{xml(cut(task.error.message, 500))}")
        for name, task in history.result.tasks.items()
        if task.error is not None and task.status != "skipped"
    )
    lines = "".join(f"<tr><td>{name}</td><td>{what}</td></tr>" for name, what in rows)
    yield from _section("Errors", lines and f"<table><tbody>{lines}</tbody></table>")


def _tasks(history: RunHistory) -> Iterator[str]:
    left, lines = MAX_VALUES, []
    for name, task in history.result.tasks.items():
        output = ""
        if task.output is not None:
            output = content(cut(to_json(task.output, 2), MAX_VALUE))
            left -= len(output)
            output = _folded("output", f"<pre>{output}</pre>") if left > 0 else "(left out)"
        lines.append(_task_row(history, name, task, output))
    head = '<th>Task</th><th>Status</th><th class="n">Took</th><th>What came of it</th>'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    yield from _section("Tasks", _scroll(table) if lines else "")


def _task_row(history: RunHistory, name: str, task: TaskResult, output: str) -> str:
    plan = history.plan.tasks.get(name)
    target = "" if plan is None else f'<br><span class="soft">{xml(name_of(plan.target))}</span>'
    took = duration(task.duration_ms) if task.attempts else ""
    why = f"<p>{xml(cut(task.reason, 500))}</p>" if task.reason else ""
    return (
        f"<tr><td>{xml(name_of(name))}{target}</td>"
        f'<td><span class="state {task.status}">{task.status}</span></td>'
        f'<td class="n">{took}</td><td>{why}{output}</td></tr>'
    )


def _plan(history: RunHistory) -> str:
    described = history.workflow.description or ""
    about = f"<p>{xml(cut(described, MAX_VALUE))}</p>" if described else ""
    whole = content(to_json(history.workflow.to_dict(), 2))
    inputs = _folded("Inputs", _value(history.inputs)) if history.inputs else ""
    return f"{about}{inputs}{_folded('The workflow', f'<pre>{whole}</pre>')}"
