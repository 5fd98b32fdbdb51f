"""Lines of progress, for a log or a terminal that cannot redraw."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable

from orchestrator.documents.encode import to_json
from orchestrator.documents.text import counted, cut, duration, quoted, visible
from orchestrator.engine import events
from orchestrator.workflow.budget import amounts

EVERY_S = 1.0  # between two lines, unless each event has one
SLOW_MS = 1000.0  # a server that takes as long to start is worth a line
MAX_LINE, MAX_ARGUMENTS = 500, 150


class ProgressLines(events.Observer):
    """Writes how far a run is, at most once a second; `verbose` has a line for each event."""

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        verbose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._verbose = verbose
        self._clock = clock
        self._last = clock()
        self._tasks = self._settled = 0
        self._run = self._so_far = self._left = ""
        self._items: dict[str, list[int]] = {}  # how many have settled of each loop, of how many

    def on_event(self, event: events.Event) -> None:
        """Write a line, if it is time for one."""
        match event:
            case events.RunStarted(tasks=tasks):
                self._tasks, self._last = tasks, self._clock()
                self._run = event.run_id
            case events.TaskAdded():
                self._tasks, self._so_far = self._tasks + 1, " so far"
            case events.QuestionAsked(question=question):
                about = f"{_name(question.task, question.item)} asks: {question.message}"
                if question.arguments:
                    about += f" {cut(to_json(question.arguments), MAX_ARGUMENTS)}"
                item = "" if question.item is None else f" --item {question.item}"
                how = f"orchestrator answer {self._run} {shlex.quote(question.task)}{item} ..."
                self._write(cut(visible(f"{event.at_ms / 1000:8.3f} s  {about} ({how})"), MAX_LINE))
            case events.ItemsStarted(task=task, items=items):
                self._items[task] = [0, items]
            case events.ItemSettled(task=task) if task in self._items and not self._verbose:
                self._items[task][0] += 1
                settled, of_all = self._items[task]
                self._line(f"{settled:,} of {counted(of_all, 'item')} of {quoted(task)}", event)
            case events.ServerReady(server=server, duration_ms=start_ms) if start_ms >= SLOW_MS:
                if not self._verbose:
                    self._line(f"server {quoted(server)} took {duration(start_ms)} to start", event)
            case events.BudgetSpent(left=left):
                self._left = f" ({amounts(left)} left)"
            case events.TaskSettled():
                self._line(self._settled_text(event), event)
        if self._verbose and (text := _described(event)):
            self._line(text, event)

    def _settled_text(self, event: events.TaskSettled) -> str:
        self._items.pop(event.task, None)
        result, done = event.result, ""
        if not event.is_inside:
            self._settled += 1
            of = counted(self._tasks, "task") + self._so_far
            done = f"{self._settled:,} of {of} settled{self._left}: "
        why = f": {result.error.message}" if result.error else ""
        took = f" in {duration(result.duration_ms)}" if result.attempts else ""
        took = " (cached)" if result.cached else took
        return f"{done}{quoted(event.task)} {result.status}{took}{why}"

    def _line(self, text: str, event: events.Event) -> None:
        now = self._clock()
        if self._verbose or now - self._last >= EVERY_S:
            self._last = now
            self._write(cut(visible(f"{event.at_ms / 1000:8.3f} s  {text}"), MAX_LINE))


def _described(event: events.Event) -> str:
    match event:
        case events.ServerStarting(server=server):
            return f"server {quoted(server)} starts"
        case events.ServerReady(server=server, protocol=protocol, tools=tools, duration_ms=took):
            tools_of_it = f"protocol {protocol}, {counted(tools, 'tool')}"
            return f"server {quoted(server)} is ready after {duration(took)} ({tools_of_it})"
        case events.ServerFailed(server=server, error=error):
            return f"server {quoted(server)} failed: {error.message}"
        case events.ServerLog(server=server, level=level, data=data):
            return f"server {quoted(server)} logs {level}: {data}"
        case events.ServerListChanged(server=server, kind=kind):
            return f"server {quoted(server)} has changed its list of {kind}"
        case events.ServerResourceUpdated(server=server, uri=uri, times=times):
            often = f" {times} times" if times > 1 else ""
            return f"server {quoted(server)}: resource {quoted(uri)} has changed{often}"
        case events.TaskWaiting(task=task, item=item, waiting_for=what):
            return f"{_name(task, item)} waits for {what}"
        case events.TaskStarted(task=task, item=item, server=server, tool=tool, which=which):
            again = f", {which}" if which else ""
            return f"{_name(task, item)} calls {server}:{tool}{again}"
        case events.ItemSettled(task=task, item=item, result=result):
            why = f": {result.error.message}" if result.error else ""
            return f"{_name(task, item)} {result.status}{why}"
        case events.RetryDecided(task=task, item=item, error=error, wait_ms=wait_ms):
            then = "not retried" if wait_ms is None else f"again in {duration(wait_ms)}"
            return f"{_name(task, item)} {error.kind}, {then}: {error.message}"
    return ""


def _name(task: str, item: int | None) -> str:
    return quoted(task) if item is None else f"{quoted(task)}[{item}]"
