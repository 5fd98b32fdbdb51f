"""Which runs may be handed out now, and to which workers: asked and noted in the journal.

A run waits in the journal until its time has come, too many others of its workflow are not under
way, and workers that may carry it have few others before it. So the order of all that waits is
that of their priorities, whatever the queues have.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import NamedTuple, Self

from orchestrator.cluster.guard import AGAIN_S
from orchestrator.cluster.needs import needs_of
from orchestrator.cluster.offers import Offer
from orchestrator.documents.encode import to_json
from orchestrator.journal.history import QUEUED
from orchestrator.journal.store import Database

# So many runs of each place of the workers of a queue are before it is full. Workers of several
# queues would wait for each other's: there as many wait in a queue as will begin until the next
# look, which are those that have ended lately, where they are short; and so many at most.
AHEAD, AHEAD_OF_SEVERAL = 8, 2
_LATELY = """select q.queue, count(*) from run as r join queued as q on q.run=r.id
where r.started > (select now_s() - 10) and r.ended > (select now_s() - 1)
and q.queue is not null group by 1"""
SOME = 200  # runs that are released in one look to one queue
_LOCK = 0x4F524351  # one process at a time counts how many are under way
_WAITS = """select exists(select from queued where queue is null and not begun and due <= now_s())
or exists(select from queued where queue is not null and not begun and not handed)"""
# What has begun waits no more; what was chosen for workers that are gone waits again.
_SETTLE = """update queued set begun = r.status <> 'queued',
queue = case when handed or r.status <> 'queued' then queue end
from run as r where r.id=queued.run and queue is not null and not begun
and (r.status <> 'queued' or not handed and queue <> all(?::text[]))"""
_AHEAD = """select workflow, queue, priority, count(*) from queued
where queue is not null and not begun group by 1, 2, 3"""
_UNDER_WAY = """select q.workflow, q.queue, count(*) from run as r join queued as q on q.run=r.id
where r.status='running' group by 1, 2"""
_NEXT = """select q.run, q.workflow, q.priority, q.max_runs, r.status
from queued as q join run as r on r.id=q.run
where q.queue is null and not q.begun and q.due <= now_s()
and q.labels::jsonb <@ ?::jsonb and q.servers::jsonb <@ ?::jsonb
and (q.max_runs is null or q.max_runs > coalesce((?::jsonb ->> q.workflow)::integer, 0))
order by q.priority desc, q.run limit ?::integer"""
_TO_HAND = """select run, queue, priority from queued where queue = any(?::text[])
and not begun and not handed order by priority desc, run limit ?::integer"""

_WANTS = """select q.workflow, q.max_runs from queued as q join run as r on r.id=q.run
where q.run=? and r.status='queued' and q.max_runs is not null"""
_OF_WORKFLOW = """select count(*) from queued as q join run as r on r.id=q.run where q.workflow=?
and (r.status='running' or r.status='queued' and q.queue is not null)"""
_PUT = """update queued set queue=?, begun = exists(
select from run where id=queued.run and status <> 'queued') where run=?"""
_CHOOSE = "update queued set queue=? where run = any(?::text[])"
_ASIDE = "update queued set queue=null, begun=true where run=?"
_MOVABLE = """select run from queued
where queue=? and handed and not begun and labels::jsonb <@ ?::jsonb and servers::jsonb <@ ?::jsonb
order by priority desc, run limit ?::integer"""
_LATER = """update queued set queue=null, due=greatest(due, now_s() + ?::double precision)
where run=?"""


Move = Callable[[Database, list[str], str, str], list[str]]
"""Moves those of some runs that wait in a queue to another one; which they are."""


class Released(NamedTuple):
    """A run that may be handed out.

    Attributes:
        run: Its id.
        queue: The queue of the workers that may carry it.
        priority: A higher one goes first.
    """

    run: str
    queue: str
    priority: int


def waits(db: Database) -> bool:
    """Whether any run waits to be handed out."""
    return bool(db.execute(_WAITS).fetchone()[0])


def release(db: Database, offers: Mapping[Offer, int]) -> list[Released]:
    """Choose runs that may be handed out, for as many workers as offer this.

    What was chosen before and not `handed`, since a worker died in between, is among them.
    """
    queues = [offer.queue for offer in offers]
    if not queues:
        return []
    with alone(db):
        db.execute(_SETTLE, (queues,))
        load = _Load.of(db)
        if len({*queues}) == 1:
            _hand(db, load, offers, AHEAD)
        else:
            free = load.free(_places(offers), with_ahead=False)
            for soon in Counter[str](), _soon(db, offers):
                _hand(db, load, offers, 1, free, soon)
    return [Released(*row) for row in db.execute(_TO_HAND, (queues, SOME)).fetchall()]


def _hand(
    db: Database,
    load: _Load,
    offers: Mapping[Offer, int],
    each: int,
    free: Counter[str] | None = None,
    soon: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Give runs to all workers, so many for each place; to those of a queue at most what is free.

    `soon` are places of each queue that will be.
    """
    capacity = Counter(soon)
    for offer, workers in _in_order(offers):
        queue = offer.queue
        capacity[queue] += workers * offer.at_once * each
        most = capacity[queue]
        if free is not None:
            most = min(most, free[queue] + soon.get(queue, 0))
        _fill(db, offer, most, load)


def _in_order(offers: Mapping[Offer, int]) -> list[tuple[Offer, int]]:
    """Those first who can carry least beside of what they are asked for.

    Of workers with one queue, those where more servers are up leave the rest to the others.
    """
    return sorted(offers.items(), key=lambda item: (len(item[0].down), len(item[0].labels)))


def _soon(db: Database, offers: Mapping[Offer, int]) -> Counter[str]:
    """How many places of each queue will be free soon, as some were lately."""
    lately = Counter[str](dict(db.execute(_LATELY).fetchall()))
    places = _places(offers).items()
    return Counter({queue: min(lately[queue], AHEAD_OF_SEVERAL * n) for queue, n in places})


def _places(offers: Mapping[Offer, int]) -> Counter[str]:
    """How many runs the workers of each queue carry at once."""
    places = Counter[str]()
    for offer, workers in offers.items():
        places[offer.queue] += workers * offer.at_once
    return places


class _Load(NamedTuple):
    """What is under way, by workflow and by queue, and of each priority ahead in each queue."""

    under_way: Counter[str]
    busy: Counter[str]
    ahead: defaultdict[str, Counter[int]]

    @classmethod
    def of(cls, db: Database) -> Self:
        """What it is now."""
        load = cls(Counter(), Counter(), defaultdict(Counter))
        for workflow, queue, number in db.execute(_UNDER_WAY).fetchall():
            load.under_way[workflow] += number
            load.busy[queue] += number
        for workflow, queue, priority, number in db.execute(_AHEAD).fetchall():
            load.under_way[workflow] += number
            load.ahead[queue][priority] += number
        return load

    def free(self, places: Counter[str], *, with_ahead: bool = True) -> Counter[str]:
        """How many places of each queue nothing has, or is for what is ahead, if that counts.

        Below 0 where some wait for one.
        """
        taken = {q: self.ahead[q].total() if with_ahead else 0 for q in places}
        return Counter({q: n - self.busy[q] - taken[q] for q, n in places.items()})


def move(db: Database, offers: Mapping[Offer, int], put: Move) -> None:
    """Move runs that wait in one queue to another one whose workers have places."""
    places = _places(offers)
    if len(places) <= 1:
        return
    with alone(db):
        db.execute(_SETTLE, (list(places),))
        load = _Load.of(db)
        free = load.free(places)
        for offer, _ in _in_order(offers):
            to = offer.queue
            for queue in places:
                waiting = min(-free[queue], load.ahead[queue].total())
                if (number := min(free[to], waiting)) > 0:
                    fits = to_json(offer.labels), to_json(offer.up), number
                    found = [run for (run,) in db.execute(_MOVABLE, (queue, *fits)).fetchall()]
                    moved = put(db, found, queue, to)
                    db.execute(_CHOOSE, (to, moved))
                    free[to] -= len(moved)
                    free[queue] += len(moved)


def _fill(db: Database, offer: Offer, capacity: int, load: _Load) -> None:
    """Give runs to the workers of an offer, until enough of at least their priority are before."""
    ahead, under_way = load.ahead[offer.queue], load.under_way
    most, has_more = min(SOME, capacity), capacity > 0
    while has_more:
        values = to_json(offer.labels), to_json(offer.up), to_json(under_way), most
        rows = db.execute(_NEXT, values).fetchall()
        chosen, begun, is_full = list[str](), list[str](), False
        for run, workflow, priority, max_runs, status in rows:
            is_full = sum(n for other, n in ahead.items() if other >= priority) >= capacity
            if status != QUEUED:  # somebody has begun or ended it by hand
                begun.append(run)
            elif is_full:
                break
            elif max_runs is None or under_way[workflow] < max_runs:
                chosen.append(run)
                ahead[priority] += 1
                under_way[workflow] += 1
        if chosen:
            db.execute(_CHOOSE, (offer.queue, chosen))
        if begun:
            db.execute("update queued set begun=true where run = any(?::text[])", (begun,))
        has_more = not is_full and bool(chosen or begun) and len(rows) == most


def handed(db: Database, runs: list[str]) -> None:
    """Note that runs are in their queues."""
    db.execute("update queued set handed=true where run = any(?::text[])", (runs,))


def queue_for(
    db: Database, run: str, offers: Mapping[Offer, int], given: Counter[str] | None = None
) -> str | None:
    """The queue of workers that may go on with a run; None if there are none now.

    `given` are the runs that each queue got before, and that nothing else counts yet.
    """
    needs = needs_of(db, run)
    fit = [offer for offer in offers if offer.fits(*needs)]
    if not fit:
        return None
    free = _Load.of(db).free(_places(offers)) if len(fit) > 1 else Counter[str]()
    free.subtract(given or {})
    queue = max(fit, key=lambda offer: (free[offer.queue], -len(offer.labels))).queue
    if given is not None:
        given[queue] += 1
    db.execute(_PUT, (queue, run))
    return queue


def queue_again(db: Database, run: str, offers: Mapping[Offer, int]) -> str | None:
    """The same for a run that is aside; None, too, if too many of its workflow are under way."""
    if (wants := db.execute(_WANTS, (run,)).fetchone()) is None:
        return queue_for(db, run, offers)
    workflow, max_runs = wants
    with alone(db):
        return queue_for(db, run, offers) if under_way(db, workflow) < max_runs else None


def under_way(db: Database, workflow: str) -> int:
    """How many submitted runs of a workflow have begun, or are about to."""
    return int(db.execute(_OF_WORKFLOW, (workflow,)).fetchone()[0])


def lay_aside(db: Database, run: str) -> None:
    """Have a run that could not begin keep none of its workflow from that."""
    db.execute(_ASIDE, (run,))


def postpone(db: Database, run: str) -> None:
    """Have a run wait in the journal for a while that cannot be put into a queue."""
    db.execute(_LATER, (AGAIN_S, run))


@contextmanager
def alone(db: Database) -> Iterator[None]:
    """A transaction in which no other process releases runs."""
    db.execute("begin")
    db.execute("select pg_advisory_xact_lock(?::bigint)", (_LOCK,))
    yield
    db.execute("commit")  # without it, closing the connection rolls back
