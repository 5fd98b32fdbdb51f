"""Why a run that was submitted waits: what is missing, or who is before it."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from orchestrator.cluster.offers import Offer, offers
from orchestrator.cluster.release import under_way
from orchestrator.documents.encode import to_json
from orchestrator.documents.text import approximately, counted, cut, quoted
from orchestrator.journal.glance import is_answered
from orchestrator.journal.hiding import Hiding, mask
from orchestrator.journal.history import OPEN, PAUSED, QUEUED, KnownRun, reading
from orchestrator.journal.location import Address, Location
from orchestrator.journal.orders import NO_NAMES, Order, names_of
from orchestrator.journal.records import NO_ITEM, WRITE
from orchestrator.journal.store import Database, UnreadableError

_MOST = 1000  # are counted
_ROW = """select workflow, priority, due - now_s(), max_runs, labels, servers,
queue is null from queued where run=?"""
_BEFORE = """select labels, servers, count(*) from queued as q join run as r on r.id=q.run
where not q.begun and r.status='queued' and q.due <= now_s()
and (q.priority > ? or q.priority = ? and q.run < ?) group by 1, 2"""
_MAX_REASON = 500  # characters
_ASIDE = """select payload from record where run=? and kind='aside'
and moment = (select max(moment) from record where run=?)"""


class Waits(NamedTuple):
    """Why a run waits.

    Attributes:
        kind: What kind of reason it is; empty if it is about to begin.
        text: The reason in words, which may change while the kind stays.
    """

    kind: str = ""
    text: str = ""


NOTHING = Waits()
START = "orchestrator worker"  # what starts a worker


def why(journal: Location, run: KnownRun, start: str = START) -> Waits:
    """Why a run waits that was submitted, and that nobody carries.

    Args:
        journal: Where it is kept.
        run: The run.
        start: The command that starts a worker for this journal.

    Raises:
        JournalError: The journal cannot be read.
    """
    if run.status not in OPEN or not isinstance(journal, Address):
        return NOTHING
    with reading(journal) as db:
        try:
            if run.status == PAUSED and not is_answered(db, run.id):
                return NOTHING
        except UnreadableError as error:
            return Waits("unreadable", str(error))
        return next(_reasons(db, run, start), NOTHING)


def lacks(journal: Address, order: Order, start: str = START) -> Waits:
    """What no worker has that such runs need, whenever they are submitted.

    Raises:
        JournalError: The journal cannot be read.
    """
    with reading(journal) as db:
        return next(_missing(offers(db), order.labels, order.servers, start), NOTHING)


def note(db: Database, run: str, reason: str, hiding: Hiding) -> None:
    """Keep why a worker could not carry a run."""
    text = hiding.hide(to_json({"why": cut(reason, _MAX_REASON)}))
    db.execute(WRITE, (run, "aside", "", NO_ITEM, False, 0, time.time(), text))


def _reasons(db: Database, run: KnownRun, start: str) -> Iterator[Waits]:
    row = db.execute(_ROW, (run.id,)).fetchone()
    if row is None:
        return
    workflow, priority, due_s, max_runs, labels, servers, is_held = row
    needs = names_of(labels), names_of(servers)
    for name in (*needs[0], *needs[1]):
        if name.endswith(NO_NAMES):
            fix = '"orchestrator cancel" ends it'
            yield Waits("row", f"its row in the queue cannot be read: it needs {name}; {fix}")
    is_new = run.status == QUEUED
    offered = offers(db)
    last = db.execute(_ASIDE, (run.id, run.id)).fetchone()
    if is_new and due_s > 0 and last is None:
        at = datetime.now().astimezone() + timedelta(seconds=due_s)
        when = f"{at:%Y-%m-%d %H:%M:%S}"
        yield Waits("due", f"it is due at {when}, in {approximately(due_s)}")
    yield from _missing(offered, *needs, start)
    most = max_runs if is_new and is_held else None
    if most is not None and (others := under_way(db, workflow)) >= most:
        of = f"{counted(others, 'submitted run')} of workflow {quoted(workflow)}"
        yield Waits("max", f"{of} under way, and it begins while fewer than {most} are")
    if last is not None:
        reason = json.loads(mask(last[0]))["why"]
        yield Waits("aside", f"no worker could carry it so far, each tries every minute: {reason}")
    may = [offer for offer in offered if offer.fits(*needs)]
    before = _before(db, may, priority, run.id) if is_new else 0
    if before:
        number = f"{_MOST:,} runs or more" if before == _MOST else counted(before, "run")
        at_once = sum(offer.at_once * offered[offer] for offer in may)
        workers = sum(offered[offer] for offer in may)
        have = f"{counted(workers, 'worker')} with room for {at_once:,} at once"
        yield Waits("before", f"{number} before it, for {have}")


def _before(db: Database, may: Sequence[Offer], priority: int, run: str) -> int:
    """How many runs are before one on the workers that may carry it."""
    before: int = sum(
        number
        for labels, servers, number in db.execute(_BEFORE, (priority, priority, run))
        if any(offer.fits(names_of(labels), names_of(servers)) for offer in may)
    )
    return min(before, _MOST)


def _missing(
    offered: Counter[Offer], labels: Sequence[str], servers: Sequence[str], start: str
) -> Iterator[Waits]:
    """What no worker has that a run needs."""
    command = " ".join([start, *(f"--label {shlex.quote(label)}" for label in labels)])
    if not offered:
        yield Waits("no worker", f"no worker is connected; start one: {command}")
    elif not any(offer.fits(labels, servers) for offer in offered):
        known = sorted({label for offer in offered for label in offer.labels})
        for label in _absent(labels, (offer.labels for offer in offered)):
            have = f"they have: {', '.join(known) or 'none'}"
            missing = f"no worker has the label {quoted(label)} ({have})"
            yield Waits("label", f"{missing}; start one: {command}")
        known_down = {server: said for offer in offered for server, said in offer.down}
        for server in _absent(servers, (offer.up for offer in offered)):
            if server in known_down:
                where = f"server {quoted(server)} does not start on the workers that have it"
                again = "each tries again within a minute"
                yield Waits("down", f"{where} ({known_down[server]}); {again}")
            fix = "add it to the servers.toml of one, and start that worker again"
            yield Waits("server", f"no worker has the server {quoted(server)}: {fix}")
        all_of = ", ".join(map(quoted, (*labels, *servers)))
        yield Waits("all", f"no worker has all labels and servers that it needs: {all_of}")


def _absent(needed: Iterable[str], had: Iterable[Iterable[str]]) -> list[str]:
    there = {each for some in had for each in some}
    return [each for each in needed if each not in there]
