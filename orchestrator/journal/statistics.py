"""What calls took in earlier runs: the estimates for later ones.

They only decide which task goes first, so one that is outdated costs time and nothing else.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import JournalError
from orchestrator.journal.history import reading
from orchestrator.workflow.model import Workflow

# The weight of the newest time: 0.2 to 0.3 is advised for moving means of this kind (Roberts, 1959;
# Hunter, 1986). The first times count alike, or the very first would count for most of them.
NEWEST_WEIGHT = 0.25
# The latest runs, of all workflows: an older time has a weight of less than 1 %.
RUNS = 20

_RUNS = """select id, workflow, request from (
    select id, workflow, request, started from run where ended is not null
    order by workflow = ? desc, started desc limit ?) order by started"""
# A task that had one call which succeeded at the first attempt; of a for_each, its items.
_CALLS = """select path, avg(json_extract(payload, '$.duration_ms')) from record
    where run = ? and kind in ('task', 'item') and instr(path, '/') = 0
    and json_extract(payload, '$.status') = 'success' and json_extract(payload, '$.attempts') = 1
    and json_extract(payload, '$.recovered') is null
    and json_extract(payload, '$.has_items') is null
    group by path"""


def estimates(journal: Path, workflow: Workflow) -> dict[str, float]:
    """What each task of a workflow is expected to take, seconds; unknown ones are left out.

    Only calls that succeeded at the first attempt count: the time of a call that failed, was
    cancelled or was retried tells nothing about the next one. A `for_each` counts as the mean over
    its items. A task that has not been measured takes what its tool took in other tasks.

    Raises:
        JournalError: The journal cannot be read.
    """
    of_task: dict[tuple[str, str], list[float]] = defaultdict(list)
    of_tool: dict[str, list[float]] = defaultdict(list)
    with reading(journal) as db:
        for run, name, request in db.execute(_RUNS, (workflow.name, RUNS)).fetchall():
            tools = _tools(json.loads(request)["workflow"])
            by_tool: dict[str, list[float]] = defaultdict(list)
            for task, took_ms in db.execute(_CALLS, (run,)).fetchall():
                by_tool[tools.get(task, "")].append(took_ms)
                if name == workflow.name:
                    of_task[task, tools.get(task, "")].append(took_ms)
            for tool, times_ms in by_tool.items():
                of_tool[tool].append(sum(times_ms) / len(times_ms))
    found: dict[str, float] = {}
    for task in workflow.plan.tasks.values():
        if times := of_task.get((task.id, task.target)) or of_tool.get(task.target):
            found[task.id] = _mean(times) / 1000
    return found


def known_estimates(journal: Path, workflow: Workflow) -> dict[str, float]:
    """The same; empty if there is no journal yet, or it cannot be read."""
    try:
        return estimates(journal, workflow)
    except JournalError:
        return {}


def _tools(workflow: Mapping[str, Any]) -> dict[str, str]:
    """The tool of each task of a canonical workflow."""
    tasks = [*workflow["tasks"], *workflow.get("finally", ())]
    return {task["id"]: task["tool"] for task in tasks if "tool" in task}


def _mean(times: Iterable[float]) -> float:
    """The moving mean, the newest last."""
    mean = 0.0
    for count, time in enumerate(times, 1):
        mean += max(NEWEST_WEIGHT, 1 / count) * (time - mean)
    return mean
