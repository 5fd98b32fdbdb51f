"""A run under way on a worker, and how the worker leaves it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import anyio

from orchestrator.engine.drain import Drain
from orchestrator.engine.run import Run
from orchestrator.errors import JournalError, UnknownRunError
from orchestrator.journal.history import find
from orchestrator.journal.location import Location

DELETED = "deleted"  # how a run has ended that is in the journal no more


class Left(Enum):
    """How a worker has left a run that has not ended."""

    TO_OTHERS = "any worker may go on with it"
    ELSEWHERE = "a server of it does not start here, and may start where others are"
    ASIDE = "it waits for an answer, or for a worker that can carry it"


class ElsewhereError(Exception):
    """A run is left to others before it goes on here."""


@dataclass(eq=False)
class Carried:
    """A run under way on a worker.

    Attributes:
        id: The id of the run.
        drain: Knows its calls under way.
        scope: Ends it here.
        run: The run; None while its servers start.
        over: Is set when this worker does nothing more for it.
    """

    id: str
    drain: Drain
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    run: Run | None = None
    over: anyio.Event = field(default_factory=anyio.Event)


def status_of(journal: Location, run: str) -> str:
    """The status of a run in the journal, or `DELETED`; "" if that cannot be read."""
    try:
        return find(journal, run).status
    except UnknownRunError:
        return DELETED
    except JournalError:
        return ""
