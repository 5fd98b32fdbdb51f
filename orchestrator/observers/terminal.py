"""Shows the calls in progress on the terminal, until the run has ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator.documents.text import counted, name_of, seconds, visible
from orchestrator.engine import events
from orchestrator.workflow.budget import amounts

MAX_ROWS = 15


@dataclass(slots=True)
class _Row:
    """A line of the display: a call, or a server that is starting."""

    since: float
    target: str = ""
    note: str = ""
    waits: bool = False


class ProgressDisplay(events.Observer):
    """Shows each call in progress and what it waits for; by default on stderr.

    A `for_each` is one line, with how many of its items have settled and run.
    """

    def __init__(
        self,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        left: Callable[[], str] = lambda: "",
    ) -> None:
        self._left = left
        self._spinner = Spinner("dots")
        self._clock = clock
        self._generations = self._tasks = 0
        self._grows = False
        self._generation: int | None = None
        self._budget: dict[str, float] = {}  # what is left of it
        self._began: float | None = None
        self._servers: dict[str, float] = {}
        self._running: dict[tuple[str, int | None], _Row] = {}
        self._items = Counter[str]()
        self._totals: dict[str, int] = {}
        self._settled = Counter[str]()
        self._console = console or Console(stderr=True)
        self._live = self._new_live()

    def _new_live(self) -> Live:
        return Live(
            console=self._console,
            get_renderable=self.render,
            transient=True,
            refresh_per_second=8,
        )

    def start(self) -> None:
        """Show it, below what was written since it was stopped."""
        self._live = self._new_live()
        self._live.start()

    def stop(self) -> None:
        """Remove it from the screen."""
        self._live.stop()

    def on_event(self, event: events.Event) -> None:
        """Update what is shown."""
        match event:
            case events.ServerStarting(server=server):
                self._servers[server] = self._clock()
            case events.ServerReady(server=server) | events.ServerFailed(server=server):
                self._servers.pop(server, None)
            case events.RunStarted(generations=generations, tasks=tasks):
                self._generations, self._tasks = len(generations), tasks
                self._began = self._clock()
            case events.TaskAdded(generation=generation):
                self._grows, self._tasks = True, self._tasks + 1
                self._generations = max(self._generations, (generation or 0) + 1)
            case events.GenerationStarted(generation=generation):
                self._generation = generation
            case events.TaskSettled(task=task, result=result):
                for key in [key for key in self._running if key[0] == task]:
                    del self._running[key]
                self._totals.pop(task, None)
                if not event.is_inside:
                    self._settled[result.status] += 1
            case events.ItemsStarted(task=task, items=items):
                self._totals[task] = items
                self._row(task, None)
            case events.ItemSettled(task=task, item=item):
                self._running.pop((task, item), None)
                self._items[task] += 1
            case events.RunSettled():
                self.stop()
            case _:
                self._call_event(event)

    def _call_event(self, event: events.Event) -> None:
        match event:
            case events.TaskWaiting(task=task, item=item, waiting_for=what):
                row = self._row(task, item)
                row.note, row.waits = f"waiting for {name_of(what)}", True
            case events.QuestionAsked():
                row = self._row(event.task, event.item)
                row.note, row.waits = "waiting for an answer", True
            case events.TaskStarted(
                task=task, item=item, server=server, tool=tool, attempt=attempt, which=which
            ):
                if item is not None:  # its task has waited for the server, once for all items
                    whole = self._row(task, None)
                    whole.target, whole.note, whole.waits = name_of(f"{server}:{tool}"), "", False
                row = self._row(task, item)
                row.target, row.waits = name_of(f"{server}:{tool}"), False
                row.note = which
                if attempt == 1:  # the time of a call includes its retries
                    row.since = self._clock()
            case events.TaskProgress(
                task=task, item=item, progress=done, total=total, message=message
            ):
                of = f" of {total:g}" if total is not None else ""
                number = f"{done:g}{of}" if done or of or not message else ""
                self._row(task, item).note = visible(f"{number} {message}".strip())
            case events.BudgetSpent(left=left):
                self._budget = left
            case events.RetryDecided(task=task, item=item, wait_ms=wait_ms, error=error) if wait_ms:
                note = f"{error.kind}, again in {wait_ms / 1000:.1f} s"
                self._row(task, item).note = note

    def _row(self, task: str, item: int | None) -> _Row:
        return self._running.setdefault((task, item), _Row(self._clock()))

    def render(self) -> RenderableType:
        """What the terminal shows now."""
        # A terminal writes ^C behind the last line, and may not break it for that.
        return Constrain(Group(self._headline(), self._rows()), self._console.width - 2)

    def _headline(self) -> RenderableType:
        count = self._settled.total()
        if self._began is None:
            servers = counted(len(self._servers), "server")
            return _line(f"starting {servers}" if self._servers else "")
        settled = tuple(self._settled.items())  # a copy, as in `_rows`
        done = ", ".join(f"{count} {status}" for status, count in settled)
        so_far = " so far" if self._grows else ""
        progress = f"{count} of {self._tasks} tasks{so_far} settled"
        left = f" ({words} left)" if (words := self._left()) else ""
        parts = [
            f"{seconds(self._clock() - self._began)}{left}",
            f"{progress}{f' ({done})' if done else ''}",
        ]
        if self._generation is not None:
            # From 0, as everywhere.
            parts.append(f"generation {self._generation} of 0 to {self._generations - 1}{so_far}")
        if self._budget:
            parts.append(f"{amounts(self._budget)} left")
        return _line(", ".join(parts), "bold")

    def _rows(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for column in range(5):
            table.add_column(no_wrap=column in (0, 3), justify="right" if column == 3 else "left")
        # The event loop changes both while Rich renders in a thread of its own: copy them.
        running, totals = dict(tuple(self._running.items())), dict(tuple(self._totals.items()))
        rows = [(server, _Row(since, "starting")) for server, since in tuple(self._servers.items())]
        inside: dict[str, list[tuple[int, _Row]]] = {task: [] for task in totals}
        for (task, item), row in running.items():
            if item is not None and task in inside:
                inside[task].append((item, row))
        for (task, item), row in running.items():
            if item is None and task in inside:
                rows.append((name_of(task), self._whole(task, row, totals[task], inside[task])))
            elif task not in inside:
                rows.append((_name(task, item), row))
        rows.sort(key=lambda named: named[1].waits)
        for name, row in rows[:MAX_ROWS]:
            elapsed = seconds(self._clock() - row.since)
            what, note = _line(row.target, "dim"), _line(row.note)
            table.add_row(self._spinner, _line(name), what, Text(elapsed), note)
        if len(rows) > MAX_ROWS:
            table.add_row("", _line(f"and {len(rows) - MAX_ROWS} more", "dim"))
        return table

    def _whole(self, task: str, row: _Row, total: int, items: list[tuple[int, _Row]]) -> _Row:
        """The line of a `for_each`, with the latest of what is to be said of its items."""
        note = row.note or f"{self._items[task]:,} of {counted(total, 'item')}"
        running = [each for _, each in items if not each.waits]
        if items and not row.note:
            note += f", {len(running):,} running" if running else f", {len(items):,} waiting"
        said = [f"[{item}] {each.note}" for item, each in items if each.note]
        is_waiting = row.waits or (bool(items) and not running)
        return _Row(row.since, row.target, "; ".join([note, *said[-1:]]), is_waiting)


def _name(task: str, item: int | None) -> str:
    return name_of(task) if item is None else f"{name_of(task)}[{item}]"


def _line(text: str, style: str = "") -> Text:
    """Text that is cut and never wrapped: a line of the display stays one."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
