"""The middleware around the calls of a run, put together once for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.calls.middleware import (
    Fit,
    with_locks,
    with_retry,
    with_server_ready,
    with_slots,
)
from orchestrator.calls.repeat import with_repeat
from orchestrator.calls.timeouts import with_deadline, with_timeout
from orchestrator.engine.emitter import Emitter
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.workflow.model import Workflow


class Callers:
    """What makes the calls of a run.

    Attributes:
        fitting: Makes a call that fits its tool already.
        call: Waits for the server of a call, fits it to its tool, and makes it.
        limit: How many calls may be in flight; 0 = any number.
        slots: Hands them out; None without a limit.
        may_wait: Whether calls may have to wait for each other.
    """

    def __init__(
        self,
        caller: Caller,
        workflow: Workflow,
        settings: RunSettings,
        servers: Servers,
        emitter: Emitter,
        fit: Fit,
        has_ended: Callable[[], bool],
    ) -> None:
        plan, limit = workflow.plan, settings.max_concurrency
        limit = workflow.max_concurrency if limit is None else limit
        # A limit that cannot be reached costs slots and a queue, and changes nothing.
        self.limit = limit if limit < len(plan.tasks) or plan.fans_out else 0
        self.may_wait = self.limit > 0 or any(p.is_limited for p in servers.policies.values())
        self.slots = servers.new_slots(plan, self.limit)
        on_wait = on_server = on_start = None
        # Without observers no event is made at all.
        if emitter.announce:
            on_wait, on_start = emitter.waiting, emitter.started
            on_server = emitter.waiting_for_server
        in_time = _unless(has_ended, with_timeout(caller, on_start))
        attempt = with_slots(in_time, servers.policies, self.slots, on_wait)
        again = with_retry(attempt, emitter.failed, settings.random)
        policies = [task.policies for task in plan.tasks.values()]
        # Calls pay for these only where a task of the workflow asks for them.
        if any(each.repeat is not None for each in policies):
            again = with_repeat(again)
        self.fitting = with_locks(again, servers.locks, on_wait)
        self.call = with_server_ready(
            self.fitting, fit, servers.readiness, on_server, emitter.pause
        )
        if any(each.deadline_s is not None for each in policies):
            self.call = with_deadline(self.call)


def _unless(has_ended: Callable[[], bool], call_next: Caller) -> Caller:
    """Make no call whose slot came together with the end of the run, which cancels it."""

    def call_unless_ended(call: Call, attempt: Attempt) -> Awaitable[Any]:
        return anyio.sleep_forever() if has_ended() else call_next(call, attempt)

    return call_unless_ended
