"""Named locks, exclusive or shared."""

from __future__ import annotations

from orchestrator.calls.limits import Slots


class Locks:
    """Named locks, each held by one exclusively or by any number shared.

    Waiters are served in order of arrival; a shared lock does not overtake an exclusive one. Calls
    acquire several in the order of their names, so that two never wait for each other.
    """

    # A lock is slots: an exclusive holder takes all of them, a shared one takes one.
    _ALL = 1 << 30

    def __init__(self) -> None:
        self._named: dict[str, Slots] = {}

    def __repr__(self) -> str:
        return f"Locks({sorted(self._named)})"

    def is_busy(self, name: str, *, shared: bool) -> bool:
        """Whether `acquire` would wait."""
        return name in self._named and self._named[name].is_busy(self._weight(shared))

    async def acquire(self, name: str, *, shared: bool) -> None:
        """Acquire a name, to be released in the same mode; wait until it is free."""
        slots = self._named.setdefault(name, Slots(self._ALL))
        try:
            await slots.acquire(weight=self._weight(shared))
        finally:
            self._forget(name)

    def release(self, name: str, *, shared: bool) -> None:
        """Release a name."""
        self._named[name].release(self._weight(shared))
        self._forget(name)

    def _weight(self, shared: bool) -> int:
        return 1 if shared else self._ALL

    def _forget(self, name: str) -> None:
        if self._named[name].idle:
            del self._named[name]
