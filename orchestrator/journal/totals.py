"""What the runs of a journal have in common: how many, how they ended, how long they took.

The times are nearest-rank percentiles, so each of them is one that was measured.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from orchestrator.journal.history import reading
from orchestrator.journal.location import Location
from orchestrator.journal.statistics import called
from orchestrator.journal.store import Database

_RUNS = """select id, workflow, status, duration_ms, request from run
    where ended is not null and kind<>'part' and started >= ?"""
# A fallback has answered where `recovered` is set.
_SAID = "status", "attempts", "duration_ms", "waited_ms", "has_items", "recovered", "cached"
# What was taken over is of another run.
_ENDED = "from record where kind in ('task', 'item') and at > 0"
_ITEM = re.compile(r"\[\d+\](?=/|$)")
_FEW = 1000  # runs: up to so many, their records are asked for one run after the other
_CALLS = ("tool", "read", "prompt")
_Name = TypeVar("_Name")


@dataclass(slots=True)
class Total:
    """What is counted of runs, tasks or calls that have something in common.

    Attributes:
        ended: How many of them ended in each way.
        times_ms: What those took that began, milliseconds, with their retries.
        waited_ms: How long each waited for its server, locks, slots and rates.
        attempts: How many calls were made.
        cached: How many the memo answered.
    """

    ended: Counter[str] = field(default_factory=Counter)
    times_ms: list[float] = field(default_factory=list)
    waited_ms: list[float] = field(default_factory=list)
    attempts: int = 0
    cached: int = 0

    def percentile(self, share: float) -> float | None:
        """The time that so large a share did not exceed, milliseconds; None without a time."""
        return _percentile(self.times_ms, share)

    @property
    def success_rate(self) -> float | None:
        """The share that succeeded of those that succeeded or failed; None if none did."""
        failed = sum(self.ended[word] for word in ("error", "failed", "partial"))
        both = self.ended["success"] + failed
        return self.ended["success"] / both if both else None

    def to_dict(self) -> dict[str, Any]:
        """The total as a JSON object."""
        rate = self.success_rate
        document: dict[str, Any] = {
            "count": self.ended.total(),
            "ended": dict(sorted(self.ended.items())),
            "success_rate": None if rate is None else round(rate, 4),
            "p50_ms": _rounded(self.percentile(0.5)),
            "p95_ms": _rounded(self.percentile(0.95)),
            "total_ms": _rounded(sum(self.times_ms)),
        }
        if self.waited_ms:
            document["waited_p95_ms"] = _rounded(_percentile(self.waited_ms, 0.95))
            document |= {"calls": self.attempts, "cached": self.cached}
        return document


@dataclass(slots=True)
class Totals:
    """The totals of the runs in a journal, each by what it is about.

    Attributes:
        runs: That of all runs that have ended.
        workflows: By name.
        tasks: By the workflow, the path of the task without items, and what it calls.
        servers: By name; of calls, items included, those of fallbacks left out.
        tools: By `server:tool`, likewise.
    """

    runs: Total = field(default_factory=Total)
    workflows: dict[str, Total] = field(default_factory=lambda: defaultdict(Total))
    tasks: dict[tuple[str, str, str], Total] = field(default_factory=lambda: defaultdict(Total))
    servers: dict[str, Total] = field(default_factory=lambda: defaultdict(Total))
    tools: dict[str, Total] = field(default_factory=lambda: defaultdict(Total))

    def to_dict(self) -> dict[str, Any]:
        """The totals as a JSON object; what took most comes first."""
        return {
            "runs": self.runs.to_dict(),
            "workflows": [{"workflow": name, **of.to_dict()} for name, of in most(self.workflows)],
            "tasks": [
                {"workflow": workflow, "task": task, "tool": tool or None, **of.to_dict()}
                for (workflow, task, tool), of in most(self.tasks)
            ],
            "servers": [{"server": name, **of.to_dict()} for name, of in most(self.servers)],
            "tools": [{"tool": name, **of.to_dict()} for name, of in most(self.tools)],
        }


def most(totals: Mapping[_Name, Total]) -> list[tuple[_Name, Total]]:
    """Totals with their names, what took most time first."""
    return sorted(totals.items(), key=lambda each: (-sum(each[1].times_ms), str(each[0])))


def totals_of(journal: Location, *, since: float = 0.0, workflow: str | None = None) -> Totals:
    """The totals of the runs that have ended.

    Args:
        journal: The file.
        since: Only of runs that began then or later, seconds since 1970.
        workflow: Only of runs of the workflow with this name.

    Raises:
        JournalError: The journal cannot be read.
    """
    totals = Totals()
    with reading(journal) as db:
        runs: dict[str, tuple[str, Mapping[str, str]]] = {}
        tools: dict[str, Mapping[str, str]] = {}
        query = _RUNS if workflow is None else f"{_RUNS} and workflow = ?"
        values = (since,) if workflow is None else (since, workflow)
        for run, name, status, took_ms, request in db.execute(query, values):
            for total in (totals.runs, totals.workflows[name]):
                total.ended[status] += 1
                if took_ms is not None:
                    total.times_ms.append(took_ms)
            # Runs of one definition have the same text up to their inputs: it is parsed once.
            definition = request[: request.rfind('"inputs"')]
            if definition not in tools:
                tools[definition] = called(_tools, request)
            runs[run] = name, tools[definition]
        for run, kind, path, payload in _records(db, list(runs)):
            if run in runs:
                name, of_task = runs[run]
                _count(totals, name, of_task, kind, _ITEM.sub("", path), json.loads(payload))
    return totals


def _records(db: Database, runs: list[str]) -> Iterator[tuple[str, str, str, str]]:
    query = f"select run, kind, path, {db.sql.members(*_SAID)} {_ENDED}"  # parses a payload once
    if len(runs) > _FEW:
        yield from db.execute(query)
        return
    for run in runs:
        yield from db.execute(f"{query} and run = ?", (run,))


def _count(
    totals: Totals, name: str, tools: Mapping[str, str], kind: str, task: str, said: list[Any]
) -> None:
    status, attempts, took_ms, waited_ms, has_items, recovered, cached = said
    tool = tools.get(task, "")
    counted = [totals.tasks[name, task, tool]] if kind == "task" else []
    if tool and not has_items and (attempts or cached):
        counted += [totals.tools[tool], totals.servers[tool.partition(":")[0]]]
    if kind == "item":  # some of its items may have been taken over
        totals.tasks[name, task, tool].attempts += attempts or 0
    for total in counted:
        is_call = kind == "item" or total is not counted[0]
        total.ended["error" if recovered and is_call else status] += 1
        total.attempts += 0 if has_items else attempts or 0
        total.cached += bool(cached)
        total.waited_ms.append(waited_ms or 0.0)
        if attempts and not cached:
            total.times_ms.append(took_ms)


def _tools(workflow: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """What each task of a canonical workflow calls, by its path without items."""
    for task in (*workflow["tasks"], *workflow.get("finally", ())):
        path = within + task["id"]
        for kind in _CALLS:
            if isinstance(target := task.get(kind), str):
                yield path, target
        if isinstance(inner := task.get("workflow"), dict):
            yield from _tools(inner, f"{path}/")


def _percentile(values: list[float], share: float) -> float | None:
    ranked = sorted(values)
    return ranked[math.ceil(share * len(ranked)) - 1] if ranked else None


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)
