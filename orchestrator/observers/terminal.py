"""What runs now, on the screen.

The rule of this file: it shows what the events say and keeps no other state; it goes away when the
run has ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator.events import (
    Event,
    GenerationStarted,
    RunSettled,
    RunStarted,
    ServerFailed,
    ServerReady,
    ServerStarting,
    TaskSettled,
    TaskStarted,
)

MAX_ROWS = 15


class Progress:
    """An observer that shows each running task of the current generation.

    Args:
        console: Where to; by default stderr.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._spinner = Spinner("dots")
        self._generations: list[list[str]] = []
        self._generation: int | None = None
        self._servers: dict[str, float] = {}
        self._running: dict[str, tuple[str, float]] = {}
        self._settled: dict[str, int] = {}
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            transient=True,
            refresh_per_second=8,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Take it off the screen."""
        self._live.stop()

    def __call__(self, event: Event) -> None:
        match event:
            case ServerStarting(server=server):
                self._servers[server] = time.monotonic()
            case ServerReady(server=server) | ServerFailed(server=server):
                self._servers.pop(server, None)
            case RunStarted(generations=generations):
                self._generations = generations
            case GenerationStarted(generation=generation):
                self._generation = generation
            case TaskStarted(task=task, server=server, tool=tool):
                self._running[task] = f"{server}:{tool}", time.monotonic()
            case TaskSettled(task=task, result=result):
                self._running.pop(task, None)
                self._settled[result.status] = self._settled.get(result.status, 0) + 1
            case RunSettled():
                self.stop()

    def render(self) -> RenderableType:
        """What is on the screen now."""
        return Group(self._headline(), self._rows())

    def _headline(self) -> RenderableType:
        if not self._generations:
            return Text(f"starting {len(self._servers)} servers" if self._servers else "")
        tasks = sum(map(len, self._generations))
        done = ", ".join(f"{count} {status}" for status, count in self._settled.items())
        place = f"{sum(self._settled.values())} of {tasks} tasks settled"
        if self._generation is not None:
            place = f"generation {self._generation + 1} of {len(self._generations)}, {place}"
        return Text(f"{place}{f' ({done})' if done else ''}", style="bold")

    def _rows(self) -> Table:
        table = Table.grid(padding=(0, 1))
        rows = list(self._lines())
        for name, what, since in rows[:MAX_ROWS]:
            elapsed = f"{time.monotonic() - since:.1f} s"
            table.add_row(self._spinner, Text(name), Text(what, style="dim"), Text(elapsed))
        if len(rows) > MAX_ROWS:
            table.add_row("", Text(f"and {len(rows) - MAX_ROWS} more", style="dim"))
        return table

    def _lines(self) -> Iterator[tuple[str, str, float]]:
        for server, since in tuple(self._servers.items()):
            yield server, "starting", since
        for task, (target, since) in tuple(self._running.items()):
            yield task, target, since
