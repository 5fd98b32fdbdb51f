"""What goes wrong with one run or one schedule ends no worker, and holds up no other one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from orchestrator.errors import JournalError, OrchestratorError
from orchestrator.journal.postgres import LostError
from orchestrator.journal.store import Database

# A database that is gone is told by the journal within this time, once.
FAILS_S = 10.0


class Guard:
    """Tells what goes wrong, once each.

    Args:
        tell: Receives it.
        told: What was told.
    """

    def __init__(self, tell: Callable[[str], None], told: set[str] | None = None) -> None:
        self.tell = tell
        self._told = set[str]() if told is None else told
        self._since: float | None = None  # when looks began to fail
        self._failure = ""

    def once(self, text: str) -> None:
        """Tell it, unless that was told."""
        if text not in self._told:
            self._told.add(text)
            self.tell(text)

    def tried(self, db: Database, what: str, do: Callable[..., object], *values: Any) -> str:
        """Do something that may be impossible; why it is, or "".

        Args:
            db: What it uses.
            what: What is impossible then, for the message.
            do: Does it.
            values: Its arguments.

        Raises:
            LostError: The connection is lost, so it says nothing of this.
        """
        try:
            do(*values)
        except (LostError, MemoryError):
            raise
        except Exception as error:
            db.execute("rollback")  # of a transaction that is open
            self.once(f"{what}: {why_of(error)}")
            return why_of(error)
        return ""

    def failed(self, error: Exception) -> None:
        """A look has failed: tell it if that is a mistake, or goes on for a while."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if not isinstance(error, JournalError) or now - self._since >= FAILS_S:
            self._failure = f"this worker cannot look for runs: {why_of(error)}"
            self.once(self._failure)

    def worked(self) -> None:
        """A look has not failed: the next failure is news."""
        self._since = None
        self._told.discard(self._failure)


def why_of(error: Exception) -> str:
    """An error as it is told."""
    if isinstance(error, OrchestratorError):
        return str(error)
    return f"{type(error).__name__}: {error}".rstrip(": ")
