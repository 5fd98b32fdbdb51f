"""A plan as Mermaid, DOT and JSON.

The rule of this file: text out of a plan, and any id or name is quoted as its language wants it.
"""

from __future__ import annotations

import json
from typing import Any

from orchestrator.planning import Plan
from orchestrator.workflow import Workflow


def mermaid(plan: Plan) -> str:
    """The graph as a Mermaid flowchart, each generation a subgraph."""
    number = {task: f"t{index}" for index, task in enumerate(plan.tasks)}
    lines = ["flowchart TD"]
    for index, generation in enumerate(plan.generations):
        lines.append(f'    subgraph g{index}["generation {index}"]')
        for task in generation:
            target = plan.tasks[task].target
            lines.append(f'        {number[task]}["{_entities(task)}<br/>{_entities(target)}"]')
        lines.append("    end")
    for needed, task in plan.graph.edges:
        lines.append(f"    {number[needed]} --> {number[task]}")
    return "\n".join(lines)


def _entities(text: str) -> str:
    """Text for inside of the quotes of a Mermaid label."""
    for character, entity in (("&", "#amp;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        text = text.replace(character, entity)
    return text


def dot(plan: Plan, name: str) -> str:
    """The graph in the DOT language of Graphviz, each generation on one rank."""
    lines = [f"digraph {json.dumps(name)} {{", "    node [shape=box];"]
    for generation in plan.generations:
        nodes = "; ".join(json.dumps(task) for task in generation)
        lines.append(f"    {{ rank=same; {nodes} }}")
    for task in plan.tasks.values():
        label = json.dumps(f"{task.id}\n{task.target}")
        lines.append(f"    {json.dumps(task.id)} [label={label}];")
    for needed, follower in plan.graph.edges:
        lines.append(f"    {json.dumps(needed)} -> {json.dumps(follower)};")
    return "\n".join([*lines, "}"])


def plan_document(workflow: Workflow) -> dict[str, Any]:
    """The plan as a JSON object."""
    plan = workflow.plan
    return {
        "workflow": workflow.name,
        "schedule": workflow.schedule,
        "max_concurrency": workflow.max_concurrency,
        "servers": plan.servers,
        "generations": plan.sorted_generations,
        "tasks": {
            task.id: {
                "tool": task.target,
                "depends_on": list(task.dependencies),
                "generation": task.generation,
            }
            for task in plan.tasks.values()
        },
    }
