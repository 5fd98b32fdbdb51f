"""A run as trace events, which https://ui.perfetto.dev and chrome://tracing show."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

from orchestrator.documents.text import name_of
from orchestrator.explain.story import Span
from orchestrator.report.run_history import RunHistory

PROCESS = 1


def trace(history: RunHistory) -> dict[str, Any]:
    """The trace: a bar for each call, arrows along the dependencies."""
    events = [_named("process_name", 0, history.result.workflow)]
    lanes = _lanes(history.calls)
    events += [_named("thread_name", lane, f"lane {lane}") for lane in sorted({*lanes.values()})]
    events += [_bar(call, lanes[call.where]) for call in history.calls]
    number = 0
    for needed, task in history.result.edges:
        before, after = history.tasks.get(needed), history.tasks.get(task)
        if before is None or after is None or not {needed, task} <= lanes.keys():
            continue  # its items have bars in its place
        number += 1
        ends = (("s", before, 0.5), ("f", after, 0.5))
        events += [_end(phase, span, part, lanes, number) for phase, span, part in ends]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _lanes(calls: Sequence[Span]) -> dict[str, int]:
    """The lowest lane that is free when a call begins: bars of one lane may not overlap."""
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    lanes: dict[str, int] = {}
    for call in calls:
        while busy and busy[0][0] <= call.started_ms:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy) + 1
        heapq.heappush(busy, (call.ended_ms, lane))
        lanes[call.where] = lane
    return lanes


def _named(kind: str, lane: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": PROCESS, "tid": lane, "name": kind, "args": {"name": name_of(name)}}


def _bar(call: Span, lane: int) -> dict[str, Any]:
    # The viewer colors by name, without digits: the tool tells tasks such as t1 and t2 apart.
    name = name_of(f"{call.where} {call.target}".strip())
    place = {"pid": PROCESS, "tid": lane, "ts": _us(call.started_ms), "dur": _us(call.duration_ms)}
    about = {
        "status": call.status,
        "attempts": call.attempts,
        "waited_ms": round(call.waited_ms, 3),
    }
    return {"ph": "X", "name": name, "cat": call.server or "run", **place, "args": about}


def _end(phase: str, span: Span, part: float, lanes: dict[str, int], number: int) -> dict[str, Any]:
    at = _us(span.started_ms + span.duration_ms * part)
    arrow = {"name": "dependency", "cat": "dependency", "id": number, "bp": "e"}
    return {"ph": phase, "pid": PROCESS, "tid": lanes[span.where], "ts": at, **arrow}


def _us(milliseconds: float) -> float:
    return round(milliseconds * 1000, 3)
