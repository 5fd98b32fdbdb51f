"""Compares the result of a run with what a test expects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from orchestrator.documents.differences import NOTHING
from orchestrator.engine.result import ItemResult, RunResult, TaskResult

_STEP = re.compile(r"(?P<task>[^\[]+)(?:\[(?P<item>\d+)\])?")


def projected(
    expect: Mapping[str, Any], result: RunResult, made: Mapping[str, int]
) -> dict[str, Any]:
    """What a result has of what is expected, in the same form; `made` are the calls by target."""
    parts = {"status": result.status, "output": result.output, "reason": result.reason}
    got = {name: value for name, value in parts.items() if name in expect}
    if "calls" in expect:
        got["calls"] = {target: made.get(target, 0) for target in expect["calls"]}
    if "tasks" in expect:
        got["tasks"] = {
            path: _of_task(wanted, part_at(result, path))
            for path, wanted in expect["tasks"].items()
        }
    return {name: got[name] for name in expect}


def snapshot(result: RunResult) -> dict[str, Any]:
    """What to expect of a run that gave this result: of failed tasks the kind of their error."""
    tasks: dict[str, Any] = {}
    for name, task in result.tasks.items():
        tasks[name] = task.status
        if task.error is not None and (task.recovered or task.status == "error"):
            tasks[name] = {"status": task.status, "error": {"kind": task.error.kind}}
    return {"status": result.status, "output": result.output, "tasks": tasks}


def part_at(result: RunResult, path: str) -> TaskResult | ItemResult | None:
    """The result of a task or an item, by a path such as `outer[3]/inner`; None without one."""
    tasks: Mapping[str, TaskResult] | None = result.tasks
    found: TaskResult | ItemResult | None = None
    for step in path.split("/"):
        match = _STEP.fullmatch(step)
        task = None if match is None or tasks is None else tasks.get(match["task"])
        if match is None or task is None:
            return None
        found = task if match["item"] is None else _item(task, int(match["item"]))
        tasks = None if found is None else found.tasks
    return found


def _item(task: TaskResult, index: int) -> ItemResult | None:
    return next((item for item in task.items or () if item.index == index), None)


def _of_task(wanted: Any, part: TaskResult | ItemResult | None) -> Any:
    if part is None:
        return NOTHING
    if isinstance(wanted, str):
        return part.status
    return {name: _field(name, value, part) for name, value in wanted.items()}


def _field(name: str, wanted: Any, part: TaskResult | ItemResult) -> Any:
    if name == "recovered":
        return part.status == "success" and part.error is not None
    if name != "error":
        return getattr(part, name)
    if part.error is None:
        return None
    error = part.error.to_dict()
    return error if wanted is None else {field: error[field] for field in wanted}
