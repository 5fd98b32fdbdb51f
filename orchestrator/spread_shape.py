"""How a task is spread: how many parts of how many items, and how many of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SLOWER = 1.1  # than one process: so many times at most, if each call takes as long as the others


@dataclass(frozen=True, slots=True)
class Shape:
    """How a task is spread; kept, since it never changes.

    Attributes:
        items: How many items it has.
        size: How many of them are a part.
        most: How many parts may be carried at a time; 0: as many as workers can carry.
        most_items: How many items of a part may be in flight at a time; 0 for any number.
        most_calls: How many calls of a part.
    """

    items: int
    size: int
    most: int
    most_items: int
    most_calls: int

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-self.items // self.size)


def shape_of(items: int, size: int, calls: int, at_once: int, places: int) -> Shape | None:
    """How to spread items over so many places; None if one process is as good.

    The parts share the limits of calls and of items, 0 for none, so that all of them together keep
    to these. If each call takes as long as the others, that takes at most `SLOWER` times as long
    as in one process. Of such shapes, it is one with several parts at a time, which is done first,
    with few parts: 3,000 items in parts of 500, with 10 calls at a time, are 6 parts, 2 at a time
    with 5 calls each.

    Args:
        items: How many items there are.
        size: How many a part has at most, if that many may be in flight at a time in all.
        calls: How many calls may be in flight at a time.
        at_once: How many items.
        places: How many parts can be carried at a time.
    """
    bound = min((limit for limit in (calls, at_once) if limit), default=0)
    if not bound:
        least = -(-items // size)
        return Shape(items, -(-items // least), 0, 0, 0)
    longest = SLOWER * -(-items // bound)

    def cost(found: tuple[Shape, int]) -> tuple[bool, bool, int, int, int, int]:
        shape, took = found
        too_many = max(0, shape.size - size)
        return took > longest, shape.most == 1, too_many, took, shape.parts, -shape.most

    shapes = (
        (Shape(items, of, most, at_once // most, calls // most), _took(items, of, most, share))
        for most in range(1, min(bound, places) + 1)
        for share in (min(bound // most, each) for each in (size, -(-items // most)))
        for of in _sizes(items, size, most, share)
    )
    shape, _ = min(shapes, key=cost)
    return shape if shape.parts > 1 else None


def _sizes(items: int, size: int, most: int, share: int) -> Iterator[int]:
    """Sizes of parts of which so many are carried at a time, with so many items in flight each."""
    rounds = -(-items // share)
    least = -(-rounds // (most * max(1, size // share)))  # times that so many parts are carried
    for times in range(least, 2 * least + 1):
        whole = -(-rounds // (times * most)) * share
        yield -(-items // -(-items // whole))  # all as large as each other
        yield whole


def _took(items: int, size: int, most: int, share: int) -> int:
    """How many calls such parts take, one after the other."""
    before, last = divmod(-(-items // size) - 1, most)
    rounds = -(-size // share)
    return before * rounds + (rounds if last else -(-(items - before * most * size) // share))
