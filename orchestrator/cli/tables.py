"""Tables for people.

The rule of this file: it shows what a result or a tool holds, and computes nothing of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.documents.text import cut, duration, listed, visible
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.report.forecast import Forecast, TaskForecast
from orchestrator.report.plan_text import lines_of
from orchestrator.schema.notation import signature
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow

MAX_ROWS = 60
WIDE = 110
LOG = 160
MAX_ERROR = 300
MAX_ASSUMED = 8
NOTABLE_MS = 1
DRY_RUN = "DRY RUN: nothing was called, outputs are made up"
STYLES = {
    "success": "green",
    "partial": "yellow",
    "error": "bold red",
    "failed": "bold red",
    "skipped": "yellow",
    "cancelled": "magenta",
}


def new_console(*, stderr: bool = False) -> Console:
    """A console; where no terminal limits it, wide enough that tables are not squeezed."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=LOG)


def print_result(result: RunResult, workflow: Workflow) -> None:
    """The tasks of a run, and what it came to, on stderr."""
    console = new_console(stderr=True)
    wide = console.width >= WIDE
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("task", "tool", "status"):
        table.add_column(heading, overflow="fold")
    for heading in ("gen", "time", "tries"):
        table.add_column(heading, justify="right", no_wrap=True)
    if wide:
        table.add_column("why", overflow="fold", ratio=1)
    if result.dry_run:
        console.print(Text(DRY_RUN, style="bold magenta"), soft_wrap=True)
    shown = _most_telling(list(result.tasks.values()))
    for task in shown:
        cells = _row(task, workflow.plan.tasks[task.id].target, timed=not result.dry_run)
        table.add_row(*cells, *([Text(_why(task))] if wide else []))
    console.print(table)
    for task in shown:
        if not wide and (why := _why(task)):
            console.print(Text(f"{task.id}: {why}"), soft_wrap=True)
    if len(shown) < len(result.tasks):
        more = len(result.tasks) - len(shown)
        console.print(f"and {more} more tasks; --json or --output FILE has them all\n")
    for line in _summary(result):
        console.print(line, soft_wrap=True)


def _most_telling(tasks: list[TaskResult]) -> list[TaskResult]:
    """All tasks, or of too many those that did not succeed, then the first of the others."""
    if len(tasks) <= MAX_ROWS:
        return tasks
    return sorted(tasks, key=lambda task: (task.status == "success", not task.recovered))[:MAX_ROWS]


def _row(task: TaskResult, target: str, *, timed: bool) -> list[Text | str]:
    return [
        Text(task.id),
        Text(target, style="dim"),
        _status(task),
        str(task.generation),
        duration(task.duration_ms) if task.attempts and timed else "",
        str(task.attempts or ""),
    ]


def _status(task: TaskResult) -> Text:
    if task.recovered:
        return Text("recovered", style="yellow")
    return Text(task.status, style=STYLES[task.status])


def _why(task: TaskResult) -> str:
    error = task.error
    why = f"{error.kind}: {error.message}" if error else task.reason or ""
    return cut(visible(why, keep="\n"), MAX_ERROR)


def _assumed(result: RunResult) -> list[Text]:
    """Which outputs of a dry run were assumed, by reason."""
    by_note: dict[str, list[str]] = {}
    for task, origin in (result.made_up or {}).items():
        if origin.source == "assumed":
            by_note.setdefault(origin.note, []).append(task)
    lines = []
    for note, tasks in list(by_note.items())[:MAX_ASSUMED]:
        lines.append(Text(f"assumed for {listed(tasks, MAX_ASSUMED)}: {note}"))
    if len(by_note) > MAX_ASSUMED:
        lines.append(Text(f"and {len(by_note) - MAX_ASSUMED:,} more; --json has them all"))
    return lines


def _summary(result: RunResult) -> list[Text]:
    counts = Counter(task.status for task in result.tasks.values())
    told = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    style = STYLES.get(result.status, "")
    took = "" if result.dry_run else f", in {duration(result.duration_ms)}"
    lines = [Text.assemble((result.status, style), f": {told}{took} by {result.schedule}")]
    lines += _assumed(result) if result.dry_run else _times(result)
    if result.error is not None:
        why = visible(f"{result.error.kind}: {result.error.message}", keep="\n")
        lines.append(Text(why, style="red"))
    return lines


def _times(result: RunResult) -> list[Text]:
    called = sum(task.attempts > 0 for task in result.tasks.values())
    lines = [_speedup(result)] if called > 1 else []
    if (waited_ms := max(task.waited_ms for task in result.tasks.values())) >= NOTABLE_MS:
        what = "for its server, a slot, a rate or a lock"
        lines.append(Text(f"a task waited up to {duration(waited_ms)} {what}", style="dim"))
    return lines


def _speedup(result: RunResult) -> Text:
    other = result.other_schedule
    return Text(
        f"speedup {result.speedup:.2f}x over the sum of the task times "
        f"({duration(result.sequential_ms)}); critical path "
        f"{duration(result.critical_path_ms)}; {other['schedule']} would have taken "
        f"{duration(other['duration_ms'])}"
    )


def print_tools(tools: list[Tool]) -> None:
    """The tools of servers, on stdout."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("tool", no_wrap=True)
    table.add_column("arguments", overflow="fold")
    table.add_column("what it does", overflow="fold", ratio=1)
    for tool in tools:
        first_line = visible(tool.description.strip().partition("\n")[0])
        name = Text(visible(tool.target))
        table.add_row(name, Text(signature(tool), style="dim"), Text(first_line))
    new_console().print(table)


def tool_document(tool: Tool) -> dict[str, Any]:
    """A tool as a JSON object."""
    return {
        "tool": tool.target,
        "title": tool.title,
        "description": tool.description,
        "input_schema": dict(tool.input_schema),
        "output_schema": dict(tool.output_schema) if tool.output_schema else None,
        "annotations": {
            "read_only": tool.read_only,
            "idempotent": tool.idempotent,
            "destructive": tool.destructive,
            "open_world": tool.open_world,
        },
    }


MAX_PLAN_ROWS = 200
"""Rich lays out some 3,000 rows a second."""
MAX_WAITS = 6
TOOLS_SHARE = 0.25
"""Of the width of the screen: names of tools that are no longer stand there in one piece."""
EFFECT_STYLES = {"reads": "green", "destructive": "red", "writes": "yellow"}
CRITICAL = "*"


def print_plan(forecast: Forecast) -> None:
    """The generations of a workflow, and what it will do, on stdout."""
    console = new_console()
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("gen", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("task", overflow="fold")
    longest = max(len(task.task.target) for task in forecast.tasks.values())
    table.add_column("tool", overflow="fold", no_wrap=longest <= console.width * TOOLS_SHARE)
    table.add_column("calls", justify="right", no_wrap=True)
    table.add_column("effects", no_wrap=True)
    table.add_column("waits for", overflow="fold")
    generations = forecast.workflow.plan.generations
    shown = _shares([len(names) for names in generations])
    for number, (names, rows) in enumerate(zip(generations, shown, strict=False)):
        _add_generation(table, forecast, number, names, rows)
    console.print(table)
    if (left := len(generations) - len(shown)) > 0:
        console.print(f"and {left:,} more generations; --json has them all\n")
    for index, line in enumerate(lines_of(forecast)):
        style = "" if index else "bold"
        console.print(Text(line, style=style), soft_wrap=not console.is_terminal)


def _add_generation(
    table: Table, forecast: Forecast, number: int, names: Sequence[str], rows: int
) -> None:
    for index, name in enumerate(names[:rows]):
        end = index == rows - 1 and rows == len(names)
        cells = _cells(forecast.tasks[name])
        table.add_row(str(number) if not index else "", *cells, end_section=end)
    if (more := len(names) - rows) > 0:
        text = Text(f"and {more:,} more; --json has them all", style="dim")
        table.add_row("", "", text, end_section=True)


def _shares(sizes: list[int]) -> list[int]:
    """How many rows each generation gets, `MAX_PLAN_ROWS` in all."""
    if sum(sizes) <= MAX_PLAN_ROWS:
        return sizes
    share = max(MAX_PLAN_ROWS // len(sizes), 1)
    return [min(size, share) for size in sizes[:MAX_PLAN_ROWS]]


def _cells(task: TaskForecast) -> Iterator[Text]:
    yield Text(CRITICAL if task.critical else "", style="bold")
    yield Text(task.task.id, style="bold" if task.critical else "")
    yield Text(task.task.target, style="dim")
    yield Text(str(task.calls))
    word = task.effects.word
    style = next((style for start, style in EFFECT_STYLES.items() if word.startswith(start)), "dim")
    yield Text(word, style=style)
    yield Text(listed(task.task.dependencies, MAX_WAITS))
