"""Who grants what processes share: each of these tests is about all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator.calls.grants import Granter
from orchestrator.journal.location import Address, store_of
from orchestrator.sharing.machine import Machine
from tests.virtual_clock import Backend, virtual_clock

Make = Callable[[], Granter]


class Scope:
    """What is shared.

    Attributes:
        make: Makes what grants it to one more process.
        unit_s: What stands for a second: a database knows no virtual clock.
    """

    def __init__(self, make: Make, unit_s: float) -> None:
        self.make, self.unit_s = make, unit_s

    async def sleep(self, units: float) -> None:
        """Wait for so many of what stands for a second."""
        await anyio.sleep(units * self.unit_s)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let the others go on until it holds."""
        with anyio.fail_after(100):
            while not holds():
                await self.sleep(0.1)


@pytest.fixture(params=["host-asyncio", "host-trio", "cluster-asyncio"])
def kind(request: pytest.FixtureRequest) -> str:
    """What is shared, and on which event loop."""
    found: str = request.param
    return found


@pytest.fixture
def anyio_backend(kind: str) -> Backend:
    """A virtual clock, where no database is asked."""
    scope, _, backend = kind.partition("-")
    return (backend, {}) if scope == "cluster" else virtual_clock(backend)


@pytest.fixture
def scope(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scope]:
    """What is shared."""
    made: list[Granter] = []
    is_host = kind.startswith("host")
    database: Address | None = None if is_host else request.getfixturevalue("database")

    def make() -> Granter:
        if database is None:
            made.append(Machine(tmp_path, anyio.current_time))
        else:
            granter = store_of(database).granter()
            assert granter is not None
            made.append(granter)
        return made[-1]

    yield Scope(make, 1.0 if is_host else 0.02)
    for each in made:
        each.close()
    if database is None:
        names = {path.name for path in tmp_path.iterdir() if path.suffix != ".starts"}
        assert names <= {"turn"}  # nothing is left behind


@pytest.fixture
def state(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], list[Any]]:
    """The locks that are held, with those who hold them and wait for them."""
    if kind.startswith("host"):
        return Machine(tmp_path).state
    database: Address = request.getfixturevalue("database")
    return store_of(database).shared_locks
