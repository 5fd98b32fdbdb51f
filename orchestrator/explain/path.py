"""What decided how long a run took: calls and waits, each of which had to end for the next.

It goes back from the call that ended last: to what its task had to come after, or to the call that
held what it waited for.
"""

from __future__ import annotations

import fnmatch
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

from orchestrator.calls.causes import Cause, Kind
from orchestrator.explain.story import IN_CALL, NOTABLE_MS, SLACK_MS, Span, Story

# What another call holds until it ends.
HELD: frozenset[Kind] = frozenset(
    {"max_concurrency", "server_limit", "writers", "turn", "lock", "items"}
)
MAX_LOOKED_AT = 2000  # calls, to find who held what a call waited for


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the path.

    Attributes:
        span: The call that it is about.
        from_ms: When it begins, and `to_ms` when it ends.
        cause: What was waited for; None while the call was made.
        holder: The call that held it; None if none did, or it is not known.
    """

    span: Span
    from_ms: float
    to_ms: float
    cause: Cause | None = None
    holder: Span | None = None

    @property
    def took_ms(self) -> float:
        """How long it is."""
        return self.to_ms - self.from_ms

    def to_dict(self) -> dict[str, Any]:
        """The step as a JSON object."""
        return {
            **_named(self.span),
            "from_ms": round(self.from_ms, 3),
            "to_ms": round(self.to_ms, 3),
            "waiting_for": None if self.cause is None else self.cause._asdict(),
            "holder": None if self.holder is None else _named(self.holder),
        }


def _named(span: Span) -> dict[str, Any]:
    return {"task": span.task, "item": span.item, "target": span.target}


class Analysis:
    """Where the time of a run went.

    Attributes:
        story: What happened.
    """

    def __init__(self, story: Story) -> None:
        self.story = story
        self._by_end = sorted(story.spans, key=attrgetter("ended_ms"))
        self._ends = [span.ended_ms for span in self._by_end]

    @cached_property
    def path(self) -> list[Step]:
        """The steps that decided how long the run took, the first one first."""
        steps: list[Step] = []
        span = self._by_end[-1] if self._by_end else None
        seen: set[Span] = set()
        until_ms = span.ended_ms if span else 0.0
        while span is not None and span not in seen:
            seen.add(span)
            steps += reversed([*_made(span, min(until_ms, span.ended_ms))])
            until_ms, span = self._before(span, steps)
        return steps[::-1]

    def _before(self, span: Span, steps: list[Step]) -> tuple[float, Span | None]:
        """The call before one on the path, and until when; the waits between them become steps."""
        at_ms = span.started_ms
        for cause, begun, waited in reversed(span.before):
            since = max(begun, span.ready_ms)
            if at_ms <= since or waited < NOTABLE_MS:
                continue
            holder = self.holder(span, cause, since, at_ms)
            if holder is not None:
                if at_ms - holder.ended_ms >= SLACK_MS:
                    steps.append(Step(span, holder.ended_ms, at_ms, cause, holder))
                return holder.ended_ms, holder
            steps.append(Step(span, since, at_ms, cause))
            at_ms = since
        if at_ms - span.ready_ms >= SLACK_MS:
            holder = None if span.waits else self._ended_at(span, at_ms)
            if holder is None and self._is_spread(span):  # its part began as another one ended
                holder = self.holder(span, Cause("items"), span.ready_ms, at_ms)
            since = span.ready_ms if holder is None else holder.ended_ms
            if at_ms - since >= SLACK_MS or holder is None:
                steps.append(Step(span, since, at_ms, Cause("other", "")))
            if holder is not None:
                return holder.ended_ms, holder
        if span.after is None:
            return 0.0, None
        return span.ready_ms, self.story.last.get(span.after[0])

    def _is_spread(self, span: Span) -> bool:
        task = self.story.workflow.plan.tasks.get(span.root)
        return task is not None and task.policies.spread

    def holder(self, span: Span, cause: Cause, since: float, at_ms: float) -> Span | None:
        """The call whose end let a call go on that had waited for something since then."""
        if cause.kind not in HELD:
            return None
        last = bisect_right(self._ends, at_ms + SLACK_MS)
        for index in range(last - 1, max(-1, last - MAX_LOOKED_AT), -1):
            other = self._by_end[index]
            if other.ended_ms < since:
                return None
            is_item = cause.kind != "items" or other.task == span.task
            is_before = other.started_ms < at_ms and other is not span
            if is_before and is_item and _may_hold(other, cause):
                return other
        return None

    def _ended_at(self, span: Span, at_ms: float) -> Span | None:
        """What ended when a call began whose waits were not kept, and most likely held it up."""
        last = bisect_right(self._ends, at_ms + SLACK_MS)
        found = [
            each
            for each in self._by_end[max(0, last - MAX_LOOKED_AT) : last]
            if each.ended_ms >= max(at_ms - SLACK_MS, span.ready_ms + SLACK_MS)
            and each.started_ms < at_ms
            and each is not span
        ]
        return max(found, key=lambda each: each.server == span.server, default=None)

    @cached_property
    def waits(self) -> list[Step]:
        """Every wait, the longest first."""
        return sorted(self._waits(), key=lambda wait: -wait.took_ms)

    def _waits(self) -> Iterator[Step]:
        barred: set[str] = set()
        for span in self.story.spans:
            for cause, since, waited in span.waits:
                until = since + waited
                yield Step(span, since, until, cause, self.holder(span, cause, since, until))
            if span.after is not None and span.after[1] and span.task not in barred:
                barred.add(span.task)
                own = self.story.needed_ms.get(span.task, span.ready_ms)
                if span.ready_ms - own >= NOTABLE_MS:
                    holder = self.story.last.get(span.after[0])
                    yield Step(span, own, span.ready_ms, Cause("generation", ""), holder)

    @cached_property
    def path_ms(self) -> dict[tuple[Kind | str, str], float]:
        """How much of the path is calls of each task, and waits of each kind, the most first."""
        found: dict[tuple[Kind | str, str], float] = defaultdict(float)
        for step in self.path:
            cause = step.cause
            of = ("call", step.span.task) if cause is None else (cause.kind, cause.of)
            found[of] += step.took_ms
        return dict(sorted(found.items(), key=lambda each: -each[1]))


def _may_hold(span: Span, cause: Cause) -> bool:
    """Whether a call may have held what another waited for."""
    if cause.kind == "lock":
        return cause.of in span.locks
    if cause.kind in ("max_concurrency", "items"):
        return True
    server, has_pattern, pattern = cause.of.partition(":")
    of_call, _, tool = span.target.partition(":")
    return server == of_call and (not has_pattern or fnmatch.fnmatchcase(tool, pattern))


def _made(span: Span, until_ms: float) -> Iterator[Step]:
    """A call as steps: attempts, and what it waited for in between."""
    at_ms = span.started_ms
    for cause, since, waited in span.inside:
        if since >= until_ms:
            break
        if since > at_ms:
            yield Step(span, at_ms, since)
        at_ms = min(since + waited, until_ms)
        if cause.kind in IN_CALL or waited >= NOTABLE_MS:
            yield Step(span, since, at_ms, cause)
    if until_ms > at_ms or not span.inside:
        yield Step(span, at_ms, max(at_ms, until_ms))
