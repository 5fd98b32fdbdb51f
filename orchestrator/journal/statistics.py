"""What calls took in earlier runs: what is expected of later ones, and which task goes first."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from types import MappingProxyType
from typing import Any, NamedTuple

from orchestrator.errors import JournalError
from orchestrator.journal.history import reading
from orchestrator.journal.location import Location
from orchestrator.journal.store import Sql
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.plan import TaskPlan

# The weight of the newest time: 0.2 to 0.3 is advised for moving means of this kind (Roberts, 1959;
# Hunter, 1986). The first times count alike, or the very first would count for most of them.
NEWEST_WEIGHT = 0.25
# The latest runs, of all workflows: an older time has a weight of less than 1 %.
RUNS = 20

_RUNS = """select id, workflow, request from (
    select id, workflow, request, started from run
    where ended is not null and kind<>'part'
    order by workflow = ? desc, started desc limit ?) as latest order by started"""


# A task that had one call which succeeded at the first attempt; of a for_each, its items.
def _calls(sql: Sql) -> str:
    return f"""select path, avg({sql.number("duration_ms")}) from record
    where run = ? and kind in ('task', 'item') and instr(path, '/') = 0
    and {sql.text("status")} = 'success' and {sql.number("attempts")} = 1
    and at > 0 and {sql.text("recovered")} is null and {sql.text("has_items")} is null
    group by path"""


# The items of each task; and the turns of a `repeat` together, which are so many as they are.
_ITEMS = """select path, count(*) from record
    where run = ? and kind = 'item' and instr(path, '/') = 0 group by path"""


def _repeats(sql: Sql) -> str:
    return f"""select {sql.number("duration_ms")} from record
    where run = ? and kind = 'task' and path = ? and {sql.text("status")} = 'success' and at > 0"""


class Measured(NamedTuple):
    """What calls took in the latest runs, milliseconds, the newest last; means over items.

    Attributes:
        of_task: By the task of this workflow and its tool, a time for each run; of a `repeat` the
            time of all its turns.
        of_tool: By `server:tool`, the same in all workflows.
        items: How many items each task of this workflow had, for each run.
    """

    of_task: Mapping[tuple[str, str], list[float]]
    of_tool: Mapping[str, list[float]]
    items: Mapping[str, list[int]]

    def times(self, workflow: Workflow, mean: Callable[[list[float]], float]) -> dict[str, float]:
        """The mean time of each task, seconds; of one never measured, that of its tool."""
        found = {}
        for task in workflow.plan.tasks.values():
            if times := self.of_task.get((task.id, task.target)) or self.of_tool.get(task.target):
                found[task.id] = mean(times) / 1000
        return found


class Expected(NamedTuple):
    """What tasks are expected to take.

    Attributes:
        seconds: P50 of one call, by task; unknown ones are left out.
        runs: In how many runs of the workflow they were measured.
        calls: P50 of how many calls a task makes whose number its file does not tell: the items of
            a `for_each`; 1 for a `repeat`, whose time is that of all its turns.
    """

    seconds: dict[str, float]
    runs: int
    calls: Mapping[str, float] = MappingProxyType({})


def measured(journal: Location, workflow: Workflow) -> Measured:
    """What calls took in earlier runs.

    Only calls that succeeded at the first attempt count: the time of a call that failed, was
    cancelled or was retried tells nothing about the next one. A `for_each` counts as the mean over
    its items.

    Raises:
        JournalError: The journal cannot be read.
    """
    found = Measured(defaultdict(list), defaultdict(list), defaultdict(list))
    repeated = [task for task in workflow.plan.tasks.values() if is_repeat(task)]
    with reading(journal) as db:
        for run, name, request in db.execute(_RUNS, (workflow.name, RUNS)).fetchall():
            tools = called(_tools, request)
            by_tool: dict[str, list[float]] = defaultdict(list)
            for task, took_ms in db.execute(_calls(db.sql), (run,)).fetchall():
                by_tool[tools.get(task, "")].append(took_ms)
                if name == workflow.name and not is_repeat(workflow.plan.tasks.get(task)):
                    found.of_task[task, tools.get(task, "")].append(took_ms)
            if name == workflow.name:
                for own in repeated:
                    rows = db.execute(_repeats(db.sql), (run, own.id)).fetchall()
                    found.of_task[own.id, tools.get(own.id, "")].extend(ms for (ms,) in rows)
                for path, number in db.execute(_ITEMS, (run,)).fetchall():
                    found.items[path].append(number)
            for tool, times_ms in by_tool.items():
                found.of_tool[tool].append(sum(times_ms) / len(times_ms))
    return found


def estimates(journal: Location, workflow: Workflow) -> dict[str, float]:
    """What each task is expected to take, seconds: the moving mean, to decide which goes first.

    Raises:
        JournalError: The journal cannot be read.
    """
    return measured(journal, workflow).times(workflow, _mean)


def expected(journal: Location, workflow: Workflow) -> Expected:
    """What each task is expected to take, for people; nothing if there is no journal yet."""
    try:
        found = measured(journal, workflow)
    except JournalError:
        return Expected({}, 0)
    runs = max((len(times) for times in found.of_task.values()), default=0)
    calls: dict[str, float] = {task: median(each) for task, each in found.items.items()}
    for task in workflow.plan.tasks.values():
        if is_repeat(task) and found.of_task.get((task.id, task.target)):
            calls[task.id] = 1
    return Expected(found.times(workflow, median), runs, calls)


def known_estimates(journal: Location, workflow: Workflow) -> dict[str, float]:
    """The same; empty if there is no journal yet, or it cannot be read."""
    try:
        return estimates(journal, workflow)
    except JournalError:
        return {}


def is_repeat(task: TaskPlan | None) -> bool:
    """Whether a task makes its call until that is enough, and is no `for_each`."""
    policies = None if task is None else task.policies
    return policies is not None and policies.repeat is not None and policies.for_each is None


def called(
    tools: Callable[[Mapping[str, Any]], Iterable[tuple[str, str]]], request: str
) -> dict[str, str]:
    """The `tools` of what a run was asked for, by task; of what cannot be read there are none."""
    try:
        return dict(tools(json.loads(request)["workflow"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _tools(workflow: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The tool of each task of a canonical workflow."""
    tasks = [*workflow["tasks"], *workflow.get("finally", ())]
    return [(task["id"], task["tool"]) for task in tasks if "tool" in task]


def _mean(times: Iterable[float]) -> float:
    """The moving mean, the newest last."""
    mean = 0.0
    for count, time in enumerate(times, 1):
        mean += max(NEWEST_WEIGHT, 1 / count) * (time - mean)
    return mean
