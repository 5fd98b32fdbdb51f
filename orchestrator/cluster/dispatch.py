"""The queue: DBOS hands each run to one worker, in the database of the journal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Protocol

from dbos import DBOS, DBOSClient, EnqueueOptions
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.cluster.offers import QUEUE
from orchestrator.cluster.queue_tables import check_rights, engine_of, trouble_of
from orchestrator.errors import JournalError
from orchestrator.journal.location import Address
from orchestrator.journal.orders import MOST_PRIORITY
from orchestrator.journal.store import Database, LostError

# No worker takes a run from here: it waits for an answer, or for a worker that can carry it.
ASIDE = "orchestrator_aside"
CARRY = "orchestrator_carry"
# Workers take only what workers of the same version have put: pinned, since what they put is but
# the id of a run.
VERSION = "1"
# How often each worker asks the queue for a run: often while runs wait, since a worker whose run
# has ended asks only then, and seldom while there has been none for a while; it takes DBOS some
# twenty questions to become as fast again. Many workers ask less often each, and a run is still
# taken as soon.
BUSY_S, RECENT_S, IDLE_S = 0.02, 0.05, 0.25
BUSY_A_SECOND, RECENT_A_SECOND, IDLE_A_SECOND = 1000, 200, 100
MOST_S = 2.0
NOTES_S = 0.25  # between two looks of DBOS for notes of runs, which have none
# The queue hands out low numbers first.
_LAST, _MOST = 2 * MOST_PRIORITY, 2**31 - 1
_PACES = """select q.name, polling_interval_sec, exists(
select from dbos.workflow_status where queue_name=q.name and status='ENQUEUED'),
(select coalesce(max(started) > now_s() - 60, false) from run)
from dbos.queues as q where q.name = any(?::text[])"""
_HANDED = """select workflow_uuid from dbos.workflow_status as w
join run on id=workflow_uuid where w.status='PENDING' and name=? and executor_id=?
and run.status in ('running', 'queued', 'paused')"""
_TAKEN = """select workflow_uuid, executor_id from dbos.workflow_status as w
join run on id=workflow_uuid where w.status='PENDING' and name=? and executor_id <> all(?::text[])
and run.status in ('running', 'queued', 'paused')"""
_OVER = """select workflow_uuid from dbos.workflow_status left join run on id=workflow_uuid
where name=? and (run.id is null or run.status not in ('running', 'queued', 'paused'))
limit ?::integer"""
_SOME = 500  # that are forgotten at a time
_ASIDE = """select workflow_uuid from dbos.workflow_status
where queue_name=? and status='ENQUEUED' order by created_at"""
_STRANDED = """select workflow_uuid from dbos.workflow_status where status='ENQUEUED'
and starts_with(queue_name, ?) and queue_name <> all(?::text[])"""
_MOVE = """update dbos.workflow_status set queue_name=? where workflow_uuid = any(?::text[])
and status='ENQUEUED' and queue_name=? returning workflow_uuid"""
_UNKNOWN = """select q.run, q.priority from queued as q join run as r on r.id=q.run
where q.handed and r.status in ('running', 'queued', 'paused')
and not exists(select from dbos.workflow_status where workflow_uuid=q.run)"""

Carry = Callable[[str], str]
"""Carries a run, in a thread; how it has ended. Raises `HandedOver` if others go on with it."""


class HandedOver(BaseException):
    """A worker leaves a run to others: nothing of that is an outcome."""


class Dispatch(Protocol):
    """Queues of runs; each call may take a while, and belongs into a thread."""

    def start(self, worker: str, carry: Carry, queue: str, at_once: int) -> None:
        """Begin to carry the runs of a queue under the name of a worker, so many at once.

        Raises:
            JournalError: The database cannot be used.
        """

    def put(self, runs: Iterable[tuple[str, str, int]], /) -> None:
        """Put each run into a queue, if it never was in any; a higher priority goes first."""

    def pace(self, db: Database, queues: list[str], workers: int, /) -> None:
        """Have workers ask queues as often as there is something to be had, so many in all."""

    def taken(self, db: Database, but_for: list[str], /) -> list[tuple[str, str]]:
        """The runs that other workers than these were handed and that have not ended, with them."""

    def handed(self, db: Database, worker: str, /) -> list[str]:
        """The runs that a worker was handed and that have not ended."""

    def stranded(self, db: Database, queues: list[str], /) -> list[str]:
        """The runs that wait in other queues than these, which have workers."""

    def unknown(self, db: Database, /) -> list[tuple[str, int]]:
        """The runs that were in a queue and are in none, with their priorities.

        They are of a journal that was copied without the tables of its queues.
        """

    def aside(self, db: Database, /) -> list[str]:
        """The runs in `ASIDE`."""

    def put_again(self, run: str, queue: str) -> None:
        """Put a run into a queue that its worker gives back, or whose workers are gone."""

    def move(self, db: Database, runs: list[str], queue: str, to: str, /) -> list[str]:
        """Move those of these runs that still wait in a queue to another one; which they are."""

    def forget(self) -> None:
        """Have the runs in no queue any more that this worker has carried to their ends."""

    def sweep(self, db: Database, /) -> None:
        """Have other runs in none that have ended, or that are deleted."""

    def stop(self, patience_s: int) -> None:
        """Take nothing more; returns when nothing is carried any more, or after so long."""

    def close(self) -> None:
        """Ask nothing of the queues any more."""


class DbosDispatch:
    """The queue in a database; there is one for each process."""

    def __init__(self, address: Address) -> None:
        self._address, self._engine = address, engine_of(address)
        self._client: DBOSClient | None = None
        self._over = SimpleQueue[str]()

    def start(self, worker: str, carry: Carry, queue: str, at_once: int) -> None:
        """See `Dispatch`."""
        logging.getLogger("dbos").setLevel(logging.CRITICAL)  # what matters, the journal says

        def carried(run: str) -> str:  # DBOS wants a plain function
            carry(run)
            self._over.put(run)
            raise HandedOver  # its outcome is in the journal

        try:
            with self._engine.connect() as db:
                check_rights(self._address, db)
            self._launch(worker, carried, queue, at_once)
        except SQLAlchemyError as error:
            raise trouble_of(self._address, error) from None

    def _launch(self, worker: str, carried: Carry, queue: str, at_once: int) -> None:
        DBOS(
            config={
                "name": "orchestrator",
                "system_database_engine": self._engine,
                "application_version": VERSION,
                "executor_id": worker,
                "log_level": "CRITICAL",
                "enable_otlp": False,
                "notification_coalesce_sec": NOTES_S,
            }
        )
        DBOS.workflow(name=CARRY)(carried)
        DBOS.listen_queues([queue])
        DBOS.launch()
        DBOS.register_queue(
            queue,
            worker_concurrency=at_once,
            polling_interval_sec=IDLE_S,
            on_conflict="always_update",
        )
        self._client = DBOSClient(
            system_database_engine=self._engine, retry_connection_errors=False
        )

    def put(self, runs: Iterable[tuple[str, str, int]], /) -> None:
        """See `Dispatch`."""
        with self._asked() as client, self._engine.begin() as connection:
            for run, queue, priority in runs:
                options: EnqueueOptions = {
                    "queue_name": queue,
                    "priority": min(_MOST, max(1, _LAST - priority)),  # DBOS takes no others
                    "workflow_name": CARRY,
                    "workflow_id": run,
                    "app_version": VERSION,
                }
                client.enqueue_in_transaction(connection, options, run)

    def pace(self, db: Database, queues: list[str], workers: int, /) -> None:
        """See `Dispatch`."""
        for queue, now_s, waits, recent in db.execute(_PACES, (queues,)).fetchall():
            if now_s != (pace_s := pace_of(workers, waits=waits, recent=recent)):
                with self._asked() as client:
                    if (found := client.retrieve_queue(queue)) is not None:
                        found.set_polling_interval_sec(pace_s)

    def taken(self, db: Database, but_for: list[str], /) -> list[tuple[str, str]]:
        """See `Dispatch`."""
        return db.execute(_TAKEN, (CARRY, but_for)).fetchall()

    def handed(self, db: Database, worker: str, /) -> list[str]:
        """See `Dispatch`."""
        return [run for (run,) in db.execute(_HANDED, (CARRY, worker)).fetchall()]

    def stranded(self, db: Database, queues: list[str], /) -> list[str]:
        """See `Dispatch`."""
        return [run for (run,) in db.execute(_STRANDED, (QUEUE, queues)).fetchall()]

    def unknown(self, db: Database, /) -> list[tuple[str, int]]:
        """See `Dispatch`."""
        return db.execute(_UNKNOWN).fetchall()

    def aside(self, db: Database, /) -> list[str]:
        """See `Dispatch`."""
        return [run for (run,) in db.execute(_ASIDE, (ASIDE,)).fetchall()]

    def put_again(self, run: str, queue: str) -> None:
        """See `Dispatch`."""
        with self._asked() as client:
            client.resume_workflow(run, queue_name=queue)

    def move(self, db: Database, runs: list[str], queue: str, to: str, /) -> list[str]:
        """See `Dispatch`."""
        return [run for (run,) in db.execute(_MOVE, (to, runs, queue)).fetchall()]

    def forget(self) -> None:
        """See `Dispatch`."""
        self._forget([self._over.get() for _ in range(self._over.qsize())])

    def sweep(self, db: Database, /) -> None:
        """See `Dispatch`."""
        self._forget([run for (run,) in db.execute(_OVER, (CARRY, _SOME)).fetchall()])

    def _forget(self, runs: list[str]) -> None:
        if runs:
            with self._asked() as client:
                client.delete_workflows(runs)

    def stop(self, patience_s: int) -> None:
        """See `Dispatch`."""
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=patience_s)

    def close(self) -> None:
        """See `Dispatch`."""
        with suppress(JournalError):  # another worker sweeps it up
            self.forget()
        client, self._client = self._client, None
        if client is not None:
            client.destroy()
        self._engine.dispose()

    @contextmanager
    def _asked(self) -> Iterator[DBOSClient]:
        """The client. Raises `LostError`, or `JournalError` if it is the run's fault."""
        if self._client is None:
            raise LostError("this worker asks nothing of the queues any more")
        try:
            yield self._client
        except SQLAlchemyError as error:
            raise trouble_of(self._address, error) from None


def pace_of(workers: int, *, waits: bool, recent: bool) -> float:
    """How long each of so many workers pauses between two questions to the queue, seconds.

    `waits` says whether a run waits, and `recent` whether one has begun in the last minute.
    """
    least_s, a_second = IDLE_S, IDLE_A_SECOND
    if waits:
        least_s, a_second = BUSY_S, BUSY_A_SECOND
    elif recent:
        least_s, a_second = RECENT_S, RECENT_A_SECOND
    return min(MOST_S, max(least_s, workers / a_second))
