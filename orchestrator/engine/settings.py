"""What a run is given besides its workflow and its caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.calls.call import Call, Readiness
from orchestrator.calls.causes import RUN_SLOT
from orchestrator.calls.locks import Locks
from orchestrator.calls.middleware import Random, no_jitter
from orchestrator.calls.policy import ServerPolicy
from orchestrator.calls.worker_pool import WorkerPool
from orchestrator.engine.events import OnEvent
from orchestrator.engine.question import AnswerCallback, OnReply
from orchestrator.schema.tool import Tool
from orchestrator.workflow.budget import Budget
from orchestrator.workflow.model import Schedule
from orchestrator.workflow.plan import Plan

if TYPE_CHECKING:
    from orchestrator.engine.drain import Drain
    from orchestrator.engine.items import Spreader
    from orchestrator.engine.recorder import Recorder
    from orchestrator.engine.reuse import Reuse
    from orchestrator.engine.tracing import Tracing

# After how many turns of the event loop a call that waits for others first has asked for its slot,
# such as an item of a `for_each`, which has a task of its own.
MOMENT = 4
# Likewise the next step of an inner workflow, so that the first items end before the last begin.
PATIENCE = 4
MAX_RUN_MB = 1000

Listen = Callable[[OnEvent], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a run goes, where that differs from what its workflow says.

    Attributes:
        schedule: `generations` or `dataflow`; None: the workflow's.
        max_concurrency: How many calls may be in flight, 0 for any number; None: the workflow's.
        estimates: What one call of a task is expected to take, seconds, by task id; see
            `orchestrator.engine.priorities`.
        max_run_mb: What the answers that the run keeps may take in memory, megabytes; 0 for any.
        random: Gives numbers from 0 to 1 for the jitter of retries; the default leaves it out.
        run_id: The id of the run.
        started_at: The time of day, ISO 8601, for the result document.
        recorder: Keeps what happens, and has what earlier processes kept; None: nothing is kept.
        reuse: What it takes over from an earlier run; None: nothing.
        answer: Answers questions; None: nobody is there.
        on_reply: Receives each question that was answered, with the reply.
        tracing: Traces what the run does; None: nothing is traced.
        spreader: Hands the items of tasks with `spread` to others; None: this process carries them.
        wait: Whether the run waits for answers when nothing else is left; else it pauses.
        drain: Knows the calls under way, and can keep further ones back; None: nobody asks.
    """

    schedule: Schedule | None = None
    max_concurrency: int | None = None
    estimates: Mapping[str, float] | None = None
    max_run_mb: int = MAX_RUN_MB
    random: Random = no_jitter
    run_id: str = "run"
    started_at: str = "1970-01-01T00:00:00Z"
    recorder: Recorder | None = None
    reuse: Reuse | None = None
    answer: AnswerCallback | None = None
    on_reply: OnReply | None = None
    tracing: Tracing | None = None
    wait: bool = False
    spreader: Spreader | None = None
    drain: Drain | None = None

    def about(self, workflow: str) -> dict[str, str]:
        """What the root `RUN` of expressions has."""
        return {"id": self.run_id, "started_at": self.started_at, "workflow": workflow}


@dataclass(frozen=True, slots=True)
class Servers:
    """What a run knows of the servers that it calls.

    Attributes:
        tools: Each known tool, by `server:tool`; servers that become ready add theirs.
        policies: What the configuration says about calls, by server.
        locks: The locks that tasks hold, shared by runs that must exclude each other.
        listen: Reports what happens to the servers while its context is entered.
        readiness: What calls have to wait for; None if all servers are ready.
        budget: What its operator lets a run spend; None for anything.
        startup_ms: What starting each of them took for this run; it grows while they start.
    """

    tools: Mapping[str, Tool] = field(default_factory=dict)
    policies: Mapping[str, ServerPolicy] = field(default_factory=dict)
    locks: Locks = field(default_factory=Locks)
    listen: Listen | None = None
    readiness: Readiness | None = None
    startup_ms: Mapping[str, float] = field(default_factory=dict)
    budget: Budget | None = None

    @property
    def may_ask(self) -> bool:
        """Whether an operator wants to be asked about any call."""
        return any(each.asks for each in self.policies.values())

    def needs_approval(self, call: Call) -> bool:
        """Whether the operator wants to be asked about this call."""
        policy = self.policies.get(call.server)
        return policy is not None and policy.needs_approval(call, self.tools.get(call.target))

    def new_slots(self, plan: Plan, limit: int) -> WorkerPool | None:
        """The slots of a run; None if it has no limit."""
        if not limit:
            return None
        named = [self.policies[name] for name in plan.servers if name in self.policies]
        limited = any(policy.is_limited or policy.writers is not None for policy in named)
        waits_for_slot_only = plan.is_plain and not limited and self.readiness is None
        moment = 1 if waits_for_slot_only else MOMENT
        return WorkerPool(limit, RUN_SLOT, moment, PATIENCE if plan.has_inner else 1)
