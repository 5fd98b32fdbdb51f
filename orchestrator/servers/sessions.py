"""What a pool needs of the sessions of one server, whether a server is behind them or not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.calls.call import Attempt, Call
from orchestrator.calls.limits import FIRST, Priority
from orchestrator.engine.events import OnEvent
from orchestrator.errors import TaskError
from orchestrator.servers.config import Server

if TYPE_CHECKING:
    from orchestrator.servers.offers import Entry, Kind


class Offering(Protocol):
    """Lists what a server offers besides tools."""

    async def of(self, kind: Kind) -> list[Entry] | None: ...

    async def complete(
        self, kind: str, name: str, argument: str, value: str, given: Mapping[str, str]
    ) -> list[str]: ...


class Callee(Protocol):
    """A session: it makes calls."""

    @property
    def offers(self) -> Offering | None: ...

    async def call(self, call: Call, attempt: Attempt | None = None) -> Any: ...


class Sessions(Protocol):
    """The sessions of one server; see `supervisor`."""

    server: Server

    @property
    def usable(self) -> bool: ...

    @property
    def failure(self) -> TaskError | None: ...

    def close(self) -> None: ...

    async def open(self, announce: OnEvent, priority: Priority = FIRST) -> None: ...

    async def session(self) -> Callee: ...
