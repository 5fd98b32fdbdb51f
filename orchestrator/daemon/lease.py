"""The limits of a server that a warm pool keeps: shared by all that use the pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.calls.call import Call
from orchestrator.calls.causes import Cause
from orchestrator.calls.limits import FIRST, AbandonedError, Priority, Slots
from orchestrator.calls.policy import ServerPolicy
from orchestrator.calls.rates import Rate, note_starts
from orchestrator.daemon.connection import LostError
from orchestrator.errors import NotExecutedError

if TYPE_CHECKING:
    from orchestrator.daemon.warm_server import WarmServer


class Lease(Slots):
    """The limits of a server for one call, held in the pool; or our own, if it is gone."""

    def __init__(self, warm: WarmServer, call: Call, own: list[Slots | Rate]) -> None:
        super().__init__(1, Cause("server_limit", call.server))
        self._warm, self._call, self._own = warm, call, own
        self._taken: list[Slots | Rate] = []
        self._who: object = None
        self._on_wait: Callable[[], None] | None = None
        self._waiting: anyio.CancelScope | None = None

    def is_busy(self, weight: int = 1) -> bool:  # noqa: ARG002
        """Whether `acquire` may wait: only the pool knows."""
        return True

    def tell(self, on_wait: Callable[[], None]) -> None:
        """Call it when the pool says that it waits."""
        self._on_wait = on_wait

    def _note(self, note: Mapping[str, Any]) -> None:
        self.cause = Cause(*note["waiting"])
        if self._on_wait is not None:
            self._on_wait()

    async def acquire(  # all of them, so that there is no `weight`
        self, priority: Priority = FIRST, _: int = 1, who: object = None, group: object = None
    ) -> bool:
        """Acquire all of them; as `Slots.acquire`, but only the pool knows who had them before."""
        call, self._who = self._call, who
        given = {"server": call.server, "tool": call.tool, "writes": call.writes}
        with anyio.CancelScope() as self._waiting:
            try:
                self._warm.leases[who] = await self._warm.connection.hold(
                    "lease", self._note, **given, priority=priority
                )
            except (LostError, NotExecutedError):
                self._warm.lose()
                await self._acquire_own(priority, group)
            self._waiting = None
            return True
        raise AbandonedError

    async def _acquire_own(self, priority: Priority, group: object) -> None:
        try:
            for limit in self._own:
                await limit.acquire(priority, who=self._who, group=group)
                self._taken.append(limit)
            note_starts(self._taken)
        except BaseException:
            self.release()
            raise

    def abandon(self, who: object) -> None:
        """End its wait."""
        if self._waiting is not None and who is self._who:
            self._waiting.cancel()

    def release(self, _: int = 1) -> None:
        """Release them."""
        if (lease := self._warm.leases.pop(self._who, None)) is not None:
            self._warm.connection.drop(lease)
        for limit in self._taken:
            limit.release()


@dataclass(frozen=True, slots=True)
class WarmPolicy(ServerPolicy):
    """What the configuration says about calls to a server that a pool keeps."""

    warm: WarmServer | None = None

    @classmethod
    def of(cls, policy: ServerPolicy, warm: WarmServer) -> WarmPolicy:
        """The same policy, whose limits are those of the pool."""
        return cls(**{f.name: getattr(policy, f.name) for f in fields(ServerPolicy)}, warm=warm)

    def limits_of(self, call: Call) -> list[Slots | Rate]:
        """The limits that a call acquires on this server, in this order."""
        limits = ServerPolicy.limits_of(self, call)
        if not limits or self.warm is None or not self.warm.is_warm:
            return limits
        if self.fence is None:
            return [Lease(self.warm, call, limits)]
        # Those of all with the same journal are granted to this process; the pool has no journal.
        turn = [] if self.turn is None else [Lease(self.warm, call, [self.turn])]
        return [limit for limit in limits if limit is not self.turn] + turn
