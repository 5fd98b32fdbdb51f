"""Calls that wait for locks, and the circles that they would form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.calls.limits import AbandonedError
from orchestrator.documents.text import quoted
from orchestrator.errors import CallError
from orchestrator.workflow.hold import Hold

if TYPE_CHECKING:
    from orchestrator.calls.locks import Lock


@dataclass(slots=True, eq=False)
class Wait:
    """A call that waits for a lock, and then holds it.

    Attributes:
        hold: What of the lock.
        capacity: How many of it there are, as the call knows it.
        who: The key of the call, and `task` its task, with those that it is inside of.
        is_late: Whether a name that comes after this one is held around it.
        inside: The call, and those around it: none of them ends before it does.
        may_wait: Whether it may wait at all: a late one may not where locks hold for processes that
            know nothing of each other, since nobody would see a circle.
        run: The id of its run, and `process` the number of its process; 0 is this one.
        on_lost: Receives why it does not hold it any more.
        since: Since when it waits, or holds it, on anyio's clock.
        circle: Why its wait would never end; empty as long as it may wait.
    """

    hold: Hold
    capacity: int
    who: object
    task: str
    is_late: bool
    inside: tuple[object, ...]
    may_wait: bool = True
    run: str = ""
    process: int = 0
    on_lost: Callable[[str], None] = lambda _: None
    since: float = 0.0
    lock: Lock = field(init=False)
    circle: str = ""

    @property
    def name(self) -> str:
        """The name of the lock."""
        return self.hold.name

    def check(self) -> None:
        """Raise a CallError if it may not wait."""
        if not self.may_wait:
            name = quoted(self.name)
            raise CallError(
                "invalid_arguments",
                f"lock {name} is not free, and those who hold it may wait for this task: it comes "
                "before a lock that is held around this task, which is too late where locks hold "
                f"beyond this process; hold {name} there, too, or give it a name that is later",
            )


class Waits:
    """The calls that wait for locks. As long as none is late, they form no circle."""

    def __init__(self) -> None:
        self._late = 0
        self._of: defaultdict[object, dict[Wait, None]] = defaultdict(dict)

    @contextmanager
    def noted(self, wait: Wait, on_wait: Callable[[], None] | None) -> Iterator[None]:
        """Note a wait in the block. Of each circle that it closes, one that is late is ended.

        Raises:
            AbandonedError: That is this one.
            CallError: It may not wait.
        """
        wait.check()
        self._late += wait.is_late
        for each in wait.inside:
            self._of[each][wait] = None
        try:
            while not wait.circle and self._late and (circle := self._circle(wait)):
                late = next(each for each in circle if each.is_late)
                late.circle = _why(late, circle)
                late.lock.abandon(late.who)
            if wait.circle:
                raise AbandonedError
            if on_wait is not None:
                on_wait()
            yield
        finally:
            self._late -= wait.is_late
            for each in wait.inside:
                del self._of[each][wait]
                if not self._of[each]:
                    del self._of[each]

    def _circle(self, wait: Wait) -> list[Wait]:
        """The waits of a circle, each for a lock that is held around the next; or none."""
        before: dict[Wait, Wait | None] = {wait: None}
        ways = [wait]
        while ways:
            last: Wait | None = ways.pop()
            assert last is not None
            for holder in last.lock.holders:
                if holder in wait.inside:
                    circle = []
                    while last is not None:
                        circle.append(last)
                        last = before[last]
                    return circle[::-1]
                for each in self._of.get(holder, ()):
                    if (
                        each not in before
                        and not each.circle
                        and not each.lock.is_granted(each.who)
                    ):
                        before[each] = last
                        ways.append(each)
        return []


def _why(late: Wait, circle: list[Wait]) -> str:
    place = circle.index(late)
    others = circle[place + 1 :] + circle[:place]
    waits = (f"task {quoted(each.task)} waits for lock {quoted(each.name)}" for each in others)
    name, last = quoted(late.name), quoted(others[-1].name)
    return (
        f"lock {name} would never be free: {', '.join(waits)}, which is held around this task; "
        f"hold {name} there, too, or give it a name that comes after {last}"
    )
