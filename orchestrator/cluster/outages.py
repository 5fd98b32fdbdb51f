"""Servers that do not start where a worker is: it leaves runs that need them to others for a while.

Whether others are there is asked and noted in one transaction, so of workers that find out at the
same time the last one knows that it is the last: it carries the run to the error of its server.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from anyio import to_thread

from orchestrator.cluster.needs import needs_of
from orchestrator.cluster.offers import Offer, offers
from orchestrator.cluster.release import alone
from orchestrator.documents.encode import to_json
from orchestrator.documents.text import cut, quoted
from orchestrator.journal.history import reading
from orchestrator.journal.location import Location
from orchestrator.journal.store import Database
from orchestrator.journal.workers import WORKER

OUTAGE_S = 60.0
_MAX_REASON = 300  # characters
_OFFER = "update carrier set live=? where run=?"


class Outages:
    """What a worker offers, without the servers that have not started lately.

    Args:
        location: The journal.
        worker: The name of the worker.
        offer: What it offers if all servers start.
        tell: Receives a sentence about each server that does not start.

    Attributes:
        offer: What it offers now.
        worker: Its name.
    """

    def __init__(
        self, location: Location, worker: str, offer: Offer, tell: Callable[[str], None]
    ) -> None:
        self.offer, self.worker = offer, worker
        self._location, self._tell = location, tell
        self._ends: dict[str, float] = {}  # when to offer a server again
        self._told = set[tuple[str, bool]]()  # of which servers, and whether their runs were left

    @property
    def is_over(self) -> bool:
        """Whether a server may be offered again."""
        return any(time.monotonic() >= ends for ends in self._ends.values())

    def renew(self, db: Database) -> None:
        """Offer again what may start by now. Raises `JournalError`."""
        with alone(db):
            now = time.monotonic()
            left = {server: ends for server, ends in self._ends.items() if now < ends}
            self._announce(db, {each: why for each, why in self.offer.down if each in left})
            self._ends = left

    async def hold_back(self, run: str) -> bool:
        """Whether a run needs what is down now. Raises `JournalError`."""
        return await to_thread.run_sync(self._lacks, run)

    def _lacks(self, run: str) -> bool:
        with reading(self._location) as db:
            return not self.offer.fits(*needs_of(db, run))

    async def leave(
        self, run: str, failed: Mapping[str, str], required: Collection[str] = ()
    ) -> bool:
        """Note that servers have not started; whether the run is left to others.

        Args:
            run: The run.
            failed: Why each of its servers has not started.
            required: Those without which it cannot be carried here at all.

        Raises:
            JournalError: The database is lost, maybe only for a moment.
        """
        whys = {each: cut(why, _MAX_REASON) for each, why in failed.items()}
        down = await to_thread.run_sync(self._note, run, whys, required)
        for server, why in failed.items():
            if (said := (server, server in down)) not in self._told:
                self._told.add(said)
                self._tell(_said(server, why, is_left=server in down))
        return bool(down)

    def _note(self, run: str, failed: dict[str, str], required: Collection[str]) -> dict[str, str]:
        """Offer those no more that others offer, or that are required; which they are."""
        with reading(self._location) as db, alone(db):
            needs = needs_of(db, run)
            is_elsewhere = any(each.fits(*needs) for each in offers(db, but=self.worker))
            down = failed if is_elsewhere else {server: failed[server] for server in required}
            if down:
                self._ends |= dict.fromkeys(down, time.monotonic() + OUTAGE_S)
                self._announce(db, dict(self.offer.down) | down)
        return down

    def forget(self, servers: Collection[str]) -> None:
        """These have started: the next outage of one is news."""
        self._told = {said for said in self._told if said[0] not in servers}

    def _announce(self, db: Database, down: Mapping[str, str]) -> None:
        offer = replace(self.offer, down=tuple(sorted(down.items())))
        db.execute(_OFFER, (to_json(offer.to_dict()), f"{WORKER}{self.worker}"))
        self.offer = offer


def _said(server: str, why: str, *, is_left: bool) -> str:
    if is_left:
        what = f"runs that need server {quoted(server)} are left to other workers"
        return f"{what} for {OUTAGE_S:g} s: {why}"
    return f"no other worker has server {quoted(server)} now, so runs go on without it: {why}"
