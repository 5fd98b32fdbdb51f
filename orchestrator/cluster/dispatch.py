"""The queue: DBOS hands each run to one worker, in the database of the journal."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Protocol

from dbos import DBOS, DBOSClient

from orchestrator.journal.location import Address

QUEUE = "orchestrator_runs"
CARRY = "orchestrator_carry"
# Workers take only what workers of the same version have put: pinned, since what they put is but
# the id of a run.
VERSION = "1"
POLL_S = 0.5

Carry = Callable[[str], str]
"""Carries a run, in a thread; how it has ended. Raises `HandedOver` if others go on with it."""


class HandedOver(BaseException):
    """A worker leaves a run to others: nothing of that is an outcome."""


class Dispatch(Protocol):
    """A queue of runs; each call may take a while, and belongs into a thread."""

    def start(self, worker: str, carry: Carry, at_once: int) -> None:
        """Begin to carry runs under the name of a worker, so many at once."""

    def put(self, run: str) -> None:
        """Put a run into the queue, if it never was there."""

    def taken(self) -> Iterator[tuple[str, str]]:
        """The runs that were handed out and have not ended, with their workers."""

    def put_again(self, run: str) -> None:
        """Put a run into the queue whose worker is gone."""

    def stop(self) -> None:
        """Take nothing more."""


class DbosDispatch:
    """The queue in a database; there is one for each process."""

    def __init__(self, address: Address) -> None:
        self._url = re.sub("^postgres:", "postgresql:", address.url)
        self._client: DBOSClient | None = None

    def start(self, worker: str, carry: Carry, at_once: int) -> None:
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
        DBOS.launch()
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=at_once,
            polling_interval_sec=POLL_S,
            on_conflict="always_update",
        )
        self._client = DBOSClient(system_database_url=self._url)

    def put(self, run: str) -> None:
        """See `Dispatch`."""
        self._opened().enqueue(
            {
                "queue_name": QUEUE,
                "workflow_name": CARRY,
                "workflow_id": run,
                "app_version": VERSION,
            },
            run,
        )

    def taken(self) -> Iterator[tuple[str, str]]:
        """See `Dispatch`."""
        pending = self._opened().list_workflows(status="PENDING", name=CARRY, load_input=False)
        for each in pending:
            yield each.workflow_id, each.executor_id or ""

    def put_again(self, run: str) -> None:
        """See `Dispatch`."""
        self._opened().resume_workflow(run, queue_name=QUEUE)

    def stop(self) -> None:
        """See `Dispatch`."""
        if self._client is not None:
            self._client.destroy()
            self._client = None
        DBOS.destroy(destroy_registry=True)

    def _opened(self) -> DBOSClient:
        assert self._client is not None
        return self._client


def _named(carry: Carry) -> Carry:
    """A plain function, as DBOS wants one."""

    def carried(run: str) -> str:
        return carry(run)

    return carried
