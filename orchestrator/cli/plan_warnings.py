"""The warnings of `validate`, found while a run goes on: no call has to wait for them."""

from __future__ import annotations

from contextlib import suppress

import anyio

from orchestrator.client import Orchestrator
from orchestrator.documents.threads import in_thread
from orchestrator.engine import events
from orchestrator.errors import Problem
from orchestrator.workflow.model import Workflow


class PlanWarnings(events.Observer):
    """Finds the warnings when each server of the run is ready or has failed; before, never."""

    def __init__(self, orchestrator: Orchestrator, workflow: Workflow) -> None:
        self.found: list[Problem] = []
        self.has_begun = False
        self._orchestrator, self._workflow = orchestrator, workflow
        self._missing = set(workflow.plan.servers)
        self._known = anyio.Event()

    def on_event(self, event: events.Event) -> None:
        """Note the servers that are ready or have failed."""
        match event:
            case events.RunStarted():
                pass
            case events.ServerReady(server=server) | events.ServerFailed(server=server):
                self._missing.discard(server)
            case _:
                return
        if not self._missing:
            self._known.set()

    async def find(self) -> None:
        """Find them, in a thread: a check takes 0.2 ms a task."""
        await self._known.wait()
        self.has_begun = True
        with suppress(Exception):  # no fault of a check may end the run
            self.found = await in_thread(self._orchestrator.warnings, self._workflow)
