"""What holds calls back for another reason than that something is busy.

The rule of this file: it says what a gate is; who keeps it knows the servers, and a run does not.
"""

from __future__ import annotations

from typing import Protocol

from orchestrator.planning import Target


class Gate(Protocol):
    """Says which calls may go out already. Once one may, it always may."""

    def waiting_for(self, target: Target | None = None) -> str:
        """What a call has to wait for, for people; empty if it may go out.

        Without a target: what the run waits for before it ends.
        """

    async def changed(self) -> None:
        """Wait until `waiting_for` may say something else."""
