"""Who wants to know what a run does while it does it, as spans of a trace."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from orchestrator.calls.tracing import Trace


class Tracing(Protocol):
    """Traces runs. None of this raises."""

    def run(
        self, workflow: str, run_id: str, schedule: str, first: str
    ) -> AbstractContextManager[Trace]:
        """A run, while the block runs.

        `first` is what named it in the process that began it; "" in that process.
        """
