"""A plan as Mermaid, DOT and JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain, pairwise
from typing import Any

from orchestrator.documents.text import MAX_NAME, cut, name_of, visible
from orchestrator.report.forecast import Forecast, TaskForecast
from orchestrator.workflow.plan import Plan

_MERMAID_CLASSES = """\
    classDef destructive fill:#fbdedb,stroke:#b3261e,color:#16181d
    classDef maybe fill:#fbeee6,stroke:#b3261e,color:#16181d,stroke-dasharray:5 3
    classDef open stroke:#1f5fbf,stroke-width:3px"""
_MARKS = {"destroys": "destructive", "may": "maybe"}
_DOT_MARKS = {
    "destructive": 'fillcolor="#fbdedb"',
    "maybe": 'fillcolor="#fbeee6"',
    "open": 'color="#1f5fbf"',
}
_ENTITIES = str.maketrans({"&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;"})
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def mermaid(forecast: Forecast) -> str:
    """The graph as a Mermaid flowchart, each generation a subgraph.

    The critical path is thick, a task with `for_each` has double sides and the number of its calls,
    and destructive, possibly destructive and open-world tasks have a class.
    """
    plan = forecast.workflow.plan
    # Ids of tasks may hold characters and words that Mermaid reserves.
    number = {task: f"t{index}" for index, task in enumerate(plan.tasks)}
    lines = ["flowchart TD"]
    groups = [(f"generation {index}", names) for index, names in enumerate(plan.generations)]
    groups += [] if plan.finally_ is None else [("finally", list(plan.finally_.tasks))]
    for index, (heading, names) in enumerate(groups):
        lines.append(f'    subgraph g{index}["{heading}"]')
        for name in names:
            label = f'"{_label(forecast.tasks[name], "<br/>", _ENTITIES)}"'
            sides = "[[{}]]" if plan.tasks[name].policies.for_each is not None else "[{}]"
            lines.append(f"        {number[name]}{sides.format(label)}")
        lines.append("    end")
    path = set(pairwise(forecast.critical_path))
    if plan.finally_ is not None:
        lines.append(f"    g{len(groups) - 2} -.-> g{len(groups) - 1}")
    for needed, task in _edges(plan):
        arrow = "==>" if (needed, task) in path else "-->"
        lines.append(f"    {number[needed]} {arrow} {number[task]}")
    marked = defaultdict(list)
    for name, each in forecast.tasks.items():
        for mark in _marks(each):
            marked[mark].append(number[name])
    if marked:
        lines.append(_MERMAID_CLASSES)
    lines += [f"    class {','.join(nodes)} {mark}" for mark, nodes in sorted(marked.items())]
    return "\n".join(lines)


def _edges(plan: Plan) -> Iterator[tuple[str, str]]:
    return chain.from_iterable(stage.graph.edges for stage in plan.stages)


def _label(task: TaskForecast, between: str, escapes: dict[int, str]) -> str:
    lines = (task.task.id + task.times, task.task.target)
    return between.join(name_of(line).translate(escapes) for line in lines)


def _marks(task: TaskForecast) -> Iterator[str]:
    if task.risk in _MARKS:
        yield _MARKS[task.risk]
    if task.is_open:
        yield "open"


def dot(forecast: Forecast) -> str:
    """The graph in the DOT language of Graphviz, each generation on one rank.

    Marked as in `mermaid`; a task with `for_each` has two outlines.
    """
    plan = forecast.workflow.plan
    lines = [
        f"digraph {_quoted(cut(forecast.workflow.name, MAX_NAME))} {{",
        "    node [shape=box, style=filled, fillcolor=white];",
    ]
    for generation in chain.from_iterable(stage.generations for stage in plan.stages):
        lines.append(f"    {{ rank=same; {'; '.join(map(_quoted, generation))} }}")
    lines += [f"    {_quoted(name)} [{_dot_node(task)}];" for name, task in forecast.tasks.items()]
    path = set(pairwise(forecast.critical_path))
    if plan.finally_ is not None:
        before, after = plan.generations[-1][0], plan.finally_.generations[0][0]
        lines.append(f"    {_quoted(before)} -> {_quoted(after)} [style=dotted];")
    for needed, task in _edges(plan):
        thick = " [penwidth=3]" if (needed, task) in path else ""
        lines.append(f"    {_quoted(needed)} -> {_quoted(task)}{thick};")
    return "\n".join([*lines, "}"])


def _dot_node(task: TaskForecast) -> str:
    label = _label(task, r"\n", _ESCAPES)
    attributes = [f'label="{label}"', *(_DOT_MARKS[mark] for mark in _marks(task))]
    attributes += ["peripheries=2"] if task.task.policies.for_each is not None else []
    attributes += ["penwidth=3"] if task.critical else []
    return ", ".join(attributes)


def _quoted(text: str) -> str:
    # Not cut: two names with the same beginning are two nodes.
    return f'"{visible(text).translate(_ESCAPES)}"'


def plan_document(forecast: Forecast) -> dict[str, Any]:
    """The plan as a JSON object; docs/plan.md describes its fields."""
    workflow, plan = forecast.workflow, forecast.workflow.plan
    expected, tools = None, dict[str, Any]()
    if forecast.seconds is not None:
        expected = {f"{name}_s": round(value, 6) for name, value in forecast.seconds.items()}
        expected["measured_tasks"] = forecast.measured
        expected |= {} if forecast.runs is None else {"runs": forecast.runs}
    for name, task in forecast.tasks.items():
        for target, effects in task.effects.items():
            tools.setdefault(target, asdict(effects) | {"tasks": []})["tasks"].append(name)
    return {
        "workflow": workflow.name,
        "schedule": workflow.schedule,
        "max_concurrency": workflow.max_concurrency,
        "timeout_s": workflow.timeout_s,
        "budget": workflow.budget and workflow.budget.model_dump(exclude_none=True),
        "servers": plan.servers,
        "generations": plan.sorted_generations,
        "finally": [] if plan.finally_ is None else list(plan.finally_.tasks),
        "critical_path": {
            "tasks": list(forecast.critical_path),
            "length": round(forecast.length, 6),
            "unit": "tasks" if expected is None else "s",
        },
        "calls": asdict(forecast.calls) | {"ceiling": forecast.ceiling},
        "expected": expected,
        "starts": [
            *({"server": name, "when": "at once", "generation": 0} for name in forecast.first),
            *(
                {
                    "server": name,
                    "when": "later",
                    "generation": number if number < len(plan.generations) else None,
                }
                for name, number in forecast.later.items()
            ),
        ],
        "tools": tools,
        "tasks": {name: _task(task) for name, task in forecast.tasks.items()},
    }


def _task(task: TaskForecast) -> dict[str, Any]:
    plan = task.task
    return {
        "description": task.description,
        "tool": plan.target or None,
        "depends_on": list(plan.dependencies),
        "generation": plan.generation,
        "critical": task.critical,
        "calls": asdict(task.calls),
        "for_each": plan.policies.for_each is not None,
        "fallback": task.fallback,
        "cache_s": None if plan.policies.cache is None else plan.policies.cache.ttl_s,
        "expected_s": None if task.seconds is None else round(task.seconds, 6),
        "inner": None if task.inner is None else plan_document(task.inner),
    }
