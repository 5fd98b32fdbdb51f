"""How long a run still takes, by the times of earlier runs.

The journal is read and the forecast made in a thread, a while after the first call could be made:
neither ever delays a call.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from orchestrator.documents.text import approximately
from orchestrator.engine import events

if TYPE_CHECKING:
    from orchestrator.engine.result import ItemResult
    from orchestrator.report.timing import Timing

FIRST_S = 1.0  # a run that ends before needs no forecast
LATE = 2.0  # a task that takes so many times what it did tells that nothing can be foreseen
EVERY_S = 1.0  # between two forecasts
LOOKS = 30  # so many of them the pace of a loop is measured over


class _Loop:
    """How far a `for_each` is, and what its own items tell of those that are left.

    These count more than earlier runs: who carries them, how many at a time, is not in any journal.
    """

    def __init__(self, items: int) -> None:
        self.items, self.settled = items, 0
        self._took_ms, self._calls = 0.0, 0
        self._seen = deque[tuple[float, int]](maxlen=LOOKS)  # when how many had settled

    def add(self, item: ItemResult) -> None:
        """Count an item that has settled."""
        self.settled += 1
        if item.attempts and item.status == "success":
            self._took_ms, self._calls = self._took_ms + item.duration_ms, self._calls + 1

    @property
    def call_s(self) -> float | None:
        """What one took, seconds; None if nobody knows."""
        return self._took_ms / 1000 / self._calls if self._calls else None

    def pace_s(self, now: float) -> float | None:
        """How long after one item the next one settled, lately; None if nobody knows."""
        settled = self.settled
        since, before = self._seen[0] if self._seen else (now, settled)
        self._seen.append((now, settled))
        return (now - since) / (settled - before) if settled > before and now > since else None


def _known(measured: dict[str, float | None]) -> dict[str, float]:
    return {task: each for task, each in measured.items() if each is not None}


class TimeLeft(events.Observer):
    """Foresees how long a run still takes, from how far its tasks are.

    Args:
        timing: What the tasks are expected to take; None if too little is known. It is called in a
            thread, once.
        clock: The time, seconds.
    """

    def __init__(
        self,
        timing: Callable[[], Timing | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_timing, self._clock = timing, clock
        self._timing: Timing | None = None
        self._schedule = ""
        self._began: dict[str, float] = {}
        self._loops: dict[str, _Loop] = {}
        self._settled: set[str] = set()
        self._ends_at: float | None = None
        self._is_least = self._is_cancelled = False
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def on_event(self, event: events.Event) -> None:
        """Note how far a task is."""
        match event:
            case events.RunStarted(schedule=schedule, tasks=tasks) if tasks:
                self._schedule = schedule
                self._thread = threading.Thread(target=self._foresee, daemon=True)
                self._thread.start()
            case events.TaskStarted(task=task):
                self._began.setdefault(task, self._clock())
            case events.ItemsStarted(task=task, items=items):
                self._loops[task] = _Loop(items)
            case events.ItemSettled(task=task, result=item) if task in self._loops:
                self._loops[task].add(item)
            case events.TaskSettled(task=task, result=result):
                self._settled.add(task)
                # The run ends early: nothing is known of when.
                self._is_cancelled = self._is_cancelled or result.status == "cancelled"
            case events.RunSettled():
                self.stop()

    def stop(self) -> None:
        """End the thread, which may be in the middle of a forecast."""
        self._stopped.set()

    def _foresee(self) -> None:
        if self._stopped.wait(FIRST_S):
            return
        self._timing = self._make_timing()
        while self._timing is not None and not self._stopped.wait(self.look(self._timing)):
            continue

    def look(self, timing: Timing) -> float:
        """Forecast once; how long to wait before the next time, seconds."""
        now = self._clock()
        left = self._left(timing, now)
        is_known = all(late_s < 0 for late_s in self._late_s(timing, now))
        self._is_least = not timing.unbounded <= {*tuple(self._settled), *tuple(self._loops)}
        loops = dict(tuple(self._loops.items()))
        paces = {task: loop.pace_s(now) for task, loop in loops.items()}
        calls = {task: loop.call_s for task, loop in loops.items()}
        measured = timing.measured(_known(calls), _known(paces))
        self._ends_at = now + measured.run_s(self._schedule, left) if is_known else None
        # It never takes more than a tenth of the time of one processor.
        return max(EVERY_S, 10 * (self._clock() - now))

    def _late_s(self, timing: Timing, now: float) -> Iterator[float]:
        """How much longer each task runs than one would that takes `LATE` times what it does."""
        for task, began in tuple(self._began.items()):
            if task not in self._settled and task not in self._loops:
                yield now - began - max(LATE * timing.call_s.get(task, 0.0), EVERY_S)

    def _left(self, timing: Timing, now: float) -> dict[str, float]:
        """How many calls of each task are left, where that is known: of one that runs, a part."""
        left = dict.fromkeys(tuple(self._settled), 0.0)
        for task, loop in tuple(self._loops.items()):
            left.setdefault(task, loop.items - loop.settled)
        for task, began in tuple(self._began.items()):
            if expected_s := timing.call_s.get(task):
                left.setdefault(task, max(0.0, 1 - (now - began) / expected_s))
        return left

    @property
    def words(self) -> str:
        """The same in words; "at least" if a task that is to come may make any number of calls."""
        if (left_s := self.seconds) is None:
            return ""
        return f"{'at least' if self._is_least else 'about'} {approximately(left_s)}"

    @property
    def seconds(self) -> float | None:
        """How long the run still takes, seconds; None if that is not known."""
        if self._ends_at is None or self._is_cancelled:
            return None
        return max(0.0, self._ends_at - self._clock())
