"""Carries the runs that are submitted to a journal, also those of workers that are gone."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable

import anyio
from anyio import from_thread, to_thread
from anyio.lowlevel import EventLoopToken, current_token

from orchestrator.client import Orchestrator
from orchestrator.cluster import offers as offering
from orchestrator.cluster import release, turns
from orchestrator.cluster.dispatch import Dispatch, HandedOver
from orchestrator.cluster.offers import WORKER, Offer
from orchestrator.errors import CarriedError, JournalError, OrchestratorError
from orchestrator.journal import history
from orchestrator.journal.history import RUNNING
from orchestrator.journal.journal import Journal
from orchestrator.journal.location import store_of
from orchestrator.journal.recorder import Unknown

TURN_S = 0.25  # between two looks for runs that were submitted, and for workers that are gone
LOOK_S = 1.0  # between two attempts to carry a run that another process carries


class Worker:
    """Carries runs, so many at once.

    Args:
        engine: What carries them, with the journal; it is not open yet.
        journal: The journal, in a database.
        dispatch: The queue.
        at_once: How many runs at once.
        labels: Its labels: runs that need one go to workers that have it.
        unknown: What becomes of calls that may have been carried out, see `Orchestrator.resume`.
        tell: Receives a sentence about each run that begins or ends.

    Attributes:
        name: Its name, unlike that of all other workers.
        offer: What it offers, as others see it.
    """

    def __init__(
        self,
        engine: Orchestrator,
        journal: Journal,
        dispatch: Dispatch,
        *,
        at_once: int = 4,
        labels: Iterable[str] = (),
        unknown: Unknown = "ask",
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = uuid.uuid4().hex[:12]
        self._engine, self._journal, self._dispatch = engine, journal, dispatch
        self.offer = Offer.of(at_once, labels, engine.servers)
        self._at_once, self._unknown, self._tell = at_once, unknown, tell
        self._scopes: dict[anyio.CancelScope, str] = {}  # the runs under way

    async def work(self, ready: Callable[[], None] = lambda: None) -> None:
        """Carry runs until this is cancelled; those that are under way are then handed over.

        The engine has to be open.

        Raises:
            JournalError: Nothing can be kept any more.
        """
        claim = await self._journal.announce(f"{WORKER}{self.name}", self.offer.to_dict())
        token = current_token()
        carry = lambda run: self._in_thread(run, token)  # noqa: E731
        try:
            start = self._dispatch.start
            await to_thread.run_sync(start, self.name, carry, self.offer.queue, self._at_once)
            ready()
            while self._journal.error is None:
                await to_thread.run_sync(self._look)
                await anyio.sleep(TURN_S)
            raise self._journal.error
        finally:
            with anyio.CancelScope(shield=True):
                for scope, run in list(self._scopes.items()):
                    await self._journal.leave(run)
                    scope.cancel()
                while self._scopes:
                    await anyio.sleep(0.01)
                claim.end(is_kept=True)
                await to_thread.run_sync(self._dispatch.stop)

    def _look(self) -> None:
        """Put what was submitted into the queue, and what workers have left that are gone.

        Of all workers one does it at a time: what that costs does not grow with their number.
        """
        location = self._journal.location
        with history.reading(location) as db:
            if not turns.is_turn(db, TURN_S):
                return
            offers = offering.offers(db)
            for each in release.release(db, offers):
                self._dispatch.put(*each)
                release.handed(db, each.run)
            alive: dict[str, bool] = {}
            for run, worker in self._dispatch.taken():
                if worker not in alive:
                    alive[worker] = store_of(location).is_carried(db, f"{WORKER}{worker}")
                if not alive[worker] and (queue := release.queue_for(db, run, offers)):
                    self._tell(f"run {run} is taken over from worker {worker}, which is gone")
                    self._dispatch.put_again(run, queue)
            queues = [offer.queue for offer in offers]
            for run in self._dispatch.stranded(db, queues):
                if queue := release.queue_for(db, run, offers):
                    self._dispatch.put_again(run, queue)
            for queue in queues:
                self._dispatch.pace(db, queue, offers.total())
            offering.forget_old(db)

    def _in_thread(self, run: str, token: EventLoopToken) -> str:
        status = from_thread.run(self._carry, run, token=token)
        if status is None:
            raise HandedOver
        return status

    async def _carry(self, run: str) -> str | None:
        """How a run has ended, here or in another process; None if this worker leaves."""
        status = None
        with anyio.CancelScope() as scope:
            self._scopes[scope] = run
            try:
                # Without a journal this worker leaves soon.
                while status is None or self._journal.error is not None:
                    status = await self._status(run)
                    if status is None:
                        await anyio.sleep(LOOK_S)
            finally:
                del self._scopes[scope]
        return status

    async def _status(self, run: str) -> str | None:
        """How a run has ended; None if another process carries it now, or that cannot be told."""
        if self._journal.error is not None:
            return None
        try:
            listening = [lambda _: None]  # with an observer, tools are asked for their progress
            again = self._engine.resume(run, unknown=self._unknown, observers=listening)
            async with again as begun:
                self._tell(f"run {run} begins")
                result = await begun.execute()
            if not begun.not_kept:
                self._tell(f"run {run}: {result.status}")
                return result.status
        except CarriedError:
            pass  # it goes on there, and may end here
        except OrchestratorError as error:
            if (status := await to_thread.run_sync(self._known, run)) in history.OPEN:
                self._tell(f"run {run} cannot be carried here: {error}")
                raise
            return None if status in (RUNNING, "") else status
        return None

    def _known(self, run: str) -> str:
        """The status of a run in the journal; "" if that cannot be read."""
        try:
            return history.find(self._journal.location, run).status
        except JournalError:
            return ""
