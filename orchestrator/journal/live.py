"""What a run does now, for those who watch it.

Nothing of it is kept: the process that carries the run tells it at each beat while somebody looks.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from orchestrator.documents.text import cut
from orchestrator.journal.location import Location, store_of

if TYPE_CHECKING:
    from orchestrator.engine.task_state import Activity, RunState

WATCHED_S = 5.0  # so long after somebody looked it is still written
FRESH_S = 4.0  # and is so long taken for what the run does now
MAX_SAID = 200  # characters of what a tool says of its progress
MOST = 1000  # calls: those that are being made come first


def watch(journal: Location, run: str) -> None:
    """Note that somebody looks, if any process carries the run."""
    store_of(journal).watch(run)


def seen(journal: Location, run: str) -> dict[str, Any] | None:
    """What the run does now; None if nobody tells.

    That is `at_ms`, the number of its `calls`, how many of them each server works on (`by_server`),
    the first of them with the fields of an `Activity` (`running`), and `items` and `left` of a
    `RunState`.
    """
    return store_of(journal).seen(run)


def beats(journal: Location, run: str) -> bool:
    """Whether a process has carried the run in the last seconds, as far as the journal says."""
    return store_of(journal).beats(run)


def document_of(state: RunState) -> dict[str, Any]:
    """What a run does now, for `seen`."""
    calls = sorted(state.running, key=lambda each: bool(each.waiting_for))
    by_server: dict[str, int] = {}
    for each in calls:
        if not each.waiting_for:
            server = each.target.partition(":")[0]
            by_server[server] = by_server.get(server, 0) + 1
    return {
        "at_ms": round(state.at_ms, 3),
        "calls": len(calls),
        "by_server": by_server,
        "running": [_call(each) for each in calls[:MOST]],
        "items": dict(islice(state.items.items(), MOST)),
        "left": dict(state.left),
    }


def _call(each: Activity) -> dict[str, Any]:
    since_ms = None if each.since_ms is None else round(each.since_ms, 3)
    return {
        "task": each.task,
        "item": each.item,
        "target": each.target,
        "attempt": each.attempt,
        "since_ms": since_ms,
        "waiting_for": each.waiting_for,
        "progress": each.progress and _said(*each.progress),
    }


def _said(progress: float, total: float | None, message: str) -> str:
    """How far a call is, by its tool."""
    of = "" if total is None else f" of {total:g}"
    return cut(f"{progress:g}{of} {message}".rstrip(), MAX_SAID)
