"""One task whose items are spread: its parts are made, looked at, and carried here if nobody does.

What becomes of the items is counted as the parts end; nothing of it is held.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from orchestrator.engine.items import HandedOut, Joined, Totals
from orchestrator.engine.outcome import Skipped
from orchestrator.engine.question import Question
from orchestrator.errors import CarriedError, JournalError, OrchestratorError, TaskError
from orchestrator.journal.history import INTERRUPTED, PAUSED, QUEUED, RUNNING
from orchestrator.journal.part import Part
from orchestrator.journal.parts import Parts, State
from orchestrator.journal.workers import places
from orchestrator.spread_shape import Shape

SOON_S, LOOK_S = 0.05, 0.5  # between two looks at the parts: at least, and at most
PART_OF_AGE = 0.1  # between two looks, of the time since the last parts were made
PATIENCE_S = 3.0  # a part that nobody takes for so long is carried here
END_S = 15.0  # for parts that are asked to end
_LIVE = (QUEUED, RUNNING, INTERRUPTED, PAUSED)

Carry = Callable[[str], Awaitable[object]]
"""Carries the run with an id here, until it has ended or paused."""


class SpreadTask:
    """The parts of one task, until all have ended."""

    def __init__(self, parts: Parts, what: HandedOut, shape: Shape, carry: Carry, run: str) -> None:
        self._parts, self._what, self._shape = parts, what, shape
        self._carry, self._run = carry, run
        self._totals = Totals()
        self._ended: set[int] = set()
        self._put: set[int] = set()
        self._reason = ""  # why no further item begins
        self._taken_back = False
        self._since: dict[int, float] = {}  # when a part was seen first that nobody carries
        self._here: int | None = None
        self._asked: set[tuple[object, ...]] = set()
        self._open: set[int] = set()  # parts that wait for answers
        self._made_at = 0.0

    async def run(self) -> None:
        """Have them carried; if this is cancelled, they are ended, too."""
        self._made_at = anyio.current_time()
        try:
            async with anyio.create_task_group() as group:
                while not await self._look(group):
                    await anyio.sleep(self._pause_s())
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self._close()

    def _pause_s(self) -> float:
        """How long until the next look: short parts are followed by others as soon."""
        age_s = anyio.current_time() - self._made_at
        return min(LOOK_S, max(SOON_S, PART_OF_AGE * age_s))

    async def _look(self, group: TaskGroup) -> bool:
        """Look at them once, and do what is to be done; whether all have ended."""
        try:
            live = await self._live()
        except JournalError:  # the writer says whether it is lost for good
            return False
        if self._what.error is not None:
            return True
        self._stop_after_failure(live)
        queued, put = [number for number, state in live.items() if state.status == QUEUED], 0
        if self._reason:
            await self._parts.take_back(queued)
        else:
            put = await self._put_more(live)
        left = 0 if self._reason else self._shape.parts - len(self._ended) - len(live)
        if any(state.status == PAUSED for state in live.values()):
            await self._ask(group)
        blocked = [n for n in live if live[n].status == PAUSED and n in self._open]
        # Further parts wait for these: all together keep to the limits of the run.
        self._what.is_idle = bool(blocked) and len(blocked) == len(live) and not put
        self._carry_waiting(group, live)
        return not live and not left

    async def _live(self) -> dict[int, State]:
        """The parts that have not ended, after those are counted that have."""
        what, size = self._what, self._shape.size
        found = await self._parts.look(size, self._ended, stops=bool(what.stops))
        live: dict[int, State] = {}
        for number, state in sorted(found.items()):
            self._put.add(number)
            if state.status in _LIVE:
                live[number] = state
                continue
            settled = await self._join(number)
            is_whole = settled == len(self._items(number)) and state.status != "cancelled"
            if not is_whole and not self._reason and not self._taken_back:
                run = self._parts.id_of(number)
                why = f"run {run}, a part of it, ended as {state.status}"
                what.error = TaskError("cancelled", why, retryable=False)
        what.settled = self._totals.number + sum(state.settled for state in live.values())
        return live

    def _items(self, number: int) -> list[Any]:
        first = number * self._shape.size
        return self._what.items[first : first + self._shape.size]

    async def _join(self, number: int) -> int:
        """Count what became of the items of a part; how many have settled."""
        first, size = number * self._shape.size, self._shape.size
        items = await to_thread.run_sync(lambda: list(self._parts.read(first, first + size, {})))
        for item in items:
            self._totals.add(item)
            self._what.note(item)
        self._ended.add(number)
        return len(items)

    def _stop_after_failure(self, live: Mapping[int, State]) -> None:
        if not self._what.stops or self._reason:
            return
        failed = [state.failed for state in live.values() if state.failed is not None]
        if self._totals.failure is not None:
            failed.append(self._totals.failure[0])
        if failed:
            self._reason = f"item {min(failed)} failed, and {self._what.stops}"
            self._parts.halt(self._reason)

    async def _put_more(self, live: Mapping[int, State]) -> int:
        """Put as many parts into the queue as may be carried now; how many that are."""
        most = self._shape.most
        if not most:
            most = max(1, await to_thread.run_sync(places, self._parts.location))
        free = most - len(live)
        numbers = (n for n in range(self._shape.parts) if n not in self._put)
        new = [number for number, _ in zip(numbers, range(free), strict=False)]
        if new:
            self._put.update(new)
            self._made_at = anyio.current_time()
            servers = list(dict.fromkeys(self._what.task.servers))
            await self._parts.put(self._made(new), servers)
        return len(new)

    def _made(self, numbers: list[int]) -> Iterator[tuple[int, Part]]:
        shape, task = self._shape, self._what.task.id
        for number in numbers:
            about = number * shape.size, self._items(number), shape.most_items, shape.most_calls
            yield number, Part(self._run, task, *about)

    async def _ask(self, group: TaskGroup) -> None:
        """Ask what parts wait for that have paused; those that carry them go on with the reply."""
        asked = await to_thread.run_sync(self._parts.questions)
        self._open = {self._number(question) for question in asked}
        for question in asked:
            if question.key not in self._asked:
                self._asked.add(question.key)
                group.start_soon(self._what.ask, question)

    def _number(self, question: Question) -> int:
        """The part with the item that a question is about."""
        item = question.item
        if question.task != self._what.task.id:
            inside = question.task.removeprefix(f"{self._what.task.id}[")
            item = int(inside.partition("]")[0])
        return (item or 0) // self._shape.size

    def _carry_waiting(self, group: TaskGroup, live: Mapping[int, State]) -> None:
        """Carry a part here that nobody has taken for a while."""
        now = anyio.current_time()
        waiting = {
            n
            for n, state in live.items()
            if state.status in (QUEUED, INTERRUPTED)
            or (state.status == PAUSED and n not in self._open)
        }
        self._since = {n: self._since.get(n, now) for n in waiting}
        if self._here is None and self._since:
            first = min(self._since, key=self._since.__getitem__)
            if now - self._since[first] >= PATIENCE_S:
                self._here = first
                group.start_soon(self._carry_here, first)

    async def _carry_here(self, number: int) -> None:
        try:
            await self._carry(self._parts.id_of(number))
        except (CarriedError, JournalError):
            pass  # another process has taken it, or it has ended
        except OrchestratorError as error:
            why = f"a part of it cannot be carried: {error}"
            self._what.error = TaskError("server_unavailable", why, retryable=False)
        finally:
            self._here = None

    async def _close(self) -> None:
        """End what goes on, and note how the items have ended."""
        if self._parts.is_lost:  # who goes on with the run looks after them
            return
        with suppress(JournalError), anyio.move_on_after(END_S):
            while live := await self._going_on():
                self._taken_back = True
                await self._parts.take_back(n for n in live if live[n].status == QUEUED)
                await self._parts.take_back(
                    (n for n in live if live[n].status == INTERRUPTED), RUNNING
                )
                await self._parts.ask_to_end(n for n in live if live[n].status == RUNNING)
                await anyio.sleep(LOOK_S)
        with suppress(JournalError):
            for number in await self._going_on(paused=True):
                await self._parts.take_back([number], RUNNING)  # it does not answer
                await self._join(number)
            joined = Joined(self._shape.items, self._parts.read, self._totals)
            if self._reason:
                joined.rest = Skipped(self._reason)
            self._what.joined = joined

    async def _going_on(self, *, paused: bool = False) -> dict[int, State]:
        live = await self._live()
        return {n: state for n, state in live.items() if paused or state.status != PAUSED}
