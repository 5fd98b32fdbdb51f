"""The tables of `run`, `plan` and `tools`, and the lines below them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.documents.text import counted, cut, duration, listed, visible
from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.report.forecast import Forecast, TaskForecast
from orchestrator.report.plan_text import lines_of
from orchestrator.schema.notation import signature
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow

NO_TERMINAL = 160
"""Columns, where no terminal sets a width."""
WIDE = 110
"""Columns from which on the table of a run has room for reasons."""
MIDDLE = 75
"""Columns from which on there is room for the tools of a run and the dependencies of a plan."""
MAX_RESULT_ROWS = 60
MAX_PLAN_ROWS = 200
"""Rich lays out about 3,000 rows a second."""
MAX_REASON = 300
MAX_NAMED = 8
NOTABLE_MS = 1
NAMES_SHARE = 0.25
DRY_RUN = "DRY RUN: no tool was called, outputs are made up"
STATUS_STYLES = {
    "success": "green",
    "partial": "yellow",
    "recovered": "yellow",
    "error": "bold red",
    "failed": "bold red",
    "skipped": "yellow",
    "cancelled": "magenta",
}
_NOT_DONE = {"error": "failed", "skipped": "skipped", "cancelled": "cancelled"}
RISK_STYLES = {"reads": "green", "writes": "yellow", "may": "yellow", "destroys": "red"}


def print_tools(tools: Iterable[Tool]) -> None:
    """Print the tools of servers on stdout."""
    table = _table("tool", "arguments", "description")
    table.columns[0].no_wrap = True
    table.columns[-1].ratio = 1
    for tool in tools:
        # A server writes names and descriptions: a terminal must not obey them.
        first_line = visible(tool.description.strip().partition("\n")[0])
        arguments = Text(signature(tool), style="dim")
        table.add_row(Text(visible(tool.target)), arguments, Text(first_line))
    _console().print(table)


def print_result(result: RunResult, workflow: Workflow) -> None:
    """Print the tasks of a run and its summary on stderr."""
    console = _console(stderr=True)
    is_wide = console.width >= WIDE
    has_tools = console.width >= MIDDLE
    table = _table("task", *(["tool"] * has_tools), "status", "gen", "time", "attempts", right=3)
    if is_wide:
        table.add_column("reason", overflow="fold", ratio=1)
    shown = _most_important(list(result.tasks.values()))
    for task in shown:
        tool = Text(workflow.plan.tasks[task.id].target, style="dim")
        cells = [Text(task.id), *([tool] * has_tools)]
        cells += _result_cells(task, timed=not result.dry_run)
        table.add_row(*cells, *([Text(_reason(task))] * is_wide))
    if result.dry_run:
        _print(console, Text(DRY_RUN, style="bold magenta"))
    console.print(table)
    for task in shown:
        if not is_wide and (reason := _reason(task)):
            _print(console, Text(f"{task.id}: {reason}"))
    if more := len(result.tasks) - len(shown):
        console.print(f"and {counted(more, 'more task')} (--json and --output FILE have all)\n")
    for line in _summary(result):
        _print(console, line)


def print_plan(forecast: Forecast) -> None:
    """Print the tasks of a plan by generation, and what it will do, on stdout."""
    console = _console()
    table = _plan_table(forecast, console.width)
    generations = forecast.workflow.plan.generations
    # Rows are shared out, so that a wide generation does not hide those after it.
    shares = _shares([len(names) for names in generations])
    for number, (names, rows) in enumerate(zip(generations, shares, strict=False)):
        for index, name in enumerate(names[:rows]):
            is_last = index == len(names) - 1
            # Text is never markup: an id may look like a style.
            cells = [Text("" if index else str(number)), *_plan_cells(forecast.tasks[name])]
            table.add_row(*cells[: len(table.columns)], end_section=is_last)
        if (more := len(names) - rows) > 0:
            text = Text(f"and {more:,} more (--json has all)", style="dim")
            table.add_row("", "", text, end_section=True)
    console.print(table)
    if (left := len(generations) - len(shares)) > 0:
        console.print(f"and {counted(left, 'more generation')} (--json has all)\n")
    for index, line in enumerate(lines_of(forecast)):
        _print(console, Text(line, style="" if index else "bold"))


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        return Console(stderr=stderr, highlight=False, width=NO_TERMINAL)
    return console


def _print(console: Console, line: Text) -> None:
    """Print a line, wrapped only on a terminal: other programs expect whole lines."""
    console.print(line, soft_wrap=not console.is_terminal)


def _table(*headings: str, right: int = 0) -> Table:
    """A table of these columns, the last ones of which hold numbers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in headings[: len(headings) - right]:
        table.add_column(heading, overflow="fold")
    for heading in headings[len(headings) - right :]:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _most_important(tasks: list[TaskResult]) -> list[TaskResult]:
    """All tasks; of too many, those that did not succeed before the others."""
    if len(tasks) <= MAX_RESULT_ROWS:
        return tasks
    ranked = sorted(tasks, key=lambda task: (task.status == "success", not task.recovered))
    return ranked[:MAX_RESULT_ROWS]


def _result_cells(task: TaskResult, *, timed: bool) -> Iterator[Text]:
    status = "recovered" if task.recovered else task.status
    yield Text(status, style=STATUS_STYLES[status])
    yield Text(str(task.generation))
    yield Text(duration(task.duration_ms) if task.attempts and timed else "")
    yield Text(str(task.attempts or ""))


def _reason(task: TaskResult) -> str:
    error = task.error
    reason = f"{error.kind}: {error.message}" if error else task.reason or ""
    return cut(visible(reason, keep="\n"), MAX_REASON)


def _summary(result: RunResult) -> Iterator[Text]:
    numbers = Counter(task.status for task in result.tasks.values())
    tasks = f"{numbers.pop('success', 0):,} of {counted(len(result.tasks), 'task')}"
    others = [f"{number:,} {_NOT_DONE[status]}" for status, number in numbers.most_common()]
    verb = " succeeded" if others else ""
    time = "" if result.dry_run else f" in {duration(result.duration_ms)}"
    rest = f"; {', '.join(others)}" if others else ""
    style = STATUS_STYLES.get(result.status, "")
    text = f": {tasks}{verb}{time} ({result.schedule}){rest}"
    yield Text.assemble((result.status, style), text)
    yield from _assumed(result) if result.dry_run else _times(result)
    if result.error is not None:
        reason = visible(f"{result.error.kind}: {result.error.message}", keep="\n")
        yield Text(reason, style="red")


def _assumed(result: RunResult) -> Iterator[Text]:
    """Which outputs of a dry run are assumed, by the reason."""
    by_note: dict[str, list[str]] = {}
    for task, origin in (result.made_up or {}).items():
        if origin.source == "assumed":
            by_note.setdefault(origin.note, []).append(task)
    for note, tasks in list(by_note.items())[:MAX_NAMED]:
        yield Text(f"assumed output of {listed(tasks, MAX_NAMED)}: {note}")
    if len(by_note) > MAX_NAMED:
        yield Text(f"and {len(by_note) - MAX_NAMED:,} more (--json has all)")


def _times(result: RunResult) -> Iterator[Text]:
    if sum(task.attempts > 0 for task in result.tasks.values()) > 1:
        other = result.other_schedule
        yield Text(
            f"speedup {result.speedup:.1f}x over sequential ({duration(result.sequential_ms)}); "
            f"critical path {duration(result.critical_path_ms)}; "
            f"{other['schedule']} would take {duration(other['duration_ms'])}"
        )
    longest_ms = max(task.waited_ms for task in result.tasks.values())
    if longest_ms >= NOTABLE_MS:
        wait = f"longest wait for a server, slot, rate or lock: {duration(longest_ms)}"
        yield Text(wait, style="dim")


def _plan_table(forecast: Forecast, width: int) -> Table:
    """An empty table; names are broken only where they take more than their share of the width."""
    dependencies = ("depends on",) if width >= MIDDLE else ()
    table = _table("gen", "", "task", "tool", "calls", "effects", *dependencies)
    tasks = forecast.tasks.values()
    gen, mark, task, tool, calls, effects, *_ = table.columns
    task.no_wrap = max(len(each.task.id) for each in tasks) <= width * NAMES_SHARE
    tool.no_wrap = max(len(each.task.target) for each in tasks) <= width * NAMES_SHARE
    gen.no_wrap = mark.no_wrap = calls.no_wrap = effects.no_wrap = True
    gen.justify = calls.justify = "right"
    return table


def _shares(sizes: Sequence[int]) -> Sequence[int]:
    """How many rows each generation gets, `MAX_PLAN_ROWS` in all."""
    if sum(sizes) <= MAX_PLAN_ROWS:
        return sizes
    share = max(MAX_PLAN_ROWS // len(sizes), 1)
    return [min(size, share) for size in sizes[:MAX_PLAN_ROWS]]


def _plan_cells(task: TaskForecast) -> Iterator[Text]:
    effects = task.effects[task.task.target]
    bold = "bold" if task.critical else ""
    yield Text("*" if task.critical else "", style=bold)
    yield Text(task.task.id, style=bold)
    yield Text(task.task.target, style="dim")
    yield Text(str(task.calls))
    yield Text(effects.word, style=RISK_STYLES.get(effects.risk, "dim"))
    yield Text(listed(task.task.dependencies, MAX_NAMED))
