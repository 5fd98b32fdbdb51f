"""`run_sync`: a run where there is no event loop."""

from __future__ import annotations

import anyio
import pytest

from orchestrator import Orchestrator, WorkflowError
from tests.front.test_client import DOUBLED, make_server


def test_a_run_without_an_event_loop_opens_and_closes_the_servers() -> None:
    orchestrator = Orchestrator({"mock": make_server()})
    for n in (1, 2):  # it can be run again
        result = orchestrator.run_sync(DOUBLED, {"n": n}, schedule="dataflow")
        assert (result["b"].output, result.schedule) == ({"n": 4 * n}, "dataflow")
        assert not orchestrator.is_open
    with pytest.raises(WorkflowError, match='unknown input "m"'):
        orchestrator.run_sync(DOUBLED, {"m": 1})


@pytest.mark.anyio
async def test_in_an_event_loop_it_says_what_to_write() -> None:
    with anyio.fail_after(30), pytest.raises(RuntimeError, match=r"await orchestrator\.run"):
        Orchestrator({"mock": make_server()}).run_sync(DOUBLED)
