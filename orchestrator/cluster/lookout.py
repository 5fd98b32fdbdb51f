"""What a worker looks for now and then: what is submitted, answered, or left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from orchestrator.cluster import offers as offering
from orchestrator.cluster import release, turns
from orchestrator.cluster.dispatch import ASIDE, Dispatch
from orchestrator.cluster.firing import fire
from orchestrator.cluster.offers import WORKER, Offer
from orchestrator.errors import JournalError
from orchestrator.journal import history
from orchestrator.journal.glance import is_answered
from orchestrator.journal.history import OPEN, PAUSED, RUNNING
from orchestrator.journal.location import Location, store_of
from orchestrator.journal.store import Database

# A worker whose connection has ended has so long to make a new one. It knows when it has been heard
# last, and begins no call later than that.
GRACE_S = 2.5
TURN_S = 0.25  # between two looks for what is to be done once for all workers
TAKE_S = 1.0  # between two looks for runs that others could not carry
_HEARD = """select 1 from carrier where run=? and process is not null
and beat > now_s() - ?::double precision"""


class Lookout:
    """Looks for what there is to do, and has the queues hand it out.

    What is to be done for all workers, one of them does at a time: what that costs does not grow
    with their number.

    Args:
        location: The journal.
        dispatch: The queues.
        offer: What this worker offers.
        may_take: Whether it may try a run now that others could not carry.
        tell: Receives a sentence about each run that is taken over.
    """

    def __init__(
        self,
        location: Location,
        dispatch: Dispatch,
        offer: Offer,
        may_take: Callable[[str], bool],
        tell: Callable[[str], None],
    ) -> None:
        self._location, self._dispatch, self._offer = location, dispatch, offer
        self._may_take, self._tell = may_take, tell
        self._takes_at = 0.0
        self._lock = threading.Lock()

    def look(self) -> None:
        """Look once, which may take a while; do nothing as long as the look before goes on."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            with history.reading(self._location) as db:
                if turns.is_turn(db, TURN_S):
                    self._look_for_all(db)
                if time.monotonic() >= self._takes_at:
                    self._take(db)
                    self._takes_at = time.monotonic() + TAKE_S
        except JournalError:
            return  # the journal itself says whether it is lost for good
        finally:
            self._lock.release()

    def give_back(self, run: str) -> None:
        """Have other workers go on with a run.

        Raises:
            JournalError: The database is lost, maybe only for a moment.
        """
        with history.reading(self._location) as db:
            others = offering.offers(db)
            others[self._offer] -= 1
            self._dispatch.put_again(run, release.queue_for(db, run, +others) or ASIDE)

    def _look_for_all(self, db: Database) -> None:
        fire(db, self._tell)
        offers = offering.offers(db)
        for each in release.release(db, offers):
            self._dispatch.put(*each)
            release.handed(db, each.run)
        self._take_over(db, offers)
        self._go_on(db, offers)
        queues = [offer.queue for offer in offers]
        for run in self._dispatch.stranded(db, queues):
            self._put_again(db, run, offers)
        for queue in queues:
            self._dispatch.pace(db, queue, offers.total())
        offering.forget_old(db)

    def _take_over(self, db: Database, offers: Mapping[Offer, int]) -> None:
        """Put again what workers have left that are gone."""
        gone: dict[str, bool] = {}
        for run, worker in self._dispatch.taken():
            if worker not in gone:
                gone[worker] = self._is_gone(db, f"{WORKER}{worker}")
            if gone[worker] and self._put_again(db, run, offers):
                self._tell(f"run {run} is taken over from worker {worker}, which is gone")

    def _is_gone(self, db: Database, worker: str) -> bool:
        heard = db.execute(_HEARD, (worker, GRACE_S)).rowcount > 0
        return not heard and not store_of(self._location).is_carried(db, worker)

    def _put_again(self, db: Database, run: str, offers: Mapping[Offer, int]) -> bool:
        """Put a run into a queue whose workers can carry it, if there are any now."""
        queue = release.queue_for(db, run, offers)
        if queue is not None:
            self._dispatch.put_again(run, queue)
        return queue is not None

    def _go_on(self, db: Database, offers: Mapping[Offer, int]) -> None:
        """Put again what waited for an answer that has come, or has ended elsewhere."""
        for run, status in self._aside(db).items():
            has_ended = status not in (RUNNING, *OPEN)
            if has_ended or (status == PAUSED and is_answered(db, run)):
                self._put_again(db, run, offers)

    def _take(self, db: Database) -> None:
        """Take what others could not carry, and this worker may."""
        for run, status in self._aside(db).items():
            if status in OPEN and status != PAUSED and self._may_take(run):
                queue = release.queue_for(db, run, {self._offer: 1})
                if queue is not None:
                    self._dispatch.put_again(run, queue)

    def _aside(self, db: Database) -> dict[str, str]:
        return history.statuses(db, self._location, self._dispatch.aside(db))
