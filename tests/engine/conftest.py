"""What several tests of the engine run with."""

from __future__ import annotations

import pytest

from orchestrator.workflow.model import Schedule


@pytest.fixture(params=["generations", "dataflow"])
def schedule(request: pytest.FixtureRequest) -> Schedule:
    """Each schedule."""
    chosen: Schedule = request.param
    return chosen
