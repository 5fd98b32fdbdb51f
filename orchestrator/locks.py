"""Names that are held.

The rule of this file: a lock is slots: a shared one takes one of very many, an exclusive one all.
"""

from __future__ import annotations

from orchestrator.limits import Slots


class Locks:
    """Names that are held, each by one exclusively or by any number shared.

    Who waits is served in the order of asking; a shared lock does not overtake an exclusive one.
    Taken in the order of their names, so that two can never wait for each other.
    """

    _ALL = 1 << 30

    def __init__(self) -> None:
        self._named: dict[str, Slots] = {}

    def __repr__(self) -> str:
        return f"Locks({sorted(self._named)})"

    def is_busy(self, name: str, *, shared: bool) -> bool:
        """Whether who asks now has to wait."""
        return name in self._named and self._named[name].is_busy(self._weight(shared))

    async def acquire(self, name: str, *, shared: bool) -> None:
        """Take a name, which has to be released in the same mode; wait until it is free."""
        slots = self._named.setdefault(name, Slots(self._ALL))
        try:
            await slots.acquire(weight=self._weight(shared))
        finally:
            self._forget(name)

    def release(self, name: str, *, shared: bool) -> None:
        """Give a name back."""
        self._named[name].release(self._weight(shared))
        self._forget(name)

    def _weight(self, shared: bool) -> int:
        return 1 if shared else self._ALL

    def _forget(self, name: str) -> None:
        if self._named[name].idle:
            del self._named[name]
