"""What several tests of the engine run with."""

from __future__ import annotations

import pytest

from orchestrator.workflow.model import Schedule
from tests.virtual_clock import Backend, virtual_clock


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Backend | str:
    """Each event loop; under `virtual_clock` it jumps to the next deadline if all tasks wait."""
    name: str = request.param
    return virtual_clock(name) if request.node.get_closest_marker("virtual_clock") else name


@pytest.fixture(params=["generations", "dataflow"])
def schedule(request: pytest.FixtureRequest) -> Schedule:
    """Each schedule."""
    chosen: Schedule = request.param
    return chosen
