"""Carries the runs that are submitted to a journal, also those of workers that are gone."""

from __future__ import annotations

import time
import uuid
from asyncio import get_running_loop
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, suppress

import anyio
from anyio import from_thread, to_thread
from anyio.lowlevel import EventLoopToken, current_token

from orchestrator.client import Orchestrator
from orchestrator.cluster import memory, waiting
from orchestrator.cluster.carried import Carried, ElsewhereError, Left, status_of
from orchestrator.cluster.dispatch import Dispatch, HandedOver
from orchestrator.cluster.guard import AGAIN_S, why_of
from orchestrator.cluster.lookout import GRACE_S, Lookout
from orchestrator.cluster.offers import Offer
from orchestrator.cluster.outages import Outages
from orchestrator.engine.drain import Drain
from orchestrator.engine.run import Run
from orchestrator.errors import CarriedError, JournalError, OrchestratorError, ServerStartError
from orchestrator.journal import history, losses
from orchestrator.journal.history import PAUSED, RUNNING
from orchestrator.journal.journal import Journal
from orchestrator.journal.recorder import Unknown
from orchestrator.journal.store import LostError
from orchestrator.journal.workers import WORKER

LOOK_S = 1.0  # between two attempts to carry a run that another process carries
LOOK_MOST_S = 10.0  # for one look, which may have to wait for the database
DRAIN_S = 30.0


class Worker:
    """Carries runs, so many at once.

    Args:
        engine: What carries them, with the journal; it is not open yet.
        journal: The journal, in a database.
        dispatch: The queue.
        at_once: How many runs at once.
        labels: Its labels: runs that need one go to workers that have it.
        unknown: What becomes of calls that may have been carried out, see `Orchestrator.resume`.
        drain_s: How long calls under way may take when it leaves, seconds.
        tell: Receives a sentence about each run that begins or ends.

    Attributes:
        name: Its name, unlike that of all other workers.
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
        drain_s: float = DRAIN_S,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = uuid.uuid4().hex[:12]
        self._engine, self._journal, self._dispatch = engine, journal, dispatch
        offer = Offer.of(at_once, labels, engine.servers)
        self._at_once, self._unknown, self._tell, self._drain_s = at_once, unknown, tell, drain_s
        self._outages = Outages(journal.location, self.name, offer, tell)
        looks_for = journal.location, dispatch, self._outages, self._may_take, tell, self._carries
        note = lambda db, run, why: waiting.note(db, run, why, engine.hiding)  # noqa: E731
        self._lookout = Lookout(*looks_for, note)
        self._carried: set[Carried] = set()
        self._cannot: dict[str, float] = {}  # when to try a run again that cannot be carried here
        self._told: set[str] = set()
        self._leaves = False
        self._on_leave: Callable[[], None] = lambda: None

    @property
    def offer(self) -> Offer:
        """What it offers, as others see it."""
        return self._outages.offer

    def leave(self) -> bool:
        """Take nothing more, let the calls under way end, and hand the runs over; `work` then ends.

        Returns:
            Whether this is the first time.
        """
        is_first, self._leaves = not self._leaves, True
        self._on_leave()
        return is_first

    async def work(self, ready: Callable[[], None] = lambda: None) -> None:
        """Carry runs until `leave`; if this is cancelled, calls under way are cancelled, too.

        The engine has to be open.

        Raises:
            JournalError: Nothing can be kept any more.
        """
        with memory.watched(), memory.Watchdog(get_running_loop().call_soon_threadsafe):
            await self._work(ready)

    async def _work(self, ready: Callable[[], None]) -> None:
        claim = await self._journal.announce(f"{WORKER}{self.name}", self.offer.to_dict())
        token = current_token()
        carry = lambda run: self._in_thread(run, token)  # noqa: E731
        try:
            start = self._dispatch.start
            await to_thread.run_sync(start, self.name, carry, self.offer.queue, self._at_once)
            ready()
            with anyio.CancelScope() as looking:
                self._on_leave = looking.cancel
                await self._look_around()
            if (error := self._journal.error) is not None:
                raise error
            await self._drain()
        finally:
            with anyio.CancelScope(shield=True):
                self._leaves = True
                for carried in list(self._carried):
                    await self._end(carried)
                claim.end(is_kept=True)
                await to_thread.run_sync(self._dispatch.stop, 0)
                await to_thread.run_sync(self._dispatch.close)

    async def _look_around(self) -> None:
        """Look for what is to do until nothing can be kept any more."""
        while self._journal.error is None and not self._leaves:
            # A look may hang where the journal is lost, and has ended then as far as we care.
            with anyio.move_on_after(LOOK_MOST_S):
                await to_thread.run_sync(self._lookout.look, abandon_on_cancel=True)
            await anyio.sleep(self._lookout.pause_s)

    async def _drain(self) -> None:
        """Take nothing more, and hand over each run as soon as none of its calls is under way."""
        if self._carried:
            several = f"{len(self._carried)} runs" if len(self._carried) > 1 else "a run"
            self._tell(f"waits up to {self._drain_s:g} s for calls of {several}")
        async with anyio.create_task_group() as group:
            patience_s = 1 + int(self._drain_s)
            group.start_soon(to_thread.run_sync, self._dispatch.stop, patience_s)
            for carried in list(self._carried):
                group.start_soon(self._drained, carried)

    async def _drained(self, carried: Carried) -> None:
        try:
            with anyio.move_on_after(self._drain_s):
                if carried.run is not None:
                    await carried.drain.close()
        finally:
            with anyio.CancelScope(shield=True):
                await self._end(carried)

    async def _end(self, carried: Carried) -> None:
        """Let others go on with a run, and end it here."""
        if (kept := self._journal.carried(carried.id)) is not None:
            await kept.leave()
        if carried.run is not None:  # what it has in `finally` is for those who go on
            carried.run.cancel("another process goes on with it", at_once=True)
        carried.scope.cancel()
        await carried.over.wait()

    def _carries(self, run: str) -> bool:
        return any(each.id == run for each in list(self._carried))

    def _may_take(self, run: str) -> bool:
        has_room = len(self._carried) < self._at_once and not self._leaves
        return has_room and time.monotonic() >= self._cannot.get(run, 0.0)

    def _in_thread(self, run: str, token: EventLoopToken) -> str:
        try:
            how = from_thread.run(self._carry, run, token=token)
            if isinstance(how, str):
                return how
        except Exception as bug:  # that is not how the run has ended
            raise HandedOver from bug
        raise HandedOver

    def _give_back(self, run: str, how: Left) -> None:
        """Leave a run to others. If that fails for the run itself, the lookout tries it again."""
        while self._journal.error is None:
            try:
                if how is Left.ASIDE:
                    self._lookout.lay_aside(run)
                else:
                    self._lookout.give_back(run)
            except LostError:  # the journal says whether for good
                time.sleep(LOOK_S)
            else:
                return

    async def _carry(self, run: str) -> str | Left:
        """How a run has ended, here or in another process, or how this worker has left it."""
        carried = Carried(run, Drain(lambda: self._holds(run), memory.end))
        how: str | Left = Left.TO_OTHERS
        self._carried.add(carried)
        try:
            if not self._leaves:
                with carried.scope:
                    how = await self._ended(carried)
            carried.run = None
            if isinstance(how, Left):  # while this worker, which others see, is there
                await to_thread.run_sync(self._give_back, run, how)
            if how is Left.ELSEWHERE and not self._leaves:
                await self._let_others(carried)
            return how
        finally:
            self._carried.discard(carried)
            carried.over.set()

    async def _let_others(self, carried: Carried) -> None:
        """Keep the place of a run that was left, so that others of its queue come first."""
        with anyio.CancelScope() as carried.scope:
            await anyio.sleep(LOOK_S)

    def _holds(self, run: str) -> bool:
        """Whether others cannot have gone on with a run, and made the calls that come next."""
        kept = self._journal.carried(run)
        return kept is not None and kept.holds(GRACE_S)

    async def _ended(self, carried: Carried) -> str | Left:
        # Without a journal this worker leaves soon.
        while (how := await self._status(carried)) is None or self._journal.error is not None:
            await anyio.sleep(LOOK_S)
        return Left.ASIDE if how == PAUSED else how

    async def _status(self, carried: Carried) -> str | Left | None:
        """How a run has ended; None if another process carries it now, or that cannot be told."""
        if self._journal.error is not None:
            return None
        run = carried.id
        try:
            if self.offer.down and await self._outages.hold_back(run):
                return Left.ELSEWHERE
            async with self._resumed(carried) as carried.run:
                await self._check_servers(run, carried.run)
                self._tell(f"run {run} begins")
                result = await carried.run.execute()
            if not carried.run.not_kept:
                self._tell(f"run {run}: {result.status}")
                return result.status
        except CarriedError:
            pass  # it goes on there, and may end here
        except ElsewhereError:
            return Left.ELSEWHERE
        except Exception as error:
            status = await to_thread.run_sync(status_of, self._journal.location, run)
            if status in history.OPEN:
                return await self._cannot_carry(run, error)
            return None if status in (RUNNING, "") else status
        return None

    def _resumed(self, carried: Carried) -> AbstractAsyncContextManager[Run]:
        return self._engine.resume(
            carried.id,
            unknown=self._unknown,
            most_lost=losses.MOST,
            drain=carried.drain,
            observers=[lambda _: None],  # with an observer, tools are asked for their progress
        )

    async def _check_servers(self, run: str, begun: Run) -> None:
        """Leave a run whose servers do not start here, unless they start nowhere."""
        kept = self._journal.carried(run)
        assert kept is not None
        tasks = begun.plan.tasks.values()
        left = [task for task in tasks if not kept.recorder.has_settled(task.id)]
        needed = {server for task in left for server in task.servers}
        failures = {server: self._engine.failure(server) for server in sorted(needed)}
        failed = {server: str(error) for server, error in failures.items() if error is not None}
        if failed and await self._outages.leave(run, failed):
            raise ElsewhereError
        self._outages.forget(needed - failed.keys())

    async def _cannot_carry(self, run: str, error: Exception) -> Left:
        """Leave a run to workers that can carry it."""
        if isinstance(error, ServerStartError):
            failed = {problem.text: problem.message for problem in error.problems}
            await self._outages.leave(run, failed, required=failed)
            return Left.ELSEWHERE
        self._cannot[run] = time.monotonic() + AGAIN_S
        await to_thread.run_sync(self._note_failure, run, error)
        if run not in self._told:
            self._told.add(run)
            left = "cannot be carried here, and is left to other workers"
            self._tell(f"run {run} {left}: {why_of(error)}")
        return Left.ASIDE

    def _note_failure(self, run: str, error: Exception) -> None:
        """Keep why a run cannot be carried here. An unexpected error counts as a loss."""
        with suppress(JournalError), history.reading(self._journal.location) as db:
            if not isinstance(error, OrchestratorError):
                losses.note(db, run, f"worker {self.name} ({type(error).__name__})")
            waiting.note(db, run, why_of(error), self._engine.hiding)  # as its latest record
