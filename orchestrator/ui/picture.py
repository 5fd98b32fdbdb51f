"""The graph of a level: where each task is drawn, and each dependency; tasks alike can be folded.

The geometry is that of `report/layout`; the browser draws it and colors what changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.report.drawing import LETTER, curve, letters, shorten
from orchestrator.report.layout import Layout, lay_out
from orchestrator.report.run_pictures import drawn
from orchestrator.workflow.graph import build
from orchestrator.workflow.plan import Plan, TaskPlan

FOLDED = 300  # tasks: from more than that on, those that are alike are one node
MAX_DRAWN = 2000
HEIGHT, PADDING, MAX_LETTERS = 40.0, 12.0, 28
ITEMS = "1,000 of 1,000 succeeded"  # what may be said of items there
SMALL = 6.3  # the width of a letter of 10.5 px

Groups = Mapping[str, Sequence[str]]


def graph(plan: Plan, *, fold: bool | None = None) -> dict[str, Any]:
    """The graph of a plan.

    Args:
        plan: The plan.
        fold: Whether the tasks of a generation that call the same tool are one node; None: if
            there are many tasks. Very many always are.
    """
    count = len(plan.tasks)
    folds = count > FOLDED if fold is None else fold or count > MAX_DRAWN
    groups = dict(_groups(plan)) if folds else {name: [name] for name in plan.tasks}
    layout = _laid_out(plan, groups)
    nodes = []
    for name, tasks in groups.items():
        box = layout.boxes[name]
        label, below = _words(plan, tasks)
        node = {"id": name, "label": label, "below": below, "tasks": list(tasks)}
        nodes.append(node | {"x": box.x, "y": box.y, "width": box.width, "height": box.height})
    edges = [
        {"from": needed, "to": task, "d": curve(points), "tip": points[-1]}
        for needed, task, points in layout.edges
    ]
    size = {"width": layout.width, "height": layout.height}
    return {"nodes": nodes, "edges": edges, "folded": folds, "tasks": count, **size}


def _groups(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    """The tasks of each generation that call the same tool."""
    _, columns = drawn(plan)
    for column in columns:
        found: dict[str, list[str]] = {}
        for name in column:
            found.setdefault(called(plan.tasks[name]), []).append(name)
        for names in found.values():
            yield names[0], names


def called(task: TaskPlan) -> str:
    """What a task calls, or what kind of task it is."""
    return task.target or task.kind


def _laid_out(plan: Plan, groups: Groups) -> Layout:
    whole, columns = drawn(plan)
    group = {task: name for name, tasks in groups.items() for task in tasks}
    before: dict[str, list[str]] = {name: [] for name in groups}
    edges = {(group[needed], group[task]) for needed, task in whole.edges}
    for needed, task in sorted(edges):
        before[task].append(needed)
    shown = [list(dict.fromkeys(group[task] for task in column)) for column in columns]
    widths = {name: _width(plan, tasks) for name, tasks in groups.items()}
    return lay_out(build(before), shown, widths, HEIGHT)


def _words(plan: Plan, tasks: Sequence[str]) -> tuple[str, str]:
    """What a node says: its name, and what it calls; the other way round for a group."""
    target = called(plan.tasks[tasks[0]])
    if len(tasks) == 1:
        return shorten(tasks[0], MAX_LETTERS), shorten(target, MAX_LETTERS)
    return shorten(target, MAX_LETTERS), f"{len(tasks):,} tasks"


def _width(plan: Plan, tasks: Sequence[str]) -> float:
    label, below = _words(plan, tasks)
    if any(plan.tasks[task].policies.for_each is not None for task in tasks):
        below = max(below, ITEMS, key=letters)
    return max(letters(label) * LETTER, letters(below) * SMALL) + 2 * PADDING + 14
