"""Workers that are hit under load lose nothing, and repeat nothing that was kept."""

from __future__ import annotations

import pytest

from tests.chaos import workers
from tests.postgres import programs


@pytest.mark.slow
@pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed")
def test_runs_of_workers_that_are_killed_frozen_or_asked_to_end_come_to_what_they_should() -> None:
    besieged = workers.run(workers.QUICK, seed=1)
    assert besieged.faults == []
    assert len(besieged.strikes) == len(workers.QUICK)
