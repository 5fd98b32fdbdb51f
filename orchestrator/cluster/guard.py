"""What goes wrong with one run or one schedule ends no worker, and holds up no other one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from orchestrator.cluster.turns import Turn
from orchestrator.errors import JournalError, OrchestratorError
from orchestrator.journal.store import Database, LostError

# Where the database is gone, the journal reports that within this time, once.
FAILS_S = 10.0
AGAIN_S = 60.0  # after which something is attempted again that has failed


class Guard:
    """Reports what goes wrong, once until it succeeds.

    Args:
        tell: Receives it.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self._told = dict[str | Turn, str]()  # what goes wrong, and the sentence about it
        self._again = dict[str, float]()  # when to attempt it again
        self._since = dict[Turn, float]()  # when looks began to fail

    def once(self, what: str | Turn, text: str) -> None:
        """Say it, unless that was said and `what` has not succeeded since."""
        is_news = text not in self._told.values()
        self._told[what] = text
        if is_news:
            self.tell(text)

    def attempt(
        self,
        db: Database,
        what: str,
        do: Callable[..., object],
        *values: Any,
        is_urgent: bool = False,
    ) -> str:
        """Do something that may be impossible; why it is, or "".

        Args:
            db: What it uses.
            what: What is impossible then, for the message.
            do: Does it; after a failure not for a minute.
            values: Its arguments.
            is_urgent: Whether it is done all the same.

        Raises:
            LostError: The connection is lost, so it says nothing of this.
        """
        if not is_urgent and time.monotonic() < self._again.get(what, 0.0):
            return self._told[what].removeprefix(f"{what}: ")
        if why := self.failure(db, do, *values):
            self._again[what] = time.monotonic() + AGAIN_S
            self.once(what, f"{what}: {why}")
        else:
            self.succeeded_at(what)
        return why

    def failure(self, db: Database, do: Callable[..., object], *values: Any) -> str:
        """As `attempt`, but for what the caller reports."""
        try:
            do(*values)
        except (LostError, MemoryError):
            raise
        except Exception as error:
            db.execute("rollback")  # of a transaction that is open
            return why_of(error)
        return ""

    def succeeded_at(self, what: str | Turn) -> None:
        """It has not failed: the next failure is news."""
        self._told.pop(what, None)

    def failed(self, error: Exception, its: Turn) -> None:
        """A look with this turn has failed: say so if that is a mistake, or goes on for a while."""
        now = time.monotonic()
        since = self._since.setdefault(its, now)
        if not isinstance(error, JournalError) or now - since >= FAILS_S:
            self.once(its, f"this worker cannot look for runs: {why_of(error)}")

    def succeeded(self, its: Turn) -> None:
        """A look with this turn has not failed; that says nothing of turns with more to do."""
        for each in Turn:
            if each <= its:
                self._since.pop(each, None)
                self.succeeded_at(each)


def why_of(error: Exception) -> str:
    """An error as the messages of a worker have it."""
    if isinstance(error, OrchestratorError):
        return str(error)
    return f"{type(error).__name__}: {error}".rstrip(": ")
