"""What a worker looks for now and then: what is submitted, answered, or left behind."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from orchestrator.cluster import memory, release
from orchestrator.cluster import offers as offering
from orchestrator.cluster.dispatch import ASIDE, Dispatch
from orchestrator.cluster.firing import fire
from orchestrator.cluster.guard import AGAIN_S, Guard
from orchestrator.cluster.needs import repair
from orchestrator.cluster.offers import Offer
from orchestrator.cluster.outages import Outages
from orchestrator.cluster.release import Released
from orchestrator.cluster.turns import Turn, turn
from orchestrator.errors import JournalError
from orchestrator.journal import history, workers
from orchestrator.journal.glance import is_answered
from orchestrator.journal.history import OPEN, PAUSED
from orchestrator.journal.location import Location, store_of
from orchestrator.journal.store import Database, LostError
from orchestrator.journal.workers import WORKER

# A worker whose connection has ended has so long to make a new one. It knows when it has been heard
# last, and begins no call later than that.
GRACE_S = 2.5
TURN_S = 0.25  # between two looks for what is new, of all workers together
CHECK_S = 1.0  # between two looks for what is left behind
SWEEP_S = 60.0  # and for what nobody needs any more
LOST_S = 10.0  # between two looks for runs that were handed out, and that nothing carries
TAKE_S = 1.0  # between two looks for runs that others could not carry
# Of many workers each asks less often whether it is its turn: so many do for each turn.
ASKED = 4
MOST_S = 2.0
Choose = Callable[[Database, str, Mapping[Offer, int]], str | None]
_NONE = "no run can be handed out"
_LATE = "select 1 from queued where run=? and due <= now_s()"
# Of those that wait for an answer, the ones that have any, or need none any more; a part asks as
# its run.
_MAY_GO_ON = """select id from run where id = any(?::text[]) and (status <> 'paused'
or kind='part' or exists(select from record where run=id and kind >= 'reply' and kind < 'replz')
or exists(select from queued where run=id and due <= now_s()))"""


class Lookout:
    """Looks for what there is to do, and has the queues hand it out.

    What is to be done for all workers, one of them does at a time: what that costs does not grow
    with their number.

    Args:
        location: The journal.
        dispatch: The queues.
        outages: What this worker offers now.
        may_take: Whether it may try a run now that others could not carry.
        tell: Receives a sentence about each run that is taken over.
        carries: Whether this worker carries a run.
        note: Keeps why a run could not be handed out.

    Attributes:
        workers: How many there are, as far as is known.
    """

    def __init__(
        self,
        location: Location,
        dispatch: Dispatch,
        outages: Outages,
        may_take: Callable[[str], bool],
        tell: Callable[[str], None],
        carries: Callable[[str], bool] = lambda _: True,
        note: Callable[[Database, str, str], None] = lambda *_: None,
    ) -> None:
        self._location, self._dispatch, self._outages = location, dispatch, outages
        self._may_take, self._tell, self._carries = may_take, tell, carries
        self._takes_at, self._asks_at = 0.0, time.monotonic() + LOST_S
        self._not_carried, self._takes_in_at = set[str](), 0.0
        self._guard, self._note, self._turn = Guard(tell), note, Turn.NOTHING
        self.workers = 1
        self._lock = threading.Lock()

    @property
    def pause_s(self) -> float:
        """How long to pause before the next look, seconds."""
        return max(TURN_S, min(MOST_S, self.workers * TURN_S / ASKED))

    def look(self) -> None:
        """Look once, which may take a while; do nothing as long as the look before goes on."""
        if not self._lock.acquire(blocking=False):
            return
        self._turn = Turn.NOTHING
        try:
            self._look()
        except MemoryError:
            memory.end()
        except Exception as error:  # the next look may not fail
            self._guard.failed(error, self._turn)
        else:
            self._guard.succeeded(self._turn)
        finally:
            self._lock.release()

    def _look(self) -> None:
        self._dispatch.forget()
        with history.reading(self._location) as db:
            if self._outages.is_over:
                self._outages.renew(db)
            if time.monotonic() >= self._takes_in_at:  # once: no queue is lost under a worker
                is_done = self._take_in(db)
                self._takes_in_at = math.inf if is_done else time.monotonic() + AGAIN_S
            if time.monotonic() >= self._takes_at:  # before others of their workflows are released
                self._take(db)
                self._takes_at = time.monotonic() + TAKE_S
            self._turn = turn(db, TURN_S, CHECK_S, SWEEP_S)
            if self._turn:
                self._look_for_all(db, self._turn)
            if time.monotonic() >= self._asks_at:
                self._give_back_lost(db)
                self._asks_at = time.monotonic() + LOST_S

    def give_back(self, run: str) -> None:
        """Have other workers go on with a run.

        Raises:
            JournalError: The database is lost, maybe only for a moment.
        """
        with history.reading(self._location) as db:
            others = offering.offers(db, but=self._outages.worker)
            if (queue := release.queue_for(db, run, others)) is None:
                release.lay_aside(db, run)
            self._dispatch.put_again(run, queue or ASIDE)

    def lay_aside(self, run: str) -> None:
        """Have nobody go on with a run before it is answered, or a worker can carry it.

        Raises:
            JournalError: The database is lost, maybe only for a moment.
        """
        with history.reading(self._location) as db:
            release.lay_aside(db, run)
            self._dispatch.put_again(run, ASIDE)

    def _look_for_all(self, db: Database, its: Turn) -> None:
        fire(db, self._guard)
        ready, waits, is_check = self._ready(db), release.waits(db), its >= Turn.CHECK
        if not (ready or waits or is_check):
            return
        offers = offering.offers(db)
        self.workers = offers.total()
        queues = list(dict.fromkeys(offer.queue for offer in offers))
        released: list[Released] = []
        if waits:
            what, values = "runs cannot be handed out", (db, offers, released)
            self._guard.attempt(db, what, self._hand_out, *values, is_urgent=True)
        given = Counter[str]()
        for run in ready:
            self._put_again(db, run, offers, partial(release.queue_for, given=given))
        if is_check:
            self._take_over(db, offers)
            for run in self._dispatch.stranded(db, queues):
                self._put_again(db, run, offers)
            moves = db, offers, self._dispatch.move
            self._guard.attempt(db, "runs cannot be moved", release.move, *moves)
        if is_check or released:
            self._dispatch.pace(db, queues, self.workers)
        if its >= Turn.SWEEP:
            offering.forget_old(db)
            self._dispatch.sweep(db)

    def _take_in(self, db: Database) -> bool:
        """Put aside what was in a queue of the journal that this one is a copy of.

        Returns whether that is all aside.
        """
        found = [Released(run, ASIDE, priority) for run, priority in self._dispatch.unknown(db)]
        put = self._put(db, found)
        for each in put:
            release.lay_aside(db, each.run)
        if put:
            several = "1 run was" if len(put) == 1 else f"{len(put):,} runs were"
            self._tell(
                f"{several} in a queue that is no more, as in a copied journal, and may go on"
            )
        return len(put) == len(found)

    def _hand_out(self, db: Database, offers: Mapping[Offer, int], done: list[Released]) -> None:
        """Put runs into their queues; adds them to `done`."""
        try:
            released = release.release(db, offers)
        except LostError:
            raise
        except JournalError:
            db.execute("rollback")
            if not repair(db):
                raise
            released = release.release(db, offers)
        put = self._put(db, released)
        for each in {*released}.difference(put):
            release.postpone(db, each.run)
        done += put
        if put:
            release.handed(db, [each.run for each in put])

    def _put(self, db: Database, runs: list[Released]) -> list[Released]:
        """Put runs into their queues, each by itself if not all together; those that are put."""
        guard, put = self._guard, self._dispatch.put
        if not runs or not guard.failure(db, put, runs):
            guard.succeeded_at(_NONE)
            return runs
        reasons = {each.run: why for each in runs if (why := guard.failure(db, put, [each]))}
        # If several fail, all alike, the cause is not in each of them: that is one line.
        is_shared = len(reasons) == len(runs) > 1 and len({*reasons.values()}) == 1
        for run, why in reasons.items():
            what = _NONE if is_shared else f"run {run} cannot be handed out"
            guard.once(what, f"{what}: {why}")
            self._note(db, run, f"it cannot be handed out: {why}")
        return [each for each in runs if each.run not in reasons]

    def _give_back_lost(self, db: Database) -> None:
        """Put again what this worker was handed and has not begun since: no thread could."""
        handed = self._dispatch.handed(db, self._outages.worker)
        found = {run for run in handed if not self._carries(run)}
        for run in found & self._not_carried:
            what = f"run {run} cannot be given back"
            if not self._guard.attempt(db, what, self.give_back, run):
                self._tell(f"run {run} did not begin here, and is given to other workers")
        self._not_carried = found - self._not_carried

    def _take_over(self, db: Database, offers: Mapping[Offer, int]) -> None:
        """Put again what workers have left that are gone."""
        gone: dict[str, bool] = {}
        for run, worker in self._dispatch.taken(db, workers.heard(db, GRACE_S)):
            if worker not in gone:
                gone[worker] = not store_of(self._location).is_carried(db, f"{WORKER}{worker}")
            if gone[worker] and self._put_again(db, run, offers):
                self._tell(f"run {run} is taken over from worker {worker}, which is gone")

    def _put_again(
        self,
        db: Database,
        run: str,
        offers: Mapping[Offer, int],
        choose: Choose = release.queue_for,
    ) -> bool:
        """Put a run into a queue whose workers can carry it, if there are any now."""
        if (queue := choose(db, run, offers)) is None:
            return False
        what = f"run {run} cannot be handed out again"
        return not self._guard.attempt(db, what, self._dispatch.put_again, run, queue)

    def _ready(self, db: Database) -> list[str]:
        """What waited for an answer, and has it or needs none any more."""
        found: list[str] = []

        def look(run: str) -> None:
            if _goes_on(db, run):
                found.append(run)

        for run, status in self._aside(db).items():
            if status == PAUSED:
                self._guard.attempt(db, f"the questions of run {run} cannot be read", look, run)
        return found

    def _take(self, db: Database) -> None:
        """Take what others could not carry, and this worker may."""
        for run, status in self._aside(db).items():
            if status in OPEN and status != PAUSED and self._may_take(run):
                self._put_again(db, run, {self._outages.offer: 1}, release.queue_again)

    def _aside(self, db: Database) -> dict[str, str]:
        """What may go on of what is aside, with its status."""
        if not (aside := self._dispatch.aside(db)):
            return {}
        found = [run for (run,) in db.execute(_MAY_GO_ON, (aside,)).fetchall()]
        return history.statuses(db, self._location, found)


def _goes_on(db: Database, run: str) -> bool:
    """Whether a paused run has an answer, or the time is over of what it waits with."""
    return db.execute(_LATE, (run,)).fetchone() is not None or is_answered(db, run)
