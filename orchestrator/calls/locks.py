"""Named locks, exclusive or shared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.calls.limits import Slots
from orchestrator.documents.text import quoted
from orchestrator.errors import CallError


class Locks:
    """Named locks, each held by one exclusively or by any number shared.

    Waiters are served in order of arrival; a shared lock does not overtake an exclusive one. Calls
    acquire several in the order of their names, so that two never wait for each other.

    Args:
        held: What the call around these calls holds: each name, and whether shared.
        around: Where that call has them from.
    """

    # A lock is slots: an exclusive holder takes all of them, a shared one takes one.
    _ALL = 1 << 30

    def __init__(self, held: Iterable[tuple[str, bool]] = (), around: Locks | None = None) -> None:
        self._named: dict[str, Slots] = {}
        self._held: Mapping[str, bool] = dict(held)
        self._around = around

    def __repr__(self) -> str:
        return f"Locks({sorted(self._named)})"

    def is_busy(self, name: str, *, shared: bool) -> bool:
        """Whether `acquire` would wait."""
        named = self._place(name)._named
        return name in named and named[name].is_busy(self._weight(shared))

    async def acquire(self, name: str, *, shared: bool) -> None:
        """Acquire a name, to be released in the same mode; wait until it is free.

        Raises:
            CallError: It is asked for exclusively, and the call around this one holds it shared.
        """
        place = self._place(name)
        if place._held.get(name) and not shared:
            message = (
                f"the task around this one holds lock {quoted(name)} shared, so no task in it "
            )
            raise CallError("invalid_arguments", f"{message}can hold it exclusively")
        slots = place._named.setdefault(name, Slots(self._ALL))
        try:
            await slots.acquire(weight=self._weight(shared))
        finally:
            place._forget(name)

    def release(self, name: str, *, shared: bool) -> None:
        """Release a name."""
        place = self._place(name)
        place._named[name].release(self._weight(shared))
        place._forget(name)

    def _place(self, name: str) -> Locks:
        """Where a name is held: what the call around holds, those inside hold among themselves."""
        if self._around is None or name in self._held:
            return self
        return self._around._place(name)

    def _weight(self, shared: bool) -> int:
        return 1 if shared else self._ALL

    def _forget(self, name: str) -> None:
        if self._named[name].idle:
            del self._named[name]
