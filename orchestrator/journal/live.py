"""What a run does now, for those who watch it: a file beside its lock.

Nothing of it is kept: the process that carries the run writes it at each beat while somebody looks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.documents.encode import to_json
from orchestrator.journal.database import runs_of

if TYPE_CHECKING:
    from orchestrator.engine.task_state import Activity, RunState

WATCHED_S = 5.0  # so long after somebody looked it is still written
FRESH_S = 4.0  # and is so long taken for what the run does now
MOST = 1000  # calls: those that are being made come first


def lock_path(journal: Path, run: str) -> Path:
    """The file that a process locks while it carries a run."""
    return runs_of(journal) / run


def _beside(journal: Path, run: str, what: str) -> Path:
    path = lock_path(journal, run)
    return path.with_name(f"{path.name}.{what}")


def watch(journal: Path, run: str) -> None:
    """Note that somebody looks, if any process carries the run."""
    if lock_path(journal, run).exists():
        with suppress(OSError):  # where nothing can be written, the journal alone is watched
            _beside(journal, run, "watched").touch(mode=0o600)


def seen(journal: Path, run: str) -> dict[str, Any] | None:
    """What the run does now; None if nobody tells.

    That is `at_ms`, the number of its `calls`, how many of them each server works on (`by_server`),
    and the first of them with the fields of an `Activity` (`running`).
    """
    path = _beside(journal, run, "live")
    try:
        if time.time() - path.stat().st_mtime > FRESH_S:
            return None
        document: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):  # there is none any more
        return None
    return document


def beats(journal: Path, run: str) -> bool:
    """Whether a process has carried the run in the last seconds, as far as its file says."""
    try:
        return time.time() - lock_path(journal, run).stat().st_mtime <= FRESH_S
    except OSError:
        return False


def tell(journal: Path, run: str, state: Callable[[], RunState]) -> None:
    """Write what a run does now, if somebody looks."""
    with suppress(OSError):  # nobody looks, or it cannot be written: the run goes on
        if time.time() - _beside(journal, run, "watched").stat().st_mtime > WATCHED_S:
            return
        path = _beside(journal, run, "live")
        draft = path.with_name(f"{path.name}.new")
        draft.touch(mode=0o600)
        draft.write_text(to_json(_document(state())), encoding="utf-8")
        draft.replace(path)


def _document(state: RunState) -> dict[str, Any]:
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
    }


def forget(journal: Path, run: str) -> None:
    """Remove what was written."""
    for what in ("watched", "live"):
        _beside(journal, run, what).unlink(missing_ok=True)
