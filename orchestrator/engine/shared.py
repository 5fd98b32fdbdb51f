"""What all tasks of a run have in common, those of the workflows inside it included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from orchestrator.calls.call import Attempt, Call, Caller
from orchestrator.calls.locks import Locks
from orchestrator.calls.worker_pool import WorkerPool
from orchestrator.engine.phase import Limit
from orchestrator.engine.priorities import priorities, priorities_of_growing
from orchestrator.engine.questions import Questions
from orchestrator.engine.settings import RunSettings, Servers
from orchestrator.engine.spending import Spending
from orchestrator.engine.summary import Stop
from orchestrator.workflow.model import Schedule, Workflow
from orchestrator.workflow.plan import Plan


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """What all tasks of a run have in common.

    Attributes:
        caller: Makes the calls.
        settings: How the run goes.
        servers: The servers that it calls.
        spending: Counts what they spend.
        limit: How many calls may be in flight; 0 = any number.
        slots: Hands them out; None without a limit.
        locks: The locks that tasks hold.
        questions: What people are asked; None in a dry run.
        turns: The turns of `repeat` that they are inside of, a line each; empty for none.
        ranked: The priorities of the tasks of each workflow inside, which runs for many items.
    """

    caller: Caller
    settings: RunSettings
    servers: Servers
    spending: Spending
    limit: int
    slots: WorkerPool | None
    locks: Locks
    questions: Questions | None = None
    turns: str = ""
    ranked: dict[tuple[int, str], Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        workflow: Workflow,
        caller: Caller,
        settings: RunSettings,
        servers: Servers,
        spending: Spending,
        questions: Questions | None = None,
    ) -> Shared:
        """What the tasks of a run of this workflow have in common."""
        plan, limit = workflow.plan, settings.max_concurrency
        limit = workflow.max_concurrency if limit is None else limit
        # A limit that cannot be reached costs slots and a queue, and changes nothing.
        limit = limit if limit < len(plan.tasks) or plan.fans_out else 0
        slots = servers.new_slots(plan, limit)
        return cls(caller, settings, servers, spending, limit, slots, servers.locks, questions)

    def may_ask(self, plan: Plan) -> bool:
        """Whether a person may be asked about any call of a plan."""
        recorder = self.settings.recorder
        has_unknown = recorder is not None and recorder.has_unknown
        return self.questions is not None and (plan.asks or self.servers.may_ask or has_unknown)

    def inside(self, call: Call, attempt: Attempt) -> Shared:
        """The same for the tasks inside a call, which do not wait for the locks that it holds."""
        if not call.locks and not call.turn:
            return self
        locks = Locks(call.locks, self.locks, attempt) if call.locks else self.locks
        turns = f"{self.turns}\n{call.task} {call.item} {call.turn}" if call.turn else self.turns
        return replace(self, locks=locks, turns=turns)

    def limits(self, timeout_s: float | None, around: Shared | None) -> list[Limit]:
        """The limits of time of a workflow inside something, which has limits of its own."""
        outer = None if around is None else around.spending
        limits = [] if outer is self.spending else [*self.spending.limits(outer)]
        if timeout_s is not None:
            limits.append((timeout_s, Stop.late(timeout_s, "the run reached its limit")))
        return limits

    def priorities_of(
        self, plan: Plan, schedule: Schedule, *, is_inside: bool, grows: bool
    ) -> Mapping[str, float]:
        """Which task goes first, if any waits; estimates are of the tasks of the run itself."""
        if not self.may_wait:
            return {}
        estimates = self.settings.estimates or {}
        if grows:
            return priorities_of_growing(estimates)
        if not is_inside:
            return priorities(plan, schedule, estimates)
        key = id(plan), schedule
        if key not in self.ranked:
            self.ranked[key] = priorities(plan, schedule, {})
        return self.ranked[key]

    @property
    def may_wait(self) -> bool:
        """Whether calls may have to wait for each other."""
        return self.limit > 0 or any(each.is_limited for each in self.servers.policies.values())
