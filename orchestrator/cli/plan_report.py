"""The table of a plan.

The rule of this file: it shows what a forecast holds, and of very many tasks the first ones of each
generation; the document has them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from orchestrator.cli.report import new_console
from orchestrator.forecast import Forecast, TaskForecast
from orchestrator.telling import lines_of
from orchestrator.wording import listed

MAX_ROWS = 200
"""Rich lays out some 3,000 rows a second."""
MAX_WAITS = 6
TOOLS_SHARE = 0.25
"""Of the width of the screen: names of tools that are no longer stand there in one piece."""
STYLES = {"reads": "green", "destructive": "red", "writes": "yellow"}
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
    """How many rows each generation gets, `MAX_ROWS` in all."""
    if sum(sizes) <= MAX_ROWS:
        return sizes
    share = max(MAX_ROWS // len(sizes), 1)
    return [min(size, share) for size in sizes[:MAX_ROWS]]


def _cells(task: TaskForecast) -> Iterator[Text]:
    yield Text(CRITICAL if task.critical else "", style="bold")
    yield Text(task.task.id, style="bold" if task.critical else "")
    yield Text(task.task.target, style="dim")
    yield Text(str(task.calls))
    word = task.effects.word
    style = next((style for start, style in STYLES.items() if word.startswith(start)), "dim")
    yield Text(word, style=style)
    yield Text(listed(task.task.dependencies, MAX_WAITS))
