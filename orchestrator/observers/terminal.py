"""Shows the calls in progress on the terminal, until the run has ended."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator.documents.text import counted, name_of, visible
from orchestrator.engine import events

MAX_ROWS = 15


@dataclass(slots=True)
class _Row:
    """A line of the display: a call, or a server that is starting."""

    since: float
    target: str = ""
    note: str = ""
    waits: bool = False


class ProgressDisplay(events.Observer):
    """Shows each call in progress and what it waits for; by default on stderr."""

    def __init__(self, console: Console | None = None) -> None:
        self._spinner = Spinner("dots")
        self._generations = self._tasks = 0
        self._grows = False
        self._generation: int | None = None
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
                self._servers[server] = time.monotonic()
            case events.ServerReady(server=server) | events.ServerFailed(server=server):
                self._servers.pop(server, None)
            case events.RunStarted(generations=generations, tasks=tasks):
                self._generations, self._tasks = len(generations), tasks
            case events.TaskAdded(generation=generation):
                self._grows, self._tasks = True, self._tasks + 1
                self._generations = max(self._generations, (generation or 0) + 1)
            case events.GenerationStarted(generation=generation):
                self._generation = generation
            case events.TaskSettled(task=task, result=result):
                for key in [key for key in self._running if key[0] == task]:
                    del self._running[key]
                if not event.is_inside:
                    self._settled[result.status] += 1
            case events.ItemsStarted(task=task, items=items):
                self._totals[task] = items
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
                    self._running.pop((task, None), None)
                row = self._row(task, item)
                row.target, row.waits = name_of(f"{server}:{tool}"), False
                row.note = which
                if attempt == 1:  # the time of a call includes its retries
                    row.since = time.monotonic()
            case events.TaskProgress(
                task=task, item=item, progress=done, total=total, message=message
            ):
                of = f" of {total:g}" if total is not None else ""
                self._row(task, item).note = visible(f"{done:g}{of} {message}".rstrip())
            case events.RetryDecided(task=task, item=item, wait_ms=wait_ms, error=error) if wait_ms:
                note = f"{error.kind}, again in {wait_ms / 1000:.1f} s"
                self._row(task, item).note = note

    def _row(self, task: str, item: int | None) -> _Row:
        return self._running.setdefault((task, item), _Row(time.monotonic()))

    def render(self) -> RenderableType:
        """What the terminal shows now."""
        return Group(self._headline(), self._rows())

    def _headline(self) -> RenderableType:
        count = self._settled.total()
        if not self._generations and not self._running and not count:
            servers = counted(len(self._servers), "server")
            return Text(f"starting {servers}" if self._servers else "")
        settled = tuple(self._settled.items())  # a copy, as in `_rows`
        done = ", ".join(f"{count} {status}" for status, count in settled)
        so_far = " so far" if self._grows else ""
        progress = f"{count} of {self._tasks} tasks{so_far} settled"
        if self._generation is not None:
            last = self._generations - 1  # from 0, as everywhere
            progress = f"generation {self._generation} of 0 to {last}{so_far}, {progress}"
        return Text(f"{progress}{f' ({done})' if done else ''}", style="bold")

    def _rows(self) -> Table:
        table = Table.grid(padding=(0, 1))
        # The event loop changes both while Rich renders in a thread of its own: copy them.
        rows = [(server, _Row(since, "starting")) for server, since in tuple(self._servers.items())]
        rows += [(self._name(*key), row) for key, row in tuple(self._running.items())]
        rows.sort(key=lambda named: named[1].waits)
        for name, row in rows[:MAX_ROWS]:
            elapsed = f"{time.monotonic() - row.since:.1f} s"
            what, note = Text(row.target, style="dim"), Text(row.note, overflow="ellipsis")
            table.add_row(self._spinner, Text(name), what, Text(elapsed), note)
        if len(rows) > MAX_ROWS:
            table.add_row("", Text(f"and {len(rows) - MAX_ROWS} more", style="dim"))
        return table

    def _name(self, task: str, item: int | None) -> str:
        shown = name_of(task)
        if item is None:
            return shown
        return f"{shown}[{item}] ({self._items[task]} of {self._totals[task]} done)"
