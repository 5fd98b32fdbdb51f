"""The queue: DBOS hands each run to one worker, in the database of the journal."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Protocol

from dbos import DBOS, DBOSClient

from orchestrator.cluster.offers import QUEUE
from orchestrator.journal.location import Address
from orchestrator.journal.orders import MOST_PRIORITY
from orchestrator.journal.store import Database

CARRY = "orchestrator_carry"
# Workers take only what workers of the same version have put: pinned, since what they put is but
# the id of a run.
VERSION = "1"
# How often each worker asks the queue for a run: seldom while there is none, and often while runs
# wait, since a worker whose run has ended asks only then. Many workers ask less often each, and a
# run is still taken as soon.
IDLE_S, BUSY_S = 0.25, 0.05
IDLE_A_SECOND, BUSY_A_SECOND = 500, 2000
MOST_S = 2.0
# The queue hands out low numbers first.
_LAST = 2 * MOST_PRIORITY
_WAITS = """select exists(
select from dbos.workflow_status where queue_name=? and status='ENQUEUED')"""
_STRANDED = """select workflow_uuid from dbos.workflow_status where status='ENQUEUED'
and starts_with(queue_name, ?) and queue_name <> all(?::text[])"""

Carry = Callable[[str], str]
"""Carries a run, in a thread; how it has ended. Raises `HandedOver` if others go on with it."""


class HandedOver(BaseException):
    """A worker leaves a run to others: nothing of that is an outcome."""


class Dispatch(Protocol):
    """Queues of runs; each call may take a while, and belongs into a thread."""

    def start(self, worker: str, carry: Carry, queue: str, at_once: int) -> None:
        """Begin to carry the runs of a queue under the name of a worker, so many at once."""

    def put(self, run: str, queue: str, priority: int = 0) -> None:
        """Put a run into a queue, if it never was in any; a higher priority goes first."""

    def pace(self, db: Database, queue: str, workers: int, /) -> None:
        """Have workers ask a queue as often as there is something to be had, so many in all."""

    def taken(self) -> Iterator[tuple[str, str]]:
        """The runs that were handed out and have not ended, with their workers."""

    def stranded(self, db: Database, queues: list[str], /) -> list[str]:
        """The runs that wait in other queues than these, which have workers."""

    def put_again(self, run: str, queue: str) -> None:
        """Put a run into a queue whose worker is gone, or all workers of its queue."""

    def stop(self) -> None:
        """Take nothing more."""


class DbosDispatch:
    """The queue in a database; there is one for each process."""

    def __init__(self, address: Address) -> None:
        self._url = re.sub("^postgres:", "postgresql:", address.url)
        self._client: DBOSClient | None = None

    def start(self, worker: str, carry: Carry, queue: str, at_once: int) -> None:
        """See `Dispatch`."""
        logging.getLogger("dbos").setLevel(logging.CRITICAL)  # what matters, the journal says
        DBOS(
            config={
                "name": "orchestrator",
                "system_database_url": self._url,
                "application_version": VERSION,
                "executor_id": worker,
                "log_level": "CRITICAL",
                "enable_otlp": False,
            }
        )
        DBOS.workflow(name=CARRY)(_named(carry))
        DBOS.listen_queues([queue])
        DBOS.launch()
        DBOS.register_queue(
            queue,
            worker_concurrency=at_once,
            polling_interval_sec=IDLE_S,
            on_conflict="always_update",
        )
        self._client = DBOSClient(system_database_url=self._url)

    def put(self, run: str, queue: str, priority: int = 0) -> None:
        """See `Dispatch`."""
        self._opened().enqueue(
            {
                "queue_name": queue,
                "priority": _LAST - priority,
                "workflow_name": CARRY,
                "workflow_id": run,
                "app_version": VERSION,
            },
            run,
        )

    def pace(self, db: Database, queue: str, workers: int, /) -> None:
        """See `Dispatch`."""
        waits = db.execute(_WAITS, (queue,)).fetchone()[0]
        pace_s = pace_of(workers, waits=waits)
        found = self._opened().retrieve_queue(queue)
        if found is not None and found.polling_interval_sec != pace_s:
            found.set_polling_interval_sec(pace_s)

    def taken(self) -> Iterator[tuple[str, str]]:
        """See `Dispatch`."""
        pending = self._opened().list_workflows(status="PENDING", name=CARRY, load_input=False)
        for each in pending:
            yield each.workflow_id, each.executor_id or ""

    def stranded(self, db: Database, queues: list[str], /) -> list[str]:
        """See `Dispatch`."""
        return [run for (run,) in db.execute(_STRANDED, (QUEUE, queues)).fetchall()]

    def put_again(self, run: str, queue: str) -> None:
        """See `Dispatch`."""
        self._opened().resume_workflow(run, queue_name=queue)

    def stop(self) -> None:
        """See `Dispatch`."""
        if self._client is not None:
            self._client.destroy()
            self._client = None
        DBOS.destroy(destroy_registry=True)

    def _opened(self) -> DBOSClient:
        assert self._client is not None
        return self._client


def pace_of(workers: int, *, waits: bool) -> float:
    """How long each of so many workers pauses between two questions to the queue, seconds."""
    least_s, a_second = (BUSY_S, BUSY_A_SECOND) if waits else (IDLE_S, IDLE_A_SECOND)
    return min(MOST_S, max(least_s, workers / a_second))


def _named(carry: Carry) -> Carry:
    """A plain function, as DBOS wants one."""

    def carried(run: str) -> str:
        return carry(run)

    return carried
