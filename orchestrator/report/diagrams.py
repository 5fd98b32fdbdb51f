"""A plan as Mermaid, DOT and JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from orchestrator.expressions.templates import written
from orchestrator.report.forecast import Forecast, ServerForecast, TaskForecast

_MERMAID_CLASSES = """\
    classDef destructive fill:#fbdedb,stroke:#b3261e,color:#16181d
    classDef maybe fill:#fbeee6,stroke:#b3261e,color:#16181d,stroke-dasharray:5 3
    classDef open stroke:#1f5fbf,stroke-width:3px"""
_MARKS = {"destroys": "destructive", "may": "maybe"}
_DOT_COLOURS = {"destructive": "#fbdedb", "maybe": "#fbeee6"}


def mermaid(forecast: Forecast) -> str:
    """The graph as a Mermaid flowchart, each generation a subgraph.

    The critical path is thick, a task with `for_each` has double sides and the number of its calls,
    and destructive, possibly destructive and open-world tasks have a class.
    """
    plan = forecast.workflow.plan
    # Ids of tasks may hold characters and words that Mermaid reserves.
    number = {task: f"t{index}" for index, task in enumerate(plan.tasks)}
    lines = ["flowchart TD"]
    for index, generation in enumerate(plan.generations):
        lines.append(f'    subgraph g{index}["generation {index}"]')
        lines += [
            f"        {_mermaid_node(forecast.tasks[task], number[task])}" for task in generation
        ]
        lines.append("    end")
    path = set(pairwise(forecast.critical_path))
    for needed, task in plan.graph.edges:
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


def _mermaid_node(task: TaskForecast, number: str) -> str:
    label = f"{_entities(task.task.id)}{task.times}<br/>{_entities(task.task.target)}"
    if task.task.policies.for_each is None:
        return f'{number}["{label}"]'
    return f'{number}[["{label}"]]'


def _marks(task: TaskForecast) -> Iterator[str]:
    if task.risk in _MARKS:
        yield _MARKS[task.risk]
    if task.is_open:
        yield "open"


def _entities(text: str) -> str:
    """Text for a quoted label of Mermaid."""
    for character, entity in (("&", "#amp;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        text = text.replace(character, entity)
    return text


def dot(forecast: Forecast) -> str:
    """The graph in the DOT language of Graphviz, each generation on one rank.

    Marked as in `mermaid`; a task with `for_each` has two outlines.
    """
    workflow, plan = forecast.workflow, forecast.workflow.plan
    lines = [
        f"digraph {_quoted(workflow.name)} {{",
        "    node [shape=box, style=filled, fillcolor=white];",
    ]
    for generation in plan.generations:
        nodes = "; ".join(_quoted(task) for task in generation)
        lines.append(f"    {{ rank=same; {nodes} }}")
    lines += [f"    {_quoted(name)} [{_dot_node(task)}];" for name, task in forecast.tasks.items()]
    path = set(pairwise(forecast.critical_path))
    for needed, task in plan.graph.edges:
        thick = " [penwidth=3]" if (needed, task) in path else ""
        lines.append(f"    {_quoted(needed)} -> {_quoted(task)}{thick};")
    return "\n".join([*lines, "}"])


def _dot_node(task: TaskForecast) -> str:
    marks = list(_marks(task))
    label = _quoted(f"{task.task.id}{task.times}\n{task.task.target}")
    attributes = [f"label={label}"]
    attributes += [f'fillcolor="{_DOT_COLOURS[mark]}"' for mark in marks if mark in _DOT_COLOURS]
    attributes += ['color="#1f5fbf"'] if "open" in marks else []
    attributes += ["peripheries=2"] if task.task.policies.for_each is not None else []
    attributes += ["penwidth=3"] if task.critical else []
    return ", ".join(attributes)


def _quoted(text: str) -> str:
    """Text as a quoted string of DOT."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def plan_document(forecast: Forecast) -> dict[str, Any]:
    """The plan as a JSON object; docs/plan.md describes its fields."""
    workflow, plan = forecast.workflow, forecast.workflow.plan
    return {
        "workflow": workflow.name,
        "schedule": workflow.schedule,
        "max_concurrency": workflow.max_concurrency,
        "timeout_s": workflow.timeout_s,
        "servers": plan.servers,
        "generations": plan.sorted_generations,
        "critical_path": {
            "tasks": list(forecast.critical_path),
            "length": round(forecast.length, 6),
            "unit": "tasks" if forecast.seconds is None else "s",
        },
        "calls": asdict(forecast.calls) | {"ceiling": forecast.ceiling},
        "expected": _expected(forecast),
        "starts": [_start(server) for server in forecast.servers],
        "tools": _tools(forecast),
        "tasks": {name: _task(task) for name, task in forecast.tasks.items()},
    }


def _tools(forecast: Forecast) -> dict[str, Any]:
    """Each tool that may be called: what it declares, and the tasks that may call it."""
    tools: dict[str, Any] = {}
    for name, task in forecast.tasks.items():
        # A task that is certainly skipped calls nothing, not even its fallback.
        for target, effects in task.effects.items() if task.calls.most != 0 else ():
            tools.setdefault(target, asdict(effects) | {"tasks": []})["tasks"].append(name)
    return tools


def _expected(forecast: Forecast) -> dict[str, Any] | None:
    if forecast.seconds is None:
        return None
    seconds = {f"{schedule}_s": round(value, 6) for schedule, value in forecast.seconds.items()}
    return {**seconds, "measured_tasks": forecast.measured}


def _start(server: ServerForecast) -> dict[str, Any]:
    settings = server.settings
    document = {
        "server": server.name,
        "when": "at once" if server.first else "later",
        "generation": server.generation,
    }
    if settings is None:
        return document | {"known": False}
    return document | {
        "known": True,
        "required": settings.required,
        "sessions": settings.sessions,
        "max_concurrency": settings.max_concurrency,
        "rate": settings.rate,
        "writes": settings.writes,
        "tools": {name: tool.max_concurrency for name, tool in settings.tools.items()},
    }


def _task(task: TaskForecast) -> dict[str, Any]:
    plan = task.task
    return {
        "tool": plan.target,
        "depends_on": list(plan.dependencies),
        "generation": plan.generation,
        "critical": task.critical,
        "slack": round(task.slack, 6),
        "calls": asdict(task.calls),
        "for_each": plan.policies.for_each is not None,
        "max_attempts": task.attempts,
        "timeout_s": task.timeout_s,
        "locks": [
            {"name": written(lock.name), "shared": lock.shared} for lock in plan.policies.locks
        ],
        "fallback": task.fallback,
        "expected_s": None if task.seconds is None else round(task.seconds, 6),
    }
