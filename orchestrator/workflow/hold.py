"""How much of a lock is held: all of it, a share, or a number of a resource."""

from __future__ import annotations

from typing import NamedTuple

MAX_COUNT = 100_000


class Hold(NamedTuple):
    """A lock by its name, and how much of it is held.

    Attributes:
        shared: With any number of others that share it.
        number: How many of a resource; None: all of it, or a share.
    """

    name: str
    shared: bool = False
    number: int | None = None

    def joined(self, other: Hold | None) -> Hold:
        """What is enough for both: exclusive is more than a count, and a count than a share."""
        if other is None or other == self:
            return self
        if self.is_exclusive or other.is_exclusive:
            return Hold(self.name)
        return Hold(self.name, number=max(self.number or 0, other.number or 0))

    @property
    def is_exclusive(self) -> bool:
        """Whether nobody else holds any of it."""
        return not self.shared and self.number is None

    @property
    def amount(self) -> int | str:
        """How much, in a word: a number, `all` or `shared`."""
        return self.number or ("shared" if self.shared else "all")
