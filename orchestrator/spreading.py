"""Spreads the items of a task over the workers of a database, in parts that are runs of their own.

The process of the run makes the parts, looks at what becomes of them, and carries one itself that
nobody takes: so a run goes on also where each worker waits for parts.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, replace

from anyio import to_thread

from orchestrator.engine.events import Announcer, StartTimes
from orchestrator.engine.items import HandedOut
from orchestrator.engine.settings import RunSettings
from orchestrator.errors import (
    JournalError,
    WorkflowError,
)
from orchestrator.journal.kept_run import KeptRun
from orchestrator.journal.location import Address
from orchestrator.journal.part import PartRecorder
from orchestrator.journal.parts import Parts
from orchestrator.journal.workers import places
from orchestrator.preflight import unknown_servers
from orchestrator.run_request import RunOptions, RunRequest, asking
from orchestrator.servers.config import Server, ServerTable, locking_of
from orchestrator.servers.pool import ServerPool
from orchestrator.spread_shape import Shape, shape_of
from orchestrator.spread_task import Carry, SpreadTask
from orchestrator.workflow.budget import Budget
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.part import part_of
from orchestrator.workflow.plan import TaskPlan

ITEMS = 500  # of a part


class Spreading:
    """Spreads the tasks of a run that is kept in a database; see `Spreader`.

    Args:
        kept: The run.
        workflow: Its workflow.
        servers: The configuration of its servers.
        carry: Carries a part here.
    """

    def __init__(
        self, kept: KeptRun, workflow: Workflow, servers: Mapping[str, Server], carry: Carry
    ) -> None:
        self._kept, self._workflow, self._carry = kept, workflow, carry
        table = servers if isinstance(servers, ServerTable) else None
        budgets = (workflow.budget, None if table is None else table.budget)
        self._locking = locking_of(servers)
        self._is_bounded = any(map(_counts, budgets))

    async def carry(self, what: HandedOut, /) -> bool:
        """See `Spreader`."""
        task, recorder = what.task, self._kept.recorder
        has_inside = task.inner is not None
        parts = self._kept.parts(self._workflow.name, task.id, has_inside=has_inside)
        known = recorder.spread(task.id)
        if known is not None:
            shape = Shape(**known)
        elif (found := await self._new_shape(what, parts)) is not None:
            shape = found
            recorder.note_spread(task.id, asdict(shape))
        else:
            return False
        await SpreadTask(parts, what, shape, self._carry, self._kept.lease.run).run()
        return True

    def _locks_hold_for_all(self, task: TaskPlan) -> bool:
        """Whether what a task holds is held for all processes that carry its parts."""
        known = (lock.known for lock in task.held_locks)
        return all(self._locking.is_for_all(name, is_whole=whole) for name, whole in known)

    async def _new_shape(self, what: HandedOut, parts: Parts) -> Shape | None:
        """How a task is spread; None if one process has to carry all of it."""
        one_process = self._is_bounded or not self._locks_hold_for_all(what.task)
        is_kept = self._kept.recorder.keeps_outputs and not parts.is_lost
        if len(what.items) <= ITEMS or one_process or not is_kept:
            return None
        try:
            found = await to_thread.run_sync(places, parts.location)
        except JournalError:  # the run itself will say so
            return None
        if not found:
            return None
        at_once = what.task.policies.max_parallel or 0
        return shape_of(len(what.items), ITEMS, what.limit, at_once, found)


def spread(request: RunRequest, kept: KeptRun, pool: ServerPool, carry: Carry) -> RunRequest:
    """The same request, with who hands out the items of its tasks, if any is to be spread."""
    workflow = request.workflow
    is_wanted = any(each.spread for each in workflow.plan.policies)
    if not is_wanted or not isinstance(kept.location, Address):
        return request
    spreader = Spreading(kept, workflow, pool.servers, carry)
    return replace(request, settings=replace(request.settings, spreader=spreader))


def request_of_part(recorder: PartRecorder, options: RunOptions, pool: ServerPool) -> RunRequest:
    """The request that a part was made of; some options count as `Runs.resume` says.

    Raises:
        WorkflowError: Its servers are not configured here.
    """
    part, needs = recorder.part, recorder.needs
    workflow = part_of(needs.workflow, part.task, part.items, part.first, part.most_items)
    if found := list(unknown_servers(workflow, pool.servers)):
        raise WorkflowError(workflow.name, found)
    more = {"run_id": part.of, "random": random.random, "max_concurrency": part.most_calls}
    settings = RunSettings(**{**needs.asked["settings"], **more, "estimates": None})
    settings = asking(settings, options)
    observers = options.get("observers", ())
    times = StartTimes(Announcer(observers))
    request = RunRequest(workflow, needs.asked["inputs"], settings, observers, times)
    return replace(request, needs=needs)


def _counts(budget: Budget | None) -> bool:
    """Whether a budget has to be counted call by call, which one process does."""
    return budget is not None and (budget.calls is not None or budget.result_mb is not None)
