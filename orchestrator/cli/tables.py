"""The tables of `run`, `plan` and `tools`, and the lines below them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from operator import itemgetter

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.cli.rows import new_console, new_table
from orchestrator.documents.text import counted, cut, duration, listed, name_of, visible
from orchestrator.engine.result import ItemResult, RunResult, TaskResult
from orchestrator.report.forecast import Forecast
from orchestrator.report.plan_text import lines_of
from orchestrator.schema.notation import signature
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow

WIDE = 110  # from that width on, the table of a run has room for reasons
MIDDLE = 75  # likewise for the tools of a run, and the dependencies of a plan
MAX_RESULT_ROWS = 60
MAX_PLAN_ROWS = 200  # Rich lays out about 3,000 rows a second
MAX_ALIKE = 3  # tasks that ended alike, without a call to tell of, have a row each
BESIDE = 50  # columns that the tool, status, generation, time and attempts take
MAX_REASON = 300
MAX_DESCRIPTION = 40
MAX_NAMED = 8
NOTABLE_MS = 1
NAMES_SHARE = 0.25  # of the width: longer names are broken
DRY_RUN = "DRY RUN: no tool was called, outputs are made up"
STATUS_STYLES = {
    "success": "green",
    "partial": "yellow",
    "recovered": "yellow",
    "error": "bold red",
    "failed": "bold red",
    "skipped": "yellow",
    "cancelled": "magenta",
    "waiting": "cyan",
    "paused": "cyan",
}
RISK_STYLES = {"reads": "green", "writes": "yellow", "may": "yellow", "destroys": "red"}


def print_tools(tools: Iterable[Tool]) -> None:
    """Print the tools of servers on stdout."""
    table = new_table("tool", "arguments", "description")
    table.columns[0].no_wrap = True
    table.columns[-1].ratio = 1
    for tool in tools:
        # A server writes names and descriptions: a terminal must not obey them.
        first_line = name_of(tool.description.strip().partition("\n")[0])
        arguments = Text(signature(tool), style="dim")
        table.add_row(Text(name_of(tool.target)), arguments, Text(first_line))
    new_console().print(table)


def print_result(result: RunResult, workflow: Workflow) -> None:
    """Print the tasks of a run and its summary on stderr."""
    console = new_console(stderr=True)
    # Tasks that did not succeed come first, if not all of them are shown.
    tasks, alike = _alike(result.tasks.values())
    ranked = sorted(tasks, key=lambda task: (task.status == "success", not task.recovered))
    shown = tasks if len(tasks) <= MAX_RESULT_ROWS else ranked[:MAX_RESULT_ROWS]
    is_wide = console.width >= WIDE
    longest = max((cell_len(name_of(task.id)) for task in shown), default=0)
    has_tools = is_wide or (console.width >= MIDDLE and longest <= console.width - BESIDE)
    table = new_table("task", *(["tool"] * has_tools), "status", "gen", "time", "attempts")
    table.columns[1 + has_tools].no_wrap = True
    if is_wide:
        table.add_column("reason", overflow="fold", ratio=1)
    for task in shown:
        table.add_row(*_cells(result, task, workflow, has_tools=has_tools, is_wide=is_wide))
    for same in alike:
        first = same[0]
        name = f"{name_of(first.id)} and {len(same) - 1:,} more"
        status = Text(first.status, style=STATUS_STYLES[first.status])
        why = [Text(_reason(first))] * is_wide
        table.add_row(_one_line(name), *([""] * has_tools), status, "", "", "", *why)
    if result.dry_run:
        _print(console, Text(DRY_RUN, style="bold magenta"))
    console.print(table)
    said = () if is_wide else [*shown, *chain.from_iterable(alike)]
    for reason, names in _by_reason(said).items():
        _print(console, Text(f"{listed(names, MAX_NAMED)}: {reason}"))
    if more := len(tasks) - len(shown):
        console.print(f"and {counted(more, 'more task')} (--json and --output FILE have all)\n")
    for line in _summary(result):
        _print(console, line)


def _alike(
    tasks: Iterable[TaskResult],
) -> tuple[list[TaskResult], list[list[TaskResult]]]:
    """The tasks that have a row each, and those that share one: an interrupt ends many alike."""
    shared = defaultdict[tuple[str, str], list[TaskResult]](list)
    tasks = list(tasks)
    for task in tasks:
        if task.status in ("cancelled", "skipped"):
            shared[task.status, _reason(task)].append(task)
    groups = [group for group in shared.values() if len(group) > MAX_ALIKE]
    hidden = {task.id for group in groups for task in group}
    return [task for task in tasks if task.id not in hidden], groups


def _one_line(name: str, style: str = "") -> Text:
    # In two lines, it could not be told from two names.
    return Text(name, style=style, no_wrap=True, overflow="ellipsis")


def _cells(
    result: RunResult, task: TaskResult, workflow: Workflow, *, has_tools: bool, is_wide: bool
) -> list[Text | str]:
    status = "recovered" if task.recovered else task.status
    called = _was_called(task)
    return [
        _one_line(name_of(task.id)),
        *([_one_line(name_of(workflow.plan.tasks[task.id].target), "dim")] * has_tools),
        Text(status, style=STATUS_STYLES[status]),
        "finally" if task.generation is None else str(task.generation),
        duration(task.duration_ms) if called and not result.dry_run else "",
        "cached" if task.cached else str(task.attempts) if called else "",
        *([Text(_reason(task))] * is_wide),
    ]


def print_plan(forecast: Forecast, below: Iterable[str] = (), *, unfold: bool = False) -> None:
    """Print the tasks of a plan by generation, what it will do, and the lines `below`, on stdout.

    With `unfold`, the plans of inner workflows follow.
    """
    console = new_console()
    table = _plan_table(forecast, console.width)
    plan = forecast.workflow.plan
    generations = [(str(number), names) for number, names in enumerate(plan.generations)]
    generations += [] if plan.finally_ is None else [("finally", list(plan.finally_.tasks))]
    # Rows are shared out, so that a wide generation does not hide those after it.
    are_too_many = len(forecast.tasks) > MAX_PLAN_ROWS
    rows = max(MAX_PLAN_ROWS // len(generations), 1) if are_too_many else MAX_PLAN_ROWS
    for number, names in generations[:MAX_PLAN_ROWS]:
        for index, name in enumerate(names[:rows]):
            task = forecast.tasks[name]
            bold = "bold" if task.critical else ""
            # Text is never markup: an id may look like a style.
            cells = [
                Text("" if index else number),
                Text("*" if task.critical else "", style=bold),
                _described(name, task.description, bold),
                Text(name_of(task.task.target), style="dim"),
                Text(str(task.calls)),
                Text(task.does, style=RISK_STYLES.get(task.risk, "dim")),
                Text(listed(task.task.dependencies, MAX_NAMED)),
            ]
            is_last = index == len(names) - 1
            table.add_row(*cells[: len(table.columns)], end_section=is_last)
        if (more := len(names) - rows) > 0:
            text = Text(f"and {more:,} more (--json has all)", style="dim")
            table.add_row("", "", text, end_section=True)
    console.print(table)
    if (left := len(generations) - MAX_PLAN_ROWS) > 0:
        console.print(f"and {counted(left, 'more generation')} (--json has all)\n")
    for index, line in enumerate((*lines_of(forecast), *below)):
        _print(console, Text(line, style="" if index else "bold"))
    for name, task in forecast.tasks.items() if unfold else ():
        if task.inner is not None:
            _print(console, Text(f"\ninside task {name_of(name)}:", style="bold"))
            print_plan(task.inner, unfold=True)


def _print(console: Console, line: Text) -> None:
    # Wrapped only on a terminal: other programs expect whole lines.
    console.print(line, soft_wrap=not console.is_terminal)


def _by_reason(tasks: Iterable[TaskResult]) -> dict[str, list[str]]:
    """The names of the tasks with each reason: an interrupt gives all of them the same."""
    found: dict[str, list[str]] = defaultdict(list)
    for task in tasks:
        if reason := _reason(task):
            found[reason].append(name_of(task.id))
    return found


def _reason(task: TaskResult) -> str:
    error = task.error
    reason = f"{error.kind}: {error.message}" if error else task.reason or ""
    return cut(visible(reason, keep="\n"), MAX_REASON)


def _summary(result: RunResult) -> Iterator[Text]:
    numbers = Counter(task.status for task in result.tasks.values())
    tasks = f"{numbers.pop('success', 0):,} of {counted(len(result.tasks), 'task')}"
    named = {"error": "failed"}  # the others are called what they are
    others = [f"{number:,} {named.get(name, name)}" for name, number in numbers.most_common()]
    is_part = result.lacks_tasks
    verb = " that came succeeded" if is_part else " succeeded" if others else ""
    time = "" if result.dry_run else f" in {duration(result.duration_ms)}"
    rest = f"; {', '.join(others)}" if others else ""
    lack = " before its plan was complete" if is_part else ""
    text = f"{lack}: {tasks}{verb}{time} ({result.schedule}){rest}"
    yield Text.assemble((result.status, STATUS_STYLES.get(result.status, "")), text)
    yield from _assumed(result) if result.dry_run else _times(result)
    if result.error is not None:
        reason = visible(f"{result.error.kind}: {result.error.message}", keep="\n")
        yield Text(reason, style="red")


def _assumed(result: RunResult) -> Iterator[Text]:
    """Which outputs of a dry run are assumed, by the reason."""
    by_note = defaultdict(list)
    for task, origin in (result.made_up or {}).items():
        if origin.source == "assumed":
            by_note[origin.note].append(task)
    for note, tasks in list(by_note.items())[:MAX_NAMED]:
        yield Text(f"assumed output of {listed(map(name_of, tasks), MAX_NAMED)}: {note}")
    if len(by_note) > MAX_NAMED:
        yield Text(f"and {len(by_note) - MAX_NAMED:,} more (--json has all)")


def _times(result: RunResult) -> Iterator[Text]:
    if startup_ms := result.startup_ms:
        longest = sorted(startup_ms.items(), key=itemgetter(1), reverse=True)
        started = [(name_of(name), duration(ms)) for name, ms in longest if ms]  # none in a replay
        took = [f"{name} took {time} to start" for name, time in started[:1]]
        took += [f"{name} {time}" for name, time in started[1:]]
        whole = "" if result.wall_ms is None else f"{duration(result.wall_ms)} in all; "
        yield Text(f"{whole}{listed(took, MAX_NAMED) or 'no server started'}")
    if result.speedup is not None and sum(map(_calls, result.tasks.values())) > 1:
        other = result.other_schedule
        yield Text(
            f"speedup {result.speedup:.1f}x over sequential ({duration(result.sequential_ms)}); "
            f"critical path {duration(result.critical_path_ms)}; "
            f"{other['schedule']} would take {duration(other['duration_ms'])}"
        )
    what, longest_ms = _longest_wait(result)
    if longest_ms >= NOTABLE_MS:
        wait = f"longest wait for {what}: {duration(longest_ms)}"
        if longest_ms > result.duration_ms:
            wait += " (starting servers is not part of the run's time)"
        yield Text(wait, style="dim")


def _longest_wait(result: RunResult) -> tuple[str, float]:
    """What was waited for longest, by which task, as far as that is known; milliseconds."""
    tasks = result.tasks.values()
    waits = [(ms, task.id, str(cause)) for task in tasks for cause, _, ms in task.waits]
    if not waits:
        longest_ms = max((task.waited_ms for task in tasks), default=0.0)
        return "a server, slot, rate or lock", longest_ms
    ms, task, cause = max(waits)
    return f"{visible(cause)} ({name_of(task)})", ms


def _calls(task: TaskResult) -> int:
    """How many calls of a task were made, as far as that matters."""
    return _was_called(task) if task.items is None else sum(map(_was_called, task.items))


def _was_called(task: TaskResult | ItemResult) -> bool:
    """Whether a call was made; a server that never started has refused it."""
    return task.attempts > 0 and not (task.error and "failures" in task.error.details)


def _described(name: str, description: str, style: str) -> Text:
    """The id of a task, and below it what the file says about it."""
    text = Text(name_of(name), style=style)
    if description:
        text.append(f"\n{visible(cut(description, MAX_DESCRIPTION))}", style="not bold dim")
    return text


def _plan_table(forecast: Forecast, width: int) -> Table:
    dependencies = ("depends on",) if width >= MIDDLE else ()
    table = new_table("gen", "", "task", "tool", "calls", "effects", *dependencies)
    tasks = forecast.tasks.values()
    _, _, task, tool, _, effects, *_ = table.columns
    task.no_wrap = max(len(each.task.id) for each in tasks) <= width * NAMES_SHARE
    tool.no_wrap = max(len(each.task.target) for each in tasks) <= width * NAMES_SHARE
    effects.no_wrap = True
    return table
